"""Continue a fitted model on other rows."""
