"""Many cheap labels or a few expensive ones."""
