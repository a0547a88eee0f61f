"""What the selectors of rows share: targets, the protocol, and the choice itself."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier, is_regressor
from sklearn.utils import check_array, check_consistent_length, column_or_1d, get_tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    Interval,
    RealNotInt,
    StrOptions,
    check_sample_weight,
    safe_indexing,
)
from skdiff._base.inner import check_table
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.data_selection._choice import choose, number_to_keep, standardised


class Target(NamedTuple):
    """A target as models see it (``y``) and as numbers compute with it (``values``).

    ``values`` are codes of ``classes``, or floats where ``classes`` is None.
    """

    y: Any
    values: Any
    classes: Any

    @property
    def n_classes(self):
        """Number of classes, zero for a regression."""
        return 0 if self.classes is None else len(self.classes)

    def take(self, rows):
        """The target of some rows."""
        return Target(self.y[rows], self.values[rows], self.classes)


def read_target(y, estimator, *, name="y", classes=None):
    """Return a target as classes or as numbers.

    The estimator decides which; where it is None, floats with a fractional part are
    numbers and everything else is a class. ``classes`` are those of another target
    that this one continues.
    """
    y = column_or_1d(y, warn=True)
    y = check_array(y, ensure_2d=False, dtype=None, input_name=name)
    if estimator is not None and is_regressor(estimator):
        numbers = True
    elif estimator is not None and is_classifier(estimator):
        numbers = False
    else:
        numbers = type_of_target(y, input_name=name) == "continuous"
    if numbers:
        values = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name=name, estimator=estimator
        )
        return Target(values, values, None)
    check_classification_targets(y)
    found = np.unique(y)
    if classes is not None:
        found = np.unique(np.concatenate([classes, found]))
    return Target(y, np.searchsorted(found, y), found)


def require_classes(target, name="y"):
    """Refuse a target of one class."""
    if target.classes is not None and len(target.classes) < 2:
        raise ValueError(
            f"{name} has one class only, {target.classes.tolist()[0]!r}; two are "
            "needed."
        )


def require_classes_in_fold(target):
    """Refuse a training fold of one class, before an estimator does in its words."""
    if target.classes is not None and len(np.unique(target.values)) < 2:
        raise ValueError(
            "A training fold has one class only. Lower cv, or give every class as "
            "many rows as there are folds."
        )


def take(X, rows):
    """Rows of whatever holds them, as what came."""
    if sparse.issparse(X) and X.format not in ("csr", "csc", "lil"):
        X = X.tocsr()
    elif not hasattr(X, "shape") and not isinstance(X, list):
        X = np.asarray(X)
    return safe_indexing(X, rows)


class BaseSampleSelector(SaveMixin, MetaEstimatorMixin, BaseEstimator):
    """The protocol of the selectors: fit, look at the scores, take the rows."""

    _parameter_constraints: dict = {
        "n_select": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "balance": [StrOptions({"class"}), None],
        "strategy": [StrOptions({"top", "sample"})],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self):
        """Sparse X and NaN are accepted where every model inside accepts them."""
        tags = super().__sklearn_tags__()
        given = self._given()
        inner = [get_tags(e).input_tags for e in given]
        tags.target_tags.required = True
        tags.input_tags.sparse = bool(given) and all(t.sparse for t in inner)
        tags.input_tags.allow_nan = bool(given) and all(t.allow_nan for t in inner)
        return tags

    def _given(self):
        """The models the caller gave."""
        estimator = getattr(self, "estimator", None)
        return [] if estimator is None else [estimator]

    def _check_rows(self, X, *, reset=True):
        return check_table(self, X, self._given(), reset=reset)

    def _check(self, X, y, sample_weight=None):
        """Return rows, target and weights (or None), all checked."""
        require_y(self, y)
        X = self._check_rows(X)
        target = read_target(y, getattr(self, "estimator", None))
        check_consistent_length(X, target.y)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, np.empty((X.shape[0], 1))
            )
            kept = target.values[sample_weight > 0]
            if target.n_classes > 1 and len(np.unique(kept)) < 2:
                raise ValueError(
                    "The rows of positive sample_weight have one class only; two are "
                    "needed."
                )
        return X, target, sample_weight

    def _present(self, X, target, weight):
        """Rows of positive weight, and which they are: the others are absent."""
        if weight is None or np.all(weight > 0):
            return X, target, weight, None
        kept = np.flatnonzero(weight > 0)
        return take(X, kept), target.take(kept), weight[kept], kept

    def _folds(self, kept):
        """``cv`` for the rows that are present."""
        given = self.cv is None or isinstance(self.cv, Integral)
        if kept is None or given or hasattr(self.cv, "split"):
            return self.cv
        place = {row: k for k, row in enumerate(kept.tolist())}

        def part(rows):
            rows = np.asarray(rows)
            rows = np.flatnonzero(rows) if rows.dtype == bool else rows
            return np.array([place[i] for i in rows.tolist() if i in place], dtype=int)

        return [(part(train), part(test)) for train, test in self.cv]

    def _restore(self, kept, n_samples):
        """Number the rows as the caller does; absent rows have the score NaN."""
        if kept is None:
            return
        scores = np.full(n_samples, np.nan)
        scores[kept] = self.scores_
        self.scores_ = scores
        self.sample_indices_ = kept[self.sample_indices_]
        self.support_ = np.zeros(n_samples, dtype=bool)
        self.support_[self.sample_indices_] = True

    def _check_sample(self, X, y, estimator, classes, suffix="target"):
        """Return the rows and the target of another sample of the same columns."""
        if X is None or y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires X_{suffix} and "
                f"y_{suffix} to be passed to fit: rows like those the model is for, "
                "and their outcomes."
            )
        X = self._check_rows(X, reset=False)
        target = read_target(y, estimator, name=f"y_{suffix}", classes=classes)
        if X.shape[0] != len(target.y):
            raise ValueError(
                f"X_{suffix} has {X.shape[0]} rows and y_{suffix} {len(target.y)}."
            )
        return X, target

    def _select(self, scores, values, target, rng, n=None):
        """Set what a selector has: scores, support, indices and their number.

        ``n`` is the number of rows where ``n_select`` is no fraction of the allowed.
        """
        values = np.asarray(values, dtype=np.float64)
        allowed = values > -np.inf
        if n is None:
            n = number_to_keep(self.n_select, int(allowed.sum()))
        groups = None
        if self.balance == "class":
            if target is None or target.classes is None:
                raise ValueError("balance='class' needs a target of classes.")
            groups = target.values
        drawn = self.strategy == "sample"
        rows = choose(
            standardised(values) if drawn else values,
            n,
            groups=groups,
            n_groups=0 if target is None else target.n_classes,
            rng=rng if drawn else None,
        )
        self._keep(scores, rows, target, allowed)

    def _keep(self, scores, rows, target, allowed=None):
        """Set the selection once its rows are known."""
        if target is not None and target.classes is not None:
            present = target.values if allowed is None else target.values[allowed]
            lost = np.setdiff1d(np.unique(present), target.values[rows])
            if len(lost):
                name = target.classes.tolist()[lost[0]]
                raise ValueError(
                    f"The selection of {len(rows)} rows loses the class {name!r}. Pass "
                    "balance='class' to keep the proportions of the classes, or a "
                    "larger n_select."
                )
        self.scores_ = scores
        self.sample_indices_ = rows
        self.support_ = np.zeros(len(scores), dtype=bool)
        self.support_[rows] = True
        self.n_selected_ = len(rows)

    def _worst_are_large(self):
        """Whether the hardest, or most harmful, rows have the largest scores."""
        return False

    def get_support(self, indices=False):
        """Return which rows of ``fit`` are selected.

        Parameters
        ----------
        indices : bool, default=False
            Whether to return row numbers, sorted, in place of a mask.

        Returns
        -------
        support : ndarray
            Mask of shape (n_samples,), or row numbers of shape (n_selected,).
        """
        check_is_fitted(self)
        return self.sample_indices_ if indices else self.support_

    def fit_resample(self, X, y=None, **fit_params):
        """Fit, and return the selected rows.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            The rows to choose from.
        y : array-like of shape (n_samples,)
            Their outcomes.
        **fit_params : dict
            Passed to :meth:`fit`.

        Returns
        -------
        X_selected : same type as X, of shape (n_selected, n_features)
            The selected rows, in their order; a DataFrame keeps index and dtypes.
        y_selected : same type as y, of shape (n_selected,)
            Their outcomes.
        """
        rows = self.fit(X, y, **fit_params).sample_indices_
        return take(X, rows), None if y is None else take(y, rows)


def row_folds(target, n_folds, rng):
    """Return a fold number per row; the folds of a class differ by one row at most."""
    n = len(target.values)
    order = rng.permutation(n)
    if target.classes is not None:
        order = order[np.argsort(target.values[order], kind="stable")]
    folds = np.empty(n, dtype=np.int64)
    folds[order] = np.arange(n) % n_folds
    return folds


def splits_of(cv: Any, X, target, rng):
    """Return pairs of training and test rows that cover every row once.

    ``cv`` is an int for shuffled folds in proportion of the classes, a splitter, or an
    iterable of splits.
    """
    n = len(target.values)
    if isinstance(cv, Integral):
        n_folds = min(int(cv), n)
        if n_folds < 2:
            raise ValueError(
                f"Out-of-fold scores need 2 rows at least; n_samples={n}. Pass cv=None."
            )
        folds = row_folds(target, n_folds, rng)
        return [
            (np.flatnonzero(folds != k), np.flatnonzero(folds == k))
            for k in range(n_folds)
        ]
    pairs = cv.split(X, target.y) if hasattr(cv, "split") else cv
    pairs = [(np.asarray(train), np.asarray(test)) for train, test in pairs]
    seen = np.zeros(n, dtype=np.int64)
    for _, test in pairs:
        seen[test] += 1
    if not np.all(seen == 1):
        raise ValueError(
            "cv must put every row in exactly one test fold, as KFold does, so that "
            "each row has an out-of-fold score."
        )
    return pairs
