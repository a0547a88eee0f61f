"""InContextLinearRegressor: distance from the exact mixture, and time of many tables.

Peers: BayesianLinearMixture, which is exact, and BayesianRidge; the bound is one
singular value decomposition per table.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import BayesianRidge

from skdiff._base.weights import load_weights
from skdiff.linear_model import BayesianLinearMixture, InContextLinearRegressor
from skdiff.linear_model._in_context._network import Statistics, forward


def task(rng, n, shift=1.0):
    """A task with Wishart covariance and random scales of signal and noise."""
    d = int(rng.integers(1, 9))
    A = rng.normal(size=(d, d + 1))
    root = np.linalg.cholesky(A @ A.T / (d + 1) + 1e-6 * np.eye(d))
    w = rng.normal(size=d) * np.exp(rng.uniform(np.log(0.1), np.log(10)))
    noise = np.exp(rng.uniform(np.log(0.1), np.log(2))) * np.linalg.norm(root.T @ w)
    X, Z = rng.normal(size=(n, d)) @ root.T, shift * rng.normal(size=(50, d)) @ root.T
    y, new = X @ w, Z @ w
    return X, y + noise * rng.normal(size=n), Z, new + noise * rng.normal(size=50)


def speed():
    """Seconds for many tables: one call each, and one pass for all of one shape."""
    n_tables = pick(1000, 50)
    rng = np.random.default_rng(0)
    tables = [task(rng, 30) for _ in range(n_tables)]
    arrays = load_weights("in_context_linear").arrays
    s = rng.dirichlet(np.ones(8), size=n_tables)
    rho = rng.dirichlet(np.ones(9), size=n_tables)
    seen = Statistics(s, rho[:, :8], rho[:, 8], np.full(n_tables, 30.0))

    def loop(cls):
        for X, y, Z, _ in tables:
            cls().fit(X, y).predict(Z, return_std=True)

    best = interleaved(
        {
            "ours": lambda: loop(InContextLinearRegressor),
            "exact": lambda: loop(BayesianLinearMixture),
            "ridge": lambda: loop(BayesianRidge),
            "pass": lambda: forward(seen, arrays),
            "limit": lambda: [
                np.linalg.svd(X, full_matrices=False) for X, *_ in tables
            ],
        },
        repeats=3,
    )
    limit, label = best["limit"], f"{n_tables} tables, fit and predict"
    print_table(
        "InContextLinearRegressor",
        [
            Row(
                label,
                best["ours"],
                best["exact"],
                "BayesianLinearMixture",
                limit,
                "1 s",
            ),
            Row("  once more", best["ours"], best["ridge"], "BayesianRidge", limit),
            Row("  the network, all in one pass", best["pass"], None, "", limit),
        ],
    )


def quality(n_tasks=200):
    """Distance from the exact mixture: sizes, covariate shift, depth."""
    print("\n                     distance  log density lost  coverage of 90 %")
    cases = {
        "5 to 64 rows": {},
        "5 rows": {"n": 5},
        "12 rows": {"n": 12},
        "128 rows": {"n": 128},
        "1000 rows": {"n": 1000},
        "covariates x 3": {"shift": 3.0},
        "2 blocks": {"n_blocks": 2},
        "1 block": {"n_blocks": 1},
        "no block": {"n_blocks": 0},
    }
    for name, case in cases.items():
        rng, found = np.random.default_rng(0), []
        for _ in range(n_tasks):
            n = case.get("n") or int(rng.integers(5, 65))
            X, y, Z, new = task(rng, n, case.get("shift", 1.0))
            exact = BayesianLinearMixture().fit(X, y)
            ours = InContextLinearRegressor(
                max_context=10**6, n_blocks=case.get("n_blocks")
            ).fit(X, y)
            mean, std = exact.predict(Z, return_std=True)
            low, high = ours.predict_quantiles(Z, [0.05, 0.95]).T
            found.append(
                [
                    np.mean(np.abs(ours.predict(Z) - mean) / std),
                    np.mean(exact.log_prob(Z, new) - ours.log_prob(Z, new)),
                    np.mean((low < new) & (new < high)),
                ]
            )
        distance, lost, coverage = np.mean(found, axis=0)
        print(f"{name:20s} {distance:9.3f} {lost:17.4f} {coverage:17.3f}")


def small_tables(n_tasks=60):
    """Log density and coverage by the number of rows, on linear and curved tasks."""
    from scipy.stats import norm

    kernel = ConstantKernel() * RBF(1.0) + WhiteKernel()
    models = {
        "in context": InContextLinearRegressor(),
        "mixture": BayesianLinearMixture(),
        "BayesianRidge": BayesianRidge(),
        "Gaussian process": GaussianProcessRegressor(kernel, normalize_y=True),
    }
    for bend in (0.0, 2.0):
        print(f"\n{'curved' if bend else 'linear'} tasks: median log density, coverage")
        for n in (8, 16, 48):
            line = f"{n:3d} rows"
            for name, model in models.items():
                rng, found = np.random.default_rng(0), []
                for _ in range(n_tasks):
                    w = rng.normal(size=4)
                    X = rng.normal(size=(n + 50, 4))
                    y = X @ w + bend * np.sin(2 * X[:, 0]) * X[:, 1]
                    y += 0.5 * rng.normal(size=len(y))
                    model.fit(X[:n], y[:n])
                    mean, std = model.predict(X[n:], return_std=True)
                    if hasattr(model, "log_prob"):
                        logs = model.log_prob(X[n:], y[n:])
                        low, high = model.predict_quantiles(X[n:], [0.05, 0.95]).T
                    else:
                        logs = norm.logpdf(y[n:], mean, std)
                        low, high = mean - 1.645 * std, mean + 1.645 * std
                    inside = np.mean((low < y[n:]) & (y[n:] < high))
                    found.append([logs.mean(), inside])
                density, coverage = (
                    np.median(found, axis=0)[0],
                    np.mean(found, axis=0)[1],
                )
                line += f"   {name} {density:.2f} {coverage:.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")  # of Gaussian processes at their bounds
    run(speed, quality, small_tables)
