"""Tests on scores of train and test splits."""
