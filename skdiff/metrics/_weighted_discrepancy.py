"""Maximum mean discrepancy to a simulator whose random inputs are known."""

from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import erfcx, ndtr

from skdiff._base.typing import Array
from skdiff._base.validation import is_real
from skdiff.metrics._discrepancy import (
    as_rows,
    make_kernel,
    median_scale,
    pair_sums,
    two_samples,
)

JITTERS = 10.0 ** np.arange(-8, 0)
LARGEST_SUM = 1.5  # of the absolute weights, with jitter="auto"
_DISTRIBUTIONS = ("uniform", "normal")
_RATES = {"matern32": np.sqrt(3.0), "matern52": np.sqrt(5.0)}
_KERNELS = ("rbf", *_RATES)


def input_kernel(u: Array, v: Array, name: str, scale: float) -> Array:
    """Return the product over the columns of a kernel between inputs."""
    found = np.ones((len(u), len(v)))
    for a, b in zip(u.T, v.T, strict=True):
        r = np.abs(a[:, None] - b) / scale
        if name == "rbf":
            found *= np.exp(-0.5 * r * r)
            continue
        r = r * _RATES[name]
        shape = 1 + r if name == "matern32" else 1 + r + r * r / 3
        found *= shape * np.exp(-r)
    return found


def mean_embedding(u: Array, name: str, scale: float, distribution: str) -> Array:
    """Return the expected kernel between each row and the distribution of inputs."""
    columns = {"uniform": _uniform_column, "normal": _normal_column}[distribution]
    found: Array = np.prod([columns(x, name, scale) for x in u.T], axis=0)
    return found


def _uniform_column(x: Array, name: str, scale: float) -> Array:
    if name == "rbf":
        found: Array = ndtr((1 - x) / scale) - ndtr(-x / scale)
        return found * np.sqrt(2 * np.pi) * scale
    a = _RATES[name] / scale
    return _up_to(x, a, name) + _up_to(1 - x, a, name)


def _up_to(b: Array, a: float, name: str) -> Array:
    """Integral of the kernel over distances from 0 to b."""
    decay = np.exp(-a * b)
    found: Array = 2 / a * (1 - decay) - b * decay
    if name == "matern52":
        found += 2 / (3 * a) * (1 - decay) - decay * (2 * b / 3 + a * b * b / 3)
    return found


def _normal_column(x: Array, name: str, scale: float) -> Array:
    if name == "rbf":
        spread = scale**2 + 1
        found: Array = scale / np.sqrt(spread) * np.exp(-0.5 * x * x / spread)
        return found
    a = _RATES[name] / scale
    return _beyond(x, a, name) + _beyond(-x, a, name)


def _beyond(x: Array, a: float, name: str) -> Array:
    """Expectation of the kernel over normal inputs above x.

    With g(a) = E[exp(-a (u - x)); u > x]: g' = (x + a) g - phi, g'' = g + (x + a) g'.
    """
    density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    # erfcx overflows far below zero, where the tail has no mass to lose
    g = np.where(
        x + a > -8,
        density * np.sqrt(np.pi / 2) * erfcx(np.maximum(x + a, -8.0) / np.sqrt(2)),
        np.exp(np.minimum(a * x + a * a / 2, 0.0)),
    )
    first = (x + a) * g - density
    found: Array = g - a * first
    if name == "matern52":
        found += a * a / 3 * (g + (x + a) * first)
    return found


def optimal_weights(C: Array, z: Array, jitter: Any) -> Array:
    """Return ``(C + jitter I)^-1 z``; ``"auto"`` bounds the sum of absolute values."""
    found = z
    for delta in JITTERS if isinstance(jitter, str) else [jitter]:
        try:
            factor = cho_factor(C + delta * np.eye(len(C)), lower=True)
        except LinAlgError:
            continue
        found = cho_solve(factor, z)
        if not isinstance(jitter, str) or np.abs(found).sum() <= LARGEST_SUM:
            return found
    if not isinstance(jitter, str):
        raise ValueError(
            f"jitter={jitter} leaves the kernel matrix of u singular: rows of u are "
            'equal or nearly so. Use a larger one, or "auto".'
        )
    return found


def optimally_weighted_mmd(
    X: Any,
    u: Any,
    Y: Any,
    *,
    u_distribution: str = "uniform",
    kernel: Any = "rbf",
    bandwidth: Any = "median",
    u_kernel: str = "rbf",
    u_bandwidth: Any = "median",
    jitter: Any = "auto",
    return_weights: bool = False,
) -> Any:
    """Return the squared MMD of a simulator to data, from few simulator runs.

    Use it where rows ``X = G(u)`` come from an expensive simulator and the random
    inputs u of each row are known. Runs are weighted so that they represent the
    distribution of u better than equal weights do (Bayesian quadrature).

    Parameters
    ----------
    X : array-like of shape (m_samples, n_features)
        Outputs of the simulator.
    u : array-like of shape (m_samples, n_inputs)
        Random inputs of each output.
    Y : array-like of shape (n_samples, n_features)
        Data.
    u_distribution : {"uniform", "normal"}, default="uniform"
        Distribution of the inputs: uniform on [0, 1] or standard normal, independent
        columns.
    kernel : {"rbf", "laplacian"} or callable, default="rbf"
        Kernel between rows, as in :func:`mmd`.
    bandwidth : float or "median", default="median"
        Its width; the median rule reads Y only, so that it does not depend on the
        simulator.
    u_kernel : {"rbf", "matern32", "matern52"}, default="rbf"
        Kernel between inputs, a product over their columns.
    u_bandwidth : float or "median", default="median"
        Its length scale.
    jitter : float or "auto", default="auto"
        Added to the diagonal of the kernel matrix of u. ``"auto"`` is the smallest of
        1e-8, 1e-7, ..., 1e-1 for which the absolute weights sum to 1.5 at most.
    return_weights : bool, default=False
        Whether to return the weights of the runs too.

    Returns
    -------
    mmd2 : float
        Squared discrepancy.
    weights : ndarray of shape (m_samples,)
        Only with ``return_weights=True``. They may be negative, and their sum need not
        be one.

    See Also
    --------
    mmd : Equal weights.

    Notes
    -----
    The paper has ``jitter=1e-8``. With two or more columns of u that leaves large
    weights of both signs, and errors above those of equal weights. With one column,
    runs at stratified u and equal weights are as good: weights pay for inputs that are
    given and unstructured, a smooth simulator, and two to eight columns of u.

    References
    ----------
    A. Bharti, M. Naslidnyk, O. Key, S. Kaski and F.-X. Briol, "Optimally-Weighted
    Estimators of the Maximum Mean Discrepancy for Likelihood-Free Inference", ICML
    2023, arXiv:2301.11674.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.metrics import optimally_weighted_mmd
    >>> rng = np.random.default_rng(0)
    >>> u, data = rng.uniform(size=(50, 1)), rng.uniform(size=(2000, 1)) ** 2
    >>> abs(optimally_weighted_mmd(u**2, u, data)) < 1e-3
    True
    """
    (X, Y), u = two_samples(X, Y), as_rows(u, "u")
    _check(X, u, u_distribution, u_kernel)
    if not _is_name(jitter, "auto") and not (is_real(jitter) and 0 <= jitter < np.inf):
        raise ValueError(f'jitter must be "auto" or a number >= 0. Got {jitter!r}.')
    scale = median_scale(u) if _is_name(u_bandwidth, "median") else u_bandwidth
    if not is_real(scale) or not 0 < scale < np.inf:
        raise ValueError(
            f'u_bandwidth must be "median" or a positive number. Got {u_bandwidth!r}.'
        )
    C = input_kernel(u, u, u_kernel, scale)
    z = mean_embedding(u, u_kernel, scale, u_distribution)
    w = optimal_weights(C, z, jitter)
    value = weighted_value(make_kernel(kernel, bandwidth, lambda: Y), X, Y, w)
    return (value, w) if return_weights else value


def _is_name(value: Any, name: str) -> bool:
    return isinstance(value, str) and value == name


def weighted_value(k: Any, X: Array, Y: Array, w: Array) -> float:
    """Return w'K_xx w - 2 w'K_xy 1/n + 1'K_yy 1/n^2."""
    cross = pair_sums(k, X, Y).rows
    return float(w @ k(X, X) @ w - 2 * w @ cross + pair_sums(k, Y).rows.mean())


def _check(X: Array, u: Array, distribution: str, kernel: str) -> None:
    if len(X) != len(u):
        raise ValueError(f"X and u must have the same rows. Got {len(X)} and {len(u)}.")
    if distribution not in _DISTRIBUTIONS:
        raise ValueError(
            f"u_distribution must be one of {', '.join(_DISTRIBUTIONS)}. "
            f"Got {distribution!r}."
        )
    if kernel not in _KERNELS:
        raise ValueError(
            f"u_kernel must be one of {', '.join(_KERNELS)}. Got {kernel!r}."
        )
    if distribution == "uniform" and (u.min() < 0 or u.max() > 1):
        raise ValueError(
            f"u has values outside of [0, 1], from {u.min():g} to {u.max():g}. Inputs "
            'of another distribution need u_distribution="normal" or a transformation.'
        )
