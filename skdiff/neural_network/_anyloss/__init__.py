"""AnyLoss: training on a metric of the confusion matrix."""
