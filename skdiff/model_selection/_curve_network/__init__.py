"""Learning curves continued by a network trained on curves drawn from a prior."""
