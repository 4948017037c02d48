"""Export formats, one per module."""
