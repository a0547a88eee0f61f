"""PreprocessingLeakageAudit: the published examples, real tables, and cost.

No package measures this bias; the peer in time is scikit-learn's cross_val_score of the
pipeline and of the prepared rows, which is what one would write by hand.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks._leaks import (
    errors,
    norm_selection,
    rare_categories,
    variance_selection,
)
from skdiff.model_evaluation import PreprocessingLeakageAudit

EXAMPLES = (
    (norm_selection, "t", ((10, 10), (20, 20), (40, 40))),
    (norm_selection, "normal", ((5, 5), (10, 10))),
    (variance_selection, "t", ((20, 20), (40, 40), (60, 60))),
    (variance_selection, "normal", ((20, 20), (40, 40), (60, 60))),
    (rare_categories, None, ((20, 20), (40, 40), (80, 80), (40, 1), (80, 1))),
)


def examples():
    """Mean squared errors: leaked, of the same model on fresh rows, and inside."""
    repeats = pick(2000, 20)
    print(f"\n{repeats} repetitions: leaked | fresh rows | inside (standard errors)")
    for example, tails, sizes in EXAMPLES:
        for n, m in sizes:
            found = errors(example, n, m, tails, repeats)
            mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(repeats)
            text = " | ".join(
                f"{a:.4g} ({b:.2g})" for a, b in zip(mean, error, strict=True)
            )
            print(f"{example.__name__:18s} {tails!s:6s} n = {n:2d}, m = {m:2d}: {text}")


def tables():
    """Real tables by name; those outside scikit-learn need SKDIFF_DATA."""
    yield "diabetes", load_diabetes(return_X_y=True, as_frame=True)
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        return
    sys.path.insert(0, folder)
    from load import load

    for name in ("adult", "bank_marketing", "credit_default", "kin8nm", "concrete"):
        yield name, load(name, return_X_y=True)


def real():
    """Bias of usual steps, each alone, on small samples of real tables."""
    n, repeats = pick((100, 8), (60, 2))
    print(f"\n{n} rows: bias of steps outside [interval] of the score inside")
    warnings.simplefilter("ignore")
    for name, (X, y) in tables():
        rows = np.random.default_rng(0).choice(len(y), n, replace=False)
        X, y = X.iloc[rows], np.asarray(y)[rows]
        regression = y.dtype.kind == "f"
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        text = OneHotEncoder(min_frequency=3, handle_unknown="infrequent_if_exist")
        text.set_params(sparse_output=False)
        select = make_column_selector(dtype_include="number")
        other = make_column_selector(dtype_exclude="number")
        pipeline = make_pipeline(
            make_column_transformer((numbers, select), (text, other)),
            PCA(5),
            Ridge() if regression else LogisticRegression(max_iter=1000),
        )
        audit = PreprocessingLeakageAudit(
            pipeline,
            n_repeats=repeats,
            scoring="r2" if regression else "neg_log_loss",
            random_state=0,
        ).fit(X, y)
        parts = "  ".join(
            "{} {:+.4f} [{:+.4f}, {:+.4f}]".format(
                step, bias, *audit.per_step_interval_[step]
            )
            for step, bias in audit.per_step_bias_.items()
        )
        low, high = audit.bias_interval_
        print(
            f"{name:15s} both {audit.bias_:+.4f} [{low:+.4f}, {high:+.4f}] of "
            f"{audit.inside_scores_.mean():.3f}  {parts}"
        )


def cost():
    """Seconds of an audit, and of the same scores by hand."""
    X, y = load_breast_cancer(return_X_y=True)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=pick(4, 1), random_state=0)
    prepare = make_pipeline(StandardScaler(), PCA(5))
    pipeline = make_pipeline(StandardScaler(), PCA(5), LogisticRegression())
    audit = PreprocessingLeakageAudit(
        pipeline, cv=folds, steps=["standardscaler", "pca"], random_state=0
    )

    def by_hand():
        cross_val_score(pipeline, X, y, cv=folds)
        cross_val_score(pipeline[-1], prepare.fit_transform(X), y, cv=folds)
        for step in pipeline[:-1]:  # one step at a time
            cross_val_score(pipeline, step.fit_transform(X), y, cv=folds)

    best = interleaved({"ours": lambda: audit.fit(X, y), "hand": by_hand})
    note = "the audit also looks for supervised steps and fits to all rows"
    row = Row("breast cancer, two steps", best["ours"], best["hand"], "by hand")
    row.note = note
    print_table("PreprocessingLeakageAudit", [row])


if __name__ == "__main__":
    run(cost, examples, real)
