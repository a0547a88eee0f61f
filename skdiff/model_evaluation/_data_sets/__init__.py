"""Tests on scores of several data sets."""
