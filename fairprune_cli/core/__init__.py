"""What everything stands on: errors and exit codes, settings, files, streams, processes. Imports nothing above it."""
