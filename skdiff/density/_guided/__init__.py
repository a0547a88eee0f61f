"""Rows of a table drawn towards a reward."""
