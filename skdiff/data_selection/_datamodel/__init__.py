"""Linear models of predictions as functions of the training rows."""
