"""OnlinePlattCalibrator: time of a step, quality under drift and without it.

Peers: Platt scaling fitted once, and refitted on a window of the last 500 rows, both by
logistic regression.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from skdiff.calibration import OnlinePlattCalibrator
from skdiff.metrics import expected_calibration_error, sharpness

SEEDS = 5


def stream(kind, seed, n=6000):
    """Forecasts of a model fitted on 1000 rows, and what then happens."""
    rng = np.random.default_rng(seed)
    x, time = rng.normal(size=n), np.linspace(0, 1, n)
    if kind == "drift":
        truth = expit((2 - 3 * time) * x + 2.0 * np.sin(3 * time))
    elif kind == "still":
        truth = expit(1.5 * x - 0.5)
    else:  # a wrong form: no logistic map of the forecast is right
        truth = 0.5 + 0.4 * np.sin(3 * x)
    y = (rng.uniform(size=n) < truth).astype(int)
    base = LogisticRegression().fit(x[:1000, None], y[:1000])
    return base.predict_proba(x[:, None])[:, 1][1000:], y[1000:]


def features(f):
    """Log odds as a column."""
    return logit(f.clip(0.01, 0.99))[:, None]


def fixed(f, y):
    """Platt scaling fitted on the first 500 rows."""
    z = features(f)
    return LogisticRegression(C=1e6).fit(z[:500], y[:500]).predict_proba(z)[:, 1]


def windowed(f, y, width=500, every=50):
    """Platt scaling refitted on the last rows."""
    z, says = features(f), f.copy()
    for t in range(100, len(f), every):
        past = slice(max(0, t - width), t)
        model = LogisticRegression(C=1e6).fit(z[past], y[past])
        says[t : t + every] = model.predict_proba(z[t : t + every])[:, 1]
    return says


def online(f, y, **settings):
    """Honest forecasts of the calibrator."""
    model = OnlinePlattCalibrator(random_state=0, **settings)
    return model.predict_then_update(f, y)[:, 1]


def speed():
    """Seconds for a stream of 5000 rows."""
    f, y = stream("drift", 0, pick(6000, 1200))
    z = np.column_stack([features(f), np.ones(len(f))])
    theta = np.array([1.0, 0.0])

    def forecasts_alone():
        for row in z:
            expit(theta @ row)

    best = interleaved(
        {
            "ops": lambda: online(f, y),
            "tops": lambda: online(f, y, calibeating="tracking"),
            "hops": lambda: online(f, y, calibeating="hedging"),
            "window": lambda: windowed(f, y, every=1),
            "limit": forecasts_alone,
        },
        repeats=2,
        warmup=0,
    )
    name = "window refitted every row"
    print_table(
        f"Online calibration, {len(f)} rows one by one",
        [
            Row("Platt", best["ops"], best["window"], name, best["limit"]),
            Row("tracking", best["tops"], best["window"], name, best["limit"]),
            Row("hedging", best["hops"], best["window"], name, best["limit"]),
        ],
    )


def quality():
    """Means over seeds."""
    for kind in ("drift", "still", "wrong form"):
        print(f"\n{kind}: mean over {SEEDS} seeds of 5000 rows")
        print(f"{'way':22s} brier  logloss  CE(0.1)  sharpness")
        scores = {}
        for seed in range(SEEDS):
            f, y = stream(kind, seed)
            for name, p in {
                "base": f,
                "fixed Platt": fixed(f, y),
                "windowed Platt (500)": windowed(f, y),
                "online Platt": online(f, y),
                "online beta": online(f, y, method="beta"),
                "online Platt + tracking": online(f, y, calibeating="tracking"),
                "online Platt + hedging": online(f, y, calibeating="hedging"),
            }.items():
                scores.setdefault(name, []).append(
                    (
                        brier_score_loss(y, p),
                        log_loss(y, p.clip(1e-3, 1 - 1e-3)),
                        expected_calibration_error(y, p, 10, "uniform"),
                        sharpness(y, p),
                    )
                )
        for name, rows in scores.items():
            print(f"{name:24s}" + "  ".join(f"{v:.4f}" for v in np.mean(rows, axis=0)))


if __name__ == "__main__":
    run(speed, quality)
