"""A weight decay per layer against one, both found by gradient; and a grid for one.

Nested cross-validation: an outer loop of five folds that no search sees, the log loss
and the accuracy of the outer rows, the standard error of the paired difference in log
loss from the search of one decay, and processor seconds of all searches. The network is
``AnyLossClassifier`` on cross-entropy.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, pick, print_table, seconds  # isort: skip

import numpy as np
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
    make_gaussian_quantiles,
)
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import Continuous, GradientSearchCV
from skdiff.neural_network import AnyLossClassifier

LOW, HIGH = 1e-4, 0.3
NAME = "anylossclassifier__alpha"
GRID = "grid of 10"


def tables():
    yield "breast cancer", *load_breast_cancer(return_X_y=True)
    yield "wine", *load_wine(return_X_y=True)
    yield "iris", *load_iris(return_X_y=True)
    # what no linear map sees: inside a ball of three columns or not, seven of noise
    X, y = make_gaussian_quantiles(
        n_samples=300, n_features=3, n_classes=2, random_state=0
    )
    noise = np.random.default_rng(0).normal(size=(300, 7))
    yield "ball of 3 in 10 columns", np.hstack([X, noise]), y
    X = np.random.default_rng(1).normal(size=(300, 10))
    yield "sign of a product, 2 of 10", X, (X[:, 0] * X[:, 1] > 0).astype(int)


def methods():
    network = AnyLossClassifier(
        hidden_layer_sizes=(16,),
        activation="tanh",
        bce_weight=1.0,
        warmup_iter=0,
        learning_rate_init=0.05,
        max_iter=pick(150, 10),
        random_state=0,
    )
    pipeline = make_pipeline(StandardScaler(), network)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    settings = {"cv": cv, "max_iter": pick(20, 2), "tol": 0.02}
    layers = {NAME: Continuous(LOW, HIGH, per="layer")}
    return {
        "one decay": GradientSearchCV(
            pipeline, {NAME: Continuous(LOW, HIGH)}, **settings
        ),
        **{
            f"per layer, tie {tie}": GradientSearchCV(
                pipeline, layers, tie_strength=tie, **settings
            )
            for tie in (0.3, 0.03, 0.0)
        },
        GRID: GridSearchCV(
            pipeline,
            {NAME: np.geomspace(LOW, HIGH, 10)},
            scoring="neg_log_loss",
            cv=cv,
        ),
    }


def main():
    warnings.simplefilter("ignore")
    for table, X, y in list(tables())[: pick(None, 1)]:
        X, y = X[: pick(None, 120)], y[: pick(None, 120)]
        times, notes = {}, {}
        outer = StratifiedKFold(pick(5, 2), shuffle=True, random_state=1)
        reference = None
        for label, search in methods().items():
            losses, right, gaps, spent, found = [], [], [], 0.0, []
            for train, test in outer.split(X, y):
                model = clone(search)
                spent += seconds(lambda m=model, rows=train: m.fit(X[rows], y[rows]))
                proba = model.predict_proba(X[test])
                losses.append(log_loss(y[test], proba))
                right.append(accuracy_score(y[test], model.predict(X[test])))
                found.append(np.ravel(model.best_params_[NAME]))
                if hasattr(model, "refit_score_"):
                    gaps.append(model.refit_score_ - model.search_score_)
            reference = losses if reference is None else reference
            apart = np.subtract(losses, reference)
            error = apart.std(ddof=1) / np.sqrt(len(apart))
            middle = np.exp(np.mean(np.log(found), axis=0))
            times[label] = spent
            notes[label] = (
                f"log loss {np.mean(losses):.4f} ({apart.mean():+.4f} +- {error:.4f}), "
                f"accuracy {np.mean(right):.3f}, "
                f"alpha {np.array2string(middle, precision=4)}, "
                f"refit - search {np.mean(gaps) if gaps else np.nan:+.4f}"
            )
        grid = times.pop(GRID)
        print_table(
            f"{table}: {X.shape[0]} x {X.shape[1]}; {GRID}: {notes[GRID]}",
            [Row(k, v, grid, GRID, note=notes[k]) for k, v in times.items()],
        )


if __name__ == "__main__":
    main()
