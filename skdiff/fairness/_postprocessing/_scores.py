"""Scores of models for rows they have not seen."""

from dataclasses import fields
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold, check_cv

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import fit_inner
from skdiff._base.typing import Array
from skdiff.fairness._postprocessing._problem import FairProblem


def scores_of(model: Any, X: Any, how: str) -> Array:
    """Scores of a fitted model, larger for the second class."""
    if how == "auto":
        how = (
            "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
        )
    if not hasattr(model, how):
        raise ValueError(f"{type(model).__name__} has no method {how}.")
    values = np.asarray(getattr(model, how)(X), dtype=np.float64)
    if values.ndim == 2:
        if values.shape[1] != 2:
            raise ValueError(
                f"{type(model).__name__} gives {values.shape[1]} columns for two "
                "classes."
            )
        values = values[:, 1]
    if not np.isfinite(values).all():
        raise ValueError(f"{type(model).__name__} gives scores that are not finite.")
    return values


def plain_problem(problem: FairProblem) -> dict[str, Any]:
    """The problem as plain values, which a file can hold."""
    parts = {field.name: getattr(problem, field.name) for field in fields(problem)}
    return {**parts, "hulls": tuple(tuple(hull) for hull in problem.hulls)}


def held_out_scores(
    model: Any, X: Any, y: Any, weight: Any, split: tuple[Any, Any], how: str
) -> Array:
    """Fit on the training rows of a fold; scores of its other rows."""
    train, test = split
    part = None if weight is None else weight[train]
    fitted = fit_inner(model, safe_indexing(X, train), y[train], weight=part)
    return scores_of(fitted, safe_indexing(X, test), how)


def folds(cv: Any, y: Any, random_state: Any) -> list[tuple[Any, Any]]:
    """Return the splits, each with both classes among its training rows."""
    if isinstance(cv, int | np.integer):
        fewest = int(np.unique(y, return_counts=True)[1].min())
        if fewest < 2:
            raise ValueError(
                "The least populated class in y has only 1 member, which is too few "
                "for cross-fitted scores."
            )
        seed = int(random_state.randint(2**31 - 1))
        cv = StratifiedKFold(min(int(cv), fewest), shuffle=True, random_state=seed)
    rows = np.zeros((len(y), 1))
    splits = list(check_cv(cv, y, classifier=True).split(rows, y))
    for k, (train, _) in enumerate(splits):
        if len(np.unique(y[train])) < 2:
            raise ValueError(
                f"A class is missing from the training rows of fold {k}. Use "
                "stratified folds, or fewer of them."
            )
    return splits
