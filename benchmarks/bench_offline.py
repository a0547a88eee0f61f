"""OfflineOptimizer: time of the ascent, and what its proposals are worth.

Peer: L-BFGS-B of scipy from each start in turn; the bound is one pass of the surrogate
over the starts per step. Quality: the worse half of 1000 rows is known; the score is
(true value - worst) / (best possible - worst), over eight seeds. ``tables`` does the
same on five real tables, where boosted trees of all rows stand for the truth, beside a
rival: the best of 10 000 random rows by boosted trees of the known ones.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingRegressor

from skdiff.optimization import OfflineOptimizer
from skdiff.optimization._offline._ascent import Box, ascend
from skdiff.optimization._offline._network import Network

DATA = Path(os.environ.get("SKDIFF_DATA", "."))
SETTINGS = {
    "standard": {},
    "penalty, adapted": {"sharpness_weight": "auto"},
    "penalty .1": {"sharpness_weight": 0.1},
    "trust mahalanobis": {"trust": "mahalanobis"},
    "trust ensemble": {"trust": "ensemble"},
}


def branin(X):
    """Minus Branin on the unit square."""
    a, b = 15 * X[:, 0] - 5, 15 * X[:, 1]
    curve = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return -(curve**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


def ackley(X):
    """Minus Ackley on [-8, 12]^d, seen from the unit cube."""
    Z = 20 * (X - 0.4)
    near = 20 * np.exp(-0.2 * np.sqrt((Z**2).mean(axis=1)))
    return near + np.exp(np.cos(2 * np.pi * Z).mean(axis=1)) - 20 - np.e


def real(folder, name="concrete", target="strength"):
    """Rows of a table and boosted trees that stand for the truth."""
    import pandas as pd

    table = pd.read_csv(folder / f"{name}.csv.gz")
    y = table.pop(target).to_numpy(dtype=np.float64)
    X = table.to_numpy(dtype=np.float64)
    oracle = HistGradientBoostingRegressor(random_state=0).fit(X, y)
    return X, oracle.predict


def speed():
    """Seconds of the ascent from 32 starts."""
    rows = []
    for d in pick((2, 20), (2,)):
        rng = np.random.default_rng(0)
        X = rng.uniform(size=(500, d))
        model = OfflineOptimizer(n_steps=0, random_state=0).fit(X, ackley(X))
        climb = Network(**model._members[0]).value_and_gradient
        box, starts = Box(np.zeros(d), np.ones(d)), X[:32]

        def peer(climb=climb, starts=starts, d=d):
            def negative(x):
                value, slope = climb(x[None])
                return -value[0], -slope[0]

            for x in starts:
                minimize(negative, x, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * d)

        best = interleaved(
            {
                "ours": lambda c=climb, s=starts, b=box: ascend(c, s, b, 100, 0.05),
                "peer": peer,
                "limit": lambda c=climb, s=starts: [c(s) for _ in range(101)],
            },
            repeats=3,
        )
        rows.append(
            Row(f"ascent, {d} columns", best["ours"], best["peer"], "L-BFGS-B",
                best["limit"])
        )  # fmt: skip
    print_table("OfflineOptimizer", rows)


def quality(seeds=8):
    """Normalised true value of proposals, by task and setting."""
    tasks = {"Branin": (branin, 2, -0.397887), "Ackley, 5 columns": (ackley, 5, 0.0)}
    for name, (truth, d, top) in tasks.items():

        def draw(seed, d=d):
            return np.random.default_rng(seed).uniform(size=(1000, d))

        compare(name, draw, truth, top, seeds)
    if not (DATA / "concrete.csv.gz").exists():
        print(
            "\nconcrete: left out, SKDIFF_DATA does not name the folder of real tables"
        )
        return
    X, truth = real(DATA)

    def draw(seed):
        return X[np.random.default_rng(seed).permutation(len(X))[:1000]]

    compare("concrete, boosted trees", draw, truth, truth(X).max(), seeds)


def tables(seeds=3):
    """The worse half of 1000 rows of five real tables."""
    targets = {
        "concrete": "strength",
        "kin8nm": "distance",
        "power_plant": "power",
        "energy_heating": "heating_load",
        "protein_casp": "rmsd",
    }
    settings = {k: SETTINGS[k] for k in ("standard", "trust ensemble")}
    for name, target in targets.items():
        if not (DATA / f"{name}.csv.gz").exists():
            print(f"\n{name}: left out, SKDIFF_DATA does not name its folder")
            continue
        X, truth = real(DATA, name, target)

        def draw(seed, X=X):
            return X[np.random.default_rng(seed).permutation(len(X))[:1000]]

        compare(name, draw, truth, truth(X).max(), seeds, settings)
        rival(draw, truth, truth(X).max(), seeds)


def rival(draw, truth, top, seeds):
    """Best 32 of 10 000 random rows within the bounds, as boosted trees rank them."""
    found = []
    for seed in range(seeds):
        X = draw(seed)
        y = truth(X)
        known = y < np.median(y)
        model = HistGradientBoostingRegressor(random_state=seed).fit(X[known], y[known])
        low, high = X[known].min(axis=0), X[known].max(axis=0)
        rows = np.random.default_rng(seed).uniform(low, high, (10_000, X.shape[1]))
        believed = model.predict(rows)
        rows = rows[np.argsort(-believed)[:32]]
        values = (truth(rows) - y.min()) / (top - y.min())
        record = (y[known].max() - y.min()) / (top - y.min())
        highest = (believed.max() - y.min()) / (top - y.min())
        found.append(
            [values.max(), values[0], np.median(values), highest, record,
             values.max() >= record]
        )  # fmt: skip
    line = "".join(f"{v:9.3f}" for v in np.mean(found, axis=0))
    print(f"{'trees, random rows':26s}{line}", flush=True)


def compare(name, draw, truth, top, seeds, settings=SETTINGS):
    """Print one task."""
    print(f"\n{name:26s} best of 32   first  median  believed  best row  not below")
    standard = None
    for setting, arguments in settings.items():
        found = []
        for seed in range(seeds):
            X = draw(seed)
            y = truth(X)
            known = y < np.median(y)
            model = OfflineOptimizer(random_state=seed, **arguments)
            model.fit(X[known], y[known])
            rows = model.propose(min(32, len(model.candidates_))).to_numpy()
            low, best = y.min(), y[known].max()
            values = (truth(rows) - low) / (top - low)
            believed = (model.predict(rows[:1])[0] - low) / (top - low)
            record = (best - low) / (top - low)
            found.append(
                [values.max(), values[0], np.median(values), believed, record,
                 values.max() >= record]
            )  # fmt: skip
        found = np.array(found)
        line = "".join(f"{v:9.3f}" for v in found.mean(axis=0))
        if standard is None:
            standard = found[:, 0]
        gain = found[:, 0] - standard
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
        gained = f"gain {gain.mean():+.3f} (s.e. {error:.3f})"
        print(f"{setting:26s}{line}   {gained}", flush=True)


if __name__ == "__main__":
    run(speed, quality, tables)
