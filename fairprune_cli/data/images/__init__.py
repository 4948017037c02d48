"""Image files: decoded, hashed, cached."""
