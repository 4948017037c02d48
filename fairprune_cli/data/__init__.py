"""From a manifest to batches: tables, formats, manifest, images, batches, checks."""
