"""Plots of a conformal selection."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class ConformalSelectionDisplay:
    """Show p-values beside their bound, or realised rates beside the levels.

    Parameters
    ----------
    p_values : array-like of shape (n_samples,)
        P-values of one batch.
    selected : array-like of bool of shape (n_samples,)
        Which rows of it were selected.
    fdr_level : float
        The level.
    levels : array-like of shape (n_levels,), default=None
        Levels at which outcomes were compared.
    fdp : array-like of shape (n_levels,), default=None
        Realised proportion of false discoveries at each.
    power : array-like of shape (n_levels,), default=None
        Proportion of the discoveries that was selected at each.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    points_ : matplotlib PathCollection or None
        The p-values, where they were drawn.
    lines_ : list of matplotlib Line2D
        The bound, or the realised rates.

    See Also
    --------
    ConformalSelector : What selects.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.conformal import ConformalSelectionDisplay, ConformalSelector
    >>> X, y = load_diabetes(return_X_y=True)
    >>> selector = ConformalSelector(threshold=150, random_state=0).fit(X, y)
    >>> display = ConformalSelectionDisplay.from_estimator(selector, X, y)
    >>> display.frame().columns.tolist()
    ['level', 'fdp', 'power']
    """

    def __init__(
        self, p_values, selected, fdr_level, *, levels=None, fdp=None, power=None
    ):
        self.p_values = np.asarray(p_values)
        self.selected = np.asarray(selected)
        self.fdr_level = fdr_level
        self.levels = levels
        self.fdp = fdp
        self.power = power

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, levels=None, thresholds=None, groups=None
    ):
        """Make the display from a fitted selector.

        Parameters
        ----------
        estimator : ConformalSelector, OptimizedConformalSelector or \
CrossFitConformalSelector
            Fitted selector.
        X : array-like of shape (n_samples, n_features)
            A batch.
        y : array-like of shape (n_samples,), default=None
            Its outcomes, if they are known by now.
        levels : array-like of shape (n_levels,), default=None
            Levels to compare at; 0.05, 0.1, ..., 0.5 if None.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups; see :meth:`ConformalSelector.select`.

        Returns
        -------
        display : ConformalSelectionDisplay
            Not drawn yet.
        """
        grid = np.arange(1, 11) / 20 if levels is None else np.sort(levels)
        every = np.append(grid, estimator.fdr_level)
        new = thresholds if estimator._needs_new_thresholds else None
        found = estimator._select(X, every, new, groups)
        rates = {}
        if y is not None:
            positive = estimator._discoveries(y, thresholds)
            chosen = found.selected[:-1]
            wrong = (chosen & ~positive).sum(axis=1)
            rates = {
                "levels": grid,
                "fdp": wrong / np.maximum(chosen.sum(axis=1), 1),
                "power": (chosen & positive).sum(axis=1) / max(positive.sum(), 1),
            }
        return cls(found.p_values[-1], found.selected[-1], estimator.fdr_level, **rates)

    def plot(self, ax=None, *, kind="auto"):
        """Draw one of the two plots.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.
        kind : {"auto", "p_values", "levels"}, default="auto"
            Sorted p-values with the line of Benjamini and Hochberg, or realised false
            discoveries and power over levels; the second where outcomes are known.

        Returns
        -------
        display : ConformalSelectionDisplay
            This display.
        """
        if kind not in ("auto", "p_values", "levels"):
            raise ValueError(
                f"kind must be 'auto', 'p_values' or 'levels'. Got {kind!r} instead."
            )
        if kind == "levels" and self.levels is None:
            raise ValueError("kind='levels' needs outcomes: pass y to from_estimator.")
        self.figure_, self.ax_ = get_axes(ax)
        if kind == "p_values" or self.levels is None:
            self._plot_p_values()
        else:
            self._plot_levels()
        self.ax_.legend(loc="best", frameon=False)
        return self

    def _plot_p_values(self):
        m = len(self.p_values)
        order = np.argsort(self.p_values, kind="stable")
        rank = np.arange(1, m + 1)
        kept = self.selected[order]
        (bound,) = self.ax_.plot(
            rank,
            self.fdr_level * rank / m,
            color=COLORS["neutral"],
            ls="--",
            lw=1,
            label=f"bound at {self.fdr_level:g}",
        )
        self.lines_ = [bound]
        self.points_ = self.ax_.scatter(
            rank,
            self.p_values[order],
            c=np.where(kept, COLORS["main"], COLORS["range"]),
            s=max(2, min(16, 4000 / m)),
            label=f"p-values ({kept.sum()} of {m} selected)",
        )
        self.ax_.set(xlabel="Rank", ylabel="p-value")

    def _plot_levels(self):
        styles = (("fdp", "accent", "-"), ("power", "main", "-"))
        names = {"fdp": "false among selected", "power": "found among discoveries"}
        self.points_ = None
        self.lines_ = [
            self.ax_.plot(
                self.levels,
                getattr(self, name),
                color=COLORS[color],
                ls=style,
                marker="o",
                ms=3,
                label=names[name],
            )[0]
            for name, color, style in styles
        ]
        self.ax_.plot(
            self.levels,
            self.levels,
            color=COLORS["neutral"],
            ls="--",
            lw=1,
            label="guaranteed",
        )
        self.ax_.set(xlabel="Level", ylabel="Proportion", ylim=(-0.02, 1.02))

    def frame(self):
        """Return the numbers behind the plot.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``level``, ``fdp``, ``power`` where outcomes are known, otherwise
            ``p_value`` and ``selected``.
        """
        pd = require_pandas("frame")
        if self.levels is None:
            return pd.DataFrame({"p_value": self.p_values, "selected": self.selected})
        return pd.DataFrame(
            {"level": self.levels, "fdp": self.fdp, "power": self.power}
        )
