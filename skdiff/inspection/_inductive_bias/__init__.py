"""How much prior knowledge a target error needs, given a space of hypotheses."""
