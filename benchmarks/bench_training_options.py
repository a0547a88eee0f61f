"""Training options of LipschitzMLPClassifier, LipschitzMLPRegressor, AnyLossClassifier.

Each option on the case it was made for, and on a case where it should do nothing.
"""

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
)

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    make_friedman1,
    make_moons,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.neural_network import AnyLossClassifier, LipschitzMLPRegressor

warnings.simplefilter("ignore")
SEEDS = range(3)


def network(**keywords):
    """A network on cross-entropy alone."""
    keywords = {
        "hidden_layer_sizes": (64,),
        "bce_weight": 1.0,
        "warmup_iter": 0,
        "learning_rate_init": 0.01,
        "max_iter": 200,
        "alpha": 1e-4,
        **keywords,
    }
    return make_pipeline(StandardScaler(), AnyLossClassifier(**keywords))


def line(name, values):
    """Mean and spread over seeds."""
    print(f"  {name:<34}{np.mean(values):7.3f} +- {np.std(values):.3f}")


def costs():
    """Time of a fit with each option, beside the same fit without."""
    X, y = load_digits(return_X_y=True)
    X, y = X[: pick(None, 200)], y[: pick(None, 200)]
    options = {
        "none": {},
        "sam_rho": {"sam_rho": 0.05},
        "spectral_decoupling": {"spectral_decoupling": 0.03},
    }
    fits = {
        name: network(max_iter=pick(20, 2), tol=0.0, random_state=0, **option)
        for name, option in options.items()
    }
    best = interleaved({k: lambda m=m: m.fit(X, y) for k, m in fits.items()})
    rows = [
        Row(name, best[name], best["none"], "no option")
        for name in ("sam_rho", "spectral_decoupling")
    ]
    print_table("Cost of the training options, digits", rows, "torch")


def sharpness():
    """Accuracy with a fifth of the labels wrong, and with all of them right."""
    X, y = load_digits(return_X_y=True)
    for share in (0.0, 0.2):
        print(f"\nsam_rho, digits, {share:.0%} of the training labels wrong")
        for rho in (0.0, 0.05, 0.2):
            scores = []
            for seed in SEEDS:
                a, b, ya, yb = train_test_split(X, y, test_size=0.5, random_state=seed)
                rng = np.random.default_rng(seed)
                wrong = rng.random(len(ya)) < share
                ya = np.where(wrong, rng.integers(10, size=len(ya)), ya)
                model = network(sam_rho=rho, random_state=seed, batch_size=128)
                scores.append(model.fit(a, ya).score(b, yb))
            line(f"sam_rho={rho}", scores)


def shortcut(n, margin, seed):
    """Two moons with a gap between the classes in the second feature."""
    X, y = make_moons(n, noise=0.1, random_state=seed)
    X[:, 1] += np.where(y == 1, -margin, margin) / 2
    return X, y


def decoupling():
    """The gap that only the training rows have, and a table without any."""
    print("\nspectral_decoupling, moons with a gap of 0.1, tested with -0.3")
    for strength in (0.0, 0.003, 0.03, 0.3):
        scores = []
        for seed in SEEDS:
            model = AnyLossClassifier(
                bce_weight=1.0,
                warmup_iter=0,
                alpha=0.0,
                tol=0.0,
                solver="sgd",
                hidden_layer_sizes=(500,),
                learning_rate_init=0.01,
                max_iter=1000,
                n_iter_no_change=10**6,
                spectral_decoupling=strength,
                random_state=seed,
            ).fit(*shortcut(300, 0.1, seed))
            scores.append(model.score(*shortcut(3000, -0.3, seed + 10)))
        line(f"spectral_decoupling={strength}", scores)
    X, y = load_breast_cancer(return_X_y=True)
    print("\nspectral_decoupling, breast cancer, log loss of five folds")
    for strength in (0.0, 0.03, 0.3):
        model = network(spectral_decoupling=strength, random_state=0)
        score = -cross_val_score(model, X, y, cv=5, scoring="neg_log_loss")
        line(f"spectral_decoupling={strength}", score)


def minority(n, share, seed):
    """The first feature points the wrong way in a group, the second is right."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    groups = (rng.random(n) < share).astype(int)
    side = 2 * y - 1
    first = np.where(groups == 0, side, -side) * 2 + rng.normal(size=n)
    return np.column_stack([first, side + rng.normal(size=n)]), y, groups


def groups():
    """Accuracy of the worse group; the simple rival weighs groups alike."""
    print("\ngroup_dro, a tenth of the rows against the first feature: worse group")
    scores = {"one loss": [], "groups weighed alike": [], "group_dro": []}
    scores |= {"LogisticRegression, weighed": []}
    for seed in SEEDS:
        X, y, g = minority(2000, 0.1, seed)
        X_test, y_test, g_test = minority(6000, 0.5, seed + 50)
        alike = np.where(g == 1, (g == 0).sum() / (g == 1).sum(), 1.0)

        def worse(model, X=X_test, y=y_test, g=g_test):
            right = model.predict(X) == y
            return min(right[g == 0].mean(), right[g == 1].mean())

        keywords = {
            "bce_weight": 1.0,
            "warmup_iter": 0,
            "alpha": 0.1,
            "random_state": seed,
        }
        scores["one loss"].append(worse(AnyLossClassifier(**keywords).fit(X, y)))
        scores["groups weighed alike"].append(
            worse(AnyLossClassifier(**keywords).fit(X, y, alike))
        )
        dro = AnyLossClassifier(group_dro=True, group_step_size=0.05, **keywords)
        scores["group_dro"].append(worse(dro.fit(X, y, groups=g)))
        scores["LogisticRegression, weighed"].append(
            worse(LogisticRegression().fit(X, y, alike))
        )
    for name, values in scores.items():
        line(name, values)


def mixing():
    """R2 with and without mixed rows."""
    tables = {
        "diabetes": load_diabetes(return_X_y=True),
        "friedman1, 200 rows": make_friedman1(200, noise=1.0, random_state=0),
    }
    mixed = (None, {"k": 1}, {"k": 8}, {"k": "auto"}, {"k": 8, "by": "target"})
    for name, (X, y) in tables.items():
        print(f"\nregmix, {name}, R2 of five folds")
        for regmix in mixed:
            model = LipschitzMLPRegressor(3.0, regmix=regmix, random_state=0)
            line(f"regmix={regmix}", cross_val_score(model, X, y, cv=5))


if __name__ == "__main__":
    run(costs, sharpness, decoupling, groups, mixing)
