"""Regression by conditional moment restrictions."""
