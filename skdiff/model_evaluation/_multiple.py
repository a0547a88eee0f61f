"""Several p-values at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array
from skdiff.model_evaluation._results import TestResult, check_choice


def _bonferroni(p: Array) -> Array:
    return p * len(p)


def _sidak(p: Array) -> Array:
    # 1 - (1 - p)^m without cancellation
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(len(p) * np.log1p(-p)))


def _step_down(p: Array) -> Array:
    """Holm: the smallest of m p-values times m, the next times m - 1, and so on."""
    order = np.argsort(p)
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _restored(scaled, order)


def _step_up(p: Array, factors: Array) -> Array:
    order = np.argsort(p)
    scaled = (p[order] * factors)[::-1]
    return _restored(np.minimum.accumulate(scaled)[::-1], order)


def _hochberg(p: Array) -> Array:
    return _step_up(p, np.arange(len(p), 0.0, -1))


def _benjamini_hochberg(p: Array) -> Array:
    return _step_up(p, len(p) / np.arange(1.0, len(p) + 1))


def _restored(values: Array, order: Any) -> Array:
    out = np.empty_like(values)
    out[order] = values
    return out


ADJUSTMENTS: dict[str | None, Callable[[Array], Array]] = {
    "holm": _step_down,
    "hochberg": _hochberg,
    "bonferroni": _bonferroni,
    "sidak": _sidak,
    "bh": _benjamini_hochberg,
    None: lambda p: p,
}


def adjust_pvalues(pvalues: Any, method: str | None = "holm") -> Array:
    """Adjust p-values for their number.

    An adjusted p-value is the smallest level at which the procedure rejects the
    hypothesis, so it is compared with the level itself.

    Parameters
    ----------
    pvalues : array-like of shape (n_tests,)
        P-values. NaN stands for a test that could not be run; it is not counted.
    method : {"holm", "hochberg", "bonferroni", "sidak", "bh"} or None, default="holm"
        Holm's step-down method, which bounds the probability of any false rejection
        under any dependence and rejects whatever Bonferroni's rejects; Hochberg's
        step-up method, for independent or positively dependent tests; Bonferroni's;
        Sidak's, for independent tests; or Benjamini and Hochberg's, which bounds the
        rate of false discoveries. None returns the p-values.

    Returns
    -------
    adjusted : ndarray of shape (n_tests,)
        Adjusted p-values, at most 1.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6, 1979.

    Y. Hochberg, "A sharper Bonferroni procedure for multiple tests of significance",
    Biometrika 75, 1988.

    Examples
    --------
    >>> from skdiff.model_evaluation import adjust_pvalues
    >>> adjust_pvalues([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    check_choice("method", method, tuple(ADJUSTMENTS))
    p = np.array(pvalues, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError("pvalues must be one-dimensional, between 0 and 1.")
    known = ~np.isnan(p)
    p[known] = np.minimum(ADJUSTMENTS[method](p[known]), 1.0)
    return p


@dataclass(frozen=True)
class PairwiseTests:
    """Tests of every pair of models; unpacks as ``statistic, pvalue``.

    Attributes
    ----------
    names : tuple of str
        Names of the models.
    pairs : tuple of (int, int)
        Positions of the two models of each test.
    results : tuple of TestResult
        The tests, with p-values that are not adjusted.
    pvalue : ndarray of shape (n_pairs,)
        Adjusted p-values.
    adjust : str or None
        How they were adjusted.

    Examples
    --------
    >>> from skdiff.model_evaluation import nemenyi_test
    >>> scores = [[0.9, 0.8, 0.7], [0.8, 0.7, 0.5], [0.9, 0.6, 0.7], [0.7, 0.6, 0.5]]
    >>> tests = nemenyi_test(scores, names=["a", "b", "c"])
    >>> tests.pairs
    ((0, 1), (0, 2), (1, 2))
    >>> tests.pvalue.round(3)
    array([0.181, 0.036, 0.759])
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    results: tuple[TestResult, ...]
    pvalue: Array
    adjust: str | None = None

    @property
    def statistic(self) -> Array:
        """Test statistics of the pairs."""
        return np.array([result.statistic for result in self.results])

    def __iter__(self) -> Iterator[Array]:
        return iter((self.statistic, self.pvalue))

    def __len__(self) -> int:
        return 2

    def matrix(self) -> Array:
        """Return the adjusted p-values as a matrix.

        Returns
        -------
        matrix : ndarray of shape (n_models, n_models)
            Symmetric, with ones on the diagonal; NaN for pairs that were not compared.
        """
        matrix = np.full((len(self.names),) * 2, np.nan)
        np.fill_diagonal(matrix, 1.0)
        for (i, j), p in zip(self.pairs, self.pvalue, strict=True):
            matrix[i, j] = matrix[j, i] = p
        return matrix

    def frame(self) -> Any:
        """Return one row per pair.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``model_a``, ``model_b``, ``difference`` (first minus second),
            ``ci_low``, ``ci_high``, ``statistic``, ``pvalue`` (adjusted) and
            ``pvalue_unadjusted``.
        """
        pd = require_pandas("frame")
        return pd.DataFrame([self._row(k) for k in range(len(self.pairs))])

    def _row(self, k: int) -> dict[str, Any]:
        (i, j), result = self.pairs[k], self.results[k]
        low, high = (np.nan, np.nan) if result.ci is None else result.ci
        return {
            "model_a": self.names[i],
            "model_b": self.names[j],
            "difference": result.estimate,
            "ci_low": low,
            "ci_high": high,
            "statistic": result.statistic,
            "pvalue": float(self.pvalue[k]),
            "pvalue_unadjusted": result.pvalue,
        }


def pairs_of(n: int, reference: int | None = None) -> tuple[tuple[int, int], ...]:
    """All pairs of n models, or those with one of them."""
    if reference is None:
        return tuple(combinations(range(n), 2))
    return tuple((i, reference) for i in range(n) if i != reference)


def compare_pairs(
    names: Sequence[str],
    compare: Callable[[int, int], TestResult],
    adjust: str | None,
    reference: int | None = None,
) -> PairwiseTests:
    """Run a test of two models on every pair."""
    pairs = pairs_of(len(names), reference)
    results = tuple(compare(i, j) for i, j in pairs)
    adjusted = adjust_pvalues([result.pvalue for result in results], adjust)
    return PairwiseTests(tuple(names), pairs, results, adjusted, adjust)


def check_names(names: Any, n: int) -> tuple[str, ...]:
    """Return the names of n models; numbers where there are none."""
    if names is None:
        return tuple(f"model {k}" for k in range(n))
    listed = tuple(map(str, names))
    if len(listed) != n or len(set(listed)) != n:
        raise ValueError(f"names must be {n} different names. Got {names!r}.")
    return listed
