"""One learning curve: its fit, its replicates, and what both say of other sizes."""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array
from skdiff._convex._power_curve import RatePrior
from skdiff.model_selection._score_curve._patterns import (
    N_PARAMETERS,
    Curves,
    Fitting,
    fit_curves,
    limits,
    predict_curves,
)
from skdiff.model_selection._score_curve._spread import replicates, spread_at
from skdiff.model_selection._score_curve._trace import Points

_FARTHEST = 1e12
_HALVINGS = 80


class Member(NamedTuple):
    """A fitted pattern, its bootstrap replicates (or None), and its weight."""

    curve: Curves
    bootstrap: Curves | None
    weight: float


class Fitted(NamedTuple):
    """One or several patterns, averaged."""

    members: tuple[Member, ...]
    points: Points
    how: Fitting
    lower: float

    def predict(self, sizes: Array) -> Array:
        """Scores at sizes, of shape (n_sizes,)."""
        parts = [m.weight * predict_curves(m.curve, sizes)[0] for m in self.members]
        return np.clip(np.sum(parts, axis=0), self.lower, self.how.upper)

    def asymptote(self) -> float:
        """What the scores tend to."""
        parts = [m.weight * limits(m.curve, self.how.upper)[0] for m in self.members]
        return float(np.sum(parts))

    def spread(self, sizes: Array) -> Array:
        """Scale of the error of each prediction."""
        total = np.zeros(len(sizes))
        centre = self.predict(sizes)
        for m in self.members:
            if m.bootstrap is None:
                raise ValueError("There are no intervals: intervals is None.")
            s = spread_at(self.points, m.curve, m.bootstrap, self.how, sizes)
            away = predict_curves(m.curve, sizes)[0] - centre
            total += m.weight * (s**2 + (away**2 if len(self.members) > 1 else 0.0))
        return np.asarray(np.sqrt(total))


def to_state(fitted: Fitted) -> dict[str, Any]:
    """Return plain numbers and arrays, which every file can hold."""
    members = [
        {
            "curve": m.curve._asdict(),
            "bootstrap": None if m.bootstrap is None else m.bootstrap._asdict(),
            "weight": m.weight,
        }
        for m in fitted.members
    ]
    prior = None if fitted.how.prior is None else list(fitted.how.prior)
    return {
        "members": members,
        "points": fitted.points._asdict(),
        "upper": fitted.how.upper,
        "prior": prior,
        "lower": fitted.lower,
    }


def from_state(state: dict[str, Any]) -> Fitted:
    """Return what :func:`to_state` was given."""
    members = tuple(
        Member(
            Curves(**m["curve"]),
            None if m["bootstrap"] is None else Curves(**m["bootstrap"]),
            m["weight"],
        )
        for m in state["members"]
    )
    prior = None if state["prior"] is None else RatePrior(*state["prior"])
    how = Fitting(state["upper"], prior)
    return Fitted(members, Points(**state["points"]), how, state["lower"])


def fit_all(
    patterns: tuple[str, ...],
    points: Points,
    how: Fitting,
    lower: float,
    repeats: Array | None,
    rng: Any,
) -> Fitted:
    """Fit each pattern; several are weighted by their errors at the last size.

    Parameters
    ----------
    patterns : tuple of str
        Keys of ``N_PARAMETERS``.
    points : Points
        What was observed, in order of size.
    how : Fitting
        Bound of the asymptote, and prior of the rate.
    lower : float
        Bound of predictions.
    repeats : ndarray of shape (n_sizes, n_repeats) or None
        Scores whose columns the bootstrap draws; None draws noise.
    rng : RandomState or None
        None makes no replicates.
    """
    weights = np.ones(1) if len(patterns) == 1 else _by_last(patterns, points, how)
    members = []
    for pattern, weight in zip(patterns, weights, strict=True):
        curve = _fit(pattern, points, how)
        bootstrap = None
        if rng is not None:
            bootstrap = replicates(pattern, points, repeats, curve, how, rng)
        members.append(Member(curve, bootstrap, float(weight)))
    return Fitted(tuple(members), points, how, lower)


def _fit(pattern: str, points: Points, how: Fitting) -> Curves:
    return fit_curves(
        pattern,
        points.sizes,
        points.scores[None],
        points.weight[None],
        how,
        count=np.array([points.number.sum()]),
    )


def _by_last(patterns: tuple[str, ...], points: Points, how: Fitting) -> Array:
    """Weights inverse to the squared error at the largest size, left out of the fit."""
    before = points.sizes < points.sizes[-1]
    known = Points(*(v[before] for v in points))
    target = np.average(points.scores[~before], weights=points.number[~before])
    errors = []
    for pattern in patterns:
        enough = len(np.unique(known.sizes)) >= N_PARAMETERS[pattern]
        if not enough:
            errors.append(np.inf)
            continue
        curve = _fit(pattern, known, how)
        errors.append(float(predict_curves(curve, points.sizes[-1:])[0, 0] - target))
    squares = np.square(errors)
    floor = 1e-4 * np.ptp(points.scores) ** 2 + 1e-300
    weights = 1.0 / (squares + floor)
    if not weights.any():
        weights = np.ones(len(patterns))
    return np.asarray(weights / weights.sum())


def size_for(fitted: Fitted, target: float) -> float:
    """Smallest size at which the prediction reaches a score; inf where it never does.

    Bisection on the logarithm of the size: predictions never fall.
    """
    if target >= fitted.asymptote() and target > fitted.predict(np.ones(1) * 1e-12)[0]:
        return float("inf")
    largest = float(fitted.points.sizes[-1])
    low, high = np.log(largest / _FARTHEST), np.log(largest * _FARTHEST)
    if fitted.predict(np.exp([high]))[0] < target:
        return float("inf")
    if fitted.predict(np.exp([low]))[0] >= target:
        return float(np.exp(low))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = fitted.predict(np.exp([middle]))[0] >= target
        low, high = (low, middle) if reached else (middle, high)
    return float(np.exp(high))


def covariance(fitted: Fitted) -> Array:
    """Covariance of asymptote, amplitude and rate of a power law.

    From the Jacobian of the weighted residuals; parameters on a bound do not vary.
    """
    curve, points = fitted.members[0].curve, fitted.points
    c, a, rate = curve.asymptote[0], curve.amplitude[0], curve.shape[0, 0]
    basis = np.exp(-rate * np.log(points.sizes))
    raw = a * curve.scale**rate
    J = np.c_[np.ones(len(basis)), -basis, raw * basis * np.log(points.sizes)]
    free = np.array([c < fitted.how.upper, a > 0, a > 0])
    J = J[:, free] * np.sqrt(points.weight)[:, None]
    freedom = max(points.number.sum() - 3.0, 1.0)
    found = np.zeros((3, 3))
    units = np.maximum(np.sqrt(np.sum(J**2, axis=0)), 1e-300)
    inverse = np.linalg.pinv((J / units).T @ (J / units))
    found[np.ix_(free, free)] = inverse / np.outer(units, units)
    return np.asarray(found * curve.error[0] / freedom)
