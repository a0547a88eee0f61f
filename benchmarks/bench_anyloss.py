"""AnyLossClassifier (and ConfusionMetricLoss, its loss): speed and quality.

Speed: 1000 full-batch steps on 1000 x 10 rows against the bare products, against a
plain NumPy loop of the paper's recipe, and the whole fit against logistic regression
with a cross-validated threshold. Quality: held-out metrics on imbalanced tables beside
those of the same baseline; with ``SKDIFF_DATA`` pointing at a folder of KEEL tables the
comparison runs on these as well.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_wine,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, make_scorer, recall_score
from sklearn.model_selection import (
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdiff.neural_network import AnyLossClassifier

warnings.simplefilter("ignore", ConvergenceWarning)
STEPS = pick(1000, 50)


def bare_products(X):
    """The products and the exponential of a step, nothing else."""
    w, z = np.zeros(X.shape[1]), np.empty(len(X))

    def run():
        for _ in range(STEPS):
            np.dot(X, w, out=z)
            np.exp(z, out=z)
            z @ X

    return run


def plain_loop(X, y):
    """The paper's linear recipe for F1 written down plainly."""

    def run():
        w, b = np.zeros(X.shape[1]), 0.0
        for _ in range(STEPS):
            p = 1 / (1 + np.exp(-(X @ w + b)))
            a = 1 / (1 + np.exp(-73 * (p - 0.5)))
            tp, fp = np.sum(y * a), np.sum((1 - y) * a)
            D = np.sum(y) + tp + fp
            slope = np.where(y == 1, -2 * (np.sum(y) + fp) / D**2, 2 * tp / D**2)
            g = slope * 73 * a * (1 - a) * p * (1 - p)
            w = w - 0.1 * (X.T @ g)
            b = b - 0.1 * np.sum(g)

    return run


def speed():
    """Ratios of time."""
    X, y = make_classification(1000, 10, weights=[0.8], flip_y=0.1, random_state=0)
    X = StandardScaler().fit_transform(X)
    paper = AnyLossClassifier("f1", preset="paper")
    default = AnyLossClassifier("f1", random_state=0)
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="f1", cv=5)
    best = interleaved(
        {
            "ours": lambda: paper.fit(X, y),
            "bare": bare_products(X),
            "plain": plain_loop(X, y),
            "default": lambda: default.fit(X, y),
            "tuned": lambda: tuned.fit(X, y),
        }
    )
    print_table(
        "AnyLoss, 1000 x 10 rows",
        [
            Row(
                "1000 steps",
                best["ours"],
                best["plain"],
                "plain NumPy loop",
                best["bare"],
                "3x limit",
            ),
            Row(
                "default fit",
                best["default"],
                best["tuned"],
                "tuned threshold",
                target="0.33x",
            ),
        ],
        "torch",
    )


GMEAN = make_scorer(lambda y, p: np.sqrt(np.prod(recall_score(y, p, average=None))))
SCORERS = {
    "f1": make_scorer(f1_score),
    "gmean": GMEAN,
    "balanced_accuracy": make_scorer(balanced_accuracy_score),
}


def tables():
    """Binary tables with the rarer class as 1."""
    X, y = load_breast_cancer(return_X_y=True)
    yield "breast_cancer", pd.DataFrame(X), 1 - y
    X, y = load_wine(return_X_y=True)
    yield "wine, class 2", pd.DataFrame(X), (y == 2).astype(int)
    X, y = load_digits(return_X_y=True)
    yield "digits, 8", pd.DataFrame(X), (y == 8).astype(int)
    for seed in range(3):
        X, y = make_classification(
            1000, 10, n_informative=4, weights=[0.93], class_sep=0.7, random_state=seed
        )
        yield f"synthetic {seed}", pd.DataFrame(X), y
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        print("SKDIFF_DATA is not set: KEEL tables are left out")
        return
    for path in sorted(Path(folder).glob("keel/*.csv.gz")):
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        y = table.pop("y")
        yield (
            path.name.split(".")[0],
            table,
            (y == y.value_counts().idxmin()).astype(int),
        )


def quality():
    """Mean held-out metric of each way, the metric being the one aimed at."""
    lines = []
    for name, X, y in tables():
        X.columns = X.columns.astype(str)
        prepare = make_column_transformer(
            (
                OneHotEncoder(handle_unknown="ignore"),
                make_column_selector(dtype_exclude="number"),
            ),
            remainder=StandardScaler(),
            sparse_threshold=0,
        )
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        for metric, scorer in SCORERS.items():
            ways = {
                "logistic": LogisticRegression(max_iter=1000),
                "balanced": LogisticRegression(max_iter=1000, class_weight="balanced"),
                "tuned threshold": TunedThresholdClassifierCV(
                    LogisticRegression(max_iter=1000), scoring=scorer, cv=5
                ),
                "AnyLoss paper": AnyLossClassifier(metric, preset="paper"),
                "AnyLoss": AnyLossClassifier(metric, random_state=0),
            }
            line = {"table": name, "metric": metric}
            for way, model in ways.items():
                scores = cross_val_score(
                    make_pipeline(prepare, model), X, y, cv=folds, scoring=scorer
                )
                line[way] = scores.mean()
            lines.append(line)
    frame = pd.DataFrame(lines)
    pd.set_option("display.width", 160)
    print("\nHeld-out metric, 5-fold, the metric being the one aimed at")
    print(frame.round(3).to_string(index=False))
    print(frame.drop(columns="table").groupby("metric", sort=False).mean().round(3))


if __name__ == "__main__":
    run(speed, quality)
