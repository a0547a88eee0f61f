"""A validation set that survives adaptive use."""
