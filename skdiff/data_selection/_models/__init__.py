"""Models inside selectors: fit them, read their predictions."""
