"""Networks grown by gradient boosting, unit by unit."""
