"""Mutual information from small samples, by trained networks on ranks."""
