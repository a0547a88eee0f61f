"""Interaction screening with networks."""
