"""Regions for several targets at once."""
