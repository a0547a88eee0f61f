"""Errors of one estimator trained from many seeds."""

from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.parallel import delayed

from skdiff._base.compat import streaming_parallel
from skdiff._base.inner import fit_inner, nested, seeded
from skdiff._base.progress import Progress
from skdiff._base.typing import Array


def has_seed(estimator: Any) -> bool:
    """Tell whether a random state decides about the fit."""
    return any("random_state" in e.get_params(deep=False) for e in nested(estimator))


def unseeded(estimator: Any) -> Any:
    """Return a clone of which all random states are open."""
    estimator = clone(estimator)
    names = [
        name
        for name in estimator.get_params(deep=True)
        if name.rpartition("__")[2] == "random_state"
    ]
    return estimator.set_params(**dict.fromkeys(names))


def outputs_of(model: Any, X: Any, classes: Any, metric: str) -> Array:
    """Return one-hot predictions or probabilities (n, K), or numbers (n, 1)."""
    if classes is None:
        found: Array = np.asarray(model.predict(X), dtype=np.float64).reshape(-1, 1)
        return found
    if metric == "mse" and hasattr(model, "predict_proba"):
        proba = np.asarray(model.predict_proba(X))
        found = np.zeros((len(proba), len(classes)))
        found[:, np.searchsorted(classes, model.classes_)] = proba
        return found
    return (np.asarray(model.predict(X))[:, None] == classes).astype(np.float64)


def error_of(outputs: Array, target: Array, metric: str) -> float:
    """Return the mean squared error over rows and outputs, or the error rate."""
    if metric == "mse":
        return float(((outputs - target) ** 2).mean())
    return float((outputs.argmax(axis=1) != target.argmax(axis=1)).mean())


def _one(estimator: Any, train: Any, test: Any, classes: Any, metric: str) -> Any:
    model = fit_inner(estimator, train[0], train[1])
    return [
        error_of(outputs_of(model, X, classes, metric), target, metric)
        for X, target in ((train[0], train[2]), (test[0], test[1]))
    ]


def refit_errors(
    estimator: Any,
    train: Any,
    test: Any,
    classes: Any,
    *,
    metric: str,
    seeds: Any,
    n_jobs: int | None,
    progress: Progress,
) -> Array:
    """Return training and test errors (count, 2) of refits.

    ``train`` holds rows, labels and targets as arrays, ``test`` rows and targets.
    """
    if classes is not None and not is_classifier(estimator):
        raise ValueError(
            f"{type(estimator).__name__} is no classifier, and y holds classes. Pass "
            'a classifier, or task="regression".'
        )
    base = unseeded(estimator)
    jobs = (
        delayed(_one)(
            seeded(base, check_random_state(int(s))), train, test, classes, metric
        )
        for s in seeds
    )
    found: list[Any] = []
    with progress.interruptible(lambda: len(found) > 1):
        for pair in streaming_parallel(n_jobs)(jobs):
            found.append(pair)
            if progress.step(loss=pair[1]) and len(found) > 1:
                break
    return np.array(found)
