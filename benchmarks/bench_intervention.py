"""InterventionExtrapolator: doses beyond those tried, and the time of a fit.

Peers: the same without its control function, and splines on the dose; the bound is the
least-squares fit of the feature on the dose.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from skdiff.causal import InterventionExtrapolator

warnings.filterwarnings("ignore", message="Up to .* of the rows, moved to A_new")


def outcome(z):
    return 1.5 * np.sin(z) + 0.8 * z


def draw(n, seed):
    """Doses, feature and outcome."""
    rng = np.random.default_rng(seed)
    A, V = rng.uniform(-1, 1, size=(n, 1)), rng.normal(size=(n, 1))
    Z = 1.5 * A + V
    y = outcome(Z[:, 0]) + 1.5 * V[:, 0] + 0.3 * rng.normal(size=n)
    return A, Z, y


def speed():
    """Seconds of a fit."""
    rows = []
    for n in pick((500, 2000), (200,)):
        A, Z, y = draw(n, 0)
        direct = make_pipeline(SplineTransformer(), Ridge())
        best = interleaved(
            {
                "ours": lambda Z=Z, y=y, A=A: InterventionExtrapolator().fit(Z, y, A=A),
                "peer": lambda m=direct, y=y, A=A: m.fit(A, y),
                "limit": lambda Z=Z, A=A: LinearRegression().fit(A, Z),
            },
            repeats=3,
        )
        rows.append(
            Row(f"fit {n} rows", best["ours"], best["peer"], "splines on the dose",
                best["limit"])
        )  # fmt: skip
    print_table("InterventionExtrapolator", rows)


def quality(seeds=5):
    """Mean squared error of the mean outcome for doses from 1 to 2, of both signs."""
    doses = np.r_[np.linspace(-2, -1.05, 10), np.linspace(1.05, 2, 10)]
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    truth = outcome(1.5 * doses[:, None] + nodes) @ (weights / weights.sum())
    print(f"\nvariance of the truth {truth.var():.2f}")
    for n in (500, 2000):
        found = []
        for seed in range(seeds):
            A, Z, y = draw(n, seed)
            splines = SplineTransformer(extrapolation="linear")
            direct = make_pipeline(splines, Ridge(1e-3)).fit(A, y)
            curves = [
                InterventionExtrapolator(control_function=control)
                .fit(Z, y, A=A)
                .predict_do(doses[:, None])
                for control in (True, False)
            ]
            curves.append(direct.predict(doses[:, None]))
            found.append([np.mean((c - truth) ** 2) for c in curves])
        control, without, direct = np.mean(found, axis=0)
        print(
            f"{n} rows: control function {control:.3f}, without {without:.2f}, "
            f"splines on the dose {direct:.1f}"
        )


if __name__ == "__main__":
    run(speed, quality)
