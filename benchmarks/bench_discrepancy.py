"""MMD and shape distances: time beside plain NumPy, error by simulator runs.

Peer of ``mmd``: three kernel matrices in NumPy; of ``optimally_weighted_mmd``: equal
weights; of ``shape_distance``: SciPy's ``orthogonal_procrustes``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.stats import norm

from skdiff.metrics import mmd, optimally_weighted_mmd, shape_distance


def plain_mmd(X, Y, width=1.0):
    def k(A, B):
        distances = ((A[:, None] - B) ** 2).sum(axis=2)
        return np.exp(-distances / (2 * width**2))

    return k(X, X).mean() + k(Y, Y).mean() - 2 * k(X, Y).mean()


def speed():
    """Seconds of one value."""
    rng, rows = np.random.default_rng(0), []
    n = pick(2000, 200)
    X, Y = rng.standard_normal((2, n, 5))
    best = interleaved(
        {
            "ours": lambda: mmd(X, Y, bandwidth=1.0, estimator="v"),
            "peer": lambda: plain_mmd(X, Y),
            "limit": lambda: np.exp(X @ Y.T),
        },
        repeats=3,
    )
    rows.append(
        Row(f"mmd, {n} rows", best["ours"], best["peer"], "NumPy", best["limit"])
    )
    A, B = rng.standard_normal((2, n, 60))
    best = interleaved(
        {
            "ours": lambda: shape_distance(A, B, kind="procrustes"),
            "peer": lambda: orthogonal_procrustes(A, B),
            "limit": lambda: A.T @ B,
        }
    )
    name = "orthogonal_procrustes"
    rows.append(Row("shape_distance", best["ours"], best["peer"], name, best["limit"]))
    u = rng.uniform(size=(pick(256, 32), 1))
    Z = norm.ppf(u) * [1.0] * 1
    best = interleaved(
        {
            "ours": lambda: optimally_weighted_mmd(Z, u, X[:, :1], bandwidth=1.0),
            "peer": lambda: mmd(Z, X[:, :1], bandwidth=1.0, estimator="v"),
        }
    )
    rows.append(Row("weighted", best["ours"], best["peer"], "equal weights"))
    print_table("distances of samples", rows)


def g_and_k(u, a):
    z = norm.ppf(u)
    return a + (1 + 0.8 * np.tanh(0.05 * z)) * (1 + z * z) ** 0.1 * z


def two_columns(z):
    return np.stack([z[:, 0] + z[:, 1] ** 2 / 2, np.tanh(z[:, 1])], axis=1)


def simulators(draws=None):
    """Root mean squared error of MMD^2 over draws."""
    draws = draws or pick(50, 2)
    rng = np.random.default_rng(0)
    Y = g_and_k(rng.uniform(size=(2000, 1)), 3.0)
    long_run = g_and_k((np.arange(8000)[:, None] + 0.5) / 8000, 3.3)
    truth = mmd(long_run, Y, bandwidth=1.0, estimator="v")
    print(f"\ng-and-k, truth {truth:.4f}: runs, equal, weighted, stratified")
    for m in (16, 64, 256):
        found = []
        for _ in range(draws):
            u = rng.uniform(size=(m, 1))
            v = (np.arange(m)[:, None] + rng.uniform(size=(m, 1))) / m
            found.append(
                [
                    mmd(g_and_k(u, 3.3), Y, bandwidth=1.0, estimator="v"),
                    optimally_weighted_mmd(g_and_k(u, 3.3), u, Y, bandwidth=1.0),
                    mmd(g_and_k(v, 3.3), Y, bandwidth=1.0, estimator="v"),
                ]
            )
        print(m, np.sqrt(((np.array(found) - truth) ** 2).mean(axis=0)).round(5))
    Y = two_columns(rng.standard_normal((2000, 2))) + 0.1
    grid = norm.ppf((np.arange(90) + 0.5) / 90)
    grid = two_columns(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2))
    truth = mmd(grid, Y, bandwidth=1.0, estimator="v")
    print(f"two columns, truth {truth:.4f}: runs, equal, jitter 1e-8, auto")
    for m in (25, 50, 100, 200):
        found = []
        for _ in range(draws):
            z = rng.standard_normal((m, 2))
            how = {"u_distribution": "normal", "bandwidth": 1.0}
            found.append(
                [
                    mmd(two_columns(z), Y, bandwidth=1.0, estimator="v"),
                    optimally_weighted_mmd(two_columns(z), z, Y, jitter=1e-8, **how),
                    optimally_weighted_mmd(two_columns(z), z, Y, **how),
                ]
            )
        print(m, np.sqrt(((np.array(found) - truth) ** 2).mean(axis=0)).round(5))


def shapes(draws=None):
    """Angle of independent representations (truth 1.571), mean and spread."""
    print("\nrows, plug-in, moments")
    for n in (40, 80, 160):
        found = []
        for seed in range(draws or pick(20, 2)):
            X, Y = np.random.default_rng(seed).standard_normal((2, n, 20))
            ours = shape_distance(X, Y, estimator="moments", random_state=seed)
            found.append([shape_distance(X, Y), ours])
        table = np.array(found)
        print(n, table.mean(axis=0).round(3), table.std(axis=0).round(3))


if __name__ == "__main__":
    run(speed, simulators, shapes)
