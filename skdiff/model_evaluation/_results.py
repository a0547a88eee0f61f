"""What a test returns, and the small pieces of inference that all of them share."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from skdiff._base.compat import InvalidParameterError

ALTERNATIVES = ("two-sided", "greater", "less")
#: differences up to this fraction of the scores are none
ROUNDING = 1e-13


@dataclass(frozen=True)
class TestResult:
    """Result of one test; unpacks as ``statistic, pvalue``.

    Attributes
    ----------
    statistic : float
        The test statistic.
    pvalue : float
        The p-value.
    df : float, tuple of float or None
        Degrees of freedom of the reference distribution, where it has some.
    estimate : float or None
        The estimated difference, first model minus second.
    ci : tuple of float or None
        Confidence interval of ``estimate``: lower and upper bound.
    method : str
        Name of the test.
    n : int or None
        Number of rows, splits or data sets that the test has used.
    details : dict
        What else the test has computed.

    Examples
    --------
    >>> from skdiff.model_evaluation import mcnemar_test
    >>> statistic, pvalue = mcnemar_test([0, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0])
    >>> statistic, round(pvalue, 3)
    (0.0, 0.5)
    """

    # pytest would take the name for a class of tests
    __test__ = False

    statistic: float
    pvalue: float
    df: float | tuple[float, float] | None = None
    estimate: float | None = None
    ci: tuple[float, float] | None = None
    method: str = ""
    n: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[float]:
        return iter((self.statistic, self.pvalue))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return (self.statistic, self.pvalue)[index]


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise InvalidParameterError(
            f"{name} must be one of {listed}. Got {value!r} instead."
        )


def check_number(
    name: str, value: Any, low: float, high: float, *, integer: bool = False
) -> None:
    """Refuse what is not a finite number strictly between two bounds."""
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    fine = isinstance(value, kinds) and not isinstance(value, bool)
    if not fine or not low < value < high:
        what = "an integer" if integer else "a number"
        raise InvalidParameterError(
            f"{name} must be {what} in the open interval ({low:g}, {high:g}). "
            f"Got {value!r} instead."
        )


def check_inference(alternative: Any, confidence_level: Any) -> None:
    """Check the two parameters that every paired test has."""
    check_choice("alternative", alternative, ALTERNATIVES)
    check_number("confidence_level", confidence_level, 0, 1)


def tail(distribution: Any, statistic: float, alternative: str) -> float:
    """P-value of a symmetric statistic."""
    if alternative == "greater":
        return float(distribution.sf(statistic))
    if alternative == "less":
        return float(distribution.cdf(statistic))
    return float(min(1.0, 2 * distribution.sf(abs(statistic))))


def half_width(distribution: Any, scale: float, confidence_level: float) -> float:
    """Half of the width of a symmetric interval."""
    return float(distribution.ppf((1 + confidence_level) / 2) * scale)


def magnitude(scores: Any) -> float:
    """Size of the largest score, of which rounding errors are a fraction."""
    return float(np.max(np.abs(scores))) or 1.0


def snapped(gaps: Any, size: float) -> Any:
    """Return differences of scores of some size without those that are rounding."""
    return np.where(np.abs(gaps) <= ROUNDING * size, 0.0, gaps)


def differences(scores: Any) -> Any:
    """Return the differences of two rows of scores, zero where they are equal."""
    return snapped(scores[0] - scores[1], magnitude(scores))


def studentised(mean: float, scale: float) -> float:
    """Return ``mean / scale``; identical models have 0, a constant gap is infinite."""
    if scale > 0:
        return float(mean / scale)
    return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))


def t_result(
    mean: float,
    scale: float,
    df: float,
    alternative: str,
    confidence_level: float,
) -> dict[str, Any]:
    """Statistic, p-value and interval of a mean with an estimated scale."""
    law = stats.t(df)
    statistic = studentised(mean, scale)
    pvalue = tail(law, statistic, alternative)
    if mean == 0 and scale == 0 and alternative != "two-sided":
        pvalue = 1.0  # nothing speaks for either model
    half = half_width(law, scale, confidence_level)
    return {
        "statistic": statistic,
        "pvalue": pvalue,
        "df": float(df),
        "estimate": float(mean),
        "ci": (float(mean - half), float(mean + half)),
    }
