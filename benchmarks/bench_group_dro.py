"""The worst group: time beside Clarabel, and losses of groups on real tables.

``tables`` reads five tables from the folder that the variable ``SKDIFF_DATA`` names.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skdiff.linear_model import GroupDROClassifier, GroupDRORegressor

warnings.simplefilter("ignore")


def draw(n, d=20, G=4, seed=0):
    """Rows, values, labels, and groups whose coefficients differ."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    g = rng.choice(G, n, p=[0.7, 0.2, 0.07, 0.03])
    W = 0.5 * rng.normal(size=d) + 0.4 * rng.normal(size=(G, d))
    f = np.einsum("ij,ij->i", X, W[g])
    return X, f + rng.normal(size=n), (f + rng.logistic(size=n) > 0).astype(int), g


def speed():
    """Seconds of a fit."""
    n, rows = pick(5000, 300), []
    X, values, y, g = draw(n)
    three = y + (X[:, 0] > 1)
    for name, kind, target in (
        ("two classes", GroupDROClassifier, y),
        ("three classes", GroupDROClassifier, three),
        ("values", GroupDRORegressor, values),
    ):
        ours, cone = kind(), kind(solver="cvxpy")
        best = interleaved(
            {
                "ours": lambda m=ours, t=target: m.fit(X, t, groups=g),
                "cvxpy": lambda m=cone, t=target: m.fit(X, t, groups=g),
            },
            pick(2, 1),
            0,
        )
        gain = cone.objective_ - ours.objective_
        rows.append(
            Row(
                f"{n} x 20, 4 groups, {name}",
                best["ours"],
                best["cvxpy"],
                "Clarabel",
                target="25x",
                note=f"gap {ours.dual_gap_:.0e}, objective lower by {gain:.0e}",
            )
        )
    print_table("Worst group", rows, "cvxpy")


#: tables with the target, the column of the groups and columns that tell the target
OTHERS = {
    "bank_marketing": ("y", "job", ["duration"]),
    "credit_default": ("default_next_month", "education", []),
    "compas_two_year": ("two_year_recid", "race", ["decile_score", "score_text"]),
}


def read(name, folder):
    """Numbers, labels and groups of a table."""
    import pandas as pd

    path = Path(folder) / f"{name}.csv.gz"
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    if name == "adult":
        table = table.drop(columns="split")
        y = table.pop("income").to_numpy()
        groups = table["race"].to_numpy()
    elif name in OTHERS:
        target, group, left_out = OTHERS[name]
        table = table.drop(columns=left_out)
        y = np.unique(table.pop(target).to_numpy(), return_inverse=True)[1]
        groups = table[group].astype(str).to_numpy()
    else:
        table = table[table["pincp_decile"] != "N"]
        y = (table.pop("pincp_decile").astype(float) >= 7).astype(int).to_numpy()
        groups = table["rac1p"].astype(str).to_numpy()
        table = table.drop(columns=["pincp", "puma", "pwgtp", "wgtp"], errors="ignore")
    X = pd.get_dummies(table, dtype=float)
    return X.fillna(X.median()).to_numpy(), y, groups


def tables(seeds=3):
    """Log loss of all test rows, of the mean group and of the worst."""
    folder = os.environ.get("SKDIFF_DATA")
    if folder is None:
        print("SKDIFF_DATA is not set: real tables are left out")
        return
    for name in ("adult", "acs_massachusetts", *OTHERS):
        X, y, groups = read(name, folder)
        labels, counts = np.unique(groups, return_counts=True)
        kept = np.isin(groups, labels[counts >= 100])
        X, y, groups = X[kept], y[kept], groups[kept]
        labels, counts = np.unique(groups, return_counts=True)
        print(f"\n{name}: groups of {sorted(counts.tolist())} rows")
        print(f"{'model':24s} all rows  mean group  worst  worst in training")
        found = {}
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            rows = rng.permutation(len(y))[:8000]
            train, test = rows[:4000], rows[4000:]
            scaler = StandardScaler().fit(X[train])
            A, B = scaler.transform(X[train]), scaler.transform(X[test])
            weight = (
                1
                / np.bincount(np.searchsorted(labels, groups[train]))[
                    np.searchsorted(labels, groups[train])
                ]
            )
            weight *= len(train) / weight.sum()
            models = {
                "logistic": LogisticRegression(C=1 / (0.01 * 4000)).fit(A, y[train]),
                "logistic, equal groups": LogisticRegression(C=1 / (0.01 * 4000)).fit(
                    A, y[train], weight
                ),
                "group DRO": GroupDROClassifier(0.01).fit(
                    A, y[train], groups=groups[train]
                ),
                "group DRO, adjusted": GroupDROClassifier(
                    0.01, group_adjustment=1.0
                ).fit(A, y[train], groups=groups[train]),
                "group DRO, no penalty": GroupDROClassifier(1e-6).fit(
                    A, y[train], groups=groups[train]
                ),
                "boosting": HistGradientBoostingClassifier(random_state=0).fit(
                    A, y[train]
                ),
            }
            for label, model in models.items():
                scores = []
                for Z, part in ((B, test), (A, train)):
                    proba = np.clip(model.predict_proba(Z), 1e-12, 1)
                    loss = -np.log(proba[np.arange(len(part)), y[part]])
                    means = [
                        loss[groups[part] == k].mean()
                        for k in labels
                        if (groups[part] == k).sum() >= 10
                    ]
                    scores += [loss.mean(), np.mean(means), max(means)]
                found.setdefault(label, []).append([*scores[:3], scores[5]])
        for label, values in found.items():
            a, b, c, d = np.mean(values, axis=0)
            print(f"{label:24s} {a:8.3f}  {b:10.3f}  {c:5.3f}  {d:17.3f}")


if __name__ == "__main__":
    run(speed, tables)
