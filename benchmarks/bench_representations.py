"""Representations: time of a report and what it finds on damaged networks.

Peer of ``representation_report``: the same bootstrap by scikit-learn's
``roc_auc_score``. The limit is the decomposition of the features.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import (
    ObjectiveDimension,
    RepresentationDiagnostics,
    RepresentationDisplay,
    SaveInitialWeights,
    feature_complexity,
    objective_intrinsic_dimension,
    representation_report,
)
from skdiff.inspection._representations._geometry import leave_one_out_r2
from skdiff.inspection._representations._scores import bootstrap_gap, weighted_score


def fitted(load=load_digits, hidden=(32, 16)):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    order = np.random.default_rng(0).permutation(len(y))
    half = len(y) // 2
    net = MLPClassifier(hidden, max_iter=60, tol=1e-2, random_state=0)
    net.fit(X[order[:half]], y[order[:half]])
    return net, X[order[half:]], y[order[half:]]


def speed():
    """Seconds of the bootstrap and of the complexity."""
    net, X, y = fitted()
    proba, count = net.predict_proba(X), pick(100, 5)
    score = weighted_score("roc_auc", proba, y, 10)

    def plain():
        rng = np.random.RandomState(0)
        for _ in range(count):
            w = np.bincount(rng.randint(len(y), size=len(y)), minlength=len(y))
            roc_auc_score(y, proba, multi_class="ovr", sample_weight=w)

    rng = np.random.RandomState
    best = interleaved(
        {
            "ours": lambda: bootstrap_gap(score, score, len(y), count, rng(0)),
            "peer": plain,
            "limit": lambda: np.linalg.svd(X, compute_uv=False),
        },
        repeats=2,
    )
    rows = [
        Row(
            f"{count} draws", best["ours"], best["peer"], "roc_auc_score", best["limit"]
        )
    ]
    H, Z = np.maximum(X @ net.coefs_[0], 0), X[:, 20:52]
    best = interleaved(
        {
            "ours": lambda: leave_one_out_r2(H, Z),
            "peer": lambda: RidgeCV(
                np.geomspace(1e-8, 1e2, 21) * len(H), alpha_per_target=True
            ).fit(H, Z),
        },
        repeats=2,
    )
    rows.append(Row("leave-one-out R2", best["ours"], best["peer"], "RidgeCV"))
    print_table("representation_report", rows)


def damage():
    """Gap and similarity of a trained and of damaged networks."""
    from copy import deepcopy

    net, X, y = fitted()
    rng = np.random.default_rng(0)
    head, layer = deepcopy(net), deepcopy(net)
    head.coefs_[-1] = rng.permutation(head.coefs_[-1].ravel()).reshape(16, 10)
    layer.coefs_[0] = rng.permutation(layer.coefs_[0].ravel()).reshape(64, 32)
    nets = {"trained": net, "head": head, "layer": layer}
    frame = RepresentationDisplay.from_estimator(
        nets, X, y, reference=net, n_boot=200, random_state=0
    ).frame()
    print(frame.round(3).T)
    report = representation_report(net, X, y, n_boot=20, random_state=0)
    assert isinstance(report, RepresentationDiagnostics)
    assert SaveInitialWeights().get_params() == {}


def complexity():
    """Rank correlation of complexity and importance of units."""
    for load in (load_digits, load_wine, load_breast_cancer):
        net, X, _ = fitted(load)
        frame = feature_complexity(net, X)
        rank = frame[["complexity", "importance"]].corr("spearman").iloc[0, 1]
        print(load.__name__[5:], f"{rank:.2f}")


def dimension():
    """Directions that a training needs, by the width of the network."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    for width in (32, 64, 128):
        found = objective_intrinsic_dimension(
            MLPClassifier(width), X, y, n_repeats=1, max_iter=100, random_state=0
        )
        assert isinstance(found, ObjectiveDimension)
        print(width, found.dimension_, found.n_parameters_)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2000, 100))
    found = objective_intrinsic_dimension(
        MLPRegressor(hidden_layer_sizes=[]),
        rows,
        rows @ rng.standard_normal(100),
        dims=[10, 50, 80, 90, 100],
        n_repeats=3,
        projection="orthonormal",
        random_state=0,
    )
    print(found.frame().groupby("dim")["score"].median().round(3).to_dict())


if __name__ == "__main__":
    run(speed, damage, complexity, dimension)
