"""Recognise members of the fitted table by what was measured of it."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.utils.validation import check_is_fitted

from skdiff._base.typing import Array, IntArray
from skdiff.synthetic._cells import Cells, cell_of, counts_of, sums_of

_LEVEL = 0.05


class MembershipReport(NamedTuple):
    """How well members are told from others, and what the guarantee allows."""

    auc: float
    tpr_at_fpr: dict[float, float]
    advantage: float
    advantage_low: float
    ceiling: float
    distance_members: float
    distance_non_members: float


def membership_report(
    synthesizer: Any, members: Any, non_members: Any, reference: Any = None
) -> MembershipReport:
    """Try to recognise the rows of the private table, as an attacker would.

    A row scores high where the synthetic table has more rows like it, in the tables of
    counts that were measured, than a public reference sample has (Golob, Pentyala,
    Maratkhan and De Cock, 2024). The report is computed from private rows and is not
    private.

    Parameters
    ----------
    synthesizer : PrivateGSDSynthesizer
        Fitted synthesizer.
    members : array-like of shape (n_members, n_features)
        Rows that it was fitted to.
    non_members : array-like of shape (n_non_members, n_features)
        Rows of the same population that it has not seen.
    reference : array-like of shape (n_reference, n_features), default=None
        Public sample of the population, other than both. None compares with uniform
        counts, which is a weaker attack.

    Returns
    -------
    report : MembershipReport
        ``auc``; ``tpr_at_fpr`` at 1 % and 0.1 %; ``advantage``, the largest difference
        of the true and the false positive rate; ``advantage_low``, its lower bound at
        95 %, with the threshold chosen on half of the rows; ``ceiling``, the largest
        advantage that the guarantee allows. ``distance_members`` and
        ``distance_non_members`` are mean numbers of columns that differ from the
        nearest synthetic row: a description, which is known not to detect leakage.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.synthetic import PrivateGSDSynthesizer, TableSchema
    >>> from skdiff.synthetic import membership_report
    >>> X = np.random.default_rng(0).integers(0, 4, size=(600, 3))
    >>> schema = TableSchema({j: [0, 1, 2, 3] for j in range(3)})
    >>> model = PrivateGSDSynthesizer(schema, epsilon=1.0).fit(X[:300])
    >>> report = membership_report(model, X[:300], X[300:])
    >>> bool(report.advantage_low <= report.ceiling)
    True
    """
    check_is_fitted(synthesizer)
    rows = [synthesizer._codes(part) for part in (members, non_members)]
    known = None if reference is None else synthesizer._codes(reference)
    tables = [cells for family in synthesizer.queries_ for _, cells in family._parts]
    scores = [_scores(tables, part, synthesizer.synthetic_, known) for part in rows]
    truth = np.r_[np.ones(len(scores[0])), np.zeros(len(scores[1]))]
    both = np.concatenate(scores)
    fpr, tpr, _ = roc_curve(truth, both)
    return MembershipReport(
        float(roc_auc_score(truth, both)),
        {level: float(tpr[fpr <= level].max()) for level in (0.01, 0.001)},
        float(np.max(tpr - fpr)),
        _advantage_low(*scores),
        _ceiling(synthesizer.privacy_spent_),
        *(_distance(part, synthesizer.synthetic_) for part in rows),
    )


def _scores(
    tables: list[Cells], rows: IntArray, synthetic: IntArray, reference: Any
) -> Array:
    """Mean log ratio of the frequency of a row's cell in both tables."""
    total = np.zeros(len(rows))
    for cells in tables:
        cell = cell_of(cells, sums_of(cells, rows))
        total += _log_share(cells, synthetic)[cell]
        if reference is not None:
            total -= _log_share(cells, reference)[cell]
    return total / len(tables)


def _log_share(cells: Cells, codes: IntArray) -> Array:
    counts = counts_of(cells, codes)
    counts = np.r_[counts, len(codes) - counts.sum()]
    share: Array = np.log((counts + 1) / len(codes))
    return share


def _advantage_low(members: Array, others: Array) -> float:
    """Lower bound: threshold from every second row, exact bounds from the rest."""
    truth = np.r_[np.ones(len(members[::2])), np.zeros(len(others[::2]))]
    fpr, tpr, at = roc_curve(truth, np.r_[members[::2], others[::2]])
    threshold = at[np.argmax(tpr - fpr)]
    hits = int(np.sum(members[1::2] >= threshold))
    false = int(np.sum(others[1::2] >= threshold))
    n_members, n_others = len(members[1::2]), len(others[1::2])
    low = beta.ppf(_LEVEL / 2, hits, n_members - hits + 1) if hits else 0.0
    high = 1.0
    if false < n_others:
        high = beta.ppf(1 - _LEVEL / 2, false + 1, n_others - false)
    return float(low - high)


def _ceiling(spent: Any) -> float:
    """Largest advantage under (epsilon, delta)."""
    if math.isinf(spent.epsilon):
        return 1.0
    # (e^eps - 1 + 2 delta) / (e^eps + 1)
    half = math.tanh(spent.epsilon / 2)
    return min(1.0, half + 2 * spent.delta / (math.exp(min(spent.epsilon, 700)) + 1))


def _distance(rows: IntArray, synthetic: IntArray) -> float:
    """Mean number of columns that differ from the nearest synthetic row."""
    nearest = [int((synthetic != row).sum(axis=1).min()) for row in rows]
    return float(np.mean(nearest))
