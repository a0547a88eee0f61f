"""Checks that several families share, in scikit-learn's words."""

import numpy as np


def refuse_dates(X):
    """Refuse dates and time spans, which numpy would turn into numbers in silence."""
    dtypes = [X.dtype] if hasattr(X, "dtype") else []
    if hasattr(X, "iloc"):  # a DataFrame, or a Series, which has one dtype
        dtypes = [X.dtypes] if X.ndim == 1 else list(X.dtypes)
    kinds = {getattr(dtype, "kind", "O") for dtype in dtypes}
    if kinds & set("mM"):
        raise TypeError(
            "X has columns of dates or time spans. Turn them into numbers first, for "
            "instance days since a fixed date."
        )


def check_levels(level, *, name):
    """Return one level as a float, or several as an array, all within (0, 1)."""
    levels = np.asarray(level)
    fine = levels.ndim <= 1 and levels.size and levels.dtype.kind in "iuf"
    if not fine or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(
            f"{name} must be a number in the open interval (0, 1), or a list of such "
            f"numbers. Got {level!r} instead."
        )
    levels = levels.astype(np.float64)
    return float(levels) if levels.ndim == 0 else levels
