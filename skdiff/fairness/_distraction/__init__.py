"""A network with a fairness dial."""
