"""Learned mutual information: time beside scikit-learn, error beside KSG, coverage.

Peer: ``mutual_info_regression`` (KSG with three neighbours) and
``mutual_info_classif``; the limit is a sort of every column. ``accuracy`` draws from
distributions with known information, those of the training and others that the network
has not seen. ``real_speed`` and ``real_selection`` read tables of the folder that the
environment variable ``SKDIFF_DATA`` names.
"""

import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from benchmarks._causal_tables import read  # isort: skip
from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import _information_families as families
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.feature_selection import (
    SelectKBest,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import (
    MutualInformationDisplay,
    MutualInformationEstimator,
    MutualInformationSelector,
    learned_mutual_info,
    mutual_information,
)


def speed():
    """Seconds for all columns of a table."""
    rows = []
    for n, d in pick(((500, 200), (2000, 50)), ((200, 10),)):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d))
        y = X[:, 0] + rng.standard_normal(n)
        for target, peer, name in (
            (y, mutual_info_regression, "mutual_info_regression"),
            ((y > 0).astype(int), mutual_info_classif, "mutual_info_classif"),
        ):
            best = interleaved(
                {
                    "ours": lambda X=X, t=target: learned_mutual_info(X, t),
                    "peer": lambda X=X, t=target, f=peer: f(X, t, random_state=0),
                    "limit": lambda X=X: np.sort(X, axis=0),
                }
            )
            task = f"{n} x {d}, {'classes' if target is not y else 'numbers'}"
            rows.append(Row(task, best["ours"], best["peer"], name, best["limit"]))
    print_table("learned_mutual_info", rows)


def clayton(rng, n):
    """Clayton copula with theta 2."""
    theta = 2.0
    u, w = rng.uniform(size=(2, n))
    v = (u**-theta * (w ** (-theta / (1 + theta)) - 1) + 1) ** (-1 / theta)
    return u, v, clayton_information(theta)


@cache
def clayton_information(theta):
    """Information of the copula, by quadrature."""
    grid = (np.arange(2000) + 0.5) / 2000
    a, b = np.meshgrid(grid, grid)
    log = np.log1p(theta) - (1 + theta) * np.log(a * b)
    log -= (2 + 1 / theta) * np.log(a**-theta + b**-theta - 1)
    density = np.exp(log)
    return float((density * log).sum() / density.sum())


def wave(rng, n):
    """y = sin(6 pi x) + noise on a circle of angles: a relation of many turns."""
    x, e = rng.uniform(size=n), 0.6 * rng.uniform(-1, 1, size=n)
    # Y is uniform modulo 2 and the noise has a range of 1.2: ln(2 / 1.2)
    return x, (8 * x + e) % 2, np.log(2 / 1.2)


def grid(rng, n):
    return families.from_grid(rng, families.grid_copulas(rng, 1)[0], n)


def accuracy(repeats=None):
    """Error of the learned estimate and of KSG, bias and coverage."""
    repeats = repeats or pick(400, 5)
    cases = {
        "Gaussian": families.gaussian,
        "Student": families.student,
        "copulas on a grid": grid,
        "independent": families.independent,
        "additive uniform": families.additive_uniform,
        "Clayton (not trained)": clayton,
        "wave (not trained)": wave,
    }
    print(
        f"\n{'family':24s} {'n':>5s} {'ours':>7s} {'KSG':>7s} {'ratio':>6s}"
        f" {'copula':>7s} {'bias':>7s} {'covers':>6s}"
    )
    for name, draw in cases.items():
        for n in (30, 100, 300, 1000):
            rng, found = np.random.default_rng(n), []
            for _ in range(repeats if n < 1000 else repeats // 2):
                x, y, truth = draw(rng, n)
                low, high = mutual_information(x, y, quantiles=[0.05, 0.95])
                estimates = [
                    mutual_information(x, y, method=m)
                    for m in ("learned", "ksg", "gaussian_copula")
                ]
                found.append([e - truth for e in estimates] + [low <= truth <= high])
            table = np.array(found)
            error = np.sqrt((table[:, :3] ** 2).mean(axis=0))
            print(
                f"{name:24s} {n:5d} {error[0]:7.3f} {error[1]:7.3f} "
                f"{error[0] / error[1]:6.2f} {error[2]:7.3f} {table[:, 0].mean():7.3f} "
                f"{table[:, 3].mean():6.2f}"
            )


def other_kinds(repeats=None):
    """The same for a number and classes, two columns of classes, and blocks."""
    repeats = repeats or pick(300, 5)
    print(
        f"\n{'kind':24s} {'n':>5s} {'ours':>7s} {'peer':>7s} {'ratio':>6s} {'covers'}"
    )
    for kind in ("classes", "tables", "blocks"):
        for n in (30, 100, 300):
            rng, found = np.random.default_rng(n), []
            for _ in range(repeats):
                found.append(_one(kind, rng, n))
            table = np.array(found)
            error = np.sqrt((table[:, :2] ** 2).mean(axis=0))
            print(
                f"{kind:24s} {n:5d} {error[0]:7.3f} {error[1]:7.3f} "
                f"{error[0] / error[1]:6.2f} {table[:, 2].mean():.2f}"
            )


def _one(kind, rng, n):
    """Error of ours and of the peer, and whether the interval covers."""
    if kind == "blocks":
        dx, dy = rng.integers(1, 5, 2)
        draw = (
            families.gaussian_blocks
            if rng.uniform() < 0.5
            else (families.paired_blocks)
        )
        x, y, truth = draw(rng, n, int(dx), int(dy))
        how, peer = {}, "ksg"
    else:
        K = int(rng.integers(2, 7))
        if kind == "classes":
            p = families.class_tables(rng, 1, K)[0]
        else:
            p = families.two_way_tables(rng, 1, (K, int(rng.integers(2, 7))))[0]
        i, j = families.draw_cells(rng, p, n)
        x, y = (i + rng.uniform(size=n) if kind == "classes" else i), j
        how, peer = {"discrete_y": True, "discrete_x": kind == "tables"}, "ksg"
        truth = float(families.information_of(p[None])[0])
    low, high = mutual_information(x, y, quantiles=[0.05, 0.95], **how)
    ours = mutual_information(x, y, **how)
    other = mutual_information(x, y, method=peer, **how)
    return ours - truth, other - truth, low <= truth <= high


def size(repeats=None):
    """Part of the independent columns with a p-value of at most .05, .001 and .0001."""
    repeats, d = repeats or pick(100, 1), pick(300, 20)
    rng, levels = np.random.default_rng(0), np.array([0.05, 0.001, 0.0001])
    found = {"numbers": [], "three classes": [], "a class of four rows": []}
    for k in range(repeats):
        n = (60, 100)[k % 2]
        X = rng.standard_normal((n, d))
        targets = rng.standard_normal(n), rng.integers(3, size=n), np.arange(n) < 4
        for below, y in zip(found.values(), targets, strict=True):
            model = MutualInformationEstimator(random_state=k).fit(X, y)
            below.append((model.pvalue_[:, None] <= levels).mean(axis=0))
    print(f"\n{repeats * d} independent columns per target; part that passes a level")
    print("".join([f"{'target':22s}", *(f"{level:>9g}" for level in levels)]))
    for name, below in found.items():
        print(f"{name:22s}" + "".join(f"{p:9.5f}" for p in np.mean(below, axis=0)))


def sample(name, rng):
    """Random rows of a real table and its last column; None where there is none."""
    table = read(name)
    if table is None:
        return None
    rows = rng.permutation(len(table))[: pick(1000, 100)]
    values = table.to_numpy(dtype=np.float64)[rows]
    return values[:, :-1], values[:, -1]


def real_speed():
    """Seconds of a selection on real tables, beside scores of scikit-learn."""
    rows, rng = [], np.random.default_rng(0)
    for name, peer in (
        ("credit_default", mutual_info_classif),
        ("concrete", mutual_info_regression),
    ):
        data = sample(name, rng)
        if data is None:
            continue
        selector = MutualInformationSelector(random_state=0)
        best = interleaved(
            {
                "ours": lambda model=selector, data=data: model.fit(*data),
                "peer": lambda peer=peer, data=data: peer(*data, random_state=0),
            },
            repeats=2,
            warmup=0,
        )
        task = f"{name}, {data[0].shape[0]} x {data[0].shape[1]}"
        rows.append(Row(task, best["ours"], best["peer"], peer.__name__))
    print_table("MutualInformationSelector on real tables", rows)


def real_selection(repeats=None):
    """Area under the curve of logistic regression behind a selection."""
    found = []
    for seed in range(repeats or pick(4, 1)):
        data = sample("credit_default", np.random.default_rng(seed))
        if data is None:
            return
        X, y = data
        for train, test in StratifiedKFold(3, shuffle=True, random_state=seed).split(
            *data
        ):
            ours = MutualInformationSelector(random_state=0).fit(X[train], y[train])
            k = len(ours.ranking_)
            steps = ours, SelectKBest(mutual_info_classif, k=k), "passthrough"
            models = [
                make_pipeline(StandardScaler(), s, LogisticRegression()) for s in steps
            ]
            for model in models:
                model.fit(X[train], y[train])
            decisions = [model.decision_function(X[test]) for model in models]
            found.append([k, *(roc_auc_score(y[test], z) for z in decisions)])
    k, *areas = np.mean(found, axis=0)
    spread = np.std(np.array(found)[:, 1] - np.array(found)[:, 2], ddof=1)
    print(f"\ncredit_default: {len(found)} folds, {k:.1f} columns are kept on average")
    for name, area in zip(
        ("selector", "SelectKBest", "all columns"), areas, strict=True
    ):
        print(f"{name:12s} {area:.3f}")
    print(f"standard deviation of selector less SelectKBest over folds: {spread:.3f}")


def selection():
    """Score of neighbours after selection, with 40 useless columns added."""
    print("\n5-fold score of 10 neighbours with 40 columns of noise")
    tables = {
        "breast cancer": (load_breast_cancer(return_X_y=True), KNeighborsClassifier),
        "wine": (load_wine(return_X_y=True), KNeighborsClassifier),
        "diabetes": (load_diabetes(return_X_y=True), KNeighborsRegressor),
    }
    for name, ((X, y), model) in tables.items():
        rng = np.random.default_rng(0)
        k, regression = X.shape[1], model is KNeighborsRegressor
        X = np.hstack([X, rng.standard_normal((len(X), 40))])
        peer = mutual_info_regression if regression else mutual_info_classif
        linear = f_regression if regression else f_classif
        steps = {
            "all columns": None,
            "auto": MutualInformationSelector(random_state=0),
            "mrmr": MutualInformationSelector(min(k, 8), redundancy="mrmr"),
            "jmi": MutualInformationSelector(min(k, 8), redundancy="jmi"),
            "best 8": SelectKBest(learned_mutual_info, k=8),
            "scikit-learn 8": SelectKBest(peer, k=8),
            "F test 8": SelectKBest(linear, k=8),
        }
        scores = {
            key: cross_val_score(
                make_pipeline(StandardScaler(), step or "passthrough", model(10)), X, y
            ).mean()
            for key, step in steps.items()
        }
        if regression:
            scores["ridge"] = cross_val_score(RidgeCV(), X, y).mean()
        print(name, ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
    fitted = MutualInformationEstimator(random_state=0).fit(X, y)
    print(MutualInformationDisplay.from_estimator(fitted, max_features=5).frame())


if __name__ == "__main__":
    run(speed, accuracy, other_kinds, size, selection, real_speed, real_selection)
