"""The dual of the kernel method of moments, and its minimisation over the model.

For residuals psi of the model on reference rows, the dual of Kremer et al. (2023) in
features F of a row and H of its instruments is

    max over a, b:  mean F a - eps log mean_ref exp((F a - psi H b) / eps)
                    - rho |a|^2 / 2 - lam |b|^2 / 2,

after the maximum over their eta in closed form. It is smooth and concave in (a, b), so
a few Newton steps solve it; its derivative in the parameters of the model is that of
``E_p[-psi H b]`` with p the weights of the exponential (the envelope theorem).
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from scipy import linalg, optimize
from scipy.special import logsumexp

from skdiff._base.typing import Array

_NEWTON = 100


class Model(Protocol):
    """A model with a flat vector of parameters."""

    @property
    def alpha(self) -> float:
        """Ridge penalty of the parameters."""

    def start(self) -> Array:
        """Parameters before any fit."""

    def residuals(self, theta: Array) -> Array:
        """Residuals on the reference rows, of unit variance at the start."""

    def pull(self, theta: Array, weight: Array) -> Array:
        """Gradient of ``sum weight * residual`` in the parameters."""


@dataclass(frozen=True)
class Linear:
    """Residuals ``(y - X theta) / scale``."""

    X: Array
    y: Array
    scale: float
    alpha: float = 0.0

    def start(self) -> Array:
        """Least squares."""
        return np.asarray(np.linalg.lstsq(self.X, self.y, rcond=None)[0])

    def residuals(self, theta: Array) -> Array:
        """Residuals of the rows."""
        return np.asarray((self.y - self.X @ theta) / self.scale)

    def pull(self, theta: Array, weight: Array) -> Array:
        """Gradient in theta."""
        return np.asarray(-self.X.T @ weight / self.scale)


class Weights(NamedTuple):
    """Constants of the dual."""

    entropy: float
    dual: float
    instrument: float


@dataclass
class Dual:
    """The inner problem; the last solution starts the next."""

    F: Array  # (m, D1), reference rows
    mean: Array  # (D1,), of the features over the data
    H: Array  # (m, D2)
    weights: Weights
    at: Array = field(init=False)

    def __post_init__(self) -> None:
        self.at = np.zeros(self.F.shape[1] + self.H.shape[1])

    def solve(self, psi: Array) -> tuple[float, Array, Array]:
        """Return the maximum, the weights p and the instrument function ``H b``."""
        D1, eps = self.F.shape[1], self.weights.entropy
        Phi = np.hstack([self.F, -self.H * psi[:, None]])
        slope = np.concatenate([self.mean, np.zeros(self.H.shape[1])])
        penalty = np.full(len(slope), self.weights.instrument)
        penalty[:D1] = self.weights.dual

        def value(c: Array) -> tuple[float, Array]:
            u = Phi @ c / eps
            top = float(logsumexp(u))
            level = float(slope @ c - 0.5 * penalty @ c**2)
            return level - eps * (top - np.log(len(u))), np.exp(u - top)

        c = self.at
        best, p = value(c)
        for _ in range(_NEWTON):
            centre = p @ Phi
            gradient = slope - centre - penalty * c
            away = Phi - centre
            curvature = (away * p[:, None]).T @ away / eps
            curvature[np.diag_indices_from(curvature)] += penalty
            move = linalg.solve(curvature, gradient, assume_a="pos")
            decrement = float(gradient @ move)
            if decrement <= 1e-16 * (1 + abs(best)):
                break
            step, (new, weights) = 1.0, value(c + move)
            while new < best + 0.25 * step * decrement and step > 1e-10:
                step *= 0.5
                new, weights = value(c + step * move)
            if new <= best:
                break
            c, best, p = c + step * move, new, weights
        self.at = c
        return best, p, self.H @ c[D1:]


class Fit(NamedTuple):
    """Parameters, the objective there, and how the search ended."""

    theta: Array
    objective: float
    n_iter: int
    converged: bool


def minimise(model: Model, dual: Dual, theta: Array, max_iter: int, tol: float) -> Fit:
    """Minimise the dual's maximum over the parameters, from a start."""
    alpha = model.alpha

    def objective(theta: Array) -> tuple[float, Array]:
        best, p, h = dual.solve(model.residuals(theta))
        # of -eps log mean exp((F a - psi H b) / eps) in psi
        penalised = best + 0.5 * alpha * float(theta @ theta)
        return penalised, model.pull(theta, p * h) + alpha * theta

    how = {"maxiter": max_iter, "gtol": tol, "ftol": 1e-15}
    found = optimize.minimize(
        objective, theta, jac=True, method="L-BFGS-B", options=how
    )
    return Fit(found.x, float(found.fun), int(found.nit), int(found.status) != 1)


def moment_weights(H: Array, psi: Array | None) -> Array:
    """Second moments of H, or of psi H, with a light ridge."""
    G = H if psi is None else H * psi[:, None]
    S = G.T @ G / len(H)
    found: Array = S + 1e-6 * max(np.trace(S) / len(S), 1e-300) * np.eye(len(S))
    return found


def linear_start(model: Linear, H: Array) -> Array:
    """Two-step method of moments with the features as instruments."""
    A, b = H.T @ model.X / len(H), H.T @ model.y / len(H)
    theta = model.start()
    for psi in (None, "residuals"):
        S = moment_weights(H, None if psi is None else model.residuals(theta))
        root = linalg.cholesky(S, lower=True)
        left = linalg.solve_triangular(root, A, lower=True)
        right = linalg.solve_triangular(root, b, lower=True)
        theta = np.linalg.lstsq(left, right, rcond=1e-10)[0]
    return np.asarray(theta)


def moment_start(model: Model, H: Array, theta: Array, max_iter: int) -> Array:
    """Minimise the squared residuals, then their projection on the features."""
    n = len(H)
    root = linalg.cholesky(moment_weights(H, None), lower=True)

    def squared(theta: Array) -> tuple[float, Array]:
        psi = model.residuals(theta)
        slope = model.pull(theta, 2 * psi / n) + model.alpha * theta
        return float(psi @ psi) / n + 0.5 * model.alpha * float(theta @ theta), slope

    def projected(theta: Array) -> tuple[float, Array]:
        g = linalg.solve_triangular(root, H.T @ model.residuals(theta) / n, lower=True)
        back = linalg.solve_triangular(root, g, lower=True, trans="T")
        slope = model.pull(theta, 2 * (H @ back) / n) + model.alpha * theta
        return float(g @ g) + 0.5 * model.alpha * float(theta @ theta), slope

    for criterion in (squared, projected):
        theta = optimize.minimize(
            criterion, theta, jac=True, method="L-BFGS-B", options={"maxiter": max_iter}
        ).x
    return np.asarray(theta)


def moment_criterion(psi: Array, Z: Array, width: float, size: int = 8) -> float:
    """Held-out moments over their errors, on the widest functions of the instruments.

    ``g'S^-1 g`` with g the means and S the second moments of psi times the leading
    eigenfunctions of a Gaussian kernel. A criterion without S, or independence of
    residuals and instruments, prefers large penalties where the spread of the residuals
    depends on the instruments.
    """
    top = min(size, len(psi) - 1)
    squares = (Z**2).sum(axis=1)
    K = np.exp(-(squares[:, None] + squares - 2 * Z @ Z.T) / (2 * width**2))
    H = linalg.eigh(K, subset_by_index=(len(K) - top, len(K) - 1))[1]
    H = H * np.sqrt(len(psi))
    g = H.T @ psi / len(psi)
    S = moment_weights(H, psi)
    return float(g @ linalg.solve(S, g, assume_a="pos"))
