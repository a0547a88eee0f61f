"""The holistic robust loss for torch."""
