"""Valid constants of linear training problems, for a bound of the search's error."""

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import svds

from skdiff._base.typing import Array
from skdiff._convex._inner._problem import InnerProblem, Values

# Third derivatives of the losses are at most these times the second (self-concordance)
# and at most these times a norm (Lipschitz constant of the curvature).
_CONCORDANCE = {"binary": 1.0, "multinomial": np.sqrt(2.0), "squared": 0.0}
_BEND = {"binary": 1 / (6 * np.sqrt(3)), "multinomial": np.sqrt(2.0) / 2, "squared": 0}
_CURVATURE = {"binary": 0.25, "multinomial": 0.5, "squared": 1.0}
_FULL = 2000


def spectral_norm(A: Any) -> float:
    """Largest singular value, never below the true one for small matrices."""
    if min(A.shape) == 0:
        return 0.0
    if not sparse.issparse(A) and min(A.shape) <= _FULL:
        G = A.T @ A if A.shape[0] >= A.shape[1] else A @ A.T
        return float(np.sqrt(max(eigvalsh(G)[-1], 0.0)))
    if min(A.shape) > 2:
        start = np.ones(min(A.shape))
        # a Lanczos value lies below the true one by far less than a tenth
        return 1.1 * float(svds(A, k=1, v0=start, return_singular_vectors=False)[0])
    return float(np.sqrt((A.multiply(A) if sparse.issparse(A) else A**2).sum()))


def longest_row(A: Any) -> float:
    """Largest norm of a row."""
    squares = A.power(2) if sparse.issparse(A) else A**2
    return float(np.sqrt(np.max(squares.sum(axis=1), initial=0.0)))


class Certificates(InnerProblem):
    """What ``solver="maid"`` asks for, from the design, the weights and the penalties.

    A subclass gives ``kind``, :meth:`rows_for_bounds`, :meth:`smallest_curvature` and
    :meth:`penalty_rate`; where weights of the rows are searched, :meth:`first` and
    :meth:`weight_rate`.
    """

    certified = True
    #: of the loss: "binary", "multinomial" or "squared"
    kind = "binary"
    #: whether an array of penalties has one per target, not one per feature
    per_output = False

    @abstractmethod
    def rows_for_bounds(self, theta: Values) -> tuple[Any, Array, Array]:
        """Design, weights and penalties."""

    @abstractmethod
    def validation_rows(self) -> tuple[Any, Any]:
        """Validation design and the means it is centred by, if any."""

    @abstractmethod
    def smallest_curvature(self, w: Any, theta: Values) -> float:
        """Smallest eigenvalue of the Hessian at w."""

    @abstractmethod
    def penalty_rate(self, value: Array) -> Array:
        """Absolute derivative of the penalties in the hyperparameter."""

    def first(self, w: Any, theta: Values) -> Array:
        """First derivative of each row's loss."""
        raise AssertionError("given where weights of the rows are searched")

    def weight_rate(self, theta: Values) -> float:
        """Upper bound of how fast the weights follow the searched ones."""
        raise AssertionError("given where weights of the rows are searched")

    @cached_property
    def _size(self) -> float:
        return spectral_norm(self.rows_for_bounds_design())

    @cached_property
    def _longest(self) -> float:
        return longest_row(self.rows_for_bounds_design())

    @abstractmethod
    def rows_for_bounds_design(self) -> Any:
        """Design alone, which no hyperparameter changes."""

    def convexity(self, w: Any, theta: Values, eps: float) -> float:
        """Smallest penalty, or smallest eigenvalue discounted by self-concordance."""
        mu = float(np.min(self.rows_for_bounds(theta)[2]))
        if mu <= 0:
            mu = self.smallest_curvature(w, theta)
            mu *= float(np.exp(-_CONCORDANCE[self.kind] * self._longest * eps))
        return max(mu, 1e-300)

    def hessian_lipschitz(self, theta: Values) -> float:
        """From the longest row and the third derivative of the loss."""
        s = self.rows_for_bounds(theta)[1]
        norm = self._size * np.sqrt(float(np.max(s, initial=0.0)))
        return float(_BEND[self.kind] * self._longest * norm**2)

    def cross_norm(
        self, w: Any, theta: Values, name: str, rates: Array, codes: Any
    ) -> tuple[float, float]:
        """Of weights, by the norm of the design; of penalties, entry by entry."""
        if name in self.per_row:
            top = float(np.max(rates, initial=0.0)) * self.weight_rate(theta)
            first = float(np.abs(self.first(w, theta)).max(initial=0.0))
            curvature = _CURVATURE[self.kind]
            return self._size * top * first, self._size**2 * top * curvature
        rates = self.penalty_rate(np.asarray(theta[name], dtype=float)) * rates
        d = self.X.shape[1]
        if rates.ndim == 2:  # a penalty per coefficient, class by class
            entries = np.ravel((rates * w[:d].T) ** 2)
        else:
            slopes = w[:d].T if self.per_output and rates.ndim else w[:d]
            spread = np.broadcast_to(rates, (len(slopes),))
            entries = np.sum((spread[:, None] * slopes) ** 2, axis=1)
        if codes is None:
            square = float(entries.sum())
        else:
            square = float(np.bincount(codes, entries).max(initial=0.0))
        return float(np.sqrt(square)), float(np.max(rates, initial=0.0))

    def prediction_norm(self) -> float:
        """Spectral norm of the validation design, and of its centring."""
        B, mean = self.validation_rows()
        size = spectral_norm(B)
        if mean is not None:
            size += float(np.linalg.norm(mean)) * np.sqrt(B.shape[0])
        return size
