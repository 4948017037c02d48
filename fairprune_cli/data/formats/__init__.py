"""Data sets as their authors ship them, a format per file: `read`, `recognise` and `suggest` (dataset_format.py)."""
