"""Effects of a treatment on a graph."""
