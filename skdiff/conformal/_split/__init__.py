"""Selection from a calibration set that no model has seen."""
