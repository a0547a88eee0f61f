"""Architecture search for numbers."""
