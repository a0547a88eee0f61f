"""ArchitectureSearch*: its cost, its rules against random cells, and other models.

Parts: ``cost`` (seconds of search and selection by those of the final training),
``rules`` (test losses of the cells that each rule selects and of random cells, on four
tables), ``every_cell`` (rank correlation of scores with errors where all cells of a
space are trained), ``models`` (AUC or root mean squared error and parameters beside
``MLPClassifier``, boosted trees and random cells at equal cost), ``replay`` (race and
random search on finished trainings of NAS-Bench-201). All but ``cost`` read tables from
the folder ``SKDIFF_DATA``. ``rules --seeds=100:105`` takes other seeds than 0 to 4.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, best_of, pick, print_table, run  # isort: skip

import gzip
import itertools

import numpy as np
from scipy.stats import rankdata, spearmanr
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neural_network import MLPRegressor

from benchmarks._cell_tables import Task, folder, frame
from skdiff.architecture_search import (
    Architecture,
    ArchitectureDisplay,
    ArchitectureSearchClassifier,
    ArchitectureSearchRegressor,
)
from skdiff.architecture_search._cells._cell import CellSpace
from skdiff.architecture_search._cells._find import Choice, find
from skdiff.architecture_search._cells._networks import CellNetworks
from skdiff.architecture_search._cells._race import race
from skdiff.architecture_search._cells._selection import draws
from skdiff.architecture_search._cells._supernet import Search

NAMES = ("zero", "skip", "relu", "tanh", "silu", "glu")
RANDOM = 32  # candidates that take as long as a search and its race of 8


def cost():
    """Search, selection and comparison against the final training alone."""
    rows = []
    rng = np.random.default_rng(0)
    X = rng.normal(size=(pick(5000, 200), 8))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=len(X))
    quick = pick({}, {"search_max_iter": 2, "max_iter": 4})
    for label, n, how in (
        ("darts", 5000, {}),
        ("darts", 1000, {}),
        ("darts, order 2", 1000, {"order": 2}),
        ("rarts", 1000, {"strategy": "rarts"}),
        ("joint", 1000, {"strategy": "joint"}),
        ("hypercuboid", 1000, {"space": "hypercuboid"}),
    ):
        X, y = X[:n], y[:n]
        model = ArchitectureSearchRegressor(random_state=0, **how, **quick)
        whole = best_of(
            lambda model=model, X=X, y=y: model.fit(X, y), repeats=1, warmup=0
        )
        final = ArchitectureSearchRegressor(
            architecture=model.searched_architecture_,
            early_stopping=True,  # no trial
            n_iter_no_change=1000,
            max_iter=model.n_iter_,
            validation_fraction=0.01,
            random_state=0,
        )
        alone = best_of(
            lambda final=final, X=X, y=y: final.fit(X, y), repeats=1, warmup=0
        )
        note = f"{(whole - alone) / alone:.1f} times the final training"
        peer, name = None, ""
        if label == "darts" and n == 1000:
            grid = GridSearchCV(
                MLPRegressor(random_state=0, max_iter=pick(200, 4)),
                {
                    "hidden_layer_sizes": [(32,), (64,), (32, 32), (64, 64)],
                    "activation": ["relu", "tanh"],
                },
                cv=ShuffleSplit(1, test_size=0.5, random_state=0),
            )
            peer = best_of(lambda grid=grid, X=X, y=y: grid.fit(X, y), 1, 0)
            name = "grid of 8 MLPs"
        label = f"{label}, {len(X)} rows"
        rows.append(Row(label, whole, peer, name, alone, "6", note=note))
        if n == 5000:
            table = ArchitectureDisplay.from_estimator(model).frame()
            print(table.sort_values("weight").tail(3).to_string(index=False))
            assert Architecture.from_json(model.architecture_.to_json())
    print_table("fit, 8 columns, width 32; limit: final training", rows, "torch")


TABLES = (
    ("kin8nm", False),
    ("power_plant", False),
    ("adult", True),
    ("spambase", True),
)


def seeds():
    """The seeds named on the command line, or 0 to 4."""
    named = [a.split("=")[1] for a in sys.argv if a.startswith("--seeds=")]
    first, end = map(int, (named or ["0:5"])[0].split(":"))
    return range(first, end)[: pick(None, 1)]


def rules():
    """Test losses of the cells that each rule selects, and of random ones.

    The last column is a race of as many random cells as take as long as the search.
    """
    if not folder():
        return
    names = ["race", "magnitude", "perturbation", "best of 5 random", "mean of 5"]
    names += [f"race of {RANDOM} random"]
    everything, spent = [], []
    print(f"\n{'table, seed':22}" + "".join(f"{n:>18}" for n in names))
    for seed, (table, classifier) in itertools.product(seeds(), TABLES[: pick(4, 1)]):
        sizes = pick((1000, 1500), (200, 200))
        task = Task(table, *sizes, seed, classifier, pick(30, 3))
        space = CellSpace(task.sizes, NAMES, 16, 3, 2)
        batch = task.how.batch_size
        search = Search(task.row_loss, batch_size=batch, max_iter=pick(20, 2))
        choice = Choice(max_iter=task.epochs)
        start = time.process_time()
        found = find(space, search, choice, task.bench, task.train, seed)
        middle = time.process_time()
        by_rule = {
            rule: next(a for o, a in found.candidates if rule in o)
            for rule in ("magnitude", "perturbation")
        }
        rng = np.random.RandomState(1000 + seed)
        blank = np.zeros((len(space.edges), len(NAMES)))
        random = draws(space, [blank], 1.0, 5, [], rng)
        many = draws(space, [blank], 1.0, pick(RANDOM, 5), [], rng)
        between = time.process_time()
        first = many[race(many, task.bench, task.epochs, seed).winner]
        spent.append((middle - start, time.process_time() - between))
        cells = [found.architecture, *by_rule.values(), *random, first]
        held, test = task.scores(cells, seed)
        losses = [
            *test[:3],
            test[3 + held[3:8].argmin()],
            test[3:8].mean(),
            test[8],
        ]
        everything.append(losses)
        line = "".join(f"{x:18.4f}" for x in losses)
        print(f"{table + ', ' + str(seed):22}{line}", flush=True)
    summarise(np.array(everything), names)
    print(
        "CPU seconds of the search and of the last race: {:.1f}, {:.1f}".format(
            *np.mean(spent, axis=0)
        )
    )


def summarise(losses, names):
    """Mean losses by table, mean ranks of the rules, and ratios of losses in pairs."""
    for k, (table, _) in enumerate(TABLES[: pick(4, 1)]):
        mean = losses[k :: pick(4, 1)].mean(axis=0)
        print(f"{table:22}" + "".join(f"{x:18.4f}" for x in mean))
    ranks = np.array([rankdata(row[:5]) for row in losses])
    pairs = np.log(losses[:, :1] / losses)
    wins = (losses[:, :1] < losses).sum(axis=0)
    for label, values, form in (
        ("mean rank of 5", ranks, ".2f"),
        ("log(race / other)", pairs, ".4f"),
    ):
        n = len(values)
        error = values.std(axis=0, ddof=min(1, n - 1)) / np.sqrt(n)
        print(f"{label:22}" + "".join(f"{x:18{form}}" for x in values.mean(axis=0)))
        print(f"{'standard error':22}" + "".join(f"{x:18{form}}" for x in error))
    print(f"{f'race lower, of {len(losses)}':22}" + "".join(f"{x:18d}" for x in wins))


def every_cell():
    """All cells of a space trained; how well each rule's score orders them."""
    if not folder():
        return
    names = NAMES[1:]
    for seed in range(pick(2, 1)):
        sizes = pick((1000, 2000), (200, 200))
        task = Task("kin8nm", *sizes, seed, False, pick(30, 2))
        space = CellSpace(task.sizes, names, 8, 2, 2)
        cells = [
            Architecture((((0, a),), ((0, b), (1, c))), (8, 8, 8))
            for a, b, c in itertools.product(names, repeat=3)
        ]
        held, test = task.scores(cells, seed)
        found, scores = {}, {}
        for rule in ("softmax", "max_w"):
            search = Search(
                task.row_loss,
                weighting=rule,
                batch_size=task.how.batch_size,
                max_iter=pick(20, 2),
            )
            choice = Choice("perturbation", max_iter=task.epochs)
            found[rule] = find(space, search, choice, task.bench, task.train, seed)
        tables = {
            "magnitude": found["softmax"].alphas,
            "perturbation": found["softmax"].perturbation_scores,
            "max_w": found["max_w"].alphas,
        }
        for rule, values in tables.items():
            scores[rule] = [
                sum(values[e, names.index(o)] for e, o in enumerate(a.operations()))
                for a in cells
            ]
        networks = CellNetworks.alike(cells, task.sizes, seed).to(task.train.X)
        short = task.bench.train_on(networks, max(task.epochs // 4, 1), seed)
        scores["a quarter of a training"] = -short[-1]
        scores["a whole training"] = -held
        print(f"\nkin8nm, {len(cells)} cells, seed {seed}: test loss", end=" ")
        print(f"{test.min():.3f} to {test.max():.3f}, mean {test.mean():.3f}")
        for rule, values in scores.items():
            rho = spearmanr(values, -test).statistic
            best = test[int(np.argmax(values))]
            place = int((test < best).sum()) + 1
            print(f"  {rule:24} rank correlation {rho:6.3f}, best cell is no. {place}")


MODELS = (
    ("adult", True),
    ("bank_marketing", True),
    ("hflights_2011", True),
    ("kin8nm", False),
    ("concrete", False),
)


def models():
    """Scores and parameters beside a network of given shape, trees, random cells."""
    if not folder():
        return
    n = pick(1200, 200)
    head = f"{'error':>9}{'s.e.':>8}{'numbers':>10}{'CPU s':>8}"
    print(f"\n1 - AUC, or root mean squared error\n{'table':16}{'model':24}{head}")
    for table, classifier in MODELS[: pick(5, 1)]:
        found, kept = {}, []
        for seed in range(pick(2, 1)):
            X, y = frame(table, 2 * n, seed)
            if classifier:
                y = (y == np.unique(y)[-1]).astype(int)
            first = min(n, 2 * len(y) // 3)
            for name, model in entries(classifier, seed).items():
                start = time.process_time()
                model.fit(X[:first], y[:first])
                spent = time.process_time() - start
                error = loss(model, X[first:], y[first:], classifier)
                found.setdefault(name, []).append((error, numbers(model), spent))
                if name == "search":
                    kept.append(model.architecture_.space)
        for name, values in found.items():
            error, size, spent = np.array(values, dtype=float).T
            se = error.std(ddof=1) / np.sqrt(len(error)) if len(error) > 1 else 0.0
            print(
                f"{table:16}{name:24}{error.mean():9.4f}{se:8.4f}{size.mean():10.0f}"
                f"{spent.mean():8.1f}",
                flush=True,
            )
        print(f"{table:16}the search kept: {', '.join(kept)}", flush=True)


def entries(classifier, seed):
    """The models of the comparison, all with their defaults."""
    from sklearn.compose import (
        TransformedTargetRegressor,
        make_column_selector,
        make_column_transformer,
    )
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    prepared = make_column_transformer(
        (
            OneHotEncoder(handle_unknown="ignore", min_frequency=5),
            make_column_selector(dtype_include="category"),
        ),
        remainder=StandardScaler(),
    )
    search = ArchitectureSearchClassifier if classifier else ArchitectureSearchRegressor
    mlp = MLPClassifier if classifier else MLPRegressor
    mlp = mlp(hidden_layer_sizes=(32, 32), random_state=seed)
    mlp = make_pipeline(prepared, mlp)
    trees = (
        HistGradientBoostingClassifier if classifier else HistGradientBoostingRegressor
    )
    linear = LogisticRegression(max_iter=1000) if classifier else RidgeCV()
    quick = pick({}, {"search_max_iter": 2, "max_iter": 4})
    # a race without a supernet; its candidates are drawn at random
    random = {"strategy": "joint", "n_candidates": RANDOM, "compare_baseline": False}
    return {
        "search": search(random_state=seed, **quick),
        "random cells": search(
            **{**quick, **random, "search_max_iter": 1}, random_state=seed
        ),
        "MLP(32, 32)": mlp
        if classifier
        else TransformedTargetRegressor(mlp, transformer=StandardScaler()),
        "boosted trees": trees(random_state=seed),
        "linear": make_pipeline(prepared, linear),
    }


def loss(model, X, y, classifier):
    """One less the area under the ROC curve, or the root mean squared error."""
    from sklearn.metrics import roc_auc_score

    if classifier:
        return 1 - roc_auc_score(y, model.predict_proba(X)[:, 1])
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)))


def numbers(model):
    """Weights and biases, or leaves of trees."""
    if hasattr(model, "n_params_"):
        return model.n_params_
    if hasattr(model, "_predictors"):
        return sum(t.get_n_leaf_nodes() for p in model._predictors for t in p)
    last = getattr(model, "regressor_", model)[-1]
    if hasattr(last, "coefs_"):
        return sum(w.size for w in (*last.coefs_, *last.intercepts_))
    return np.size(last.coef_) + np.size(last.intercept_)


def replay():
    """Regret of a race and of random search on finished trainings.

    The table has no learning curves: a rung of the race reads one seed of the
    validation accuracy, two, and all three. Random search reads as many trainings, all
    three of each cell, or one of three times as many cells.
    """
    if not folder():
        return
    with gzip.open(folder() / "nasbench201_cifar10.csv.gz", "rt") as file:
        head = file.readline().strip().split(",")
        rows = [line.strip().split(",") for line in file]
    places = [head.index(f"val_acc_seed{k}") for k in range(3)]
    # cells that were trained with all three seeds
    rows = [row for row in rows if all(row[k] for k in places)]
    scores = np.array([[float(row[k]) for k in places] for row in rows])
    truth = scores.mean(axis=1)
    regrets = {"race": [], "random, three seeds": [], "random, one seed": []}
    rng = np.random.RandomState(0)
    for _ in range(pick(2000, 20)):
        # 16 by one seed, 8 by a second, 4 by a third: 28 trainings
        cells = rng.choice(len(truth), 16, replace=False)
        for seeds, left in ((1, 8), (2, 4), (3, 1)):
            value = scores[cells, :seeds].mean(axis=1)
            cells = cells[np.argsort(-value, kind="stable")[:left]]
        regrets["race"].append(truth.max() - truth[cells[0]])
        cells = rng.choice(len(truth), 28 // 3, replace=False)
        regrets["random, three seeds"].append(truth.max() - truth[cells].max())
        cells = rng.choice(len(truth), 28, replace=False)
        best = cells[scores[cells, 0].argmax()]
        regrets["random, one seed"].append(truth.max() - truth[best])
    print(f"\nNAS-Bench-201, CIFAR-10, {len(truth)} cells, validation accuracy in %")
    for name, values in regrets.items():
        error = np.std(values) / np.sqrt(len(values))
        print(f"  {name:20} regret {np.mean(values):.3f} (s.e. {error:.3f})")


if __name__ == "__main__":
    run(cost, rules, every_cell, models, replay)
