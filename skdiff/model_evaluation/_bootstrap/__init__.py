"""The .632+ bootstrap."""
