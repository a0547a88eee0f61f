"""Intrinsic dimension by nearest neighbours."""

from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_array, check_random_state

from skdiff._base.typing import Array
from skdiff._base.validation import is_real, refuse_dates

_ESTIMATORS = ("mle", "twonn")


def numeric_rows(X: Any, name: str = "X") -> Array:
    """Return a table of finite numbers."""
    refuse_dates(X, name)
    found: Array = check_array(X, dtype=np.float64, input_name=name)
    return found


def log_ratios(X: Array, k: int) -> Array:
    """Return ln(r_k / r_j), j = 1..k-1, of every row (Levina and Bickel, 2004)."""
    # in powers of two, which round nothing, so that no squared distance overflows
    X = np.ldexp(X, -np.frexp(np.abs(X).max())[1])
    distances = NearestNeighbors(n_neighbors=k).fit(X).kneighbors()[0]
    if not distances[:, 0].all():
        raise ValueError(
            "Rows are too near each other for their distances. Centre and scale them."
        )
    found: Array = np.log(distances[:, -1:] / distances[:, :-1])
    if not found.any():
        raise ValueError(
            f"The {k} nearest rows of every row are equally far, as on a grid: no "
            "dimension follows from their distances."
        )
    return found


def mle_dimension(X: Array, k: int) -> tuple[float, float, Array]:
    """Return dimension, standard error and the values of the rows.

    The dimension is the inverse of the mean over all rows, which has less bias than
    the mean of the rows' inverses (D. MacKay and Z. Ghahramani, 2005).
    """
    terms = log_ratios(X, k).mean(axis=1)
    dimension = 1 / terms.mean()
    error = dimension**2 * terms.std(ddof=1) / np.sqrt(len(terms))
    return float(dimension), float(error), 1 / np.maximum(terms, 1e-300)


def two_nn_dimension(X: Array, trim: float) -> tuple[float, float, Array]:
    """Return the same from the ratio of the first two distances.

    ln(r_2 / r_1) is exponential with rate d (E. Facco et al., 2017). Without its
    largest values the rate is that of a censored sample.
    """
    ratios = log_ratios(X, 2)[:, 0]
    kept = len(ratios) - int(trim * len(ratios))
    ordered = np.sort(ratios)
    total = ordered[:kept].sum() + (len(ratios) - kept) * ordered[kept - 1]
    dimension = kept / total
    return (
        float(dimension),
        float(dimension / np.sqrt(kept)),
        1 / np.maximum(ratios, 1e-300),
    )


def intrinsic_dimension(
    X: Any,
    k: int = 5,
    *,
    estimator: str = "mle",
    trim: float = 0.0,
    max_samples: int = 10_000,
    return_std: bool = False,
    return_local: bool = False,
    random_state: Any = None,
) -> Any:
    """Estimate how many dimensions the rows fill locally.

    Rows on a curve in a space of many columns have dimension one. The units of the
    columns matter: standardise them first. Equal rows are counted once.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    k : int, default=5
        Number of neighbours, with ``estimator="mle"``.
    estimator : {"mle", "twonn"}, default="mle"
        Maximum likelihood from k neighbours, or from the ratio of the distances of two,
        which feels curvature and density less and varies more.
    trim : float, default=0.0
        Fraction of the largest ratios that is treated as censored, with
        ``estimator="twonn"``; 0.1 guards against isolated rows.
    max_samples : int, default=10000
        Largest number of rows that are read; more are sampled.
    return_std : bool, default=False
        Whether to return a standard error too.
    return_local : bool, default=False
        Whether to return the value of every distinct row too.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. Used
        where rows are sampled.

    Returns
    -------
    dimension : float
        Estimate.
    std : float
        Standard error, only with ``return_std=True``; rows count as independent,
        so that it is a lower bound.
    local : ndarray of shape (n_distinct,)
        Values of the distinct rows, only with ``return_local=True``.

    Notes
    -----
    A nearest-neighbour search, O(n log n) in few columns and O(n^2) in many. Both
    estimates are too low beyond about ten dimensions, where rows are too few to
    resolve distances.

    References
    ----------
    E. Levina and P. J. Bickel, "Maximum Likelihood Estimation of Intrinsic Dimension",
    NIPS 2004. E. Facco, M. d'Errico, A. Rodriguez and A. Laio, "Estimating the
    Intrinsic Dimension of Datasets by a Minimal Neighborhood Information", Scientific
    Reports 7, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.inspection import intrinsic_dimension
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((1000, 3)) @ rng.standard_normal((3, 20))
    >>> round(intrinsic_dimension(X), 1)
    2.9
    """
    _check(k, estimator, trim, max_samples)
    X = np.unique(numeric_rows(X), axis=0)
    if len(X) > max_samples:
        rng = check_random_state(random_state)
        X = X[rng.permutation(len(X))[:max_samples]]
    need = k + 1 if estimator == "mle" else 3
    if len(X) < need:
        raise ValueError(f"X needs {need} distinct rows. Got {len(X)}.")
    found = mle_dimension(X, k) if estimator == "mle" else two_nn_dimension(X, trim)
    value, error, local = found
    result: list[Any] = [value]
    result += [error] if return_std else []
    result += [local] if return_local else []
    return value if len(result) == 1 else tuple(result)


def _check(k: int, estimator: str, trim: float, max_samples: int) -> None:
    for name, number, least in (("k", k, 2), ("max_samples", max_samples, 3)):
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not whole or number < least:
            raise ValueError(f"{name} must be an int >= {least}. Got {number!r}.")
    if estimator not in _ESTIMATORS:
        raise ValueError(
            f"estimator must be one of {', '.join(_ESTIMATORS)}. Got {estimator!r}."
        )
    if not is_real(trim) or not 0 <= trim < 1:
        raise ValueError(f"trim must lie in [0, 1). Got {trim!r}.")
