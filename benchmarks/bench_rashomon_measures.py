"""What an auditor asks beyond ranges, against the packages that answer it too.

- Uniform samples: effective draws a second of ``sample``, against hit-and-run with the
  chord ends found by the same batched solver, and against the sampler of rashomon-py.
- Row ranges as rashomon-py's report (sampled) and ``multiplicity`` (gradient ascent on
  one row's prediction) give them: how much of the exact width they cover, at what cost.
- Pairwise feasibility and the discrepancy, against cvxpy.
- The sweep of ``ToleranceProfileDisplay`` over many tolerances, against single calls;
  ``CoefficientRangeDisplay`` draws the coefficient ranges timed here.
- 2000 rows asked of 20 000 generated ones, and 500 of a census table of 48 000 rows
  with categorical columns, where ``SKDIFF_DATA`` names a folder that holds
  ``adult.csv.gz``, with the memory that takes. ``--large`` runs these alone.
- ``leaf_features`` and ``leaf_multiplicity`` of a forest, and ``fairness_range``;
- ``last_layer_features`` and ``last_layer_multiplicity`` of a network, and
  ``ModelListMultiplicity`` of refits, beside what they cover.
"""

import os
import resource
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    best_of,
    interleaved,
    pick,
    print_table,
    seconds,
)

import cvxpy as cp
import numpy as np
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdiff.multiplicity import (
    CoefficientRangeDisplay,
    ModelListMultiplicity,
    RashomonClassifier,
    ToleranceProfileDisplay,
    last_layer_features,
    last_layer_multiplicity,
    leaf_features,
    leaf_multiplicity,
)
from skdiff.multiplicity._sets import _sampling as sampling
from skdiff.multiplicity._sets._statement import state_problem


def chain_size(draws):
    """Effective sample size of chains (n_steps, n_chains, d), the worst coordinate.

    Geyer's initial positive sequence on the autocorrelations averaged over chains.
    """
    n, m, d = draws.shape
    worst = np.inf
    for k in range(d):
        x = draws[:, :, k] - draws[:, :, k].mean()
        variance = np.mean(x**2)
        time = 1.0
        for lag in range(1, n - 1, 2):
            pair = sum(np.mean(x[: n - j] * x[j:]) / variance for j in (lag, lag + 1))
            if pair <= 0:
                break
            time += 2 * pair
        worst = min(worst, n * m / time)
    return worst


def samplers(name, model, n_draws=4000, n_chains=16, n_steps=600):
    """Seconds an effective draw, ours and hit-and-run on the same set."""
    level_set, budget = model._set.level_set, model._set.budget
    _, _, weight = model.sample(n_draws, random_state=0)
    ours = best_of(lambda: model.sample(n_draws, random_state=0), repeats=3)
    size = 1 / np.sum(weight**2)
    rng = np.random.RandomState(0)
    draws = []

    def walk():
        U, _ = sampling.draw(level_set, budget, n_chains, rng)  # no burn-in needed
        draws.clear()
        for _ in range(n_steps):
            U = sampling.hit_and_run(level_set, U, budget, 1, rng)
            draws.append(U)

    theirs = seconds(walk)
    walked = chain_size(np.array(draws))
    return Row(
        f"{name}: an effective draw",
        ours / size,
        theirs / walked,
        "hit-and-run, whitened, batched",
        target="50x",
        note=f"{size:.0f} of {n_draws} against {walked:.0f} of {n_chains * n_steps}",
    )


def against_rashomon_py(X, y, model):
    """Its sampler, and the audit that reads row ranges and discrepancy off samples."""
    try:
        from rashomon import RashomonSet, audit
    except ImportError:
        print("rashomon-py is not installed: its rows are left out")
        return []
    estimator = LogisticRegression(max_iter=1000, tol=1e-8).fit(X, y)
    peer = RashomonSet.from_sklearn(estimator, X, y, epsilon=0.01)
    _, _, weight = model.sample(4000, random_state=0)
    ours = best_of(lambda: model.sample(4000, random_state=0), repeats=3)
    rows = []
    for name, arguments in (
        ("rashomon-py, hit-and-run", {"directions": "whitened"}),
        ("rashomon-py, with its ellipsoid", {"ellipsoid_mix": 0.5}),
    ):
        found = []
        arguments = {"n_samples": 1000, "random_state": 0, **arguments}
        theirs = seconds(lambda: found.append(peer.sample_hitandrun(**arguments)))
        size = chain_size(np.asarray(found[0])[:, None, :])
        rows.append(
            Row(
                "breast_cancer: an effective draw",
                ours * np.sum(weight**2),
                theirs / size,
                name,
                target="50x",
                note=f"its 1000 draws are worth {size:.0f}",
            )
        )
    report = []
    theirs = seconds(lambda: report.append(audit(estimator, X, y, tolerance=0.01)))
    table = report[0].prediction_ranges
    width = (table["high"] - table["low"]).to_numpy()
    exact = np.diff(model.predict_proba_range(X))[:, 0]
    rows.append(
        Row(
            "breast_cancer: ranges and bracket of 569 rows",
            best_of(
                lambda: (model.predict_proba_range(X), model.discrepancy(X)), repeats=3
            ),
            theirs,
            "rashomon-py's audit, sampled",
            note=f"its rows cover {np.mean(width) / np.mean(exact):.0%} of the width, "
            f"its model changes {report[0].max_disagreement * len(X):.0f} labels",
        )
    )
    return rows


def against_multiplicity(X, y, model, n_rows=4):
    """Gradient ascent on the weights, a row at a time, as the package does it."""
    try:
        import torch
        from multiplicity.torch import viable_prediction_range
    except ImportError:
        print("multiplicity is not installed: its row is left out")
        return []
    table = torch.as_tensor(X)
    target = torch.as_tensor(y, dtype=torch.float64)[:, None]
    some = np.argsort(np.abs(model.decision_function(X)))[:n_rows]
    network = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], 1, dtype=torch.float64), torch.nn.Sigmoid()
    )
    with torch.no_grad():
        network[0].weight[:] = torch.as_tensor(model.coef_)
        network[0].bias[:] = torch.as_tensor(model.intercept_)

    def objective(model):
        fit = torch.nn.functional.binary_cross_entropy(model(table), target)
        return float(fit + (model[0].weight ** 2).sum() / 2 / len(X))

    rows = []
    exact = np.diff(model.predict_proba_range(X[some]))[:, 0]
    ours = best_of(lambda: model.predict_proba_range(X), repeats=3)
    for name, settings in (
        ("its defaults", {}),
        ("1000 steps of 0.001", {"step_size": 1e-3, "max_steps": 1000}),
    ):
        ends = []

        def ask(settings=settings, ends=ends):
            for row in some:
                low, _, high = viable_prediction_range(
                    model=network,
                    target_example=table[row : row + 1],
                    robustness_criterion=objective,
                    criterion_thresholds=float(model.epsilon_),
                    **settings,
                )
                ends.append(high - low)

        theirs = seconds(ask)
        rows.append(
            Row(
                "breast_cancer: ranges of 569 rows",
                ours,
                theirs * len(X) / n_rows,
                f"multiplicity, {name}, from {n_rows} rows",
                note=f"it covers {np.mean(ends) / np.mean(exact):.0%} of the width",
            )
        )
    return rows


def discrepancies(X, model, n_pairs=20):
    """The bracket, and one pair of rows against cvxpy."""
    level_set, V = model._set.level_set, model._query(X)
    rows = np.flatnonzero(model.conflicts(X))
    statement, w, v = state_problem(level_set.problem, 1.0)
    v.value = np.zeros(V.shape[1])
    objective = statement.constraints[0].args[0]
    direction = cp.Parameter((2, V.shape[1]))
    problem = cp.Problem(cp.Minimize(objective), [direction @ w >= 0])
    signs = np.where(V @ level_set.center > 0, -1.0, 1.0)
    first, second = np.triu_indices(len(rows), 1)
    chosen = np.random.default_rng(0).choice(len(first), n_pairs, replace=False)

    def pairs():
        for k in chosen:
            both = rows[[first[k], second[k]]]
            direction.value = signs[both, None] * V[both]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of inaccurate answers
                problem.solve("CLARABEL", enforce_dpp=True)

    direction.value = signs[rows[:2], None] * V[rows[:2]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve("CLARABEL", enforce_dpp=True)  # compiled once, untimed
    bracket, exact = {}, {}

    def bounds():
        bracket["it"] = model.discrepancy(X)

    def whole():
        exact["it"] = model.discrepancy(X, method="exact")

    ours = best_of(bounds, repeats=3)
    theirs = seconds(pairs) * len(first) / n_pairs
    lower, upper, _ = bracket["it"]
    table = [
        Row(
            f"breast_cancer: bracket, {len(rows)} ambiguous rows",
            ours,
            theirs,
            f"cvxpy, {len(first)} pairs alone, from {n_pairs}",
            note=f"{lower * len(X):.0f} to {upper * len(X):.0f} rows",
        )
    ]
    spent = best_of(whole, repeats=3)
    lower, upper, _ = exact["it"]
    table.append(
        Row(
            "breast_cancer: exact discrepancy",
            spent,
            note=f"{lower * len(X):.0f} to {upper * len(X):.0f} rows",
        )
    )
    return table


def sweeps(X, model):
    """Many tolerances in one sweep, against a call for each."""
    epsilons = np.geomspace(1e-3, 0.5, pick(15, 3))
    V, budget = model._query(X), model._set.budget_of
    best = interleaved(
        {
            "sweep": lambda: ToleranceProfileDisplay.from_estimator(model, X, epsilons),
            "single": lambda: [model._range(V, budget(e)) for e in epsilons],
        },
        repeats=3,
    )
    return [
        Row(
            f"breast_cancer: {len(X)} rows at {len(epsilons)} tolerances",
            best["sweep"],
            best["single"],
            "a call for each",
        ),
        Row(
            "breast_cancer: ranges of 30 coefficients",
            best_of(lambda: CoefficientRangeDisplay.from_estimator(model)),
        ),
    ]


def audit_of(name, model, X, n_bracket):
    """A whole audit of some rows: ranges, report, bracket and samples."""
    found = {}
    half = model.epsilon / 2

    def bracket():
        found["bracket"] = model.discrepancy(X[:n_bracket])

    def draw():
        found["weight"] = model.sample(1000, random_state=0)[2]

    ranges = seconds(lambda: model.predict_proba_range(X))
    report = seconds(lambda: model.report(X, epsilons=[half, model.epsilon]))
    drawn = seconds(draw)
    spent = seconds(bracket)
    n, (lower, upper, _) = len(X), found["bracket"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ambiguous = model.ambiguity(X[:n_bracket])
    return [
        Row(f"{name}: ranges of {n} rows", ranges),
        Row(f"{name}: report of them at two tolerances", report),
        Row(
            f"{name}: 1000 draws",
            drawn,
            note=f"{1 / np.sum(found['weight'] ** 2):.0f} effective",
        ),
        Row(
            f"{name}: bracket of {n_bracket} rows",
            spent,
            note=f"{ambiguous:.1%} ambiguous, one model {lower:.1%} to {upper:.1%}; "
            f"peak memory {peak:.1f} GB of 4",
        ),
    ]


def large_tables():
    """Twenty thousand rows by twenty, and the census table."""
    X, y = make_classification(22_000, 20, n_informative=10, flip_y=0.1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    model = RashomonClassifier(pipeline, random_state=0).fit(X[:20_000], y[:20_000])
    rows = audit_of("20 000 x 20", model, X[20_000:], 100)
    folder = Path(os.environ.get("SKDIFF_DATA", ""))
    if not (folder / "adult.csv.gz").is_file():
        print("SKDIFF_DATA names no folder with adult.csv.gz: its rows are left out")
        return rows
    import pandas as pd

    table = pd.read_csv(folder / "adult.csv.gz")
    table = table.drop(columns="split")
    target = table.pop("income")
    columns = make_column_transformer(
        (
            OneHotEncoder(drop="first", min_frequency=200, handle_unknown="ignore"),
            make_column_selector(dtype_exclude="number"),
        ),
        remainder=StandardScaler(),
        sparse_threshold=0,
    )
    model = RashomonClassifier(
        make_pipeline(columns, LogisticRegression(max_iter=1000)),
        epsilon=0.001,
        random_state=0,
    ).fit(table, target)
    some = table.sample(500, random_state=0)
    d = model.coef_.shape[1]
    return rows + audit_of(f"adult, {len(table)} x {d}, 0.1 %", model, some, 50)


def beyond(X, y, model):
    """Networks and lists of refits."""
    network = MLPClassifier(16, alpha=1.0, solver="lbfgs", max_iter=3000)
    network.set_params(random_state=0).fit(X, y)
    audit = last_layer_multiplicity(network, X, y, epsilon=0.05)
    width = np.diff(audit.predict_proba_range(X)).mean()
    nets = [clone(network).set_params(random_state=k).fit(X, y) for k in range(10)]
    seen = ModelListMultiplicity.from_models(nets, X, y, tolerance=0.01)
    listed = np.diff(seen.range()).mean()
    rng = np.random.default_rng(0)
    refits = []
    for _ in range(50):
        rows = rng.integers(0, len(X), len(X))
        refits.append(LogisticRegression().fit(X[rows], y[rows]))
    list_time = best_of(lambda: ModelListMultiplicity.from_models(refits, X).range())
    return [
        Row(
            "network of 16: features of 569 rows",
            best_of(lambda: last_layer_features(network, X)),
        ),
        Row(
            "network of 16: audit of the last layer",
            best_of(
                lambda: last_layer_multiplicity(
                    network, X, y, epsilon=0.05
                ).predict_proba_range(X)
            ),
            note=f"mean width {width:.3f}; ten seeds of the network {listed:.3f}",
        ),
        Row("50 bootstrap refits: ranges of the list", list_time),
        *leaves(X, y),
        Row(
            "fairness_range of selection rates, 569 rows",
            best_of(lambda: model.fairness_range(X, groups=X[:, 1] > 0), repeats=2),
        ),
    ]


def leaves(X, y):
    """Leaves of a forest."""
    forest = RandomForestClassifier(100, max_depth=4, random_state=0).fit(X, y)
    shape = leaf_features(forest, X).shape
    audit = leaf_multiplicity(forest, X, y, epsilon=0.05)
    return [
        Row(
            f"leaves of a forest, {shape[0]} x {shape[1]}",
            best_of(lambda: leaf_features(forest, X)),
        ),
        Row(
            f"leaves of a forest, {shape[0]} x {shape[1]}: ranges of 50 rows",
            best_of(lambda: audit.decision_range(X[:50]), repeats=2),
        ),
    ]


def main():
    """Print the table."""
    if "--large" in sys.argv:
        print_table("Measures of the Rashomon set, large tables", large_tables())
        return
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    X, y = X[: pick(None, 150)], y[: pick(None, 150)]
    model = RashomonClassifier(epsilon=0.01, random_state=0).fit(X, y)
    if QUICK:
        print_table("Measures of the Rashomon set", sweeps(X, model))
        return
    wide = RashomonClassifier(epsilon=0.05, random_state=0).fit(X, y)
    rows = [
        samplers("breast_cancer, 1 %", model),
        samplers("breast_cancer, 5 %", wide),
    ]
    rows += against_rashomon_py(X, y, model)
    rows += against_multiplicity(X, y, model)
    rows += discrepancies(X, model)
    rows += sweeps(X, model)
    rows += beyond(X, y, model)
    rows += large_tables()
    print_table(
        "Measures of the Rashomon set", rows, "cvxpy", "rashomon-py", "multiplicity"
    )


if __name__ == "__main__":
    main()
