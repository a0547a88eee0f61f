"""Several classifiers on the same test rows."""

import warnings
from typing import Any

import numpy as np
from scipy import stats

from skdiff._base.typing import BoolArray
from skdiff.model_evaluation._multiple import (
    ADJUSTMENTS,
    PairwiseTests,
    check_names,
    compare_pairs,
)
from skdiff.model_evaluation._results import TestResult, check_choice
from skdiff.model_evaluation._rows._correct import correct_rows
from skdiff.model_evaluation._rows._mcnemar import (
    METHODS,
    agreement,
    counts_result,
)


def correct_models(
    y: Any, predictions: Any, names: tuple[str, ...] | None = None
) -> BoolArray:
    """Which predictions of two or more models are right, one column per model."""
    if len(predictions) < 2:
        raise ValueError(
            f"At least 2 arrays of predictions are needed, got {len(predictions)}."
        )
    if names is None:
        names = tuple(f"predictions[{k}]" for k in range(len(predictions)))
    return correct_rows(y, *predictions, names=["y", *names])


def cochran_q_test(y: Any, *predictions: Any) -> TestResult:
    """Test whether several classifiers are equally accurate on the same test rows.

    With two classifiers it is McNemar's chi-square test without correction.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.
    *predictions : array-like of shape (n_samples,)
        Labels predicted by each of two or more models.

    Returns
    -------
    result : TestResult
        ``statistic`` is Q with a chi-square distribution of one degree of freedom less
        than models; ``details["accuracy"]`` holds the accuracies. Where all models are
        right on the same rows the p-value is 1.

    See Also
    --------
    pairwise_mcnemar : Which of them differ.

    References
    ----------
    W. G. Cochran, "The comparison of percentages in matched samples", Biometrika 37,
    1950.

    Examples
    --------
    >>> from skdiff.model_evaluation import cochran_q_test
    >>> y = [1, 1, 1, 1, 1, 1]
    >>> Q, pvalue = cochran_q_test(
    ...     y, [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1]
    ... )
    >>> round(Q, 3), round(pvalue, 3)
    (4.8, 0.091)
    """
    return cochran(correct_models(y, predictions))


def cochran(correct: BoolArray) -> TestResult:
    """Cochran's test from which predictions are right, of shape (n_rows, n_models)."""
    n, L = correct.shape
    per_model, per_row = correct.sum(axis=0), correct.sum(axis=1)
    total = int(per_model.sum())
    below = L * total - int(np.sum(per_row**2))
    above = (L - 1) * (L * int(np.sum(per_model**2)) - total**2)
    Q = above / below if below else 0.0
    return TestResult(
        float(Q),
        float(stats.chi2.sf(Q, L - 1)),
        df=float(L - 1),
        method="Cochran's Q",
        n=n,
        details={"accuracy": per_model / n},
    )


def looney_f_test(y: Any, *predictions: Any) -> TestResult:
    """Compare several classifiers on the same test rows by an analysis of variance.

    A test of the hypothesis of :func:`cochran_q_test` with an F statistic, where rows
    are blocks. The denominator has ``(n_models - 1) * (n_samples - 1)`` degrees of
    freedom.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.
    *predictions : array-like of shape (n_samples,)
        Labels predicted by each of two or more models.

    Returns
    -------
    result : TestResult
        ``statistic`` is F; ``df`` are both degrees of freedom.

    Warns
    -----
    UserWarning
        If the models differ in the same way on every row, as on two or three.

    References
    ----------
    S. W. Looney, "A statistical technique for comparing the accuracies of several
    classifiers", Pattern Recognition Letters 8, 1988.

    Examples
    --------
    >>> from skdiff.model_evaluation import looney_f_test
    >>> y = [1, 1, 1, 1, 1, 1]
    >>> result = looney_f_test(
    ...     y, [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1]
    ... )
    >>> round(result.statistic, 3), result.df
    (3.333, (2.0, 10.0))
    """
    correct = correct_models(y, predictions).astype(np.float64)
    n, L = correct.shape
    if n < 2:
        raise ValueError("looney_f_test needs at least 2 rows, got 1.")
    centred = correct - correct.mean()
    models = n * np.sum(centred.mean(axis=0) ** 2)
    rows = L * np.sum(centred.mean(axis=1) ** 2)
    rest = max(np.sum(centred**2) - models - rows, 0.0)
    df = (float(L - 1), float((L - 1) * (n - 1)))
    # sums of squares of zeros and ones: below this they are rounding
    if models <= 1e-12 * n * L:
        F = 0.0
    else:
        F = np.inf if rest <= 1e-12 * n * L else (models / df[0]) / (rest / df[1])
    if np.isinf(F):
        warnings.warn(
            "The models differ in the same way on every row, so their variance is "
            "estimated as zero and the p-value is no measure of evidence. Use "
            "cochran_q_test.",
            UserWarning,
            stacklevel=2,
        )
    return TestResult(
        float(F),
        float(stats.f.sf(F, *df)),
        df=df,
        method="Looney's F",
        n=n,
        details={"accuracy": correct.mean(axis=0)},
    )


def pairwise_mcnemar(
    y: Any,
    *predictions: Any,
    names: Any = None,
    method: str = "mid-p",
    adjust: str | None = "holm",
) -> PairwiseTests:
    """Compare every pair of classifiers on the same test rows by McNemar's test.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.
    *predictions : array-like of shape (n_samples,)
        Labels predicted by each of two or more models.
    names : sequence of str, default=None
        Names of the models.
    method : {"mid-p", "exact", "chi2", "chi2-corrected"}, default="mid-p"
        See :func:`mcnemar_test`.
    adjust : {"holm", "hochberg", "bonferroni", "sidak", "bh"} or None, default="holm"
        How p-values are adjusted for the number of pairs: :func:`adjust_pvalues`.

    Returns
    -------
    tests : PairwiseTests
        One test per pair, with ``frame()`` and ``matrix()``.

    Examples
    --------
    >>> from skdiff.model_evaluation import pairwise_mcnemar
    >>> y = [1, 1, 1, 1, 1, 1]
    >>> tests = pairwise_mcnemar(
    ...     y, [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1]
    ... )
    >>> tests.pvalue
    array([0.5   , 0.1875, 0.5   ])
    """
    check_choice("method", method, METHODS)
    check_choice("adjust", adjust, tuple(ADJUSTMENTS))
    correct = correct_models(y, predictions)
    return pairwise_counts(
        correct, check_names(names, correct.shape[1]), method, adjust
    )


def pairwise_counts(
    correct: BoolArray,
    names: Any,
    method: str,
    adjust: str | None,
    *,
    reference: int | None = None,
    confidence_level: float = 0.95,
) -> PairwiseTests:
    """Every pair of columns of which predictions are right."""

    def compare(i: int, j: int) -> TestResult:
        counts = agreement(correct[:, [i, j]])
        return counts_result(counts, method, confidence_level=confidence_level)

    return compare_pairs(names, compare, adjust, reference)
