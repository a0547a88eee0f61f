"""Engine for convex problems: cvxpy as the statement, fast solvers beside it."""
