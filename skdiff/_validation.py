"""Checks that several families share, in scikit-learn's words."""

import numpy as np


def refuse_dates(X):
    """Refuse dates and time spans, which numpy would turn into numbers in silence."""
    kinds = (
        {np.dtype(getattr(X, "dtype", float)).kind} if hasattr(X, "dtype") else set()
    )
    if hasattr(X, "iloc"):
        kinds = {getattr(dtype, "kind", "O") for dtype in X.dtypes}
    if kinds & set("mM"):
        raise TypeError(
            "X has columns of dates or time spans. Turn them into numbers first, for "
            "instance days since a fixed date."
        )
