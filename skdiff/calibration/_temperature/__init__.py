"""One temperature for the logits of a classifier, and when one is not enough."""
