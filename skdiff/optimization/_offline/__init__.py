"""Offline optimisation by ascent of a surrogate."""
