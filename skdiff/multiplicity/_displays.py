"""Pictures of predictive multiplicity."""

import numpy as np
from sklearn.base import is_classifier

from skdiff._plotting import COLORS, get_axes, require_pandas


class RashomonRangeDisplay:
    """Show each row's prediction with its range over all nearly optimal models.

    Parameters
    ----------
    prediction : array-like of shape (n_samples,)
        Predictions of the baseline.
    low : array-like of shape (n_samples,)
        Lower ends of the ranges.
    high : array-like of shape (n_samples,)
        Upper ends of the ranges.
    threshold : float, default=None
        Cut between two decisions, for classifiers.
    name : str, default="Prediction"
        What the vertical axis shows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D
        The baseline's predictions.

    See Also
    --------
    RashomonClassifier : What computes the ranges.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.multiplicity import RashomonClassifier, RashomonRangeDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> model = RashomonClassifier().fit(X, y)
    >>> display = RashomonRangeDisplay.from_estimator(model, X)
    >>> display.frame().columns.tolist()
    ['prediction', 'low', 'high']
    """

    def __init__(self, prediction, low, high, *, threshold=None, name="Prediction"):
        self.prediction = np.asarray(prediction)
        self.low = np.asarray(low)
        self.high = np.asarray(high)
        self.threshold = threshold
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X):
        """Make the display from a fitted estimator.

        Parameters
        ----------
        estimator : RashomonClassifier or RashomonRegressor
            Fitted estimator.
        X : array-like of shape (n_samples, n_features)
            Rows to show.

        Returns
        -------
        display : RashomonRangeDisplay
            Not drawn yet.
        """
        columns = np.asarray(estimator.transform(X)).T
        if len(columns) != 4:
            raise ValueError(
                "The display is for two classes; pass a class's columns of transform "
                "to the constructor."
            )
        prediction, low, high, _ = columns
        if is_classifier(estimator):
            name, cut = f"Probability of {estimator.classes_[1]}", estimator.threshold
            if not hasattr(estimator, "predict_proba"):
                name, cut = f"Linear predictor of {estimator.classes_[1]}", 0.0
            return cls(prediction, low, high, threshold=cut, name=name)
        return cls(prediction, low, high)

    def plot(self, ax=None):
        """Draw rows sorted by their prediction.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : RashomonRangeDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        order = np.argsort(self.prediction, kind="stable")
        place = np.arange(len(order))
        low, high = self.low[order], self.high[order]
        # a filled band reads with fifty rows and with fifty thousand
        self.ax_.fill_between(
            place, low, high, step="mid", color=COLORS["range"], lw=0, label="range"
        )
        (self.line_,) = self.ax_.plot(
            place,
            self.prediction[order],
            color=COLORS["main"],
            lw=1.2,
            label="baseline",
        )
        if self.threshold is not None:
            arbitrary = (low <= self.threshold) & (high > self.threshold)
            self.ax_.axhline(self.threshold, color=COLORS["neutral"], lw=0.8, ls="--")
            self.ax_.vlines(
                place[arbitrary],
                low[arbitrary],
                high[arbitrary],
                color=COLORS["accent"],
                lw=max(0.2, min(2.0, 200 / max(len(order), 1))),
                label=f"decision arbitrary ({arbitrary.sum()} of {len(order)})",
            )
        self.ax_.set(xlabel="Rows, sorted by prediction", ylabel=self.name)
        self.ax_.margins(x=0)
        self.ax_.legend(loc="best", frameon=False)
        return self

    def frame(self):
        """Return the numbers behind the picture.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``prediction``, ``low``, ``high``, in the order of the rows.
        """
        pd = require_pandas("frame")
        return pd.DataFrame(
            {"prediction": self.prediction, "low": self.low, "high": self.high}
        )
