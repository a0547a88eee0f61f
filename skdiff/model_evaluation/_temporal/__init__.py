"""Keeping old models, and choosing among them when the data change."""
