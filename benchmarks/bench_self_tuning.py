"""SelfTuningMLPClassifier and SelfTuningMLPRegressor: one run beside a grid of fits.

Speed and quality: one self-tuning fit against ``GridSearchCV`` of ``MLPClassifier``
over 21 values of ``alpha`` with the same fraction of validation rows, on noisy digits
and other tables; processor seconds and held-out scores come from the same run. Then an
epoch of tuning beside one of the same network at fixed values, the limit.
"""

import sys
import time
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
from sklearn.base import is_classifier
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    ShuffleSplit,
    StratifiedShuffleSplit,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skdiff.neural_network import SelfTuningMLPClassifier, SelfTuningMLPRegressor

warnings.simplefilter("ignore")


def noisy_digits(scale=4):
    """Digits with noise of a quarter of the largest value."""
    X, y = load_digits(return_X_y=True)
    return X + np.random.default_rng(0).normal(scale=scale, size=X.shape), y


def tables():
    """Name, rows, target, and whether it is a class."""
    return {
        "noisy digits": (*noisy_digits(), True),
        "diabetes": (*load_diabetes(return_X_y=True), False),
        "wine": (*load_wine(return_X_y=True), True),
        "friedman1": (*make_friedman1(400, noise=1.0, random_state=0), False),
        "breast cancer": (*load_breast_cancer(return_X_y=True), True),
    }


def grid(classify, n_values):
    """The peer: a grid of fits of scikit-learn's network on one split."""
    network = (MLPClassifier if classify else MLPRegressor)(
        hidden_layer_sizes=(64, 64), max_iter=200, random_state=0
    )
    split = StratifiedShuffleSplit if classify else ShuffleSplit
    pipe = make_pipeline(StandardScaler(), network)
    values = np.logspace(-4, 2, n_values)
    return GridSearchCV(
        pipe,
        {f"{pipe.steps[-1][0]}__alpha": values},
        cv=split(1, test_size=0.2, random_state=0),
    )


def models(classify):
    """Ours, the grid and baselines that need no tuning."""
    if classify:
        ours = SelfTuningMLPClassifier
        linear = LogisticRegressionCV(max_iter=500)
        trees = HistGradientBoostingClassifier(random_state=0)
    else:
        ours = SelfTuningMLPRegressor
        linear = RidgeCV(np.logspace(-3, 3, 13))
        trees = HistGradientBoostingRegressor(random_state=0)
    fixed = {"hyper_learning_rate": 1e-9}
    common = {"dtype": "float32", "random_state": 0}
    return {
        "self-tuning": ours(**common),
        "step .003": ours(hyper_learning_rate=0.003, **common),
        "not tuned": ours(**fixed, **common),
        "grid of 21": grid(classify, pick(21, 2)),
        "linear": make_pipeline(StandardScaler(), linear),
        "trees": trees,
    }


def quality():
    """Held-out scores and processor seconds on one split per table."""
    chosen = list(tables().items())[: pick(None, 1)]
    for name, (X, y, classify) in chosen:
        X, y = X[: pick(None, 300)], y[: pick(None, 300)]
        strata = y if classify else None
        A, B, a, b = train_test_split(X, y, stratify=strata, random_state=0)
        for way, model in models(classify).items():
            assert is_classifier(model) == classify
            start = time.process_time()
            model.fit(A, a)
            cost = time.process_time() - start
            score = model.score(B, b)
            print(f"{name:14s} {way:12s} {score:.3f} ({cost:.1f} s)", flush=True)
    speeds(chosen[0])


def speeds(table):
    """Time of one run beside the grid's, and of an epoch beside a standard one."""
    name, (X, y, _) = table
    X, y = X[: pick(1300, 300)], y[: pick(1300, 300)]
    common = {"dtype": "float32", "random_state": 0, "refit": False}
    epochs = {"max_iter": pick(10, 2), "n_iter_no_change": 100, "warmup_epochs": 0}
    tuned = SelfTuningMLPClassifier(**common, **epochs)
    few = SelfTuningMLPClassifier(**common, **(epochs | {"warmup_epochs": 1000}))
    plain = SelfTuningMLPClassifier(**common, **epochs)
    network = MLPClassifier((64, 64), max_iter=epochs["max_iter"], batch_size=64)
    best = interleaved(
        {
            "tuned": lambda: tuned.fit(X, y),
            "weights": lambda: few.fit(X, y),
            "standard": lambda: [plain.partial_fit(X, y) for _ in range(pick(10, 2))],
            "mlp": lambda: network.fit(X, y),
        },
        repeats=2,
    )
    rows = [
        Row(
            f"{name}, steps of both",
            best["tuned"],
            best["mlp"],
            "MLPClassifier",
            best["standard"],
        ),
        Row(
            f"{name}, weights only",
            best["weights"],
            best["mlp"],
            "MLPClassifier",
            best["standard"],
        ),
    ]
    print_table("An epoch, beside one at fixed values", rows)


if __name__ == "__main__":
    with threadpool_limits(1):
        run(quality)
