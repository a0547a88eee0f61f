"""Comparison of several models in one report."""
