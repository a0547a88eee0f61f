"""TemperatureScaler: Newton against scikit-learn's search; the study on overlap.

The peer is ``CalibratedClassifierCV(method="temperature")`` on a frozen classifier that
returns the logits as they are.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from skdiff.calibration import TemperatureScaler, temperature_scaling_study

SEEDS = 5


def speed():
    """Seconds of a fit on the same logits, and the log losses reached."""
    n, k = pick(50_000, 1000), 10
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(n, k))
    y = (Z + rng.gumbel(size=(n, k))).argmax(axis=1)
    # a linear model whose decision values are the columns of X: the logits themselves
    model = LogisticRegression().fit(rng.normal(size=(50, k)), np.arange(50) % k)
    model.coef_, model.intercept_ = np.eye(k), np.zeros(k)
    Z *= 3

    def theirs():
        peer = CalibratedClassifierCV(
            FrozenEstimator(model), method="temperature", cv=KFold(2), ensemble=False
        )
        return peer.fit(Z, y)

    best = interleaved(
        {
            "ours": lambda: TemperatureScaler().fit(Z, y),
            "peer": theirs,
            "limit": lambda: logsumexp(Z, axis=1),
        },
        repeats=3,
    )
    row = np.arange(n)
    losses = [
        -np.log(m.predict_proba(Z)[row, y]).mean()
        for m in (TemperatureScaler().fit(Z, y), theirs())
    ]
    print_table(
        f"temperature of {n} rows, {k} classes",
        [
            Row(
                "fit",
                best["ours"],
                best["peer"],
                "scikit-learn",
                best["limit"],
                note=f"log loss {losses[0]:.9f} and {losses[1]:.9f}",
            )
        ],
    )


def overlapping(n, rng, noise, n_classes=6, n_features=10):
    """Gaussian classes with uniform label noise, and their true posterior."""
    centres = np.random.default_rng(7).normal(size=(n_classes, n_features))
    clean = rng.integers(n_classes, size=n)
    X = centres[clean] + rng.normal(size=(n, n_features))
    distance = ((X[:, None] - centres) ** 2).sum(axis=2)
    proba = (1 - noise) * softmax(-distance / 2, axis=1) + noise / n_classes
    y = np.where(rng.random(n) < noise, rng.integers(n_classes, size=n), clean)
    return X, y, proba


def study():
    """One temperature after standard training, mixup, and a short fit."""
    from skdiff.neural_network import AnyLossClassifier

    warnings.filterwarnings("ignore", "Maximum iterations")
    for noise in (0.5, 0.0):
        for max_iter in (300, 20):
            total = 0
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                X, y, _ = overlapping(600, rng, noise)
                X_cal, y_cal, _ = overlapping(400, rng, noise)
                X_test, y_test, truth = overlapping(4000, rng, noise)
                network = AnyLossClassifier(
                    bce_weight=1,
                    warmup_iter=0,
                    hidden_layer_sizes=(128,),
                    alpha=0.0,
                    learning_rate_init=0.01,
                    max_iter=max_iter,
                    tol=0,
                    n_iter_no_change=1000,
                    random_state=seed,
                )
                sets = {"X_cal": X_cal, "y_cal": y_cal}
                sets |= {"X_test": X_test, "y_test": y_test, "proba": truth}
                total = total + temperature_scaling_study(network, X, y, **sets)
            print(f"\nlabel noise {noise}, {max_iter} epochs, means over {SEEDS} seeds")
            print((total / SEEDS).round(3).T.to_string(header=False))


if __name__ == "__main__":
    run(speed, study)
