"""Data of the pilots, their scores and distances, and the best of many mixtures."""

import warnings
from importlib import import_module
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import is_classifier
from sklearn.utils import check_array

from skdiff._base.inner import fit_inner
from skdiff._base.tables import TableEncoder
from skdiff.data_selection._base import take
from skdiff.data_selection._mixture._forms import Sizes
from skdiff.data_selection._mixture._simplex import counts_of
from skdiff.data_selection._mixture._transport import (
    Cloud,
    Cuts,
    Plan,
    costs,
    exact_plan,
    extended,
    label_costs,
    smooth_plan,
)

RESAMPLES = 3
MOST_POINTS = 400
MOST_ROWS = 2000
TINY = 1e-6
_POT = "ot"  # codespell:ignore


class MixtureChoice(NamedTuple):
    """A mixture, its rows per source, and the score it is predicted to reach."""

    mixture: np.ndarray
    counts: np.ndarray
    predicted_score: float


class Transport(NamedTuple):
    """How distances are computed."""

    solver: str
    label_cost: str


class Data(NamedTuple):
    """Rows of the sources by number, their labels, and the validation set."""

    X: object
    target: object
    rows: list
    sources: np.ndarray
    X_val: object
    goal: object

    def draw(self, mixture, n, rng):
        """Row numbers of a mixture."""
        counts = counts_of(mixture, n)
        parts = [
            rng.choice(rows, min(count, len(rows)), replace=False)
            for rows, count in zip(self.rows, counts, strict=True)
        ]
        return np.sort(np.concatenate(parts))

    def clouds(self, rng):
        """Standardised rows of each source, at most two thousand, and of validation."""
        numbers = Numbers(self.X_val)
        Z_val = numbers.of(self.X_val)
        mean, scale = Z_val.mean(axis=0), Z_val.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        values = np.asarray(self.goal.values, dtype=np.float64)
        centre, spread = values.mean(), values.std() or 1.0

        def cloud(X, target):
            Z = (numbers.of(X) - mean) / scale
            if target.classes is not None:
                return Cloud(Z, np.asarray(target.values, dtype=np.int64))
            return Cloud(np.column_stack([Z, (target.values - centre) / spread]), None)

        parts = []
        for rows in self.rows:
            kept = rows
            if len(rows) > MOST_ROWS:
                kept = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
            parts.append(cloud(take(self.X, kept), self.target.take(kept)))
        return parts, cloud(self.X_val, self.goal)


class Numbers:
    """Columns as numbers: text and categories become indicators of their levels."""

    def __init__(self, X):
        self.encoder = None
        words = [not is_numeric(dtype) for dtype in getattr(X, "dtypes", [])]
        if any(words):
            self.encoder = TableEncoder(np.array(words)).fit(X)

    def of(self, X):
        """Return a finite array; levels that X did not have count as one more."""
        if self.encoder is None:
            return check_array(X, dtype=np.float64, input_name="X")
        numeric, codes = self.encoder.transform(X)
        sizes = self.encoder.cardinalities
        levels = [np.eye(size)[c] for size, c in zip(sizes, codes.T, strict=True)]
        return np.column_stack([numeric, *levels])


def is_numeric(dtype):
    """Tell numbers and booleans from text and categories, of pandas and polars."""
    if hasattr(dtype, "is_numeric"):
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biufc"


def some(cloud, rows):
    return Cloud(cloud.X[rows], None if cloud.codes is None else cloud.codes[rows])


def stacked(clouds):
    codes = None
    if clouds[0].codes is not None:
        codes = np.concatenate([c.codes for c in clouds])
    return Cloud(np.vstack([c.X for c in clouds]), codes)


def pilot_score(model, data, rows, scorer):
    """Score of a pilot; NaN where its rows have one class only."""
    target = data.target.take(rows)
    if is_classifier(model) and len(np.unique(target.values)) < 2:
        return np.nan
    model = fit_inner(model, take(data.X, rows), target.y)
    return float(scorer(model, data.X_val, data.goal.y))


def by_pot(C):
    """Exact transport between sets of any sizes by the package POT."""
    try:
        pot = import_module(_POT)
    except ImportError as error:
        raise ImportError(
            "ot_solver='pot' needs the package POT. Install it with `pip install POT`, "
            "or use ot_solver='exact'."
        ) from error
    n, m = C.shape
    _, log = pot.emd(np.full(n, 1 / n), np.full(m, 1 / m), C, log=True)
    f = (C - log["v"]).min(axis=1)
    g = (C - f[:, None]).min(axis=0)
    return Plan(float(log["cost"]), f, g)


def best_score(scorer, scores):
    """Zero for negated losses, one for scores up to one, none otherwise."""
    if getattr(scorer, "_sign", 1) < 0 and scores.max() <= 0:
        return 0.0
    return 1.0 if scores.max() <= 1 else np.inf


def linked(scores, link, best):
    """Scores on the scale of the link."""
    if link == "identity":
        return scores
    if not np.isfinite(best):
        raise ValueError(f"link={link!r} needs scores with a largest possible value.")
    if link == "log":
        return -np.log(np.maximum(best - scores, TINY))
    if scores.min() < 0 or best != 1.0:
        raise ValueError("link='logit' needs scores between 0 and 1.")
    p = np.clip(scores, TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def scored(values, link, best):
    """Scores from the scale of the link, at most the best possible one."""
    if link == "logit":
        return expit(values)
    if link == "log":
        return best - np.exp(-values)
    return np.minimum(values, best)


def distances_of(data, mixtures, n, how, rng):
    """Cuts from the pilots' potentials, and mean distances."""
    clouds, goal = data.clouds(rng)
    n_classes = data.target.n_classes
    slopes, offsets, distances = [], [], []
    size = min(n, len(goal.X), MOST_POINTS)
    for p in mixtures:
        total = 0.0
        for _ in range(RESAMPLES):
            counts = counts_of(p, size)
            part = [
                rng.choice(len(c.X), k, replace=k > len(c.X))
                for c, k in zip(clouds, counts, strict=True)
            ]
            mixed = stacked([some(c, r) for c, r in zip(clouds, part, strict=True)])
            whole = how.solver == "pot"
            ours = (
                goal
                if whole
                else some(goal, rng.choice(len(goal.X), size, replace=False))
            )
            labels = label_costs(mixed, goal, n_classes, how.label_cost)
            plan = _solve(how.solver, costs(mixed, ours, labels))
            total += plan.distance
            slopes.append(
                [extended(costs(c, ours, labels), plan.g).mean() for c in clouds]
            )
            offsets.append(plan.g.mean())
        distances.append(total / RESAMPLES)
    return Cuts(np.array(slopes), np.array(offsets)), np.array(distances)


def _solve(solver, C):
    if solver == "sinkhorn":
        return smooth_plan(C)
    return by_pot(C) if solver == "pot" else exact_plan(C)


def climb(value_of, first, limits):
    """Refine the five best starts under the linear constraints."""
    values = value_of(first)
    order = np.argsort(-values, kind="stable")[:5]
    best, top = first[order[0]], values[order[0]]
    rules = [
        {"type": "eq", "fun": lambda p: p.sum() - 1.0},
        {"type": "ineq", "fun": lambda p: limits.price - limits.prices @ p},
    ]
    for k in order:
        found = minimize(
            lambda p: -float(value_of(p[None])[0]),
            first[k],
            method="SLSQP",
            bounds=list(zip(limits.low, limits.high, strict=True)),
            constraints=rules,
        ).x
        found = np.clip(found, limits.low, limits.high)
        found = found / found.sum()
        value = float(value_of(found[None])[0])
        if value > top and limits.allow(found[None], 1e-7)[0]:
            best, top = found, value
    return best


def per_source(sources, given, default):
    """One number per source from a number, an array or a dict."""
    m = len(sources)
    if given is None:
        return np.full(m, float(default))
    if isinstance(given, dict):
        labels = sources.tolist()
        unknown = [k for k in given if k not in labels]
        if unknown:
            raise ValueError(f"There is no source {unknown[0]!r}.")
        return np.array([float(given.get(k, default)) for k in labels])
    found = np.asarray(given, dtype=np.float64)
    if found.ndim == 0:
        return np.full(m, float(found))
    if found.shape != (m,) or np.isnan(found).any():
        raise ValueError(f"Pass one number for each of the {m} sources.")
    return found


def checked_pilots(given, size_model, data):
    """Pilot sizes, two or more, and a warning where they are close."""
    smallest = min(len(r) for r in data.rows)
    total = sum(len(r) for r in data.rows)
    if given is None:
        return np.unique([max(2, smallest // 2), smallest])
    pilots = np.unique(np.asarray(given))
    if pilots.dtype.kind not in "iu" or pilots.ndim != 1 or pilots[0] < 2:
        raise ValueError(
            "pilot_sizes must be two or more different integers, 2 or larger. Got "
            f"{given!r}."
        )
    if pilots[-1] > total:
        raise ValueError(
            f"pilot_sizes={given!r} exceed the {total} rows of the sources."
        )
    need = 3 if size_model == "power" else 2
    if len(pilots) < need:
        raise ValueError(
            f"size_model={size_model!r} needs {need} pilot sizes. Got {given!r}."
        )
    if pilots[-1] < 2 * pilots[0]:
        warnings.warn(
            f"The pilot sizes {pilots.tolist()} are close: a forecast "
            f"at {10 * pilots[-1]} rows has "
            f"{Sizes(pilots, 0.0).amplification(10.0 * pilots[-1]):.1f} times the "
            "noise of a pilot score. Let the largest be twice the smallest.",
            UserWarning,
            stacklevel=3,
        )
    return pilots
