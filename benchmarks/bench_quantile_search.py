"""ConformalQuantileSearchCV against grid, random and halving search and optuna's TPE.

First on tables of finished trainings (``SKDIFF_DATA``), where the best setting is
known: how far the best of 50 evaluations is from it, as a share of the way from the
median setting to the best. Then on a support vector where a training costs
little and processor time tells what a search adds.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    pick,
    print_table,
    seconds,
)

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks._replay import ONE_SPLIT, TABLES, X_NOTHING, folder, replay
from skdiff.model_selection import ConformalQuantileSearchCV, HyperbandSearchCV

BUDGET = pick(50, 6)
SEEDS = range(pick(3, 1))


def optuna_best(score, suggest, seed):
    """Best score of optuna's TPE, or None where it is not installed."""
    try:
        import optuna
    except ImportError:
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    study.optimize(lambda trial: score(suggest(trial)), n_trials=BUDGET)
    return study.best_value


def coarse_grid(space):
    """A grid of at most the budget: two or three values of what comes first."""
    sizes = dict.fromkeys(space, 1)
    for name in sorted(space, key=lambda n: -len(space[n])):
        for size in (2, 3):
            total = np.prod([s for n, s in sizes.items() if n != name]) * size
            if size <= len(space[name]) and total <= BUDGET:
                sizes[name] = size
    return {
        name: [
            space[name][i]
            for i in np.linspace(0, len(space[name]) - 1, size + 2).astype(int)[1:-1]
        ]
        for name, size in sizes.items()
    }


def on_table(path, seeds):
    """Regret of every search on one table."""
    model, space, scores = replay(path)
    model.set_params(**{name: values[0] for name, values in space.items()})
    lookup = type(model)

    def score(setting):
        return lookup(**setting).score(X_NOTHING)

    def suggest(trial):
        # numbers as steps of an ordered scale, as optuna's users would state them
        setting = {}
        for name, values in space.items():
            if isinstance(values[0], float):
                setting[name] = values[trial.suggest_int(name, 0, len(values) - 1)]
            else:
                setting[name] = trial.suggest_categorical(name, values)
        return setting

    best = {"grid": [], "random": [], "TPE": [], "ours": []}
    times = {"ours": [], "TPE": []}
    for seed in range(seeds):
        ours = ConformalQuantileSearchCV(
            model, space, n_iter=BUDGET, cv=ONE_SPLIT, refit=False, random_state=seed
        )
        times["ours"].append(seconds(lambda search=ours: search.fit(X_NOTHING)))
        best["ours"].append(ours.best_score_)
        plain = RandomizedSearchCV(
            model, space, n_iter=BUDGET, cv=ONE_SPLIT, refit=False, random_state=seed
        ).fit(X_NOTHING)
        best["random"].append(plain.best_score_)
        found = []
        times["TPE"].append(
            seconds(
                lambda seed=seed, found=found: found.append(
                    optuna_best(score, suggest, seed)
                )
            )
        )
        if found[0] is not None:
            best["TPE"].append(found[0])
    grid = GridSearchCV(model, coarse_grid(space), cv=ONE_SPLIT, refit=False)
    best["grid"].append(grid.fit(X_NOTHING).best_score_)
    worth = scores[-1] - np.median(scores)
    parts = [f"{path.name.split('.')[0]:22}"]
    for name, values in best.items():
        if values:
            regret = (scores[-1] - np.array(values)) / worth
            error = regret.std() / max(len(regret) - 1, 1) ** 0.5
            parts.append(f"{name} {100 * regret.mean():.2f} ({100 * error:.2f})")
    for name, spent in times.items():
        parts.append(f"{name} {np.mean(spent) / BUDGET:.3f} s a proposal")
    print("; ".join(parts), flush=True)


OURS = f"ConformalQuantileSearchCV {BUDGET}"


def on_a_machine():
    """A support vector machine on breast cancer: seconds and nested accuracy."""
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    n = pick(400, 100)
    X, fresh, y, truth = X[:n], X[n:], y[:n], y[n:]
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), SVC())
    space = {"svc__C": loguniform(1e-3, 1e4), "svc__gamma": loguniform(1e-6, 1e1)}
    grid = {"svc__C": np.logspace(-3, 4, 7), "svc__gamma": np.logspace(-6, 1, 7)}
    common = {"cv": cv}
    made = {
        "GridSearchCV 7 x 7": lambda s: GridSearchCV(model, grid, **common),
        f"RandomizedSearchCV {BUDGET}": lambda s: RandomizedSearchCV(
            model, space, n_iter=BUDGET, random_state=s, **common
        ),
        "HalvingRandomSearchCV": lambda s: HalvingRandomSearchCV(
            model, space, random_state=s, **common
        ),
        "HyperbandSearchCV (rows)": lambda s: HyperbandSearchCV(
            model, space, random_state=s, **common
        ),
        OURS: lambda s: ConformalQuantileSearchCV(
            model, space, n_iter=BUDGET, random_state=s, **common
        ),
    }
    spent_by, note = {}, {}
    for name, make in made.items():
        rows = []
        for seed in SEEDS:
            search = make(seed)
            spent = seconds(lambda search=search: search.fit(X, y))
            rows.append((spent, search.best_score_, search.score(fresh, truth)))
        spent_by[name], cv_score, score_ = np.mean(rows, axis=0)
        note[name] = f"CV {cv_score:.4f}, unseen rows {score_:.4f}"

    def suggest(trial):
        return {
            "svc__C": trial.suggest_float("C", 1e-3, 1e4, log=True),
            "svc__gamma": trial.suggest_float("gamma", 1e-6, 10, log=True),
        }

    def score(setting):
        return cross_val_score(model.set_params(**setting), X, y, cv=cv).mean()

    rows = []
    for seed in SEEDS:
        found = []
        spent = seconds(
            lambda seed=seed, found=found: found.append(
                optuna_best(score, suggest, seed)
            )
        )
        rows.append((spent, found[0]))
    if rows[0][1] is None:
        print("optuna is not installed: its row is left out")
    else:
        name = f"optuna TPE {BUDGET}"
        spent_by[name], cv_score = np.mean(rows, axis=0)
        note[name] = f"CV {cv_score:.4f}"
    ours = spent_by.pop(OURS)
    title = f"breast cancer, SVC, {n} rows, 5 folds, {len(SEEDS)} seeds"
    print_table(
        f"{title}; ours: {note[OURS]}",
        [
            Row("search", ours, spent, name, note=note[name])
            for name, spent in spent_by.items()
        ],
        "optuna",
    )


def main(seeds=10):
    """Print the tables."""
    warnings.simplefilter("ignore")
    data = None if QUICK else folder()
    if data is not None:
        print(
            f"\nregret in % after {BUDGET} evaluations (standard error), {seeds} seeds"
        )
        for name in TABLES:
            on_table(data / f"{name}.csv.gz", seeds)
    on_a_machine()


if __name__ == "__main__":
    main()
