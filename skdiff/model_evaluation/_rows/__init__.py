"""Tests on predictions of the same rows."""
