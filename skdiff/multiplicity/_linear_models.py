"""From a scikit-learn estimator to the objective it minimised."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeCV,
)
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from skdiff._convex._losses import Logistic, Squared

CLASSIFIERS = (LogisticRegression, LogisticRegressionCV)
REGRESSORS = (Ridge, RidgeCV, LinearRegression)
SUPPORTED = {
    "classifier": "LogisticRegression and LogisticRegressionCV (L2 or no penalty)",
    "regressor": "Ridge, RidgeCV and LinearRegression",
}


class Objective(NamedTuple):
    """What a linear model minimises, per unit of weight."""

    loss: object
    alpha: float  # strength of ||w||^2 / 2
    intercept_alpha: float  # the same for the intercept; None without one
    fit_intercept: bool
    class_weight: object


def split(estimator, default, kind):
    """Return (transformers or None, linear model, frozen?) of what the user gave."""
    frozen = isinstance(estimator, FrozenEstimator)
    inner = estimator.estimator if frozen else estimator
    inner = default() if inner is None else inner
    steps, last = None, inner
    if isinstance(inner, Pipeline):
        steps, last = inner[:-1], inner.steps[-1][1]
        if isinstance(last, FrozenEstimator):
            frozen, last = True, last.estimator
    allowed = CLASSIFIERS if kind == "classifier" else REGRESSORS
    if not isinstance(last, allowed):
        raise ValueError(
            f"estimator must be, or be a Pipeline that ends in, one of "
            f"{SUPPORTED[kind]}; got {type(last).__name__}."
        )
    if frozen:
        try:
            check_is_fitted(inner)
        except NotFittedError as error:
            raise NotFittedError(
                "estimator is frozen but not fitted: fit it before it is frozen."
            ) from error
    return steps, last, inner, frozen


def fitted(inner, frozen, X, y, sample_weight):
    """The estimator, fitted here unless it came fitted."""
    if frozen:
        return inner
    inner = clone(inner)
    with warnings.catch_warnings():
        # its tolerance is polished away below, so its own doubts do not matter
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        if sample_weight is None:
            return inner.fit(X, y)
        if isinstance(inner, Pipeline):
            return inner.fit(
                X, y, **{f"{inner.steps[-1][0]}__sample_weight": sample_weight}
            )
        return inner.fit(X, y, sample_weight=sample_weight)


def objective_of(model, total_weight):
    """Read the objective off a fitted model; ``total_weight`` is the sum of weights.

    LogisticRegression minimises ``C sum_i s_i loss_i + ||w||^2 / 2``; divided by ``C
    sum_i s_i`` the losses are averaged and the penalty is ``1 / (C sum_i s_i)``. Ridge
    minimises ``sum_i s_i (y - f)^2 + alpha ||w||^2``; halved and averaged, ``alpha /
    sum_i s_i``.
    """
    if isinstance(model, CLASSIFIERS):
        C = _strength(model)
        alpha = 0.0 if np.isinf(C) else 1.0 / (C * total_weight)
        intercept = 0.0
        if model.solver == "liblinear":  # penalises the intercept, scaled
            intercept = alpha / model.intercept_scaling**2
        return Objective(
            Logistic(), alpha, intercept, model.fit_intercept, model.class_weight
        )
    if getattr(model, "positive", False):
        raise ValueError("estimator with positive=True is not supported.")
    alpha = 0.0
    if not isinstance(model, LinearRegression):
        alpha = model.alpha_ if isinstance(model, RidgeCV) else model.alpha
        if np.ndim(alpha) and np.size(alpha) > 1:
            raise ValueError("estimator with one alpha a target is not supported.")
        alpha = float(np.asarray(alpha).ravel()[0]) / total_weight
    return Objective(Squared(), alpha, 0.0, model.fit_intercept, None)


def _strength(model):
    """C of a logistic model, infinite without penalty; refuse L1."""
    penalty = model.penalty
    if isinstance(model, LogisticRegressionCV):
        ratio = np.ravel(getattr(model, "l1_ratio_", 0.0))[0]
        C = float(np.ravel(model.C_)[0])
    else:
        ratio, C = model.l1_ratio, model.C
    # since 1.8 the penalty is told by l1_ratio and C alone ("deprecated")
    if penalty == "l1" or (penalty in ("elasticnet", "deprecated") and ratio):
        raise ValueError(
            "estimator with an L1 penalty is not supported; supported are "
            f"{SUPPORTED['classifier']}."
        )
    return np.inf if penalty is None else C


def combined_weight(sample_weight, class_weight, y, n):
    """Product of row and class weights."""
    weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
    if class_weight is not None:
        weight = weight * compute_sample_weight(class_weight, y)
    return weight
