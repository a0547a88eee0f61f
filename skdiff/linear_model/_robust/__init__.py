"""What the robust linear models share."""
