"""TELL: k-means as a layer of a network."""
