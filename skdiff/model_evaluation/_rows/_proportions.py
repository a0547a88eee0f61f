"""Accuracies of independent test sets."""

from typing import Any

import numpy as np
from scipy import stats

from skdiff._base.typing import Array
from skdiff.model_evaluation._results import (
    TestResult,
    check_choice,
    check_inference,
    check_number,
    tail,
)
from skdiff.model_evaluation._rows._mcnemar import wilson


def _successes(score: Any, n: Any) -> tuple[Array, Array]:
    """Correct rows and rows, where a score is a proportion of rows."""
    rows = np.asarray(n, dtype=np.float64)
    p = np.asarray(score, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"A score must be a proportion between 0 and 1. Got {score}.")
    if not np.all((rows >= 1) & (rows == np.floor(rows)) & np.isfinite(rows)):
        raise ValueError(f"The number of rows must be a positive integer. Got {n}.")
    p, rows = np.broadcast_arrays(p, rows)
    counts = p * rows
    near = np.round(counts)
    # 0.7 * 10 is 7 but for rounding
    return np.where(np.abs(counts - near) < 1e-6, near, counts), rows


def score_interval(
    score: Any,
    n: Any,
    *,
    method: str = "wilson",
    confidence_level: float = 0.95,
) -> tuple[Any, Any]:
    """Confidence interval of an accuracy, or of any other proportion of test rows.

    Parameters
    ----------
    score : float or array-like
        Proportion of the rows that are predicted correctly.
    n : int or array-like
        Number of test rows.
    method : {"wilson", "clopper-pearson"}, default="wilson"
        The score interval, whose coverage is near its level on average, or the exact
        one, whose coverage is never below it.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    low, high : float or ndarray
        Bounds.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 1927.

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26, 1934.

    Examples
    --------
    >>> from skdiff.model_evaluation import score_interval
    >>> low, high = score_interval(0.9, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    check_choice("method", method, ("wilson", "clopper-pearson"))
    check_number("confidence_level", confidence_level, 0, 1)
    k, rows = _successes(score, n)
    if method == "wilson":
        z = float(stats.norm.ppf((1 + confidence_level) / 2))
        low, high = wilson(k, rows, z)
    else:
        beyond = (1 - confidence_level) / 2
        low = np.where(k == 0, 0.0, stats.beta.ppf(beyond, k, rows - k + 1))
        high = np.where(k == rows, 1.0, stats.beta.isf(beyond, k + 1, rows - k))
    return (float(low), float(high)) if low.ndim == 0 else (low, high)


def proportion_difference_test(
    score_a: float,
    score_b: float,
    n_a: int,
    n_b: int | None = None,
    *,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare two accuracies that were measured on *independent* test sets.

    On the same rows it ignores that both models fail on the same ones; use
    :func:`mcnemar_test` there.

    Parameters
    ----------
    score_a, score_b : float
        Proportions of the rows that are predicted correctly.
    n_a : int
        Number of test rows of the first model.
    n_b : int, default=None
        Number of test rows of the second; as many as of the first if None.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first accuracy differs from the second, is larger or is smaller.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``statistic`` is the standard normal deviate with pooled variance; ``ci`` is
        Newcombe's interval (method 10 for independent samples).

    References
    ----------
    S. Raschka, "Model Evaluation, Model Selection, and Algorithm Selection in Machine
    Learning", arXiv 1811.12808, 2018.

    R. G. Newcombe, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, 1998.

    Examples
    --------
    >>> from skdiff.model_evaluation import proportion_difference_test
    >>> z, pvalue = proportion_difference_test(0.9, 0.85, 400)
    >>> round(z, 3), round(pvalue, 3)
    (2.138, 0.033)
    """
    check_inference(alternative, confidence_level)
    n_b = n_a if n_b is None else n_b
    k, rows = _successes([score_a, score_b], [n_a, n_b])
    p = k / rows
    pooled = k.sum() / rows.sum()
    scale = np.sqrt(pooled * (1 - pooled) * np.sum(1 / rows))
    d = float(p[0] - p[1])
    z = d / scale if scale else 0.0
    low, high = wilson(k, rows, float(stats.norm.ppf((1 + confidence_level) / 2)))
    below = np.hypot(p[0] - low[0], high[1] - p[1])
    above = np.hypot(high[0] - p[0], p[1] - low[1])
    return TestResult(
        float(z),
        tail(stats.norm, z, alternative) if scale else 1.0,
        estimate=d,
        ci=(float(d - below), float(d + above)),
        method="difference of two proportions",
        n=int(rows.sum()),
        details={"pooled": float(pooled)},
    )
