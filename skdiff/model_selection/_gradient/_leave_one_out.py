"""Ridge left one row out: all folds from one decomposition.

With ``H = A (A'A + alpha I)^-1 A'`` on centred rows, plus ``1/n`` for the intercept,
the residual of row i under the fit without it is ``(y_i - f_i) / (1 - H_ii)``.
"""

import time
from typing import Any

import numpy as np
from scipy.linalg import eigh, svd
from sklearn.linear_model import Ridge

from skdiff._base.typing import FloatArray as Array
from skdiff._convex._inner._ridge import GRAM_DIGITS
from skdiff.model_selection._gradient._evaluate import Evaluator


class Spectrum:
    """Centred rows ``A = Z V'`` in the eigenvectors V of ``A'A``, and targets."""

    def __init__(self, X: Array, Y: Array, intercept: bool) -> None:
        n, d = X.shape
        self.share = 1.0 / n if intercept else 0.0
        A = X - X.mean(axis=0) if intercept else X
        self.R = Y - Y.mean(axis=0) if intercept else Y
        if n >= d:
            squares, V = eigh(A.T @ A, check_finite=False, driver="evd")
            self.squares = np.maximum(squares, 0.0)
            self.Z = A @ V
        else:
            U, sigma, _ = svd(A, full_matrices=False, check_finite=False)
            self.squares, self.Z = sigma**2, U * sigma
        self.Z2 = self.Z**2
        self.c = self.Z.T @ self.R

    def losses(self, alpha: float) -> tuple[Array, Array]:
        """Squared error of each row left out, over the targets, and its derivative."""
        inverse = 1.0 / (self.squares + alpha)
        b = inverse[:, None] * self.c
        kept = (1.0 - self.share - self.Z2 @ inverse)[:, None]
        e = (self.R - self.Z @ b) / kept
        # d(y - f) = Z (A'A + alpha I)^-1 b, and d(1 - H_ii) = sum_j z_ij^2 inverse_j^2
        moved = self.Z @ (inverse[:, None] * b) - e * (self.Z2 @ inverse**2)[:, None]
        return np.mean(e**2, axis=1), np.mean(2 * e * moved / kept, axis=1)


class LeaveOneOutEvaluator(Evaluator):
    """The criterion over folds of one row, all at once."""

    def __init__(self, at_once: Any, space: Any, options: Any) -> None:
        super().__init__([], space, "squared_error", options)
        self.spectrum, self.order = at_once

    def _all_folds(self, theta: Array, values: Any) -> Any:
        start = time.perf_counter()
        losses, slopes = self.spectrum.losses(values["alpha"])
        pairs = zip(
            losses[self.order].tolist(), slopes[self.order].tolist(), strict=True
        )
        spent = (time.perf_counter() - start) / len(losses)
        return [(v, {"alpha": slope}, -v, 1, spent, 0.0) for v, slope in pairs]


def one_row_folds(splits: list[Any], n: int) -> Array | None:
    """Row that each fold leaves out, or None if the folds are of another kind."""
    if len(splits) != n or n < 3:
        return None
    if any(len(test) != 1 or len(train) != n - 1 for train, test in splits):
        return None
    order = np.array([test[0] for _, test in splits])
    alone = all(test[0] not in train for train, test in splits)
    return order if alone and order.dtype.kind == "i" else None


def leave_one_out(
    parts: Any, data: Any, specs: Any, criterion: Any, options: Any
) -> tuple[Any, Any] | None:
    """Return spectrum and order of the folds, or None where folds need fits.

    ``specs`` are the intervals by the last step's names.
    """
    ridge = parts.last
    fits = (
        type(ridge) is Ridge and not ridge.positive and isinstance(data.X, np.ndarray)
    )
    bare = parts.bare
    one = set(specs) == {"alpha"} and specs["alpha"].per is None
    plain = not options.scored and criterion == "squared_error"
    exact = options.solver in ("auto", "root", "lbfgs")
    weights = any(
        v is not None for v in {**data.fit_params, **data.score_params}.values()
    )
    if not (fits and bare and one and plain and exact) or weights:
        return None
    order = one_row_folds(data.splits, len(data.X))
    if order is None:
        return None
    y = data.target.codes
    X = np.asarray(data.X, dtype=float)
    spectrum = Spectrum(X, y.reshape(len(y), -1), bool(ridge.fit_intercept))
    # below this share a leverage of almost one loses its distance from one
    if specs["alpha"].low <= GRAM_DIGITS * spectrum.squares.max(initial=0.0):
        return None
    return spectrum, order
