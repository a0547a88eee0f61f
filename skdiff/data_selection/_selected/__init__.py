"""Select rows, then fit."""
