"""MultiOutputConformalRegressor: volume and coverage of its regions, and their cost.

Peers: one split-conformal interval per target at the level that Bonferroni's inequality
demands, and distances to neighbours by all pairs in NumPy. ``ConformalRegionDisplay``
takes such distances at the 25 600 points of a grid per region.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import os
import warnings

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputRegressor

from skdiff.conformal import MultiOutputConformalRegressor
from skdiff.conformal._regions import _shapes as shapes

LEVEL = 0.9
WAYS = ("ellipsoid", "directional", "neighbors", "box", "auto")


def speed():
    """Seconds of distances and volumes."""
    rng = np.random.default_rng(0)
    R, new = rng.normal(size=(pick(5000, 500), 2)), rng.normal(size=(2000, 2))
    balls = shapes.Balls(R, 20)

    def pairs():
        return np.partition(cdist(new, R), 19, axis=1)[:, 19]

    def count():
        points = rng.uniform(-5, 5, size=(20_000, 2))
        gaps = np.concatenate(
            [np.partition(cdist(p, R), 19)[:, 19] for p in np.array_split(points, 20)]
        )
        return (gaps <= 0.3).mean() * 100

    best = interleaved(
        {
            "tree": lambda: balls.distance(new),
            "pairs": pairs,
            "volume": lambda: balls.log_volume(0.3, 20_000, rng),
            "count": count,
        },
        repeats=3,
    )
    print_table(
        f"neighbours: {len(R)} residuals of two targets",
        [
            Row("2000 distances", best["tree"], best["pairs"], "NumPy, all pairs"),
            Row(
                "volume, 20000 draws", best["volume"], best["count"], "points in a box"
            ),
        ],
    )


def made(seed):
    """Data with known shapes by name."""
    root = np.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]])
    for name in ("gaussian", "growing", "half circle"):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(4000, 3))
        noise = rng.normal(size=(4000, 2)) @ root.T
        if name == "growing":
            noise *= 0.5 + np.abs(X[:, [0]])
        if name == "half circle":
            angle = rng.uniform(0, np.pi, 4000)
            noise = np.column_stack([np.cos(angle), np.sin(angle)])
            noise += 0.1 * rng.normal(size=(4000, 2))
        yield name, X, X[:, :2] + noise


def simulated():
    """The drafts of the specification, and the latent region."""
    lines = []
    for seed in range(3):
        for name, X, Y in made(seed):
            for way in (*WAYS, "latent"):
                for scale in ("auto", None):
                    if (way == "latent") != (scale is None):
                        continue
                    lines.append(measured(name, way, X, Y, None, seed))
    print("\nCoverage and mean area, 1500 rows to train, 1000 to calibrate, 3 seeds")
    print("oracle ellipse of the Gaussian noise: 8.68")
    table(lines)


def measured(name, way, X, Y, estimator, seed):
    """One fit: coverage and volume on new rows."""
    X, X_new, Y, Y_new = train_test_split(X, Y, train_size=2500, random_state=seed)
    model = MultiOutputConformalRegressor(estimator, region=way, random_state=seed)
    model.fit(X, Y)
    return {
        "table": name,
        "way": way,
        "coverage": model.contains(X_new, Y_new).mean(),
        "volume": model.volume_,
    }


def bonferroni(name, X, Y, estimator, seed):
    """One interval per target, each at 1 - alpha / 2."""
    X, X_new, Y, Y_new = train_test_split(X, Y, train_size=2500, random_state=seed)
    X, X_cal, Y, Y_cal = train_test_split(X, Y, train_size=1500, random_state=seed)
    model = MultiOutputRegressor(estimator).fit(X, Y)
    gaps = np.sort(np.abs(Y_cal - model.predict(X_cal)), axis=0)
    rank = int(np.ceil((len(gaps) + 1) * (1 - (1 - LEVEL) / 2)))
    half = gaps[rank - 1]
    inside = (np.abs(Y_new - model.predict(X_new)) <= half).all(axis=1)
    return {
        "table": name,
        "way": "Bonferroni",
        "coverage": inside.mean(),
        "volume": np.prod(2 * half),
    }


def table(lines):
    """Means by table and way."""
    frame = pd.DataFrame(lines).groupby(["way", "table"], sort=False).mean().unstack()
    print(frame.round(3).to_string())


def real():
    """Pairs of targets of real tables, in the folder that SKDIFF_DATA names."""
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        print("SKDIFF_DATA names no folder: skipped")
        return
    warnings.simplefilter("ignore")
    folder, lines = Path(folder), []
    for seed in range(3):
        for name, X, Y in pairs_of(folder, seed):
            base = HistGradientBoostingRegressor(max_iter=60, random_state=0)
            lines += [measured(name, way, X, Y, base, seed) for way in WAYS]
            lines.append(bonferroni(name, X, Y, base, seed))
    print("\nCoverage and mean area by table, gradient boosting, 3 splits")
    table(lines)


def pairs_of(folder, seed):
    """Rows and two targets."""
    nets = pd.read_csv(folder / "fcnet_naval.csv.gz").sample(4000, random_state=seed)
    inputs = ["batch_size", "dropout_1", "dropout_2", "init_lr", "n_units_1"]
    inputs += ["n_units_2"]
    logs = np.log(nets[["train_time", "val_loss_seed0"]].to_numpy())
    yield "networks", nets[inputs].to_numpy(), logs
    game = pd.read_csv(folder / "skillcraft.csv.gz")
    targets = ["apm", "action_latency"]
    X = game.drop(columns=targets).select_dtypes("number").fillna(-1).to_numpy()
    yield "skillcraft", X, game[targets].to_numpy()
    flights = pd.read_csv(folder / "hflights_2011.csv.gz").dropna()
    flights = flights.sample(4000, random_state=seed)
    inputs = ["month", "day_of_week", "dep_hour", "distance"]
    targets = ["taxi_out", "arr_delay"]
    yield "flights", flights[inputs].to_numpy(), flights[targets].to_numpy(float)
    credit = pd.read_csv(folder / "credit_default.csv.gz")
    credit = credit.sample(4000, random_state=seed)
    targets = ["bill_amt1", "pay_amt1"]  # in thousands; tails are heavy
    yield (
        "credit",
        credit.drop(columns=targets).to_numpy(),
        credit[targets].to_numpy() / 1000,
    )
    wine = pd.read_csv(folder / "wine_quality.csv.gz")
    targets = ["alcohol", "quality"]  # grades are whole numbers
    X = wine.drop(columns=targets).select_dtypes("number").to_numpy()
    yield "wine", X, wine[targets].to_numpy(float)


if __name__ == "__main__":
    run(speed, simulated, real)
