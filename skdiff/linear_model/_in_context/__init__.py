"""Linear regression by one forward pass of a trained network."""
