"""What the three selectors share."""
