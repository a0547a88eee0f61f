"""SelfTuningMLPClassifier and SelfTuningMLPRegressor: one run beside a grid of fits.

``quality``: one self-tuning fit against the same fit with its values at rest, a grid of
20 decays of scikit-learn's network *on the same validation rows and with its best epoch
on them*, a linear model and boosted trees; five splits, paired differences with their
standard errors, and processor seconds of the same run.
``milder``: half that noise on 1000 training rows, three splits, without a grid.
``curves``: estimated validation curves beside a fit at each value.
``digits``: a logistic regression, with one decay and with one for each column.
``speeds``: an epoch of tuning beside one of the same network at fixed values.
``SelfTuningDisplay`` draws what ``quality`` fits.
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
    seconds,
)

import numpy as np
from sklearn.datasets import load_diabetes, load_digits, make_friedman1
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skdiff._base.validation import split_validation
from skdiff.linear_model import WeightedLogisticRegression
from skdiff.model_selection import Continuous, GradientSearchCV
from skdiff.neural_network import SelfTuningMLPClassifier, SelfTuningMLPRegressor

warnings.simplefilter("ignore")


SEEDS = range(pick(5, 1))
N_DECAYS = pick(20, 2)
COMMON = {"dtype": "float32"}
AT_REST = {"hyper_learning_rate": 1e-9}


def noisy_digits(n_rows=900, scale=4.0):
    """Digits with noise of a quarter of the largest value."""
    X, y = load_digits(return_X_y=True)
    X = X + np.random.default_rng(0).normal(scale=scale, size=X.shape)
    return X[:n_rows], y[:n_rows]


def tables():
    """Name, rows, target, and whether it is a class."""
    X, y = noisy_digits()
    return {
        "noisy digits": (X, y, True),
        "diabetes": (*load_diabetes(return_X_y=True), False),
        "friedman1": (*make_friedman1(400, noise=1.0, random_state=0), False),
    }


class Grid:
    """A grid over ``alpha`` of scikit-learn's network, stopped at its best epoch.

    It has the validation rows of the self-tuning fit of the same seed, its layers, step
    size, patience and batches, and is trained anew on all rows in the end.
    """

    def __init__(self, classify, seed):
        self.classify, self.seed = classify, seed

    def network(self, alpha, n):
        make = MLPClassifier if self.classify else MLPRegressor
        return make(
            hidden_layer_sizes=(64, 64),
            alpha=alpha,
            learning_rate_init=0.003,
            batch_size=int(np.clip(n // 16, 16, 256)),
            random_state=self.seed,
        )

    def loss(self, network, X, y):
        if self.classify:
            return log_loss(y, network.predict_proba(X), labels=self.classes)
        return np.mean((network.predict(X) - y) ** 2) / 2

    def epoch(self, network, X, y):
        if self.classify:
            return network.partial_fit(X, y, classes=self.classes)
        return network.partial_fit(X, y)

    def fit(self, X, y):
        self.classes = np.unique(y)
        self.scaler = StandardScaler().fit(X)
        self.center, self.spread = (0, 1) if self.classify else (y.mean(), y.std())
        X, y = self.scaler.transform(X), (y - self.center) / self.spread
        if self.classify:
            y = y.astype(int)
        seed = np.random.RandomState(self.seed).randint(2**31 - 1)
        strata = y if self.classify else None
        train, held = split_validation(len(y), 0.2, seed, strata=strata, fewest=10)
        best = (np.inf, None, None)
        for alpha in np.logspace(-4, 2, N_DECAYS):
            network, stale, lowest = self.network(alpha, len(train)), 0, np.inf
            for epoch in range(1, pick(100, 3) + 1):
                self.epoch(network, X[train], y[train])
                loss = self.loss(network, X[held], y[held])
                stale = 0 if loss < lowest - 1e-4 else stale + 1
                lowest = min(lowest, loss)
                best = min(best, (loss, alpha, epoch))
                if stale >= 50:
                    break
        self.search_score_ = -best[0]
        self.network_ = self.network(best[1], len(y))
        for _ in range(best[2]):
            self.epoch(self.network_, X, y)
        return self

    def score(self, X, y):
        X = self.scaler.transform(X)
        y = y if self.classify else (y - self.center) / self.spread
        return self.network_.score(X, y)


def models(classify, seed):
    """Ours, the grid and baselines that need no tuning."""
    if classify:
        ours = SelfTuningMLPClassifier
        linear = LogisticRegressionCV(max_iter=500)
        trees = HistGradientBoostingClassifier(random_state=0)
    else:
        ours = SelfTuningMLPRegressor
        linear = RidgeCV(np.logspace(-3, 3, 13))
        trees = HistGradientBoostingRegressor(random_state=0)
    common = COMMON | {"random_state": seed}
    return {
        "self-tuning": ours(**common),
        "not tuned": ours(**AT_REST, **common),
        "grid": Grid(classify, seed),
        "linear": make_pipeline(StandardScaler(), linear),
        "trees": trees,
    }


def quality():
    """Held-out scores, validation losses and processor seconds, paired by split."""
    for name, (X, y, classify) in list(tables().items())[: pick(None, 1)]:
        X, y = X[: pick(None, 200)], y[: pick(None, 200)]
        found = {}
        for seed in SEEDS:
            strata = y if classify else None
            A, B, a, b = train_test_split(X, y, stratify=strata, random_state=seed)
            for way, model in models(classify, seed).items():
                cost = seconds(lambda model=model, A=A, a=a: model.fit(A, a))
                held = getattr(model, "search_score_", np.nan)
                found.setdefault(way, []).append((model.score(B, b), -held, cost))
        report(name, {way: np.array(rows) for way, rows in found.items()})


def report(name, found):
    """Print means, and differences of ours to each with their standard errors."""
    ours = found["self-tuning"]
    for way, rows in found.items():
        score, held, cost = rows.mean(0)
        gain = ours[:, 0] - rows[:, 0]
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
        print(
            f"{name:13s} {way:12s} score {score:.3f}  validation loss {held:.4f}  "
            f"{cost:.1f} s  ours less this {gain.mean():+.3f} ({error:.3f})",
            flush=True,
        )
    if "grid" in found:
        ratio = found["grid"][:, 2].mean() / ours[:, 2].mean()
        print(f"{name:13s} the grid of {N_DECAYS} takes {ratio:.1f} times as long\n")


def milder():
    """Digits with half the noise and more rows, beside what is not tuned."""
    X, y = noisy_digits(pick(1797, 300), scale=2.0)
    found = {}
    for seed in range(pick(3, 1)):
        A, B, a, b = train_test_split(
            X, y, train_size=pick(1000, 200), stratify=y, random_state=seed
        )
        ways = models(True, seed)
        for way in ("self-tuning", "not tuned", "linear"):
            cost = seconds(lambda model=ways[way], A=A, a=a: model.fit(A, a))
            held = -getattr(ways[way], "search_score_", np.nan)
            found.setdefault(way, []).append((ways[way].score(B, b), held, cost))
    report("milder noise", {way: np.array(rows) for way, rows in found.items()})


def curves():
    """Estimated validation losses at other values, beside a fit at each of them."""
    X, y = noisy_digits(pick(900, 200))
    common = COMMON | {"refit": False, "random_state": 0, "max_iter": pick(60, 8)}
    model = SelfTuningMLPClassifier(per_layer=False, **common).fit(X, y)
    print(f"at the values found: {-model.search_score_:.3f}")
    starts = {"weight_decay": "alpha"}
    own = {starts.get(name, name): v for name, v in model.hyperparameters_.items()}
    for name, value in model.hyperparameters_.items():
        top = 0.9 if name == "dropout" else np.inf
        values = np.minimum(value * np.array([0.25, 0.5, 1, 2, 4]), top)
        for at, told in zip(values, model.validation_curve(name, values), strict=True):
            fixed = own | {starts.get(name, name): at}
            fresh = SelfTuningMLPClassifier(
                per_layer=False, perturb_scale=0.05, **fixed, **AT_REST, **common
            ).fit(X, y)
            print(
                f"{name:12s} {at:8.4f} estimated {told:.3f}, "
                f"fitted {-fresh.search_score_:.3f}",
                flush=True,
            )


def digits():
    """Logistic regression of digits: one decay, and one for each of 64 columns.

    Losses of the fits, and of the exact models under the penalties that they found.
    """
    X, y = load_digits(return_X_y=True)
    X, y = X[: pick(None, 300)], y[: pick(None, 300)]
    A, B, a, b = train_test_split(X, y, stratify=y, random_state=0)
    seed = np.random.RandomState(0).randint(2**31 - 1)
    train, held = split_validation(len(a), 0.2, seed, strata=a, fewest=10)
    scaler = StandardScaler().fit(A)
    Z, T, n = scaler.transform(A), scaler.transform(B), len(train)

    def exact(decay):
        C = 1 / (n * np.broadcast_to(decay, Z.shape[1]))
        model = WeightedLogisticRegression(C=C).fit(Z[train], a[train])
        rows = ((a[held], Z[held]), (b, T))
        return [log_loss(target, model.predict_proba(R)) for target, R in rows]

    best = GradientSearchCV(
        LogisticRegression(max_iter=2000),
        {"C": Continuous(1e-4, 1e4)},
        cv=[(train, held)],
    ).fit(Z, a)
    decay = 1 / (n * best.best_params_["C"])
    losses = "exact {:.4f}, test {:.4f}"
    print(f"gradient search {decay:.2e};", losses.format(*exact(decay)))
    common = {"tune": ["weight_decay"], "input_noise": 0.0, "refit": False}
    common |= {"learning_rate_init": 0.01, "random_state": 0}
    slow = {"batch_size": len(A), "hyper_learning_rate": 0.1}
    ways = {
        "one": {},
        "one of each column": slow | {"per_column": True, "response": "hypernetwork"},
    }
    for way, how in ways.items():
        epochs = {"max_iter": pick(200, 8), "n_iter_no_change": 300}
        model = SelfTuningMLPClassifier((), **common, **how, **epochs).fit(A, a)
        found = np.array(list(model.hyperparameters_.values()))
        test = log_loss(b, model.predict_proba(B))
        print(
            f"{way:21s} {np.exp(np.log(found).mean()):.2e}; own "
            f"{-model.search_score_:.4f}, test {test:.4f};",
            losses.format(*exact(found)),
            flush=True,
        )


def speeds():
    """Time of an epoch of tuning beside a standard one."""
    name = "noisy digits"
    X, y = noisy_digits(pick(1300, 300))
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
        run(quality, milder, curves, digits, speeds)
