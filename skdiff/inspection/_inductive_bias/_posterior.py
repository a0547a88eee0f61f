"""Gaussian hypotheses that fit the training rows, and the law of their test error."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from sklearn.gaussian_process.kernels import RBF, DotProduct

from skdiff._base.typing import Array
from skdiff.inspection._inductive_bias._quadratic import QuadraticForm
from skdiff.metrics._discrepancy import median_scale

#: of the largest eigenvalue, and of the prior variance: no randomness left
_NEGLIGIBLE, _ROUNDING = 1e-10, 1e-13


class Posterior(NamedTuple):
    """Values on the test rows of functions that fit the training rows."""

    mean: Array  # (n_test, n_outputs)
    covariance: Array  # (n_test, n_test), of each output
    prior: float  # mean variance before the training rows were seen


def make_hypothesis_kernel(hypotheses: Any, X: Array) -> Any:
    """Return a function of two arrays of rows."""
    if hypotheses == "rbf":
        return RBF(length_scale=max(median_scale(X) * np.sqrt(2), 1e-12))
    if hypotheses == "linear":
        size = float(((X - X.mean(axis=0)) ** 2).sum(axis=1).mean())
        return lambda A, B: DotProduct(1.0)(
            (A - X.mean(axis=0)) / np.sqrt(size or 1.0),
            (B - X.mean(axis=0)) / np.sqrt(size or 1.0),
        )
    return hypotheses


def _gram(kernel: Any, A: Array, B: Array) -> Array:
    found = np.asarray(kernel(A, B), dtype=np.float64)
    if found.shape != (len(A), len(B)):
        raise ValueError(
            f"hypotheses must return one number per pair, shape {(len(A), len(B))}. "
            f"Got {found.shape}."
        )
    if not np.isfinite(found).all():
        raise ValueError("hypotheses returned NaN or infinity.")
    return found


def condition(
    kernel: Any, X: Array, Y: Array, X_test: Array, noise: float
) -> Posterior:
    """Condition the Gaussian process of unit scale on the training targets.

    mu = K_tx K_xx^-1 y, Sigma = K_tt - K_tx K_xx^-1 K_xt.
    """
    K, cross = _gram(kernel, X, X), _gram(kernel, X_test, X)
    size = float(np.trace(K)) / len(K)
    if size <= 0:
        raise ValueError("The kernel of hypotheses is zero on the training rows.")
    factor = _factor(K, noise * size)
    half = solve_triangular(factor, cross.T, lower=True)
    prior = _gram(kernel, X_test, X_test)
    mean = cross @ cho_solve((factor, True), Y)
    return Posterior(mean, prior - half.T @ half, float(np.diagonal(prior).mean()))


def _factor(K: Array, jitter: float) -> Array:
    """Cholesky factor; a singular matrix gets a larger jitter, with a warning."""
    size = float(np.trace(K)) / len(K)
    for attempt in range(8):
        try:
            found: Array = cholesky(K + jitter * np.eye(len(K)), lower=True)
        except LinAlgError:
            jitter = max(10 * jitter, 1e-10 * size)
            continue
        if attempt:
            warnings.warn(
                f"The kernel matrix is singular; jitter was raised to {jitter:.1g}.",
                UserWarning,
                stacklevel=4,
            )
        return found
    raise ValueError(
        "The kernel matrix of hypotheses is not positive definite. Raise noise."
    )


def error_form(posterior: Posterior, Y_test: Array) -> QuadraticForm:
    """Return the law of ||h - y||^2 / (n_test n_outputs).

    With eigenpairs (lambda_j, u_j) of Sigma / (n_test n_outputs), every output adds
    lambda_j chi2_1((u_j'(mu - y))^2 / (lambda_j n_test n_outputs)); what lies in the
    null space of Sigma is certain.
    """
    count = Y_test.size
    values, vectors = np.linalg.eigh(posterior.covariance / count)
    along = (vectors.T @ (posterior.mean - Y_test)) ** 2 / count
    least = _ROUNDING * posterior.prior / Y_test.shape[1]
    kept = values > max(_NEGLIGIBLE * float(values.max()), least)
    floor = float(along[~kept].sum())
    weights = np.repeat(values[kept], Y_test.shape[1])
    return QuadraticForm(weights, along[kept].ravel() / weights, floor)


def draw(posterior: Posterior, count: int, rng: Any) -> Array:
    """Draw values (count, n_test, n_outputs)."""
    values, vectors = np.linalg.eigh(posterior.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    z = rng.standard_normal((count, len(values), posterior.mean.shape[1]))
    found: Array = posterior.mean + root @ z
    return found
