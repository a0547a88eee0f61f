"""The table of a gradient search, and its best row."""

import warnings
from numbers import Real
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning

_ROUNDING = 8 * np.finfo(float).eps


def tabulate(found: Any, n_splits: Any, inner_tol: Any, error_score: Any) -> Any:
    """Visited points of all combinations in the form of ``cv_results_``."""
    pairs = [
        (search, row) for search in found for row in search.evaluator.rows.values()
    ]
    rows = [row for _, row in pairs]
    params = [search.params_of(row) for search, row in pairs]
    results = {f"param_{name}": _column(params, name) for name in params[0]}
    results["params"] = params
    for kind in ("fit", "score"):
        times = np.array([getattr(row, f"{kind}_times") for row in rows])
        results[f"mean_{kind}_time"] = times.mean(axis=1)
        results[f"std_{kind}_time"] = times.std(axis=1)
    results["fit_time"] = n_splits * results["mean_fit_time"]
    results["criterion"] = np.array([_or_nan(row.value) for row in rows])
    results["objective"] = np.array([_or_nan(row.objective) for row in rows])
    results["hypergradient_norm"] = np.array(
        [
            np.linalg.norm(search.slope_of(row)) if row.error is None else np.nan
            for search, row in pairs
        ]
    )
    results["inner_tol"] = np.full(len(rows), float(inner_tol))
    results["n_inner_iter"] = np.array([row.n_inner_iter for row in rows])
    sample = next(row.scores[0] for row in rows if row.scores is not None)
    error = np.nan if error_score == "raise" else error_score
    for name in list(sample) if isinstance(sample, dict) else [None]:
        table = np.full((len(rows), n_splits), error, dtype=float)
        for i, row in enumerate(rows):
            if row.scores is not None:
                table[i] = [s if name is None else s[name] for s in row.scores]
        failed = np.array([row.scores is None for row in rows])
        results |= _scores(table, failed, "score" if name is None else name)
    return results


def _column(params: Any, name: str) -> Any:
    values = [p[name] for p in params]
    plain = all(np.ndim(v) == 0 and isinstance(v, Real) for v in values)
    column = np.empty(len(values), dtype=float if plain else object)
    for i, value in enumerate(values):
        column[i] = value
    return np.ma.MaskedArray(column, mask=np.zeros(len(values), dtype=bool))


def _scores(table: Any, failed: Any, suffix: Any) -> Any:
    """Scores by split, their mean, deviation and rank."""
    mean = table.mean(axis=1)
    found = {f"split{k}_test_{suffix}": column for k, column in enumerate(table.T)}
    found[f"mean_test_{suffix}"] = mean
    found[f"std_test_{suffix}"] = table.std(axis=1)
    # a failed point ranks last, whatever its error score
    failed = failed | np.isnan(mean)
    worst = np.min(mean[~failed], initial=0.0) - 1
    ranked = np.where(failed, worst, mean)
    ranked = np.where(_lowest(-ranked), ranked.max(initial=worst), ranked)
    ranks = rankdata(-ranked, method="min").astype(np.int32)
    return {**found, f"rank_test_{suffix}": ranks}


def row_at(found: Any, index: int) -> Any:
    """Return search and row of a line of the results."""
    pairs = [
        (search, row) for search in found for row in search.evaluator.rows.values()
    ]
    return pairs[index]


def refuse_without_rows(found: Any, error_score: Any) -> None:
    """Raise where no point could be evaluated, or one could not and may not fail."""
    rows = [row for search in found for row in search.evaluator.rows.values()]
    failed = [row.error for row in rows if row.error]
    if failed and error_score == "raise":
        raise ValueError(failed[0])
    if len(failed) == len(rows):
        raise ValueError(
            "The criterion was not finite at any evaluated point, or every fit "
            f"failed. The first reason:\n{failed[0] if failed else 'no point'}"
        )


def refuse_no_score(results: Any, metric: Any) -> None:
    """Raise where the score that decides is NaN at every point."""
    names = [
        k.removeprefix("mean_test_") for k in results if k.startswith("mean_test_")
    ]
    names = names if metric is None else [metric]
    if all(np.isnan(results[f"mean_test_{name}"]).all() for name in names):
        raise ValueError(
            f"No point has a score: every mean_test_{names[0]} is NaN, though the "
            "criterion is finite. Check scoring, which returned NaN on every fit."
        )


def warn_of_end(progress: Any, found: Any, estimator: Any) -> None:
    """Say what the user can change about the end of a search."""
    if progress.ended == "time":
        n = sum(len(search.evaluator.rows) for search in found)
        warnings.warn(
            f"The search reached time_limit={estimator.time_limit:g} s after {n} "
            "points; the best of them is kept. Increase time_limit.",
            ConvergenceWarning,
            stacklevel=4,
        )
    for search in found:
        search.warn()


def best_row(results: Any, metric: Any) -> Any:
    """Row of the lowest objective, among those that rank first by ``metric``.

    Without a metric the objective alone decides, as it must where vectors are tied:
    the best score would undo the tie. A minimum is flat to rounding, its slope is not:
    of points that rounding alone tells apart the one with the smallest slope is best.
    """
    objective = np.nan_to_num(results["objective"], nan=np.inf)
    if metric is not None:
        first = results[f"rank_test_{metric}"] == 1
        objective = np.where(first, objective, np.inf)
    slope = np.nan_to_num(results["hypergradient_norm"], nan=np.inf)
    return int(np.argmin(np.where(_lowest(objective), slope, np.inf)))


def _lowest(values: Any) -> Any:
    """Whether each value is the lowest, up to rounding."""
    lowest = np.min(values)
    return values <= lowest + _ROUNDING * abs(lowest)


def _or_nan(value: Any) -> Any:
    return value if np.isfinite(value) else np.nan
