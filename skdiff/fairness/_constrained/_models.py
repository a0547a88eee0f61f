"""Which scikit-learn models are solved exactly, and how solutions become models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from skdiff._base.typing import Array, IntArray
from skdiff._base.validation import check_X
from skdiff.fairness._constrained._linear import LinearModel

LARGEST_SYSTEM = 3000  # unknowns of which a Hessian is factorised


@dataclass(frozen=True)
class Linear:
    """A linear model and its objective; ``penalty`` is C or alpha as given."""

    model: Any
    logistic: bool
    penalty: float
    fit_intercept: bool
    class_weight: Any = None


def last_step(estimator: Any) -> Any:
    """Return the model at the end of a pipeline, or the estimator itself."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def as_linear(estimator: Any) -> Linear | None:
    """Return the objective of a model that is solved exactly, None for others."""
    model = last_step(estimator)
    if type(model) is LogisticRegression:
        smooth = model.penalty in ("l2", None, "deprecated") and not model.l1_ratio
        if not smooth or (model.intercept_scaling != 1 and model.fit_intercept):
            return None
        C = np.inf if model.penalty is None else float(model.C)
        return Linear(model, True, C, model.fit_intercept, model.class_weight)
    if type(model) is Ridge and not model.positive and np.ndim(model.alpha) == 0:
        return Linear(model, False, float(model.alpha), model.fit_intercept)
    if type(model) is LinearRegression and not model.positive:
        return Linear(model, False, 0.0, model.fit_intercept)
    return None


def linear_problem(linear: Linear, Z: Any, y: Array, weight: Array) -> LinearModel:
    """Return rows and penalty of a model whose columns are Z.

    The objective is the weighted mean loss plus ``||w||^2 / (2 C n)`` or ``alpha / n
    ||w||^2``, where n is the sum of the weights.
    """
    total = float(weight.sum())
    C = linear.penalty
    strength = 1.0 / (C * total) if linear.logistic else 2.0 * C / total
    ridge = np.full(Z.shape[1], strength)
    ones = np.ones((Z.shape[0], 1))
    A = sparse.csr_matrix(Z) if sparse.issparse(Z) else np.asarray(Z, dtype=np.float64)
    if linear.fit_intercept:
        A = sparse.hstack([A, ones]).tocsr() if sparse.issparse(Z) else np.c_[A, ones]
        ridge = np.append(ridge, 0.0)
    return LinearModel(A, y, weight / total, ridge, linear.logistic)


def weights_of_classes(
    class_weight: Any, classes: Any, codes: IntArray, weight: Array
) -> Array:
    """Return the factor of each row; balanced ones count rows by their weights."""
    if class_weight == "balanced":
        totals = np.bincount(codes, weights=weight, minlength=len(classes))
        return np.asarray(weight.sum() / (len(classes) * totals))[codes]
    return np.asarray(compute_sample_weight(class_weight, classes[codes]))


def fit_before(estimator: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """Fit the steps before the linear model; return them and what it sees."""
    if not isinstance(estimator, Pipeline) or len(estimator.steps) == 1:
        return None, X
    before = clone(estimator[:-1])
    return before, before.fit_transform(X, y)


def fitted_model(linear: Linear, before: Any, Z: Any, x: Array, classes: Any) -> Any:
    """Return the fitted scikit-learn model with these coefficients."""
    model = clone(linear.model)
    check_X(model, Z, reset=True, skip_check_array=True)
    n_rows = 1 if classes is None or len(classes) == 2 else len(classes)
    W = x.reshape(n_rows, -1)
    coef = W[:, :-1] if linear.fit_intercept else W
    intercept = W[:, -1] if linear.fit_intercept else np.zeros(n_rows)
    if classes is None:
        model.coef_, model.intercept_ = coef[0].copy(), float(intercept[0])
    else:
        model.coef_, model.intercept_ = coef.copy(), intercept.copy()
        model.classes_ = classes
        model.n_iter_ = np.zeros(1, dtype=np.int32)
    return model


def joined(estimator: Any, before: Any, model: Any) -> Any:
    """Return the pipeline with its fitted steps, or the model alone."""
    if not isinstance(estimator, Pipeline):
        return model
    name = estimator.steps[-1][0]
    pipeline = clone(estimator)
    pipeline.steps = [*([] if before is None else before.steps), (name, model)]
    return pipeline


def outputs(model: Any, X: Any, binary: bool) -> Array:
    """Log odds of the second class, or predictions, of a fitted model."""
    if not binary:
        return np.asarray(model.predict(X), dtype=np.float64)
    if hasattr(model, "predict_proba"):
        p = np.asarray(model.predict_proba(X), dtype=np.float64)
        tiny = 1e-15
        return np.asarray(
            np.log(np.clip(p[:, 1], tiny, None)) - np.log(np.clip(p[:, 0], tiny, None))
        )
    return np.asarray(model.decision_function(X), dtype=np.float64)


def log_losses(model: Any, X: Any, codes: Array) -> Array:
    """Log loss of each row, from probabilities."""
    p = np.asarray(model.predict_proba(X), dtype=np.float64)
    return -np.log(np.clip(p[np.arange(len(p)), codes.astype(int)], 1e-15, None))
