"""Platt scaling of a stream."""
