"""Hyperparameters by the gradient of the cross-validation score."""
