"""What can go (channels), what is kept (masks), by which score (methods), and when (schedule)."""
