"""RashomonClassifier and RashomonRegressor against cvxpy and rashomon-py.

The figures of ``RashomonRangeDisplay`` and ``multiplicity_report`` are the ranges timed
here. The physical limit is what nobody can avoid in one pass: the product of all rows
with all query models, one exponential per (row, query, side), and one product that
gives the Hessians.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, best_of, print_table, seconds  # isort: skip

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skdiff.multiplicity import RashomonClassifier, RashomonRegressor
from skdiff.multiplicity._rashomon_problem import extremes

CVXPY_ROWS = 10


def physical_limit(n, d, m):
    """Best time of the unavoidable operations for m queries on n rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    W = rng.normal(size=(min(m, 256), d))
    Z = rng.normal(size=(n, d * (d + 1) // 2))
    F = np.empty((len(W), n))
    scale = 2 * m / len(W)
    products = best_of(lambda: np.dot(W, X.T, out=F)) * scale
    exponentials = best_of(lambda: np.exp(-np.abs(F))) * scale
    hessians = best_of(lambda: F @ Z) * m / len(W)
    return products + exponentials + hessians


def one_table(name, X, y, rows, targets):
    """Ours against cvxpy (a sample of rows, extrapolated) on one table."""
    model = RashomonClassifier(LogisticRegression(max_iter=1000)).fit(X, y)
    ours = best_of(lambda: model.predict_proba_range(X), repeats=3)
    V = model._query(X[:CVXPY_ROWS])
    level_set, budget = model._level_set(), model._budget
    reference = []
    sample = seconds(lambda: reference.append(extremes(level_set, V, budget)[0]))
    bounds = reference[0]
    fast = model.decision_range(X[:CVXPY_ROWS])
    width = bounds[:, 1] - bounds[:, 0]
    off = np.abs(fast - bounds).max(axis=1) / width
    return Row(
        f"{name}: ranges of {rows} rows",
        ours,
        sample * rows / CVXPY_ROWS,
        f"cvxpy, from {CVXPY_ROWS} rows",
        physical_limit(len(X), X.shape[1] + 1, rows),
        targets,
        note=f"median deviation {np.median(off):.1e} of the width",
    )


def against_rashomon_py(X, y):
    """The exact per-row solver of rashomon-py, where it is installed."""
    try:
        from rashomon import RashomonSet
    except ImportError:
        print("rashomon-py is not installed: its rows are left out")
        return []
    model = RashomonClassifier(LogisticRegression(max_iter=1000)).fit(X, y)
    peer = RashomonSet(
        estimator="logistic",
        C=1.0,
        epsilon=0.01,
        epsilon_mode="percent_loss",
        random_state=0,
    ).fit(X, y)
    some = X[:40]
    ours = best_of(lambda: model.decision_range(X), repeats=3)
    theirs = (
        seconds(lambda: peer.predict_set(some))
        if hasattr(peer, "predict_set")
        else None
    )
    return [
        Row(
            "breast_cancer, per row",
            ours,
            theirs and theirs * len(X) / 40,
            "rashomon-py",
        )
    ]


def main():
    """Print the table."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    rows = [one_table("breast_cancer", X, y, len(X), "0.5 s, 300x")]
    rows += against_rashomon_py(X, y)
    X2, y2 = make_classification(5000, 20, n_informative=10, flip_y=0.1, random_state=0)
    rows.append(
        one_table(
            "synthetic 5000 x 21",
            StandardScaler().fit_transform(X2),
            y2,
            5000,
            "2000x, 4x limit",
        )
    )
    D, t = load_diabetes(return_X_y=True)
    ridge = RashomonRegressor().fit(D, t)
    rows.append(
        Row(
            "diabetes, ridge: ranges of 442 rows",
            best_of(lambda: ridge.predict_range(D)),
        )
    )
    print_table("Rashomon ranges", rows, "cvxpy", "rashomon-py")


if __name__ == "__main__":
    main()
