"""Figures of a search that stops candidates early."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class PredictiveStoppingDisplay:
    """Show the learning curves of a search and where they were stopped.

    Parameters
    ----------
    curves : list of array-like
        Scores of each candidate after each step.
    budgets : array-like of shape (n_steps,)
        Resource after each step.
    stopped : array-like of shape (n_candidates,)
        Whether a forecast stopped the candidate.
    best_index : int
        The best candidate.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        One per candidate.

    See Also
    --------
    PredictiveStoppingSearchCV : What is shown.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import SGDClassifier
    >>> from skdiff.model_selection import (
    ...     PredictiveStoppingDisplay,
    ...     PredictiveStoppingSearchCV,
    ... )
    >>> X, y = load_iris(return_X_y=True)
    >>> search = PredictiveStoppingSearchCV(
    ...     SGDClassifier(random_state=0), {"alpha": [1e-4, 1.0]}, max_resource=6
    ... ).fit(X, y)
    >>> display = PredictiveStoppingDisplay.from_estimator(search)
    >>> display.frame().columns.tolist()
    ['candidate', 'resource', 'score', 'stopped_early']
    """

    def __init__(self, curves, budgets, stopped, best_index):
        self.curves = [np.asarray(c, dtype=float) for c in curves]
        self.budgets = np.asarray(budgets)
        self.stopped = np.asarray(stopped, dtype=bool)
        self.best_index = int(best_index)

    @classmethod
    def from_estimator(cls, estimator):
        """Make the display from a fitted search.

        Parameters
        ----------
        estimator : PredictiveStoppingSearchCV
            Fitted search.

        Returns
        -------
        display : PredictiveStoppingDisplay
            Not drawn yet.
        """
        return cls(
            estimator.curves_,
            estimator.budgets_,
            estimator.cv_results_["stopped_early"],
            estimator.best_index_,
        )

    def plot(self, ax=None):
        """Draw one line per candidate, with a mark where it was stopped.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : PredictiveStoppingDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        for k, curve in enumerate(self.curves):
            at, best = self.budgets[: len(curve)], k == self.best_index
            color = COLORS["accent" if best else "main"]
            self.lines_ += self.ax_.plot(
                at, curve, color=color, linewidth=2 if best else 1, zorder=2 + best
            )
            if self.stopped[k]:
                self.ax_.plot(at[-1:], curve[-1:], "x", color=COLORS["neutral"])
        self.ax_.set(xlabel="resource", ylabel="mean validation score")
        return self

    def frame(self):
        """Return the curves as a table.

        Returns
        -------
        frame : DataFrame
            One row per candidate and step.
        """
        pd = require_pandas("frame")
        lengths = [len(c) for c in self.curves]
        return pd.DataFrame(
            {
                "candidate": np.repeat(np.arange(len(lengths)), lengths),
                "resource": np.concatenate([self.budgets[:n] for n in lengths]),
                "score": np.concatenate(self.curves),
                "stopped_early": np.repeat(self.stopped, lengths),
            }
        )
