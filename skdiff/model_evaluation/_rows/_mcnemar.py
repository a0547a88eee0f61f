"""McNemar's test and its relatives, from two counts.

Throughout ``n10`` counts the rows that only the first model predicts correctly and
``n01`` those that only the second does. Under the null each discordant row belongs to
either count with probability one half.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from skdiff.model_evaluation._results import (
    TestResult,
    check_choice,
    check_inference,
    tail,
)
from skdiff.model_evaluation._rows._correct import correct_rows

METHODS = ("mid-p", "exact", "chi2", "chi2-corrected")
INTERVALS = ("newcombe", "agresti-min")


class Agreement(NamedTuple):
    """Counts of the rows by which of two models is right."""

    n11: int
    n10: int
    n01: int
    n00: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return sum(self)


def agreement(correct: Any) -> Agreement:
    """Count the rows of a boolean array of shape (n_samples, 2)."""
    code = 2 * correct[:, 0].astype(np.intp) + correct[:, 1]
    n00, n01, n10, n11 = np.bincount(code, minlength=4).tolist()
    return Agreement(n11, n10, n01, n00)


def mcnemar_test(
    y: Any,
    a: Any,
    b: Any,
    *,
    method: str = "mid-p",
    alternative: str = "two-sided",
    interval: str = "newcombe",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare the accuracy of two classifiers on the same test rows.

    Only the discordant rows count, those that exactly one model predicts correctly.
    Use it for one test set that neither model has seen: it knows nothing of the
    variance between training sets.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.
    a, b : array-like of shape (n_samples,)
        Labels predicted by the two models.
    method : {"mid-p", "exact", "chi2", "chi2-corrected"}, default="mid-p"
        The binomial test with half of the probability of the observed count, which
        keeps the level closely; the exact binomial test, which never exceeds it; or
        the chi-square approximation without or with the continuity correction.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    interval : {"newcombe", "agresti-min"}, default="newcombe"
        Interval of the difference in accuracy: the score intervals of both accuracies
        combined with their correlation (Newcombe's method 10), or the Wald interval
        after adding one half to each of the four counts.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``statistic`` is the smaller discordant count for the binomial methods and
        chi-square otherwise; ``estimate`` is the accuracy of ``a`` minus that of
        ``b``; ``details`` holds the counts ``n11``, ``n10``, ``n01`` and ``n00``.
        Without discordant rows the p-value is 1.

    References
    ----------
    Q. McNemar, "Note on the sampling error of the difference between correlated
    proportions or percentages", Psychometrika 12, 1947.

    M. Fagerland, S. Lydersen and P. Laake, "The McNemar test for binary matched-pairs
    data: mid-p and asymptotic are better than exact conditional", BMC Medical Research
    Methodology 13, 2013.

    R. G. Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17, 1998.

    A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24, 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_evaluation import mcnemar_test
    >>> y = np.ones(100, dtype=int)
    >>> a, b = y.copy(), y.copy()
    >>> a[:4], b[4:19] = 0, 0  # 4 rows only b has right, 15 only a
    >>> result = mcnemar_test(y, a, b)
    >>> round(result.pvalue, 4), round(result.estimate, 2)
    (0.0118, 0.11)
    """
    check_choice("method", method, METHODS)
    check_choice("interval", interval, INTERVALS)
    check_inference(alternative, confidence_level)
    counts = agreement(correct_rows(y, a, b))
    return counts_result(counts, method, alternative, interval, confidence_level)


def counts_result(
    counts: Agreement,
    method: str,
    alternative: str = "two-sided",
    interval: str = "newcombe",
    confidence_level: float = 0.95,
) -> TestResult:
    """Test and interval from the four counts."""
    statistic, pvalue = mcnemar_pvalue(counts, method, alternative)
    bounds = newcombe if interval == "newcombe" else agresti_min
    chi2 = method.startswith("chi2")
    return TestResult(
        statistic,
        pvalue,
        df=1.0 if chi2 else None,
        estimate=(counts.n10 - counts.n01) / counts.n,
        ci=bounds(counts, confidence_level),
        method=f"McNemar, {method}",
        n=counts.n,
        details=counts._asdict(),
    )


def mcnemar_pvalue(
    counts: Agreement, method: str, alternative: str
) -> tuple[float, float]:
    """Return statistic and p-value."""
    n10, n01 = counts.n10, counts.n01
    discordant = n10 + n01
    if method.startswith("chi2"):
        gap = float(abs(n10 - n01))
        if method == "chi2-corrected":
            gap = max(gap - 1, 0.0)  # the correction must not turn a tie into evidence
        if not discordant:
            return 0.0, 1.0
        z = float(np.copysign(gap / np.sqrt(discordant), n10 - n01))
        return gap**2 / discordant, tail(stats.norm, z, alternative)
    law = stats.binom(discordant, 0.5)
    if alternative == "two-sided":
        smaller = min(n10, n01)
        pvalue = 2 * law.cdf(smaller) - (method == "mid-p") * law.pmf(smaller)
    else:
        worse = n01 if alternative == "greater" else n10
        pvalue = law.cdf(worse) - 0.5 * (method == "mid-p") * law.pmf(worse)
        pvalue = pvalue if discordant else 1.0
    return float(min(n10, n01)), float(min(1.0, pvalue))


def wilson(successes: Any, n: Any, z: float) -> tuple[Any, Any]:
    """Score interval of a proportion."""
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # at no success and at no failure the bound is the proportion itself
    low = np.where(successes == 0, 0.0, centre - half)
    return low, np.where(successes == n, 1.0, centre + half)


def newcombe(counts: Agreement, confidence_level: float) -> tuple[float, float]:
    """Newcombe's method 10: squared distances of both score intervals, correlated."""
    n11, n10, n01, n00 = counts
    z = float(stats.norm.ppf((1 + confidence_level) / 2))
    p1, p2 = (n11 + n10) / counts.n, (n11 + n01) / counts.n
    low1, up1 = wilson(n11 + n10, counts.n, z)
    low2, up2 = wilson(n11 + n01, counts.n, z)
    product = float((n11 + n10) * (n01 + n00)) * float((n11 + n01) * (n10 + n00))
    top = float(n11 * n00 - n10 * n01)
    if top > counts.n / 2:
        top = top - counts.n / 2
    elif top >= 0:
        top = 0.0
    phi = top / np.sqrt(product) if product else 0.0
    d = p1 - p2
    down, up = (p1 - low1, up2 - p2), (up1 - p1, p2 - low2)
    below = np.sqrt(down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2)
    above = np.sqrt(up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2)
    return float(d - below), float(d + above)


def agresti_min(counts: Agreement, confidence_level: float) -> tuple[float, float]:
    """Wald interval after one half is added to each count."""
    n10, n01, n = counts.n10 + 0.5, counts.n01 + 0.5, counts.n + 2
    d = (n10 - n01) / n
    z = stats.norm.ppf((1 + confidence_level) / 2)
    half = z * np.sqrt(max((n10 + n01) / n - d**2, 0) / n)
    return float(max(d - half, -1.0)), float(min(d + half, 1.0))
