"""Conformal p-values, Benjamini-Hochberg, and the sizes OptCS needs.

Everything here is a function of scores. Throughout, ``V_i`` are the scores of labelled
rows at their label and ``Vhat_j`` those of new rows at their threshold; a *small*
``Vhat_j`` speaks against the null ``Y_j <= c_j``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length, check_random_state

from skdiff._base.validation import check_levels

# A level times a rank over a count is compared with a p-value that is itself a ratio of
# small integers; equality must survive the rounding of either side.
SLACK = 1 + 1e-12
_CHUNK = 2_000_000


class Counts(NamedTuple):
    """Weights of the labelled scores around each new one; all that is ever needed."""

    below: np.ndarray  # (m, k), strictly below
    upto: np.ndarray  # (m, k), at or below
    own: np.ndarray  # (m, 1), weight of the new row itself
    total: float  # of all labelled rows
    weighted: bool


def conformal_p_values(
    calibration_scores: ArrayLike,
    test_scores: ArrayLike,
    *,
    calibration_weights: ArrayLike | None = None,
    test_weights: ArrayLike | None = None,
    randomized: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> np.ndarray:
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
        The source of the draws; one draw per row, shared by all candidates.

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
    counts = count_scores(V, T, calibration_weights, test_weights)
    draws = tie_draws(len(T), check_random_state(random_state)) if randomized else 1.0
    p = ranks(counts, draws)
    return p[:, 0] if single else p


def tie_draws(m: int, rng: np.random.RandomState) -> np.ndarray:
    """Uniform draws as a column, never zero: no p-value is significant everywhere."""
    return 1 - rng.uniform(size=(m, 1))


def ranks(counts: Counts, draws: np.ndarray | float) -> np.ndarray:
    """P-values of every candidate; the share ``draws`` of the ties counts."""
    ties = counts.own + counts.upto - counts.below
    return (counts.below + draws * ties) / (counts.total + counts.own)


def count_scores(
    V: np.ndarray,
    T: np.ndarray,
    w: ArrayLike | None = None,
    u: ArrayLike | None = None,
) -> Counts:
    """Count, or weigh, the labelled scores below and up to each new one."""
    (n, k), m = V.shape, len(T)
    weighted = w is not None or u is not None
    below, upto = np.empty((m, k)), np.empty((m, k))
    if not weighted:
        for column, labelled in enumerate(np.sort(V, axis=0).T):
            below[:, column] = labelled.searchsorted(T[:, column], side="left")
            upto[:, column] = labelled.searchsorted(T[:, column], side="right")
        return Counts(below, upto, np.ones((m, 1)), float(n), weighted)
    old, new = _check_weights(w, u, n, m)
    for column in range(k):
        order = np.argsort(V[:, column], kind="stable")
        cumulated, ranked = np.r_[0.0, np.cumsum(old[order])], V[order, column]
        below[:, column] = cumulated[ranked.searchsorted(T[:, column], side="left")]
        upto[:, column] = cumulated[ranked.searchsorted(T[:, column], side="right")]
    return Counts(below, upto, new[:, None], float(old.sum()), weighted)


def benjamini_hochberg(p_values: ArrayLike, level: ArrayLike) -> np.ndarray:
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


def adjusted_p_values(p: np.ndarray) -> np.ndarray:
    """Smallest level at which Benjamini-Hochberg selects each hypothesis."""
    m = len(p)
    order = np.argsort(p)
    ratio = p[order] * m / np.arange(1, m + 1)
    adjusted = np.empty(m)
    adjusted[order] = np.minimum.accumulate(ratio[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


def e_benjamini_hochberg(e_values: ArrayLike, level: ArrayLike) -> np.ndarray:
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
    calibration_scores: ArrayLike,
    test_scores: ArrayLike,
    level: ArrayLike,
    *,
    calibration_weights: ArrayLike | None = None,
    test_weights: ArrayLike | None = None,
) -> np.ndarray:
    """Compute the sizes of the auxiliary selections of OptCS, for all rows at once.

    For row ``j`` the auxiliary p-values of the other rows count ``j`` among the
    labelled rows, its own is set to zero, and the size is the number of rows that
    Benjamini-Hochberg then selects. It takes one sort per candidate, where the
    definition needs one selection per row.

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
    counts = count_scores(V, T, calibration_weights, test_weights)
    levels = check_levels(level, name="level")
    sizes = selection_sizes(counts, T, np.atleast_1d(levels))
    if single:
        sizes = sizes[..., 0]
    return sizes[0] if np.ndim(levels) == 0 else sizes


def selection_sizes(counts: Counts, T: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Auxiliary sizes of shape (n_levels, m, k)."""
    m, k = T.shape
    sizes = np.empty((len(levels), m, k), dtype=np.intp)
    for column in range(k):
        order = np.argsort(T[:, column])
        ranked = T[order, column]
        if counts.weighted:
            below, own = counts.below[order, column], counts.own[order, 0]
            for i, q in enumerate(levels):
                sizes[i, order, column] = _weighted_sizes(
                    below, ranked, own, counts.total, q
                )
            continue
        upto = counts.upto[order, column]
        place = ranked.searchsorted(ranked, side="left")
        for i, q in enumerate(levels):
            sizes[i, order, column] = _sizes(upto, place, counts.total, q)
    return sizes


def _sizes(upto: np.ndarray, place: np.ndarray, n: float, q: float) -> np.ndarray:
    """Sizes along sorted test scores; ``upto`` labelled scores lie at or below each.

    Rows before ``j`` keep their count and move one rank back, behind the inserted
    zero; rows from ``place`` (the first score equal to that of ``j``) on count ``j``
    too and keep their rank.
    """
    m = len(upto)
    rank = np.arange(1.0, m + 1)
    bound = q * (n + 1) / m * SLACK
    after = np.flatnonzero(upto + 1 <= bound * rank)
    last_after = after[-1] if len(after) else -1
    before = np.where(upto <= bound * (rank + 1), np.arange(m), -1)
    last_before = np.empty(m + 1, dtype=np.intp)
    last_before[0] = -1
    np.maximum.accumulate(before, out=last_before[1:])
    sizes = np.maximum(last_before[place] + 2, 1)
    sizes[place < last_after] = last_after + 1
    return sizes


def _weighted_sizes(
    below: np.ndarray, ranked: np.ndarray, own: np.ndarray, total: float, q: float
) -> np.ndarray:
    """The same with weights, row by row of ``j`` in chunks."""
    m = len(ranked)
    sizes = np.empty(m, dtype=np.intp)
    columns = np.arange(m)
    step = max(1, _CHUNK // m)
    for start in range(0, m, step):
        j = np.arange(start, min(start + step, m))[:, None]
        p = below + own[j] * (ranked[j] < ranked)
        rank = np.where(columns < j, columns + 2, columns + 1)
        passed = p <= (total + own[j]) * q * rank / m * SLACK
        sizes[j[:, 0]] = np.where(passed & (columns != j), rank, 1).max(axis=1)
    return sizes


def _check_scores(
    calibration_scores: ArrayLike, test_scores: ArrayLike
) -> tuple[np.ndarray, np.ndarray, bool]:
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


def _check_weights(
    w: ArrayLike | None, u: ArrayLike | None, n: int, m: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights as float arrays of shape (n,) and (m,)."""
    if (w is None) != (u is None):
        raise ValueError(
            "calibration_weights and test_weights are given together or not at all."
        )
    old: np.ndarray = check_array(
        w, ensure_2d=False, dtype=np.float64, input_name="calibration_weights"
    )
    new: np.ndarray = check_array(
        u, ensure_2d=False, dtype=np.float64, input_name="test_weights"
    )
    check_consistent_length(old, np.empty(n))
    check_consistent_length(new, np.empty(m))
    fine = old.ndim == new.ndim == 1 and min(old.min(), new.min()) >= 0
    if not fine or old.sum() <= 0:
        raise ValueError(
            "calibration_weights and test_weights must be one-dimensional, "
            "non-negative and not all zero."
        )
    return old, new
