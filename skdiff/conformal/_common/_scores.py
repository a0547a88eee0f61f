"""From the margins of a model to the scores that conformal selection ranks."""

import numpy as np

from skdiff._base.typing import Array, BoolArray

SCORES = ("clip", "residual", "scaled", "null")


def rounded(f: Array) -> Array:
    """Round to 36 bits: equal rows must tie, whichever rows a product had beside."""
    mantissa, exponent = np.frexp(f)
    tied: Array = np.ldexp(np.round(mantissa * 2.0**36) / 2.0**36, exponent)
    return tied


def labelled_scores(
    score: str,
    f: Array,
    positive: BoolArray,
    excess: Array,
    sigma: Array | float = 1.0,
) -> Array:
    """Scores ``V(x, y)`` of labelled rows.

    ``clip`` is ``M 1[y > c] - f(x)`` with an infinite ``M``: a discovery never counts
    against a new row. ``null`` is the same over the rows that are none.

    Parameters
    ----------
    score : str
        One of ``SCORES``.
    f : ndarray of shape (n,)
        Margins.
    positive : ndarray of bool of shape (n,)
        Which rows are discoveries.
    excess : ndarray of shape (n,)
        Outcomes beyond the threshold, or 1 and 0 where outcomes are no numbers.
    sigma : ndarray of shape (n,) or float
        Expected size of an error.
    """
    if score in ("residual", "scaled"):
        return (excess - f) / sigma
    if score == "null":
        null: Array = (-f / sigma)[~positive]
        return null
    return np.where(positive, np.inf, -f / sigma)
