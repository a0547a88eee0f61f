"""Reusable holdout set: the no-signal experiment, cost, and searches on real tables.

There is no maintained package to compare with. The peer is the ordinary validation set,
and in time a vectorised loop over all queries at once that has no state (one threshold
for all of them and no budget), which is the bound.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import ParameterSampler, cross_val_score
from sklearn.tree import DecisionTreeClassifier

from skdiff.model_evaluation import (
    BudgetExhausted,
    ReusableHoldout,
    ReusableHoldoutDisplay,
    make_reusable_scorer,
)


def accuracies(query, X, y, k):
    """Accuracy that the analyst sees, and on fresh rows, of a vote of k columns."""
    n = y.shape[1]
    train, hold = (X[s].T @ y[s] / n for s in (0, 1))
    seen, bound = query(train, hold), 1 / np.sqrt(n)
    chosen = (np.sign(seen) == np.sign(train)) & (np.abs(seen) > bound)
    chosen &= np.abs(train) > bound
    order = np.argsort(-np.abs(train) * chosen)[:k]
    order = order[chosen[order]]
    right = [
        np.mean(np.where(X[s][:, order] @ np.sign(train[order]) >= 0, 1, -1) == y[s])
        for s in range(3)
    ]
    return query(np.array(right[:1]), np.array(right[1:2]))[0], right[2]


def draws(n, n_signal, seed):
    """Three sets of rows with as many columns; some columns lean to the label."""
    rng = np.random.default_rng(seed)
    y = rng.choice([-1.0, 1.0], size=(3, n))
    X = rng.normal(size=(3, n, n))
    X[:, :, :n_signal] += y[:, :, None] * 6 / np.sqrt(n)
    return X, y


def experiment():
    """Accuracies with and without the guard, with no signal and with some."""
    n, repeats = pick((2000, 10), (200, 1))
    print(f"\nn = d = {n}, {repeats} runs: accuracy seen | on fresh rows (overfitting)")
    for n_signal in (0, 20):
        for k in pick((50, 100, 500), (50,)):
            found = {}
            for seed in range(repeats):
                X, y = draws(n, n_signal, seed)
                for name in ("ordinary", "gaussian", "laplace"):
                    guard = None
                    if name != "ordinary":
                        guard = ReusableHoldout(
                            noise=name, value_range=(-1, 1), random_state=seed
                        ).fit(X[0, :2], y[0, :2], X[1], y[1])
                    query = (lambda t, h: h) if guard is None else guard.query
                    row = accuracies(query, X, y, k)
                    spent = 0 if guard is None else guard.n_overfit_
                    found.setdefault(name, []).append((*row, spent))
            line = "   ".join(
                "{} {:.3f} | {:.3f} ({:.0f})".format(name, *np.mean(rows, axis=0))
                for name, rows in found.items()
            )
            print(f"{n_signal:2d} columns with signal, k = {k:3d}: {line}")


def budgets():
    """Queries without signal that a budget of ten allows, by the noise."""
    n, repeats = pick((2000, 20), (200, 2))
    for noise in ("gaussian", "laplace"):
        counts = []
        for seed in range(repeats):
            rng = np.random.default_rng(seed)
            X, y = np.zeros((n, 1)), np.zeros(n)
            guard = ReusableHoldout(
                budget=10, noise=noise, value_range=(-1, 1), random_state=seed
            ).fit(X, y, X, y)
            try:
                guard.query(*rng.normal(scale=n**-0.5, size=(2, 10 * n)))
            except BudgetExhausted as error:
                shown = ReusableHoldoutDisplay.from_estimator(guard).frame()
                assert len(shown) == len(error.values)
            counts.append(guard.n_queries_)
        print(f"a budget of 10, {noise} noise: {np.mean(counts):.0f} queries")


def cost():
    """Seconds of many queries, and of one score of a model."""
    q = pick(100_000, 1000)
    rng = np.random.default_rng(0)
    train = rng.uniform(size=q)
    hold = train + rng.normal(scale=0.02, size=q)
    X, y = np.zeros((2000, 1)), np.zeros(2000)

    def stateless():
        noise = np.random.RandomState(0)
        over = np.abs(hold - train) > 4 / np.sqrt(2000) + noise.normal(size=q) * 0.02
        return np.where(over, hold + noise.normal(size=q) * 0.02, train)

    def ours():
        guard = ReusableHoldout(value_range=(-1, 2), random_state=0)
        return guard.fit(X, y, X, y).query(train, hold)

    best = interleaved({"ours": ours, "bound": stateless})
    rows = [Row(f"{q} queries", best["ours"], limit=best["bound"])]
    X, y = load_breast_cancer(return_X_y=True)
    guard = ReusableHoldout(random_state=0).fit(X[:280], y[:280], X[280:], y[280:])
    tree = DecisionTreeClassifier(max_depth=3).fit(X[:280], y[:280])
    best = interleaved(
        {"ours": lambda: guard.score(tree), "peer": lambda: tree.score(X, y)}
    )
    note = "of the training rows and those held out"
    rows.append(Row("score of a tree", best["ours"], best["peer"], "score", note=note))
    print_table("ReusableHoldout", rows)


def tables():
    """Real tables by name; those outside scikit-learn need SKDIFF_DATA."""
    yield "breast cancer", load_breast_cancer(return_X_y=True)
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        return
    sys.path.insert(0, folder)
    from load import load

    for name in ("adult", "bank_marketing", "credit_default", "spambase"):
        X, y = load(name, return_X_y=True)
        yield name, (X.select_dtypes("number").fillna(0).to_numpy(), np.asarray(y))


def best_of_search(scorer, X, y, rows, candidates):
    """The tree of the largest score, and its score."""
    best = -np.inf, None
    for params in candidates:
        tree = DecisionTreeClassifier(**params).fit(X[rows], y[rows])
        best = max(best, (scorer(tree), tree), key=lambda pair: pair[0])
    return best


def searches():
    """100 candidates, of which the best by a validation set is kept."""
    n_iter, repeats = pick((100, 10), (5, 1))
    space = {
        "max_depth": [1, 2, 3, 4, 6, 8, None],
        "min_samples_leaf": [1, 2, 5, 10, 50],
        "max_features": [0.2, 0.5, 1.0],
        "random_state": list(range(50)),
    }
    print(f"\n{n_iter} trees, n training rows and n held out: the score of the best")
    print("candidate less its accuracy on fresh rows, and that accuracy")
    for name, (X, y) in tables():
        for n in pick((150, 2000), (100,)):
            found = []
            for seed in range(repeats if 3 * n < len(y) else 0):
                order = np.random.default_rng(seed).permutation(len(y))
                a, b, c = order[:n], order[n : 2 * n], order[2 * n : 2 * n + 10_000]
                guard = ReusableHoldout(random_state=seed)
                guard.fit(X[a], y[a], X[b], y[b])
                second = ReusableHoldout(random_state=seed)
                second.fit(X[a], y[a], X[b], y[b])

                def crossed(tree, guard=second, rows=(a, b)):
                    """Training values by cross-validation."""
                    a, b = rows
                    train = cross_val_score(tree, X[a], y[a], cv=3).mean()
                    return guard.query(train, tree.score(X[b], y[b]))

                line = []
                for scorer in (
                    lambda tree, rows=b: tree.score(X[rows], y[rows]),
                    make_reusable_scorer(guard),
                    crossed,
                ):
                    candidates = ParameterSampler(space, n_iter, random_state=seed)
                    seen, tree = best_of_search(scorer, X, y, a, candidates)
                    fresh = tree.score(X[c], y[c])
                    line += [seen - fresh, fresh]
                found.append([*line, guard.n_overfit_])
            if not found:
                continue
            mean = np.mean(found, axis=0)
            print(
                f"{name:15s} n = {n:4d}: ordinary {mean[0]:+.3f}, {mean[1]:.3f}   "
                f"guarded {mean[2]:+.3f}, {mean[3]:.3f}   of cross-validation "
                f"{mean[4]:+.3f}, {mean[5]:.3f}   overfitting {mean[6]:.0f}"
            )


if __name__ == "__main__":
    run(experiment, budgets, cost, searches)
