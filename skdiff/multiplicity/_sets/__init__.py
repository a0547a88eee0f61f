"""Sets of nearly optimal linear models: the numbers, without estimators."""
