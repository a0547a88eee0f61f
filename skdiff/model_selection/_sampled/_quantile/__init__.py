"""Random search that learns from its results."""
