"""Data whose loss has no minimiser."""

from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import diags_array, issparse

from skdiff._base.typing import Array, IntArray
from skdiff.multiplicity._sets._objective import MARGIN_LOSSES
from skdiff.multiplicity._sets._problem import Problem


def refuse_separable(problem: Problem) -> None:
    """Raise where a perfect split without penalty leaves the set unbounded.

    Rows are (quasi-)separable when some ``w`` has ``(2 y - 1) x'w >= 0`` everywhere
    and not zero everywhere: a linear program (Konis, 2007). Of several classes, when
    ``x'(w_y - w_k) >= 0``; of counts, when ``x'w <= 0`` where they are zero and ``= 0``
    where not.
    """
    if problem.penalty.any() or (problem.lasso is not None and problem.lasso.any()):
        return
    X, y, loss = problem.X, problem.y, type(problem.loss).__name__
    fixed, cause = None, "The classes are separable"
    cure = "LogisticRegression(C=1.0)"
    if loss == "Logistic":
        signed = _times(2 * y - 1, X)
    elif loss in MARGIN_LOSSES:
        signed = _times(y, X)
    elif loss == "Multinomial":
        signed = _class_margins(X, y.astype(int), len(problem.penalty) // X.shape[1])
    elif loss in ("Poisson", "Tweedie") and (y == 0).any():
        signed, fixed = -X[y == 0], X[y > 0]
        cause, cure = "The zero counts are separable", "PoissonRegressor(alpha=1.0)"
    else:
        return
    found = linprog(
        -np.asarray(signed.mean(axis=0)).ravel(),
        A_ub=-signed,
        b_ub=np.zeros(signed.shape[0]),
        A_eq=fixed,
        b_eq=None if fixed is None else np.zeros(fixed.shape[0]),
        bounds=(-1, 1),
        method="highs",
    )
    if found.status == 0 and -found.fun > 1e-9:
        raise ValueError(
            f"{cause} and the model has no penalty: its coefficients diverge and the "
            f"set of good models is unbounded. Penalise it, for instance with {cure}."
        )


def _times(sign: Array, X: Any) -> Any:
    """Rows times their signs, dense or sparse."""
    return X * sign[:, None] if not issparse(X) else diags_array(sign) @ X


def _class_margins(X: Array, codes: IntArray, K: int) -> Array:
    """Rows of the margins of the label over every other class."""
    blocks = []
    for k in range(K):
        rows = X[codes != k]
        block = np.zeros((len(rows), K, X.shape[1]))
        block[np.arange(len(rows)), codes[codes != k]] = rows
        block[:, k] = -rows
        blocks.append(block.reshape(len(rows), -1))
    return np.vstack(blocks)
