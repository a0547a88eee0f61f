"""Linear models of the holistic loss: time beside cvxpy, bounds, and plain models."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff.linear_model import HolisticRobustClassifier, HolisticRobustRegressor

warnings.simplefilter("ignore")


def draw(n, d, values):
    """Rows and targets."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    f = X @ rng.normal(size=d)
    if values:
        return X, f + rng.normal(size=n)
    return X, (f + rng.logistic(size=n) > 0).astype(int)


def speed():
    """Seconds of a fit."""
    n, rows = pick(1000, 100), []
    for loss, evasion in (
        ("logistic", 0.0),
        ("logistic", 0.1),
        ("hinge", 0.0),
        ("squared", 0.0),
        ("absolute", 0.1),
    ):
        values = loss in ("squared", "absolute")
        X, y = draw(n, 10, values)
        kind = HolisticRobustRegressor if values else HolisticRobustClassifier
        how = {"alpha": 0.01, "evasion_radius": evasion}
        ours, cone = kind(loss, **how), kind(loss, solver="cvxpy", **how)
        best = interleaved(
            {"ours": lambda m=ours, X=X, y=y: m.fit(X, y),
             "cvxpy": lambda m=cone, X=X, y=y: m.fit(X, y)},
            pick(2, 1),
            0,
        )  # fmt: skip
        gain = cone.objective_ - ours.objective_
        rows.append(
            Row(
                f"{n} x 10, {loss}, evasion {evasion}",
                best["ours"],
                best["cvxpy"],
                "Clarabel",
                note=f"gap {ours.dual_gap_:.0e}, objective lower by {gain:.0e}",
            )
        )
    print_table("HolisticRobust", rows, "cvxpy")


def bounds():
    """Clean test loss and value, a tenth of the training labels wrong."""
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X[:, :10])
    print("\nbreast_cancer, 10 columns: test loss, value, share of seeds it bounds")
    for n in (100, 300):
        for a, r in (
            (0.0, 0.0),
            (0.01, 3 / n),
            (0.02, 3 / n),
            (0.05, 0.05),
            (0.1, 0.1),
        ):
            found = []
            for seed in range(pick(20, 2)):
                rng = np.random.default_rng(seed)
                rows = rng.permutation(len(y))
                train, test = rows[:n], rows[300:]
                noisy = np.where(rng.random(n) < 0.1, 1 - y[train], y[train])
                model = HolisticRobustClassifier(
                    alpha=1e-3, poisoning=a, statistical_radius=r
                ).fit(X[train], noisy)
                proba = model.predict_log_proba(X[test])
                loss = -proba[np.arange(len(test)), y[test]].mean()
                value = model.robust_objective_
                found.append([loss, value, loss <= value])
            print(f"n {n} poisoning {a:.2f} radius {r:.3f}", np.mean(found, 0).round(3))


def tables():
    """Defaults beside plain models, five folds."""
    digits, wine = load_digits(return_X_y=True), load_wine(return_X_y=True)
    classes = {
        "breast_cancer": load_breast_cancer(return_X_y=True),
        "wine, first class": (wine[0], wine[1] == 0),
        "digits, even": (digits[0][:600], digits[1][:600] % 2),
    }
    print("\nlog loss: ours, logistic")
    for name, (X, y) in classes.items():
        pair = HolisticRobustClassifier(alpha=0.01), LogisticRegression(C=100 / len(y))
        print(name, _scores(pair, X, y, "neg_log_loss"))
    X, y = load_diabetes(return_X_y=True)
    print("R2: ours, ridge")
    for name, rows in (("diabetes", 442), ("diabetes, 100 rows", 100)):
        pair = HolisticRobustRegressor(alpha=0.01), Ridge(0.005 * rows)
        print(name, _scores(pair, X[:rows], y[:rows], "r2"))


def _scores(models, X, y, scoring):
    scored = [
        cross_val_score(make_pipeline(StandardScaler(), m), X, y, scoring=scoring, cv=5)
        for m in models
    ]
    return np.mean(scored, axis=1).round(3)


if __name__ == "__main__":
    run(speed, bounds, tables)
