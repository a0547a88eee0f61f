"""BayesianLinearMixture: time and quality beside BayesianRidge.

Peers: scikit-learn's BayesianRidge once, and over a grid of as many fixed priors; the
bound is the singular value decomposition alone.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.stats import norm
from sklearn.linear_model import BayesianRidge

from skdiff.linear_model import BayesianLinearMixture


def speed():
    """Seconds of fit, and of predictions with standard deviations."""
    rows = []
    for n, p in pick(((12, 10), (200, 50), (2000, 100)), ((12, 10),)):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, p))
        y = X @ rng.normal(size=p) + rng.normal(size=n)

        def grid(X=X, y=y):
            # the same 225 priors, each with a fit of its own
            for tau in np.geomspace(0.05, 5.0, 15):
                for sigma in np.geomspace(0.01, 2.0, 15):
                    start = {"alpha_init": sigma**-2, "lambda_init": tau**-2}
                    BayesianRidge(max_iter=1, **start).fit(X, y)

        best = interleaved(
            {
                "ours": lambda X=X, y=y: BayesianLinearMixture().fit(X, y),
                "peer": lambda X=X, y=y: BayesianRidge().fit(X, y),
                "grid": grid,
                "limit": lambda X=X: np.linalg.svd(X, full_matrices=False),
            },
            repeats=3,
        )
        task, limit = f"fit {n} x {p}", best["limit"]
        rows += [
            Row(task, best["ours"], best["grid"], "a grid of 225", limit, "peer / 20"),
            Row("  once", best["ours"], best["peer"], "BayesianRidge", limit),
        ]
    print_table("BayesianLinearMixture", rows)


def quality(tables=200):
    """Log density and coverage: 12 rows, 10 columns, noise from .1 to 2."""
    for fit_intercept in (False, True):
        rng, found = np.random.default_rng(0), []
        for _ in range(tables):
            w, noise = rng.normal(size=10), 10 ** rng.uniform(-1, np.log10(2))
            X, Z = rng.normal(size=(12, 10)), rng.normal(size=(20, 10))
            y = X @ w + noise * rng.normal(size=12)
            y_new = Z @ w + noise * rng.normal(size=20)
            ours = BayesianLinearMixture(fit_intercept=fit_intercept).fit(X, y)
            low, high = ours.predict_quantiles(Z, [0.05, 0.95]).T
            peer = BayesianRidge(fit_intercept=fit_intercept).fit(X, y)
            mean, std = peer.predict(Z, return_std=True)
            found.append(
                [
                    ours.log_prob(Z, y_new).mean(),
                    np.mean((low < y_new) & (y_new < high)),
                    norm.logpdf(y_new, mean, std).mean(),
                    np.mean(np.abs(y_new - mean) < 1.645 * std),
                ]
            )
        mean, median = np.mean(found, axis=0), np.median(found, axis=0)
        print(f"\nintercept {fit_intercept}: log density and coverage of 90 %")
        print(
            f"  mixture        {mean[0]:8.2f} (median {median[0]:.2f})  {mean[1]:.3f}"
        )
        print(
            f"  BayesianRidge  {mean[2]:8.2f} (median {median[2]:.2f})  {mean[3]:.3f}"
        )


if __name__ == "__main__":
    run(speed, quality)
