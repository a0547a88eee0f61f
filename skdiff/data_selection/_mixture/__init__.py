"""Scores of mixtures of data sources, by optimal transport and few pilots."""
