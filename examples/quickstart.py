"""
Three acts in under a minute
============================

One real table, the breast cancer data of scikit-learn (569 tumours, 30 measurements),
several random splits, and beside each method its simplest rival: a search by gradient
beside a grid, the exact range of all models that fit as well beside refits, and a
selection with a guaranteed error rate beside a fixed threshold. At the end a neural
network in the same pipeline, with what it adds to logistic regression.
"""

import os
import time
import warnings

START = time.perf_counter()
# one thread, so that processor times can be compared
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.conformal import ConformalSelector
from skdiff.model_selection import GradientSearchCV
from skdiff.multiplicity import RashomonClassifier
from skdiff.neural_network import LipschitzMLPClassifier

FIGURE = "quickstart.png"
BLUE, GREY, RED = "#1f6f8b", "#8a8a8a", "#d1495b"
SPLITS = StratifiedShuffleSplit(5, test_size=0.3, random_state=0)
INTERVAL = (1e-4, 1e4)


def step(text):
    """Print what is under way, with the time."""
    print(f"[{time.perf_counter() - START:5.1f} s] {text}", flush=True)


def timed_log_loss(model, X, y, train, test):
    """Processor seconds of a fit, and the log loss on held-out rows."""
    start = time.process_time()
    model.fit(X[train], y[train])
    seconds = time.process_time() - start
    return seconds, log_loss(y[test], model.predict_proba(X[test]))


def search(X, y):
    """Act 1: one penalty, by gradient and by a grid of 30, on every split."""
    step("act 1: choose the penalty of a pipeline by gradient and by a grid of 30")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    name = "logisticregression__C"
    ways = {
        "by gradient": GradientSearchCV(pipeline, {name: loguniform(*INTERVAL)}, cv=5),
        "grid of 30": GridSearchCV(
            pipeline,
            {name: np.geomspace(*INTERVAL, 30)},
            scoring="neg_log_loss",
            cv=5,
        ),
        "default C=1": pipeline,
    }
    found = {
        way: np.array(
            [timed_log_loss(model, X, y, *split) for split in SPLITS.split(X, y)]
        )
        for way, model in ways.items()
    }
    for way, values in found.items():
        seconds, loss = values.mean(axis=0)
        print(f"{'':10}{way:<12} log loss {loss:.4f}, {seconds:6.3f} CPU s per search")
    return found


def audit(X, y):
    """Act 2: the exact range over all models that fit as well, and that of refits."""
    step("act 2: audit all models within 1 % of the best objective")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    model = RashomonClassifier(pipeline, epsilon=0.01).fit(X, y)
    exact = model.predict_proba_range(X)
    step("       and refit a hundred times without a random 2 % of the rows")
    rng = np.random.default_rng(0)
    refits = []
    for _ in range(100):
        rows = rng.uniform(size=len(y)) > 0.02
        p = pipeline.fit(X[rows], y[rows]).predict_proba(X)[:, 1]
        penalty = np.sum(pipeline[-1].coef_ ** 2) / 2 / len(y)
        if log_loss(y, p) + penalty <= model.objective_ + model.epsilon_:
            refits.append(p)
    seen = np.stack([np.min(refits, axis=0), np.max(refits, axis=0)], axis=1)
    conflicts = {
        "exact": model.conflicts(X).sum(),
        "refits": ((seen[:, 0] <= 0.5) & (seen[:, 1] > 0.5)).sum(),
    }
    for way, bounds in {"exact": exact, "refits": seen}.items():
        width = np.diff(bounds).mean()
        print(
            f"{'':10}{way:<12} {conflicts[way]} of {len(y)} diagnoses change,", end=""
        )
        print(f" probabilities move by {width:.3f} on average")
    return model.predict_proba(X)[:, 1], exact, seen


def select(X, y):
    """Act 3: a list of benign tumours, at most a fraction of which is malignant."""
    step(
        "act 3: list benign tumours, at guaranteed rates of malignant ones in the list"
    )
    levels = np.array([0.02, 0.03, 0.05, 0.1])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    rates, usual = [], []
    splits = ShuffleSplit(100, test_size=0.5, random_state=0)
    for seed, (train, test) in enumerate(splits.split(X)):
        selector = ConformalSelector(pipeline, target=1, random_state=seed)
        lists = selector.fit(X[train], y[train]).select(X[test], fdr_level=levels)
        threshold = pipeline.fit(X[train], y[train]).predict(X[test]) == 1
        benign = y[test] == 1
        rates.append(
            [
                [np.mean(~benign[rows]) if rows.any() else 0, rows[benign].mean()]
                for rows in lists
            ]
        )
        usual.append([np.mean(~benign[threshold]), threshold[benign].mean()])
    errors = np.std(rates, axis=0)[:, 0] / len(rates) ** 0.5
    rates, usual = np.mean(rates, axis=0), np.mean(usual, axis=0)
    for level, (wrong, listed), error in zip(levels, rates, errors, strict=True):
        print(f"{'':10}guaranteed {level:5.1%}, realised {wrong:5.1%} ", end="")
        print(f"± {error:.1%}, {listed:.0%} of the benign tumours listed")
    print(f"{'':10}predicted benign: realised {usual[0]:5.1%}, {usual[1]:.0%} listed")
    return levels, rates, usual


def network(X, y):
    """A certified network in the same pipeline, under a grid search."""
    step("a network with a certified bound, in a pipeline under GridSearchCV")
    grid = GridSearchCV(
        make_pipeline(
            StandardScaler(),
            LipschitzMLPClassifier(
                hidden_layer_sizes=(64,), max_iter=200, random_state=0
            ),
        ),
        {"lipschitzmlpclassifier__lipschitz_bound": [1.0, 2.0]},
        cv=3,
    )
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    scores = []
    for train, test in SPLITS.split(X, y):
        best = grid.fit(X[train], y[train]).best_estimator_
        right = best.predict(X[test]) == y[test]
        radius = best[-1].certified_radius(best[:-1].transform(X[test]))
        rival = accuracy_score(
            y[test], logistic.fit(X[train], y[train]).predict(X[test])
        )
        scores.append([right.mean(), np.mean(right & (radius > 0.2)), rival])
    accuracy, certified, rival = np.mean(scores, axis=0)
    print(f"{'':10}accuracy {accuracy:.3f} (logistic regression {rival:.3f}); ", end="")
    print(f"{certified:.1%} stay right under any change of 0.2 standard deviations")


def draw(found, ranges, selection):
    """One panel per act."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    left, middle, right = axes
    for (way, values), color in zip(found.items(), (BLUE, RED, GREY), strict=True):
        left.scatter(values[:, 0], values[:, 1], color=color, s=30, label=way)
    left.set(xscale="log", xlabel="processor seconds", ylabel="held-out log loss")
    left.set_title("1. As good as a grid, in a fraction of the time")
    left.set_ylim(0, None)
    left.legend(frameon=False)

    p, exact, seen = ranges
    order = np.argsort(p)
    rows = order[(p[order] > 0.02) & (p[order] < 0.98)]
    at = np.arange(len(rows))
    middle.fill_between(at, *exact[rows].T, color="#9cc5d3", label="all good models")
    middle.fill_between(at, *seen[rows].T, color=RED, label="refits within 1 %")
    middle.plot(at, p[rows], color="black", lw=0.8, label="the fitted model")
    middle.axhline(0.5, color="0.4", lw=0.8, ls=":")
    middle.set(xlabel="tumours, sorted", ylabel="probability of benign")
    middle.set_title("2. What is arbitrary among models that fit as well")
    middle.legend(frameon=False, loc="upper left")

    levels, rates, usual = selection
    right.plot([0, 0.11], [0, 0.11], color="0.6", lw=0.8, ls=":")
    right.plot(levels, rates[:, 0], "o-", color=BLUE, label="selected")
    right.axhline(usual[0], color=RED, label="predicted benign")
    right.set(xlabel="guaranteed rate of malignant", ylabel="realised rate")
    right.set_title("3. A list with a guaranteed error rate")
    right.legend(frameon=False)
    figure.savefig(FIGURE, dpi=110)


def main():
    """Run the acts, print what they find and draw it."""
    step("imports done: 569 tumours, 30 measurements, everything on one thread")
    X, y = load_breast_cancer(return_X_y=True)
    found = search(X, y)
    ranges = audit(X, y)
    selection = select(X, y)
    network(X, y)
    draw(found, ranges, selection)
    step(f"done; figure saved to {FIGURE}")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    # too few labels for a level give an empty list, which is counted as such
    warnings.filterwarnings("ignore", "[0-9]+ of the [0-9]+ new rows")
    main()
