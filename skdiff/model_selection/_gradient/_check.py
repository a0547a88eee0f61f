"""A test that anyone can run on an inner problem: gradient against differences."""

from typing import Any

import numpy as np
from sklearn.base import clone

from skdiff.model_selection._gradient._estimator import GradientSearchCV
from skdiff.model_selection._gradient._own_fits import gap_of_own_fit

_MOST = 20  # variables differenced one by one; more are tried along random directions
_TOLERANCE = 1e-2  # a difference of scores that a loose ``tol`` explains


def check_hypergradient(search: Any, X: Any, y: Any, eps: Any = 1e-4) -> Any:
    """Compare the hypergradient with central differences.

    Parameters
    ----------
    search : GradientSearchCV
        Fitted or not. A fitted one is checked at its best point, another in the middle
        of its intervals (at ``init`` where given). Lists are checked at their first
        values.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    eps : float, default=1e-4
        Step in the outer variables, for instance in the logarithm.

    Returns
    -------
    error : float
        Largest difference, relative to the largest slope, or to a ten-thousandth of the
        criterion where slopes vanish. Well below 1e-4 for a right inner problem;
        non-smooth points of a criterion (a coefficient that enters a lasso within the
        step) show as larger errors.
        Where the criterion on the first fold differs by more than a hundredth from that
        of the estimator's own fit, as ``cross_val_score`` has it, this difference
        counts too: the inner problem is that of another model.

    See Also
    --------
    inner_problem : Where inner problems are registered.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.model_selection import GradientSearchCV, check_hypergradient
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = GradientSearchCV(Ridge(), {"alpha": loguniform(1e-3, 1e3)})
    >>> check_hypergradient(search, X, y) < 1e-6
    True
    """
    if not isinstance(search, GradientSearchCV):
        raise TypeError(
            f"search must be a GradientSearchCV, got a {type(search).__name__}."
        )
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps!r}.")
    tight = clone(search).set_params(inner_tol=1e-10, scoring=None, n_jobs=None)
    best = getattr(search, "best_params_", None)
    combination = tight._prepare(X, y, best)
    evaluator, space = combination.evaluator, combination.space
    theta = space.start() if best is None else combination.theta_of(best)
    inside = np.clip(theta, space.lower + eps, space.upper - eps)
    row = evaluator.row(inside)
    if row.error is not None:
        raise ValueError(f"The criterion has no gradient there:\n{row.error}")
    q = space.size
    if q <= _MOST:
        directions = np.eye(q)
    else:
        directions = np.random.default_rng(0).choice([-1.0, 1.0], size=(_MOST, q))
    slopes = directions @ row.gradient
    differences = [
        (evaluator.row(inside + eps * v).value - evaluator.row(inside - eps * v).value)
        / (2 * eps)
        for v in directions
    ]
    size = max(np.abs(slopes).max(), np.abs(differences).max())
    # slopes that vanish have no digits to compare
    floor = max(1e-4 * abs(row.value), 1e-300)
    error = float(np.abs(slopes - differences).max() / max(size, floor))
    if not combination.folds or not all(f.problem.warm for f in combination.folds):
        return error
    # the score has to be that of the estimator's own fits, as cross_val_score has it
    gap = gap_of_own_fit(combination, row)
    return max(error, gap) if gap > _TOLERANCE else error
