"""LipschitzMLPClassifier and LipschitzMLPRegressor against unbounded networks.

How much accuracy a bound costs, how much of it is certified against any move of 0.3
standard deviations, what a gradient attack of that length does to a network without a
bound, what the Cayley transforms cost in time, and how the bound that is chosen by
default does. ``SKDIFF_DATA`` names the folder of two of its tables.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    Row,
    interleaved,
    pick,
    print_table,
    run,
    seconds,
)

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedKFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.neural_network import LipschitzMLPClassifier, LipschitzMLPRegressor

warnings.simplefilter("ignore")
RADIUS = 0.3
BOUNDS = (1.0, 5.0, 20.0)


def attacked(model, Z, y, length, steps=10):
    """Accuracy of scikit-learn's network under a gradient attack, by differences.

    Each step follows the sign-free gradient of the loss, computed by back-propagation
    through the fitted ReLU layers, and stays within ``length``.
    """
    network = model[-1]
    codes = np.searchsorted(network.classes_, y)
    start, Z = Z, Z.copy()
    for _ in range(steps):
        h, masks = Z, []
        for W, b in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
            h = np.maximum(h @ W + b, 0)
            masks.append(h > 0)
        p = network.predict_proba(Z)
        if len(network.classes_) == 2:
            delta = (p[:, 1] - codes)[:, None]
        else:
            delta = p - np.eye(p.shape[1])[codes]
        for W, mask in zip(network.coefs_[:0:-1], masks[::-1], strict=True):
            delta = (delta @ W.T) * mask
        g = delta @ network.coefs_[0].T
        move = Z - start + length / 4 * g / (np.linalg.norm(g, axis=1)[:, None] + 1e-12)
        norms = np.linalg.norm(move, axis=1, keepdims=True)
        Z = start + move * np.minimum(1, length / np.maximum(norms, 1e-12))
    return (network.predict(Z) == y).mean()


def robustness():
    """Accuracy, and accuracy that no move of the radius can break."""
    print(f"\nFive-fold accuracy and accuracy within {RADIUS} standard deviations")
    print(f"{'table':<15}{'model':<28}{'clean':>8}{'within':>8}")
    for name, load in (
        ("breast_cancer", load_breast_cancer),
        ("wine", load_wine),
        ("digits", load_digits),
    ):
        X, y = load(return_X_y=True)
        folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
        for bound in BOUNDS:
            clean, safe = [], []
            for train, test in folds:
                model = LipschitzMLPClassifier(bound, random_state=0)
                model.fit(X[train], y[train])
                right = model.predict(X[test]) == y[test]
                clean.append(right.mean())
                far = model.certified_radius(X[test]) > RADIUS
                safe.append((right & far).mean())
            label = f"bound {bound:g}, certified"
            print(f"{name:<15}{label:<28}{np.mean(clean):8.3f}{np.mean(safe):8.3f}")
        peer = make_pipeline(
            StandardScaler(), MLPClassifier((64, 64), max_iter=300, random_state=0)
        )
        logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        clean, safe = [], []
        for train, test in folds:
            peer.fit(X[train], y[train])
            clean.append(peer.score(X[test], y[test]))
            Z = peer[:-1].transform(X[test])
            safe.append(attacked(peer, Z, y[test], RADIUS))
        label = "MLPClassifier, attacked"
        print(f"{name:<15}{label:<28}{np.mean(clean):8.3f}{np.mean(safe):8.3f}")
        score = np.mean([logistic.fit(X[a], y[a]).score(X[b], y[b]) for a, b in folds])
        print(f"{name:<15}{'LogisticRegression':<28}{score:8.3f}{'-':>8}")


def smoothness():
    """R2 of the regressor beside the usual choices."""
    X, y = load_diabetes(return_X_y=True)
    cv = RepeatedKFold(n_splits=5, n_repeats=2, random_state=0)
    models = {
        **{
            f"bound {b:g}": LipschitzMLPRegressor(b, random_state=0)
            for b in (0.5, 1.0, 2.0)
        },
        "bound 1, regmix k=4": LipschitzMLPRegressor(regmix={"k": 4}, random_state=0),
        "bound 1, sam_rho 0.05": LipschitzMLPRegressor(sam_rho=0.05, random_state=0),
        "MLPRegressor": make_pipeline(
            StandardScaler(), MLPRegressor((64, 64), max_iter=300, random_state=0)
        ),
        "RidgeCV": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13))),
    }
    print("\nR2 on diabetes, two times five folds")
    for name, model in models.items():
        score = cross_val_score(model, X, y, cv=cv).mean()
        print(f"{name:<28}{score:8.3f}")


def costs():
    """Time of a fit with as many epochs, and of a step with two gradients."""
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    same = {"max_iter": pick(20, 2), "batch_size": 200, "tol": 0.0, "random_state": 0}

    def ours(**keywords):
        model = LipschitzMLPClassifier(5.0, n_iter_no_change=10**6, **same, **keywords)
        return lambda: model.fit(X, y)

    def peer():
        MLPClassifier((64, 64), n_iter_no_change=10**6, **same).fit(X, y)

    best = interleaved({"plain": ours(), "sam": ours(sam_rho=0.05), "peer": peer})
    predict = LipschitzMLPClassifier(5.0, **same).fit(X, y)
    other = MLPClassifier((64, 64), **same).fit(X, y)
    many = np.tile(X, (pick(20, 1), 1))
    answer = interleaved(
        {
            "ours": lambda: predict.predict_proba(many),
            "peer": lambda: other.predict_proba(many),
        }
    )
    epochs = f"digits, {same['max_iter']} epochs"
    rows = [
        Row(epochs, best["plain"], best["peer"], "MLPClassifier"),
        Row(f"{epochs}, sam_rho", best["sam"], best["plain"], "one gradient"),
        Row(
            f"predict {len(many)} rows", answer["ours"], answer["peer"], "MLPClassifier"
        ),
    ]
    print_table("Cost of the bound", rows, "torch")


def class_tables():
    """Tables with two or three classes, at most 3000 rows."""
    for name, load in (("wine", load_wine), ("breast_cancer", load_breast_cancer)):
        yield name, *load(return_X_y=True)
    if not (folder := os.environ.get("SKDIFF_DATA")):
        print("SKDIFF_DATA is not set: its tables are left out")
        return
    sys.path.insert(0, folder)
    from load import load

    for name in ("spambase", "credit_default"):
        X, y = load(name, return_X_y=True)
        rows = np.random.default_rng(0).permutation(len(y))[: pick(3000, 300)]
        X = pd.get_dummies(X).to_numpy(dtype=float)
        yield name, X[rows], np.asarray(y)[rows]


def choices():
    """Log loss and time of the default beside fixed bounds and logistic regression."""
    models = {
        "default": LipschitzMLPClassifier(random_state=0),
        "bound 1": LipschitzMLPClassifier(1.0, random_state=0),
        "bound 5": LipschitzMLPClassifier(5.0, random_state=0),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    print("\nLog loss (and processor seconds of a fit), two times three folds")
    print(f"{'table':<16}" + "".join(f"{name:>16}" for name in models))
    for name, X, y in class_tables():
        losses, times = ({model: [] for model in models} for _ in range(2))
        for seed in range(pick(2, 1)):
            folds = StratifiedKFold(3, shuffle=True, random_state=seed)
            for train, test in folds.split(X, y):
                for label, model in models.items():
                    took = seconds(lambda m=model, r=train: m.fit(X[r], y[r]))
                    times[label].append(took)
                    losses[label].append(
                        log_loss(y[test], model.predict_proba(X[test]))
                    )
        cells = [f"{np.mean(losses[m]):.3f} ({np.mean(times[m]):.2f})" for m in models]
        print(f"{name:<16}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    run(costs, robustness, smoothness, choices)
