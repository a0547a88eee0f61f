"""Linear regression with instruments: time beside linearmodels, quality by design.

Peer: ``linearmodels`` where it is installed. ``card`` needs the table card_schooling in
the folder that ``SKDIFF_DATA`` names.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip
from benchmarks._causal_tables import read  # isort: skip

import numpy as np
from sklearn.linear_model import LinearRegression

from skdiff.causal import LinearGMMRegressor


def linear(rng, n, q=4, strength=(1.0, 0.5, 0.3, 0.0), spread=0.0):
    """One endogenous column, one exogenous, q excluded instruments; effect 2."""
    Z, W, u = rng.normal(size=(n, q)), rng.normal(size=(n, 1)), rng.normal(size=n)
    x = Z[:, : len(strength)] @ strength + 0.6 * u + 0.8 * rng.normal(size=n)
    y = 2 * x + W[:, 0] + u * np.sqrt((1 + spread * Z[:, 0] ** 2) / (1 + spread))
    return np.c_[x, W], y, np.c_[Z, W]


def peers():
    """The module of linearmodels, or None."""
    try:
        from linearmodels import iv
    except ImportError:
        print("linearmodels is not installed: ours alone")
        return None
    return iv


def speed():
    """Seconds of two-step GMM: coefficients, errors, J and first-stage F."""
    iv, rows = peers(), []
    for n in pick((20_000, 200_000), (2000,)):
        X, y, Z = linear(np.random.default_rng(0), n)
        block = 10_000

        def stream(X=X, y=y, Z=Z, n=n):
            model = LinearGMMRegressor()
            for k in range(0, n, block):
                rows = slice(k, k + block)
                model.partial_fit(X[rows], y[rows], instruments=Z[rows])
            return model

        def fit(X=X, y=y, Z=Z):
            return LinearGMMRegressor().fit(X, y, instruments=Z)

        def theirs(X=X, y=y, Z=Z):
            exogenous = np.c_[np.ones(len(y)), X[:, 1:]]
            return iv.IVGMM(y, exogenous, X[:, 0], Z[:, :-1]).fit()

        def everything(theirs=theirs):
            found = theirs()
            return found.std_errors, found.j_stat, found.first_stage.diagnostics

        timed = {"fit": fit, "stream": stream}
        if iv is not None:
            timed |= {"coefficients": theirs, "everything": everything}
            gap = np.abs(stream().coef_[0] - theirs().params.to_numpy()[2])
            print(f"{n} rows: coefficients differ by {gap:.1e}")
        timed["limit"] = lambda X=X, Z=Z: np.c_[X, Z].T @ np.c_[X, Z]
        best = interleaved(timed)
        for kind in ("fit", "stream"):
            for part in ("everything", "coefficients"):
                name = f"linearmodels, {part}"
                row = Row(
                    f"{kind}, {n} rows", best[kind], best.get(part), name, best["limit"]
                )
                rows.append(row)
    print_table("LinearGMMRegressor, two steps, one pass", rows, "linearmodels")


def quality(repeats=400):
    """Root mean squared error of the effect, over draws of three designs."""
    designs = {
        "500 rows, strong": {"n": 500},
        "500 rows, strong, errors spread": {"n": 500, "spread": 3.0},
        "100 rows, 20 weak instruments": {"n": 100, "q": 20, "strength": (0.2,) * 20},
        "500 rows, one instrument of F 3": {"n": 500, "q": 1, "strength": (0.08,)},
    }
    methods = ("2sls", "two-step", "iterated", "cue")
    print(f"\n{'':33s}{'least squares':>14s}" + "".join(f"{m:>10s}" for m in methods))
    for name, how in designs.items():
        rng, found = np.random.default_rng(0), []
        for _ in range(repeats):
            X, y, Z = linear(rng, **how)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fits = [LinearGMMRegressor(m).fit(X, y, instruments=Z) for m in methods]
            models = [LinearRegression().fit(X, y), *fits]
            found.append([model.coef_[0] - 2 for model in models])
        error = np.sqrt(np.median(np.square(found), axis=0))
        bias = np.median(found, axis=0)
        print(f"{name:33s}" + "".join(f"{e:12.3f}" for e in error), "median |error|")
        print(f"{'':33s}" + "".join(f"{b:12.3f}" for b in bias), "median bias")


def card():
    """Return to a year of schooling; college proximity as the instrument."""
    table = read("card_schooling")
    if table is None:
        return
    columns = ["exper", "expersq", "black", "smsa", "south", "smsa66"]
    columns += [f"reg66{k}" for k in range(2, 10)]
    y = table["lwage"]
    X = table[["educ", *columns]]
    print(f"\nleast squares {LinearRegression().fit(X, y).coef_[0]:.4f}")
    for tools in (["nearc4"], ["nearc2", "nearc4"]):
        for weights in ("2sls", "two-step", "cue"):
            model = LinearGMMRegressor(weights)
            model.fit(X, y, instruments=table[tools + columns])
            print(
                f"{'+'.join(tools):14s} {weights:9s} {model.coef_[0]:.4f} "
                f"({model.coef_std_[0]:.4f}) F {model.first_stage_f_[0]:.1f} "
                f"J p {model.j_pvalue_:.2f} "
                f"endogenous p {model.endogeneity_pvalue_:.2f}"
            )


if __name__ == "__main__":
    run(speed, quality, card)
