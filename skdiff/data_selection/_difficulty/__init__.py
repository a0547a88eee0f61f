"""Rows by the size of their error or of their gradient."""
