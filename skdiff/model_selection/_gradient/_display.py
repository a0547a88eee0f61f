"""Pictures of a gradient search."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class GradientSearchDisplay:
    """Show the criterion along a search, and the values found per feature.

    A search of one number is drawn as the criterion over that number. A search of
    several is drawn as the criterion over the visited points; ``plot_values`` draws
    the entries of a vector, or of a matrix with one row per class.

    Parameters
    ----------
    criterion : array-like of shape (n_points,)
        Criterion of each visited point.
    values : dict
        By parameter: an array of shape (n_points,), (n_points, n_entries) for a
        vector, or (n_points, n_classes, n_features) for a matrix; vectors of different
        lengths end in NaN.
    best_index : int
        The best point.
    names : list of str, default=None
        Names of the entries of vectors with a value per feature.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D or AxesImage
        The criterion, the entries, or the image of a matrix.

    See Also
    --------
    GradientSearchCV : What is shown.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.model_selection import GradientSearchCV, GradientSearchDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = GradientSearchCV(Ridge(), {"alpha": loguniform(1e-3, 1e3)}).fit(X, y)
    >>> display = GradientSearchDisplay.from_estimator(search)
    >>> display.frame().columns.tolist()
    ['criterion', 'alpha', 'best']
    """

    def __init__(self, criterion, values, best_index, *, names=None):
        self.criterion = np.asarray(criterion, dtype=float)
        self.values = {k: np.asarray(v, dtype=float) for k, v in values.items()}
        self.best_index = int(best_index)
        self.names = names

    @classmethod
    def from_estimator(cls, estimator):
        """Make the display from a fitted search.

        Parameters
        ----------
        estimator : GradientSearchCV
            Fitted search.

        Returns
        -------
        display : GradientSearchDisplay
            Not drawn yet.
        """
        results = estimator.cv_results_
        values = {
            key: _stacked([p[key] for p in results["params"]])
            for key in estimator.hypergradient_
        }
        kinds = {
            getattr(s, "per", None) for s in estimator.param_distributions.values()
        }
        names = None
        if kinds & {"feature", "group", "coefficient"}:
            names = getattr(estimator, "feature_names_in_", None)
        return cls(
            results["criterion"],
            values,
            estimator.best_index_,
            names=None if names is None else list(names),
        )

    def _vector(self, parameter):
        vectors = [k for k, v in self.values.items() if v.ndim > 1]
        if parameter is None and len(vectors) != 1:
            raise ValueError(
                f"Name the parameter to draw; vectors here: {vectors or 'none'}."
            )
        parameter = vectors[0] if parameter is None else parameter
        if parameter not in vectors:
            raise ValueError(f"{parameter!r} is no vector of this search: {vectors}.")
        return parameter

    def plot(self, ax=None):
        """Draw the criterion along the search.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : GradientSearchDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        numbers = [k for k, v in self.values.items() if v.ndim == 1]
        one = len(self.values) == 1 and len(numbers) == 1
        if one:
            place, label = self.values[numbers[0]], numbers[0]
            spread = place.min() > 0 and place.max() > 30 * place.min()
            self.ax_.set_xscale("log" if spread else "linear")
        else:
            place, label = np.arange(1, len(self.criterion) + 1), "Visited point"
        order = np.argsort(place, kind="stable")
        (self.line_,) = self.ax_.plot(
            place[order],
            self.criterion[order],
            color=COLORS["main"],
            marker="o",
            ms=4,
            lw=1,
            label="visited",
        )
        self.ax_.plot(
            place[self.best_index],
            self.criterion[self.best_index],
            color=COLORS["accent"],
            marker="o",
            ls="",
            label="best",
        )
        self.ax_.set(xlabel=label, ylabel="Cross-validated criterion")
        self.ax_.legend(loc="best", frameon=False)
        return self

    def plot_values(self, parameter=None, ax=None):
        """Draw the entries of a vector or a matrix at the best point.

        Parameters
        ----------
        parameter : str, default=None
            Which vector; the only one if None.
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : GradientSearchDisplay
            This display.
        """
        parameter = self._vector(parameter)
        self.figure_, self.ax_ = get_axes(ax)
        found = self.values[parameter][self.best_index]
        if found.ndim == 2:
            return self._picture(parameter, found)
        found = found[~np.isnan(found)]
        place = np.arange(len(found))
        if found.min() > 0 and found.max() > 30 * found.min():
            self.ax_.set_xscale("log")
        # bars on a logarithmic axis have no zero to start from: points do
        self.line_ = self.ax_.plot(found, place, "o", color=COLORS["main"], ms=4)[0]
        self.ax_.invert_yaxis()
        if self.names is not None and len(self.names) == len(found) <= 60:
            self.ax_.set_yticks(place, self.names)
        else:
            self.ax_.yaxis.get_major_locator().set_params(integer=True)
        self.ax_.grid(axis="y", color=COLORS["range"], lw=0.4)
        self.ax_.set(xlabel=parameter, ylabel="Entry")
        return self

    def _picture(self, parameter, found):
        """Draw a matrix, a row a class."""
        positive = found.min() > 0
        shown = np.log10(found) if positive else found
        self.line_ = self.ax_.imshow(
            shown, cmap="Blues", aspect="auto", interpolation="nearest"
        )
        label = f"log10 of {parameter}" if positive else parameter
        self.figure_.colorbar(self.line_, ax=self.ax_, label=label)
        if self.names is not None and len(self.names) == found.shape[1] <= 60:
            self.ax_.set_xticks(np.arange(found.shape[1]), self.names, rotation=90)
        self.ax_.set(xlabel="Feature", ylabel="Class")
        return self

    def frame(self):
        """Return the numbers behind the figure.

        Returns
        -------
        table : pandas.DataFrame
            ``criterion``, a column a number, and ``best``, in the order of the search;
            entries of vectors and matrices have their index after the name.
        """
        pd = require_pandas("frame")
        table = {"criterion": self.criterion}
        for name, found in self.values.items():
            if found.ndim == 1:
                table[name] = found
                continue
            for place in np.ndindex(found.shape[1:]):
                index = ", ".join(map(str, place))
                table[f"{name}[{index}]"] = found[:, *place]
        table["best"] = np.arange(len(self.criterion)) == self.best_index
        return pd.DataFrame(table)


def _stacked(values):
    """An array a point; vectors whose length was searched too end in NaN."""
    arrays = [np.asarray(v, dtype=float) for v in values]
    longest = max(a.size for a in arrays)
    if arrays[0].ndim != 1:
        return np.array(arrays)
    return np.stack([np.append(a, np.full(longest - a.size, np.nan)) for a in arrays])
