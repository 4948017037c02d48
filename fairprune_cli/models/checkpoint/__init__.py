"""Any checkpoint, read without running code of it."""
