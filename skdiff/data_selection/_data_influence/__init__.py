"""Influence probed on a few rows and predicted for all."""
