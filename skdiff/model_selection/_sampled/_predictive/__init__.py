"""Random search that stops candidates by forecasts of their learning curves."""
