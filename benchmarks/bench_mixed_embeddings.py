"""MixedEmbedding*: their cost, and learned sizes against uniform ones and other models.

Parts: ``cost`` (a whole fit by one uniform training, in seconds), ``ratings`` (made
ratings whose popular users and items have more dimensions), ``tables`` (AUC and numbers
in the table of vectors beside a uniform size, the largest size of the rule of thumb
min(50, (c + 1) / 2), ``MLPClassifier`` on one-hot columns and boosted trees),
``encoder`` (:class:`MixedEmbeddingEncoder` before boosted trees, against target and
one-hot columns). The last two read tables from the folder ``SKDIFF_DATA``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, best_of, pick, print_table, run  # isort: skip

import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from benchmarks._cell_tables import folder, frame
from skdiff.architecture_search import (
    MixedEmbeddingClassifier,
    MixedEmbeddingEncoder,
    MixedEmbeddingRegressor,
)

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
            rows.append(Row(label, whole, limit=alone, target="4", note=note))
    print_table(f"fit, {len(X)} ratings; limit: uniform training", rows, "torch")


def ratings():
    """Errors and numbers on ratings whose true ranks fall with popularity."""
    n = pick(40_000, 2000)
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    for seed in range(pick(2, 1)):
        X, y = made_ratings(seed, n)
        cut = n * 4 // 5
        print(f"\nmade ratings, seed {seed}: test RMSE, numbers, sizes")
        for label, more in (
            *((f"keep {k}", {"keep_fraction": k}) for k in (0.25,)),
            *(
                (
                    f"uniform {d}, decay {a}",
                    {**UNIFORM, "max_embedding_dim": d, "alpha": a},
                )
                for d in (4, 16)
                for a in (1e-4, 3e-4)
            ),
        ):
            how = {"interaction": "mf", "random_state": 0, **quick, **more}
            model = MixedEmbeddingRegressor(**how).fit(X[:cut], y[:cut])
            error = np.sqrt(np.mean((model.predict(X[cut:]) - y[cut:]) ** 2))
            sizes = {k: v.tolist() for k, v in model.embedding_sizes_.items()}
            print(f"  {label:24}{error:.4f}{model.n_embedding_params_:8}  {sizes}")


def binary(name, n, seed):
    """A table with a binary target, and where the test rows begin."""
    X, y = frame(name, n, seed)
    return X, (y == np.unique(y)[-1]).astype(int)


TABLES = ("adult", "bank_marketing", "hflights_2011")


def largest_by_rule(X):
    """Largest size by the rule of thumb min(50, (c + 1) / 2)."""
    counts = [X[c].nunique() for c in X.columns if X[c].dtype == "category"]
    return max(min(50, (c + 1) // 2) for c in counts)


def tables():
    """Learned sizes against uniform ones, the rule of thumb and other models."""
    if not folder():
        return
    n = pick(4000, 400)
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    dense = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        remainder=StandardScaler(),
    )
    for name in TABLES:
        print(f"\n{name}, {n // 2} training rows: test AUC of each seed, numbers")
        models = {
            "learned, auto": MixedEmbeddingClassifier(random_state=0, **quick),
            "learned, a quarter": MixedEmbeddingClassifier(
                keep_fraction=0.25, random_state=0, **quick
            ),
            "uniform 16": MixedEmbeddingClassifier(random_state=0, **UNIFORM, **quick),
            "uniform 4": MixedEmbeddingClassifier(
                max_embedding_dim=4, random_state=0, **UNIFORM, **quick
            ),
            "rule of thumb": None,
            "MLPClassifier": make_pipeline(
                dense, MLPClassifier((64, 32), early_stopping=True, random_state=0)
            ),
            "boosted trees": HistGradientBoostingClassifier(
                categorical_features="from_dtype", random_state=0
            ),
        }
        for label, model in models.items():
            scores, numbers = [], 0
            for seed in range(1):
                X, y = binary(name, n, seed)
                if label == "rule of thumb":
                    size = largest_by_rule(X)
                    model = MixedEmbeddingClassifier(
                        max_embedding_dim=size, random_state=0, **UNIFORM, **quick
                    )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X[: n // 2], y[: n // 2])
                p = model.predict_proba(X[n // 2 :])[:, 1]
                scores.append(roc_auc_score(y[n // 2 :], p))
                numbers = getattr(model, "n_embedding_params_", 0)
            shown = " ".join(f"{s:.4f}" for s in scores)
            print(f"  {label:22}{shown}{numbers:8}")


def encoder():
    """Boosted trees after three encodings of the categorical columns."""
    if not folder():
        return
    n = pick(4000, 400)
    quick = pick({}, {"max_iter": 3, "search_max_iter": 2})
    for name in TABLES:
        print(f"\n{name}, {n // 2} training rows: test AUC of boosted trees after")
        for label, step in (
            ("MixedEmbeddingEncoder", MixedEmbeddingEncoder(random_state=0, **quick)),
            ("TargetEncoder", TargetEncoder()),
            (
                "OneHotEncoder",
                OneHotEncoder(
                    handle_unknown="ignore", sparse_output=False, max_categories=100
                ),
            ),
        ):
            scores = []
            for seed in range(1):
                X, y = binary(name, n, seed)
                columns = make_column_transformer(
                    (step, CATEGORIES), remainder="passthrough"
                )
                model = make_pipeline(
                    columns, HistGradientBoostingClassifier(random_state=0)
                )
                model.fit(X[: n // 2], y[: n // 2])
                p = model.predict_proba(X[n // 2 :])[:, 1]
                scores.append(roc_auc_score(y[n // 2 :], p))
            print(f"  {label:22}" + " ".join(f"{s:.4f}" for s in scores))


if __name__ == "__main__":
    run(cost, ratings, tables, encoder)
