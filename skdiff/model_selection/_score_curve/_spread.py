"""How far a prediction may be off: noise, rate, and the failure of the pattern."""

from typing import Any

import numpy as np
from scipy.stats import t as student

from skdiff._base.typing import Array
from skdiff._convex._power_curve import RatePrior, posterior
from skdiff.model_selection._score_curve._patterns import (
    N_PARAMETERS,
    Curves,
    Fitting,
    fit_curves,
    predict_curves,
)
from skdiff.model_selection._score_curve._trace import Points

# Fitted once to half of the data sets of lcdb_curves_dev: errors at 4 and 16 times the
# largest size have Student's tails, and grow with the logarithm of the factor.
TAIL = 2.0
KAPPA = 0.6


def replicates(
    pattern: str,
    points: Points,
    repeats: Array | None,
    fitted: Curves,
    how: Fitting,
    rng: Any,
    n_replicates: int = 100,
) -> Curves:
    """Fit bootstrap curves: folds drawn jointly over sizes, or residuals.

    Parameters
    ----------
    repeats : ndarray of shape (n_sizes, n_repeats) or None
        Scores of the repeats, whose columns are drawn; None draws normal noise of the
        size of the residuals.
    """
    if repeats is not None:
        k = repeats.shape[1]
        draws = rng.randint(k, size=(n_replicates, k))
        scores = repeats[:, draws].mean(axis=2).T
    else:
        noise = rng.standard_normal((n_replicates, len(points.sizes)))
        expected = predict_curves(fitted, points.sizes)[0]
        scores = expected + residual_deviations(pattern, points, fitted) * noise
    scores = np.minimum(scores, how.upper)
    W = np.broadcast_to(points.weight, scores.shape)
    count = np.full(len(scores), points.number.sum())
    return fit_curves(pattern, points.sizes, scores, W, how, count=count, refine=False)


def residual_deviations(pattern: str, points: Points, fitted: Curves) -> Array:
    """Standard deviations of the noise: larger at small sizes, as the weights say."""
    freedom = max(points.number.sum() - N_PARAMETERS[pattern], 1.0)
    residual = points.scores - predict_curves(fitted, points.sizes)[0]
    flat = np.sqrt(np.sum(points.number * residual**2) / freedom)
    weight = points.weight / points.number
    last = np.sqrt(fitted.error[0] / freedom / weight[-1])
    return np.minimum(last * np.sqrt(weight[-1] / weight), 2 * flat)


def spread_at(
    points: Points,
    fitted: Curves,
    bootstrap: Curves,
    how: Fitting,
    at: Array,
) -> Array:
    """Scale of the Student distribution of the score at each size."""
    sampled = predict_curves(bootstrap, at)
    variance = sampled.var(axis=0)
    if fitted.pattern == "power":
        predicted, p = posterior(
            points.sizes,
            points.scores,
            points.weight,
            at,
            upper=how.upper,
            prior=how.prior or RatePrior(),
            rate=float(fitted.shape[0, 0]),
            count=float(points.number.sum()),
        )
        away = predicted - predict_curves(fitted, at)[0]
        variance = variance + p @ away**2
    noise = residual_deviations(fitted.pattern, points, fitted)[-1]
    beyond = np.log(np.maximum(at / points.sizes[-1], 1.0))
    return np.asarray(np.sqrt(variance + noise**2) * (1.0 + KAPPA * beyond))


def quantiles(centre: Array, spread: Array, levels: Array) -> Array:
    """Return quantiles of shape (n_sizes, n_levels)."""
    return np.asarray(centre[:, None] + spread[:, None] * student.ppf(levels, TAIL))


def probability_above(centre: Array, spread: Array, target: float) -> Array:
    """Return the probability of a score of at least ``target``."""
    safe = np.where(spread > 0, spread, 1.0)
    away = np.where(spread > 0, (target - centre) / safe, np.inf)
    away = np.where((spread <= 0) & (centre >= target), -np.inf, away)
    return np.asarray(student.sf(away, TAIL))


def deviation(spread: Array) -> Array:
    """Return half the width of the central 68.27 % interval.

    The variance of Student's distribution with two degrees of freedom is infinite.
    """
    return np.asarray(spread * student.ppf(0.5 + 0.6827 / 2, TAIL))
