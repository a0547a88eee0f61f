"""The figure of a learning curve and its extrapolation."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class ScoreCurveDisplay:
    """Show scores over training sizes, the curve, and its intervals ahead.

    Parameters
    ----------
    curve : ScoreCurve
        Fitted.
    sizes : array-like of shape (n_sizes,)
        Sizes at which the curve is drawn.
    level : float, default=0.9
        Level of the intervals.
    target : float, default=None
        Score that is wanted, drawn as a line.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : The scores, without a curve.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_selection import ScoreCurve, ScoreCurveDisplay
    >>> sizes = np.array([100, 200, 400, 800])
    >>> curve = ScoreCurve(random_state=0).fit(sizes, 0.9 - 2.0 * sizes**-0.5)
    >>> display = ScoreCurveDisplay.from_estimator(curve, sizes=[800, 3200])
    >>> display.frame()["predicted"].round(3).tolist()
    [0.829, 0.865]
    """

    def __init__(self, curve, sizes, *, level=0.9, target=None, name=None):
        self.curve = curve
        self.sizes = np.asarray(sizes, dtype=np.float64)
        self.level = level
        self.target = target
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator, *, sizes=None, level=0.9, target=None, name=None
    ):
        """Take the curve of a fitted estimator.

        Parameters
        ----------
        estimator : ScoreCurve or TrainingSizeEstimator
            Fitted.
        sizes : array-like of shape (n_sizes,), default=None
            Sizes at which the curve is drawn; from the smallest observed one to four
            times the largest if None.
        level : float, default=0.9
            Level of the intervals.
        target : float, default=None
            Score that is wanted; that of the estimator if None.
        name : str, default=None
            Name in the legend.

        Returns
        -------
        display : ScoreCurveDisplay
            Not drawn yet.
        """
        check_is_fitted(estimator)
        curve = getattr(estimator, "curve_", estimator)
        if target is None:
            target = getattr(estimator, "target", None)
        if name is None and curve is not estimator:
            name = type(estimator.estimator).__name__
        if sizes is None:
            observed = curve.sizes_
            sizes = np.geomspace(observed[0], 4 * observed[-1], 80)
        return cls(curve, sizes, level=level, target=target, name=name)

    def frame(self):
        """Return what is drawn as a DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``size``, ``predicted``, ``low``, ``high``; one row per size. Bounds
            are NaN for a curve without intervals.
        """
        pd = require_pandas("ScoreCurveDisplay.frame")
        low, high = self._bounds()
        predicted = self.curve.predict(self.sizes)
        columns = {"size": self.sizes, "predicted": predicted, "low": low, "high": high}
        return pd.DataFrame(columns)

    def _bounds(self):
        if self.curve.intervals is None:
            return np.full((2, len(self.sizes)), np.nan)
        tail = (1 - self.level) / 2
        return self.curve.predict_quantiles(self.sizes, [tail, 1 - tail]).T

    def plot(self, ax=None, *, color=None):
        """Draw scores with standard errors, the curve and its intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.
        color : str, default=None
            Colour of the curve.

        Returns
        -------
        display : ScoreCurveDisplay
            This object.
        """
        self.figure_, self.ax_ = get_axes(ax)
        color = COLORS["main"] if color is None else color
        curve, (low, high) = self.curve, self._bounds()
        error = np.nan_to_num(curve.score_std_)
        self.ax_.errorbar(curve.sizes_, curve.scores_, error, fmt="o", color=color)
        (self.line_,) = self.ax_.plot(
            self.sizes, curve.predict(self.sizes), color=color, label=self.name
        )
        self.ax_.fill_between(self.sizes, low, high, color=color, alpha=0.15, lw=0)
        if self.target is not None:
            self.ax_.axhline(self.target, color="0.4", ls=":", label="target")
        self.ax_.set(xscale="log", xlabel="Training rows", ylabel="Score")
        if self.name is not None or self.target is not None:
            self.ax_.legend()
        return self
