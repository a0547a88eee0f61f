"""Budget of a reusable holdout set over its queries."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class ReusableHoldoutDisplay:
    """Show what queries returned, which of them overfitted, and the budget left.

    Parameters
    ----------
    train : array-like of shape (n_queries,)
        Training values.
    value : array-like of shape (n_queries,)
        Values that were returned; NaN where a mechanism returns none.
    overfit : array-like of bool of shape (n_queries,)
        Which queries overfitted.
    budget_left : array-like of shape (n_queries,)
        Budget after each query; infinity without a limit.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the values.
    budget_ax_ : matplotlib Axes or None
        Axes of the budget; None without a limit.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        Training values, returned values of queries that overfitted, and the budget.

    See Also
    --------
    ReusableHoldout : What is shown.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_evaluation import ReusableHoldout, ReusableHoldoutDisplay
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(100, 2)), rng.integers(2, size=100)
    >>> holdout = ReusableHoldout(budget=5, random_state=0)
    >>> holdout = holdout.fit(X[:50], y[:50], X[50:], y[50:])
    >>> values = holdout.query([0.5, 0.9], [0.5, 0.1])
    >>> ReusableHoldoutDisplay.from_estimator(holdout).frame().shape
    (2, 5)
    """

    def __init__(self, train, value, overfit, budget_left):
        self.train = np.asarray(train, dtype=np.float64)
        self.value = np.asarray(value, dtype=np.float64)
        self.overfit = np.asarray(overfit, dtype=bool)
        self.budget_left = np.asarray(budget_left, dtype=np.float64)

    @classmethod
    def from_estimator(cls, holdout):
        """Make the display of the queries so far.

        Parameters
        ----------
        holdout : ReusableHoldout
            Fitted.

        Returns
        -------
        display : ReusableHoldoutDisplay
            Not drawn yet.
        """
        log = np.array(holdout._log, dtype=np.float64).reshape(-1, 4)
        return cls(*log.T)

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : ReusableHoldoutDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        queries = np.arange(1, len(self.train) + 1)
        some = self.overfit
        self.lines_ = [
            *self.ax_.plot(
                queries,
                self.train,
                ".",
                color=COLORS["range"],
                label="training value",
            ),
            *self.ax_.plot(
                queries[some],
                self.value[some],
                "x",
                color=COLORS["accent"],
                label="validation value with noise",
            ),
        ]
        self.ax_.set(xlabel="query", ylabel="value")
        self.budget_ax_ = None
        if len(queries) and np.isfinite(self.budget_left).all():
            self.budget_ax_ = self.ax_.twinx()
            self.lines_ += self.budget_ax_.step(
                queries,
                self.budget_left,
                where="post",
                color=COLORS["neutral"],
                label="budget left",
            )
            self.budget_ax_.set(ylabel="budget left")
            self.budget_ax_.set_ylim(bottom=0)
        self.ax_.legend(handles=self.lines_)
        return self

    def frame(self):
        """Return what is drawn, one row per query.

        Returns
        -------
        frame : DataFrame
            Columns ``query``, ``train``, ``value``, ``overfit``, ``budget_left``.
        """
        pd = require_pandas("frame")
        return pd.DataFrame(
            {
                "query": np.arange(1, len(self.train) + 1),
                "train": self.train,
                "value": self.value,
                "overfit": self.overfit,
                "budget_left": self.budget_left,
            }
        )
