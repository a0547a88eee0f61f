"""Models under expected constraints."""
