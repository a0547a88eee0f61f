"""RashomonClassifier and RashomonRegressor against cvxpy and rashomon-py.

The figures of ``RashomonRangeDisplay`` and ``multiplicity_report`` are the ranges timed
here. The physical limit is what nobody can avoid in one pass: the product of all rows
with all query models, one exponential per (row, query, side), and one product that
gives the Hessians.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    best_of,
    pick,
    print_table,
    seconds,
)

import cvxpy as cp
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skdiff.multiplicity import RashomonClassifier, RashomonRegressor
from skdiff.multiplicity._sets._statement import state_problem

CVXPY_ROWS, PEER_ROWS = pick(10, 2), pick(20, 2)


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
    level_set, budget = model._set.level_set, model._set.budget
    statement, w, v = state_problem(level_set.problem, level_set.objective + budget)
    bounds, statuses = np.full((len(V), 2), np.nan), []

    def solve(direction, side, sign):
        v.value = sign * direction
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # inaccurate answers are counted below
            try:
                statement.solve("CLARABEL", enforce_dpp=True)
                bounds[side] = direction @ w.value
                statuses.append(statement.status)
            except cp.error.SolverError:
                statuses.append("failed")

    def sample():
        for i, direction in enumerate(V):
            for side, sign in enumerate((-1.0, 1.0)):
                solve(direction, (i, side), sign)

    solve(V[0], (0, 0), 1.0)  # the parametrised problem is compiled once, untimed
    statuses.clear()
    theirs = seconds(sample)
    fine = np.array([s == "optimal" for s in statuses]).reshape(-1, 2).all(axis=1)
    fast = model.decision_range(X[:CVXPY_ROWS])
    off = np.abs(fast - bounds).max(axis=1)[fine] / np.ptp(bounds[fine], axis=1)
    agreement = f"; there within {off.max():.0e} of the width" if len(off) else ""
    return Row(
        f"{name}: ranges of {rows} rows",
        ours,
        theirs * rows / CVXPY_ROWS,
        f"cvxpy, from {CVXPY_ROWS} rows",
        physical_limit(len(X), X.shape[1] + 1, rows),
        targets,
        note=f"{fine.sum()} of {len(fine)} rows optimal in cvxpy" + agreement,
    )


def against_rashomon_py(X, y):
    """The exact per-row solver of rashomon-py, where it is installed."""
    try:
        from rashomon import RashomonSet
    except ImportError:
        print("rashomon-py is not installed: its row is left out")
        return []
    estimator = LogisticRegression(max_iter=1000, tol=1e-8).fit(X, y)
    model = RashomonClassifier(estimator).fit(X, y)
    peer = RashomonSet.from_sklearn(estimator, X, y, epsilon=0.01)
    some = np.column_stack([np.ones(PEER_ROWS), X[:PEER_ROWS]])
    found = []
    theirs = seconds(lambda: found.extend(peer.functional_range(row) for row in some))
    fast = model.decision_range(X[:PEER_ROWS])
    off = np.abs(fast - found).max(axis=1) / np.ptp(fast, axis=1)
    return [
        Row(
            "breast_cancer: ranges of 569 rows",
            best_of(lambda: model.decision_range(X), repeats=3),
            theirs * len(X) / PEER_ROWS,
            f"rashomon-py, from {PEER_ROWS} rows",
            target="20x",
            note=f"ranges differ by {off.max():.0e} of the width at most",
        )
    ]


def main():
    """Print the table."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    X, y = X[: pick(None, 150)], y[: pick(None, 150)]
    rows = [one_table("breast_cancer", X, y, len(X), "0.5 s, 300x")]
    if QUICK:
        print_table("Rashomon ranges", rows, "cvxpy")
        return
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
