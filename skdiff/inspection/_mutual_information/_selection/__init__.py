"""Selection of columns by mutual information."""
