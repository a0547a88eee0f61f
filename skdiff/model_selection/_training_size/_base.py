"""What the fits of a learning curve are given, and what a comparison gives."""

from typing import NamedTuple

import numpy as np

from skdiff._base.compat import (
    check_method_params,
    check_sample_weight,
    safe_indexing,
)


class CurveComparison(NamedTuple):
    """Where the predicted scores of two estimators cross, and who leads at a size.

    Attributes
    ----------
    crossing_size : float
        Largest training size at which the lead changes; ``inf`` where it never does.
    probability : float
        Probability that the other estimator has the higher score at ``n_samples``.
    n_samples : float
        That size.
    """

    crossing_size: float
    probability: float
    n_samples: float


def present(X, y, groups, params):
    """Rows of positive weight, and what has one entry per row cut to them."""
    params = {k: v for k, v in params.items() if v is not None}
    params = check_method_params(X, params=params)
    weight = params.get("sample_weight")
    if weight is None:
        return X, y, groups, params
    weight = check_sample_weight(weight, np.empty((len(weight), 1)))
    params["sample_weight"] = weight
    if np.all(weight > 0):
        return X, y, groups, params
    rows = np.flatnonzero(weight > 0)
    params = check_method_params(X, params=params, indices=rows)
    groups = None if groups is None else safe_indexing(groups, rows)
    return safe_indexing(X, rows), safe_indexing(y, rows), groups, params


def largest_score(scorer, scores):
    """Zero for negated losses, one for scores up to one, none otherwise."""
    if getattr(scorer, "_sign", 1) < 0 and scores.max() <= 0:
        return 0.0
    return 1.0 if scores.max() <= 1 else np.inf
