"""Row weights by ``GradientSearchCV`` on regressions with wrong targets.

60 % of the rows train with 30 % of their targets wrong, 20 % are trusted and validate,
20 % test. Wrong targets are mirrored at the mean (the flipped label of a regression),
permuted among each other, or shifted by two standard deviations to either side.
Interval ``Continuous(0, 1, scale="logit", per="sample")``.

Ranking: AUC by which right rows stand above wrong ones, by the weights and, the simple
rival, by the absolute residual of a model of the trusted rows alone. Fit: test R2 with
the weights, of all rows as they are, of the trusted rows alone, and of the right rows
if one knew them. Penalties are searched on the trusted rows before the weights
("fixed") or along with them ("joint"). Means over ten draws; the last figure is the
standard error of the difference between the weights and the trusted rows alone.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, pick, print_table, seconds  # isort: skip

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_regression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import Continuous, GradientSearchCV

DRAWS = pick(10, 1)
WEIGHTS = {"sample_weight": Continuous(0, 1, scale="logit", per="sample")}
MODELS = {
    "lasso": (Lasso(), {"alpha": Continuous(1e-4, 1.0)}),
    "kernel ridge": (
        KernelRidge(kernel="rbf"),
        {"alpha": Continuous(1e-2, 1e2), "gamma": Continuous(1e-3, 1.0)},
    ),
}


def table(name, draw):
    """Standardised columns and target."""
    if name == "diabetes":
        X, y = load_diabetes(return_X_y=True)
    else:
        X, y = make_regression(
            500, 20, n_informative=8, noise=30.0, random_state=100 + draw
        )
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def spoil(y, wrong, rng):
    """Targets of which 30 % are wrong, and which."""
    bad = rng.uniform(size=len(y)) < 0.3
    given = y.copy()
    if wrong == "mirrored":
        given[bad] *= -1
    elif wrong == "permuted":
        given[bad] = rng.permutation(given[bad])
    else:
        given[bad] += rng.choice([-2.0, 2.0], bad.sum())
    return given, bad


def one_draw(name, wrong, model, draw):
    """AUC and R2 of every way, and processor seconds of the search of the weights."""
    X, y = table(name, draw)
    rng = np.random.default_rng(draw)
    n = len(y)
    train, trusted, test = np.split(rng.permutation(n), [int(0.6 * n), int(0.8 * n)])
    given, bad = spoil(y[train], wrong, rng)
    rows = np.concatenate([train, trusted])
    targets = np.concatenate([given, y[trusted]])
    cv = PredefinedSplit(np.repeat([-1, 0], [len(train), len(trusted)]))
    estimator, intervals = MODELS[model]

    def search(estimator, intervals, rows, targets, cv):
        found = GradientSearchCV(estimator, intervals, cv=cv)
        return found.fit(X[rows], targets)

    done = {}
    penalty_alone = seconds(
        lambda: done.update(plain=search(estimator, intervals, rows, targets, cv))
    )
    plain = done["plain"]
    tuned = clone(estimator).set_params(**plain.best_params_)
    found = {}
    spent = seconds(
        lambda: found.update(fixed=search(tuned, WEIGHTS, rows, targets, cv))
    )
    joint = search(estimator, {**WEIGHTS, **intervals}, rows, targets, cv)
    alone = search(estimator, intervals, trusted, y[trusted], 5)
    right = np.concatenate([train[~bad], trusted])
    known = search(estimator, intervals, right, y[right], 5)
    ranks = [
        s.best_params_["sample_weight"][: len(train)] for s in (found["fixed"], joint)
    ]
    ranks.append(-np.abs(given - alone.best_estimator_.predict(X[train])))
    models = [found["fixed"], joint, plain, alone, known]
    return (
        *(roc_auc_score(~bad, rank) for rank in ranks),
        *(m.best_estimator_.score(X[test], y[test]) for m in models),
        spent,
        penalty_alone,
    )


def main():
    """Print the table."""
    warnings.simplefilter("ignore")
    rows = []
    for name in ("diabetes", "generated")[: pick(None, 1)]:
        for wrong in ("mirrored", "permuted", "shifted")[: pick(None, 1)]:
            for model in list(MODELS)[: pick(None, 1)]:
                draws = [one_draw(name, wrong, model, draw) for draw in range(DRAWS)]
                draws = np.array(draws)
                a = draws.mean(axis=0)
                difference = draws[:, 3] - draws[:, 6]
                error = difference.std(ddof=1) / np.sqrt(DRAWS) if DRAWS > 1 else np.nan
                auc = " ".join(f"{v:.3f}" for v in a[:3])
                r2 = " ".join(f"{v:.3f}" for v in a[3:8])
                rows.append(
                    Row(
                        f"{name}, {wrong}, {model}",
                        a[8],
                        a[9],
                        "penalty alone",
                        note=f"AUC {auc}; R2 {r2}, s.e. {error:.3f}",
                    )
                )
    print_table(
        "Row weights. AUC: fixed, joint, residual. Test R2: fixed, joint, all rows, "
        "trusted rows, right rows",
        rows,
    )


if __name__ == "__main__":
    main()
