"""HyperbandSearchCV against grid, random and halving search and optuna's TPE.

Each search tunes the same network; what counts is the processor time, the epochs
trained on a fold, and the accuracy of the winner on rows no search has seen. Then
replays of learning curves (``SKDIFF_DATA``), where a search costs nothing but units,
and the overhead of an evaluation that costs nothing at all.
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
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.neural_network import MLPClassifier

from benchmarks._replay import ONE_SPLIT, X_NOTHING, CurveReplay, folder, read_curves
from skdiff.model_selection import HyperbandSearchCV

SPACE = {"alpha": loguniform(1e-6, 10), "learning_rate_init": loguniform(1e-4, 0.3)}
FULL, SETTINGS, SEEDS = 27, 49, (0, 1, 2)
ROUNDS = pick(3, 1)


def with_optuna(model, X, y, cv, seed):
    """The best setting of optuna's TPE after as many full trainings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        setting = {
            "alpha": trial.suggest_float("alpha", 1e-6, 10, log=True),
            "learning_rate_init": trial.suggest_float(
                "learning_rate_init", 1e-4, 0.3, log=True
            ),
        }
        return cross_val_score(model.set_params(**setting), X, y, cv=cv).mean()

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    study.optimize(objective, n_trials=SETTINGS)
    return model.set_params(**study.best_params).fit(X, y)


def searches(seed, cv):
    """``{name: (search, epochs on a fold)}``."""
    model = MLPClassifier((32,), max_iter=FULL, tol=0, random_state=0)
    grid = {
        "alpha": np.logspace(-6, 1, 7),
        "learning_rate_init": np.geomspace(1e-4, 0.3, 7),
    }
    common = {"cv": cv, "random_state": seed}
    epochs = {"resource": "partial_fit", "max_resource": FULL}
    return {
        "GridSearchCV 7 x 7": (GridSearchCV(model, grid, cv=cv), 49 * FULL),
        "RandomizedSearchCV 49": (
            RandomizedSearchCV(model, SPACE, n_iter=SETTINGS, **common),
            SETTINGS * FULL,
        ),
        "HalvingRandomSearchCV 27": (
            HalvingRandomSearchCV(
                model, SPACE, n_candidates=27, resource="max_iter", min_resources=1,
                max_resources=FULL, **common,
            ),
            27 + 9 * 3 + 3 * 9 + 27,
        ),
        "HyperbandSearchCV": (
            HyperbandSearchCV(model, SPACE, **epochs, **common),
            None,
        ),
        "HyperbandSearchCV brackets=1": (
            HyperbandSearchCV(model, SPACE, brackets=1, **epochs, **common),
            None,
        ),
        "HyperbandSearchCV conformal": (
            HyperbandSearchCV(model, SPACE, sampler="conformal", **epochs, **common),
            None,
        ),
    }  # fmt: skip


def digits():
    """One line a search: seconds, epochs, accuracy on unseen rows."""
    X, y = load_digits(return_X_y=True)
    X, fresh, y, truth = X[:629] / 16, X[629:] / 16, y[:629], y[629:]
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    found = {}
    for seed in SEEDS:
        for name, (search, units) in searches(seed, cv).items():
            if seed and name.startswith("Grid"):
                continue  # it draws nothing
            spent = seconds(lambda search=search: search.fit(X, y))
            units = units or search.resource_used_
            found.setdefault(name, []).append(
                (spent, units, search.score(fresh, truth))
            )
        try:
            model = MLPClassifier((32,), max_iter=FULL, tol=0, random_state=0)
            done = []
            spent = seconds(
                lambda model=model, seed=seed, done=done: done.append(
                    with_optuna(model, X, y, cv, seed)
                )
            )
            score = done[0].score(fresh, truth)
            found.setdefault("optuna TPE 49", []).append(
                (spent, SETTINGS * FULL, score)
            )
        except ImportError:
            if not seed:
                print("optuna is not installed: its row is left out")
    print(
        f"\ndigits, 629 rows, MLPClassifier, {FULL} epochs, 3 folds, {len(SEEDS)} seeds"
    )
    print(f"{'search':30} CPU s  epochs  test accuracy (mean, range)")
    for name, rows in found.items():
        spent, units, score = np.array(rows).T
        span = f"({score.min():.3f}-{score.max():.3f})"
        print(
            f"{name:30} {spent.mean():5.1f}  {units.mean():6.0f}  "
            f"{score.mean():.4f} {span}"
        )


def replay_curves(seeds=40):
    """Regret against the best setting at full length, at equal epochs."""
    data = folder()
    if data is None:
        return
    curves = read_curves(data)
    print(f"\nreplayed curves (mlp_epoch_curves_dev), R = {FULL} epochs, {seeds} seeds")
    print("regret of accuracy (epochs spent)")
    for name, table in curves.items():
        CurveReplay.curves = table
        final = np.array([c[FULL - 1] for c in table.values()])
        line = [f"{name:15} {len(table)} settings"]
        for label, options in (
            ("all brackets", {}),
            ("brackets=1", {"brackets": 1}),
        ):
            regrets, units = [], []
            for seed in range(seeds):
                search = HyperbandSearchCV(
                    CurveReplay(), {"config": list(table)}, resource="partial_fit",
                    max_resource=FULL, cv=ONE_SPLIT, random_state=seed, refit=False,
                    **options,
                ).fit(X_NOTHING)  # fmt: skip
                regrets.append(final.max() - search.best_score_)
                units.append(search.resource_used_)
            budget = round(np.mean(units) / FULL)
            rng = np.random.default_rng(0)
            random = [
                final.max() - rng.permutation(final)[:budget].max() for _ in range(2000)
            ]
            line.append(
                f"{label} {np.mean(regrets):.4f} ({np.mean(units):.0f}), "
                f"random at as many {np.mean(random):.4f}"
            )
        print("; ".join(line))


def overhead():
    """Milliseconds a search adds to an evaluation."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 5)), rng.normal(size=200)
    search = HyperbandSearchCV(
        Ridge(),
        {"alpha": loguniform(1e-3, 1e3)},
        max_resource=160,
        min_resource=pick(2, 40),
        factor=3,
        random_state=0,
    )
    spent = min(seconds(lambda: search.fit(X, y)) for _ in range(ROUNDS))
    evaluations = len(search.cv_results_["params"]) * search.n_splits_
    plain = RandomizedSearchCV(
        Ridge(),
        {"alpha": loguniform(1e-3, 1e3)},
        n_iter=evaluations // 5,
        random_state=0,
    )
    theirs = min(seconds(lambda: plain.fit(X, y)) for _ in range(ROUNDS))

    def bare():
        for _ in range(evaluations):
            Ridge().fit(X[:160], y[:160]).score(X[160:], y[160:])

    floor = min(seconds(bare) for _ in range(ROUNDS))
    ours, peer = (1e3 * (t - floor) / evaluations for t in (spent, theirs))
    rows = [
        Row(
            f"search of {evaluations} evaluations of Ridge",
            spent,
            theirs,
            "RandomizedSearchCV",
            floor,
            note=f"overhead {ours:.2f} ms an evaluation (target 2), peer {peer:.2f} ms",
        )
    ]
    print_table("Hyperband: what a search adds", rows, "optuna")


def main():
    """Print the tables."""
    warnings.simplefilter("ignore")
    overhead()
    if QUICK:
        return
    replay_curves()
    digits()


if __name__ == "__main__":
    main()
