"""Continue a fitted model on a few rows: towards its coefficients, or by passes."""

import copy

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import check_array

from skdiff._base.inner import unfrozen
from skdiff.data_selection._base import take
from skdiff.data_selection._influence._estimator import is_supported
from skdiff.data_selection._models._base import (
    fit_model,
    last_step,
    partial_fit,
    split_pipeline,
)
from skdiff.data_selection._models._glm import (
    Penalty,
    logistic_towards,
    ridge_towards,
)

_PASSES = 10

WAYS = ("ridge", "partial_fit", "refit")


def way_to_fine_tune(estimator, fine_tune):
    """Return how to continue an estimator, or say why it cannot be done so."""
    linear = is_supported(estimator)
    passes = hasattr(unfrozen(estimator), "partial_fit")
    if fine_tune == "auto":
        return "ridge" if linear else "partial_fit" if passes else "refit"
    if fine_tune == "ridge" and not linear:
        raise ValueError(
            "fine_tune='ridge' needs Ridge, LinearRegression or LogisticRegression. "
            f"Got {type(last_step(estimator)).__name__}."
        )
    if fine_tune == "partial_fit" and not passes:
        raise ValueError(f"{type(estimator).__name__} has no partial_fit.")
    return fine_tune


def fine_tuned(model, X, target, way, estimator, rng=None):
    """Return a model continued on rows; the given one is left as it is.

    ``"ridge"`` keeps the model's own penalty and moves its centre from zero to the
    fitted coefficients, ``"partial_fit"`` goes over the rows ten times, ``"refit"``
    starts again from ``estimator`` on these rows alone.
    """
    if way == "refit":
        return fit_model(estimator, X, target, rng=rng)
    model = copy.deepcopy(unfrozen(model))
    if way == "partial_fit":
        for _ in range(_PASSES):
            partial_fit(model, X, target)
        return model
    if target.classes is not None:
        known = np.isin(target.y, last_step(model).classes_)
        if not known.all():  # of a class without coefficients nothing can be learned
            rows = np.flatnonzero(known)
            X, target = take(X, rows), target.take(rows)
    if len(target.y):
        _move_coefficients(model, X, target)
    return model


def _move_coefficients(model, X, target):
    last, Z = split_pipeline(model, X)
    Z = check_array(Z, accept_sparse="csr", dtype=np.float64)
    coef = np.atleast_2d(np.asarray(last.coef_, dtype=np.float64))
    has_intercept = bool(last.fit_intercept)
    centre = coef
    if has_intercept:
        intercept = np.broadcast_to(np.ravel(last.intercept_), (len(coef),))
        centre = np.column_stack([coef, intercept])
    if isinstance(last, LogisticRegression):
        strength = 1.0 / last.C if np.isfinite(last.C) and last.C > 0 else 1e-6
        codes = np.searchsorted(last.classes_, target.y)
        theta = logistic_towards(
            Z, codes, centre, Penalty(strength, strength), has_intercept
        )
    else:
        alpha = float(np.mean(last.alpha)) if isinstance(last, Ridge) else 1.0
        strength = alpha if alpha > 0 else 1e-6
        y = np.asarray(target.values, dtype=np.float64)[:, None]
        theta = ridge_towards(Z, y, centre, Penalty(strength, strength), has_intercept)
    d = coef.shape[1]
    last.coef_ = theta[:, :d].reshape(last.coef_.shape)
    if has_intercept:
        last.intercept_ = (
            theta[:, d] if np.ndim(last.intercept_) else float(theta[0, d])
        )
