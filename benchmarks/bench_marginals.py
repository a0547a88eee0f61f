"""MarginalizationModel and LatentClassModel: likelihoods, marginals, imputation, speed.

Beside them: independent columns, a Chow-Liu tree, and where it is installed ``mbi``, a
graphical model estimated from marginals, here from the exact pairs of the same tree.
``MarginalImputer`` is compared with the most frequent value and with scikit-learn's
``IterativeImputer`` on category codes. ``SKDIFF_DATA`` names a folder of real tables;
without it ``tables`` and ``imputation`` print nothing.
"""

import itertools
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    QUICK,
    Row,
    interleaved,
    pick,
    print_table,
    run,
    seconds,
)

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

from skdiff.density import (
    InteractionScreening,
    LatentClassModel,
    MarginalImputer,
    MarginalizationModel,
)

FOLDER = os.environ.get("SKDIFF_DATA")
SHORT = {"max_iter": pick(100, 2), "marginal_max_iter": pick(100, 2)}


def states(p):
    """Every row of p binary columns."""
    return np.array(list(itertools.product([0, 1], repeat=p)))


def pairwise(p=10, n=5000, seed=0):
    """A random binary model with pairs: its states, probabilities and a sample."""
    rng = np.random.default_rng(seed)
    J = np.triu(rng.normal(scale=0.7, size=(p, p)), 1)
    h, C = rng.normal(scale=0.3, size=p), states(p)
    S = 2 * C - 1
    energy = S @ h + np.einsum("ij,ij->i", S @ J, S)
    P = np.exp(energy - energy.max())
    P /= P.sum()
    return C, P, C[rng.choice(len(C), n, p=P)]


def subset_error(model, C, P, n_subsets=200):
    """Root mean square error of the log-probability of random subsets."""
    rng, errors = np.random.default_rng(1), []
    for _ in range(n_subsets):
        columns = rng.permutation(C.shape[1])[: rng.integers(1, C.shape[1] + 1)]
        row = C[rng.choice(len(C), p=P)]
        same = (C[:, columns] == row[columns]).all(axis=1)
        found = model.log_marginal(row[None], columns.tolist())[0]
        errors.append(found - np.log(P[same].sum()))
    return np.sqrt(np.mean(np.square(errors)))


def acceptance():
    """A random pairwise model of ten binary columns, 5000 rows, two seeds."""
    rows = []
    for seed in range(pick(2, 1)):
        C, P, X = pairwise(n=pick(5000, 300), seed=seed)
        for model in (
            MarginalizationModel(random_state=0, **SHORT),
            LatentClassModel(random_state=0),
            LatentClassModel(1),
        ):
            took = seconds(lambda m=model, X=X: quietly(m.fit, X))
            log = model.score_samples(C)
            chain = model.score_samples(C, method="chain")
            single = max(
                abs(np.exp(model.log_marginal(C[-1:], j))[0] - P[C[:, j] == 1].sum())
                for j in range(10)
            )
            name = type(model).__name__
            if getattr(model, "n_components", 0) == 1:
                name = "independent columns"
            rows.append(
                Row(
                    f"seed {seed}: {name}",
                    took,
                    note=f"nats above the truth {P @ (np.log(P) - log):.3f}, chain "
                    f"{P @ (np.log(P) - chain):.3f}; subsets rms "
                    f"{subset_error(model, C, P):.3f}; single columns {single:.3f}; "
                    f"mass {np.exp(log).sum():.3f}",
                )
            )
    print_table("Random pairwise model, 10 binary columns, 5000 rows", rows, "torch")


def quietly(function, *arguments):
    """Call with warnings off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


def speed():
    """Log-probabilities of 2000 rows: one evaluation against a chain over columns."""
    rows = []
    for p in pick((10, 15, 25, 50), (5,)):
        X = np.random.default_rng(0).integers(0, 3, (2000, p))
        small = {"max_iter": 1, "marginal_max_iter": 1}
        model = MarginalizationModel(random_state=0, **small).fit(X)
        joint, codes = model._joint(), X.astype(np.int64)
        order = list(range(p))
        best = interleaved(
            {
                "ours": lambda joint=joint, codes=codes: joint.log_marginal(codes),
                "chain": lambda model=model, X=X, order=order: model.score_samples(
                    X, method="chain", order=order
                ),
            },
            repeats=3,
        )
        rows.append(
            Row(
                f"2000 rows of {p} columns",
                best["ours"],
                best["chain"],
                "chain of conditionals",
                target="10x",
            )
        )
    print_table("Marginals in one evaluation", rows, "torch")


def read(name, n_train, n_test, seed=0):
    """Codes of a real table, of at most 30 categories per column."""
    import pandas as pd

    table = pd.read_csv(
        f"{FOLDER}/{name}.csv.gz", keep_default_na=False, na_values=[""]
    )
    table = table.sample(frac=1, random_state=seed).reset_index(drop=True)
    for column in table:
        code = table[column].astype("category").cat.codes.to_numpy()
        common = np.argsort(-np.bincount(code + 1), kind="stable")
        rank = np.empty(len(common), dtype=int)
        rank[common] = np.arange(len(common))
        table[column] = np.minimum(rank[code + 1], 29)
    X = table.to_numpy()
    return X[:n_train], X[n_train : n_train + n_test]


def tree_edges(X):
    """The Chow-Liu tree: largest mutual information, by Prim's algorithm."""
    p, n = X.shape[1], len(X)

    def information(i, j):
        table = np.zeros((X[:, i].max() + 1, X[:, j].max() + 1))
        np.add.at(table, (X[:, i], X[:, j]), 1 / n)
        outer = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
        some = table > 0
        return float((table[some] * np.log(table[some] / outer[some])).sum())

    value = {pair: information(*pair) for pair in itertools.combinations(range(p), 2)}
    inside, edges = {0}, []
    while len(inside) < p:
        i, j = max(
            (pair for pair in value if len(inside & set(pair)) == 1), key=value.get
        )
        edges.append((i, j) if i in inside else (j, i))
        inside |= {i, j}
    return edges


def tree_score(X, T, sizes, smoothing=1.0):
    """Mean log-probability of test rows under the smoothed Chow-Liu tree."""
    root = np.bincount(X[:, 0], minlength=sizes[0]) + smoothing / sizes[0]
    log = np.log(root / root.sum())[T[:, 0]]
    for i, j in tree_edges(X):
        table = np.zeros((sizes[i], sizes[j]))
        np.add.at(table, (X[:, i], X[:, j]), 1.0)
        share = np.bincount(X[:, j], minlength=sizes[j]) + 0.1
        table += smoothing * share / share.sum()
        table /= table.sum(axis=1, keepdims=True)
        log = log + np.log(table[T[:, i], T[:, j]])
    return log.mean()


def triples_of(sizes, n_triples=20):
    """Random triples of columns whose tables are small enough to compute."""
    rng, found = np.random.default_rng(0), []
    while len(found) < n_triples:
        triple = rng.choice(len(sizes), 3, replace=False)
        if np.prod([sizes[j] for j in triple]) <= 3000:
            found.append(triple.tolist())
    return found


def three_way(tables, T, triples, sizes):
    """Mean total variation between three-way tables and those of test rows."""
    errors = []
    for triple, table in zip(triples, tables, strict=True):
        shape = tuple(sizes[j] for j in triple)
        place = np.ravel_multi_index(T[:, triple].T, shape)
        wanted = np.bincount(place, minlength=int(np.prod(shape))) / len(T)
        errors.append(np.abs(wanted - np.ravel(table)).sum() / 2)
    return np.mean(errors)


def by_mbi(X, sizes, triples):
    """Tables of triples by ``mbi`` from the pairs of a Chow-Liu tree; seconds."""
    import mbi
    from mbi import Dataset, Domain, LinearMeasurement, estimation

    names = [f"c{j}" for j in range(len(sizes))]
    domain = Domain(names, sizes)
    data = Dataset(dict(zip(names, X.T, strict=True)), domain)
    measured = [
        LinearMeasurement(
            data.project((names[i], names[j])).datavector(), (names[i], names[j])
        )
        for i, j in tree_edges(X)
    ]
    found = {}

    def fit():
        found["model"] = estimation.MirrorDescent().estimate(
            domain, measured, known_total=len(X), iters=1000
        )

    took = seconds(fit)
    tables = []
    for triple in triples:
        clique = tuple(names[j] for j in triple)
        table = np.asarray(found["model"].project(clique).datavector())
        tables.append(table / table.sum())
    return tables, took, getattr(mbi, "__version__", "")


def tables():
    """Real tables: likelihood of test rows and three-way marginals."""
    if not FOLDER:
        return
    for name in ("adult_discrete", "acs_massachusetts"):
        X, T = read(name, pick(8000, 300), pick(4000, 200))
        sizes = (np.maximum(X.max(axis=0), T.max(axis=0)) + 1).tolist()
        triples = triples_of(sizes, pick(20, 2))
        # categories that the training rows lack would end all likelihoods
        seen = [np.isin(T[:, j], X[:, j]) for j in range(X.shape[1])]
        T = T[np.all(seen, axis=0)]
        rows = []
        for label, model in (
            ("independent columns", LatentClassModel(1, max_categories=100)),
            ("LatentClassModel", LatentClassModel(random_state=0, max_categories=100)),
            (
                "MarginalizationModel",
                MarginalizationModel(random_state=0, max_categories=100, **SHORT),
            ),
        ):
            took = seconds(lambda m=model, X=X: quietly(m.fit, X))
            cube = [full_table(model, triple, sizes) for triple in triples]
            chain = model.score_samples(T[:1000], method="chain").mean()
            total = 1.0
            if isinstance(model, MarginalizationModel):
                total = model.total_probability(random_state=0)
            rows.append(
                Row(
                    label,
                    took,
                    note=f"log-probability {model.score(T):.3f}, first 1000 by chain "
                    f"{chain:.3f} (marginal {model.score(T[:1000]):.3f}); total "
                    f"{total:.3f}; three-way "
                    f"{three_way(cube, T, triples, sizes):.4f}",
                )
            )
        took = seconds(lambda X=X, T=T, s=sizes: tree_score(X, T, s))
        rows.append(
            Row(
                "Chow-Liu tree",
                took,
                note=f"log-probability {tree_score(X, T, sizes):.3f}",
            )
        )
        half = [
            np.histogramdd(X[:, t], [np.arange(sizes[j] + 1) for j in t])[0] / len(X)
            for t in triples
        ]
        error = three_way(half, T, triples, sizes)
        rows.append(Row("training rows", 0.0, note=f"three-way {error:.4f}"))
        try:
            cube, took, version = by_mbi(X, sizes, triples)
            error = three_way(cube, T, triples, sizes)
            note = f"three-way {error:.4f}"
            rows.append(Row(f"mbi {version}, pairs of the tree", took, note=note))
        except ImportError:
            rows.append(Row("mbi is not installed", 0.0))
        print_table(f"{name}: {len(X)} rows, {len(sizes)} columns", rows, "torch")


def full_table(model, triple, sizes):
    """A three-way table with the categories that the model has not seen at zero."""
    out = np.zeros([sizes[j] for j in triple])
    place = np.ix_(*[model.categories_[j].astype(int) for j in triple])
    out[place] = model.query({}, triple)
    return out


def imputation():
    """Fraction of hidden cells found: a fifth of the cells of 2000 test rows."""
    if not FOLDER:
        return
    for name in pick(("nltcs", "mushroom", "adult_discrete"), ("mushroom",)):
        X, T = read(name, pick(4000, 300), pick(2000, 100))
        holes = np.random.default_rng(0).uniform(size=T.shape) < 0.2
        broken = T.astype(float)
        broken[holes] = np.nan
        forest = RandomForestClassifier(20, random_state=0)
        rows = []
        net = MarginalizationModel(
            random_state=0, max_categories=100, handle_unknown="missing", **SHORT
        )
        classes = LatentClassModel(
            random_state=0, max_categories=100, handle_unknown="missing"
        )
        for label, imputer in (
            ("most frequent value", SimpleImputer(strategy="most_frequent")),
            (
                "IterativeImputer, forest",
                IterativeImputer(forest, max_iter=1, initial_strategy="most_frequent"),
            ),
            ("MarginalImputer, classes", MarginalImputer(classes)),
            ("MarginalImputer, networks", MarginalImputer(net)),
            (
                "InteractionScreening, pseudolikelihood",
                Completes(
                    InteractionScreening("pseudolikelihood", handle_unknown="missing")
                ),
            ),
        ):
            took = seconds(lambda i=imputer, X=X: quietly(i.fit, X.astype(float)))
            filled = quietly(imputer.transform, broken)
            found = (np.round(filled) == T)[holes].mean()
            rows.append(Row(label, took, note=f"found {found:.3f}"))
        print_table(f"Hidden cells of {name}", rows, "torch")


class Completes:
    """An interaction model as a transformer that imputes."""

    def __init__(self, model):
        self.model = model

    def fit(self, X):
        """Fit the model."""
        self.model.fit(X)

    def transform(self, X):
        """Fill the gaps."""
        return self.model.impute(X)


if __name__ == "__main__":
    if QUICK:
        quietly(acceptance)
    else:
        run(acceptance, speed, tables, imputation)
