"""The figure of predicted scores over mixtures."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class MixtureDisplay:
    """Show predicted against observed scores of the pilots, with intervals.

    Parameters
    ----------
    mixtures : ndarray of shape (n_mixtures, n_sources)
        Pilot mixtures.
    observed, predicted, std : ndarray of shape (n_mixtures,)
        Scores at the largest pilot size, and standard deviations of the forecasts.
    sources : array-like of shape (n_sources,)
        Labels of the sources.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    MixturePerformanceProjector : What predicts.

    Examples
    --------
    >>> from skdiff.data_selection import MixtureDisplay
    >>> display = MixtureDisplay([[1, 0], [0, 1]], [0.8, 0.6], [0.8, 0.6], [0, 0], "ab")
    >>> display.frame()["a"].tolist()
    [1.0, 0.0]
    """

    def __init__(self, mixtures, observed, predicted, std, sources):
        self.mixtures = np.asarray(mixtures, dtype=np.float64)
        self.observed = np.asarray(observed, dtype=np.float64)
        self.predicted = np.asarray(predicted, dtype=np.float64)
        self.std = np.asarray(std, dtype=np.float64)
        self.sources = list(sources)

    @classmethod
    def from_estimator(cls, estimator):
        """Take the pilots of a fitted projector.

        Parameters
        ----------
        estimator : MixturePerformanceProjector
            Fitted.

        Returns
        -------
        display : MixtureDisplay
            Not drawn yet.
        """
        check_is_fitted(estimator)
        P = estimator.mixtures_
        predicted, std = estimator.predict(P, return_std=True)
        observed = estimator.observed_scores_[-1]
        return cls(P, observed, predicted, std, estimator.sources_)

    def frame(self):
        """Return the pilots as a DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One column per source, then ``observed``, ``predicted`` and ``std``.
        """
        pd = require_pandas("MixtureDisplay.frame")
        frame = pd.DataFrame(self.mixtures, columns=[str(s) for s in self.sources])
        return frame.assign(
            observed=self.observed, predicted=self.predicted, std=self.std
        )

    def plot(self, ax=None):
        """Draw one point per pilot mixture, and the diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : MixtureDisplay
            This object.
        """
        self.figure_, self.ax_ = get_axes(ax)
        ends = [
            min(self.observed.min(), self.predicted.min()),
            max(self.observed.max(), self.predicted.max()),
        ]
        self.ax_.plot(ends, ends, color=COLORS["neutral"], ls=":")
        self.ax_.errorbar(
            self.observed, self.predicted, self.std, fmt="o", color=COLORS["main"]
        )
        self.ax_.set(xlabel="Observed score", ylabel="Predicted score")
        return self
