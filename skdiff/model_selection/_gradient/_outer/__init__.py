"""Solvers of the outer problem."""
