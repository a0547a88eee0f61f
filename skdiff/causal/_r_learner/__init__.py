"""Effects of a treatment that may differ from row to row."""
