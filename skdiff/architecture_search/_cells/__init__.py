"""Differentiable search of the cell of a network for tables."""
