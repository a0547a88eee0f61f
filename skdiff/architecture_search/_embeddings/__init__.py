"""Embeddings of learned sizes for columns of categories."""
