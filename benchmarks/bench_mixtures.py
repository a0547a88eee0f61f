"""MixturePerformanceProjector: its price beside the pilots, and its error by form.

``MixtureDisplay`` draws what is predicted and has no cost of its own.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    best_of,
    pick,
    print_table,
    run,
)

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skdiff.data_selection import MixturePerformanceProjector
from skdiff.data_selection._mixture._simplex import counts_of

FORMS = (
    "average", "linear", "quadratic", "transport", "transport_linear",
    "pseudo_quadratic",
)  # fmt: skip
SIZES = (150, 300)


def speed():
    """The projector beside the fits of its pilots alone."""
    rng = np.random.RandomState(0)
    X, groups = rng.normal(size=(900, 20)), np.repeat([0, 1, 2], 300)
    y = (X[:, 0] + groups * X[:, 1] + rng.normal(size=900) > 0).astype(int)
    model = MixturePerformanceProjector(
        LogisticRegression(), n_repeats=1 if QUICK else 3, random_state=0
    )

    def alone():
        for n in SIZES:
            for _ in range(12 * model.n_repeats):
                rows = rng.choice(900, n, replace=False)
                LogisticRegression().fit(X[rows], y[rows]).score(X[:300], y[:300])

    row = Row(
        "3 sources, 12 mixtures, 2 sizes",
        best_of(lambda: model.fit(X, y, groups, X_val=X[:300], y_val=y[:300]), 3),
        best_of(alone, 3),
        "the fits of its pilots alone",
    )
    print_table("MixturePerformanceProjector", [row])


def sources(X, y):
    """Three sources that prefer some classes, with 0, 10 and 30 % wrong labels."""
    rng = np.random.RandomState(0)
    order = rng.permutation(len(y))
    valid, rest = order[:400], order[400:]
    prefer = np.ones((3, 10))
    prefer[0, :4], prefer[1, 3:7], prefer[2, 6:] = 4, 4, 4
    chances = prefer[:, y[rest]] / prefer[:, y[rest]].sum(0)
    group = np.array([rng.choice(3, p=c) for c in chances.T])
    labels = y[rest].copy()
    for k, noise in ((1, 0.1), (2, 0.3)):
        wrong = (group == k) & (rng.uniform(size=len(group)) < noise)
        labels[wrong] = rng.randint(10, size=wrong.sum())
    return X[rest], labels, group, X[valid], y[valid]


def digits():
    """Mean absolute error of the accuracy of 14 unseen mixtures, by form."""
    warnings.simplefilter("ignore")
    X, y = load_digits(return_X_y=True)
    X, y, group, X_val, y_val = sources(X / 16, y)
    unseen = np.random.RandomState(1).dirichlet(np.ones(3), 14)
    model, rng, truth = LogisticRegression(max_iter=100), np.random.RandomState(2), {}
    for n in SIZES:
        truth[n] = np.zeros(len(unseen))
        for k, p in enumerate(unseen):
            for _ in range(3):
                rows = np.concatenate(
                    [
                        rng.choice(np.flatnonzero(group == j), c, replace=False)
                        for j, c in enumerate(counts_of(p, n))
                    ]
                )
                score = model.fit(X[rows], y[rows]).score(X_val, y_val)
                truth[n][k] += score / 3
    print(f"\ndigits, three sources: error on 14 unseen mixtures of {SIZES} rows")
    for n_mixtures in pick((8, 14), (8,)):
        for form in FORMS:
            found = MixturePerformanceProjector(
                model, SIZES, n_mixtures=n_mixtures, form=form, random_state=0
            ).fit(X, y, group, X_val=X_val, y_val=y_val)
            tell(n_mixtures, form, [found.predict(unseen, n) for n in SIZES], truth)
        means = found.observed_scores_.mean(1)
        tell(n_mixtures, "mean of the pilots", means, truth)


def tell(n_mixtures, form, predicted, truth):
    """Print one line of errors."""
    pairs = zip(predicted, SIZES, strict=True)
    small, large = (np.abs(p - truth[n]).mean() for p, n in pairs)
    print(f"{n_mixtures:2} mixtures  {form:18} {small:.3f}  {large:.3f}")


if __name__ == "__main__":
    run(speed, digits)
