"""Plots of fair post-processing: the frontier, and the hulls with the chosen points."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas
from skdiff.fairness._postprocessing._rules import (
    bootstrap_violation,
    decide,
    pooled_rule,
    rules_at,
)
from skdiff.fairness._postprocessing._scores import scores_of

PALETTE = ("#1f6f8b", "#d1495b", "#6b6b6b", "#e3a008", "#7b5ea7", "#3a7d44")


class FairFrontierDisplay:
    """Show the cost that each tolerance allows, on rows that were not fitted.

    Parameters
    ----------
    tolerances : array-like of shape (n_tolerances,)
        Tolerances of the thresholds.
    costs : array-like of shape (n_tolerances,)
        Mean cost of a row.
    violations : array-like of shape (n_tolerances,)
        Largest difference between groups.
    errors : dict, default=None
        Arrays ``cost_low``, ``cost_high``, ``violation_low``, ``violation_high``: the
        bounds of the bars.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    bars_ : matplotlib ErrorbarContainer
        Points with their bars.

    See Also
    --------
    EqualizedOddsPostprocessor.pareto_frontier : The same on the fitting rows.
    GroupROCDisplay : The hulls and the chosen points.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.fairness import EqualizedOddsPostprocessor, FairFrontierDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, group = X[:, 1:3], X[:, 0] > 13
    >>> model = EqualizedOddsPostprocessor(random_state=0)
    >>> model = model.fit(X[::2], y[::2], sensitive_features=group[::2])
    >>> display = FairFrontierDisplay.from_estimator(
    ...     model, X[1::2], y[1::2], sensitive_features=group[1::2]
    ... )
    >>> display.frame().columns.tolist()[:3]
    ['tolerance', 'cost', 'violation']
    """

    def __init__(self, tolerances, costs, violations, *, errors=None):
        self.tolerances = np.asarray(tolerances)
        self.costs = np.asarray(costs)
        self.violations = np.asarray(violations)
        self.errors = errors

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sensitive_features,
        tolerances=None,
        confidence_level=0.95,
        n_resamples=200,
        random_state=0,
        ax=None,
    ):
        """Evaluate the frontier of a fitted model on rows with labels, and draw it.

        Parameters
        ----------
        estimator : EqualizedOddsPostprocessor
            Fitted model. Its own tolerance does not matter.
        X : array-like of shape (n_samples, n_features)
            Rows that were not fitted.
        y : array-like of shape (n_samples,)
            Their labels.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row.
        tolerances : array-like of shape (n_tolerances,), default=None
            Tolerances; eleven from 0 to where nothing changes any more if None.
        confidence_level : float, default=0.95
            Level of the bars.
        n_resamples : int, default=200
            Number of bootstrap samples of the rows.
        random_state : int, RandomState instance or None, default=0
            Seed or generator of random numbers; an int makes results repeatable.
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : FairFrontierDisplay
            Drawn.
        """
        check_is_fitted(estimator)
        tolerances, points = estimator._frontier(tolerances)
        _, rows = estimator._evaluated(X, y, sensitive_features, "from_estimator")
        kept, codes = estimator._query(X, sensitive_features, "from_estimator")
        scores = scores_of(estimator.estimator_, kept, estimator.response_method)
        scores = scores[codes >= 0]
        problem = estimator._fair_problem()
        level = np.array([1 - confidence_level, 1 + confidence_level]) / 2
        columns = {"cost": [], "violation": [], "cost_bounds": [], "bounds": []}
        seed = check_random_state(random_state).randint(2**31 - 1)
        for point in points:
            rules = rules_at(problem.hulls, point)
            pool = pooled_rule(rules, problem.negatives + problem.positives)
            decided = decide(rules, pool, scores, rows.codes)
            row_costs = np.where(
                rows.positive,
                estimator.false_negative_cost * (1 - decided),
                estimator.false_positive_cost * decided,
            )
            rng = np.random.default_rng(seed)
            drawn = bootstrap_violation(
                decided, rows, (problem.constraints, problem.norm), n_resamples, rng
            )
            error = row_costs.std() / np.sqrt(len(row_costs))
            columns["cost"].append(row_costs.mean())
            columns["violation"].append(estimator._test_violation(decided, rows))
            columns["bounds"].append(np.quantile(drawn, level))
            columns["cost_bounds"].append(_normal(row_costs.mean(), error, level))
        (low, high), (below, above) = (
            np.transpose(columns[k]) for k in ("bounds", "cost_bounds")
        )
        errors = {
            "cost_low": below,
            "cost_high": above,
            "violation_low": low,
            "violation_high": high,
        }
        display = cls(tolerances, columns["cost"], columns["violation"], errors=errors)
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw cost against violation, with bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : FairFrontierDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        bars = {}
        if self.errors is not None:
            bars = {
                "xerr": _lengths(self.violations, self.errors, "violation"),
                "yerr": _lengths(self.costs, self.errors, "cost"),
            }
        self.bars_ = self.ax_.errorbar(
            self.violations,
            self.costs,
            fmt="o-",
            color=COLORS["main"],
            ecolor=COLORS["range"],
            markersize=4,
            **bars,
        )
        self.ax_.set(xlabel="largest difference between groups", ylabel="mean cost")
        return self

    def frame(self):
        """Return the points as a table.

        Returns
        -------
        frame : DataFrame
            Columns ``tolerance``, ``cost``, ``violation`` and, where they are known,
            the bounds of the bars.
        """
        pd = require_pandas("frame")
        columns = {
            "tolerance": self.tolerances,
            "cost": self.costs,
            "violation": self.violations,
        }
        return pd.DataFrame({**columns, **(self.errors or {})})


def _normal(mean, error, level):
    """Quantiles of a normal law."""
    from scipy.special import ndtri

    return mean + error * ndtri(level)


def _lengths(values, errors, name):
    """Lengths of bars below and above; a percentile may lie beyond the value."""
    below, above = values - errors[f"{name}_low"], errors[f"{name}_high"] - values
    return np.maximum([below, above], 0.0)


class GroupROCDisplay:
    """Show the ROC hull of each group, and the point that was chosen on it.

    Parameters
    ----------
    hulls : dict
        {group: (fpr, tpr, thresholds)}, as :func:`group_roc_hull` returns them.
    points : dict, default=None
        {group: (fpr, tpr)}, the chosen points.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        The hulls.
    points_ : list of matplotlib Line2D
        The chosen points.

    See Also
    --------
    group_roc_hull : What is drawn.
    FairFrontierDisplay : The frontier of cost and violation.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.fairness import EqualizedOddsPostprocessor, GroupROCDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, group = X[:, 1:3], X[:, 0] > 13
    >>> model = EqualizedOddsPostprocessor(random_state=0)
    >>> model = model.fit(X, y, sensitive_features=group)
    >>> display = GroupROCDisplay.from_estimator(model)
    >>> display.frame().columns.tolist()
    ['group', 'fpr', 'tpr']
    """

    def __init__(self, hulls, points=None):
        self.hulls = hulls
        self.points = points

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the hulls and points of a fitted model.

        Parameters
        ----------
        estimator : EqualizedOddsPostprocessor
            Fitted model.
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : GroupROCDisplay
            Drawn.
        """
        check_is_fitted(estimator)
        hulls = zip(estimator._groups, estimator._problem["hulls"], strict=True)
        return cls(dict(hulls), dict(estimator.roc_points_)).plot(ax=ax)

    def plot(self, ax=None):
        """Draw one hull per group.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : GroupROCDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_, self.points_ = [], []
        for k, (group, (fpr, tpr, _)) in enumerate(self.hulls.items()):
            color = PALETTE[k % len(PALETTE)]
            self.lines_ += self.ax_.plot(fpr, tpr, color=color, label=str(group))
            if self.points is not None:
                x, y = self.points[group]
                self.points_ += self.ax_.plot(
                    x, y, "o", color=color, markeredgecolor="white", zorder=3 + k
                )
        self.ax_.plot([0, 1], [0, 1], ":", color=COLORS["neutral"], linewidth=1)
        self.ax_.set(
            xlabel="false positive rate", ylabel="true positive rate", aspect="equal"
        )
        self.ax_.legend(title="group", loc="lower right")
        return self

    def frame(self):
        """Return the vertices as a table.

        Returns
        -------
        frame : DataFrame
            Columns ``group``, ``fpr``, ``tpr``.
        """
        pd = require_pandas("frame")
        parts = [
            pd.DataFrame({"group": [group] * len(fpr), "fpr": fpr, "tpr": tpr})
            for group, (fpr, tpr, _) in self.hulls.items()
        ]
        return pd.concat(parts, ignore_index=True)
