"""Scores of the best point by fits from other seeds, where solutions are not unique.

A search over networks picks the point whose fits happened to do best. What it found is
worth what another fit at that point is worth: the last fit on all rows is one. Vicol et
al. (2022, arXiv 2212.14032) show how far apart the two can lie.
"""

import copy
import warnings
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skdiff.model_selection._gradient._evaluate import FAULTS


def reseeded_scores(search: Any, row: Any, n_jobs: Any) -> Any:
    """Scores of each fold by a fit from a seed of its own.

    The seeds follow from the estimator's: with an integer they are the same each time.
    """
    own = getattr(search.parts.last, "random_state", None)
    rng = check_random_state(copy.deepcopy(own))
    folds = []
    for fold in search.folds:
        again = copy.copy(fold)
        again.problem = fold.problem.fresh(rng)
        folds.append(again)
    evaluator = search.evaluator
    if evaluator.slow and effective_n_jobs(n_jobs) > 1:
        return Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(evaluator.score_cold)(fold, row.values) for fold in folds
        )
    return [evaluator.score_cold(fold, row.values) for fold in folds]


def compare_reseeded(search: Any, row: Any, metric: Any, n_jobs: Any) -> Any:
    """Return ``search_score_`` and ``refit_score_``, and the text of a warning.

    ``metric`` names the score among several; None for the only one.
    """
    if all(fold.problem.warm for fold in search.folds):
        return {}, None
    seen = _numbers(row.scores, metric)
    try:
        again = _numbers(reseeded_scores(search, row, n_jobs), metric)
    except FAULTS as fault:
        again = np.full(len(seen), np.nan)
        reason = f"a fit failed: {fault}"
    else:
        reason = "a score is not finite"
    found = {"search_score_": float(seen.mean()), "refit_score_": float(again.mean())}
    text = f"The best point scored {found['search_score_']:.6g} in the search"
    if not np.isfinite(found["refit_score_"]):
        return found, f"{text}, but has no score from other seeds: {reason}."
    gap = abs(found["refit_score_"] - found["search_score_"])
    # one fold has no standard error to judge by
    error = np.std(seen, ddof=1) / np.sqrt(len(seen)) if len(seen) > 1 else np.inf
    if gap <= 2 * error:
        return found, None
    return found, (
        f"{text} and {found['refit_score_']:.6g} by fits from other seeds: more than "
        f"two standard errors of the folds ({error:.2g} each) lie between, "
        "which is seed-to-seed variance. Report refit_score_; more epochs or more "
        "decay make fits less a matter of their start."
    )


def warn_of_seeds(text: Any) -> None:
    """Say what :func:`compare_reseeded` found, if anything."""
    if text is not None:
        warnings.warn(text, ConvergenceWarning, stacklevel=4)


def _numbers(scores: Any, metric: Any) -> Any:
    return np.array([s if metric is None else s[metric] for s in scores], dtype=float)
