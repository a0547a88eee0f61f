"""Architecture search for labels."""
