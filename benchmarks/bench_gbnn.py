"""GBNNClassifier and GBNNRegressor: speed against the authors' package, quality.

Speed: the fit against the package ``gbnn`` (0.0.2), where it is installed, with the
same step size and sample; both are timed over the steps they need to the higher of the
two final training losses. The limit is the bare products of one evaluation a step. Its
classifier cannot be fitted under current scikit-learn, so a subclass here says that it
is one. Quality: held-out scores beside gradient boosting, a network trained all at
once, and a linear model.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    Row,
    best_of,
    interleaved,
    pick,
    print_table,
    run,
    seconds,
)

import numpy as np
import pandas as pd
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_friedman1,
)
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skdiff.neural_network import GBNNClassifier, GBNNRegressor

try:
    from gbnn import GNEGNEClassifier, GNEGNERegressor
except ImportError:
    GNEGNEClassifier = None

warnings.simplefilter("ignore")


def peer_classes():
    """The package's classes, the first told to scikit-learn as what it is."""

    class Classifier(GNEGNEClassifier):
        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.estimator_type = "classifier"
            return tags

    return Classifier, GNEGNERegressor


def bare_products(n, d, k, units, steps):
    """One evaluation of a block's gradient a step, products and exponentials only."""
    X, H = np.ones((n, d)), np.zeros((n, units))
    W, V = np.ones((d, units)), np.ones((units, k))

    def run():
        for _ in range(steps):
            np.exp(H, out=np.empty_like(H))
            X @ W
            H @ V
            X.T @ H

    return run


def speed():
    """Time to the same training loss, and of as many steps."""
    if GNEGNEClassifier is None:
        print("gbnn is not installed: boosted trees of as many steps stand in for it")
        against_trees()
        return
    Classifier, Regressor = peer_classes()
    tables = [
        ("breast cancer", load_breast_cancer, 50, 1, True),
        ("wine", load_wine, 50, 1, True),
        ("digits", load_digits, 100, 5, True),
        ("diabetes", load_diabetes, 50, 1, False),
    ]
    rows = []
    for name, load, units, block, classify in tables:
        X, y = load(return_X_y=True)
        A, _, a, _ = train_test_split(X, y, random_state=0)
        A = StandardScaler().fit_transform(A)
        if not classify:
            a = (a - a.mean()) / a.std()
        cls, peer_cls = (
            (GBNNClassifier, Classifier) if classify else (GBNNRegressor, Regressor)
        )
        for rate in (0.1, 1.0):
            model = cls(
                n_hidden=units,
                units_per_step=block,
                learning_rate=rate,
                random_state=0,
            )
            model.fit(A, a)
            peer = peer_cls(total_nn=units, num_nn_step=block, eta=rate, random_state=0)
            whole = min(seconds(lambda: peer.fit(A, a)) for _ in range(2))
            losses = np.array(peer.losses)
            if name in ("digits", "wine"):  # summed over rows for several classes
                losses = losses / len(a)
            losses = np.minimum.accumulate(np.nan_to_num(losses, nan=np.inf))
            aim = max(losses[-1], model.train_score_[-1])
            steps = 1 + np.flatnonzero(losses <= aim)[0]
            own = 1 + np.flatnonzero(model.train_score_ <= aim)[0]
            model.set_params(n_hidden=own * block)
            ours = best_of(lambda: model.fit(A, a), repeats=3)
            limit = best_of(
                bare_products(len(A) // 2, A.shape[1], 1, block, model.n_iter_)
            )
            note = f"loss {aim:.3g} after {own} steps, gbnn after {steps}"
            rows.append(
                Row(
                    f"{name} {A.shape[0]} x {A.shape[1]}, step {rate}",
                    ours,
                    whole * steps / len(losses),
                    f"gbnn, {steps} steps",
                    limit,
                    "5x",
                    note=note,
                )
            )
    print_table("GBNN, time to the same training loss", rows, "gbnn")


def against_trees():
    """Time of a default fit beside boosted trees of as many steps."""
    rows = []
    for name, load in (("breast cancer", load_breast_cancer), ("digits", load_digits)):
        X, y = load(return_X_y=True)
        X, y = X[: pick(None, 200)], y[: pick(None, 200)]
        steps = pick(100, 10)
        ours = GBNNClassifier(steps, random_state=0)
        peer = GradientBoostingClassifier(n_estimators=steps, random_state=0)
        best = interleaved(
            {"ours": lambda m=ours: m.fit(X, y), "peer": lambda m=peer: m.fit(X, y)},
            repeats=2,
        )
        task = f"{name} {len(X)} x {X.shape[1]}, {steps} steps"
        rows.append(Row(task, best["ours"], best["peer"], "boosted trees"))
    print_table("GBNN, a fit of as many steps", rows)


def quality():
    """Held-out scores, five folds, defaults where no size is told."""
    ways = {
        "linear": LogisticRegression(max_iter=2000),
        "boosted trees": GradientBoostingClassifier(random_state=0),
        "histogram trees": HistGradientBoostingClassifier(random_state=0),
        "MLP(100)": MLPClassifier(max_iter=500, random_state=0),
        "GBNN": GBNNClassifier(random_state=0),
        "GBNN, 100 by 5": GBNNClassifier(100, units_per_step=5, random_state=0),
        "GBNN, early stop": GBNNClassifier(n_iter_no_change=10, random_state=0),
    }
    lines = []
    for name, load in (
        ("breast cancer", load_breast_cancer),
        ("wine", load_wine),
        ("digits", load_digits),
    ):
        X, y = load(return_X_y=True)
        line = {"table": name}
        for way, model in ways.items():
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            pipeline = make_pipeline(StandardScaler(), model)
            line[way] = cross_val_score(pipeline, X, y, cv=folds).mean()
        lines.append(line)
    print("\nAccuracy, 5-fold")
    print(pd.DataFrame(lines).to_string(index=False, float_format="%.4f"))
    ways = {
        "linear": RidgeCV(np.logspace(-3, 3, 13)),
        "boosted trees": GradientBoostingRegressor(random_state=0),
        "histogram trees": HistGradientBoostingRegressor(random_state=0),
        "MLP(100)": MLPRegressor(max_iter=2000, random_state=0),
        "GBNN": GBNNRegressor(random_state=0),
        "GBNN, step 1": GBNNRegressor(learning_rate=1.0, random_state=0),
        "GBNN, 100 by 5": GBNNRegressor(100, units_per_step=5, random_state=0),
        "GBNN, early stop": GBNNRegressor(n_iter_no_change=10, random_state=0),
    }
    tables = {
        "diabetes": load_diabetes(return_X_y=True),
        "friedman1": make_friedman1(400, 10, noise=1.0, random_state=0),
    }
    lines = []
    for name, (X, y) in tables.items():
        line = {"table": name}
        for way, model in ways.items():
            score = cross_val_score(
                make_pipeline(StandardScaler(), model),
                X,
                y,
                cv=KFold(5, shuffle=True, random_state=0),
                scoring="neg_mean_squared_error",
            )
            line[way] = np.sqrt(-score.mean())
        lines.append(line)
    print("\nRoot mean squared error, 5-fold")
    print(pd.DataFrame(lines).to_string(index=False, float_format="%.4g"))


if __name__ == "__main__":
    with threadpool_limits(1):
        run(speed, quality)
