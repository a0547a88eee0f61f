"""The penalty by cross-validation."""
