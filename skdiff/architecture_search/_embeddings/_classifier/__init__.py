"""Embeddings of learned sizes, for classes."""
