"""Figures of forecasts of learning curves."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class CurveForecastDisplay:
    """Show the observed part of learning curves and the forecast of the rest.

    Parameters
    ----------
    observed : array-like of shape (n_curves, n_epochs)
        Observed parts; NaN where an epoch was not observed.
    epochs : array-like of shape (n_at,)
        Epochs that are forecast.
    quantiles : array-like of shape (n_curves, n_levels, n_at)
        Quantiles at ``levels``.
    levels : array-like of shape (n_levels,)
        Rising levels, an odd number of them, the median in the middle.
    truth : array-like of shape (n_curves, n_truth), default=None
        What came, from epoch 1 on.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        Medians of the forecasts.

    See Also
    --------
    LearningCurvePFN : Makes the forecasts.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.model_selection import CurveForecastDisplay, LearningCurvePFN
    >>> curves = 0.9 - 0.4 / np.arange(1, 11)[None]
    >>> model = LearningCurvePFN(horizon=50).fit(curves)
    >>> display = CurveForecastDisplay.from_estimator(model, curves)
    >>> display.frame().columns.tolist()
    ['curve', 'epoch', 'q0.05', 'q0.25', 'q0.5', 'q0.75', 'q0.95']
    """

    def __init__(self, observed, epochs, quantiles, *, levels, truth=None):
        self.observed = np.asarray(observed, dtype=float)
        self.epochs = np.asarray(epochs)
        self.quantiles = np.asarray(quantiles, dtype=float)
        self.levels = np.asarray(levels, dtype=float)
        self.truth = None if truth is None else np.asarray(truth, dtype=float)

    @classmethod
    def from_estimator(
        cls, estimator, X, *, levels=(0.05, 0.25, 0.5, 0.75, 0.95), truth=None
    ):
        """Forecast every later epoch of the curves.

        Parameters
        ----------
        estimator : LearningCurvePFN
            Fitted estimator.
        X : array-like of shape (n_curves, n_epochs)
            Observed parts; NaN where an epoch was not observed.
        levels : array-like of shape (n_levels,), default=(0.05, 0.25, 0.5, 0.75, 0.95)
            Rising levels, an odd number of them, the median in the middle.
        truth : array-like of shape (n_curves, n_truth), default=None
            What came, from epoch 1 on.

        Returns
        -------
        display : CurveForecastDisplay
            Not drawn yet.
        """
        observed = np.asarray(X, dtype=float)
        epochs = np.arange(observed.shape[1] + 1, estimator.horizon + 1)
        quantiles = estimator.predict_quantiles(observed, levels, epochs)
        return cls(observed, epochs, quantiles, levels=levels, truth=truth)

    def plot(self, ax=None):
        """Draw the curves with bands between the quantiles.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : CurveForecastDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        n_levels, self.lines_ = len(self.levels), []
        seen = np.arange(1, self.observed.shape[1] + 1)
        for k, (curve, bands) in enumerate(
            zip(self.observed, self.quantiles, strict=True)
        ):
            for j in range(n_levels // 2):
                self.ax_.fill_between(
                    self.epochs,
                    bands[j],
                    bands[n_levels - 1 - j],
                    color=COLORS["range"],
                    alpha=0.5,
                    linewidth=0,
                )
            self.lines_ += self.ax_.plot(
                self.epochs, bands[n_levels // 2], color=COLORS["main"], linestyle="--"
            )
            self.ax_.plot(seen, curve, color=COLORS["main"])
            if self.truth is not None:
                after = np.arange(len(seen) + 1, self.truth.shape[1] + 1)
                self.ax_.plot(
                    after,
                    self.truth[k, len(seen) :],
                    color=COLORS["accent"],
                    linewidth=1,
                )
        self.ax_.set(xlabel="epoch", ylabel="score")
        return self

    def frame(self):
        """Return the forecasts as a table.

        Returns
        -------
        frame : DataFrame
            One row per curve and epoch, one column per level.
        """
        pd = require_pandas("frame")
        n, _, n_at = self.quantiles.shape
        columns = {
            "curve": np.repeat(np.arange(n), n_at),
            "epoch": np.tile(self.epochs, n),
        }
        for j, level in enumerate(self.levels):
            columns[f"q{level:g}"] = self.quantiles[:, j].ravel()
        return pd.DataFrame(columns)
