"""Rows by their loss before and after a target sample is seen."""
