"""CaPE: networks trained for calibrated probabilities."""
