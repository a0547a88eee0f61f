"""Searches that draw settings and decide as they go."""
