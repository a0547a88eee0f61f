"""Plots of predictive multiplicity."""

from itertools import pairwise

import numpy as np
from sklearn.base import is_classifier

from skdiff._base.plotting import COLORS, get_axes, require_pandas
from skdiff.multiplicity._rashomon._axes import feature_names, legend_above, shades

# Up to this many rows each has its own interval; beyond the second number a screen has
# fewer pixels than rows, and neighbours are summarised in bins.
SINGLE_ROWS, BAND_ROWS, BINS = 120, 2000, 300


class RashomonRangeDisplay:
    """Show each row's prediction with its range over all nearly optimal models.

    A hundred rows are drawn one by one, some thousand as a band. For more rows,
    neighbours are summarised: their median range, the most extreme bounds, and below
    the proportion of neighbours whose decision is arbitrary.

    Parameters
    ----------
    prediction : array-like of shape (n_samples,)
        Predictions of the baseline.
    low : array-like of shape (n_samples,)
        Lower bounds of the ranges.
    high : array-like of shape (n_samples,)
        Upper bounds of the ranges.
    threshold : float, default=None
        Threshold between two decisions, for classifiers.
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
    ToleranceProfileDisplay : How the widths grow with the tolerance.
    CoefficientRangeDisplay : The ranges of the coefficients.

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
        middle, low, high = self.prediction[order], self.low[order], self.high[order]
        arbitrary = np.zeros(len(order), dtype=bool)
        if self.threshold is not None:
            arbitrary = (low <= self.threshold) & (high > self.threshold)
            self.ax_.axhline(self.threshold, color=COLORS["neutral"], lw=0.8, ls="--")
        if len(order) <= SINGLE_ROWS:
            self._draw_rows(middle, low, high, arbitrary)
        elif len(order) <= BAND_ROWS:
            self._draw_band(middle, low, high, arbitrary)
        else:
            self._draw_bins(middle, low, high, arbitrary)
        self.ax_.set(xlabel="Rows, sorted by prediction", ylabel=self.name)
        self.ax_.margins(x=0.01)
        legend_above(self.ax_)
        return self

    def _label(self, arbitrary):
        return f"decision arbitrary ({arbitrary.sum()} of {len(arbitrary)})"

    def _draw_rows(self, middle, low, high, arbitrary):
        place = np.arange(len(middle))
        width = max(1.5, min(6.0, 220 / max(len(middle), 1)))
        groups = [(~arbitrary, COLORS["range"], "range")]
        if self.threshold is not None:
            groups.append((arbitrary, COLORS["accent"], self._label(arbitrary)))
        for rows, color, label in groups:
            self.ax_.vlines(
                place[rows], low[rows], high[rows], color=color, lw=width, label=label
            )
        (self.line_,) = self.ax_.plot(
            place, middle, "o", color=COLORS["main"], ms=3, label="baseline"
        )

    def _draw_band(self, middle, low, high, arbitrary):
        place = np.arange(len(middle))
        self.ax_.fill_between(
            place, low, high, step="mid", color=COLORS["range"], lw=0, label="range"
        )
        (self.line_,) = self.ax_.plot(
            place, middle, color=COLORS["main"], lw=1.2, label="baseline"
        )
        if self.threshold is not None:
            self.ax_.vlines(
                place[arbitrary],
                low[arbitrary],
                high[arbitrary],
                color=COLORS["accent"],
                lw=max(0.2, min(2.0, 200 / len(middle))),
                label=self._label(arbitrary),
            )

    def _draw_bins(self, middle, low, high, arbitrary):
        """Summarise neighbours: one pixel holds many rows."""
        edges = np.linspace(0, len(middle), BINS + 1).astype(int)
        bins = [slice(a, b) for a, b in pairwise(edges)]
        place = (edges[:-1] + edges[1:] - 1) / 2

        def summed(values, how):
            return np.array([how(values[rows]) for rows in bins])

        self.ax_.fill_between(
            place,
            summed(low, np.min),
            summed(high, np.max),
            color=COLORS["range"],
            alpha=0.4,
            lw=0,
            label="widest among neighbours",
        )
        self.ax_.fill_between(
            place,
            summed(low, np.median),
            summed(high, np.median),
            color=COLORS["range"],
            lw=0,
            label="median range",
        )
        (self.line_,) = self.ax_.plot(
            np.arange(len(middle)),
            middle,
            color=COLORS["main"],
            lw=1.2,
            label="baseline",
            rasterized=True,
        )
        if self.threshold is not None:
            # a separate strip: drawn over the band it would hide the band
            self._draw_strip(place, summed(arbitrary, np.mean))
            self.ax_.fill_between(
                [], [], color=COLORS["accent"], label=self._label(arbitrary)
            )

    def _draw_strip(self, place, share):
        bottom, top = self.ax_.get_ylim()
        ticks = [t for t in self.ax_.get_yticks() if bottom <= t <= top]
        self.ax_.set_ylim(bottom - 0.22 * (top - bottom), top)
        self.ax_.set_yticks(ticks)
        strip = self.ax_.inset_axes([0, 0, 1, 0.16], sharex=self.ax_)
        strip.fill_between(place, 0, share, color=COLORS["accent"], lw=0)
        strip.set(ylim=(0, 1))
        strip.yaxis.tick_right()
        strip.set_yticks([0, 1], ["0", "all"], fontsize="small")
        strip.tick_params(labelbottom=False, bottom=False)
        strip.patch.set_alpha(0)
        strip.spines[["left", "bottom"]].set_visible(False)
        strip.spines["top"].set_color(COLORS["neutral"])

    def frame(self):
        """Return the numbers behind the plot.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``prediction``, ``low``, ``high``, in the order of the rows.
        """
        pd = require_pandas("frame")
        return pd.DataFrame(
            {"prediction": self.prediction, "low": self.low, "high": self.high}
        )


class ToleranceProfileDisplay:
    """Show how the ranges grow with the tolerance, overall or by group.

    One tolerance is a choice; the profile shows whether the conclusion depends on it.

    Parameters
    ----------
    epsilons : array-like of shape (n_epsilons,)
        Ascending tolerances.
    widths : array-like of shape (n_epsilons, n_samples)
        Widths of the rows' ranges.
    conflicts : array-like of bool of shape (n_epsilons, n_samples), default=None
        Whether each decision is arbitrary, for classifiers.
    groups : array-like of shape (n_samples,), default=None
        Group of each row; one line per group.
    chosen : float, default=None
        The tolerance of the audit, marked.
    name : str, default="Width of the range"
        What the vertical axis shows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        Mean widths, one line per group.

    See Also
    --------
    RashomonRangeDisplay : The ranges at one tolerance.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.multiplicity import RashomonClassifier, ToleranceProfileDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> model = RashomonClassifier().fit(X, y)
    >>> display = ToleranceProfileDisplay.from_estimator(model, X, [0.01, 0.05])
    >>> display.frame()["conflict_ratio"].round(3).tolist()
    [0.028, 0.074]
    """

    def __init__(
        self,
        epsilons,
        widths,
        *,
        conflicts=None,
        groups=None,
        chosen=None,
        name="Width of the range",
    ):
        self.epsilons = np.asarray(epsilons)
        self.widths = np.asarray(widths)
        self.conflicts = None if conflicts is None else np.asarray(conflicts)
        self.groups = None if groups is None else np.asarray(groups)
        self.chosen = chosen
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X, epsilons=None, *, groups=None):
        """Make the display from a fitted estimator, along one path of tolerances.

        Parameters
        ----------
        estimator : RashomonClassifier or RashomonRegressor
            Fitted estimator.
        X : array-like of shape (n_samples, n_features)
            Query rows.
        epsilons : array-like of float, default=None
            Tolerances of the estimator's kind; by default fifteen from a twentieth of
            its own to twenty times as much.
        groups : array-like of shape (n_samples,), default=None
            Group of each row; one line per group.

        Returns
        -------
        display : ToleranceProfileDisplay
            Not drawn yet.
        """
        if epsilons is None:
            top = 20 * estimator.epsilon
            if estimator.epsilon_type in ("lr", "profile"):
                top = min(top, 0.99)  # one minus a confidence level
            epsilons = np.geomspace(estimator.epsilon / 20, top, 15)
        epsilons = np.sort(np.atleast_1d(epsilons))
        bounds = estimator._range_path(estimator._query(X), epsilons)
        response = estimator._response(bounds)
        if groups is not None and len(groups) != bounds.shape[1]:
            raise ValueError(
                f"groups has {len(groups)} entries for {bounds.shape[1]} rows of X."
            )
        conflicts, name = None, "Width of the range"
        if is_classifier(estimator):
            name = "Width of the probability's range"
            conflicts = [
                estimator._on_both_sides(part, estimator.threshold) for part in bounds
            ]
        return cls(
            epsilons,
            response[..., 1] - response[..., 0],
            conflicts=conflicts,
            groups=groups,
            chosen=estimator.epsilon,
            name=name,
        )

    def _parts(self):
        if self.groups is None:
            return [("all rows", np.ones(self.widths.shape[1], dtype=bool))]
        return [(str(g), self.groups == g) for g in np.unique(self.groups)]

    def plot(self, ax=None):
        """Draw mean widths and, dashed, the proportions of arbitrary decisions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : ToleranceProfileDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        parts = self._parts()
        if len(parts) == 1:
            ends = np.quantile(self.widths, [0.1, 0.9], axis=1)
            self.ax_.fill_between(
                self.epsilons,
                *ends,
                color=COLORS["range"],
                alpha=0.5,
                lw=0,
                label="a tenth to nine tenths of the rows",
            )
        colors = shades(len(parts))
        self.lines_ = []
        for color, (group, rows) in zip(colors, parts, strict=True):
            mean = self.widths[:, rows].mean(axis=1)
            label = "mean width" if len(parts) == 1 else f"{group}: mean width"
            self.lines_ += self.ax_.plot(
                self.epsilons, mean, color=color, lw=1.6, label=label
            )
            if self.conflicts is not None:
                share = self.conflicts[:, rows].mean(axis=1)
                label = "decisions arbitrary" if group == parts[0][0] else None
                self.ax_.plot(
                    self.epsilons, share, color=color, lw=1.2, ls="--", label=label
                )
        if self.chosen is not None:
            self.ax_.axvline(self.chosen, color=COLORS["neutral"], lw=0.8, ls=":")
        name = self.name
        if self.conflicts is not None:
            name += ", proportion of rows"
        self.ax_.set(xscale="log", xlabel="Tolerance", ylabel=name)
        self.ax_.set_ylim(bottom=0)
        self.ax_.margins(x=0)
        self.ax_.legend(loc="upper left", frameon=False)
        return self

    def frame(self):
        """Return the numbers behind the plot.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``epsilon``, ``group``, ``mean_width``, ``median_width`` and, for
            classifiers, ``conflict_ratio``.
        """
        pd = require_pandas("frame")
        lines = []
        for group, rows in self._parts():
            for k, epsilon in enumerate(self.epsilons):
                width = self.widths[k, rows]
                line = {
                    "epsilon": epsilon,
                    "group": group,
                    "mean_width": width.mean(),
                    "median_width": np.median(width),
                }
                if self.conflicts is not None:
                    line["conflict_ratio"] = self.conflicts[k, rows].mean()
                lines.append(line)
        return pd.DataFrame(lines)


class CoefficientRangeDisplay:
    """Show which coefficients keep their sign among all nearly optimal models.

    Parameters
    ----------
    coef : array-like of shape (n_features,)
        Coefficients of the baseline.
    low : array-like of shape (n_features,)
        Lower bounds of their ranges.
    high : array-like of shape (n_features,)
        Upper bounds of their ranges.
    names : array-like of str of shape (n_features,)
        Names of the features.
    max_features : int, default=30
        How many to draw, those of the largest coefficients.
    name : str, default="Coefficient"
        What the horizontal axis shows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    RashomonRangeDisplay : The ranges of the predictions.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.multiplicity import CoefficientRangeDisplay, RashomonClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> model = RashomonClassifier().fit(X, y)
    >>> display = CoefficientRangeDisplay.from_estimator(model)
    >>> int(display.frame()["sign_is_certain"].sum())
    14
    """

    def __init__(self, coef, low, high, names, *, max_features=30, name="Coefficient"):
        self.coef, self.low, self.high = map(np.asarray, (coef, low, high))
        self.names = np.asarray(names)
        self.max_features = max_features
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, standardize=True, max_features=30):
        """Make the display from a fitted estimator.

        Parameters
        ----------
        estimator : RashomonClassifier or RashomonRegressor
            Fitted estimator.
        standardize : bool, default=True
            Whether to multiply coefficients by the standard deviation of their feature
            in the training rows, so that they compare. Signs do not change.
        max_features : int, default=30
            How many to draw, those of the largest coefficients.

        Returns
        -------
        display : CoefficientRangeDisplay
            Not drawn yet.
        """
        scaling = estimator._set.scaling
        d = scaling.n_features
        bounds = estimator.coef_range()[:d]
        coef = np.ravel(estimator.coef_)
        name = "Coefficient"
        if standardize:
            bounds, coef = bounds * scaling.scale[:, None], coef * scaling.scale
            name = "Coefficient for one standard deviation"
        names = feature_names(estimator, d)
        return cls(coef, *bounds.T, names, max_features=max_features, name=name)

    def plot(self, ax=None):
        """Draw ranges, the largest coefficients on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : CoefficientRangeDisplay
            This display.
        """
        shown = np.argsort(-np.abs(self.coef), kind="stable")[: self.max_features]
        self.figure_, self.ax_ = get_axes(ax)
        if ax is None:
            self.figure_.set_figheight(max(2.4, 0.8 + 0.2 * len(shown)))
        place = np.arange(len(shown))[::-1]
        certain = self._certain()[shown]
        for rows, color, label in (
            (certain, COLORS["main"], "sign certain"),
            (~certain, COLORS["accent"], "either sign"),
        ):
            label = f"{label} ({rows.sum()} of {len(shown)})"
            self.ax_.hlines(
                place[rows],
                self.low[shown][rows],
                self.high[shown][rows],
                color=color,
                lw=3,
                alpha=0.6,
                label=label,
            )
            self.ax_.plot(self.coef[shown][rows], place[rows], "o", color=color, ms=3.5)
        self.ax_.axvline(0, color=COLORS["neutral"], lw=0.8, ls="--")
        self.ax_.set_yticks(place, self.names[shown])
        self.ax_.tick_params(axis="y", labelsize="small", length=0)
        name = self.name
        if len(shown) < len(self.coef):
            name += f" (the {len(shown)} largest of {len(self.coef)})"
        self.ax_.set(xlabel=name)
        self.ax_.set_ylim(-0.7, len(shown) - 0.3)
        legend_above(self.ax_)
        return self

    def _certain(self):
        return (self.low > 0) | (self.high < 0)

    def frame(self):
        """Return the numbers behind the plot.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``feature``, ``coef``, ``low``, ``high``, ``sign_is_certain``.
        """
        pd = require_pandas("frame")
        return pd.DataFrame(
            {
                "feature": self.names,
                "coef": self.coef,
                "low": self.low,
                "high": self.high,
                "sign_is_certain": self._certain(),
            }
        )
