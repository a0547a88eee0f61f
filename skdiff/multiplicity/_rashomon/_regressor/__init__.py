"""The regressor over the set of nearly optimal linear models."""
