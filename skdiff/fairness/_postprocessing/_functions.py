"""Hulls and unprocessing of scores, without an estimator."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skdiff._base.compat import check_sample_weight
from skdiff._base.typing import Array
from skdiff._base.validation import binary_codes
from skdiff.fairness._groups import encode_groups, read_groups, require_both_labels
from skdiff.fairness._postprocessing._hull import RocHull
from skdiff.fairness._postprocessing._problem import largest_difference
from skdiff.fairness._postprocessing._rules import (
    GroupScores,
    group_hulls,
    group_masses,
)


class Unprocessed(NamedTuple):
    """What :func:`unprocess` returns.

    ``thresholds`` maps groups to thresholds, ``accuracy`` is that of all rows, and
    ``violation`` the largest difference of equalised odds.
    """

    thresholds: dict[Any, float]
    accuracy: float
    violation: float


def group_roc_hull(
    y_true: Any, y_score: Any, *, sensitive_features: Any, sample_weight: Any = None
) -> dict[Any, tuple[Array, Array, Array]]:
    """Compute the convex hull of the ROC curve of every group.

    Every threshold is used, none is left out. What lies below the hull is attained by
    mixing two or three thresholds at random.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of two classes; the larger one is the positive one.
    y_score : array-like of shape (n_samples,)
        Scores, larger for the positive class.
    sensitive_features : array-like of shape (n_samples,)
        Group of each row, any hashable label.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    hulls : dict
        For each group ``(fpr, tpr, thresholds)``: the vertices of the upper hull by
        rising false positive rate. A vertex is the decision ``score >= threshold``; the
        first threshold is ``inf``, the last ``-inf``.

    Raises
    ------
    ValueError
        If a group has rows of one label only.

    See Also
    --------
    unprocess : The best threshold of every group.
    sklearn.metrics.roc_curve : The curve itself.

    Examples
    --------
    >>> from skdiff.fairness import group_roc_hull
    >>> hulls = group_roc_hull(
    ...     [0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3], sensitive_features=["a", "a", "b", "b"]
    ... )
    >>> fpr, tpr, thresholds = hulls["a"]
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])
    """
    groups, rows = read_scores(y_true, y_score, sensitive_features, sample_weight)
    return {
        group: (hull.fpr, hull.tpr, hull.thresholds)
        for group, hull in zip(groups, group_hulls(rows, len(groups)), strict=True)
    }


def unprocess(
    y_true: Any, y_score: Any, *, sensitive_features: Any, sample_weight: Any = None
) -> Unprocessed:
    """Undo the fairness of a score: the most accurate threshold of every group.

    Scores of models that were trained under different notions of fairness become
    comparable: without any constraint on the decision, which of them ranks best?

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of two classes; the larger one is the positive one.
    y_score : array-like of shape (n_samples,)
        Scores, larger for the positive class.
    sensitive_features : array-like of shape (n_samples,)
        Group of each row, any hashable label.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    result : named tuple
        ``thresholds`` {group: threshold} for the decision ``score >= threshold``,
        ``accuracy``, and ``violation``: the largest difference of false or true
        positive rates between two groups.

    Raises
    ------
    ValueError
        If a group has rows of one label only.

    See Also
    --------
    EqualizedOddsPostprocessor : The most accurate thresholds under a constraint.

    References
    ----------
    A. F. Cruz and M. Hardt, "Unprocessing Seven Years of Algorithmic Fairness", ICLR
    2024, arXiv:2306.07261.

    Examples
    --------
    >>> from skdiff.fairness import unprocess
    >>> result = unprocess(
    ...     [0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3], sensitive_features=["a", "a", "b", "b"]
    ... )
    >>> result.thresholds["a"], result.accuracy
    (0.8, 0.75)
    """
    groups, rows = read_scores(y_true, y_score, sensitive_features, sample_weight)
    hulls, masses = group_hulls(rows, len(groups)), group_masses(rows, len(groups))
    best = [
        best_vertex(hull, n, p)
        for hull, n, p in zip(hulls, masses.negatives, masses.positives, strict=True)
    ]
    points = np.array([[h.fpr[k], h.tpr[k]] for h, k in zip(hulls, best, strict=True)])
    wrong = masses.negatives @ points[:, 0] + masses.positives @ (1 - points[:, 1])
    shares = masses.positives / (masses.positives + masses.negatives)
    thresholds = {
        group: float(hull.thresholds[k])
        for group, hull, k in zip(groups, hulls, best, strict=True)
    }
    violation = largest_difference("equalized_odds", points, shares, "inf")
    return Unprocessed(thresholds, float(1 - wrong), violation)


def best_vertex(hull: RocHull, negative: float, positive: float) -> int:
    """Return the vertex of least cost: where the hull has the slope of the costs."""
    return int(np.argmin(negative * hull.fpr - positive * hull.tpr))


def read_scores(
    y_true: Any, y_score: Any, sensitive_features: Any, sample_weight: Any
) -> tuple[list[Any], GroupScores]:
    """Check what the functions are given; return groups and rows."""
    y, classes = binary_codes(y_true, "y_true")
    scores = column_or_1d(y_score)
    scores = check_array(
        scores, ensure_2d=False, dtype=np.float64, input_name="y_score"
    )
    check_consistent_length(y, scores)
    labels = read_groups(sensitive_features, len(y), "This function")
    weight = check_sample_weight(sample_weight, scores[:, None])
    kept = weight > 0
    groups, codes = encode_groups(labels[kept])
    require_both_labels(groups, codes, y[kept], weight[kept], classes)
    return groups, GroupScores(scores[kept], codes, y[kept] == 1, weight[kept])
