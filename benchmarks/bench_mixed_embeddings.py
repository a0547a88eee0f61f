"""MixedEmbedding*: their cost, and learned sizes against uniform ones and other models.

Parts: ``cost`` (a whole fit by one uniform training, in seconds), ``ratings`` (made
ratings whose popular users and items have more dimensions), ``tables`` (AUC and numbers
in the table of vectors beside uniform sizes, sizes by the rule of thumb
min(50, (c + 1) // 2) of each column, ``MLPClassifier`` and logistic regression on
one-hot columns, and boosted trees), ``encoder`` (:class:`MixedEmbeddingEncoder` before
boosted trees, against target and one-hot columns), ``choice`` (what is lost by training
on from the search, and by rules of ``keep_fraction="auto"``). The last three read
tables from the folder ``SKDIFF_DATA``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, best_of, pick, print_table, run  # isort: skip

import json
import warnings
from dataclasses import replace
from itertools import product
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from benchmarks._cell_tables import LEFT_OUT, folder
from skdiff.architecture_search import (
    MixedEmbeddingClassifier,
    MixedEmbeddingEncoder,
    MixedEmbeddingRegressor,
)
from skdiff.architecture_search._embeddings import _search
from skdiff.architecture_search._embeddings._blocks import keep_dimensions

UNIFORM = {"n_frequency_blocks": 1, "keep_fraction": 1.0}
CATEGORIES = make_column_selector(dtype_include="category")


def made_ratings(seed, n=40_000):
    """Ratings whose popular users and items have more dimensions."""
    rng = np.random.default_rng(seed)
    sides = []
    for size, power, spread in ((800, 0.8, 0.3), (500, 1.0, 0.4)):
        dims = np.repeat([12, 3, 0], [size // 10, size // 2 - size // 10, size // 2])
        factors = rng.normal(0, 0.55, (size, 12)) * (np.arange(12) < dims[:, None])
        chance = np.arange(1, size + 1.0) ** -power
        codes = rng.choice(size, n, p=chance / chance.sum())
        sides.append((codes, factors[codes], rng.normal(0, spread, size)[codes]))
    (u, U, a), (i, V, b) = sides
    y = 3.5 + a + b + (U * V).sum(axis=1) + rng.normal(0, 0.7, n)
    return pd.DataFrame({"user": pd.Categorical(u), "item": pd.Categorical(i)}), y


def cost():
    """A whole fit against one uniform training."""
    X, y = made_ratings(0, pick(40_000, 2000))
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    rows = []
    for interaction in ("mf", "mlp", "deepfm"):
        how = {"interaction": interaction, "random_state": 0, **quick}
        uniform = MixedEmbeddingRegressor(**how, **UNIFORM)
        alone = best_of(lambda m=uniform: m.fit(X, y), repeats=1, warmup=0)
        for label, more in (
            ("keep a quarter", {"keep_fraction": 0.25}),
            ("auto", {}),
            ("order 2", {"keep_fraction": 0.25, "order": 2}),
        ):
            model = MixedEmbeddingRegressor(**how, **more)
            whole = best_of(lambda m=model: m.fit(X, y), repeats=1, warmup=0)
            note = f"{whole / alone:.1f} times one uniform training"
            label = f"{interaction}, {label}"
            peer = {"peer": alone, "peer_name": "one uniform training"}
            rows.append(Row(label, whole, **peer, target=".25x", note=note))
    print_table(f"fit, {len(X)} ratings", rows, "torch")


def ratings():
    """Errors and numbers on ratings whose true ranks fall with popularity.

    The learned model has its defaults. The uniform ones have the decay and the step
    size that turn out best on the test rows: a generous rival.
    """
    n = pick(40_000, 2000)
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    decays, rates = pick(((1e-4, 3e-4), (0.005, 0.01)), ((1e-4,), (0.01,)))
    ratios = {}
    print("\nmade ratings: test RMSE, and numbers")
    for seed in range(10, pick(20, 12)):
        X, y = made_ratings(seed, n)
        cut = n * 4 // 5

        def error(X=X, y=y, cut=cut, seed=seed, **more):
            how = {"interaction": "mf", "random_state": seed, **quick, **more}
            model = MixedEmbeddingRegressor(**how).fit(X[:cut], y[:cut])
            errors = model.predict(X[cut:]) - y[cut:]
            return np.sqrt(np.mean(errors**2)), model.n_embedding_params_

        learned = {k: error(keep_fraction=k) for k in (0.25, "auto")}
        uniform = {
            size: min(
                error(max_embedding_dim=size, alpha=a, learning_rate_init=r, **UNIFORM)
                for a, r in product(decays, rates)
            )
            for size in pick((4, 8, 12, 16), (4, 16))
        }
        shown = [f"keep {k} {e:.4f} {m}" for k, (e, m) in learned.items()]
        shown += [f"uniform {k} {e:.4f} {m}" for k, (e, m) in uniform.items()]
        print(f"  seed {seed}: " + ", ".join(shown), flush=True)
        for (k, (e, _)), rival in product(learned.items(), ("size 4", "best")):
            least = uniform[4] if rival == "size 4" else min(uniform.values())
            ratios.setdefault((k, rival), []).append(e / least[0])
    for (k, rival), found in ratios.items():
        print(f"  keep {k} by uniform, {rival}: {mean_and_error(found)}")


def mean_and_error(values):
    """Mean and standard error in words."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.4f} +- {error:.4f}"


TABLES = ("adult", "bank_marketing", "hflights_2011", "credit_default", "criteo_tiny")
# codes of months of delay, which the manifest takes for numbers
CODES = {"credit_default": [f"pay_{k}" for k in (0, 2, 3, 4, 5, 6)]}


def binary(name, n, seed):
    """Random rows of a table with a binary target; numbers that are missing are filled.

    The columns that the manifest calls categorical are, and those of codes.
    """
    entries = json.loads((folder() / "MANIFEST.json").read_text())["datasets"]
    entry = next(e for e in entries if e["name"] == name)
    path = folder() / f"{name}.csv.gz"
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    table = table.sample(min(n, len(table)), random_state=seed).reset_index(drop=True)
    X = table.drop(columns=[entry["target"], *LEFT_OUT.get(name, [])])
    for column in X.columns:
        if column in [*entry["categorical"], *CODES.get(name, [])]:
            X[column] = pd.Categorical(X[column].map(str, na_action="ignore"))
        else:
            X[column] = X[column].fillna(X[column].median())
    return X, (table[entry["target"]] == 1).astype(int).to_numpy()


def training_rows(X):
    """How many of the rows are trained on; the others are for the test."""
    return min(pick(2000, 400), len(X) * 3 // 5)


def auc(model, X, y, cut):
    """Test AUC of a model trained on the first rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:cut], y[:cut])
    return roc_auc_score(y[cut:], model.predict_proba(X[cut:])[:, 1])


class RuleOfThumb(MixedEmbeddingClassifier):
    """Each column has min(50, (c + 1) // 2) dimensions for its c categories."""

    def _dims(self):
        sizes = [len(c) for c in self._columns()["categories_"]]
        return np.minimum(50, (np.array(sizes) + 1) // 2)

    def _blocks(self, table):
        return replace(super()._blocks(table), dims=self._dims())


def trees(n_categorical):
    """Boosted trees, which take 255 categories a column at most."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=250,
    )
    columns = make_column_transformer((codes, CATEGORIES), remainder="passthrough")
    return make_pipeline(
        columns,
        HistGradientBoostingClassifier(
            categorical_features=np.arange(n_categorical), random_state=0
        ),
    )


def rivals(n_categorical, seed):
    """All models of one row of the table, by name."""
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    how = {"random_state": seed, **quick}
    one_hot = OneHotEncoder(handle_unknown="ignore")
    dense = make_column_transformer((one_hot, CATEGORIES), remainder=StandardScaler())
    network = MLPClassifier((64, 32), early_stopping=True, random_state=seed)
    return {
        "learned, auto": MixedEmbeddingClassifier(**how),
        "learned, a quarter": MixedEmbeddingClassifier(keep_fraction=0.25, **how),
        "uniform 16": MixedEmbeddingClassifier(**how, **UNIFORM),
        "uniform 4": MixedEmbeddingClassifier(max_embedding_dim=4, **how, **UNIFORM),
        "rule of thumb": RuleOfThumb(**how, **UNIFORM),
        "MLPClassifier, one-hot": make_pipeline(dense, network),
        "boosted trees": trees(n_categorical),
        "logistic, one-hot": make_pipeline(dense, LogisticRegression(max_iter=1000)),
    }


def tables():
    """Learned sizes against uniform ones, the rule of thumb and other models."""
    if not folder():
        return
    for name in TABLES:
        scores, numbers = {}, {}
        for seed in range(20, pick(25, 22)):
            X, y = binary(name, pick(6000, 600), seed)
            cut = training_rows(X)
            n_categorical = int((X.dtypes == "category").sum())
            for label, model in rivals(n_categorical, seed).items():
                scores.setdefault(label, []).append(auc(model, X, y, cut))
                size = getattr(model, "n_embedding_params_", 0)
                numbers.setdefault(label, []).append(size)
        n_seeds = len(scores["uniform 16"])
        print(
            f"\n{name}, {cut} training and {len(X) - cut} test rows, {n_seeds} seeds:"
        )
        print("test AUC, its difference to uniform 16, mean of the numbers")
        for label, found in scores.items():
            lead = np.subtract(found, scores["uniform 16"])
            shown = f"{mean_and_error(found)}   {mean_and_error(lead)}"
            print(f"  {label:24}{shown}{np.mean(numbers[label]):8.0f}", flush=True)


def encoder():
    """Boosted trees after three encodings of the categorical columns."""
    if not folder():
        return
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    for name in TABLES:
        scores = {}
        for seed in range(20, pick(25, 22)):
            X, y = binary(name, pick(6000, 600), seed)
            cut = training_rows(X)
            one_hot = OneHotEncoder(
                handle_unknown="ignore", sparse_output=False, max_categories=100
            )
            for step in (
                MixedEmbeddingEncoder(random_state=seed, **quick),
                TargetEncoder(random_state=seed),
                one_hot,
            ):
                columns = make_column_transformer(
                    (step, CATEGORIES), remainder="passthrough"
                )
                last = HistGradientBoostingClassifier(random_state=0)
                found = auc(make_pipeline(columns, last), X, y, cut)
                scores.setdefault(type(step).__name__, []).append(found)
        print(f"\n{name}, {cut} training rows: test AUC of boosted trees after")
        for label, found in scores.items():
            print(f"  {label:24}{mean_and_error(found)}", flush=True)


class EveryFraction:
    """Stands in for the stages: keeps what each fraction and each start would give."""

    def __init__(self):
        self.found, self.rows, self.next = {}, {}, None

    def __call__(self, module, train, held, how, choice, blocks, history):
        """Return the start asked for; the first call computes all."""
        if self.next is None:
            self._compute(module, train, held, how, choice, blocks)
            self.next = UNIFORM_16
        return self.found[self.next]

    def _compute(self, module, train, held, how, choice, blocks):
        """Train from the first weights and from those of the search."""
        starts = {"first": weights(module)}

        def trained(origin, fraction, mask):
            _search.restart(module, starts[origin], mask)
            start = {name: t.numpy() for name, t in weights(module).items()}
            best = _search.descend(module, train, held, how, lambda *_: None)
            rows = _search.row_losses(module, held, how.row_loss)
            ones = np.ones((blocks.n_blocks, mask.shape[1]))
            found = _search.Found(mask, ones, start, best.rates, fraction, {})
            self.rows[origin, fraction], self.found[origin, fraction] = rows, found

        trained(*UNIFORM_16, blocks.allowed)
        _search.search(module, train, held, how, choice, lambda *_: None)
        folded = module.fold().clone()
        starts["search"] = {**weights(module), "table": folded}
        trained("search", 1.0, blocks.allowed)
        for fraction, origin in product(_search.FRACTIONS, ("search", "first")):
            mask = keep_dimensions(folded.double().numpy(), blocks, fraction)
            trained(origin, fraction, mask)

    def halved(self, origin, errors, lowest):
        """Where a rule stops that allows some standard errors above a loss."""
        kept, least = UNIFORM_16, self.rows[UNIFORM_16]
        for fraction in _search.FRACTIONS:
            rows = self.rows[origin, fraction]
            lost = rows - least
            if lost.mean() > errors * lost.std(correction=0) / np.sqrt(len(lost)):
                break
            kept = origin, fraction
            if lowest and rows.mean() < least.mean():
                least = rows
        return kept


def weights(module):
    """A copy of the weights."""
    return {name: t.detach().clone() for name, t in module.state_dict().items()}


UNIFORM_16 = "first", 1.0
RULES = {
    f"{errors:g} errors above the {name}, from {origin}": (origin, errors, lowest)
    for origin in ("search", "first")
    for name, lowest in (("whole", False), ("lowest", True))
    for errors in (1.0, 0.5, 0.25, 0.0)
}


def choice():
    """What starts and rules lose against the uniform size of 16."""
    if not folder():
        return
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    for seeds in (range(5), range(10, 15)):
        leads, kept = {}, {}
        for name, seed in product(TABLES, seeds[: pick(5, 1)]):
            X, y = binary(name, pick(6000, 600), seed)
            cut, every = training_rows(X), EveryFraction()
            model = MixedEmbeddingClassifier(random_state=seed, **quick)
            with mock.patch.object(_search, "find", every):
                scores = {UNIFORM_16: auc(model, X, y, cut)}
                for key in list(every.found)[1:]:
                    every.next = key
                    scores[key] = auc(model, X, y, cut)
            chosen = {f"{k:g} of all, from {o}": (o, k) for o, k in scores}
            chosen |= {label: every.halved(*rule) for label, rule in RULES.items()}
            for label, key in chosen.items():
                lead = scores[key] - scores[UNIFORM_16]
                leads.setdefault(label, {}).setdefault(name, []).append(lead)
                kept.setdefault(label, []).append(key[1])
        print(
            f"\n{seeds}: test AUC less that of uniform 16; kept; by table", flush=True
        )
        for label, by_table in leads.items():
            means = [np.mean(found) for found in by_table.values()]
            shown = " ".join(f"{m:+.4f}" for m in means)
            first = f"{np.mean(means):+.4f} {np.mean(kept[label]):.2f}"
            print(f"  {label:40}{first}  {shown}", flush=True)


if __name__ == "__main__":
    run(cost, ratings, tables, encoder, choice)
