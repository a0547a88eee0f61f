"""Conformal p-values, Benjamini-Hochberg, and the sizes OptCS needs.

Everything here is a function of scores. Throughout, ``V_i`` are the scores of labelled
rows at their label and ``Vhat_j`` those of new rows at their threshold; a *small*
``Vhat_j`` speaks against the null ``Y_j <= c_j``.
"""

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state

from skdiff._validation import check_levels

# A level times a rank over a count is compared with a p-value that is itself a ratio of
# small integers; equality must survive the rounding of either side.
SLACK = 1 + 1e-12
_CHUNK = 2_000_000


def conformal_p_values(
    calibration_scores,
    test_scores,
    *,
    calibration_weights=None,
    test_weights=None,
    randomized=True,
    random_state=None,
):
    """Compute conformal p-values, exact under ties.

    The p-value of a new row is the rank of its score among the scores of labelled
    rows. It is valid (at most ``t`` with probability ``t`` under the null) whatever
    made the scores, as long as labelled and new rows are exchangeable, or, with
    weights, differ by a known covariate shift.

    Parameters
    ----------
    calibration_scores : array-like of shape (n_calibration,) or (n_calibration, k)
        Scores of the labelled rows; ``inf`` is allowed. Columns are candidates.
    test_scores : array-like of shape (n_test,) or (n_test, k)
        Scores of the new rows at their thresholds.
    calibration_weights : array-like of shape (n_calibration,), default=None
        Ratios of the new to the old density at the labelled rows, up to a factor.
    test_weights : array-like of shape (n_test,), default=None
        The same ratios, with the same factor, at the new rows.
    randomized : bool, default=True
        Break ties by a uniform draw, which makes the p-values exactly uniform under
        the null. Otherwise ties count in full, which is valid and conservative.
    random_state : int, RandomState instance or None, default=None
        The source of the draws; one draw a row, shared by all candidates.

    Returns
    -------
    p_values : ndarray of shape (n_test,) or (n_test, k)
        Values in (0, 1].

    References
    ----------
    Y. Jin and E. J. Candes, "Selection by Prediction with Conformal p-values", JMLR
    24, 2023, arXiv 2210.01408; for weights arXiv 2307.09291.

    Examples
    --------
    >>> from skdiff.conformal import conformal_p_values
    >>> conformal_p_values([1, 2, 3], [0, 2, 9], randomized=False)
    array([0.25, 0.75, 1.  ])
    """
    V, T, single = _check_scores(calibration_scores, test_scores)
    w, u = check_weights(calibration_weights, test_weights, len(V), len(T))
    draws = tie_draws(len(T), check_random_state(random_state)) if randomized else 1.0
    p = ranks(V, T, w, u, draws)
    return p[:, 0] if single else p


def tie_draws(m, rng):
    """Uniform draws as a column, never zero: no p-value is significant everywhere."""
    return 1 - rng.uniform(size=(m, 1))


def ranks(V, T, w, u, draws):
    """P-values of every candidate; the share ``draws`` of the ties counts."""
    below, upto = np.empty(T.shape), np.empty(T.shape)
    for k in range(V.shape[1]):
        below[:, k], upto[:, k] = _mass(V[:, k], T[:, k], w)
    return (below + draws * (u + upto - below)) / (w.sum() + u)


def benjamini_hochberg(p_values, level):
    """Select hypotheses with the false discovery rate controlled at a level.

    Parameters
    ----------
    p_values : array-like of shape (n_hypotheses,)
        The p-values.
    level : float or array-like of shape (n_levels,)
        One or several levels in (0, 1).

    Returns
    -------
    selected : ndarray of bool of shape (n_hypotheses,) or (n_levels, n_hypotheses)
        Whether each hypothesis is selected.

    References
    ----------
    Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", Journal of
    the Royal Statistical Society B 57, 1995.

    Examples
    --------
    >>> from skdiff.conformal import benjamini_hochberg
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5], 0.1)
    array([ True,  True,  True, False])
    """
    p = check_array(p_values, ensure_2d=False, ensure_min_samples=0, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError("p_values must be one-dimensional, between 0 and 1.")
    levels = check_levels(level, name="level")
    # a row is selected at every level from its adjusted p-value on
    selected = adjusted_p_values(p)[None, :] <= np.atleast_1d(levels)[:, None] * SLACK
    return selected[0] if np.ndim(levels) == 0 else selected


def adjusted_p_values(p):
    """Smallest level at which Benjamini-Hochberg selects each hypothesis."""
    m = len(p)
    order = np.argsort(p)
    ratio = p[order] * m / np.arange(1, m + 1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum.accumulate(ratio[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def e_benjamini_hochberg(e_values, level):
    """Select hypotheses from e-values; valid under any dependence between them.

    Parameters
    ----------
    e_values : array-like of shape (n_hypotheses,)
        Non-negative evidence, of mean at most one under the null. ``inf`` is allowed.
    level : float or array-like of shape (n_levels,)
        One or several levels in (0, 1).

    Returns
    -------
    selected : ndarray of bool of shape (n_hypotheses,) or (n_levels, n_hypotheses)
        Whether each hypothesis is selected.

    References
    ----------
    R. Wang and A. Ramdas, "False discovery rate control with e-values", Journal of the
    Royal Statistical Society B 84, 2022, arXiv 2009.02824.

    Examples
    --------
    >>> from skdiff.conformal import e_benjamini_hochberg
    >>> e_benjamini_hochberg([40.0, 1.0, 15.0, 0.0], 0.2)
    array([ True, False,  True, False])
    """
    e = np.asarray(e_values, dtype=np.float64)
    if e.ndim != 1 or np.any(np.isnan(e)) or np.any(e < 0):
        raise ValueError("e_values must be one-dimensional, non-negative, without NaN.")
    with np.errstate(divide="ignore"):
        return benjamini_hochberg(np.minimum(1 / e, 1.0), level)


def auxiliary_selection_sizes(
    calibration_scores,
    test_scores,
    level,
    *,
    calibration_weights=None,
    test_weights=None,
):
    """Compute the sizes of the auxiliary selections of OptCS, for all rows at once.

    For row ``j`` the auxiliary p-values of the other rows count ``j`` among the
    labelled rows, its own is set to zero, and the size is the number of rows that
    Benjamini-Hochberg then selects. It takes one sort a candidate, where the
    definition asks for a selection a row.

    Parameters
    ----------
    calibration_scores : array-like of shape (n_calibration,) or (n_calibration, k)
        Scores of the labelled rows. Columns are candidates.
    test_scores : array-like of shape (n_test,) or (n_test, k)
        Scores of the new rows at their thresholds.
    level : float or array-like of shape (n_levels,)
        One or several levels in (0, 1).
    calibration_weights, test_weights : array-like, default=None
        Density ratios, as in :func:`conformal_p_values`. With weights the cost grows
        with the square of ``n_test``.

    Returns
    -------
    sizes : ndarray of int of shape (n_test,), (n_test, k), (n_levels, n_test) or \
(n_levels, n_test, k)
        At least 1.

    References
    ----------
    T. Bai and Y. Jin, "Optimized Conformal Selection: Powerful Selective Inference
    After Conformity Score Optimization", 2024, arXiv 2411.17983.

    Examples
    --------
    >>> from skdiff.conformal import auxiliary_selection_sizes
    >>> auxiliary_selection_sizes([3, 4, 5, 6, 7], [0, 1, 2, 9], 0.5)
    array([3, 3, 3, 4])
    """
    V, T, single = _check_scores(calibration_scores, test_scores)
    w, u = check_weights(calibration_weights, test_weights, len(V), len(T))
    weighted = calibration_weights is not None
    levels = check_levels(level, name="level")
    grid = np.atleast_1d(levels)
    sizes = np.empty((len(grid), *T.shape), dtype=np.intp)
    for k in range(V.shape[1]):
        order = np.argsort(T[:, k], kind="stable")
        ranked = T[order, k]
        below, upto = _mass(V[:, k], ranked, w)
        for i, q in enumerate(grid):
            sizes[i][order, k] = (
                _weighted_sizes(below, ranked, u[order, 0], w.sum(), q)
                if weighted
                else _sizes(upto, ranked, len(V), q)
            )
    if single:
        sizes = sizes[..., 0]
    return sizes[0] if np.ndim(levels) == 0 else sizes


def _sizes(count, ranked, n, q):
    """Sizes along sorted test scores; ``count`` labelled scores lie at or below each.

    Rows before ``j`` keep their count and move one rank back, behind the inserted
    zero; rows from ``j`` on count ``j`` too and keep their rank.
    """
    m = len(ranked)
    rank = np.arange(1, m + 1)
    bound = q * (n + 1) / m * SLACK
    last_after = np.flatnonzero(count + 1 <= bound * rank)
    last_after = last_after[-1] if len(last_after) else -1
    before = np.where(count <= bound * (rank + 1), np.arange(m), -1)
    last_before = np.r_[-1, np.maximum.accumulate(before)]
    place = np.searchsorted(ranked, ranked, side="left")
    behind = last_before[place]
    sizes = np.where(behind >= 0, behind + 2, 1)
    sizes[place < last_after] = last_after + 1
    return sizes


def _weighted_sizes(below, ranked, u, total, q):
    """The same with weights, row by row of ``j`` in chunks."""
    m = len(ranked)
    sizes = np.empty(m, dtype=np.intp)
    columns = np.arange(m)
    step = max(1, _CHUNK // m)
    for start in range(0, m, step):
        j = np.arange(start, min(start + step, m))[:, None]
        p = below + u[j] * (ranked[j] < ranked)
        rank = np.where(columns < j, columns + 2, columns + 1)
        passed = p <= (total + u[j]) * q * rank / m * SLACK
        sizes[j[:, 0]] = np.where(passed & (columns != j), rank, 1).max(axis=1)
    return sizes


def _mass(V, T, w):
    """Weight of labelled scores strictly below, and at or below, each test score."""
    order = np.argsort(V, kind="stable")
    cumulated = np.r_[0.0, np.cumsum(w[order])]
    ranked = V[order]
    return (
        cumulated[np.searchsorted(ranked, T, side="left")],
        cumulated[np.searchsorted(ranked, T, side="right")],
    )


def _check_scores(calibration_scores, test_scores):
    V = np.asarray(calibration_scores, dtype=np.float64)
    T = np.asarray(test_scores, dtype=np.float64)
    if V.ndim not in (1, 2) or T.ndim != V.ndim or V.shape[1:] != T.shape[1:]:
        raise ValueError(
            "calibration_scores and test_scores must be of shape (n,) or (n, k) with "
            f"the same k, got {V.shape} and {T.shape}."
        )
    for name, scores in (("calibration_scores", V), ("test_scores", T)):
        if len(scores) == 0:
            raise ValueError(
                f"{name} has 0 sample(s) while a minimum of 1 is required."
            )
        if np.any(np.isnan(scores)):
            raise ValueError(f"{name} contains NaN.")
    single = V.ndim == 1
    return (V[:, None], T[:, None], True) if single else (V, T, False)


def check_weights(w, u, n, m):
    """Return the weights as float arrays of shape (n,) and (m, 1); ones if None."""
    if (w is None) != (u is None):
        raise ValueError(
            "calibration_weights and test_weights are given together or not at all."
        )
    if w is None:
        return np.ones(n), np.ones((m, 1))
    w = check_array(w, ensure_2d=False, dtype=np.float64, input_name="weights")
    u = check_array(u, ensure_2d=False, dtype=np.float64, input_name="weights")
    check_consistent_length(w, np.empty(n))
    check_consistent_length(u, np.empty(m))
    if w.ndim != 1 or u.ndim != 1 or min(w.min(), u.min()) < 0 or w.sum() <= 0:
        raise ValueError(
            "calibration_weights and test_weights must be one-dimensional, "
            "non-negative and not all zero."
        )
    return w, u[:, None]
