"""Distances between two representations of the same rows."""

from math import comb
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.utils import check_random_state

from skdiff._base.typing import Array
from skdiff._base.validation import is_real
from skdiff.metrics._discrepancy import as_rows

_KINDS, _ESTIMATORS = ("angular", "procrustes"), ("plugin", "moments")
_GROUPS = 10  # of the jackknife
_GRID = 60  # points at which the polynomial is compared with the root


def whitened(X: Array, fraction: float) -> Array:
    """Return centred columns, whitened by a fraction."""
    X = X - X.mean(axis=0)
    if fraction == 0:
        return X
    values, vectors = np.linalg.eigh(X.T @ X / len(X))
    root = np.where(values > 1e-10 * values.max(), values, np.inf) ** -0.5
    found: Array = (1 - fraction) * X + fraction * (X @ (vectors * root) @ vectors.T)
    return found


def cross_moments(A: Array, B: Array, n_moments: int) -> Array:
    """Return unbiased estimates of tr((S_xy S_yx)^k), k = 1..n_moments.

    The trace is the mean of cyclic products A[i1, i2] B[i2, i3] A[i3, i4] ... B[., i1]
    over distinct rows. Products over increasing rows are powers of strictly upper
    triangular matrices (W. Kong and G. Valiant, "Spectrum Estimation from Samples",
    2017, Algorithm 1).
    """
    n, found = len(A), np.zeros(n_moments)
    upper_a, upper_b = np.triu(A, 1), np.triu(B, 1)
    path = upper_a
    for k in range(1, n_moments + 1):
        if 2 * k > n:
            break
        found[k - 1] = float((path * B).sum()) / comb(n, 2 * k)
        path = path @ upper_b @ upper_a
    return found


def averaged_moments(X: Array, Y: Array, n_moments: int, orders: list[Any]) -> Array:
    """Average the estimates over several orders of the rows."""
    A, B = X @ X.T, Y @ Y.T
    orders = [order[order < len(X)] for order in orders]
    return np.mean(
        [cross_moments(A[np.ix_(o, o)], B[np.ix_(o, o)], n_moments) for o in orders],
        axis=0,
    )


def jackknife_covariance(X: Array, Y: Array, n_moments: int, order: Any) -> Array:
    """Return the covariance of the estimates, by leaving out a tenth of the rows."""
    parts = []
    for rows in np.array_split(np.arange(len(X)), _GROUPS):
        kept = np.setdiff1d(np.arange(len(X)), rows)
        parts.append(averaged_moments(X[kept], Y[kept], n_moments, [order]))
    spread = np.cov(np.array(parts), rowvar=False, bias=True) * (_GROUPS - 1)
    return np.atleast_2d(spread)


def root_coefficients(covariance: Array, largest: float, weight: float) -> Array:
    """Return the polynomial that replaces the root on [0, 1] in units of ``largest``.

    Minimises ``weight`` times the squared largest error plus the variance, as the
    paper's quadratic programme does.
    """
    K = len(covariance)
    t = np.linspace(0, 1, _GRID) ** 2
    powers, root = t[:, None] ** np.arange(1, K + 1), np.sqrt(t)
    start, *_ = np.linalg.lstsq(powers, root, rcond=None)
    worst = np.abs(root - powers @ start).max()
    V = covariance / max(largest, 1e-300)
    sides = np.concatenate([powers, -powers]), np.concatenate([root, -root])

    def objective(z: Array) -> Any:
        value = weight * z[K] ** 2 + z[:K] @ V @ z[:K]
        return value, np.append(2 * V @ z[:K], 2 * weight * z[K])

    constraint = {
        "type": "ineq",
        "fun": lambda z: sides[0] @ z[:K] - sides[1] + z[K],
        "jac": lambda z: np.hstack([sides[0], np.ones((2 * _GRID, 1))]),
    }
    found = minimize(
        objective,
        np.append(start, worst),
        jac=True,
        constraints=[constraint],
        method="SLSQP",
        options={"maxiter": 200},
    )
    gamma: Array = np.asarray(found.x[:K] if found.success else start, np.float64)
    return gamma


def nuclear_norm_by_moments(
    X: Array, Y: Array, n_moments: int, weight: float, rng: Any
) -> float:
    """Return the estimate of the nuclear norm of the cross covariance."""
    largest = np.linalg.norm(X.T @ Y / len(X), 2) ** 2
    if largest == 0:
        return 0.0
    orders = [rng.permutation(len(X)) for _ in range(_GROUPS)]
    # in units of the largest squared singular value, the powers keep one scale
    size = largest**0.25
    X, Y = X / size, Y / size
    moments = averaged_moments(X, Y, n_moments, orders)
    spread = jackknife_covariance(X, Y, n_moments, orders[0])
    gamma = root_coefficients(spread, 1.0, weight)
    return float(gamma @ moments * np.sqrt(largest))


def _size(Z: Array) -> int:
    """Exponent of the power of two above all values; zero for zeros."""
    return int(np.frexp(np.abs(Z).max())[1])


def _value(X: Array, Y: Array, kind: str, norm: float) -> float:
    sizes = [float((Z**2).sum() / len(Z)) for Z in (X, Y)]
    if kind == "procrustes":
        return float(np.sqrt(max(sizes[0] + sizes[1] - 2 * norm, 0.0)))
    size = np.sqrt(sizes[0] * sizes[1])
    if size == 0:
        raise ValueError("X or Y is constant, and has no direction.")
    return float(np.arccos(np.clip(norm / size, -1.0, 1.0)))


def shape_distance(
    X: Any,
    Y: Any,
    *,
    kind: str = "angular",
    estimator: str = "plugin",
    whitening: float = 0.0,
    n_moments: int = 5,
    bias_weight: float = 1.0,
    random_state: Any = None,
) -> float:
    """Return how far two representations of the same rows differ in shape.

    The distance does not change when the columns of one are rotated or shifted, and
    the angular one not when they are scaled (with whitening 0 or 1; in between, the
    units of the columns decide how much is whitened). 0 means equal up to these.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        First representation, such as the hidden layer of a network.
    Y : array-like of shape (n_samples, m_features)
        Second representation of the same rows.
    kind : {"angular", "procrustes"}, default="angular"
        The angle in radians, or the root of tr S_xx + tr S_yy - 2 ||S_xy||_*.
    estimator : {"plugin", "moments"}, default="plugin"
        ``"plugin"`` overestimates ||S_xy||_* where columns are as many as rows, and so
        underestimates distances; ``"moments"`` has less bias and more variance.
    whitening : float, default=0.0
        From 0 (none) to 1 (all columns uncorrelated with variance one).
    n_moments : int, default=5
        Number of moments, with ``estimator="moments"``.
    bias_weight : float, default=1.0
        Weight of the bias against the variance, with ``estimator="moments"``.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. Used by
        ``estimator="moments"``, which averages over orders of the rows.

    Returns
    -------
    distance : float
        Distance.

    Notes
    -----
    Time is O(n p q + min(p, q)^3), with moments O(n^3).

    References
    ----------
    D. A. Pospisil, B. W. Larsen, S. E. Harvey and A. H. Williams, "Estimating Shape
    Distances on Neural Representations with Limited Samples", ICLR 2024,
    arXiv:2310.05742. A. H. Williams, E. Kunz, S. Kornblith and S. W. Linderman,
    "Generalized Shape Metrics on Neural Representations", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.metrics import shape_distance
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 3))
    >>> turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    >>> round(shape_distance(X, 2 * X @ turn + 1), 6)
    0.0
    """
    X, Y = as_rows(X, "X"), as_rows(Y, "Y")
    _check(X, Y, kind, estimator, whitening)
    _check_moments(n_moments, bias_weight)
    if estimator == "moments" and len(X) - -(-len(X) // _GROUPS) < 2 * n_moments:
        raise ValueError(
            f"{n_moments} moments need {2 * n_moments} rows after a tenth of them is "
            f"left out. Got {len(X)} rows: take fewer moments."
        )
    X, Y = whitened(X, whitening), whitened(Y, whitening)
    # in powers of two, which round nothing, so that no square overflows or vanishes
    units = [_size(X), _size(Y)]
    if kind == "procrustes":
        units = [max(units)] * 2
    X, Y = np.ldexp(X, -units[0]), np.ldexp(Y, -units[1])
    if estimator == "moments":
        rng = check_random_state(random_state)
        norm = nuclear_norm_by_moments(X, Y, n_moments, bias_weight, rng)
    else:
        cross = X.T @ Y / len(X)
        norm = float(np.linalg.svd(cross, compute_uv=False).sum())
    value = _value(X, Y, kind, norm)
    return float(np.ldexp(value, units[0])) if kind == "procrustes" else value


def _check(X: Array, Y: Array, kind: str, estimator: str, whitening: float) -> None:
    if len(X) != len(Y):
        raise ValueError(f"X and Y must have the same rows. Got {len(X)} and {len(Y)}.")
    if len(X) < 3:
        raise ValueError(f"A shape needs three rows at least. Got {len(X)}.")
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}. Got {kind!r}.")
    if estimator not in _ESTIMATORS:
        raise ValueError(
            f"estimator must be one of {', '.join(_ESTIMATORS)}. Got {estimator!r}."
        )
    if not is_real(whitening) or not 0 <= whitening <= 1:
        raise ValueError(f"whitening must lie in [0, 1]. Got {whitening!r}.")


def _check_moments(n_moments: int, bias_weight: float) -> None:
    whole = isinstance(n_moments, int | np.integer) and not isinstance(n_moments, bool)
    if not whole or not 1 <= n_moments <= 10:
        raise ValueError(f"n_moments must be an int from 1 to 10. Got {n_moments!r}.")
    if not is_real(bias_weight) or not 0 < bias_weight < np.inf:
        raise ValueError(f"bias_weight must be a positive number. Got {bias_weight!r}.")
