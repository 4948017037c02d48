"""Counts per group, figures with intervals, and gates."""
