"""Subclasses that take the group from the cells of a row, as checks know X and y.

They save and load as the class they stand for.
"""

import numpy as np
from sklearn.base import clone

from skdiff import linear_model


def public_class(cls):
    """The class of the package that a subclass stands for."""
    return next(c for c in cls.__mro__ if c.__module__.startswith("skdiff."))


def group_of(X):
    """A group for each row, by its cells; None where X is no table of numbers."""
    try:
        if np.iscomplexobj(np.asarray(X)):
            return None
        values = np.nan_to_num(np.asarray(X, dtype=float))
        with np.errstate(all="ignore"):
            mixed = np.abs(values) @ np.sqrt(np.arange(2.0, 2 + values.shape[1]))
            found = np.floor(618.034 * mixed) % 2
        return np.nan_to_num(found).astype(int)
    except (TypeError, ValueError, IndexError):
        return None


class Adapted:
    """Store as the public class, which is what a file may hold."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, sample_weight, groups=group_of(X))

    def save(self, path):
        public = object.__new__(public_class(type(self)))
        public.__dict__.update(self.__dict__)
        public.save(path)

    @classmethod
    def load(cls, path):
        model = public_class(cls).load(path)
        model.__class__ = cls
        return model

    def __sklearn_clone__(self):
        public = object.__new__(public_class(type(self)))
        public.__dict__.update(self.__dict__)
        copied = clone(public)
        copied.__class__ = type(self)
        return copied


class GroupDROClassifier(Adapted, linear_model.GroupDROClassifier):
    pass


class GroupDRORegressor(Adapted, linear_model.GroupDRORegressor):
    pass


ADAPTED = {cls.__name__: cls for cls in (GroupDROClassifier, GroupDRORegressor)}
for _cls in ADAPTED.values():
    _cls.__doc__ = public_class(_cls).__doc__

QUICK = {
    "GroupDROClassifier": [{"alpha": 0.01}, {"group_adjustment": 0.5}],
    "GroupDRORegressor": [{}, {"fit_intercept": False, "alpha": 0.1}],
}
