"""Tables of categories, read and written."""
