"""Fair thresholds against other solvers and packages, and on real tables.

Without ``fairlearn`` and ``error-parity`` the peer is the statement in cvxpy. Set
``SKDIFF_DATA`` to a folder of ``name.csv.gz`` tables for the parts ``tables`` and
``frontier``. Names of parts may be given as arguments.
"""

import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run, seconds  # isort: skip

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.fairness import (
    EqualizedOddsPostprocessor,
    FairFrontierDisplay,
    GroupROCDisplay,
    group_roc_hull,
    unprocess,
)

warnings.simplefilter("ignore")
TABLES = ("compas_two_year", "law_school", "adult", "acs_massachusetts")
#: what the displays draw is timed by the frontier below
DISPLAYS = (FairFrontierDisplay, GroupROCDisplay)


class Score(ClassifierMixin, BaseEstimator):
    """A model whose probability is the first column."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])

    def predict(self, X):
        return self.classes_[(X[:, 0] > 0.5).astype(int)]


def population(n, n_groups, seed=0):
    """Probabilities whose meaning differs between groups."""
    rng = np.random.default_rng(seed)
    g = rng.integers(n_groups, size=n)
    y = (rng.random(n) < 0.3 + 0.1 * g).astype(int)
    s = rng.normal(size=n) + (0.5 + 0.3 * g) * y - 0.3 * g
    return 1 / (1 + np.exp(-s))[:, None], y, g


def threshold_optimizer(X, y, g, model, grid=1000):
    """The strict rule of fairlearn, and its cost."""
    from fairlearn.postprocessing import ThresholdOptimizer

    peer = ThresholdOptimizer(
        estimator=model,
        constraints="equalized_odds",
        prefit=True,
        grid_size=grid,
        predict_method="predict_proba",
    )
    return peer.fit(X, y, sensitive_features=g)


def relaxed(X, y, g, model, tolerance):
    """The relaxed rule of error-parity."""
    from error_parity import RelaxedThresholdOptimizer

    peer = RelaxedThresholdOptimizer(
        predictor=lambda X: model.predict_proba(X)[:, 1],
        constraint="equalized_odds",
        tolerance=tolerance,
    )
    return peer.fit(X=X, y=y, group=g)


def expected_cost(p, y):
    """Mean expected error."""
    return float(np.mean(np.where(y == 1, 1 - p, p)))


def fitted(model, X, y, g):
    """Fit with groups."""
    return model.fit(X, y, sensitive_features=g)


def speed():
    """Hulls, program and rules: processor seconds of fit, and the cost reached."""
    rows = []
    for n, n_groups in pick(((20_000, 2), (20_000, 3), (200_000, 3)), ((2000, 2),)):
        X, y, g = population(n, n_groups)
        model = Score().fit(X, y)
        frozen = FrozenEstimator(model)
        for tolerance in (0.0, 0.05):
            auto, reference = (
                EqualizedOddsPostprocessor(frozen, tolerance=tolerance, solver=s)
                for s in ("auto", "cvxpy")
            )
            fits = {
                "ours": lambda m=auto, a=(X, y, g): m.fit(
                    *a[:2], sensitive_features=a[2]
                ),
                "cvxpy": lambda m=reference, a=(X, y, g): m.fit(
                    *a[:2], sensitive_features=a[2]
                ),
            }
            costs = {}
            if tolerance == 0 and find_spec("fairlearn"):
                peer = threshold_optimizer(X, y, g, model)
                p = peer._pmf_predict(X, sensitive_features=g)[:, 1]
                costs["fairlearn"] = expected_cost(p, y)
                fits["fairlearn"] = lambda a=(X, y, g, model): threshold_optimizer(*a)
            if find_spec("error_parity"):
                try:
                    peer = relaxed(X, y, g, model, tolerance)
                    costs["error-parity"] = peer.cost(1.0, 1.0)
                    fits["error-parity"] = lambda a=(X, y, g, model, tolerance): (
                        relaxed(*a)
                    )
                except Exception as error:
                    print(f"error-parity: {type(error).__name__}: {error}"[:120])
            best = interleaved(fits, repeats=3)
            costs["cvxpy"] = reference.cost_
            for name in costs:
                note = f"cost {auto.cost_:.6f} against {costs[name]:.6f}"
                task = f"{n} rows, {n_groups} groups, tolerance {tolerance}"
                rows.append(Row(task, best["ours"], best[name], name, note=note))
    X, y, g = population(*pick((200_000, 3), (2000, 2)))
    hull, sort = (
        lambda: group_roc_hull(y, X[:, 0], sensitive_features=g),
        lambda: np.argsort(-X[:, 0], kind="stable"),
    )
    best = interleaved({"hull": hull, "sort": sort})
    rows.append(Row(f"group_roc_hull, {len(X)} rows", best["hull"], limit=best["sort"]))
    model = EqualizedOddsPostprocessor(FrozenEstimator(Score().fit(X, y)))
    model.fit(X, y, sensitive_features=g)
    grid = np.linspace(0, 0.5, 50)
    best = interleaved({"frontier": lambda: model._frontier(grid)})
    rows.append(Row("frontier of 50 tolerances", best["frontier"]))
    print_table("EqualizedOddsPostprocessor", rows, "fairlearn", "error-parity")


def read(name):
    """Features, labels and groups of a real table."""
    import json

    import pandas as pd

    folder = Path(os.environ["SKDIFF_DATA"])
    entries = json.loads((folder / "MANIFEST.json").read_text())["datasets"]
    entry = next(e for e in entries if e["name"] == name)
    table = pd.read_csv(folder / entry["file"], keep_default_na=False, na_values=[""])
    if name == "acs_massachusetts":
        table = table[(table["agep"] >= 16) & (table["pincp"].astype(str) != "N")]
        y = (table["pincp"].astype(float) > 50_000).to_numpy().astype(int)
        group = table["sex"].map({1: "male", 2: "female"}).to_numpy()
        left = ["pincp", "pincp_decile", "povpip", "pwgtp", "wgtp", "year", "puma"]
        X = table.drop(columns=[*left, "sex"])
        few = [c for c in X if X[c].dtype == object and X[c].nunique() <= 30]
        X = X[[c for c in X if X[c].dtype != object or c in few]]
    else:
        target, group_column = {
            "compas_two_year": ("two_year_recid", "race"),
            "law_school": ("pass_bar", "race"),
            "adult": ("income", "sex"),
        }[name]
        if name == "compas_two_year":
            kept = ["African-American", "Caucasian", "Hispanic"]
            table = table[table["race"].isin(kept)]
        y = table[target].to_numpy().astype(int)
        group = table[group_column].to_numpy()
        left = [target, group_column, "split", "score_text", "decile_score"]
        X = table.drop(columns=[c for c in left if c in table])
    X = pd.get_dummies(X)
    return X.fillna(X.median()).to_numpy(dtype=float), y, group


def violation(p, y, g):
    """Largest difference of expected rates."""
    found = []
    for label in (0, 1):
        rates = [p[(y == label) & (g == k)].mean() for k in np.unique(g)]
        found.append(np.ptp(rates))
    return max(found)


def tables():
    """Accuracy and violation on test rows: half to train, a quarter for thresholds."""
    if "SKDIFF_DATA" not in os.environ:
        print("tables: set SKDIFF_DATA to the folder of the tables")
        return
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "boosting": HistGradientBoostingClassifier(random_state=0),
    }
    print(
        f"\n{'table':18s} {'model':9s} {'rule':22s} accuracy  violation"
        "  on fitting rows  seconds"
    )
    for name in TABLES:
        X, y, g = read(name)
        for label, model in models.items():
            fit, test = train_test_split(
                np.arange(len(y)), test_size=0.25, stratify=y, random_state=0
            )
            fit, cal = train_test_split(
                fit, test_size=1 / 3, stratify=y[fit], random_state=0
            )
            model.fit(X[fit], y[fit])
            score = model.predict_proba(X)[:, 1]
            Z, fake = score[:, None], Score().fit(None, y)

            def report(rule, p, before, spent, name=name, label=label, test=test):
                accuracy = 1 - expected_cost(p, y[test])
                gap = violation(p, y[test], g[test])
                print(
                    f"{name:18s} {label:9s} {rule:22s} {accuracy:8.4f}  {gap:9.4f}"
                    f"  {before:15.4f}  {spent:7.4f}"
                )

            p = (score[test] >= 0.5).astype(float)
            cal_p = (score[cal] >= 0.5).astype(float)
            report("threshold 0.5", p, violation(cal_p, y[cal], g[cal]), 0.0)
            best = unprocess(y[cal], score[cal], sensitive_features=g[cal])
            p = score[test] >= np.array([best.thresholds[k] for k in g[test].tolist()])
            report("unprocess", p.astype(float), best.violation, 0.0)
            for tolerance in (0.0, 0.05, 0.1):
                ours = EqualizedOddsPostprocessor(
                    FrozenEstimator(fake), tolerance=tolerance, random_state=0
                )
                a = (ours, Z[cal], y[cal], g[cal])
                spent = min(seconds(lambda a=a: fitted(*a)) for _ in range(3))
                p = ours.predict_proba(Z[test], sensitive_features=g[test])[:, 1]
                report(f"ours, tolerance {tolerance}", p, ours.violation_, spent)
            if find_spec("fairlearn"):
                a = (Z[cal], y[cal], g[cal], fake)
                spent = min(
                    seconds(lambda a=a: threshold_optimizer(*a)) for _ in range(3)
                )
                peer = threshold_optimizer(*a)
                p = peer._pmf_predict(Z[test], sensitive_features=g[test])[:, 1]
                q = peer._pmf_predict(Z[cal], sensitive_features=g[cal])[:, 1]
                report("fairlearn, strict", p, violation(q, y[cal], g[cal]), spent)


if __name__ == "__main__":
    run(speed, tables)
