"""Self-tuning regression."""
