"""Scores of several models on the same train and test splits."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import (
    RepeatedKFold,
    RepeatedStratifiedKFold,
    check_cv,
    cross_validate,
)
from sklearn.utils import check_random_state, indexable

from skdiff._base.inner import seeded
from skdiff._base.typing import Array
from skdiff._base.validation import refuse_dates, refuse_foreign_arrays


class Design(NamedTuple):
    """How models are trained and scored, beside the models and the rows."""

    cv: Any = None
    scoring: Any = None
    groups: Any = None
    params: Mapping[str, Any] | None = None
    n_jobs: int | None = None
    random_state: Any = None
    notify: Callable[[int, Array], None] | None = None  # of each model that is scored


class SplitScores(NamedTuple):
    """Scores on common splits, and the mean sizes of both parts."""

    scores: Array  # (n_models, n_splits)
    n_train: float
    n_test: float


def check_data(X: Any, y: Any, groups: Any = None) -> tuple[Any, Any, Any]:
    """Refuse what no model can be scored on; X stays as it came."""
    if X is None or y is None:
        raise ValueError("Estimators are compared on rows: X and y must be given.")
    for name, values in (("X", X), ("y", y)):
        refuse_foreign_arrays(values, name)
    if not hasattr(X, "columns"):
        refuse_dates(X)
    X = X if hasattr(X, "shape") else np.asarray(X)
    X, y, groups = indexable(X, y, groups)
    return X, y, groups


def check_models(models: Any) -> None:
    """Refuse what is no estimator, and classifiers beside regressors."""
    for model in models:
        if not hasattr(model, "fit") or isinstance(model, type):
            raise TypeError(
                f"A model must be an estimator instance with fit. Got {model!r}."
            )
    if len({is_classifier(model) for model in models}) > 1:
        raise ValueError("Classifiers cannot be compared with regressors.")


def common_splits(models: Any, X: Any, y: Any, design: Design, rng: Any) -> list[Any]:
    """Splits that all models share; five times five folds where none are given."""
    classifier = is_classifier(models[0])
    cv = design.cv
    if cv is None and design.groups is None:
        repeated = RepeatedStratifiedKFold if classifier else RepeatedKFold
        cv = repeated(n_splits=5, n_repeats=5, random_state=rng.randint(2**31 - 1))
    cv = check_cv(cv, y, classifier=classifier)
    if design.groups is None:
        return list(cv.split(X, y))
    return list(cv.split(X, y, groups=design.groups))


def score_splits(models: Any, X: Any, y: Any, design: Design) -> SplitScores:
    """Train and score every model on the same splits."""
    check_models(models)
    X, y, groups = check_data(X, y, design.groups)
    rng = check_random_state(design.random_state)
    splits = common_splits(models, X, y, design._replace(groups=groups), rng)
    if len(splits) < 2:
        raise ValueError("At least two splits are needed to estimate a variance.")
    scores = []
    for k, model in enumerate(models):
        scores.append(one_model(model, X, y, splits, design, rng))
        if design.notify is not None:
            design.notify(k, scores[-1])
    sizes = np.mean([[_count(part, len(y)) for part in split] for split in splits], 0)
    return SplitScores(np.array(scores), float(sizes[0]), float(sizes[1]))


def _count(rows: Any, n: int) -> int:
    rows = np.asarray(rows)
    return int(rows.sum()) if rows.dtype == bool else len(rows)


def one_model(
    model: Any, X: Any, y: Any, splits: Any, design: Design, rng: Any
) -> Array:
    """Test scores of one model, which is cloned."""
    model = seeded(model, rng)
    found = cross_validate(
        model,
        X,
        y,
        cv=splits,
        scoring=check_scoring(model, scoring=design.scoring),
        n_jobs=design.n_jobs,
        params=dict(design.params) if design.params else None,
        error_score="raise",
    )
    scores: Array = np.asarray(found["test_score"], dtype=np.float64)
    if not np.all(np.isfinite(scores)):
        raise ValueError(
            f"Scores of {type(model).__name__} are not finite on some splits; a test "
            "part may lack a class."
        )
    return scores
