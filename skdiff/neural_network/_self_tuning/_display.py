"""Pictures of a network that tuned itself."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas
from skdiff.neural_network._self_tuning._plan import kind_of, natural, unbounded

REACH = 3  # learned scales on either side within which a local response is shown
MOST_LABELS = 12  # beyond, a legend hides what it explains
STYLES = {"dropout": "-", "input_noise": "--", "weight_decay": ":"}


class SelfTuningDisplay:
    """Draw the tuned values over training, and validation curves around them.

    Parameters
    ----------
    history : dict of array-like of shape (n_epochs + 1,)
        Values by name, at the start and after every epoch.
    found : dict of float
        Final value of each.
    best_epoch : int
        The epoch they are from.
    curves : dict of pairs of array-like of shape (n_points,), default=None
        By name: values, and the estimated validation loss at each.
    loss_name : str, default="validation loss"
        What the loss is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    SelfTuningMLPClassifier : What is shown.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skdiff.neural_network import SelfTuningDisplay, SelfTuningMLPClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = SelfTuningMLPClassifier((16,), max_iter=20, tol=0.1, random_state=0)
    >>> display = SelfTuningDisplay.from_estimator(model.fit(X, y))
    >>> display.frame().columns.tolist()
    ['epoch', 'name', 'value']
    >>> display.frame("curves").columns.tolist()
    ['name', 'value', 'loss', 'found']
    """

    def __init__(
        self, history, found, best_epoch, *, curves=None, loss_name="validation loss"
    ):
        self.history = {k: np.asarray(v, dtype=float) for k, v in history.items()}
        self.found = {name: float(value) for name, value in found.items()}
        self.best_epoch = int(best_epoch)
        self.curves = {
            name: tuple(np.asarray(part, dtype=float) for part in pair)
            for name, pair in (curves or {}).items()
        }
        self.loss_name = loss_name

    @classmethod
    def from_estimator(cls, estimator, *, names=None, n_points=30):
        """Make the display from a fitted network.

        A curve reaches three ``perturb_scales_`` to either side of the value that was
        found: further away the response is not trained. With
        ``response="global_hypernetwork"`` it spans the bounds.

        Parameters
        ----------
        estimator : SelfTuningMLPClassifier or SelfTuningMLPRegressor
            Fitted network.
        names : str or list of str, default=None
            Keys of ``hyperparameters_`` to show; None shows all.
        n_points : int, default=30
            Points of each curve.

        Returns
        -------
        display : SelfTuningDisplay
            Not drawn yet.
        """
        check_is_fitted(estimator)
        if n_points < 2:
            raise ValueError(f"A curve needs two points, got n_points={n_points}.")
        found = estimator.hyperparameters_
        if isinstance(names, str):
            names = [names]
        names = list(found) if names is None else list(names)
        if unknown := [name for name in names if name not in found]:
            raise ValueError(f"names holds {unknown}; known names are {list(found)}.")
        curves = {}
        if estimator.search_score_ is not None:
            for name in names:
                values = _around(estimator, name, n_points)
                curves[name] = values, estimator.validation_curve(name, values)
        classifies = hasattr(estimator, "classes_")
        return cls(
            {name: estimator.hyperparameter_history_[name] for name in names},
            {name: found[name] for name in names},
            estimator.n_tuned_iter_,
            curves=curves,
            loss_name="log loss" if classifies else "mean squared error",
        )

    def plot(self, ax=None):
        """Draw the values over the epochs, on a logarithmic axis.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : SelfTuningDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        labelled = len(self.history) <= MOST_LABELS
        colors = [COLORS[k] for k in ("main", "accent", "range", "neutral")]
        places = dict.fromkeys(STYLES, 0)
        for name, values in self.history.items():
            kind = kind_of(name)
            color = colors[places[kind] % len(colors)]
            places[kind] += 1
            label = name if labelled else None
            self.ax_.plot(values, STYLES[kind], color=color, label=label)
        self.ax_.axvline(self.best_epoch, color=COLORS["neutral"], lw=0.8, zorder=0)
        self.ax_.set(yscale="log", xlabel="Epoch", ylabel="Value")
        if labelled:
            self.ax_.legend(fontsize="small")
        return self

    def plot_curve(self, name, ax=None):
        """Draw the estimated validation loss against one value, and where it was found.

        Parameters
        ----------
        name : str
            Which value.
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : SelfTuningDisplay
            This display.
        """
        if not self.curves:
            raise ValueError("Nothing was tuned in fit: there are no curves.")
        if name not in self.curves:
            raise ValueError(f"name must be one of {list(self.curves)}, got {name!r}.")
        self.figure_, self.ax_ = get_axes(ax)
        values, losses = self.curves[name]
        self.ax_.plot(values, losses, color=COLORS["main"])
        self.ax_.axvline(self.found[name], color=COLORS["accent"], label="found")
        self.ax_.set(xscale="log", xlabel=name, ylabel=self.loss_name.capitalize())
        self.ax_.legend()
        return self

    def frame(self, kind="history"):
        """Return the history, or the curves, as a DataFrame.

        Parameters
        ----------
        kind : {"history", "curves"}, default="history"
            Which.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``epoch``, ``name`` and ``value``; or ``name``, ``value``, ``loss``
            and ``found``, the value that was found.
        """
        pd = require_pandas("SelfTuningDisplay.frame")
        if kind == "history":
            rows = [
                (epoch, name, value)
                for name, values in self.history.items()
                for epoch, value in enumerate(values)
            ]
            return pd.DataFrame(rows, columns=["epoch", "name", "value"])
        if kind != "curves":
            raise ValueError(f"kind must be 'history' or 'curves', got {kind!r}.")
        rows = [
            (name, value, loss, self.found[name])
            for name, pair in self.curves.items()
            for value, loss in zip(*pair, strict=True)
        ]
        return pd.DataFrame(rows, columns=["name", "value", "loss", "found"])


def _around(estimator, name, n_points):
    """Values of one hyperparameter where the response is trained."""
    low, high = estimator._bounds_of(name)
    if estimator.perturb_scales_ is not None:
        middle = unbounded(name, estimator.hyperparameters_[name])
        reach = REACH * estimator.perturb_scales_[name]
        low, high = max(low, middle - reach), min(high, middle + reach)
    return natural(name, np.linspace(low, high, n_points))
