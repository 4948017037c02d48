"""fairprune's own model file (docs/format.md)."""
