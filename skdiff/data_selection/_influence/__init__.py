"""Derivatives of the target loss in the weights of the rows."""
