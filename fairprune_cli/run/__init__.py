"""One pruning run from its inputs to its report. Read prune.py first."""
