"""Which models were used over time."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class TemporalReuseDisplay:
    """Show which models were used for which period.

    A point on the dashed line is the newest model; points below it are older ones. The
    area is the absolute weight in the combination.

    Parameters
    ----------
    periods : list
        Labels of the periods that were predicted.
    model_periods : list of list
        For each of them the last training period of the models that were there.
    weights : list of array-like
        Weights of these models.
    scores : array-like of shape (n_periods,)
        Scores of the predictions.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    points_ : matplotlib PathCollection
        One point per period and model with a weight.

    See Also
    --------
    TemporalModelSelector : What is shown.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.model_evaluation import TemporalModelSelector, TemporalReuseDisplay
    >>> rng = np.random.default_rng(0)
    >>> X, month = rng.normal(size=(300, 2)), np.repeat([1, 2, 3], 100)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> model = TemporalModelSelector(LogisticRegression(), mechanism="latest")
    >>> display = TemporalReuseDisplay.from_estimator(model.fit(X, y, periods=month))
    >>> display.frame()["model_period"].tolist()
    [1, 2]
    """

    def __init__(self, periods, model_periods, weights, scores):
        self.periods = list(periods)
        self.model_periods = [list(line) for line in model_periods]
        self.weights = [np.asarray(w, dtype=np.float64) for w in weights]
        self.scores = np.asarray(scores, dtype=np.float64)

    @classmethod
    def from_estimator(cls, estimator):
        """Make the display from the history of a fitted selector.

        Parameters
        ----------
        estimator : TemporalModelSelector
            Fitted, with two periods at least.

        Returns
        -------
        display : TemporalReuseDisplay
            Not drawn yet.
        """
        history = estimator.history_
        names = ("period", "model_periods", "weights", "score")
        return cls(*(history[name] for name in names))

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : TemporalReuseDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        order = list(self.periods)
        for line in self.model_periods:
            order += [p for p in line if p not in order]
        order = sorted(order)
        place = {label: k for k, label in enumerate(order)}
        x, y, size, sign = [], [], [], []
        for period, line, weights in zip(
            self.periods, self.model_periods, self.weights, strict=True
        ):
            top = np.abs(weights).max()
            for label, w in zip(line, weights, strict=True):
                if w != 0:
                    x.append(place[period])
                    y.append(place[label])
                    size.append(60 * abs(w) / top)
                    sign.append(COLORS["main"] if w > 0 else COLORS["accent"])
        self.points_ = self.ax_.scatter(x, y, s=size, c=sign)
        newest = [(place[p], max(place[m] for m in line)) for p, line in self._pairs()]
        self.ax_.plot(
            *np.array(newest).reshape(-1, 2).T,
            "--",
            color=COLORS["neutral"],
            lw=1,
            label="newest model",
        )
        step = max(1, len(order) // 10)
        ticks = np.arange(0, len(order), step)
        labels = [str(order[k]) for k in ticks]
        self.ax_.set_xticks(ticks, labels)
        self.ax_.set_yticks(ticks, labels)
        self.ax_.set(xlabel="period predicted", ylabel="last training period of model")
        self.ax_.legend(loc="upper left")
        return self

    def _pairs(self):
        return zip(self.periods, self.model_periods, strict=True)

    def frame(self):
        """Return what is drawn, one row per period and model with a weight.

        Returns
        -------
        frame : DataFrame
            Columns ``period``, ``model_period``, ``weight`` and ``score``.
        """
        pd = require_pandas("frame")
        rows = [
            (period, label, float(w), score)
            for (period, line), weights, score in zip(
                self._pairs(), self.weights, self.scores, strict=True
            )
            for label, w in zip(line, weights, strict=True)
            if w != 0
        ]
        columns = ["period", "model_period", "weight", "score"]
        return pd.DataFrame(rows, columns=columns)
