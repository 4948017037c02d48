"""A module per command; app.py has the flags."""
