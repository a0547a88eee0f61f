"""A subclass that lets the checks call ``fit`` on any table.

Minus the squared distances to the mean rows of the classes stand for the logits.
"""

import numpy as np

from skdiff import calibration


class TemperatureScaler(calibration.TemperatureScaler):
    __doc__ = calibration.TemperatureScaler.__doc__

    def fit(self, X, y, sample_weight=None):
        self._given = y, sample_weight
        try:
            return super().fit(X, y, sample_weight)
        finally:
            del self._given

    def _logits(self, X, n_classes, *, reset):
        X = super()._logits(X, None, reset=reset)
        if reset:
            self._centres = centres(X, *self._given, n_classes)
        return -((X[:, None] - self._centres) ** 2).sum(axis=2)

    def save(self, path):
        public = calibration.TemperatureScaler()
        public.__dict__.update(self.__dict__)
        public.save(path)

    @classmethod
    def load(cls, path):
        model = calibration.TemperatureScaler.load(path)
        model.__class__ = cls
        return model


def centres(X, y, weight, n_classes):
    y = np.ravel(np.asarray(y))
    if len(y) != len(X):  # refused a little later
        return np.zeros((n_classes, X.shape[1]))
    try:
        w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        rows = [np.flatnonzero((y == label) & (w > 0)) for label in np.unique(y)]
        return np.array([np.average(X[r], axis=0, weights=w[r]) for r in rows])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return np.zeros((n_classes, X.shape[1]))


ADAPTED = {"TemperatureScaler": TemperatureScaler}
QUICK = {"TemperatureScaler": [{}]}
