"""The report of a comparison, and what it recommends."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array
from skdiff.model_evaluation._multiple import PairwiseTests
from skdiff.model_evaluation._results import (
    TestResult,
    differences,
    magnitude,
    snapped,
    studentised,
)

#: test rows from which Raschka's survey takes one test set for large
LARGE = 1000


@dataclass(frozen=True)
class ModelComparison:
    """Report of :func:`compare_models`.

    Attributes
    ----------
    names : tuple of str
        Names of the models.
    kind : {"splits", "rows", "data sets"}
        What the columns of ``scores_`` are.
    scores_ : ndarray of shape (n_models, n_units)
        Scores on splits or data sets; for predictions, which rows are right or the
        scores of the rows.
    intervals_ : ndarray of shape (n_models, 2)
        Interval of each mean score, for one model alone.
    tests_ : PairwiseTests
        The pairwise tests.
    omnibus_ : TestResult or None
        Test of the hypothesis that all models are equal: Cochran's Q or Friedman's.
    reference : str or None
        The model that all others are compared with.
    level : float
        Level of significance, ``1 - confidence_level``.
    recommendation_ : str
        Which test suits the data, by the survey of Raschka (2018).
    details : dict
        ``n_train`` and ``n_test`` for splits; ``mean_ranks`` for data sets.

    See Also
    --------
    ModelComparisonDisplay : Its figure.

    Examples
    --------
    >>> from skdiff.model_evaluation import compare_models
    >>> scores = {"a": [0.9, 0.8, 0.9, 0.7], "b": [0.8, 0.7, 0.8, 0.5]}
    >>> report = compare_models(scores, n_train=75, n_test=25)
    >>> report.kind, report.wins_[0].tolist()
    ('splits', [4, 0, 0])
    """

    names: tuple[str, ...]
    kind: str
    scores_: Array
    intervals_: Array
    tests_: PairwiseTests
    omnibus_: TestResult | None = None
    reference: str | None = None
    level: float = 0.05
    recommendation_: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def means_(self) -> Array:
        """Mean score of each model."""
        return np.asarray(self.scores_.mean(axis=1))

    @property
    def wins_(self) -> Any:
        """Wins, ties and losses of the first model of each pair over the units."""
        counts = []
        for i, j in self.tests_.pairs:
            gap = differences(self.scores_[[i, j]])
            counts.append([np.sum(gap > 0), np.sum(gap == 0), np.sum(gap < 0)])
        return np.array(counts, dtype=np.int64)

    @property
    def summary_(self) -> Any:
        """One row per model: mean score, its interval, mean rank, best first."""
        pd = require_pandas("summary_")
        ranks = self.details.get("mean_ranks")
        columns = {
            "mean": self.means_,
            "ci_low": self.intervals_[:, 0],
            "ci_high": self.intervals_[:, 1],
        }
        if ranks is not None:
            columns["mean_rank"] = ranks
        frame = pd.DataFrame(columns, index=pd.Index(self.names, name="model"))
        by = "mean" if ranks is None else "mean_rank"
        return frame.sort_values(by, ascending=ranks is not None, kind="stable")

    @property
    def pairwise_(self) -> Any:
        """One row per pair of models: difference, interval, p-values, wins.

        ``pvalue`` is adjusted, ``pvalue_unadjusted`` is not; ``effect`` is the
        difference in units of its standard deviation over splits, rows or data sets.
        ``"bayesian"`` adds the posterior probabilities ``left``, ``rope``, ``right``.
        """
        frame = self.tests_.frame()
        frame["effect"] = self.effects_
        frame["win"], frame["tie"], frame["loss"] = self.wins_.T
        for name in ("left", "rope", "right"):
            if all(name in result.details for result in self.tests_.results):
                frame[name] = [result.details[name] for result in self.tests_.results]
        return frame

    @property
    def effects_(self) -> Array:
        """Mean difference of each pair over its standard deviation."""
        effects = []
        for i, j in self.tests_.pairs:
            pair = self.scores_[[i, j]] / magnitude(self.scores_[[i, j]])
            gaps = differences(pair)
            spread = float(snapped(gaps.std(ddof=1), 1.0))
            effects.append(studentised(float(gaps.mean()), spread))
        return np.array(effects)

    def __str__(self) -> str:
        width = max(map(len, self.names))
        order = np.argsort(-self.means_, kind="stable")
        lines = [f"{'model':{width}s}   mean  {100 * (1 - self.level):.0f} % interval"]
        for k in order:
            low, high = self.intervals_[k]
            values = f"{self.means_[k]:.4f}  [{low:.4f}, {high:.4f}]"
            lines.append(f"{self.names[k]:{width}s}  {values}")
        if self.omnibus_ is not None:
            lines.append(f"{self.omnibus_.method}: p = {self.omnibus_.pvalue:.4f}")
        for (i, j), p in zip(self.tests_.pairs, self.tests_.pvalue, strict=True):
            lines.append(f"{self.names[i]} - {self.names[j]}: p = {p:.4f}")
        return "\n".join([*lines, self.recommendation_])


def recommend(kind: str, n: int, *, labels: bool, tuned: bool, used: str) -> str:
    """Advice on the test, after Raschka (2018, figure 19), as one sentence.

    ``n`` counts rows, splits or data sets.
    """
    if kind == "data sets":
        if n < 6:
            return (
                f"{n} data sets are too few for a two-sided rank test of two models at "
                "5 %; compare the models on the splits of each."
            )
        return (
            "Several data sets: Friedman's test, then signed ranks with Holm's method."
        )
    if kind == "rows":
        if n >= LARGE:
            name = (
                "McNemar's test and Cochran's Q" if labels else "a paired permutation"
            )
            return f"A large test set of {n} rows: {name}."
        return (
            f"A small test set of {n} rows: the result holds for these fitted models; "
            "to compare algorithms refit them on splits."
        )
    if tuned:
        return (
            "A model tunes itself inside each training part: this is nested "
            "cross-validation, as it should be."
        )
    if n >= 10 * LARGE and labels:
        return (
            f"{n} rows: one large test set and McNemar's test would cost one fit per "
            f"model instead of the splits used here ({used})."
        )
    return f"{n} rows: tests on splits, here {used}, as the training set matters."
