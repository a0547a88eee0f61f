"""Private-GSD: noisy counts first, then a search for a table that has them."""
