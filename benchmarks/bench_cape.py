"""CalibratedProbabilityClassifier: speed of its targets, quality of its probabilities.

Speed: kernel and bin targets of 50 000 rows against the per-row loop of the published
procedure (a normal density over the 1000 nearest forecasts). Quality: error to the true
probability and calibration errors on simulated risks, beside an early-stopped network,
Platt scaling and isotonic regression on the same held-out rows, and an overfit network.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    Row,
    best_of,
    pick,
    print_table,
    run,
    seconds,
)

import numpy as np
import pandas as pd
from scipy.special import expit, rel_entr
from scipy.stats import norm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skdiff import metrics
from skdiff.calibration import CalibratedProbabilityClassifier
from skdiff.calibration._cape._maps import bin_targets, kernel_targets

warnings.simplefilter("ignore", ConvergenceWarning)
ROWS, SEEDS = pick(50_000, 2000), 3


def loop(p, y, s, half=500, rows=None):
    """The per-row procedure: densities over the nearest forecasts in sorted order."""
    order = np.argsort(p)
    p, y = p[order], y[order]
    targets = np.empty(len(p))
    for i in range(len(p) if rows is None else rows):
        near = slice(max(0, i - half), i + half)
        k = norm.pdf(p[near], loc=p[i], scale=s)
        targets[i] = k @ y[near] / k.sum()
    return targets


def speed():
    """Seconds of the targets."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.7, 1.5, ROWS)
    y, w = (rng.uniform(size=ROWS) < p).astype(float), np.ones(ROWS)
    some = ROWS // 25
    each = (
        min(seconds(lambda: loop(p, y, 0.05, rows=some)) for _ in range(pick(3, 1)))
        / some
    )
    sort = best_of(lambda: np.argsort(p))
    kernel = best_of(lambda: kernel_targets(p, y, w, 0.05))
    bins = best_of(lambda: bin_targets(p, y, w, 10))
    print_table(
        f"CaPE targets, {ROWS} rows (the loop timed on {some} of them)",
        [
            Row("kernel", kernel, each * ROWS, "per-row loop", sort, "100x faster"),
            Row("bin", bins, limit=sort),
        ],
    )


LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
SCENARIOS = {
    "rare, 1 %": lambda u: expit(norm.ppf(np.clip(u, 1e-9, 1 - 1e-9)) * 1.3 - 5.4),
    "rare, 5 %": lambda u: expit(norm.ppf(np.clip(u, 1e-9, 1 - 1e-9)) * 1.3 - 3.6),
    "uniform": lambda u: u,
    "skewed": lambda u: expit(25 * (0.4 * u - 0.29)),
    "discrete": lambda u: LEVELS[np.minimum((5 * u).astype(int), 4)],
}


def table(scenario, n, seed):
    """20 normal columns, outcomes, true probabilities."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 20))
    score = X[:, 0] + 0.8 * X[:, 1] + 0.6 * np.tanh(X[:, 2]) + 0.35 * (X[:, 3] ** 2 - 1)
    p = SCENARIOS[scenario](norm.cdf(score / 1.48))
    return X, (rng.uniform(size=n) < p).astype(int), p


def ways(X, y, seed):
    """Fitted models by name."""
    shared = {
        "hidden_layer_sizes": (128, 128),
        "random_state": seed,
        "final_platt": False,
    }
    early = CalibratedProbabilityClassifier(**shared, finetune_iter=0).fit(X, y)
    held = np.setdiff1d(np.arange(len(X)), early.train_indices_)
    yield "early stopping", early
    for name, method in (("+ Platt", "sigmoid"), ("+ isotonic", "isotonic")):
        wrapped = CalibratedClassifierCV(FrozenEstimator(early), method=method)
        yield name, wrapped.fit(X[held], y[held])
    for name, settings in {
        "CaPE": {},
        "CaPE, cross-fit": {"target_source": "cross_fit"},
        "CaPE + Platt (default)": {"final_platt": True},
        "CaPE, train bins": {"target_source": "train"},
        "CaPE, train kernel": {"target_source": "train", "method": "kernel"},
    }.items():
        yield name, CalibratedProbabilityClassifier(**shared | settings).fit(X, y)
    yield "logistic regression", LogisticRegression().fit(X, y)


def quality():
    """Means over seeds."""
    lines = []
    for scenario in SCENARIOS:
        for seed in range(SEEDS):
            X, y, _ = table(scenario, 1875, seed)
            X_new, y_new, p_new = table(scenario, 4000, 10_000 + seed)
            for name, model in ways(X, y, seed):
                p = model.predict_proba(X_new)[:, 1]
                parts = metrics.brier_decomposition(y_new, p)
                assert isinstance(parts, metrics.BrierDecomposition)
                lines.append(
                    {
                        "scenario": scenario,
                        "way": name,
                        "mse_p": metrics.mse_p(p_new, p),
                        "brier": parts.brier,
                        "ece": metrics.expected_calibration_error(y_new, p),
                        "mce": metrics.maximum_calibration_error(y_new, p),
                        "ks": metrics.ks_error(y_new, p),
                        "sharpness": metrics.sharpness(y_new, p),
                        "kept": getattr(model, "best_epoch_", np.nan),
                    }
                )
    frame = pd.DataFrame(lines)
    pd.set_option("display.width", 160)
    print(f"\nMeans over {SEEDS} seeds, 1500 + 375 rows, judged on 4000 new ones")
    by = ["scenario", "way"]
    print(frame.groupby(by, sort=False).mean().round(4).to_string())
    print(frame.groupby("way", sort=False).mean(numeric_only=True).round(4).to_string())


def fresh():
    """Excess cross-entropy over the truth on seeds that chose no default."""
    lines = []
    for scenario in SCENARIOS:
        n = 1000 if scenario.startswith("rare") else 1875
        for seed in range(501, 501 + SEEDS):
            X, y, _ = table(scenario, n, seed)
            X_new, _, p = table(scenario, 8000, 20_000 + seed)
            shared = {"hidden_layer_sizes": (64, 64), "random_state": seed}
            early = {"finetune_iter": 0, "final_platt": False}
            line = {"scenario": scenario}
            for name, model in (
                ("base rate", None),
                ("early", CalibratedProbabilityClassifier(**shared, **early)),
                ("CaPE", CalibratedProbabilityClassifier(**shared)),
                ("logistic", LogisticRegression()),
            ):
                q = np.full(8000, y.mean())
                if model is not None:
                    q = model.fit(X, y).predict_proba(X_new)[:, 1]
                line[name] = 1e4 * (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean()
            lines.append(line)
    print("\nExcess cross-entropy x 1e4, 64-64 units, means over seeds 501 and on")
    frame = pd.DataFrame(lines).groupby("scenario", sort=False).mean()
    print(frame.round(1).to_string())


def options():
    """Training options: error to the truth before and after the second stage."""
    stages = {
        "early": {"finetune_iter": 0},
        "50 epochs": {},
        "300 epochs": {"finetune_iter": 300},
    }
    lines = []
    for name, settings in {
        "none": {},
        "sam_rho=.05": {"sam_rho": 0.05},
        "spectral_decoupling=.03": {"spectral_decoupling": 0.03, "alpha": 0.0},
        "spectral_decoupling=.3": {"spectral_decoupling": 0.3, "alpha": 0.0},
    }.items():
        for stage, more in stages.items():
            errors = []
            for seed in range(SEEDS):
                X, y, _ = table("uniform", 1875, seed)
                X_new, _, p_new = table("uniform", 4000, 10_000 + seed)
                model = CalibratedProbabilityClassifier(
                    (64,), random_state=seed, **settings, **more
                )
                p = model.fit(X, y).predict_proba(X_new)[:, 1]
                errors.append(metrics.mse_p(p_new, p))
            lines.append({"option": name, "stage": stage, "mse_p": np.mean(errors)})
    frame = pd.DataFrame(lines).pivot(index="option", columns="stage", values="mse_p")
    print(f"\nTraining options, 64 units, uniform risks, means over {SEEDS} seeds")
    print(frame[list(stages)].round(4).to_string())


if __name__ == "__main__":
    run(speed, quality, fresh, options)
