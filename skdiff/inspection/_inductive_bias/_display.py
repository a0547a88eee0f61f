"""Figure of information over the target error."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class InductiveBiasDisplay:
    """Show the information over the target error, of one space or several.

    Parameters
    ----------
    eps : array-like of shape (n_errors,)
        Target errors.
    information : dict
        For each name an array of shape (n_errors,).
    limits : dict, default=None
        For each name the information beyond which it is extrapolated.
    units : str, default="nats"
        Units of information.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        The curves.

    See Also
    --------
    InductiveBiasEstimator : Computes the information.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.inspection import InductiveBiasDisplay, InductiveBiasEstimator
    >>> X, y = load_iris(return_X_y=True)
    >>> model = InductiveBiasEstimator(random_state=0).fit(X, y)
    >>> display = InductiveBiasDisplay.from_estimator(model)
    >>> display.frame().columns.tolist()
    ['name', 'target_error', 'information', 'extrapolated']
    """

    def __init__(self, eps, information, *, limits=None, units="nats"):
        self.eps = np.asarray(eps, dtype=float)
        self.information = {k: np.asarray(v) for k, v in information.items()}
        self.limits = dict.fromkeys(self.information, np.inf) | (limits or {})
        self.units = units

    @classmethod
    def from_estimator(cls, estimator, *, eps=None):
        """Compute the curves.

        Parameters
        ----------
        estimator : InductiveBiasEstimator or dict
            Fitted estimator, or several by name; all in the same units.
        eps : array-like of shape (n_errors,), default=None
            Target errors; by default 40 from the least that matters to the mean.

        Returns
        -------
        display : InductiveBiasDisplay
            Not drawn yet.
        """
        models = estimator if isinstance(estimator, dict) else {"": estimator}
        if eps is None:
            laws = [m.loss_distribution_ for m in models.values()]
            low = min(law.ppf(1e-3) for law in laws)
            eps = np.geomspace(max(low, 1e-12), max(law.mean() for law in laws), 40)
        limits = {
            k: np.inf if m.exact_ else (np.log(len(m.errors_)) + 3) / m._unit()
            for k, m in models.items()
        }
        curves = {k: m.curve(eps) for k, m in models.items()}
        units = next(iter(models.values())).units
        return cls(eps, curves, limits=limits, units=units)

    def plot(self, ax=None):
        """Draw the curves; dashed where they are extrapolated.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : InductiveBiasDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        self.lines_ = []
        colors = [COLORS["main"], COLORS["accent"], COLORS["neutral"], COLORS["range"]]
        for k, (name, values) in enumerate(self.information.items()):
            color = colors[k % len(colors)]
            sure = np.where(values <= self.limits[name], values, np.nan)
            self.ax_.plot(self.eps, values, color=color, linestyle=":", linewidth=1)
            self.lines_ += self.ax_.plot(self.eps, sure, color=color, label=name)
        if any(self.information):
            self.ax_.legend()
        self.ax_.set(
            xlabel="target error", ylabel=f"information ({self.units})", xscale="log"
        )
        return self

    def frame(self):
        """Return the curves as a table.

        Returns
        -------
        frame : DataFrame
            One row per name and target error.
        """
        pd = require_pandas("frame")
        parts = [
            pd.DataFrame(
                {
                    "name": name,
                    "target_error": self.eps,
                    "information": values,
                    "extrapolated": values > self.limits[name],
                }
            )
            for name, values in self.information.items()
        ]
        return pd.concat(parts, ignore_index=True)
