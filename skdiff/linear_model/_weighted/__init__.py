"""Linear models with a penalty per feature."""
