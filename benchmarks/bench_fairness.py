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
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.fairness import (
    ConstrainedClassifier,
    ConstrainedRegressor,
    Constraint,
    DistractionClassifier,
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


def constrained():
    """Constrained logistic and ridge regression against their statements in cvxpy."""
    rows = []
    for n, d in pick(((1500, 8), (1500, 30), (4000, 10)), ((400, 5),)):
        rng = np.random.default_rng(0)
        g = rng.integers(2, size=n)
        X = rng.normal(size=(n, d))
        X[:, 0] += 0.7 * g
        f = X @ rng.normal(size=d) / np.sqrt(d)
        y, values = (f + rng.logistic(size=n) > 0).astype(int), f + rng.normal(size=n)
        gap = [Constraint.rate_gap("score", at_most=0.1)]
        for name, cls, target, limits in (
            ("logistic, score gap", ConstrainedClassifier, y, gap),
            ("logistic, loss", ConstrainedClassifier, y, None),
            ("ridge, score gap", ConstrainedRegressor, values, gap),
        ):
            if limits is None:  # a little less than what the group has without
                m, losses = g == 1, []
                for part in (np.full(n, True), m):
                    free = ConstrainedClassifier().fit(X[part], y[part])
                    losses.append(log_loss(y[m], free.predict_proba(X[m])))
                limits = [Constraint.loss_at_most(np.mean(losses), where=1)]
            models = {s: cls(constraints=limits, solver=s) for s in ("auto", "cvxpy")}
            best = interleaved(
                {
                    s: lambda m=m, t=target: m.fit(X, t, sensitive_features=g)
                    for s, m in models.items()
                },
                repeats=2,
            )
            ours, theirs = models["auto"], models["cvxpy"]
            note = f"objective less by {theirs.objective_ - ours.objective_:.1e}"
            task = f"{name}, {n} x {d}"
            rows.append(Row(task, best["auto"], best["cvxpy"], "cvxpy", note=note))
    print_table("Constrained models", rows, "cvxpy")


def acceptance(repeats=20):
    """Positive rates that differ by at most .05: test rows of 20 splits."""
    if "SKDIFF_DATA" not in os.environ:
        print("acceptance: set SKDIFF_DATA to the folder of the tables")
        return
    print(
        f"\n{'table, group in X':24s} kept, + 2 s.e.   violation  accuracy"
        "   thresholds: violation  accuracy   free: violation  accuracy"
    )
    for name in ("compas_two_year", "law_school", "adult"):
        X, y, g = read(name)
        if name == "compas_two_year":  # two groups, as in the others
            kept = g != "Hispanic"
            X, y, g = X[kept], y[kept], g[kept]
        if name == "law_school":
            g = np.where(g == "White", "White", "other")
        for blind in (True, False):
            Z = X if blind else np.c_[X, g == np.unique(g)[0]]
            compare(f"{name}, {'without' if blind else 'with'}", Z, y, g, repeats)


def compare(label, X, y, g, repeats):
    """One line: shares of kept bounds, then violations and accuracies."""
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(y))[:8000]
        train, test = np.array_split(rows, 2)
        base = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        gap = [Constraint.rate_gap("positive", at_most=0.05)]
        ours = fitted(ConstrainedClassifier(base, gap), X[train], y[train], g[train])
        peer = EqualizedOddsPostprocessor(
            base, constraint="demographic_parity", tolerance=0.05, random_state=0
        )
        fitted(peer, X[train], y[train], g[train])
        free = base.fit(X[train], y[train])
        decisions = [
            ours.predict(X[test]),
            peer.predict_proba(X[test], sensitive_features=g[test])[:, 1],
            free.predict(X[test]),
        ]
        line = []
        for p in decisions:
            parts = [p[g[test] == k] for k in np.unique(g)]
            line += [abs(parts[0].mean() - parts[1].mean())]
            line += [1 - expected_cost(p, y[test])]
        error = np.sqrt(sum(p.mean() * (1 - p.mean()) / len(p) for p in parts))
        found.append([line[0] <= 0.05 + 2 * error, *line])
    share, *m = np.mean(found, axis=0)
    print(
        f"{label:24s} {share:16.2f}  {m[0]:10.3f}  {m[1]:8.4f}  {m[2]:21.3f}"
        f"  {m[3]:8.4f}  {m[4]:15.3f}  {m[5]:8.4f}"
    )


def simulated(seed):
    """Two groups whose first column differs; half of the rows are for tests."""
    rng, n = np.random.default_rng(seed), pick(4000, 400)
    g = rng.integers(2, size=2 * n)
    X = rng.normal(size=(2 * n, 6))
    X[:, 0] += 0.8 * g
    f = X[:, 0] + np.sin(2 * X[:, 1]) * X[:, 2] + 0.5 * X[:, 3]
    return X, (f + rng.logistic(size=2 * n) > 0.4).astype(int), g


def adult(seed):
    """8 000 rows, without the column of the group."""
    X, y, g = read("adult")
    rows = np.random.default_rng(seed).permutation(len(y))[:8000]
    return X[rows], y[rows], (g[rows] == "Male").astype(int)


def frontier(draw, repeats, weights):
    """Test accuracy and difference of positive rates of every way to be fair."""
    lines = {}
    for seed in range(repeats):
        X, y, g = draw(seed)
        a, b = slice(0, len(y) // 2), slice(len(y) // 2, None)

        def note(name, p, b=b, y=y, g=g):
            gap = abs(p[g[b] == 0].mean() - p[g[b] == 1].mean())
            lines.setdefault(name, []).append((1 - expected_cost(p, y[b]), gap))

        how = {"max_iter": pick(60, 5), "learning_rate_init": 0.01}
        how |= {"random_state": seed}
        for mode in ("distraction", "penalty", "adversarial"):
            for weight in weights if mode != "distraction" else (*weights, 10.0):
                model = DistractionClassifier(
                    (32, 32), mode=mode, fairness_weight=weight, **how
                )
                fitted(model, X[a], y[a], g[a])
                note(f"{mode}, weight {weight}", model.predict(X[b]))
        none = DistractionClassifier((32, 32), fairness_weight=0.0, **how)
        fitted(none, X[a], y[a], g[a])
        note("no dial", none.predict(X[b]))
        for bound in pick((0.0, 0.1), (0.0,)):
            peer = EqualizedOddsPostprocessor(
                FrozenEstimator(none), constraint="demographic_parity", tolerance=bound
            )
            fitted(peer, X[a], y[a], g[a])
            p = peer.predict_proba(X[b], sensitive_features=g[b])[:, 1]
            note(f"thresholds, tolerance {bound}", p)
            base = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
            gap = [Constraint.rate_gap("positive", at_most=bound)]
            linear = fitted(ConstrainedClassifier(base, gap), X[a], y[a], g[a])
            note(f"constrained logistic, bound {bound}", linear.predict(X[b]))
    for name, found in lines.items():
        accuracy, gap = np.mean(found, axis=0)
        print(f"{name:32s} accuracy {accuracy:.3f}  difference {gap:.3f}")


def dial_adult():
    """The frontier of a real table."""
    if "SKDIFF_DATA" not in os.environ:
        print("dial_adult: set SKDIFF_DATA to the folder of the tables")
        return
    frontier(adult, 5, (0.3, 1.0))


def dial(repeats=5):
    """The network's dial beside thresholds and a constraint; cost of an epoch."""
    frontier(simulated, pick(repeats, 1), pick((0.3, 1.0), (1.0,)))
    rows, (X, y, g) = [], simulated(0)
    a = slice(0, len(y) // 2)
    times = {}
    for mode in ("plain", "distraction", "penalty", "adversarial"):
        weight = 0.0 if mode == "plain" else 1.0
        kind = "penalty" if mode == "plain" else mode
        model = DistractionClassifier(
            (32, 32),
            mode=kind,
            fairness_weight=weight,
            max_iter=pick(30, 3),
            n_iter_no_change=1000,
            batch_size=256,
            random_state=0,
        )
        times[mode] = lambda m=model: fitted(m, X[a], y[a], g[a])
    best = interleaved(times, repeats=3)
    for mode in ("distraction", "penalty", "adversarial"):
        rows.append(Row(f"epochs, {mode}", best[mode], best["plain"], "no dial"))
    print_table("DistractionClassifier", rows, "torch")


if __name__ == "__main__":
    run(speed, constrained, dial, dial_adult, tables, acceptance)
