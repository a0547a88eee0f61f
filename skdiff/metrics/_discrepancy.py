"""Maximum mean discrepancy between two samples.

Sums of kernels run in blocks of rows, so that no matrix of all pairs is stored.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist, pdist
from sklearn.utils import check_array, check_random_state

from skdiff._base.typing import Array
from skdiff._base.validation import is_real, refuse_dates, refuse_foreign_arrays

Kernel = Callable[[Array, Array], Array]
BLOCK = 2_000
_MEDIAN_ROWS = 1_000
_KERNELS = ("rbf", "laplacian")


class Sums(NamedTuple):
    """Sums of one kernel over all pairs of two samples."""

    rows: Array  # (m,), means over the second sample
    columns: Array  # (n,), means over the first sample
    square: float  # mean of the squared kernel
    diagonal: Array  # (m,), k(x, x); empty for two samples


def as_rows(values: Any, name: str) -> Array:
    """Return rows of finite numbers; one column may come without its axis."""
    refuse_foreign_arrays(values, name)
    refuse_dates(values, name)
    found: Array = check_array(
        values, ensure_2d=False, dtype=np.float64, input_name=name
    )
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2:
        raise ValueError(f"{name} must have one or two axes. Got {found.ndim}.")
    return found


def median_scale(X: Array) -> float:
    """Return the root of half the median squared distance, of at most 1000 rows."""
    step = -(-len(X) // _MEDIAN_ROWS)
    distances = pdist(X[::step]) if len(X) > 1 else np.zeros(1)
    middle = float(np.median(distances))
    if middle == 0 and distances.any():  # most rows are equal
        middle = float(distances[distances > 0].mean())
    return middle / np.sqrt(2) if middle > 0 else 1.0


def make_kernel(kernel: Any, bandwidth: Any, rows: Callable[[], Array]) -> Kernel:
    """Return a function of two samples; ``rows`` gives those of the median rule."""
    if callable(kernel):
        return _checked(kernel)
    if kernel not in _KERNELS:
        raise ValueError(
            f"kernel must be one of {', '.join(_KERNELS)}, or a callable. "
            f"Got {kernel!r}."
        )
    median = isinstance(bandwidth, str) and bandwidth == "median"
    scale = median_scale(rows()) if median else bandwidth
    if median and not scale < np.inf:
        raise ValueError("Distances of the rows overflow. Divide their columns.")
    if not is_real(scale) or not 0 < float(scale) < np.inf:
        raise ValueError(
            f'bandwidth must be "median" or a positive number. Got {bandwidth!r}.'
        )
    width = float(scale)
    if kernel == "rbf":
        return lambda A, B: np.exp(-cdist(A, B, "sqeuclidean") / (2 * width**2))
    return lambda A, B: np.exp(-cdist(A, B, "cityblock") / width)


def _checked(kernel: Callable[..., Any]) -> Kernel:
    def checked(A: Array, B: Array) -> Array:
        found = np.asarray(kernel(A, B), dtype=np.float64)
        if found.shape != (len(A), len(B)):
            raise ValueError(
                f"kernel must return one number per pair, shape {(len(A), len(B))}. "
                f"Got {found.shape}."
            )
        if not np.isfinite(found).all():
            raise ValueError("kernel returned NaN or infinity.")
        return found

    return checked


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of rows."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def pair_sums(kernel: Kernel, X: Array, Y: Array | None = None) -> Sums:
    """Return the sums over all pairs of X and Y, or of X with itself."""
    other = X if Y is None else Y
    rows, columns = np.empty(len(X)), np.zeros(len(other))
    square, diagonal = 0.0, []
    for part in blocks(len(X)):
        for held in blocks(len(other)):
            K = kernel(X[part], other[held])
            rows[part] = K.sum(axis=1) + (rows[part] if held.start else 0.0)
            columns[held] += K.sum(axis=0)
            square += float((K * K).sum())
            if Y is None and part == held:
                diagonal.append(np.diagonal(K))
    found = np.concatenate(diagonal) if diagonal else np.empty(0)
    total = len(X) * len(other)
    return Sums(rows / len(other), columns / len(X), square / total, found)


def _residual(sums: Sums) -> float:
    """Mean square of the kernel less its row and column means."""
    middle = sums.rows.mean()
    found = sums.square - (sums.rows**2).mean() - (sums.columns**2).mean() + middle**2
    return max(float(found), 0.0)


def _standard_error(xx: Sums, yy: Sums, xy: Sums) -> float:
    """First and second order terms of the Hoeffding decomposition."""
    m, n = len(xx.rows), len(yy.rows)
    second = [_residual(part) for part in (xx, yy, xy)]
    # row means carry noise of the second order, which is not of the first
    first = np.var(xx.rows - xy.rows, ddof=1) - second[0] / m - second[2] / n
    other = np.var(yy.rows - xy.columns, ddof=1) - second[1] / n - second[2] / m
    variance = 4 * max(float(first), 0.0) / m + 4 * max(float(other), 0.0) / n
    variance += 2 * second[0] / (m * (m - 1)) + 2 * second[1] / (n * (n - 1))
    return float(np.sqrt(variance + 4 * second[2] / (m * n)))


def _permuted(kernel: Kernel, Z: Array, m: int, labels: Array, unbiased: bool) -> Array:
    """Values of the statistic for columns of labels, 1 for the first sample."""
    n, products = len(Z) - m, np.zeros_like(labels)
    total = np.zeros(len(Z))
    for part in blocks(len(Z)):
        for held in blocks(len(Z)):
            K = kernel(Z[part], Z[held])
            if unbiased and part == held:
                np.fill_diagonal(K, 0.0)
            products[part] += K @ labels[held]
            total[part] += K.sum(axis=1)
    first = (labels * products).sum(axis=0)
    cross = ((1 - labels) * products).sum(axis=0)
    second = total.sum() - first - 2 * cross
    found: Array = first / (m * (m - unbiased)) + second / (n * (n - unbiased))
    return found - 2 * cross / (m * n)


def _shuffles(m: int, n: int, count: int, random_state: Any) -> Array:
    rng = check_random_state(random_state)
    labels = np.zeros((m + n, count + 1))
    labels[:m] = 1.0  # the first column is what was observed
    for k in range(1, count + 1):
        labels[:, k] = rng.permutation(labels[:, 0])
    return labels


def mmd(
    X: Any,
    Y: Any,
    *,
    kernel: Any = "rbf",
    bandwidth: Any = "median",
    estimator: str = "unbiased",
    return_std: bool = False,
    return_pvalue: bool = False,
    n_permutations: int = 200,
    random_state: Any = None,
) -> Any:
    """Return the squared maximum mean discrepancy between two samples.

    It is 0 in expectation for two samples of one distribution (``"unbiased"``), and
    positive for two distributions that differ, in whatever respect the kernel sees.

    Parameters
    ----------
    X : array-like of shape (m_samples, n_features)
        First sample.
    Y : array-like of shape (n_samples, n_features)
        Second sample.
    kernel : {"rbf", "laplacian"} or callable, default="rbf"
        ``exp(-||x - y||^2 / (2 bandwidth^2))``, ``exp(-||x - y||_1 / bandwidth)``, or
        a function of two arrays of rows that returns a matrix.
    bandwidth : float or "median", default="median"
        Width of the kernel; ``"median"`` is the root of half the median squared
        distance of the rows of both samples (of at most 1000 of them).
    estimator : {"unbiased", "v"}, default="unbiased"
        The U-statistic, which may be negative, or the V-statistic, which is not.
    return_std : bool, default=False
        Whether to return a standard error of the U-statistic too.
    return_pvalue : bool, default=False
        Whether to return the p-value of a permutation test too.
    n_permutations : int, default=200
        Number of permutations of that test.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    mmd2 : float
        Squared discrepancy.
    std : float
        Standard error, only with ``return_std=True``.
    pvalue : float
        Only with ``return_pvalue=True``.

    See Also
    --------
    optimally_weighted_mmd : For an expensive simulator whose random inputs are known.

    Notes
    -----
    Time is O((m + n)^2), memory that of 2000 x 2000 kernel values at most.

    References
    ----------
    A. Gretton, K. M. Borgwardt, M. J. Rasch, B. Schölkopf and A. Smola, "A Kernel
    Two-Sample Test", Journal of Machine Learning Research 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.metrics import mmd
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((100, 2)), rng.standard_normal((150, 2))
    >>> value, pvalue = mmd(X, Y + 1, return_pvalue=True, random_state=0)
    >>> bool(value > 0.1), pvalue < 0.01
    (True, True)
    """
    X, Y = two_samples(X, Y)
    if estimator not in ("unbiased", "v"):
        raise ValueError(f'estimator must be "unbiased" or "v". Got {estimator!r}.')
    unbiased = estimator == "unbiased"
    if (unbiased or return_std) and min(len(X), len(Y)) < 2:
        raise ValueError(f"X and Y need two rows each. Got {len(X)} and {len(Y)}.")
    if return_pvalue:
        _check_count(n_permutations)
    k = make_kernel(kernel, bandwidth, lambda: np.concatenate([X, Y]))
    xx, yy, xy = pair_sums(k, X), pair_sums(k, Y), pair_sums(k, X, Y)
    value = -2 * float(xy.rows.mean())
    for part in (xx, yy):
        drop = part.diagonal.sum() if unbiased else 0.0
        size = len(part.rows)
        value += float(part.rows.sum() * size - drop) / (size * (size - unbiased))
    found = [value]
    if return_std:
        found.append(_standard_error(xx, yy, xy))
    if return_pvalue:
        found.append(_pvalue(k, X, Y, unbiased, n_permutations, random_state))
    return value if len(found) == 1 else tuple(found)


def two_samples(X: Any, Y: Any) -> tuple[Array, Array]:
    """Return two samples of the same columns."""
    names = [list(Z.columns) for Z in (X, Y) if hasattr(Z, "columns")]
    if len(names) == 2 and names[0] != names[1]:
        raise ValueError(
            "X and Y must have the same columns in the same order. Got "
            f"{names[0]} and {names[1]}."
        )
    X, Y = as_rows(X, "X"), as_rows(Y, "Y")
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            "X and Y must have the same columns. Got "
            f"{X.shape[1]} and {Y.shape[1]} of them."
        )
    return X, Y


def _check_count(count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"n_permutations must be a positive int. Got {count!r}.")


def _pvalue(
    k: Kernel, X: Array, Y: Array, unbiased: bool, count: int, random_state: Any
) -> float:
    labels = _shuffles(len(X), len(Y), int(count), random_state)
    values = _permuted(k, np.concatenate([X, Y]), len(X), labels, unbiased)
    reach = values[0] - 1e-12 * np.abs(values).max()
    return float((values >= reach).mean())
