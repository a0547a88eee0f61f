"""Networks with a certified Lipschitz bound."""
