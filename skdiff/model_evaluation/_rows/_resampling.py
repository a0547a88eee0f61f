"""Paired bootstrap and permutation tests for any metric of the predictions.

A metric that is a mean over rows needs the differences of the rows alone; every other
metric is computed anew for each resample.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sklearn.utils import check_array, check_consistent_length, check_random_state

from skdiff._base.typing import Array
from skdiff._base.validation import refuse_dates, refuse_foreign_arrays
from skdiff.model_evaluation._results import (
    TestResult,
    check_inference,
    check_number,
    magnitude,
)
from skdiff.model_evaluation._rows._correct import is_continuous

#: rows on which both predictions differ, up to which all swaps are enumerated
EXACT = 12
_CHUNK = 2_000_000
_FEW_VALUES = 32

ROW_SCORES: dict[str, Callable[[Any, Any], Array]] = {
    "accuracy": lambda y, p: np.asarray(y == p, dtype=np.float64),
    "neg_mean_squared_error": lambda y, p: -((y - p) ** 2),
    "neg_mean_absolute_error": lambda y, p: -np.abs(y - p),
}


class Pair(NamedTuple):
    """Outcomes and the predictions of two models."""

    y: Any
    a: Any
    b: Any

    def gap(self, metric: Callable[[Any, Any], float], rows: Any) -> float:
        """Score of the first model minus that of the second on some rows."""
        y = self.y[rows]
        return float(metric(y, self.a[rows]) - metric(y, self.b[rows]))

    def swapped(self, swap: Any) -> "Pair":
        """Exchange the two predictions of the rows of a mask."""
        mask = swap if self.a.ndim == 1 else swap[:, None]
        return Pair(
            self.y, np.where(mask, self.b, self.a), np.where(mask, self.a, self.b)
        )


def check_rows(y: Any, *predictions: Any, names: Any = ("a", "b")) -> list[Any]:
    """Return outcomes and predictions as arrays of as many rows."""
    arrays = []
    for name, values in zip(("y", *names), (y, *predictions), strict=True):
        refuse_foreign_arrays(values, name)
        refuse_dates(values, name)
        array = check_array(values, ensure_2d=False, dtype=None, input_name=name)
        arrays.append(array.ravel() if array.shape[1:] == (1,) else array)
    check_consistent_length(*arrays)
    if len({array.shape for array in arrays[1:]}) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays[1:])
        raise ValueError(f"Predictions have different shapes: {shapes}.")
    return arrays


def are_labels(y: Any, *predictions: Any) -> bool:
    """Whether neither outcomes nor all predictions are continuous numbers."""
    first, *rest = (is_continuous(np.asarray(v)) for v in (y, *predictions))
    return not (first or all(rest))


def _row_gaps(pair: Pair, metric: Any) -> Array | None:
    """Differences of the rows, where the metric is a mean over them."""
    if callable(metric):
        return None
    if metric == "auto":
        metric = "accuracy" if are_labels(*pair) else "neg_mean_squared_error"
    if metric not in ROW_SCORES:
        raise ValueError(
            f"metric must be 'auto', one of {sorted(ROW_SCORES)}, or a function of "
            f"outcomes and predictions. Got {metric!r}."
        )
    if any(v.ndim != 1 for v in pair):
        raise ValueError(f"metric={metric!r} needs one-dimensional y, a and b.")
    kinds = {v.dtype.kind in "biuf" for v in pair}
    if len(kinds) > 1 or (metric != "accuracy" and kinds == {False}):
        raise ValueError(f"y, a and b cannot be compared by metric={metric!r}.")
    score = ROW_SCORES[metric]
    if metric != "accuracy":
        pair = Pair(*(v.astype(np.float64) for v in pair))
    elif any(is_continuous(v) for v in pair):
        raise ValueError(
            "metric='accuracy' compares labels, and some values are continuous. Give "
            "predicted classes, or another metric."
        )
    return score(pair.y, pair.a) - score(pair.y, pair.b)


def _chunks(total: int, width: int) -> Iterator[int]:
    step = max(1, _CHUNK // max(width, 1))
    for start in range(0, total, step):
        yield min(step, total - start)


def bootstrap_means(gaps: Array, n_resamples: int, rng: Any) -> Array:
    """Means of bootstrap samples; by multinomial counts where values are few."""
    n = len(gaps)
    values, counts = np.unique(gaps, return_counts=True)
    if len(values) <= _FEW_VALUES:
        drawn = rng.multinomial(n, counts / n, size=n_resamples)
        return np.asarray(drawn @ values / n)
    sizes = _chunks(n_resamples, n)
    return np.concatenate(
        [gaps[rng.randint(n, size=(k, n))].mean(axis=1) for k in sizes]
    )


def _bootstrap(pair: Pair, metric: Any, n_resamples: int, rng: Any) -> Array:
    n, drawn = len(pair.y), np.empty(n_resamples)
    for k in range(n_resamples):
        drawn[k] = pair.gap(metric, rng.randint(n, size=n))
    known = drawn[~np.isnan(drawn)]
    if len(known) < 0.9 * n_resamples:
        raise ValueError(
            f"The metric is NaN on {n_resamples - len(known)} of {n_resamples} "
            "bootstrap samples; there may be too few rows of a class."
        )
    return known


def paired_bootstrap_test(
    y: Any,
    a: Any,
    b: Any,
    metric: Any = "auto",
    *,
    n_resamples: int = 2000,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
    random_state: Any = None,
) -> TestResult:
    """Compare two models on the same test rows by a bootstrap of the rows.

    Both models are scored on the same resampled rows, so what makes a row hard for both
    cancels. It works for any metric and gives an interval.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True outcomes.
    a, b : array-like of shape (n_samples,) or (n_samples, n_classes)
        Predictions of the two models, as the metric takes them.
    metric : str or callable, default="auto"
        ``"accuracy"``, ``"neg_mean_squared_error"`` or ``"neg_mean_absolute_error"``,
        which need no loop over resamples, or a function ``metric(y, prediction)`` where
        larger is better. ``"auto"`` is the accuracy of labels and the negative mean
        squared error where outcomes or both predictions are continuous.
    n_resamples : int, default=2000
        Number of bootstrap samples.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    confidence_level : float, default=0.95
        Level of the percentile interval.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    result : TestResult
        ``statistic`` and ``estimate`` are the difference of the scores. The p-value is
        the proportion of resamples that deviate from the difference by at least its
        size, the sample itself included. ``details`` holds ``resamples``.

    Warns
    -----
    UserWarning
        If every bootstrap sample has the same difference, as where all rows have it.

    References
    ----------
    B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 16.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import f1_score
    >>> from skdiff.model_evaluation import paired_bootstrap_test
    >>> y = np.tile([0, 1], 50)
    >>> a, b = y.copy(), y.copy()
    >>> a[:8], b[:24] = 1, 0
    >>> result = paired_bootstrap_test(y, a, b, f1_score, random_state=0)
    >>> round(result.estimate, 3), result.pvalue < 0.05
    (0.098, True)
    """
    check_inference(alternative, confidence_level)
    check_number("n_resamples", n_resamples, 0, np.inf, integer=True)
    rng = check_random_state(random_state)
    pair = Pair(*check_rows(y, a, b))
    gaps = _row_gaps(pair, metric)
    if gaps is None:
        d = pair.gap(metric, slice(None))
        drawn = _bootstrap(pair, metric, n_resamples, rng)
    else:
        d, drawn = float(gaps.mean()), bootstrap_means(gaps, n_resamples, rng)
    if d != 0 and np.ptp(drawn) <= 1e-12 * magnitude(drawn):
        warnings.warn(
            "The difference is the same in every bootstrap sample, so that neither the "
            "interval nor the p-value is a measure of evidence. Use more rows, or "
            "paired_permutation_test.",
            UserWarning,
            stacklevel=2,
        )
    tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
    low, high = np.quantile(drawn, tails)
    return TestResult(
        d,
        _pvalue(drawn - d, d, alternative),
        estimate=d,
        ci=(float(low), float(high)),
        method="paired bootstrap",
        n=len(pair.y),
        details={"resamples": drawn},
    )


def _extreme(null: Array, d: float, alternative: str) -> Any:
    """Which draws under the null deviate at least as far; ties count."""
    slack = 1e-12 * max(abs(d), magnitude(null))
    if alternative == "greater":
        return null >= d - slack
    if alternative == "less":
        return null <= d + slack
    return np.abs(null) >= abs(d) - slack


def _pvalue(null: Array, d: float, alternative: str) -> float:
    return float((1 + np.sum(_extreme(null, d, alternative))) / (1 + len(null)))


def _all_signs(m: int) -> Array:
    """Every vector of m signs, as rows."""
    bits = np.arange(2**m)[:, None] >> np.arange(m) & 1
    return np.asarray(1.0 - 2 * bits)


def _swaps(differ: Any, n_resamples: int, rng: Any) -> Iterator[Any]:
    """Masks of the rows to swap: all of them, or draws."""
    where = np.flatnonzero(differ)
    exact = len(where) <= EXACT
    masks = _all_signs(len(where)) < 0 if exact else None
    for k in range(len(masks) if masks is not None else n_resamples):
        swap = np.zeros(len(differ), dtype=bool)
        swap[where] = rng.randint(2, size=len(where)) if masks is None else masks[k]
        yield swap


def _signed_sums(gaps: Array, n_resamples: int, rng: Any) -> Array:
    """Sums of the differences under exchanged models."""
    sizes, counts = np.unique(np.abs(gaps[gaps != 0]), return_counts=True)
    if counts.sum() <= EXACT:
        return np.asarray(_all_signs(int(counts.sum())) @ gaps[gaps != 0])
    if len(sizes) <= _FEW_VALUES:
        positive = rng.binomial(counts, 0.5, size=(n_resamples, len(sizes)))
        return np.asarray((2 * positive - counts) @ sizes)
    moving = gaps[gaps != 0]
    return np.concatenate(
        [
            (2 * rng.randint(2, size=(k, len(moving))) - 1) @ moving
            for k in _chunks(n_resamples, len(moving))
        ]
    )


def _binomial(gaps: Array, alternative: str) -> float:
    """Exact p-value where all differences have one size: a binomial count."""
    plus, total = int(np.sum(gaps > 0)), int(np.sum(gaps != 0))
    return float(stats.binomtest(plus, total, alternative=alternative).pvalue)


def paired_permutation_test(
    y: Any,
    a: Any,
    b: Any,
    metric: Any = "auto",
    *,
    n_resamples: int = 2000,
    alternative: str = "two-sided",
    random_state: Any = None,
) -> TestResult:
    """Compare two models on the same test rows by exchanging their predictions.

    Under the null the predictions of either model of a row can be exchanged, which
    makes the p-value valid for any metric and any number of rows.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True outcomes.
    a, b : array-like of shape (n_samples,) or (n_samples, n_classes)
        Predictions of the two models, as the metric takes them.
    metric : str or callable, default="auto"
        As in :func:`paired_bootstrap_test`.
    n_resamples : int, default=2000
        Number of random exchanges. With at most 12 rows whose predictions differ all
        exchanges are enumerated, and with ``"accuracy"`` the p-value is always exact:
        that of the exact test of :func:`mcnemar_test`.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    result : TestResult
        ``statistic`` and ``estimate`` are the difference of the scores;
        ``details["exact"]`` tells whether all exchanges have been counted.

    References
    ----------
    E. S. Edgington and P. Onghena, "Randomization Tests", 4th edition, 2007.

    Examples
    --------
    >>> from skdiff.model_evaluation import paired_permutation_test
    >>> y = [1.0, 2.0, 3.0, 4.0, 5.0]
    >>> a = [1.1, 2.1, 2.9, 4.2, 4.9]
    >>> b = [1.6, 1.5, 2.2, 4.9, 5.8]
    >>> result = paired_permutation_test(y, a, b)
    >>> result.pvalue, result.details["exact"]
    (0.0625, True)
    """
    check_inference(alternative, 0.5)
    check_number("n_resamples", n_resamples, 0, np.inf, integer=True)
    rng = check_random_state(random_state)
    pair = Pair(*check_rows(y, a, b))
    gaps = _row_gaps(pair, metric)
    if gaps is not None:
        d, pvalue, exact = additive_permutation(gaps, n_resamples, alternative, rng)
    else:
        d, pvalue, exact = _any_metric(pair, metric, n_resamples, alternative, rng)
    return TestResult(
        d,
        pvalue,
        estimate=d,
        method="paired permutation",
        n=len(pair.y),
        details={"exact": exact},
    )


def additive_permutation(
    gaps: Array, n_resamples: int, alternative: str, rng: Any
) -> tuple[float, float, bool]:
    """Difference, p-value and whether it is exact, from differences of rows."""
    n, moving = len(gaps), np.abs(gaps[gaps != 0])
    d = float(gaps.mean())
    if not len(moving):
        return 0.0, 1.0, True
    if np.all(moving == moving[0]):
        return d, _binomial(gaps, alternative), True
    null, exact = _signed_sums(gaps, n_resamples, rng) / n, len(moving) <= EXACT
    return d, _finish(null, d, alternative, exact), exact


def _any_metric(
    pair: Pair, metric: Any, n_resamples: int, alternative: str, rng: Any
) -> tuple[float, float, bool]:
    differ = pair.a != pair.b
    differ = differ if differ.ndim == 1 else differ.any(axis=1)
    every = slice(None)
    d = pair.gap(metric, every)
    if np.isnan(d):
        raise ValueError("The metric of the predictions is NaN.")
    null = np.array(
        [
            pair.swapped(swap).gap(metric, every)
            for swap in _swaps(differ, n_resamples, rng)
        ]
    )
    exact = int(differ.sum()) <= EXACT
    return d, _finish(null, d, alternative, exact), exact


def _finish(null: Array, d: float, alternative: str, exact: bool) -> float:
    """P-value; among all exchanges the observed one is counted already."""
    if exact:
        return float(np.mean(_extreme(null, d, alternative)))
    return _pvalue(null, d, alternative)
