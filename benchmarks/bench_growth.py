"""How the processor time of each method grows with the rows, at its defaults.

No peers here: the other scripts compare. ``--draw`` also draws the curves for the
documentation; ``--quick`` stops at a thousand rows.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import machine, seconds, versions  # isort: skip

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression, Ridge

from skdiff.calibration import (
    CalibratedProbabilityClassifier,
    EmpiricalResidualCalibrator,
    OnlinePlattCalibrator,
)
from skdiff.cluster import TELLClustering
from skdiff.conformal import ConformalSelector
from skdiff.density import InteractionScreening
from skdiff.linear_model import WeightedElasticNet
from skdiff.model_selection import GradientSearchCV
from skdiff.multiplicity import RashomonClassifier
from skdiff.neural_network import (
    AnyLossClassifier,
    GBNNClassifier,
    GRBFRegressor,
    LipschitzMLPClassifier,
    SparseBayesianMLPClassifier,
)

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "growth.svg"
SIZES = (300, 1000, 3000, 10_000, 30_000)
LONGEST = 20.0  # seconds after which a method is not run on more rows


def labels(n):
    return make_classification(n, 20, n_informative=8, random_state=0)


def numbers(n):
    return make_regression(n, 20, noise=20.0, random_state=0)


def ranges(X, y):
    RashomonClassifier(epsilon=0.01).fit(X, y).predict_proba_range(X)


def select(X, y):
    selector = ConformalSelector(Ridge(), threshold=float(np.median(y)), fdr_level=0.2)
    selector.fit(X, y).select(X)


def stream(X, y):
    OnlinePlattCalibrator().partial_fit(1 / (1 + np.exp(-X[:, 0])), y)


def search(X, y):
    interval = {"C": loguniform(1e-4, 1e4)}
    GradientSearchCV(LogisticRegression(), interval).fit(X, y)


def screen(X, y):
    InteractionScreening().fit((X > 0).astype(int))


FITS = {
    "RashomonClassifier, ranges of all rows": (labels, ranges),
    "ConformalSelector, as many new rows": (numbers, select),
    "GradientSearchCV, one C, 5 folds": (labels, search),
    "InteractionScreening, 20 binary columns": (labels, screen),
    "WeightedElasticNet": (numbers, lambda X, y: WeightedElasticNet().fit(X, y)),
    "TELLClustering(8)": (
        labels,
        lambda X, y: TELLClustering(8, random_state=0).fit(X),
    ),
    "OnlinePlattCalibrator": (labels, stream),
    "EmpiricalResidualCalibrator(Ridge())": (
        numbers,
        lambda X, y: EmpiricalResidualCalibrator(Ridge(), random_state=0).fit(X, y),
    ),
    "AnyLossClassifier": (
        labels,
        lambda X, y: AnyLossClassifier(random_state=0).fit(X, y),
    ),
    "GBNNClassifier": (labels, lambda X, y: GBNNClassifier(random_state=0).fit(X, y)),
    "GRBFRegressor": (numbers, lambda X, y: GRBFRegressor(random_state=0).fit(X, y)),
    "LipschitzMLPClassifier": (
        labels,
        lambda X, y: LipschitzMLPClassifier(random_state=0).fit(X, y),
    ),
    "SparseBayesianMLPClassifier": (
        labels,
        lambda X, y: SparseBayesianMLPClassifier(random_state=0).fit(X, y),
    ),
    "CalibratedProbabilityClassifier": (
        labels,
        lambda X, y: CalibratedProbabilityClassifier(random_state=0).fit(X, y),
    ),
}


def measure(sizes):
    """``{method: [seconds by size]}``; a method stops once a size takes too long."""
    taken = {}
    for name, (table, fit) in FITS.items():
        fit(*table(300))
        taken[name] = []
        for n in sizes:
            X, y = table(n)
            taken[name].append(seconds(lambda fit=fit, X=X, y=y: fit(X, y)))
            if taken[name][-1] > LONGEST / 4:
                break
    return taken


def print_growth(sizes, taken):
    print(f"\nProcessor seconds of a fit by rows, 20 columns\n{machine()}")
    print(versions("torch", "skorch", "cvxpy"))
    width = max(map(len, taken))
    print(" ".join([" " * width, *(f"{n:>8}" for n in sizes), "  power"]))
    for name, values in taken.items():
        cells = [f"{v:8.3f}" for v in values] + [" " * 8] * (len(sizes) - len(values))
        last = np.log(values[-1] / values[-2]) if len(values) > 1 else np.nan
        power = last / np.log(sizes[len(values) - 1] / sizes[len(values) - 2])
        print(" ".join([name.ljust(width), *cells, f"{power:7.1f}"]))


def draw(sizes, taken):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "skdiff"
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True)
    half = len(taken) // 2
    for ax, names in zip(axes, (list(taken)[:half], list(taken)[half:]), strict=True):
        for name in names:
            values = taken[name]
            ax.loglog(sizes[: len(values)], values, "o-", ms=4, label=name)
        ax.loglog(
            [1000, 30_000], [0.01, 0.3], color="0.6", ls=":", label="in proportion"
        )
        ax.set(xlabel="rows")
        ax.legend(frameon=False, fontsize=7, loc="upper left")
        ax.set_ylim(1e-4, 3e3)
    axes[0].set_ylabel("processor seconds")
    figure.tight_layout()
    figure.savefig(FIGURE, metadata={"Date": None})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    quick = "--quick" in sys.argv
    sizes = SIZES[:2] if quick else SIZES
    taken = measure(sizes)
    print_growth(sizes, taken)
    if "--draw" in sys.argv:
        draw(sizes, taken)
