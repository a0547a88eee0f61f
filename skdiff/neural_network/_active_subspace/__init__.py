"""Directions along which a radial-basis network varies most."""
