"""The network that reads a small table and returns a predictive distribution.

Notation as in ``_bayesian_mixture._mixture``: centred rows Z = U diag(S) V' of spread
one as a whole (so that S'S = n), centred y of standard deviation one, n rows. The
posterior depends on the rows only through S, U'y and n. There is therefore one token
per principal direction, with

    s_j = S_j^2 / n,    rho_j = (u_j'y)^2 / n,

and one token for the table, with n and the part of y that no direction explains. The
network returns, for each of K components, a weight, a noise sigma_k, a penalty lambda_k
where the table has no rows, and per direction two penalties: lambda_jk of the mean,

    w_jk = S_j u_j'y / (S_j^2 + lambda_jk),

and kappa_jk of the variance sigma_k^2 / (S_j^2 + kappa_jk). Ridge regression has one
lambda for all j, least squares has none, and t steps of gradient descent with rate eta
have S_j^2 + lambda_j = S_j^2 / (1 - (1 - eta S_j^2)^t): the rule is read off, not put
in. Predictions are mixtures of K Student t distributions with dof + n - 1 degrees of
freedom, as the exact ones are mixtures of one per cell.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array, FloatArray
from skdiff._nn._attention import encode, layer_norm, linear
from skdiff.linear_model._bayesian_mixture._mixture import Mixture, decompose

_TINY_VARIANCE, _TINY_FIT = 1e-8, 1e-6
_LARGEST = 30.0  # of the logarithm of a penalty, of either sign
DOF = 4.0  # of the mixture that the network imitates
TRAINED_FEATURES, TRAINED_CONTEXT = 16, 128  # largest tables of the training
N_HEADS, N_COMPONENTS, N_BLOCKS = 4, 4, 3


class Components(NamedTuple):
    """Student t components of tables with r directions each."""

    weights: Array  # (tables, K), sum one
    sigma: Array  # (tables, K)
    outside: Array  # (tables, K), penalty where no row lies
    mean_penalty: Array  # (tables, K, r)
    variance_penalty: Array  # (tables, K, r)


def direction_features(s: Array, rho: Array, n: Array) -> Array:
    """Return features (tables, r, 6) of the directions; ``n`` has shape (tables,)."""
    s, log_n = np.maximum(s, _TINY_VARIANCE), np.log(n)[:, None]
    features = [
        np.log(s) / 4,
        np.log(rho + _TINY_FIT) / 4,
        np.log(n[:, None] * rho + 1e-2) / 3,
        np.sqrt(rho),
        (np.log(s) + log_n) / 4,
        np.broadcast_to(log_n / 3, s.shape),
    ]
    return np.stack(features, axis=-1)


def table_features(s: Array, rho: Array, beyond: Array, n: Array) -> Array:
    """Return features (tables, 6) of the tables; ``beyond`` is what y has left, / n."""
    rank = s.shape[1]
    spare = np.maximum(n - 1 - rank, 0.0)
    features = [
        np.log(n) / 3,
        1 / np.maximum(n, 1.0),
        np.log(beyond + _TINY_FIT) / 4,
        np.sqrt(beyond),
        np.log1p(spare) / 3,
        np.full_like(n, rank / 8),
    ]
    return np.stack(features, axis=-1)


def to_components(
    directions: FloatArray, table: FloatArray, n_components: int
) -> Components:
    """Turn the outputs of both heads into components.

    Parameters
    ----------
    directions : array of shape (tables, r, 2 K)
        Logarithms of the penalties.
    table : array of shape (tables, 3 K)
        Logits, logarithms of the noise, and of the penalty outside.
    n_components : int
        K.
    """
    K = n_components
    table = table.astype(np.float64)
    logits = table[:, :K] - table[:, :K].max(axis=1, keepdims=True)
    weights = np.exp(logits)
    weights /= weights.sum(axis=1, keepdims=True)
    penalties = np.exp(np.clip(directions.astype(np.float64), -_LARGEST, _LARGEST))
    penalties = np.swapaxes(penalties, 1, 2)
    return Components(
        weights,
        np.exp(np.clip(table[:, K : 2 * K], -_LARGEST, _LARGEST)),
        np.exp(np.clip(table[:, 2 * K :], -_LARGEST, _LARGEST)),
        penalties[:, :K],
        penalties[:, K:],
    )


class Statistics(NamedTuple):
    """What the posterior depends on, of tables with r directions each."""

    s: Array  # (tables, r)
    rho: Array  # (tables, r)
    beyond: Array  # (tables,), of the variance of y, what no direction explains
    n: Array  # (tables,)


def forward(
    seen: Statistics, arrays: Mapping[str, FloatArray], n_blocks: int = N_BLOCKS
) -> Components:
    """Return the components of tables of one rank; one call serves many tables.

    The heads were trained to read the tokens after any number of blocks.
    """
    dtype = arrays["table_in.weight"].dtype
    s, rho, beyond, n = seen.s, seen.rho, seen.beyond, np.maximum(seen.n, 1.0)
    directions = direction_features(s, rho, n).astype(dtype)
    table = table_features(s, rho, beyond, n).astype(dtype)
    tokens = np.concatenate(
        [
            linear(table, arrays, "table_in")[:, None],
            linear(directions, arrays, "direction_in"),
        ],
        axis=1,
    )
    *_, tokens = encode(tokens, arrays, n_blocks=n_blocks, n_heads=N_HEADS)
    tokens = layer_norm(tokens, arrays, "norm")
    return to_components(
        linear(tokens[:, 1:], arrays, "direction_out"),
        linear(tokens[:, 0], arrays, "table_out"),
        N_COMPONENTS,
    )


class Fitted(NamedTuple):
    """One table after the forward pass, in units of its spread."""

    mean: Array  # (p,) of the rows
    V: Array  # (p, r)
    S: Array  # (r,)
    along: Array  # (r,), U'y
    n: float
    y_mean: float
    weights: Array  # (K,)
    sigma: Array  # (K,)
    outside: Array  # (K,)
    mean_penalty: Array  # (K, r)
    variance_penalty: Array  # (K, r)

    def loadings(self) -> Array:
        """Coefficients along the directions, of every component: (K, r)."""
        found: Array = self.S * self.along / (self.S**2 + self.mean_penalty)
        return found

    def predictive(self, X: Array) -> Mixture:
        """Predictive distributions of rows."""
        away = X - self.mean
        Z = away @ self.V
        beyond = np.maximum((away**2).sum(axis=1) - (Z**2).sum(axis=1), 0.0)
        means = self.y_mean + Z @ self.loadings().T
        variance = Z**2 @ (1 / (self.S**2 + self.variance_penalty)).T
        variance += beyond[:, None] / self.outside + 1 + 1 / self.n
        scales = self.sigma * np.sqrt(variance)
        return Mixture(self.weights, means, scales, DOF + self.n - 1)


def fit(
    X: Array,
    y: Array,
    weight: Array,
    arrays: Mapping[str, FloatArray],
    n_blocks: int = N_BLOCKS,
) -> Fitted:
    """Reduce a table to its statistics and pass them through the network once."""
    design = decompose(X, weight, True)
    n = design.n
    y_mean = float(weight @ y / n)
    centred = (y - y_mean) * design.root
    along = design.U.T @ centred
    beyond = max(float(centred @ centred - along @ along), 0.0) / n
    seen = Statistics(
        design.S[None] ** 2 / n, along[None] ** 2 / n, np.array([beyond]), np.array([n])
    )
    found = Components(*(part[0] for part in forward(seen, arrays, n_blocks)))
    return Fitted(design.mean, design.V, design.S, along, n, y_mean, *found)
