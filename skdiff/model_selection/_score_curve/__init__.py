"""Learning curves: scores over training sizes."""
