"""Training problems with their derivatives in the hyperparameters."""
