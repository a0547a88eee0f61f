"""Predictions for every row by models that have not seen it.

All of them treat rows alike: the rows come in an order drawn at random, and the folds
do not look at outcomes or at who is labelled. That symmetry is the whole argument for
the validity of what is built on them.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import fit_inner, takes_weights
from skdiff._base.typing import Array, IntArray


def balanced_weight(z: Array) -> Array:
    """Weights that give both classes of ``z`` the same mass, of mean one."""
    n1 = z.sum()
    if n1 in (0, len(z)):
        return np.ones(len(z))
    return len(z) / 2 / np.where(z == 1, n1, len(z) - n1)


def balanced_rows(z: Array) -> IntArray:
    """Rows with those of the rarer class repeated, to about the mass of the other."""
    counts = np.bincount(z.astype(np.int64), minlength=2)
    repeats = np.maximum(counts.max() // np.maximum(counts, 1), 1)
    return np.repeat(np.arange(len(z)), repeats[z.astype(np.int64)])


def fit_balanced(estimator: Any, X: Any, z: Array, balanced: bool) -> Any:
    """Fit a clone, both classes of the same mass on request.

    What takes no weights gets rows of the rarer class several times. Both ways treat
    the rows of a class alike.
    """
    weight = None
    if balanced and takes_weights(estimator):
        weight = balanced_weight(z)
    elif balanced:
        rows = balanced_rows(z)
        X, z = safe_indexing(X, rows), z[rows]
    target = z.astype(np.int64) if is_classifier(estimator) else z
    return fit_inner(estimator, X, target, weight=weight)


def fold_predictions(
    estimators: list[Any],
    X: Any,
    z: Array,
    folds: list[tuple[IntArray, IntArray]],
    balanced: bool,
    predict: Callable[[Any, Any], Array],
    n_jobs: int | None,
) -> Array:
    """Out-of-fold margins of every row and estimator, shape (n_rows, n_estimators)."""

    def one(estimator: Any, train: IntArray, test: IntArray) -> Array:
        target = z[train]
        if len(np.unique(target)) == 1:  # nothing to learn: all rows are alike
            return np.full(len(test), float(target[0]))
        model = fit_balanced(estimator, safe_indexing(X, train), target, balanced)
        margins: Array = predict(model, safe_indexing(X, test))
        return margins

    jobs = [(k, e, *fold) for k, e in enumerate(estimators) for fold in folds]
    answers = Parallel(n_jobs=n_jobs)(delayed(one)(*job[1:]) for job in jobs)
    out = np.empty((len(z), len(estimators)))
    for (k, _, _, test), answer in zip(jobs, answers, strict=True):
        out[test, k] = answer
    return out


def make_folds(cv: Any, n: int) -> list[tuple[IntArray, IntArray]]:
    """Folds of rows that are already in random order; refuse what breaks symmetry."""
    if isinstance(cv, KFold) and not cv.shuffle:
        raise ValueError(
            "cv=KFold(shuffle=False) puts labelled and new rows into different folds "
            "by their order, which breaks the exchangeability the guarantee needs. "
            "Pass KFold(shuffle=True) or a number of folds."
        )
    n_splits = cv.n_splits if isinstance(cv, KFold) else cv
    if n_splits > n:
        raise ValueError(
            f"Cannot have number of splits n_splits={n_splits} greater than the number "
            f"of samples: n_samples={n}."
        )
    return list(KFold(n_splits).split(np.empty((n, 1))))


def check_cv(cv: Any) -> Any:
    """Return ``cv`` as a number of folds, a KFold, ``"loo"`` or ``"oob"``."""
    name = type(cv).__name__
    if name == "LeaveOneOut":
        return "loo"
    if isinstance(cv, str) and cv in ("loo", "oob"):
        return cv
    if isinstance(cv, KFold) and type(cv) is KFold:
        make_folds(cv, cv.n_splits)
        return cv
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool) and cv >= 2:
        return int(cv)
    reason = "must be a number of folds, KFold(shuffle=True), 'loo' or 'oob'"
    if "Group" in name or "Stratified" in name or name == "PredefinedSplit":
        reason = (
            "draws folds that depend on outcomes or groups, which tell labelled from "
            f"new rows and break the guarantee; it {reason}"
        )
    elif name in ("TimeSeriesSplit",):
        reason = f"draws folds that depend on the order of the rows; it {reason}"
    raise ValueError(f"cv={cv!r} {reason}.")


def out_of_bag(estimator: Any, X: Any, z: Array, balanced: bool) -> Array:
    """Predictions of each row by the trees that have not drawn it."""
    if "oob_score" not in estimator.get_params():
        raise ValueError(
            f"cv='oob' needs a forest with out-of-bag predictions, got "
            f"{type(estimator).__name__}."
        )
    forest = clone(estimator).set_params(oob_score=True, bootstrap=True)
    with warnings.catch_warnings():
        # of rows in every bag; they are counted below, and refused
        warnings.filterwarnings("ignore", "Some inputs do not have OOB", UserWarning)
        forest = fit_balanced(forest, X, z, balanced)
    drawn = np.zeros(len(z), dtype=np.intp)
    for bag in forest.estimators_samples_:
        drawn[np.unique(bag)] += 1
    if np.any(drawn == len(forest.estimators_)):
        raise ValueError("Some rows are in every bag. Increase n_estimators.")
    if is_classifier(forest):
        f = forest.oob_decision_function_[:, -1]
        if forest.oob_decision_function_.shape[1] == 1:
            f = np.full(len(z), float(z[0]))
    else:
        f = forest.oob_prediction_
    return f


# --- leaving one out without refitting ------------------------------------------------


def closed_form(estimator: Any, X: Any, z: Array, balanced: bool) -> Array | None:
    """Leave-one-out margins of every row in one fit, or None if there is no formula.

    Weights are those of the whole table: they treat rows alike, as they must.
    """
    kind = type(estimator)
    weight = balanced_weight(z) if balanced else np.ones(len(z))
    if kind is Ridge and np.ndim(estimator.alpha) == 0 and not estimator.positive:
        return _ridge(estimator, X, z, weight)
    if kind is KernelRidge and np.ndim(estimator.alpha) == 0:
        return _kernel_ridge(estimator, X, z, weight)
    if balanced and not takes_weights(estimator):
        return None
    if kind is KNeighborsRegressor:
        return clone(estimator).fit(X, z).predict(None)
    if kind is KNeighborsClassifier and len(np.unique(z)) == 2:
        return clone(estimator).fit(X, z.astype(np.int64)).predict_proba(None)[:, 1]
    return None


def _ridge(estimator: Any, X: Any, z: Array, weight: Array) -> Array:
    """``f_-i = z_i - (z_i - f_i) / (1 - H_ii)`` with the weighted hat matrix H."""
    X = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=np.float64)
    penalty = np.full(X.shape[1], float(estimator.alpha))
    if estimator.fit_intercept:
        X = np.column_stack(
            [X - np.average(X, axis=0, weights=weight), np.ones(len(X))]
        )
        penalty = np.append(penalty, 0.0)
    A = np.sqrt(weight)[:, None] * X
    # an augmented least squares problem: no squared condition number
    Q, _ = np.linalg.qr(np.vstack([A, np.diag(np.sqrt(penalty))]))
    Q = Q[: len(X)]
    fitted = Q @ (Q.T @ (np.sqrt(weight) * z)) / np.sqrt(weight)
    leverage = np.minimum((Q**2).sum(axis=1), 1 - 1e-12)
    return z - (z - fitted) / (1 - leverage)


def _kernel_ridge(estimator: Any, X: Any, z: Array, weight: Array) -> Array | None:
    """``f_-i = z_i - alpha_i / [(K + lambda I)^-1]_ii``, scaled by root weights."""
    if estimator.kernel == "precomputed":
        return None
    if callable(estimator.kernel):
        options = estimator.kernel_params or {}
    else:
        options = {
            name: getattr(estimator, name) for name in ("gamma", "degree", "coef0")
        }
    K = pairwise_kernels(X, metric=estimator.kernel, filter_params=True, **options)
    root = np.sqrt(weight)
    inverse = np.linalg.inv(K * root[:, None] * root + estimator.alpha * np.eye(len(K)))
    return z - inverse @ (root * z) / np.diag(inverse) / root
