"""Subclasses that draw the group of a row from its columns, for ``fit(X, y)``."""

import numpy as np
from sklearn.base import clone

from skdiff import fairness


def public_class(cls):
    """The class of the package that a subclass stands for."""
    return next(c for c in cls.__mro__ if c.__module__.startswith("skdiff."))


NO_RULE = (0, 0.0, 1.0)


def without_text(X):
    """The columns of a frame that hold numbers, in the order of their names."""
    if not hasattr(X, "columns") or not hasattr(X, "shape"):
        return X
    fine = [c for c in X.columns if numbers(np.asarray(X[c])[:, None]) is not None]
    return X[sorted(fine, key=str)] if 0 < len(fine) < X.shape[1] else X


def numbers(X):
    """The rows as an array, or None where they are none."""
    try:
        X = without_text(X)
        X = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        X = None if X.dtype.kind == "c" else X.astype(np.float64)
    except (TypeError, ValueError):
        return None
    fine = X is not None and X.ndim == 2 and X.size and np.isfinite(X).all()
    return X if fine else None


def find_rule(X, y, weight):
    """Stripes of one column such that both groups have rows of all labels, if any."""
    rows, y = numbers(X), np.asarray(y)
    y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
    if rows is None or y.ndim != 1 or y.dtype.kind == "c" or len(rows) != len(y):
        return NO_RULE
    weight = np.ones(len(y)) if weight is None else np.asarray(weight)
    if weight.shape == y.shape and weight.dtype.kind in "biuf" and (weight > 0).any():
        rows, y = rows[weight > 0], y[weight > 0]
    try:
        codes = np.unique(y, return_inverse=True)[1]
    except TypeError:
        return NO_RULE
    # a row of weight two and the same row twice give the same rule
    pairs = np.unique(np.column_stack([rows, codes]), axis=0)
    rows, codes = pairs[:, :-1], pairs[:, -1].astype(int)
    best, rule = (0, 0), NO_RULE
    for j in range(min(rows.shape[1], 10)):
        center, width = np.median(rows[:, j]), np.ptp(rows[:, j])
        for k in range(8) if width > 0 else ():
            candidate = (j, float(center), float(width / 2**k))
            inside = groups_of(rows, candidate) == 1
            fewest = min(
                np.bincount(codes[m], minlength=codes.max() + 1).min()
                for m in (inside, ~inside)
            )
            found = fewest, min(inside.sum(), (~inside).sum())
            if found > best:
                best, rule = found, candidate
    return rule


def groups_of(X, rule):
    """The group of each row."""
    rows = numbers(X)
    if rows is None:
        return np.zeros(np.shape(X)[0] if np.ndim(X) else 1, dtype=int)
    j, center, width = rule
    with np.errstate(all="ignore"):
        stripes = np.floor((rows[:, j] - center) / width)
    return np.nan_to_num(stripes % 2, nan=0.0, posinf=0.0).astype(int)


class Grouped:
    """Store as the public class; supply ``sensitive_features`` everywhere."""

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

    def fit(self, X, y, sample_weight=None):
        rule = find_rule(X, y, sample_weight)
        super().fit(
            X, y, sensitive_features=groups_of(X, rule), sample_weight=sample_weight
        )
        self._rule = rule
        return self


def groups_at(model, X):
    return groups_of(X, getattr(model, "_rule", NO_RULE))


class EqualizedOddsPostprocessor(Grouped, fairness.EqualizedOddsPostprocessor):
    __doc__ = fairness.EqualizedOddsPostprocessor.__doc__

    def predict(self, X):
        return super().predict(X, sensitive_features=groups_at(self, X))

    def predict_proba(self, X):
        return super().predict_proba(X, sensitive_features=groups_at(self, X))

    def score(self, X, y, sample_weight=None):
        return super().score(
            X,
            y,
            sensitive_features=groups_at(self, X),
            sample_weight=sample_weight,
        )


ADAPTED = {"EqualizedOddsPostprocessor": EqualizedOddsPostprocessor}

QUICK = {
    "EqualizedOddsPostprocessor": [
        {"tolerance": 0.2, "cv": 3, "unknown": "pool"},
        {
            "constraint": ["true_positive_rate_parity", "demographic_parity"],
            "tolerance": 0.3,
            "cv": 2,
            "unknown": "pool",
        },
    ]
}
