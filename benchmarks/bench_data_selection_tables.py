"""Selected rows against random ones on real tables: test log loss of a fixed model.

Set ``SKDIFF_DATA`` to a folder of ``name.csv.gz`` tables; without it the script takes
tables that ship with scikit-learn. Names of tables may be given as arguments. Every
selector chooses 5, 10, 30 and 50 % of at most 3 000 rows; a scaled logistic regression
and boosted trees are trained on them and scored on 2 000 other rows. Lines: random
rows, random rows in the proportions of the classes, and the selectors. The last table
of each run compares the processor time of a selection with that of a fit to all rows.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, print_table, seconds  # isort: skip

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.data_selection import (
    ConditionalLossSelector,
    DataInfluenceSelector,
    Datamodel,
    EL2NSelector,
    GraNdSelector,
    SurrogateSubsampler,
)

TABLES = ("spambase", "credit_default", "adult", "bank_marketing")
SHARES = (0.05, 0.1, 0.3, 0.5)


def read(name, folder):
    """Numbers, dummies of the text columns, and codes of the classes."""
    import json

    import pandas as pd

    entries = json.loads((Path(folder) / "MANIFEST.json").read_text())["datasets"]
    entry = next(e for e in entries if e["name"] == name)
    table = pd.read_csv(
        Path(folder) / entry["file"], keep_default_na=False, na_values=[""]
    )
    target = entry["target"]
    left_out = [target]
    for columns in entry.get("roles", {}).values():
        left_out += [columns] if isinstance(columns, str) else list(columns)
    X = pd.get_dummies(table.drop(columns=[c for c in left_out if c in table]))
    y = np.unique(table[target], return_inverse=True)[1]
    return X.fillna(X.median()).to_numpy(dtype=float), y


def tables():
    """The real tables, or what ships with scikit-learn."""
    folder = os.environ.get("SKDIFF_DATA")
    if folder and (Path(folder) / "MANIFEST.json").is_file():
        named = [name for name in TABLES if name in sys.argv]
        return {name: read(name, folder) for name in named or TABLES}
    print("SKDIFF_DATA names no folder of tables: those of scikit-learn are used")
    found = {"breast_cancer": load_breast_cancer(return_X_y=True)}
    if "--quick" not in sys.argv:
        found["digits"] = load_digits(return_X_y=True)
    return found


def linear():
    """The model that most selectors use inside, too."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def trees():
    """A model the selectors know nothing of."""
    return HistGradientBoostingClassifier(max_iter=60, random_state=0)


def loss(model, table, rows, weight):
    """Test log loss of a model trained on some rows."""
    X, y, X_test, y_test, n_classes = table
    extra = {}
    if weight is not None and not np.all(weight == 1):
        last = model.steps[-1][0] if hasattr(model, "steps") else None
        extra = {f"{last}__sample_weight" if last else "sample_weight": weight}
    model.fit(X[rows], y[rows], **extra)
    P = np.full((len(X_test), n_classes), 1e-15)
    P[:, model.classes_] = model.predict_proba(X_test)
    return log_loss(y_test, P / P.sum(axis=1, keepdims=True), labels=range(n_classes))


def selections(X, y, goal, n, seed, quick):
    """Rows (and weights) that each selector chooses."""
    rng = np.random.RandomState(seed)
    options = {"n_select": n, "balance": "class", "random_state": seed}
    light = {"n_models": 1, "cv": 3}
    # with many classes a small sample would lose one, which the selector refuses
    balance = "class" if len(np.unique(y)) > 2 else None
    surrogate = {"n_select": n, "balance": balance, "random_state": seed}
    X_goal, y_goal = goal
    target = {"X_target": X_goal, "y_target": y_goal}
    by_class = np.concatenate(
        [
            rng.choice(
                np.flatnonzero(y == k), max(1, round(n * np.mean(y == k))), False
            )
            for k in np.unique(y)
        ]
    )
    yield "random", rng.choice(len(y), n, replace=False), None
    yield "stratified", by_class, None
    chosen = {
        "EL2N hard": (EL2NSelector(**light, **options), {}),
        "EL2N middle": (EL2NSelector(keep="middle", **light, **options), {}),
        "EL2N easy": (EL2NSelector(keep="easy", **light, **options), {}),
        "GraNd hard": (GraNdSelector(**light, **options), {}),
        "subsample a=1": (SurrogateSubsampler(**surrogate), {}),
        "subsample weighted": (SurrogateSubsampler(reweight=True, **surrogate), {}),
        "subsample cv": (
            SurrogateSubsampler(alpha="cv", **surrogate),
            {"X_val": X_goal, "y_val": y_goal},
        ),
        "color": (ConditionalLossSelector(criterion="color", **options), target),
        "conditional auto": (ConditionalLossSelector(**options), target),
        "influence": (DataInfluenceSelector(**options), target),
    }
    for name, (selector, fit_params) in chosen.items():
        selector.fit(X, y, **fit_params)
        weight = getattr(selector, "sample_weight_", None)
        yield name, selector.sample_indices_, weight
    if quick:
        return
    few = rng.choice(len(y), min(600, len(y)), replace=False)
    datamodel = Datamodel(
        LogisticRegression(max_iter=200),
        n_subsets=300,
        penalty="l2",
        output="loss",
        **{**options, "n_select": min(n, len(few))},
    )
    scaler = StandardScaler().fit(X[few])
    datamodel.fit(scaler.transform(X[few]), y[few], scaler.transform(X_goal), y_goal)
    yield "datamodel (of 600)", few[datamodel.sample_indices_], None


def study(name, X, y, seeds, quick):
    """Print mean losses of one table."""
    n_classes = len(np.unique(y))
    found = {}
    for seed in range(seeds):
        order = np.random.RandomState(seed).permutation(len(y))
        n_test = min(2000, len(y) // 3)
        test, rest = order[:n_test], order[n_test:]
        goal, pool = rest[:150], rest[150:3150]
        table = X[pool], y[pool], X[test], y[test], n_classes
        for share in SHARES:
            n = round(share * len(pool))
            chosen = selections(
                X[pool], y[pool], (X[goal], y[goal]), n, seed, quick or share != 0.1
            )
            for selector, rows, weight in chosen:
                for kind, model in (("linear", linear()), ("trees", trees())):
                    lost = loss(model, table, rows, weight)
                    found.setdefault((kind, selector, share), []).append(lost)
        for kind, model in (("linear", linear()), ("trees", trees())):
            everything = np.arange(len(pool))
            lost = loss(model, table, everything, None)
            found.setdefault((kind, "all rows", 1.0), []).append(lost)
    for kind in ("linear", "trees"):
        names = list(dict.fromkeys(s for k, s, _ in found if k == kind))
        everything = np.mean(found[kind, "all rows", 1.0])
        print(f"\n{name}, {kind}, {seeds} seeds, all rows {everything:.3f}")
        print(f"{'':20s}" + "".join(f"{share:>8.0%}" for share in SHARES))
        for selector in names[:-1] if names[-1] == "all rows" else names:
            if selector == "all rows":
                continue
            cells = [found.get((kind, selector, share)) for share in SHARES]
            text = ["       -" if c is None else f"{np.mean(c):8.3f}" for c in cells]
            print(f"{selector:20s}" + "".join(text))


def costs(name, X, y):
    """Processor time of two selections beside a fit to the same rows."""
    X, y = X[:3000], y[:3000]
    peer = seconds(lambda: trees().fit(X, y))
    chosen = {
        "EL2N, one model in three folds": EL2NSelector(n_models=1, cv=3),
        "subsample by a surrogate": SurrogateSubsampler(),
    }
    return [
        Row(f"{label}, {name}", seconds(lambda s=s: s.fit(X, y)), peer, "boosted trees")
        for label, s in chosen.items()
    ]


def main():
    """Print the tables."""
    quick = "--quick" in sys.argv
    warnings.simplefilter("ignore")
    rows = []
    for name, (X, y) in tables().items():
        study(name, X, y, 1 if quick else 3, quick)
        rows += costs(name, X, y)
    print_table("Time of a selection beside one fit", rows)


if __name__ == "__main__":
    main()
