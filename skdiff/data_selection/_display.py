"""Figures: what a selection gains over random rows, and which rows stand out."""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.inner import seeded
from skdiff._base.plotting import COLORS, get_axes, require_pandas
from skdiff.data_selection._base import take
from skdiff.data_selection._choice import number_to_keep
from skdiff.data_selection._selected._estimator import SelectedFit


class SelectionCurveDisplay:
    """Show test scores over the number of rows: selected against random ones.

    Parameters
    ----------
    n_selected : array-like of shape (n_sizes,)
        Numbers of rows.
    selected : array-like of shape (n_sizes, n_repeats)
        Scores of models trained on selected rows.
    random : array-like of shape (n_sizes, n_repeats)
        Scores of models trained on as many random rows.
    everything : float
        Score of a model trained on all rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        Selected rows, random rows, all rows.

    See Also
    --------
    RowScoresDisplay : The rows behind a selection.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.data_selection import SelectionCurveDisplay, SurrogateSubsampler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> display = SelectionCurveDisplay.from_estimator(
    ...     SurrogateSubsampler(), LogisticRegression(), X[:400], y[:400],
    ...     X_test=X[400:], y_test=y[400:], n_select=[0.2, 0.5], n_repeats=2,
    ...     random_state=0,
    ... )
    >>> display.frame()["n_selected"].tolist()
    [80, 200]
    """

    def __init__(self, n_selected, selected, random, everything):
        self.n_selected = np.asarray(n_selected)
        self.selected = np.asarray(selected)
        self.random = np.asarray(random)
        self.everything = everything

    @classmethod
    def from_estimator(
        cls,
        selector,
        estimator,
        X,
        y,
        *,
        X_test,
        y_test,
        n_select=(0.05, 0.1, 0.3, 0.5),
        n_repeats=5,
        scoring=None,
        random_state=None,
        **fit_params,
    ):
        """Train on selected and on random rows of several numbers.

        Parameters
        ----------
        selector : selector
            Its ``n_select`` is varied.
        estimator : estimator
            What is trained on the rows.
        X : array-like of shape (n_samples, n_features)
            Rows to choose from.
        y : array-like of shape (n_samples,)
            Their outcomes.
        X_test, y_test : array-like
            Rows that score the models; they must have no part in the selection.
        n_select : array-like, default=(0.05, 0.1, 0.3, 0.5)
            Numbers of rows, or their fractions.
        n_repeats : int, default=5
            Seeds of the selector, and draws of random rows.
        scoring : str, callable or None, default=None
            Scorer; the estimator's own if None.
        random_state : int, RandomState instance or None, default=None
            Seed or generator of random numbers; an int makes results repeatable.
        **fit_params : dict
            Passed to the selector, such as ``X_target``.

        Returns
        -------
        display : SelectionCurveDisplay
            Not drawn yet.
        """
        scorer = check_scoring(estimator, scoring=scoring)
        rng = check_random_state(random_state)
        X = X if hasattr(X, "shape") else np.asarray(X)
        n = X.shape[0]
        numbers = [number_to_keep(k, n) for k in n_select]
        selected = np.empty((len(numbers), n_repeats))
        random = np.empty((len(numbers), n_repeats))
        for i, k in enumerate(numbers):
            for j in range(n_repeats):
                chooser = clone(selector).set_params(n_select=k)
                both = SelectedFit(seeded(chooser, rng), seeded(estimator, rng))
                both.fit(X, y, **fit_params)
                selected[i, j] = scorer(both.estimator_, X_test, y_test)
                rows = _random_rows(y, k, rng)
                model = seeded(estimator, rng).fit(take(X, rows), take(y, rows))
                random[i, j] = scorer(model, X_test, y_test)
        everything = scorer(seeded(estimator, rng).fit(X, y), X_test, y_test)
        return cls(numbers, selected, random, float(everything))

    def plot(self, ax=None):
        """Draw means and ranges of two standard errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : SelectionCurveDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        for name, color in (("selected", "main"), ("random", "accent")):
            mean, error = _mean_and_error(getattr(self, name))
            line = self.ax_.errorbar(
                self.n_selected,
                mean,
                yerr=2 * error,
                color=COLORS[color],
                marker="o",
                ms=3,
                capsize=2,
                label=f"{name} rows",
            )
            self.lines_.append(line[0])
        self.lines_.append(
            self.ax_.axhline(
                self.everything,
                color=COLORS["neutral"],
                ls="--",
                lw=1,
                label="all rows",
            )
        )
        self.ax_.set(xlabel="Rows", ylabel="Score", xscale="log")
        self.ax_.legend(loc="best", frameon=False)
        return self

    def frame(self):
        """Return the numbers behind the figure.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``n_selected``, ``selected``, ``selected_se``, ``random``,
            ``random_se`` and ``all``.
        """
        pd = require_pandas("frame")
        columns = {"n_selected": self.n_selected}
        for name in ("selected", "random"):
            columns[name], columns[f"{name}_se"] = _mean_and_error(getattr(self, name))
        return pd.DataFrame({**columns, "all": self.everything})


def _random_rows(y, n, rng):
    """Random rows of two classes or more, so that a classifier can be fitted."""
    values = np.asarray(y)
    for _ in range(100):
        rows = np.sort(rng.choice(len(values), size=n, replace=False))
        if n < 2 or len(np.unique(values[rows])) > 1:
            break
    return rows


def _mean_and_error(values):
    n = values.shape[1]
    spread = values.std(axis=1, ddof=1) if n > 1 else np.zeros(len(values))
    return values.mean(axis=1), spread / np.sqrt(n)


class RowScoresDisplay:
    """Show the scores of the rows, and the hardest or most harmful of them as a table.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores, as a selector or :func:`influence_scores` gives them.
    X : array-like of shape (n_samples, n_features), default=None
        The rows, for the table.
    y : array-like of shape (n_samples,), default=None
        Their outcomes, for the table.
    support : array-like of bool of shape (n_samples,), default=None
        Which rows are selected.
    largest_first : bool, default=True
        Whether large scores stand first in the table.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    SelectionCurveDisplay : What the selection gains.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.data_selection import EL2NSelector, RowScoresDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> selector = EL2NSelector(LogisticRegression(max_iter=1000), random_state=0)
    >>> display = RowScoresDisplay.from_estimator(selector.fit(X, y), X, y)
    >>> display.frame(3).columns.tolist()[:4]
    ['row', 'score', 'selected', 'target']
    """

    def __init__(self, scores, X=None, y=None, *, support=None, largest_first=True):
        self.scores = np.asarray(scores, dtype=np.float64)
        self.X = X
        self.y = y
        self.support = support
        self.largest_first = largest_first

    @classmethod
    def from_estimator(cls, selector, X, y=None):
        """Make the display from a fitted selector.

        Parameters
        ----------
        selector : selector
            Fitted; its hardest, or most harmful, rows stand first.
        X : array-like of shape (n_samples, n_features)
            The rows it was fitted to.
        y : array-like of shape (n_samples,), default=None
            Their outcomes.

        Returns
        -------
        display : RowScoresDisplay
            Not drawn yet.
        """
        check_is_fitted(selector)
        return cls(
            selector.scores_,
            X,
            y,
            support=selector.support_,
            largest_first=selector._worst_are_large(),
        )

    def plot(self, ax=None, *, bins=40):
        """Draw a histogram of the scores, selected rows apart.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.
        bins : int, default=40
            Number of bins.

        Returns
        -------
        display : RowScoresDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        known = np.isfinite(self.scores)
        edges = np.histogram_bin_edges(self.scores[known], bins)
        if self.support is None:
            self.ax_.hist(self.scores[known], edges, color=COLORS["main"])
        else:
            support = np.asarray(self.support)
            self.ax_.hist(
                [self.scores[known & support], self.scores[known & ~support]],
                edges,
                stacked=True,
                color=[COLORS["main"], COLORS["range"]],
                label=["selected", "left out"],
            )
            self.ax_.legend(loc="best", frameon=False)
        self.ax_.set(xlabel="Score", ylabel="Rows")
        return self

    def frame(self, n_rows=20):
        """Return the hardest, or most harmful, rows.

        Parameters
        ----------
        n_rows : int, default=20
            How many.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``row``, ``score``, ``selected`` and ``target`` where known, then
            those of X; the worst row first. A DataFrame keeps its index.
        """
        pd = require_pandas("frame")
        order = np.where(np.isfinite(self.scores), self.scores, np.nan)
        order = np.argsort(-order if self.largest_first else order, kind="stable")
        rows = order[:n_rows]
        columns = {"row": rows, "score": self.scores[rows]}
        if self.support is not None:
            columns["selected"] = np.asarray(self.support)[rows]
        if self.y is not None:
            columns["target"] = np.asarray(self.y)[rows]
        table = pd.DataFrame(columns)
        if self.X is None:
            return table
        X = take(self.X, rows)
        X = X.toarray() if hasattr(X, "toarray") else X
        if hasattr(X, "iloc"):
            return table.set_index(X.index).join(X)
        names = list(getattr(X, "columns", [])) or [
            f"x{k}" for k in range(np.asarray(X).shape[1])
        ]
        return table.join(pd.DataFrame(np.asarray(X), columns=names))
