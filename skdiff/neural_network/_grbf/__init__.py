"""Radial-basis networks with learned centres and precision."""
