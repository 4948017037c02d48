"""The manifest: read, checked, written."""
