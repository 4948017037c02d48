"""The loop that trains under a mask, and dense training."""
