"""Sampling rows by a surrogate's uncertainty."""
