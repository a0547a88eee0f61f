"""Kernel method of moments: error by penalty and beside rivals, and time.

The design of the specification: errors whose spread grows with the regressor.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import SplineTransformer

from skdiff.causal import KernelMomentRegressor, LinearGMMRegressor


def spread(seed, n):
    """Effect 1.7, noise t squared."""
    rng = np.random.default_rng(seed)
    t = np.exp(rng.uniform(-1.5, 1.5, n))
    return t[:, None], 1.7 * t + t**2 * rng.normal(size=n)


def splines(X):
    """Instruments for the method with fixed moments: 12 splines on quantiles."""
    return SplineTransformer(10, knots="quantile").fit_transform(X)


def models(seed):
    """Rivals, and ours by penalty."""
    ours = {
        f"KMM {penalty}": KernelMomentRegressor(
            instrument_penalty=penalty, fit_intercept=False, random_state=seed
        )
        for penalty in (1e-4, 1e-2, 1e-1, "cv")
    }
    gmm = {
        f"GMM {how}": LinearGMMRegressor(how, fit_intercept=False)
        for how in ("two-step", "cue")
    }
    return {"least squares": LinearRegression(fit_intercept=False), **gmm, **ours}


def quality(repeats=40):
    """Median squared error of the effect."""
    for n in (100, 50):
        found = {}
        for seed in range(pick(repeats, 2)):
            X, y = spread(seed, n)
            weights = 1 / X[:, 0] ** 4
            oracle = (weights * X[:, 0]) @ y / ((weights * X[:, 0]) @ X[:, 0])
            found.setdefault("weights known", []).append((oracle - 1.7) ** 2)
            for name, model in models(seed).items():
                tools = splines(X) if name.startswith("GMM") else X
                how = {} if name == "least squares" else {"instruments": tools}
                error = (model.fit(X, y, **how).coef_[0] - 1.7) ** 2
                found.setdefault(name, []).append(error)
        print(f"\n{n} rows: median squared error")
        for name, errors in found.items():
            print(f"{name:16s} {np.median(errors):.4f}")


def speed():
    """Seconds of a fit."""
    rows = []
    for n in pick((100, 1000), (100,)):
        X, y = spread(0, n)
        one = KernelMomentRegressor(instrument_penalty=1e-3, random_state=0)
        chosen = KernelMomentRegressor(random_state=0)
        gmm, tools = LinearGMMRegressor(), splines(X)
        best = interleaved(
            {
                "one": lambda X=X, y=y, m=one: m.fit(X, y, instruments=X),
                "cv": lambda X=X, y=y, m=chosen: m.fit(X, y, instruments=X),
                "gmm": lambda X=X, y=y, Z=np.c_[X, tools]: gmm.fit(X, y, instruments=Z),
            },
            2,
        )
        rows.append(Row(f"one penalty, {n}", best["one"], best["gmm"], "two-step GMM"))
        rows.append(Row(f"cv, {n}", best["cv"], best["gmm"], "two-step GMM"))
    print_table("KernelMomentRegressor", rows)


if __name__ == "__main__":
    run(speed, quality)
