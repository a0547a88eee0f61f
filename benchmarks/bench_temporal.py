"""TemporalModelSelector: mechanisms on real and synthetic streams, and cost.

The peer is retraining every period on the same window, which is what it costs least to
do; the streams elec2 and noaa_weather are read from SKDIFF_DATA.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skdiff.model_evaluation import TemporalModelSelector, TemporalReuseDisplay

MODELS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "tree": DecisionTreeClassifier(min_samples_leaf=15, random_state=0),
}


def stream(kind, seed, n_periods=24, n=150, p=10):
    """Labels by a direction that stays, turns, changes once, or takes turns."""
    rng = np.random.default_rng(seed)
    base = np.linalg.qr(rng.normal(size=(p, 3)))[0].T
    period = np.repeat(np.arange(n_periods), n)
    angle = np.pi * np.arange(n_periods) / n_periods
    turning = np.cos(angle)[:, None] * base[0] + np.sin(angle)[:, None] * base[1]
    directions = {
        "stationary": np.tile(base[0], (n_periods, 1)),
        "gradual": turning,
        "sudden": base[(np.arange(n_periods) >= 2 * n_periods // 3).astype(int)],
        "recurring": base[np.arange(n_periods) // 3 % 3],
    }[kind]
    X = rng.normal(size=(len(period), p))
    signal = 3 * np.sum(X * directions[period], axis=1)
    return X, (signal + rng.logistic(size=len(signal)) > 0).astype(int), period


def cost():
    """Seconds of a replay, beside fits of the same windows without selection."""
    X, y, period = stream("recurring", 0, n_periods=pick(24, 6))
    model = LogisticRegression()

    def retrain():
        for t in range(period.max() + 1):
            rows = (period <= t) & (period > t - 4)
            model.fit(X[rows], y[rows])
            if t < period.max():
                model.predict_proba(X[period == t + 1])

    def replay(mechanism):
        selector = TemporalModelSelector(model, mechanism=mechanism)
        return lambda: TemporalReuseDisplay.from_estimator(
            selector.fit(X, y, periods=period)
        )

    names = ("latest", "temporal", "stacking")
    best = interleaved({**{m: replay(m) for m in names}, "peer": retrain}, repeats=3)
    rows = [Row(name, best[name], best["peer"], "retraining") for name in names]
    print_table("TemporalModelSelector, 24 periods of 150 rows", rows)


def synthetic():
    """Mean area under the ROC curve after a third of the periods."""
    for kind in ("stationary", "gradual", "sudden", "recurring"):
        tables = []
        for seed in range(pick(2, 1)):
            X, y, period = stream(kind, seed)
            selector = TemporalModelSelector(LogisticRegression(), scoring="roc_auc")
            tables.append(selector.score_mechanisms(X, y, period).iloc[8:].mean())
        mean = sum(tables) / len(tables)
        print(kind, " ".join(f"{m} {v:.3f}" for m, v in mean.items()), flush=True)


def streams():
    """Mean area under the ROC curve over the second half of real streams."""
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        print("SKDIFF_DATA is not set: the real streams are skipped")
        return
    sys.path.insert(0, folder)
    from load import load

    warnings.simplefilter("ignore")
    for name, n_periods in (("elec2", 40), ("noaa_weather", 36), ("hflights_2011", 24)):
        X, y = load(name, return_X_y=True)
        X, y = X.select_dtypes("number").fillna(0).to_numpy(float), np.asarray(y)
        X, y = X[:14_000], y[:14_000]
        period = np.arange(len(y)) * n_periods // len(y)
        for model_name, model in MODELS.items():
            selector = TemporalModelSelector(model, scoring="roc_auc", random_state=0)
            table = selector.score_mechanisms(X, y, period)
            mean = table.iloc[len(table) // 2 :].mean()
            text = " ".join(f"{m} {v:.3f}" for m, v in mean.items())
            print(f"{name}, {model_name}: {text}", flush=True)


if __name__ == "__main__":
    run(cost, synthetic, streams)
