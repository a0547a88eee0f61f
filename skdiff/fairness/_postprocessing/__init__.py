"""Fair post-processing of scores."""
