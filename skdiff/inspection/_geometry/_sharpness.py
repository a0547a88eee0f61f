"""How fast labels change from row to row, and how near rows of different labels are."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from skdiff._base.typing import Array, IntArray
from skdiff._base.validation import is_real, require_y
from skdiff.inspection._geometry._dimension import numeric_rows

_BLOCK = 1_000
#: whole numbers are classes up to so many values with so many rows each
_MOST_CLASSES, _FEWEST_ROWS = 50, 3


class Target(NamedTuple):
    """A target as numbers, or as codes of classes."""

    values: Any  # codes 0..K-1, or numbers
    n_classes: int  # 0 for numbers


def read_target(y: Any, X: Array, caller: str, task: str = "auto") -> Target:
    """Return a target of as many rows as X; few whole numbers are classes in doubt."""
    if y is None:
        require_y(type(caller, (), {})(), y)
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    if task == "auto":
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        most = min(_MOST_CLASSES, len(y) // _FEWEST_ROWS)
        many = y.dtype.kind in "iuf" and len(np.unique(y)) > max(most, 2)
        number = many or kind.startswith("continuous")
        task = "regression" if number else "classification"
    if task == "classification":
        classes, codes = np.unique(y, return_inverse=True)
        return Target(codes, len(classes))
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y must hold numbers for regression: {error}") from error
    if not np.isfinite(values).all():
        raise ValueError("Input y contains NaN or infinity.")
    return Target(values, 0)


def nearest_other_class(X: Array, codes: IntArray) -> tuple[Array, IntArray]:
    """Return distance and number of the nearest row of another class."""
    distance, row = np.full(len(X), np.inf), np.zeros(len(X), dtype=np.int64)
    for c in np.unique(codes):
        inside, outside = np.flatnonzero(codes == c), np.flatnonzero(codes != c)
        found = NearestNeighbors(n_neighbors=1).fit(X[outside]).kneighbors(X[inside])
        distance[inside], row[inside] = found[0][:, 0], outside[found[1][:, 0]]
    return distance, row


def steepest(X: Array, y: Array) -> tuple[Array, int]:
    """Return the largest slope from each row, and the number of contradictions.

    Equal rows with unequal targets have no slope and are counted instead.
    """
    found, conflicts = np.zeros(len(X)), 0
    for start in range(0, len(X), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distance, rise = cdist(X[rows], X), np.abs(y[rows, None] - y)
        same = distance == 0
        conflicts += int((same & (rise > 0)).any(axis=1).sum())
        slopes = np.where(same, 0.0, rise / np.where(same, 1.0, distance))
        found[rows] = slopes.max(axis=1)
    return found, conflicts


def _of_classes(X: Array, codes: IntArray) -> tuple[Array, int]:
    distance, _ = nearest_other_class(X, codes)
    conflicts = distance == 0
    if not conflicts.any():
        return 1 / distance, 0
    # rows that stand at a row of another class are taken out before the search
    kept = ~conflicts
    found = np.zeros(len(X))
    if len(np.unique(codes[kept])) > 1:
        found[kept] = 1 / nearest_other_class(X[kept], codes[kept])[0]
    return found, int(conflicts.sum())


def label_sharpness(
    X: Any,
    y: Any,
    *,
    standardize: bool = True,
    quantile: float = 1.0,
    task: str = "auto",
    return_local: bool = False,
) -> Any:
    """Return how fast the label changes with the rows, at the steepest place.

    For classes it is the largest reciprocal distance of two rows of different classes,
    for numbers the largest slope. A sharp target needs more rows. On labels that do not
    depend on X it grows without bound with the number of rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Classes or numbers.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. Distances are
        then divided by the root of the number of columns, so that tables of different
        width compare.
    quantile : float, default=1.0
        Quantile over the rows; 0.99 is less affected by single wrong labels than the
        maximum.
    task : {"auto", "classification", "regression"}, default="auto"
        What y holds; ``"auto"`` takes strings, and whole numbers with at most 50
        values and three rows per value, for classes.
    return_local : bool, default=False
        Whether to return the value of every row too.

    Returns
    -------
    sharpness : float
        The quantile of the rows' values.
    local : ndarray of shape (n_samples,)
        Largest value among the pairs of each row, only with ``return_local=True``.

    Notes
    -----
    Exact: a nearest-neighbour search for classes, all pairs in blocks for numbers.
    Equal rows with different labels would give infinity; they are left out, with a
    warning that counts them.

    References
    ----------
    N. Konz and M. A. Mazurowski, "The Effect of Intrinsic Dataset Properties on
    Generalization", ICLR 2024, arXiv:2401.08865.

    Examples
    --------
    >>> from skdiff.inspection import label_sharpness
    >>> X = [[0.0], [0.1], [2.1], [2.3]]
    >>> round(label_sharpness(X, ["a", "a", "b", "b"], standardize=False), 3)
    0.5
    """
    X = numeric_rows(X)
    target = read_target(y, X, "label_sharpness", _check_task(task))
    if not is_real(quantile) or not 0 <= quantile <= 1:
        raise ValueError(f"quantile must lie in [0, 1]. Got {quantile!r}.")
    if target.n_classes == 1:
        raise ValueError("y has one class only; two are needed.")
    if standardize:
        spread = X.std(axis=0)
        X = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        X = X / np.sqrt(X.shape[1])
    how = _of_classes if target.n_classes else steepest
    local, conflicts = how(X, target.values)
    if conflicts:
        warnings.warn(
            f"{conflicts} rows equal a row with another label; these pairs are left "
            "out.",
            UserWarning,
            stacklevel=2,
        )
    value = float(np.quantile(local, quantile))
    return (value, local) if return_local else value


def _check_task(task: str) -> str:
    if task not in ("auto", "classification", "regression"):
        raise ValueError(
            f'task must be "auto", "classification" or "regression". Got {task!r}.'
        )
    return task
