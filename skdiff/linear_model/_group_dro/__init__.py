"""Linear models of the worst group."""
