"""Naive Bayes with tied variances: time beside GaussianNB, quality by rows per class.

Peers: scikit-learn's GaussianNB, LinearDiscriminantAnalysis and LogisticRegression; the
bound is one pass of sums over the table.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.naive_bayes import TiedGaussianNB, TwoRegimeClassifier, two_regimes

warnings.simplefilter("ignore", ConvergenceWarning)


def speed():
    """Seconds of fit and predict_proba."""
    rows = []
    for n, p, K in pick(((100_000, 50, 3), (5000, 500, 10)), ((2000, 20, 3),)):
        rng = np.random.default_rng(0)
        y = rng.integers(K, size=n)
        X = rng.normal(size=(n, p)) + rng.normal(size=(K, p))[y]
        ours, peer = TiedGaussianNB(), GaussianNB()
        best = interleaved(
            {
                "fit": lambda X=X, y=y: ours.fit(X, y),
                "peer fit": lambda X=X, y=y: peer.fit(X, y),
                "limit": lambda X=X: np.einsum("ij,ij->j", X, X),
            }
        )
        rows.append(
            Row(
                f"fit {n} x {p}, {K} classes",
                best["fit"],
                best["peer fit"],
                "GaussianNB",
                best["limit"],
            )
        )
        best = interleaved(
            {
                "proba": lambda X=X: ours.predict_proba(X),
                "peer": lambda X=X: peer.predict_proba(X),
            }
        )
        rows.append(Row("  predict_proba", best["proba"], best["peer"], "GaussianNB"))
    print_table("TiedGaussianNB", rows)


def draw(y, m, rng):
    """m rows of each class."""
    classes = np.unique(y)
    chosen = [rng.choice(np.flatnonzero(y == k), m, replace=False) for k in classes]
    return np.concatenate(chosen)


def quality(repeats=10):
    """Accuracy by the number of rows per class, means over draws."""
    digits, labels = load_digits(return_X_y=True)
    white = PCA(30, whiten=True, random_state=0).fit_transform(digits)
    tables = {
        "digits, 30 white components": (white, labels),
        "digits": (digits, labels),
        "wine": load_wine(return_X_y=True),
        "iris": load_iris(return_X_y=True),
        "breast cancer": load_breast_cancer(return_X_y=True),
    }
    models = {
        "tied": TiedGaussianNB(),
        "auto": TiedGaussianNB(shrinkage="auto"),
        "GaussianNB": GaussianNB(),
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "stack": TwoRegimeClassifier(random_state=0),
        "prior": TwoRegimeClassifier(blend="prior", random_state=0),
    }
    print(f"\n{'table':28s} rows/class  " + "  ".join(f"{m:>10s}" for m in models))
    for name, (X, y) in tables.items():
        for m in (2, 5, 20):
            rng, found = np.random.default_rng(0), []
            for _ in range(repeats):
                train = draw(y, m, rng)
                test = np.setdiff1d(np.arange(len(y)), train)
                found.append(
                    [
                        model.fit(X[train], y[train]).score(X[test], y[test])
                        for model in models.values()
                    ]
                )
            means = "  ".join(f"{v:10.3f}" for v in np.mean(found, axis=0))
            print(f"{name:28s} {m:10d}  {means}")


def crossing(repeats=4):
    """Where logistic regression overtakes, on white components of digits."""
    X, y = load_digits(return_X_y=True)
    Z = PCA(30, whiten=True, random_state=0).fit_transform(X)
    sizes = [20, 40, 80, 160, 320, 640, 1280]
    for name, C in (("no penalty", np.inf), ("L2", 1.0)):
        lr = LogisticRegression(C=C, max_iter=500)
        found = two_regimes(Z, y, sizes, repeats, lr=lr, random_state=0)
        low, high = found.crossing_interval
        print(f"{name}: {found.crossing_size:.0f} rows, interval {low:.0f} {high:.0f}")


if __name__ == "__main__":
    run(speed, quality, crossing)
