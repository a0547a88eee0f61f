"""Self-tuning classification."""
