"""Scores of the best point by the estimator's own fits, where those are less exact.

The search minimises the exact training problems. An estimator that stops at a loose
``tol`` returns another model, and that is the one fitted on all rows at the end.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skdiff.model_selection._gradient._combination import CombinationSearch
from skdiff.model_selection._gradient._criteria import raw_prediction
from skdiff.model_selection._gradient._evaluate import Row

_SAME, _WARN = 3e-3, 1e-2  # relative difference of the criterion on a fold


def fits_exactly(search: CombinationSearch) -> bool:
    """Whether the estimator's fits are as exact as the search, as it declares."""
    exact = search.translate.exact_fit
    return exact or all(fold.problem.exact_fit for fold in search.folds)


def gap_of_own_fit(search: CombinationSearch, row: Row) -> float:
    """Relative difference of the criterion on the first fold by an own fit."""
    fold, evaluator = search.folds[0], search.evaluator
    point = evaluator.solve(fold, row.theta, row.values)
    searched = evaluator.measure(fold, point.raw)[0]
    model = search.fitted_fold(fold, row.values)
    own = evaluator.measure_outputs(fold, raw_prediction(model, fold.X_test))[0]
    return abs(own - searched) / max(abs(own), abs(searched), 1e-300)


def score_own_fits(search: CombinationSearch, row: Row, scorer: Any) -> Row:
    """Put the scores of own fits on every fold in the place of the exact ones."""
    scores = [
        scorer(
            search.fitted_fold(fold, row.values),
            fold.X_test,
            fold.y_test,
            **fold.score_params,
        )
        for fold in search.folds
    ]
    found = row._replace(scores=scores)
    search.evaluator.rows[np.asarray(row.theta, dtype=float).tobytes()] = found
    return found


def warn_of_tolerance(search: CombinationSearch, gap: float) -> None:
    """Say that the fits stop early, and what to change."""
    if gap > _WARN:
        last = search.parts.last
        tol = getattr(last, "tol", None)
        at = "its own tolerance" if tol is None else f"tol={tol:g}"
        warnings.warn(
            f"At the best point the fit of {type(last).__name__} stops at {at} before "
            "it reaches the minimum that was searched: the criterion of a fold differs "
            f"by {gap:.0%}. The scores of that point are those of the estimator's own "
            "fits. Decrease tol, and raise max_iter where it is reached.",
            ConvergenceWarning,
            stacklevel=4,
        )


def differs(gap: float) -> bool:
    """Whether scores have to be those of the estimator's own fits."""
    return gap > _SAME
