"""Outputs of models trained on subsets."""
