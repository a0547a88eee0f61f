"""EmpiricalResidualCalibrator (CRUDE): coverage, width and score of its intervals.

Peers: the normal law with the residuals' deviation, split conformal intervals of one
width, and boosting with the quantile loss.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from skdiff.calibration import EmpiricalResidualCalibrator
from skdiff.calibration._crude import _residuals as residuals

COVERAGE, SEEDS = 0.9, 5
LOW, HIGH = (1 - COVERAGE) / 2, (1 + COVERAGE) / 2


def boosting(**settings):
    """The regressor of all ways."""
    return HistGradientBoostingRegressor(max_iter=60, random_state=0, **settings)


def tables(seed):
    """Rows and targets by name."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(3000, 4))
    mean = X[:, 0] + np.sin(2 * X[:, 1])
    yield "normal, one size", X, mean + rng.normal(size=3000)
    skewed = rng.exponential(size=3000) - 1
    yield "skewed, varying", X, mean + (0.2 + X[:, 0] ** 2 / 2) * skewed
    yield "heavy tails", X, mean + rng.standard_t(2, 3000)
    yield "diabetes", *load_diabetes(return_X_y=True)


def pinball(y, low, high):
    """Mean pinball loss of both ends."""
    losses = [
        np.maximum(level * (y - q), (level - 1) * (y - q))
        for level, q in ((LOW, low), (HIGH, high))
    ]
    return float(np.mean(losses))


def ways(X, y, X_new, seed):
    """Ends of the intervals by name."""
    for name, scale in (("CRUDE", "auto"), ("CRUDE, constant scale", "constant")):
        model = EmpiricalResidualCalibrator(
            boosting(), scale_estimator=scale, random_state=seed
        ).fit(X, y)
        yield name, model.predict_interval(X_new, COVERAGE).T
    train, held = train_test_split(np.arange(len(X)), test_size=0.3, random_state=seed)
    base = boosting().fit(X[train], y[train])
    r, mean = y[held] - base.predict(X[held]), base.predict(X_new)
    half = norm.ppf(HIGH) * r.std()
    yield "normal law", (mean - half, mean + half)
    rank = min(int(np.ceil((len(r) + 1) * COVERAGE)), len(r))
    half = np.sort(np.abs(r))[rank - 1]
    yield "split conformal", (mean - half, mean + half)
    ends = [
        boosting(loss="quantile", quantile=q).fit(X, y).predict(X_new)
        for q in (LOW, HIGH)
    ]
    yield "quantile boosting", np.sort(ends, axis=0)


def quality():
    """Means over seeds."""
    lines = []
    for seed in range(SEEDS):
        for name, X, y in tables(seed):
            X, X_new, y, y_new = train_test_split(
                X, y, test_size=0.4, random_state=seed
            )
            for way, (low, high) in ways(X, y, X_new, seed):
                inside = (low <= y_new) & (y_new <= high)
                lines.append(
                    {
                        "table": name,
                        "way": way,
                        "coverage": inside.mean(),
                        "width": (high - low).mean(),
                        "pinball": pinball(y_new, low, high),
                    }
                )
    frame = pd.DataFrame(lines).groupby(["table", "way"], sort=False).mean()
    print(f"\nIntervals of {COVERAGE:.0%}, means over {SEEDS} seeds")
    print(frame.round(3).to_string())


def speed():
    """Seconds of the scores of 100 000 rows against 5000 residuals."""
    rng = np.random.default_rng(0)
    z, at = np.sort(rng.normal(size=5000)), rng.normal(size=pick(100_000, 5000))
    some = at[: len(at) // 50]

    def dense():
        gaps = np.abs(z[:, None] - some).mean(axis=0)
        return gaps - np.abs(z[:, None] - z).mean() / 2

    best = interleaved(
        {
            "ours": lambda: residuals.crps(z, at),
            "dense": dense,
            "limit": lambda: np.searchsorted(z, at),
        },
        repeats=3,
    )
    scaled = best["dense"] * len(at) / len(some)
    print_table(
        f"CRPS of {len(at)} rows, 5000 residuals",
        [Row("crps", best["ours"], scaled, "double sum, scaled", best["limit"])],
    )


if __name__ == "__main__":
    run(speed, quality)
