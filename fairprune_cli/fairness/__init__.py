"""Notions of fairness, surrogates of them, and the constraint with its multipliers."""
