"""DeLong's test of two areas under ROC curves, by midranks.

With midranks of the scores among all rows, R, and among the rows of their own class,
R', the placements of positive rows are ``V10 = (R - R') / n_negative`` and those of
negative rows ``V01 = 1 - (R - R') / n_positive``; the area is the mean of either. The
covariance of the areas is that of the placements (Sun and Xu, 2014, eq. 5 to 8).
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skdiff._base.typing import Array, BoolArray
from skdiff._base.validation import binary_codes, refuse_dates, refuse_foreign_arrays
from skdiff.model_evaluation._results import (
    TestResult,
    check_inference,
    half_width,
    studentised,
    tail,
)


class Areas(NamedTuple):
    """Areas of several scores of the same rows, and their covariance."""

    auc: Array  # (n_models,)
    cov: Array  # (n_models, n_models)


def delong(positive: BoolArray, scores: Array) -> Areas:
    """Areas and covariance of scores of shape (n_models, n_samples); O(n log n)."""
    m, n = int(positive.sum()), int((~positive).sum())
    among_all = stats.rankdata(scores, axis=1)
    own_positive = stats.rankdata(scores[:, positive], axis=1)
    own_negative = stats.rankdata(scores[:, ~positive], axis=1)
    v10 = (among_all[:, positive] - own_positive) / n
    v01 = 1 - (among_all[:, ~positive] - own_negative) / m
    cov = np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n
    return Areas(v10.mean(axis=1), cov)


def check_scores(
    y: Any, *scores: Any, pos_label: Any = None
) -> tuple[BoolArray, Array]:
    """Return which rows are positive, and scores as rows of an array."""
    codes, classes = binary_codes(y)
    positive = codes == 1
    if pos_label is not None:
        if pos_label not in classes.tolist():
            raise ValueError(
                f"pos_label={pos_label!r} is not a label of y, whose labels are "
                f"{classes.tolist()}."
            )
        positive = classes[codes] == pos_label
    arrays = []
    for name, values in zip("ab", scores, strict=True):
        refuse_foreign_arrays(values, name)
        refuse_dates(values, name)
        array = check_array(values, ensure_2d=False, dtype=np.float64, input_name=name)
        arrays.append(column_or_1d(array, warn=True))
    check_consistent_length(codes, *arrays)
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ValueError("delong_test needs at least two rows of each class.")
    return positive, np.stack(arrays)


def delong_test(
    y: Any,
    a: Any,
    b: Any,
    *,
    pos_label: Any = None,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare the areas under the ROC curves of two models on the same test rows.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels of two classes.
    a, b : array-like of shape (n_samples,)
        Scores of the two models that grow with the chance of the positive label, such
        as a column of ``predict_proba`` or a ``decision_function``.
    pos_label : label, default=None
        The positive label; the second in sorted order if None.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first area differs from the second, is larger or is smaller.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``statistic`` is the standard normal deviate, ``estimate`` the first area minus
        the second; ``details`` holds ``auc`` and the covariance ``cov`` of both areas.

    Warns
    -----
    UserWarning
        If the areas differ and their variance is estimated as zero, which happens where
        both models separate nearly all pairs; the p-value is then too small.

    References
    ----------
    E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two
    or more correlated receiver operating characteristic curves: a nonparametric
    approach", Biometrics 44, 1988.

    X. Sun and W. Xu, "Fast implementation of DeLong's algorithm for comparing the areas
    under correlated receiver operating characteristic curves", IEEE Signal Processing
    Letters 21, 2014.

    Examples
    --------
    >>> from skdiff.model_evaluation import delong_test
    >>> y = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> a = [0.1, 0.2, 0.4, 0.3, 0.8, 0.7, 0.35, 0.9]
    >>> b = [0.2, 0.6, 0.3, 0.5, 0.4, 0.7, 0.55, 0.8]
    >>> result = delong_test(y, a, b)
    >>> result.details["auc"], round(result.pvalue, 3)
    (array([0.9375, 0.8125]), 0.54)
    """
    check_inference(alternative, confidence_level)
    positive, scores = check_scores(y, a, b, pos_label=pos_label)
    auc, cov = delong(positive, scores)
    d = float(auc[0] - auc[1])
    variance = float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    # equal rankings leave rounding errors only
    scale = np.sqrt(variance) if variance > 1e-14 else 0.0
    d = 0.0 if abs(d) < 1e-14 else d
    if d and not scale:
        warnings.warn(
            "The variance of the difference is estimated as zero. Use more rows, or "
            "paired_permutation_test.",
            UserWarning,
            stacklevel=2,
        )
    z = studentised(d, scale)
    half = half_width(stats.norm, scale, confidence_level)
    return TestResult(
        z,
        1.0 if d == scale == 0 else tail(stats.norm, z, alternative),
        estimate=d,
        ci=(max(d - half, -1.0), min(d + half, 1.0)),
        method="DeLong",
        n=len(positive),
        details={"auc": auc, "cov": cov},
    )
