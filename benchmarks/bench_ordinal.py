"""Ordered classes: time beside cvxpy and statsmodels, the paper's designs, real tables.

``designs`` draws the five simulations of Faletto and Bien (2023): mean squared error of
the probability of the rare class on the training rows, times 1e5. ``tables`` compares
ordinal models with models that ignore the order, on tables of the folder that the
variable ``SKDIFF_DATA`` names.
"""

import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.linear_model import (
    PRESTOClassifier,
    PRESTOClassifierCV,
    ProportionalOddsClassifier,
)

warnings.simplefilter("ignore")

DESIGNS = {
    "sparse 1/2 (0, 3, 5)": (1 / 2, (0, 3, 5)),
    "sparse 1/2 (0, 4, 6)": (1 / 2, (0, 4, 6)),
    "sparse 1/3 (0, 3.5, 5.5)": (1 / 3, (0, 3.5, 5.5)),
    "dense (0, 3, 5)": (None, (0, 3, 5)),
    "dense (0, 4, 6)": (None, (0, 4, 6)),
}


def draw(rng, keep, levels, n=2500, p=10):
    """Rows, classes and the probability of the last class."""
    while True:
        if keep is None:
            psi = rng.uniform(-0.5, 0.5, (3, p))
        else:
            psi = 0.5 * rng.choice([-1, 1], (3, p)) * (rng.random((3, p)) < keep)
            psi[0] = np.abs(psi[0])
        X = rng.uniform(-1, 1, (n, p))
        c = 1 / (1 + np.exp(-(np.array(levels) + X @ np.cumsum(psi, axis=0).T)))
        P = np.diff(np.c_[np.zeros(n), c, np.ones(n)], axis=1)
        y = (rng.random(n)[:, None] > c).sum(axis=1)
        if P.min() >= 0 and np.bincount(y, minlength=4).min() > 0:
            return X, y, P[:, 3]


def speed():
    """Seconds of a fit."""
    rows, n = [], pick(2500, 300)
    for size in pick((2500, 10_000), (300,)):
        X, y, _ = draw(np.random.default_rng(0), 1 / 2, (0, 3, 5), size)
        ours, cone = PRESTOClassifier(1e-3), PRESTOClassifier(1e-3, solver="cvxpy")
        best = interleaved(
            {"ours": lambda: ours.fit(X, y), "cvxpy": lambda: cone.fit(X, y)}, 3
        )
        difference = abs(ours.objective_ - cone.objective_)
        rows.append(
            Row(
                f"PRESTO {size} x 10, 4 classes",
                best["ours"],
                best["cvxpy"],
                "cvxpy",
                target="80x",
                note=f"objectives differ by {difference:.0e}",
            )
        )
    X, y, _ = draw(np.random.default_rng(0), 1 / 2, (0, 3, 5), n)
    plain = ProportionalOddsClassifier()
    cone = ProportionalOddsClassifier(solver="cvxpy")
    best = interleaved(
        {"ours": lambda: plain.fit(X, y), "cvxpy": lambda: cone.fit(X, y)}
    )
    rows.append(Row("proportional odds", best["ours"], best["cvxpy"], "cvxpy"))
    try:
        from statsmodels.miscmodels.ordinal_model import OrderedModel
    except ImportError:
        print("statsmodels is not installed and left out")
    else:

        def peer():
            return OrderedModel(y, X, distr="logit").fit(method="bfgs", disp=False)

        best = interleaved({"ours": lambda: plain.fit(X, y), "peer": peer})
        rows.append(
            Row("proportional odds, with standard errors", best["ours"], best["peer"],
                "statsmodels", target="20x")
        )  # fmt: skip
    path = PRESTOClassifierCV()
    start = time.process_time()
    path.fit(X, y)
    print(f"20 penalties x 5 folds: {time.process_time() - start:.2f} s")
    print_table("Ordered classes", rows, "cvxpy", "statsmodels")


def designs(repeats=30):
    """Errors of the rare probability, and how often PRESTO is the better one."""
    print(f"\n{'design':26s} PRESTO  logistic  proportional  better than logistic")
    wins = []
    for name, (keep, levels) in DESIGNS.items():
        rng, errors = np.random.default_rng(0), []
        for _ in range(repeats):
            X, y, p = draw(rng, keep, levels)
            found = (
                PRESTOClassifierCV().fit(X, y).predict_proba(X)[:, 3],
                LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
                .fit(X, y == 3)
                .predict_proba(X)[:, 1],
                ProportionalOddsClassifier().fit(X, y).predict_proba(X)[:, 3],
            )
            errors.append([np.mean((q - p) ** 2) for q in found])
        errors = np.array(errors)
        better = errors[:, 0] < errors[:, 1]
        wins.append(better.mean())
        ours, logistic, parallel = 1e5 * errors.mean(axis=0)
        print(
            f"{name:26s} {ours:6.2f}  {logistic:8.2f}  {parallel:12.2f}  "
            f"{better.mean():.2f}",
            flush=True,
        )
    print(f"better than logistic over all designs: {np.mean(wins):.2f}")


def read(name, folder):
    """Numbers and ordered codes of a table."""
    import pandas as pd

    target = {
        "era": "out1",
        "esl": "out1",
        "wine_quality": "quality",
        "skillcraft": "league",
        "chem97": "score",
    }[name]
    table = pd.read_csv(Path(folder) / f"{name}.csv.gz")
    if name == "chem97":  # a tenth of the pupils, without the numbers of their schools
        table = table.drop(columns=["lea", "school", "student"]).iloc[::10]
    y = table.pop(target).to_numpy()
    X = pd.get_dummies(table, drop_first=True).to_numpy(dtype=float)
    return X, y


def rounded_ridge(X, y, Z):
    """Ordinal labels as numbers: no probabilities."""
    model = make_pipeline(StandardScaler(), Ridge()).fit(X, y)
    return np.clip(np.rint(model.predict(Z)), y.min(), y.max()).astype(int)


def judge(proba, classes, y):
    """Log loss, Brier score of the rarest end, both with classes in order."""
    place = np.searchsorted(classes, y)
    chosen = np.maximum(proba[np.arange(len(y)), place], 1e-15)
    return [
        -np.log(chosen).mean(),
        1e3 * np.mean((proba[:, -1] - (y == classes[-1])) ** 2),
    ]


def tables():
    """Cross-validated scores on real tables."""
    folder = os.environ.get("SKDIFF_DATA")
    if folder is None:
        print("SKDIFF_DATA is not set: real tables are left out")
        return
    for name in ("era", "esl", "wine_quality", "skillcraft", "chem97"):
        X, y = read(name, folder)
        if name == "wine_quality":
            y = np.minimum(y, 8)  # five rows of the best grade
        if name == "esl":
            y = np.clip(y, 2, 8)  # two and four rows at the ends
        if name == "skillcraft":
            y = np.minimum(y, 6)  # 35 rows of the best league
        models = {
            "PRESTOClassifierCV": PRESTOClassifierCV(),
            "ProportionalOdds": ProportionalOddsClassifier(),
            "logistic": LogisticRegression(max_iter=2000),
            "boosting": HistGradientBoostingClassifier(random_state=0),
            "base rates": DummyClassifier(strategy="prior"),
        }
        print(f"\n{name:20s} log loss  1000 x Brier of the last  kappa  mean error  s")
        splits = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
        for label, model in models.items():
            found, start = [], time.process_time()
            for train, test in splits:
                fitted = make_pipeline(StandardScaler(), model).fit(X[train], y[train])
                guess = fitted.predict(X[test])
                found.append(
                    [
                        *judge(fitted.predict_proba(X[test]), fitted.classes_, y[test]),
                        cohen_kappa_score(y[test], guess, weights="quadratic"),
                        np.abs(guess - y[test]).mean(),
                    ]
                )
            loss, brier, kappa, error = np.mean(found, axis=0)
            seconds = (time.process_time() - start) / 5
            print(
                f"{label:20s} {loss:8.3f}  {brier:24.2f}  {kappa:5.3f}  {error:10.3f}  "
                f"{seconds:.2f}",
                flush=True,
            )
        found = []
        for train, test in splits:
            guess = rounded_ridge(X[train], y[train], X[test])
            kappa = cohen_kappa_score(y[test], guess, weights="quadratic")
            found.append([kappa, np.abs(guess - y[test]).mean()])
        kappa, error = np.mean(found, axis=0)
        print(
            f"{'ridge, rounded':20s} {'-':>8s}  {'-':>24s}  {kappa:5.3f}  {error:10.3f}"
        )


if __name__ == "__main__":
    run(speed, designs, tables)
