"""GradientSearchCV against grids, random search, scikit-learn's CV models and peers.

Every method minimises the criterion of the same five folds over the same interval and
ends with a fit on all rows. The note gives the gap: how far the criterion at the value
a method chose lies above the lowest value anybody found, relative to it. Grids of 30
points, 30 draws, 30 trials. ``Continuous`` intervals, ``WeightedRidge``,
``WeightedElasticNet`` and ``WeightedLogisticRegression``, custom ``InnerProblem``
registrations by ``inner_problem``, ``check_hypergradient`` and
``GradientSearchDisplay`` have no cost of their own beside the searches timed here.

With ``SKDIFF_DATA`` naming the folder of real tables, nested cross-validation on five
of them follows, and with ``--machines`` that of support vector machines (ten minutes,
nearly all of them spent by the grids).
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    best_of,
    pick,
    print_table,
    seconds,
)

import numpy as np
import pandas as pd
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    make_regression,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    Lasso,
    LassoCV,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    LeaveOneOut,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.svm import SVC, SVR

from skdiff.linear_model import WeightedRidge
from skdiff.model_selection import Continuous, GradientSearchCV

POINTS = pick(30, 4)


def found_by_search(search, name):
    return lambda X, y: clone(search).fit(X, y).best_params_[name]


def searches(estimator, name, low, high, scoring, cv):
    """Methods that take any estimator: ``{label: (X, y) -> value}``."""
    options = {"scoring": scoring, "cv": cv}
    draws = {name: loguniform(low, high)}
    return {
        f"grid of {POINTS}": found_by_search(
            GridSearchCV(estimator, {name: np.geomspace(low, high, POINTS)}, **options),
            name,
        ),
        f"{POINTS} random draws": found_by_search(
            RandomizedSearchCV(
                estimator, draws, n_iter=POINTS, random_state=0, **options
            ),
            name,
        ),
        "halving": found_by_search(
            HalvingRandomSearchCV(
                estimator, draws, n_candidates=POINTS, random_state=0, **options
            ),
            name,
        ),
        **optuna_trials(estimator, name, low, high, scoring, cv),
    }


def optuna_trials(estimator, name, low, high, scoring, cv):
    """The tree-structured Parzen estimator of optuna, where it is installed."""
    try:
        import optuna
    except ImportError:
        print("optuna is not installed: its rows are left out")
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def search(X, y):
        def objective(trial):
            value = trial.suggest_float(name, low, high, log=True)
            model = clone(estimator).set_params(**{name: value})
            return cross_val_score(model, X, y, scoring=scoring, cv=cv).mean()

        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
        )
        study.optimize(objective, n_trials=POINTS)
        value = study.best_params[name]
        clone(estimator).set_params(**{name: value}).fit(X, y)
        return value

    return {f"optuna, {POINTS} trials": search}


def sparho_lasso(cv):
    """Gradient searches of sparho, which has no intercept: rows centred by hand."""
    try:
        import sparho
        from sparho.adapters import SklearnLasso
    except ImportError:
        print("sparho is not installed: its row is left out")
        return {}

    def search(X, y):
        X, y = X - X.mean(axis=0), y - y.mean()
        problem = sparho.Problem(sparho.SquaredLoss(), sparho.L1(), X, y)
        folds = tuple((a.astype(np.int32), b.astype(np.int32)) for a, b in cv.split(X))
        solver = SklearnLasso(tol=1e-8)
        start = np.abs(X.T @ y).max() / len(y) / 10
        result = sparho.hoag_search(
            problem,
            start,
            solver=solver,
            criterion=sparho.CrossVal(folds=folds, warm_start=True),
            n_iter=30,
        )
        value = float(result.best_hyperparam)
        Lasso(value, max_iter=10_000).fit(X, y)
        return value

    return {"sparho": search}


def compare(task, search, peers, X, y, name, target):
    """One row a peer, with the gaps."""
    value = {"ours": clone(search).fit(X, y).best_params_[name]}
    ours = best_of(lambda: clone(search).fit(X, y), repeats=3, warmup=0)
    spent = {}
    for label, peer in peers.items():

        def run(label=label, peer=peer):
            value[label] = float(peer(X, y))

        spent[label] = seconds(run)
    evaluator = search._prepare(X, y, None).evaluator
    criterion = {k: evaluator(np.array([np.log(v)]))[0] for k, v in value.items()}
    lowest = min(criterion.values())
    gap = {k: (v - lowest) / lowest for k, v in criterion.items()}
    return [
        Row(
            task,
            ours,
            spent[label],
            label,
            target=target,
            note=f"gap {gap['ours']:.0e} against {gap[label]:.0e}",
        )
        for label in peers
    ]


def lasso_rows():
    n, d = pick((500, 1000), (60, 30))
    X, y = make_regression(n, d, n_informative=20, noise=10.0, random_state=0)
    y = y / y.std()
    cv = KFold(5)
    low, high = 1e-3, 1.0
    model = Lasso(max_iter=10_000)
    search = GradientSearchCV(model, {"alpha": Continuous(low, high)}, cv=cv)
    peers = {
        "LassoCV(100)": lambda X, y: (
            LassoCV(alphas=np.geomspace(low, high, 100), cv=cv).fit(X, y).alpha_
        ),
        **sparho_lasso(cv),
        **searches(model, "alpha", low, high, "neg_mean_squared_error", cv),
    }
    return compare(f"lasso {n} x {d}", search, peers, X, y, "alpha", "0.25 s")


def logistic_rows(task, X, y, low, high, target, grid):
    cv = StratifiedKFold(5)
    model = LogisticRegression(max_iter=1000)
    search = GradientSearchCV(model, {"C": Continuous(low, high)}, cv=cv)
    peers = {
        f"LogisticRegressionCV({POINTS})": lambda X, y: (
            LogisticRegressionCV(
                Cs=np.geomspace(low, high, POINTS),
                cv=cv,
                scoring="neg_log_loss",
                max_iter=1000,
                l1_ratios=(0,),
                use_legacy_attributes=False,
            )
            .fit(X, y)
            .C_
        ),
    }
    if grid:
        peers |= searches(model, "C", low, high, "neg_log_loss", cv)
    return compare(task, search, peers, X, y, "C", target)


def ridge_rows():
    X, y = make_regression(2000, 100, noise=50.0, random_state=0)
    low, high = 1e-3, 1e4
    cv = KFold(5)
    search = GradientSearchCV(
        Ridge(), {"alpha": Continuous(low, high)}, cv=cv, tol=1e-6
    )
    alphas = np.geomspace(low, high, 10)
    peers = {
        "RidgeCV(10), leave one out": lambda X, y: RidgeCV(alphas).fit(X, y).alpha_,
        "RidgeCV(10), 5 folds": lambda X, y: (
            RidgeCV(alphas, cv=cv, scoring="neg_mean_squared_error").fit(X, y).alpha_
        ),
    }
    rows = compare("ridge 2000 x 100", search, peers, X, y, "alpha", "1.3x the time")
    alone = clone(search).set_params(cv=LeaveOneOut())
    one = {"RidgeCV(10)": peers["RidgeCV(10), leave one out"]}
    return rows + compare("ridge, leave one out", alone, one, X, y, "alpha", "")


def kernel_row():
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), y - y.mean()
    cv = KFold(5)
    low, high = {"alpha": 1e-4, "gamma": 1e-4}, {"alpha": 1e2, "gamma": 1e1}
    model = KernelRidge(kernel="rbf")
    search = GradientSearchCV(
        model, {k: Continuous(low[k], high[k]) for k in low}, cv=cv
    )
    grid = GridSearchCV(
        model,
        {k: np.geomspace(low[k], high[k], 15) for k in low},
        cv=cv,
        scoring="neg_mean_squared_error",
    )
    ours = best_of(lambda: clone(search).fit(X, y), repeats=3)
    theirs = seconds(lambda: grid.fit(X, y))
    best = clone(search).fit(X, y).best_score_
    note = f"criterion {-best:.1f} against {-grid.best_score_:.1f}"
    return Row(
        "kernel ridge 442 x 10, two values",
        ours,
        theirs,
        "grid of 15 x 15",
        target="15x",
        note=note,
    )


MACHINE = {"C": (1e-2, 1e3), "gamma": (1e-4, 1e1)}


def machine_searches(model):
    """Gradient search and a grid of 15 x 15 on a scaled table, by both scores."""
    pipeline = make_pipeline(StandardScaler(), model)
    prefix = f"{type(model).__name__.lower()}__"
    ours = GradientSearchCV(
        pipeline, {prefix + k: Continuous(*ends) for k, ends in MACHINE.items()}
    )
    plain = "r2" if isinstance(model, SVR) else "accuracy"
    grid = GridSearchCV(
        pipeline,
        {prefix + k: np.geomspace(*ends, 15) for k, ends in MACHINE.items()},
        scoring={"criterion": ours._get_scorers()[0], "plain": plain},
        refit=False,
    )
    return ours, grid


def machine_row():
    """A support vector machine, the most popular grid of all."""
    X, y = load_breast_cancer(return_X_y=True)
    ours, grid = machine_searches(SVC())
    mine = best_of(lambda: clone(ours).fit(X, y), repeats=3)
    theirs = seconds(lambda: grid.fit(X, y))
    best = clone(ours).fit(X, y).best_score_
    lowest = -grid.cv_results_["mean_test_criterion"].max()
    note = f"criterion {-best:.4f} against {lowest:.4f}"
    return Row("SVC 569 x 30, two values", mine, theirs, "grid of 15 x 15", note=note)


def read_table(folder, file, target, n_rows):
    """Rows without gaps, at most so many, categories as columns."""
    table = pd.read_csv(
        Path(folder) / f"{file}.csv.gz", keep_default_na=False, na_values=[""]
    )
    table = table.dropna()
    table = table.sample(min(len(table), n_rows), random_state=0)
    y = table.pop(target).to_numpy()
    return pd.get_dummies(table, dtype=float).to_numpy(dtype=float), y


def nested_machines(folder):
    """Criterion, test score and seconds of machines: gradient search and the grid."""
    print("\nSupport vector machines, nested: 5 outer folds, at most 1000 rows")
    tables = {
        "breast_cancer": (*load_breast_cancer(return_X_y=True), SVC()),
        "mammographic_masses": (
            *read_table(folder, "mammographic_masses", "malignant", 1000),
            SVC(),
        ),
        "spambase": (*read_table(folder, "spambase", "spam", 1000), SVC()),
        "concrete": (*read_table(folder, "concrete", "strength", 1000), SVR()),
    }
    for name, (X, y, model) in tables.items():
        splitter = StratifiedKFold if isinstance(model, SVC) else KFold
        if isinstance(model, SVR):
            y = (y - y.mean()) / y.std()
        ours, grid = machine_searches(model)
        found = {"ours": [], "grid by criterion": [], "grid by score": []}
        criteria, spent, points = [], np.zeros(2), []
        for train, test in splitter(5, shuffle=True, random_state=0).split(X, y):
            spent[0] += seconds(lambda t=train: ours.fit(X[t], y[t]))
            spent[1] += seconds(lambda t=train: grid.fit(X[t], y[t]))
            results = grid.cv_results_
            points.append(ours.n_iter_)
            criteria.append([-ours.best_score_, -results["mean_test_criterion"].max()])
            found["ours"].append(ours.best_estimator_.score(X[test], y[test]))
            for key, column in (("criterion", "criterion"), ("score", "plain")):
                best = results["params"][results[f"mean_test_{column}"].argmax()]
                fitted = clone(grid.estimator).set_params(**best)
                fitted.fit(X[train], y[train])
                found[f"grid by {key}"].append(fitted.score(X[test], y[test]))
        mine, theirs = np.mean(criteria, axis=0)
        print(
            f"{name:22}{len(y)} rows  ours {spent[0] / 5:.2f} s, "
            f"{np.mean(points):.0f} points, criterion {mine:.4f}; "
            f"grid {spent[1] / 5:.2f} s, criterion {theirs:.4f}"
        )
        for label, scores in found.items():
            difference = np.array(found["ours"]) - scores
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            print(
                f"    {label:20}{np.mean(scores):.4f}   ours above it by "
                f"{difference.mean():+.4f} +- {error:.4f}",
                flush=True,
            )


def vector_row():
    """A penalty per feature, which no grid can do, against one common penalty."""
    X, y = make_regression(300, 50, n_informative=5, noise=50.0, random_state=0)
    interval = {"alpha": Continuous(1e-2, 1e5, per="feature")}
    search = GradientSearchCV(WeightedRidge(), interval, cv=5)
    one = GradientSearchCV(Ridge(), {"alpha": Continuous(1e-2, 1e5)}, cv=5)
    ours = best_of(lambda: clone(search).fit(X, y), repeats=3)
    theirs = best_of(lambda: clone(one).fit(X, y), repeats=3)
    return Row("ridge 300 x 50, 50 penalties", ours, theirs, "ours, one penalty")


TABLES = {
    "concrete": ("concrete", "strength", None),
    "energy_heating": ("energy_heating", "heating_load", None),
    "wine_quality": ("wine_quality", "quality", None),
    "mammographic_masses": ("mammographic_masses", "malignant", "classes"),
    "spambase": ("spambase", "spam", "classes"),
}


def nested_quality(folder):
    """Test score by nested folds: gradient search against the grid."""
    print("\nNested cross-validation, 5 outer folds, at most 1500 rows")
    print("R2 or accuracy; difference and its standard error over the outer folds")
    for name, (file, target, kind) in TABLES.items():
        X, y = read_table(folder, file, target, 1500)
        if kind == "classes":
            models = [
                ("C", LogisticRegression(max_iter=3000), "neg_log_loss", 1e-4, 1e3)
            ]
            outer, scoring = (
                StratifiedKFold(5, shuffle=True, random_state=0),
                "accuracy",
            )
        else:
            models = [
                ("alpha", Ridge(), "neg_mean_squared_error", 1e-3, 1e4),
                ("alpha", Lasso(max_iter=20_000), "neg_mean_squared_error", 1e-4, 1e1),
            ]
            outer, scoring = KFold(5, shuffle=True, random_state=0), "r2"
        for parameter, model, metric, low, high in models:
            pipeline = make_pipeline(StandardScaler(), model)
            key = f"{type(model).__name__.lower()}__{parameter}"
            ours = GradientSearchCV(pipeline, {key: Continuous(low, high)})
            grid = GridSearchCV(
                pipeline, {key: np.geomspace(low, high, POINTS)}, scoring=metric
            )
            scores = []

            def score(search, scores=scores, X=X, y=y, outer=outer, scoring=scoring):
                scores.append(cross_val_score(search, X, y, cv=outer, scoring=scoring))

            spent = [seconds(lambda s=s: score(s)) for s in (ours, grid)]
            difference = scores[0] - scores[1]
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            print(
                f"{name:22}{type(model).__name__:20}"
                f"ours {scores[0].mean():.4f} ({spent[0]:.2f} s)  "
                f"grid {scores[1].mean():.4f} ({spent[1]:.2f} s)  "
                f"difference {difference.mean():+.5f} +- {error:.5f}"
            )


def main():
    """Print the tables."""
    warnings.simplefilter("ignore")
    rows = lasso_rows()
    if QUICK:
        print_table("Gradient search", rows, "sparho", "optuna")
        return
    X, y = load_breast_cancer(return_X_y=True)
    rows += logistic_rows("logistic 569 x 30", scale(X), y, 1e-4, 1e4, "0.03 s", True)
    X, y = load_digits(return_X_y=True)
    rows += logistic_rows("digits, 10 classes", X / 16, y, 1e-3, 1e3, "0.7 s", False)
    rows += ridge_rows()
    rows += [kernel_row(), machine_row(), vector_row()]
    print_table("Gradient search", rows, "sparho", "optuna")
    if folder := os.environ.get("SKDIFF_DATA"):
        if "--machines" in sys.argv:
            nested_machines(folder)
        nested_quality(folder)
    else:
        print("SKDIFF_DATA is not set: the nested comparison is left out")


if __name__ == "__main__":
    main()
