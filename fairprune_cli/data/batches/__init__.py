"""Images as batches."""
