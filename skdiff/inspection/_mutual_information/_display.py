"""Figure of the information of columns with a target."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class MutualInformationDisplay:
    """Show the information of every column with its interval.

    Parameters
    ----------
    names : list of str
        Names of the columns.
    information : array-like of shape (n_features,)
        Estimates.
    interval : array-like of shape (n_features, 2)
        Bounds.
    pvalue : array-like of shape (n_features,), default=None
        p-values; columns above ``level`` are drawn in grey.
    level : float, default=0.05
        Level of significance.
    units : str, default="nats"
        Units of information.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    MutualInformationEstimator : Computes the information.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.inspection import (
    ...     MutualInformationDisplay, MutualInformationEstimator
    ... )
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MutualInformationEstimator(random_state=0).fit(X, y)
    >>> display = MutualInformationDisplay.from_estimator(model)
    >>> display.frame()["name"].tolist()
    ['x3', 'x2', 'x0', 'x1']
    """

    def __init__(
        self, names, information, interval, *, pvalue=None, level=0.05, units="nats"
    ):
        self.names = list(names)
        self.information = np.asarray(information, dtype=float)
        self.interval = np.asarray(interval, dtype=float)
        self.pvalue = None if pvalue is None else np.asarray(pvalue, dtype=float)
        self.level = level
        self.units = units

    @classmethod
    def from_estimator(cls, estimator, *, max_features=20, level=0.05):
        """Take the most informative columns of a fitted estimator.

        Parameters
        ----------
        estimator : MutualInformationEstimator
            Fitted estimator.
        max_features : int, default=20
            Largest number of columns.
        level : float, default=0.05
            Level of significance.

        Returns
        -------
        display : MutualInformationDisplay
            Not drawn yet.
        """
        names = getattr(
            estimator,
            "feature_names_in_",
            np.array([f"x{k}" for k in range(estimator.n_features_in_)]),
        )
        order = np.argsort(-estimator.mutual_information_, kind="stable")[:max_features]
        return cls(
            names[order].tolist(),
            estimator.mutual_information_[order],
            estimator.interval_[order],
            pvalue=estimator.pvalue_[order],
            level=level,
            units=estimator.units,
        )

    def plot(self, ax=None):
        """Draw points with intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : MutualInformationDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        at = np.arange(len(self.names))[::-1]
        weak = np.zeros(len(at), dtype=bool)
        if self.pvalue is not None:
            weak = self.pvalue > self.level
        for chosen, color in ((~weak, COLORS["main"]), (weak, COLORS["neutral"])):
            self.ax_.hlines(at[chosen], *self.interval[chosen].T, color=color)
            self.ax_.plot(self.information[chosen], at[chosen], "o", color=color)
        self.ax_.axvline(0, color=COLORS["neutral"], linewidth=0.8)
        self.ax_.set_yticks(at, self.names)
        self.ax_.set_xlabel(f"mutual information with the target ({self.units})")
        return self

    def frame(self):
        """Return what is drawn as a table.

        Returns
        -------
        frame : DataFrame
            One row per column of X.
        """
        columns = {
            "name": self.names,
            "mutual_information": self.information,
            "low": self.interval[:, 0],
            "high": self.interval[:, 1],
        }
        if self.pvalue is not None:
            columns["pvalue"] = self.pvalue
        return require_pandas("frame").DataFrame(columns)
