"""Interaction screening: a convex problem for each column."""
