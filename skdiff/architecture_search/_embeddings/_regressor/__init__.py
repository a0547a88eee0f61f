"""Embeddings of learned sizes, for numbers."""
