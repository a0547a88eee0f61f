"""RobustConformalClassifier: sizes of sets under a guarantee, and what they cost.

No package makes such sets for tables. Peers: the quadratic program of a linear model
row by row in cvxpy, and smoothing of all rows in one batch by NumPy.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import os
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

from skdiff.conformal import RobustConformalClassifier
from skdiff.conformal._robust import _margins as exact
from skdiff.conformal._robust import _smoothing as smooth

# tables of the folder that SKDIFF_DATA names, and their targets
SAMPLED = {
    "spambase": "spam",
    "credit_default": "default_next_month",
    "bank_marketing": "y",
}


def speed():
    """Seconds of the exact sets and of smoothing, on digits."""
    X, y = load_digits(return_X_y=True)
    X, n = X / 16, pick(800, 60)
    frozen = FrozenEstimator(LogisticRegression(max_iter=300).fit(X[:900], y[:900]))
    model = RobustConformalClassifier(frozen).fit(X[900:], y[900:])
    F, W = model._outputs(X[:n]), exact.Linear(model._coef, 2.0)
    some = pick(8, 2)

    def programs():
        import cvxpy as cp

        for i in range(some):
            for label in range(10):
                others = [k for k in range(10) if k != label]
                e = cp.Variable(64)
                A = W.coef[others] - W.coef[label]
                over = F[i, others] - F[i, label] - model.threshold_
                cp.Problem(cp.Minimize(cp.sum_squares(e)), [A @ e + over <= 0]).solve(
                    solver=cp.CLARABEL
                )

    n_draws = 256
    draws = smooth.Noise(n_draws, 0.5, 0)
    rows = model._check_rows(X[: n // 4], reset=False)
    model._ranks = None

    def one_batch():
        rng = np.random.default_rng(0)
        noise = 0.5 * rng.standard_normal((len(rows.numbers), n_draws, 64))
        moved = (rows.numbers[:, None] + noise).reshape(-1, 64)
        S = smooth.lac_scores(frozen.predict_proba(moved))
        S = S.reshape(-1, n_draws, 10)
        return S.mean(axis=1), S.var(axis=1, ddof=1)

    best = interleaved(
        {
            "exact": lambda: exact.linear_inside(F, W, 0.25, model.threshold_),
            "programs": programs,
            "smooth": lambda: smooth.smoothed(rows, model._scores, draws),
            "batch": one_batch,
        },
        repeats=3,
    )
    print_table(
        f"digits, {n} rows exactly, {n // 4} rows with {n_draws} draws",
        [
            Row("linear sets", best["exact"], best["programs"] * n / some, "cvxpy"),
            Row("smoothed scores", best["smooth"], best["batch"], "NumPy, one batch"),
        ],
    )


def digits():
    """The paper's two claims: draws cost, ranks make them cheap."""
    lines = []
    for seed in range(3):
        X, y = load_digits(return_X_y=True)
        X, Xt, y, yt = train_test_split(X / 16, y, test_size=400, random_state=seed)
        for name, n_draws, settings in (
            ("linear, exact", 0, {"method": "linear"}),
            ("RSCP+ Hoeffding", 256, {"transformation": None, "bound": "hoeffding"}),
            ("RSCP+ Bernstein", 256, {"transformation": None}),
            ("ranks, Hoeffding", 256, {"bound": "hoeffding"}),
            ("ranks, Bernstein", 256, {}),
            ("RSCP+ Bernstein", 2048, {"transformation": None}),
            ("ranks, Bernstein", 2048, {}),
        ):
            keywords = {"method": "smoothing", **settings}
            keywords |= {"n_draws": n_draws} if n_draws else {}
            model = RobustConformalClassifier(
                LogisticRegression(max_iter=300),
                calibration=500,
                random_state=seed,
                **keywords,
            ).fit(X, y)
            sets = model.predict_set(Xt)
            lines.append(
                {
                    "sets": name,
                    "draws": n_draws,
                    "size": sets.sum(axis=1).mean(),
                    "coverage": sets[np.arange(len(yt)), yt].mean(),
                    "clean": model.report_["clean_size"],
                }
            )
    frame = pd.DataFrame(lines).groupby(["sets", "draws"], sort=False).mean()
    print("\nDigits in [0, 1], radius .25, level .9, means over 3 splits")
    print(frame.round(3).to_string())


def training():
    """Training on the size of sets beside noisy copies, 4 and 32 of each row."""
    warnings.simplefilter("ignore")
    lines = []
    for seed in range(pick(3, 1)):
        X, y = load_digits(return_X_y=True)
        X, Xt, y, yt = train_test_split(X / 16, y, test_size=400, random_state=seed)
        Xt, yt = Xt[: pick(200, 20)], yt[: pick(200, 20)]
        for name, estimator in (
            ("logistic", LogisticRegression(max_iter=300)),
            ("network", MLPClassifier((64,), max_iter=60, random_state=0)),
        ):
            for copies, training in ((4, False), (32, False), (4, True), (32, True)):
                start = time.process_time()
                model = RobustConformalClassifier(
                    estimator,
                    method="smoothing",
                    n_draws=256,
                    random_state=seed,
                    calibration=400,
                    augment=copies,
                    conformal_training=training,
                ).fit(X, y)
                seconds = time.process_time() - start
                held = model.calibration_indices_
                standard = RobustConformalClassifier(
                    FrozenEstimator(model.estimator_),
                    method="smoothing",
                    n_draws=256,
                    transformation=None,
                    random_state=seed,
                ).fit(X[held], y[held])
                line = {"model": name, "copies": copies, "trained on sets": training}
                line["seconds"] = seconds
                line["accuracy"] = model.score(Xt, yt)
                for kind, one in (("standard", standard), ("ranks", model)):
                    sets = one.predict_set(Xt)
                    line[f"size, {kind}"] = sets.sum(axis=1).mean()
                    line[f"coverage, {kind}"] = sets[np.arange(len(yt)), yt].mean()
                lines.append(line)
    frame = (
        pd.DataFrame(lines)
        .groupby(["model", "copies", "trained on sets"], sort=False)
        .mean()
    )
    print("\nDigits, 256 draws, Bernstein's bound, means over 3 splits")
    print(frame.round(3).to_string())


def tables():
    """Rows and labels by name: columns of numbers, standardised."""
    for load in (load_breast_cancer, load_wine):
        data = load()
        name = "breast cancer" if load is load_breast_cancer else "wine"
        yield name, scale(data.data), data.target
    folder = os.environ.get("SKDIFF_DATA")
    for name, target in SAMPLED.items() if folder else ():
        frame = pd.read_csv(Path(folder) / f"{name}.csv.gz").sample(
            3000, random_state=0
        )
        y = pd.factorize(frame.pop(target), sort=True)[0]
        yield name, scale(frame.select_dtypes("number")), y


def sizes():
    """Mean sizes by radius and route on real tables."""
    from skdiff.neural_network import LipschitzMLPClassifier

    warnings.simplefilter("ignore")
    lines = []
    for name, X, y in tables():
        X, Xt, y, yt = train_test_split(X, y, test_size=0.3, random_state=0)
        X, y, Xt, yt = X[:1500], y[:1500], Xt[:200], yt[:200]
        for radius in (0.0, 0.1, 0.25, 0.5):
            for way, estimator, method in (
                ("linear", LogisticRegression(max_iter=1000), "linear"),
                ("Lipschitz", LipschitzMLPClassifier(max_iter=60), "lipschitz"),
                ("smoothed logistic", LogisticRegression(max_iter=1000), "smoothing"),
                (
                    "smoothed forest",
                    RandomForestClassifier(10, min_samples_leaf=3),
                    "smoothing",
                ),
            ):
                model = RobustConformalClassifier(
                    estimator,
                    radius=radius,
                    method=method,
                    n_draws=512,
                    random_state=0,
                ).fit(X, y)
                sets = model.predict_set(Xt)
                lines.append(
                    {
                        "table": name,
                        "way": way,
                        "radius": radius,
                        "size": sets.sum(axis=1).mean(),
                        "coverage": sets[np.arange(len(yt)), yt].mean(),
                    }
                )
    frame = pd.DataFrame(lines).pivot(index=["table", "way"], columns="radius")
    print("\nMean size and clean coverage by radius, standardised columns, 512 draws")
    print(frame.round(2).to_string())


if __name__ == "__main__":
    run(speed, digits, training, sizes)
