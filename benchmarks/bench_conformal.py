"""Conformal selection against its definition, and its realised rates on real rows.

No package offers the procedure, so the peers are written down here: the loop of the
published functions (one count over the labelled rows per new row, candidate and
auxiliary p-value), a straightforward version, which counts all p-values of a candidate
anew for each row, one that counts them once per candidate and then loops over rows, and
one that sorts the auxiliary p-values of all rows in one table. The physical limit is
one sort of the scores per candidate. Two further tables have the rates on real rows,
which are what ``ConformalSelectionDisplay`` draws, and how far the selections of
several seeds agree. The first of them also takes a real
table of compounds where ``SKDIFF_DATA`` names a folder that holds
``bace_descriptors.csv.gz``.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    best_of,
    pick,
    print_table,
    seconds,
)

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.conformal import (
    ConformalSelector,
    CrossFitConformalSelector,
    OptimizedConformalSelector,
    auxiliary_selection_sizes,
    benjamini_hochberg,
    conformal_p_values,
    e_benjamini_hochberg,
)
from skdiff.conformal._common._optcs import optimized_selection

LOOP_ROWS = 2


def scores(n, m, k, seed=0):
    """Scores of candidates that know a little about the outcome."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n + m)
    f = 0.6 * y[:, None] + rng.normal(size=(n + m, k))
    return np.where(y[:n, None] > 0, np.inf, -f[:n]), -f[n:]


def select(V, T, q):
    """The whole of OptCS-MSel, deterministic, as the selectors call it."""
    return optimized_selection(V, T, np.array([q]), 1.0, 1.0).selected[0]


def select_in_steps(V, T, q):
    """The same by the public functions, as anyone can write it."""
    m = len(T)
    sizes = auxiliary_selection_sizes(V, T, q)
    p = conformal_p_values(V, T, randomized=False)
    chosen = sizes.argmax(axis=1)[:, None]
    R = np.take_along_axis(sizes, chosen, axis=1)[:, 0]
    first = np.take_along_axis(p, chosen, axis=1)[:, 0] <= q * R / m * (1 + 1e-12)
    return e_benjamini_hochberg(np.where(first, m / (q * R), 0.0), q)


def textbook(p, q):
    """Number of rows that Benjamini-Hochberg selects, and its bound."""
    m = len(p)
    passing = np.flatnonzero(np.sort(p) <= q * np.arange(1, m + 1) / m * (1 + 1e-12))
    return passing[-1] + 1 if len(passing) else 0


def loop_sizes(V, T, q, rows):
    """Auxiliary sizes of some rows as the published functions compute them."""
    n, m = len(V), len(T)
    sizes = np.empty((len(rows), V.shape[1]), dtype=int)
    for at, j in enumerate(rows):
        for k in range(V.shape[1]):
            p = np.empty(m)
            for other in range(m):
                smaller = np.sum(V[:, k] <= T[other, k])
                p[other] = (smaller + (T[j, k] <= T[other, k])) / (n + 1)
            p[j] = 0.0
            sizes[at, k] = textbook(p, q)
    return sizes


def straight_sizes(V, T, q, rows):
    """The same with one comparison of all pairs for each row and candidate."""
    n = len(V)
    sizes = np.empty((len(rows), V.shape[1]), dtype=int)
    for at, j in enumerate(rows):
        for k in range(V.shape[1]):
            count = (V[:, k, None] <= T[:, k]).sum(axis=0)
            p = (count + (T[j, k] <= T[:, k])) / (n + 1)
            p[j] = 0.0
            sizes[at, k] = textbook(p, q)
    return sizes


def once_counted_sizes(V, T, q, rows):
    """The same with the labelled rows counted once per candidate."""
    n = len(V)
    sizes = np.empty((len(rows), V.shape[1]), dtype=int)
    for k in range(V.shape[1]):
        count = np.searchsorted(np.sort(V[:, k]), T[:, k], side="right")
        for at, j in enumerate(rows):
            p = (count + (T[j, k] <= T[:, k])) / (n + 1)
            p[j] = 0.0
            sizes[at, k] = textbook(p, q)
    return sizes


def vectorised_sizes(V, T, q):
    """The same for all rows at once: one count, one sort of m x m, per candidate."""
    n, m = len(V), len(T)
    bound = q * np.arange(1, m + 1) / m * (1 + 1e-12)
    sizes = np.empty((m, V.shape[1]), dtype=int)
    for k in range(V.shape[1]):
        count = np.searchsorted(np.sort(V[:, k]), T[:, k], side="right")
        p = (count + (T[:, k, None] <= T[:, k])) / (n + 1)
        np.fill_diagonal(p, 0.0)
        p.sort(axis=1)
        sizes[:, k] = m - np.argmax((p <= bound)[:, ::-1], axis=1)
    return sizes


def weighted_straight_sizes(V, T, w, u, q):
    """Weighted sizes of one candidate, a selection a row."""
    sizes = np.empty(len(T), dtype=int)
    for j in range(len(T)):
        mass = (w[:, None] * (V[:, None] < T)).sum(axis=0) + u[j] * (T[j] < T)
        p = mass / (w.sum() + u[j])
        p[j] = 0.0
        sizes[j] = textbook(p, q)
    return sizes


def speed():
    """Rows of the first table."""
    n = m = pick(500, 100)
    V, T = scores(n, m, 24)
    ours = best_of(lambda: select(V, T, 0.2))
    limit = best_of(lambda: (np.sort(V, axis=0), np.sort(T, axis=0)))
    some = np.arange(0, m, m // LOOP_ROWS)
    looped = []
    loop = seconds(lambda: looped.append(loop_sizes(V, T, 0.2, some)))
    more = np.arange(0, m, 10)
    straight = best_of(lambda: straight_sizes(V, T, 0.2, more), repeats=1)
    once = best_of(lambda: once_counted_sizes(V, T, 0.2, more), repeats=3)
    vectorised = best_of(lambda: vectorised_sizes(V, T, 0.2), repeats=3)
    sizes = auxiliary_selection_sizes(V, T, 0.2)
    assert np.array_equal(sizes, vectorised_sizes(V, T, 0.2))
    assert np.array_equal(sizes[more], once_counted_sizes(V, T, 0.2, more))
    assert np.array_equal(select(V, T, 0.2), select_in_steps(V, T, 0.2))
    assert np.array_equal(sizes[some], looped[0])
    assert np.array_equal(sizes[more], straight_sizes(V, T, 0.2, more))
    task = f"OptCS-MSel, n = m = {m}, K = 24"
    rows = [
        Row(
            task,
            ours,
            loop * m / len(some),
            f"published loop, from {len(some)} rows",
            limit,
            "8 ms, 1000x",
        ),
        Row(
            task,
            ours,
            straight * m / len(more),
            f"straightforward, from {len(more)} rows",
            limit,
        ),
        Row(
            task,
            ours,
            once * m / len(more),
            f"counted once per candidate, from {len(more)} rows",
            limit,
        ),
        Row(task, ours, vectorised, "one sort of m x m per candidate", limit),
    ]
    steps = best_of(lambda: select_in_steps(V, T, 0.2))
    rows.append(Row("the same by the public functions", steps))
    levels = np.linspace(0.2, 0.5, 7)
    seven = best_of(lambda: auxiliary_selection_sizes(V, T, levels))
    rows.append(
        Row("its sizes at seven levels in one call", seven, target="all levels")
    )
    rng = np.random.default_rng(0)
    w, u = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, m)
    args = {"calibration_weights": w, "test_weights": u}
    weighted = best_of(lambda: auxiliary_selection_sizes(V[:, 0], T[:, 0], 0.2, **args))
    rows.append(
        Row(
            f"weighted sizes, n = m = {m}, K = 1",
            weighted,
            best_of(
                lambda: weighted_straight_sizes(V[:, 0], T[:, 0], w, u, 0.2), repeats=1
            ),
            "straightforward",
        )
    )
    return rows


def growth():
    """Rows of the curve, and the exponent between its ends."""
    curve = []
    for m in (1_000, 3_000, 10_000, 30_000, 100_000):
        V, T = scores(m, m, 4)
        ours = best_of(lambda: select(V, T, 0.2), repeats=3)
        limit = best_of(lambda: (np.sort(V, axis=0), np.sort(T, axis=0)), repeats=3)
        curve.append(Row(f"n = m = {m}, K = 4", ours, limit=limit))
    slope = np.log(curve[-1].ours / curve[0].ours) / np.log(100)
    curve[-1].note = f"seconds grow as m ** {slope:.2f}"
    return curve


def compounds():
    """Descriptors and potency of compounds, if the folder of tables is named."""
    folder = os.environ.get("SKDIFF_DATA")
    file = Path(folder or "") / "bace_descriptors.csv.gz"
    if not folder or not file.is_file():
        print(
            "SKDIFF_DATA names no folder with bace_descriptors: its rows are left out"
        )
        return None
    import pandas as pd

    table = pd.read_csv(file)
    y = table.pop("pic50").to_numpy()
    X = table.drop(columns="active").select_dtypes("number")  # that is pic50 >= 7
    return X.loc[:, X.nunique() > 1].to_numpy(dtype=float), y


def promised_and_realised(name, X, y, threshold, model, n_labelled, repeats):
    """Print false discoveries and power over repeated splits of a real table."""
    levels = [0.1, 0.2, 0.3]
    options = {"threshold": threshold, "random_state": 0}
    methods = {
        "ConformalSelector": ConformalSelector(model, **options),
        "OptimizedConformalSelector": OptimizedConformalSelector(
            [model, make_pipeline(StandardScaler(), Ridge(10.0))], **options
        ),
        "CrossFitConformalSelector": CrossFitConformalSelector(model, cv=5, **options),
    }
    found = {method: [] for method in [*methods, "prediction above the threshold"]}
    splits = ShuffleSplit(repeats, train_size=n_labelled, test_size=n_labelled)
    splits.random_state = 0
    for labelled, new in splits.split(X):
        positive = y[new] > threshold

        def note(method, selected, positive=positive):
            wrong = (selected & ~positive).sum(axis=1)
            fdp = wrong / np.maximum(selected.sum(axis=1), 1)
            power = (selected & positive).sum(axis=1) / positive.sum()
            found[method].append((fdp, power))

        for method, selector in methods.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of too few rows
                selector.fit(X[labelled], y[labelled])
                note(method, selector.select(X[new], fdr_level=levels))
        plain = model.fit(X[labelled], y[labelled]).predict(X[new]) > threshold
        note("prediction above the threshold", np.tile(plain, (3, 1)))
    share = np.mean(y > threshold)
    print(f"\n{name}: {share:.0%} discoveries, {repeats} splits, labelled {n_labelled}")
    print("realised false discoveries / power at the levels", *levels)
    for method, rates in found.items():
        fdp, power = np.mean(rates, axis=0)
        cells = "  ".join(f"{a:.3f} / {b:.2f}" for a, b in zip(fdp, power, strict=True))
        print(f"{method:32s}{cells}")


def agreement(tables):
    """Print what repeats do: rate, power, and the overlap of four seeds."""
    print("\nseeds: rate, power, overlap of non-empty selections, empty selections")
    for noise in (0.7, 0.3):
        for kind, options in (
            (ConformalSelector, {}),
            (CrossFitConformalSelector, {"cv": 5}),
        ):
            for n_repeats in (1, 10):
                rows, overlap = [], []
                for table in range(tables):
                    rng = np.random.default_rng(table)
                    X = rng.normal(size=(400, 5))
                    y = X[:, 0] + X[:, 1] / 2 + noise * rng.normal(size=400)
                    sets = []
                    for seed in range(4):
                        selector = kind(
                            Ridge(),
                            threshold=0.5,
                            n_repeats=n_repeats,
                            random_state=seed,
                            **options,
                        )
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore", UserWarning)
                            selector.fit(X[:300], y[:300])
                            sets.append(selector.select(X[300:], fdr_level=0.1))
                    positive = y[300:] > 0.5
                    for one in sets:
                        rows.append(
                            (
                                (one & ~positive).sum() / max(one.sum(), 1),
                                (one & positive).sum() / positive.sum(),
                                not one.any(),
                            )
                        )
                    for i, one in enumerate(sets):
                        for other in sets[:i]:
                            if (one | other).any():
                                both = (one & other).sum() / (one | other).sum()
                                overlap.append(both)
                rate, power, empty = np.mean(rows, axis=0)
                print(
                    f"noise {noise} {kind.__name__:27s}n_repeats={n_repeats:<4d}"
                    f"{rate:.3f}  {power:.2f}  {np.mean(overlap):.2f}  {empty:.2f}"
                )


def main():
    """Print the tables."""
    print_table("Conformal selection: speed", speed())
    if QUICK:
        return
    print_table("Conformal selection: growth", growth())
    p = conformal_p_values(*scores(10**6, 10**5, 1), randomized=False)[:, 0]
    took = best_of(lambda: benjamini_hochberg(p, 0.2), repeats=3)
    print_table("Benjamini-Hochberg", [Row("100 000 p-values", took)])
    X, y = load_diabetes(return_X_y=True)
    promised_and_realised("diabetes", X, y, 200, Ridge(0.01), 221, 200)
    agreement(60)
    table = compounds()
    if table is not None:
        forest = RandomForestRegressor(
            50, min_samples_leaf=2, max_features=0.1, random_state=0
        )
        promised_and_realised("bace_descriptors", *table, 7.0, forest, 600, 30)


if __name__ == "__main__":
    main()
