"""Inductive bias: the exact law against sampling and the fit of the paper's code.

Peers: 100 000 draws of the Gaussian process, and a noncentral chi square fitted to
10 000 errors by ``scipy.stats.ncx2.fit``, as the published code does. The limit is one
eigendecomposition of the covariance.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.stats import ncx2
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import (
    GeneralizationDifficulty,
    InductiveBiasDisplay,
    InductiveBiasEstimator,
    generalization_difficulty,
    intrinsic_dimension,
    label_sharpness,
)
from skdiff.inspection._inductive_bias._posterior import condition, draw, error_form

warnings.simplefilter("ignore", ConvergenceWarning)


def task(d, n=20, n_test=20, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n + n_test, d))
    K = RBF(2.0)(X) + 1e-9 * np.eye(n + n_test)
    y = np.linalg.cholesky(K) @ rng.standard_normal((n + n_test, 1))
    return X[:n], y[:n], X[n:], y[n:]


def law(d, n, n_test):
    X, Y, X_test, Y_test = task(d, n, n_test)
    posterior = condition(RBF(2.0), X, Y, X_test, 1e-6)
    return posterior, Y_test, error_form(posterior, Y_test)


def sampled(posterior, Y_test, count):
    values = draw(posterior, count, np.random.RandomState(0))
    return ((values - Y_test) ** 2).mean(axis=(1, 2))


def speed():
    """Seconds for the information at the 1 % quantile."""
    rows = []
    for n in pick((20, 200), (20,)):
        posterior, Y_test, form = law(4, n, n)
        x, count = form.ppf(0.01), pick(100_000 if n < 100 else 20_000, 2000)
        best = interleaved(
            {
                "ours": lambda p=posterior, Y=Y_test, x=x: error_form(p, Y).logcdf(x),
                "peer": lambda p=posterior, Y=Y_test, c=count: sampled(p, Y, c),
                "limit": lambda p=posterior: np.linalg.eigh(p.covariance),
            },
            repeats=3,
        )
        name = f"{count} draws"
        rows.append(Row(f"{n} rows", best["ours"], best["peer"], name, best["limit"]))
    X = np.random.default_rng(0).standard_normal((pick(5000, 500), 10))
    best = interleaved(
        {
            "ours": lambda: intrinsic_dimension(X),
            "peer": lambda: NearestNeighbors(n_neighbors=5).fit(X).kneighbors(),
        },
        repeats=3,
    )
    note = f"intrinsic_dimension, {len(X)} rows"
    rows.append(Row(note, best["ours"], best["peer"], "the search alone"))
    y = X[:, 0] > 0
    best = interleaved(
        {
            "ours": lambda: label_sharpness(X, y),
            "peer": lambda: brute_sharpness(X, y),
        },
        repeats=3,
    )
    note = f"label_sharpness, {len(X)} rows"
    rows.append(Row(note, best["ours"], best["peer"], "all pairs"))
    print_table("inductive bias and geometry", rows)


def brute_sharpness(X, y):
    Z = (X - X.mean(axis=0)) / X.std(axis=0) / np.sqrt(X.shape[1])
    squares = (Z**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * Z @ Z.T
    return 1 / np.sqrt(distances[y[:, None] != y].min())


def exactness(count=None):
    """Nats at quantiles of draws: truth, ours, and the fit to 10 000 draws."""
    count = count or pick(400_000, 5000)
    print("\ntrue nats      0.69    2.30    4.61    6.91")
    for d in (1, 2, 4, 8):
        posterior, Y_test, form = law(d, 20, 20)
        errors = sampled(posterior, Y_test, count)
        marks = np.quantile(errors, [0.5, 0.1, 0.01, 0.001])
        print(f"d={d} ours    ", *(f"{-form.logcdf(x):7.3f}" for x in marks))
        df, delta, _, scale = ncx2.fit(errors[:2000], floc=0)
        fitted = -ncx2.logcdf(marks, df, delta, 0, scale)
        print(f"d={d} ncx2 fit", *(f"{x:7.3f}" for x in fitted))


def trend():
    """Nats for one error and functions of more and more columns, means of 20 tasks."""
    print("\ncolumns, nats to an error of .05 (20 training rows)")
    for d in (1, 2, 4, 8):
        found = []
        for seed in range(pick(20, 2)):
            X, Y, X_test, Y_test = task(d, seed=seed)
            model = InductiveBiasEstimator(RBF(2.0), 0.05)
            found.append(model.fit(X, Y[:, 0], X_test, Y_test[:, 0]).information_)
        print(d, f"{np.mean(found):.1f}")


def tables():
    """Spaces on real tables: nats to the error of a good model."""
    data = {
        "diabetes": (load_diabetes, 3500.0),
        "breast cancer": (load_breast_cancer, 0.04),
        "wine": (load_wine, 0.03),
    }
    for name, (load, target) in data.items():
        X, y = load(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        model = InductiveBiasEstimator(target_error=target, random_state=0)
        spaces = {"rbf": "rbf", "rbf, half width": RBF(X.shape[1] ** 0.5 / 2)}
        spaces["linear"] = "linear"
        if name != "diabetes":
            spaces["network"] = MLPClassifier(32, max_iter=200)
        print(f"\n{name}, error {target}")
        print(model.set_params(n_hypotheses=30).compare(spaces, X, y).round(3))
    display = InductiveBiasDisplay.from_estimator(model.fit(X, y))
    print(display.frame().iloc[::10].round(3))


def difficulty():
    """Geometry of tables: dimension, sharpness and difficulty."""
    print(f"\n{'table':16s} columns  mle twonn sharpness log10 bits")
    for load in (load_digits, load_wine, load_breast_cancer, load_diabetes):
        X, y = load(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        found = generalization_difficulty(X, y, 0.1)
        assert isinstance(found, GeneralizationDifficulty)
        twonn = intrinsic_dimension(X, estimator="twonn")
        print(
            f"{load.__name__[5:]:16s} {X.shape[1]:7d} {intrinsic_dimension(X):4.1f} "
            f"{twonn:5.1f} {label_sharpness(X, y):9.2f} {found.log10_bits:10.1f}"
        )


if __name__ == "__main__":
    run(speed, exactness, trend, tables, difficulty)
