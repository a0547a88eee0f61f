"""Outputs of an estimator trained on every subset: in one pass, or fit by fit."""

import numpy as np
from sklearn.base import is_regressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifier
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.utils import check_array
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.inner import fit_inner, seeded
from skdiff.data_selection._base import take
from skdiff.data_selection._datamodel._outputs import (
    log_losses,
    log_odds,
    margins,
    signed,
)
from skdiff.data_selection._datamodel._subsets import (
    gaussian_nb_outputs,
    kernel_outputs,
    neighbor_outputs,
    ridge_outputs,
)
from skdiff.data_selection._models._base import probabilities


class Reading:
    """From a model, or from predictions of many models, to one number per target."""

    def __init__(self, output, X_target, goal):
        self.output, self.X_target, self.goal = output, X_target, goal

    def of_model(self, model):
        """The output of one fitted model, of shape (targets,)."""
        goal = self.goal
        if callable(self.output):
            found = np.asarray(
                self.output(model, self.X_target, goal.y), dtype=np.float64
            )
            if found.shape != (len(goal.y),):
                raise ValueError(
                    f"output must return {len(goal.y)} numbers, one per target row. "
                    f"Got shape {found.shape}."
                )
            return found
        if goal.classes is None:
            return self.of_numbers(np.asarray(model.predict(self.X_target)).ravel())
        if self.output == "margin" and hasattr(model, "decision_function"):
            values = np.asarray(model.decision_function(self.X_target))
            if values.ndim == 1:
                return signed(values, goal.values)
            if values.shape[1] == len(goal.classes):
                return margins(values, goal.values)
        P = probabilities(model, self.X_target, goal.classes, "Datamodel")
        return self.of_probabilities(P)

    def of_numbers(self, predictions):
        """Outputs of regressors: predictions, or their squared errors."""
        if self.output == "loss":
            return (predictions - self.goal.values) ** 2
        if self.output == "logit":
            raise ValueError("output='logit' needs a classifier.")
        return predictions

    def of_probabilities(self, P):
        """Outputs of classifiers, from (..., targets, classes)."""
        how = {"margin": margins, "loss": log_losses, "logit": log_odds}
        return how[self.output](P, self.goal.values)


def subset_outputs(estimator, X, target, masks, reading, *, n_jobs, rng):
    """Return what models trained on the subsets say: (subsets, targets)."""
    found = None
    if not callable(reading.output):
        found = fast_outputs(estimator, X, target, masks, reading)
    if found is None:
        seeds = rng.randint(2**31 - 1, size=len(masks))
        found = Parallel(n_jobs=n_jobs)(
            delayed(_fitted_output)(estimator, X, target, mask, reading, int(seed))
            for mask, seed in zip(masks, seeds, strict=True)
        )
    return np.array(found)


def _fitted_output(estimator, X, target, mask, reading, seed):
    rows = np.flatnonzero(mask)
    estimator = seeded(estimator, np.random.RandomState(seed))
    model = fit_inner(estimator, take(X, rows), target.y[rows])
    return reading.of_model(model)


def fast_outputs(estimator, X, target, masks, reading):
    """The outputs from shared statistics, or None where there is no such way."""
    kind = type(estimator)
    way = {
        Ridge: _ridge,
        LinearRegression: _ridge,
        RidgeClassifier: _ridge_classifier,
        KernelRidge: _kernel_ridge,
        KNeighborsClassifier: _neighbors,
        KNeighborsRegressor: _neighbors,
        GaussianNB: _naive_bayes,
    }.get(kind)
    if way is None or hasattr(X, "tocsr"):
        return None
    X = check_array(X, dtype=np.float64)
    X_target = check_array(reading.X_target, dtype=np.float64)
    return way(estimator, X, target, masks, X_target, reading)


def _ridge(estimator, X, target, masks, X_target, reading):
    alpha = getattr(estimator, "alpha", 0.0)
    if np.ndim(alpha) or estimator.positive:
        return None
    f = ridge_outputs(
        X, target.values, X_target, masks, float(alpha), estimator.fit_intercept
    )
    return reading.of_numbers(f)


def _ridge_classifier(estimator, X, target, masks, X_target, reading):
    if (
        len(target.classes) != 2
        or estimator.positive
        or estimator.class_weight is not None
        or reading.output != "margin"
    ):
        return None
    f = ridge_outputs(
        X,
        2.0 * target.values - 1.0,
        X_target,
        masks,
        float(estimator.alpha),
        estimator.fit_intercept,
    )
    return signed(f, reading.goal.values)


def _kernel_ridge(estimator, X, target, masks, X_target, reading):
    if np.ndim(estimator.alpha) or estimator.alpha == 0:
        return None
    how = {"metric": estimator.kernel, "filter_params": True}
    if callable(estimator.kernel):
        how = {"metric": estimator.kernel, **(estimator.kernel_params or {})}
    else:
        gamma, degree, coef0 = estimator.gamma, estimator.degree, estimator.coef0
        how |= {"gamma": gamma, "degree": degree, "coef0": coef0}
    K, K_target = pairwise_kernels(X, **how), pairwise_kernels(X_target, X, **how)
    f = kernel_outputs(K, target.values, K_target, masks, float(estimator.alpha), False)
    return reading.of_numbers(f)


def _neighbors(estimator, X, target, masks, X_target, reading):
    if estimator.weights != "uniform" or masks[0].sum() < estimator.n_neighbors:
        return None
    full = type(estimator)(**estimator.get_params()).fit(X, target.values)
    order = full.kneighbors(X_target, n_neighbors=len(X), return_distance=False)
    numbers = is_regressor(estimator)
    Y = target.values[:, None] if numbers else np.eye(target.n_classes)[target.values]
    found = neighbor_outputs(order, Y, masks, estimator.n_neighbors)
    if numbers:
        return reading.of_numbers(found[:, :, 0])
    return reading.of_probabilities(found)


def _naive_bayes(estimator, X, target, masks, X_target, reading):
    priors = None if estimator.priors is None else np.asarray(estimator.priors)
    P = gaussian_nb_outputs(
        X, target.values, X_target, masks, estimator.var_smoothing, priors
    )
    return reading.of_probabilities(P)
