"""Embeddings of learned sizes, for tables."""
