"""RashomonClassifier and RashomonRegressor on every loss, against cvxpy.

Each line asks for the ranges of all training rows; cvxpy solves the same program with
the direction as its parameter for a few rows, and its time is extrapolated. Below, two
large tables: 2 000 rows asked of 20 000 x 20, with the peak of the memory; and, with
``SKDIFF_DATA`` pointing at a folder of tables, bank_marketing with its categories.
"""

import os
import resource
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
from scipy.sparse import random_array
from sklearn.compose import make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    SGDClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from skdiff.multiplicity import RashomonClassifier, RashomonRegressor
from skdiff.multiplicity._sets._statement import state_problem

CVXPY_ROWS = pick(4, 1)
SAGA = {"solver": "saga", "max_iter": 5000}


def tables():
    """Name, audit, X and y of each loss."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    D, t = load_diabetes(return_X_y=True)
    D = D * 20
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 10))
    mean = np.exp(0.4 * Z[:, 0] - 0.3 * Z[:, 1])
    classify, regress = RashomonClassifier, RashomonRegressor
    lasso = {"l1_ratio": 1.0, "C": 0.3}
    return [
        ("squared hinge", classify(LinearSVC(C=0.1)), X, y),
        ("modified Huber", classify(SGDClassifier("modified_huber")), X, y),
        ("L1 logistic", classify(LogisticRegression(**lasso, **SAGA)), X, y),
        ("Poisson", regress(PoissonRegressor(alpha=0.01)), Z, rng.poisson(mean)),
        ("gamma", regress(GammaRegressor(alpha=0.01)), Z, rng.gamma(2, mean)),
        ("Huber", regress(HuberRegressor(max_iter=1000)), D, t),
        ("lasso", regress(Lasso(2.0)), D, t),
        ("elastic net", regress(ElasticNet(0.5)), D, t),
        ("quantile", regress(QuantileRegressor(alpha=0.5)), D[:150], t[:150]),
    ]


def cvxpy_seconds(model, V, fast):
    """Seconds a solve, how many were optimal, and the largest disagreement."""
    level_set = model._set.level_set
    statement, w, v = state_problem(
        level_set.problem, level_set.objective + model._set.budget
    )
    off = []

    def ask(k, side):
        v.value = (2 * side - 1) * V[k]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # inaccurate answers are counted
            try:
                statement.solve("CLARABEL", enforce_dpp=True)
            except cp.error.SolverError:
                return
        if statement.status == "optimal":
            off.append(abs(V[k] @ w.value - fast[k, side]) / np.ptp(fast[k]))

    ask(0, 1)  # compiled once, untimed
    off.clear()
    asked = [(k, side) for k in range(len(V)) for side in (0, 1)]
    spent = sum(seconds(lambda: ask(k, side)) for k, side in asked)
    return spent / len(asked), len(off), max(off, default=np.nan)


def one_loss(name, model, X, y):
    """Ours against cvxpy on one loss."""
    model.fit(X, y)
    V = model._set.scaling.directions(X)
    ours = best_of(lambda: model._range(V), repeats=2, warmup=0)
    each, optimal, off = cvxpy_seconds(model, V[:CVXPY_ROWS], model._range(V))
    return Row(
        f"{name}, {X.shape[0]} x {X.shape[1]}",
        ours,
        each * 2 * len(X),
        f"cvxpy, from {CVXPY_ROWS} rows",
        note=f"{optimal} of {2 * CVXPY_ROWS} solves optimal; within {off:.0e} of the "
        "width",
    )


def classes_and_columns():
    """Three classes, and a wide sparse table."""
    X, y = load_iris(return_X_y=True)
    model = RashomonClassifier().fit(StandardScaler().fit_transform(X), y)
    X = StandardScaler().fit_transform(X)
    rows = [
        Row("multinomial iris: margins", best_of(lambda: model.decision_range(X))),
        Row(
            "multinomial iris: probabilities",
            best_of(lambda: model.predict_proba_range(X)),
            note="largest exact, smallest bounded",
        ),
    ]
    rng = np.random.default_rng(0)
    S = random_array((2000, 20_000), density=0.002, rng=rng, format="csr")
    y = S @ rng.normal(size=20_000) > 0
    sparse = RashomonClassifier().fit(S, y)
    rows.append(
        Row(
            "sparse 2000 x 20000: ranges of 100 rows",
            best_of(lambda: sparse.decision_range(S[:100]), repeats=1, warmup=0),
        )
    )
    return rows


def large():
    """2 000 rows asked of 20 000 x 20."""
    X, y = make_classification(22_000, 20, n_informative=10, flip_y=0.1, random_state=0)
    X = StandardScaler().fit_transform(X)
    model = RashomonClassifier().fit(X[:20_000], y[:20_000])
    spent = seconds(lambda: model.predict_proba_range(X[20_000:]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Row(
        "logistic: 2000 rows on 20000 x 20",
        spent,
        target="180 s, 4 GB",
        note=f"peak of the process {peak:.2f} GB",
    )


def bank():
    """A real table with 40 000 rows and nine categorical columns."""
    folder = os.environ.get("SKDIFF_DATA")
    path = Path(folder or ".") / "bank_marketing.csv.gz"
    if not folder or not path.exists():
        print("SKDIFF_DATA is not set: bank_marketing is left out")
        return []
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False)
    y, X = table.pop("y"), table
    words = X.select_dtypes(exclude="number").columns.tolist()
    columns = make_column_transformer(
        (OneHotEncoder(min_frequency=100), words), remainder=StandardScaler()
    )
    model = RashomonClassifier(
        make_pipeline(columns, LogisticRegression(max_iter=1000)), epsilon=0.01
    ).fit(X, y)
    some, found = X.iloc[::200], []
    spent = seconds(lambda: found.append(model.predict_proba_range(some)))
    width = np.diff(found[0]).mean()
    return [
        Row(
            f"bank_marketing: {len(some)} rows on {len(X)} x {model.coef_.shape[1]}",
            spent,
            note=f"mean width {width:.4f}, {model.conflicts(some).sum()} in conflict",
        )
    ]


def main():
    """Print the table."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    if QUICK:
        rows = [one_loss(n, m, X[:200], y[:200]) for n, m, X, y in tables()[3:5]]
        print_table("Rashomon ranges by loss", rows, "cvxpy")
        return
    rows = [large()]
    rows += [one_loss(*case) for case in tables()]
    rows += classes_and_columns() + bank()
    print_table("Rashomon ranges by loss", rows, "cvxpy")


if __name__ == "__main__":
    main()
