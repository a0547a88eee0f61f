"""Whether lost accuracy sits in the features of a network or in its head."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d

from skdiff._base.plotting import COLORS, get_axes, require_pandas
from skdiff._base.typing import Array
from skdiff.inspection._geometry._sharpness import Target, read_target
from skdiff.inspection._representations._geometry import (
    Dimension,
    Movement,
    effective_dimension,
    movement,
)
from skdiff.inspection._representations._layers import (
    choose,
    layers_of,
    normalised,
    scores_of,
    unwrap,
)
from skdiff.inspection._representations._scores import (
    METRICS,
    bootstrap_gap,
    weighted_score,
)


class SaveInitialWeights:
    """A skorch callback that keeps the initial weights of its network.

    :func:`representation_report` finds them and measures how far the features moved.

    Attributes
    ----------
    state_ : dict
        Arrays by name, copies on the CPU.

    Examples
    --------
    >>> from skdiff.inspection import SaveInitialWeights
    >>> callback = SaveInitialWeights()
    >>> # skorch.NeuralNetClassifier(module, callbacks=[callback])
    """

    def initialize(self) -> Any:
        """Forget the weights of an earlier training.

        Returns
        -------
        self : SaveInitialWeights
            This callback.
        """
        self.__dict__.pop("state_", None)
        return self

    def on_train_begin(
        self, net: Any, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Copy the weights before the first step.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        X, y : array-like
            Training data, not used.
        **kwargs : dict
            Not used.
        """
        if not hasattr(self, "state_"):
            self.state_ = {
                name: value.detach().cpu().clone()
                for name, value in net.module_.state_dict().items()
            }

    def __getattr__(self, name: str) -> Any:
        # skorch calls a method for each of its events
        if name.startswith("on_"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return no parameters, which skorch looks for.

        Parameters
        ----------
        deep : bool, default=True
            Not used.

        Returns
        -------
        params : dict
            Empty.
        """
        return {}

    def set_params(self, **params: Any) -> Any:
        """Set no parameters, as there are none.

        Parameters
        ----------
        **params : dict
            Empty.

        Returns
        -------
        self : SaveInitialWeights
            This callback.
        """
        if params:
            raise ValueError(f"SaveInitialWeights has no parameters. Got {params}.")
        return self


@dataclass(frozen=True, repr=False)
class RepresentationDiagnostics:
    """What :func:`representation_report` found.

    Attributes
    ----------
    effective_dimension_ : float
        Participation ratio of the spectrum of the features.
    corrected_dimension_ : float
        The same less what the number of rows makes of it; infinity where the rows are
        too few to tell.
    entropy_dimension_ : float
        Exponential of the entropy of the spectrum.
    displacement_, relative_displacement_ : float
        Mean distance of a row's features from those of the reference, and the same
        over their mean length. NaN without a reference.
    procrustes_ : float
        What of the features no rotation and scaling of the reference explains.
    cka_ : float
        Linear centred kernel alignment with the reference.
    end_to_end_score_ : float
        Score of the network itself.
    probe_score_ : float
        Cross-fitted score of a linear probe on its features.
    utilization_gap_ : float
        Probe less network: what the head leaves unused.
    gap_interval_ : tuple of float
        95 % interval of the gap, paired bootstrap over rows.
    metric_ : str
        Name of the score.
    n_samples_, n_features_ : int
        Size of the matrix of features.

    Examples
    --------
    >>> from skdiff.inspection import RepresentationDiagnostics, representation_report
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier(8, max_iter=500, tol=1e-3, random_state=0).fit(X, y)
    >>> report = representation_report(net, X, y, n_boot=50, random_state=0)
    >>> isinstance(report, RepresentationDiagnostics)
    True
    """

    effective_dimension_: float
    corrected_dimension_: float
    entropy_dimension_: float
    displacement_: float
    relative_displacement_: float
    procrustes_: float
    cka_: float
    end_to_end_score_: float
    probe_score_: float
    utilization_gap_: float
    gap_interval_: tuple[float, float]
    metric_: str
    n_samples_: int
    n_features_: int

    #: the report is computed on the rows themselves: it protects nobody's privacy
    private = False

    @property
    def frame(self) -> Any:
        """One row with all figures, as a DataFrame."""
        pd = require_pandas("frame")
        values = dict(vars(self))
        low, high = values.pop("gap_interval_")
        values |= {"gap_low": low, "gap_high": high}
        return pd.DataFrame([{k.rstrip("_"): v for k, v in values.items()}])

    def __repr__(self) -> str:
        return (
            f"RepresentationDiagnostics(dimension={self.effective_dimension_:.3g}, "
            f"probe={self.probe_score_:.4g}, network={self.end_to_end_score_:.4g}, "
            f"gap={self.utilization_gap_:.4g}, private=False)"
        )


def representation_report(
    net: Any,
    X: Any,
    y: Any,
    *,
    reference: Any = None,
    layer: str = "auto",
    metric: str = "auto",
    probe: Any = None,
    cv: Any = 5,
    n_boot: int = 1000,
    predict: Any = None,
    random_state: Any = None,
) -> RepresentationDiagnostics:
    """Report whether a network lacks features or does not use those it has.

    A linear probe on the last hidden layer that scores well above the network itself
    shows that the features carry what the head leaves unused. Use it for a network that
    disappoints, or to compare two trainings.

    Parameters
    ----------
    net : estimator or torch.nn.Module
        Fitted network of skdiff, skorch or scikit-learn, a pipeline that ends in one,
        or a module.
    X : array-like of shape (n_samples, n_features)
        Rows that the network was not trained on.
    y : array-like of shape (n_samples,)
        Their classes or numbers.
    reference : estimator, torch.nn.Module or dict, default=None
        Another state of the network, as ``net`` or as arrays by name. By default what
        :class:`SaveInitialWeights` has kept, if anything.
    layer : str, default="auto"
        Layer whose values are the features: ``"input"``, ``"hidden_1"``, ...;
        ``"auto"`` is the last hidden one.
    metric : {"auto", "roc_auc", "accuracy", "r2"}, default="auto"
        Score; ``"auto"`` is the area under the ROC curve (mean over the classes) or
        R squared.
    probe : estimator, default=None
        Linear model on the features, by default logistic or ridge regression of
        standardised features with the penalty by cross-validation.
    cv : int or splitter, default=5
        Folds in which the probe is trained and scored.
    n_boot : int, default=1000
        Number of bootstrap draws.
    predict : callable, default=None
        Function of X that gives the scores of the network, for a module whose outputs
        are not the predictions.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    report : RepresentationDiagnostics
        All figures; ``report.frame`` is a table of one row.

    See Also
    --------
    feature_complexity : From which layer on each feature can be read off.

    Notes
    -----
    Two passes, a singular value decomposition of the features and the fits of the
    probe. Modes, gradients and random states of the network are left as they were. The
    report is not private, whatever the training was.

    References
    ----------
    S. Tayebi Arasteh, M. Mohammadi, S. Nebelung and D. Truhn, "Differential Privacy
    Representation Geometry for Medical Image Analysis", 2026, arXiv:2603.01098.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neural_network import MLPClassifier
    >>> from skdiff.inspection import representation_report
    >>> X, y = load_digits(return_X_y=True)
    >>> net = MLPClassifier(32, random_state=0, early_stopping=True)
    >>> net = net.fit(X[:800] / 16, y[:800])
    >>> report = representation_report(net, X[800:] / 16, y[800:], random_state=0)
    >>> abs(report.utilization_gap_) < 0.02
    True
    """
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    if len(y) < 3:
        raise ValueError(f"Three rows are needed. Got {len(y)}.")
    if isinstance(n_boot, bool) or not isinstance(n_boot, int) or n_boot < 1:
        raise ValueError(f"n_boot must be a positive int. Got {n_boot!r}.")
    layers = layers_of(net, X)
    F = choose(layers, layer)
    inner, rows = unwrap(net, X)
    target, classes = _target(inner, y, F)
    _check_classes(target)
    metric = _metric(metric, target)
    scores = normalised(scores_of(inner, rows, layers.outputs, predict))
    if not target.n_classes and scores.size != len(y):
        raise ValueError(
            f"net has {scores.shape[1]} outputs, and y holds numbers of one."
        )
    rng = check_random_state(random_state)
    before = _reference(net, reference, X, layer)
    moved = Movement(*[np.nan] * 4) if before is None else movement(F, before)
    probed = _probe(F, target, probe, cv, metric, rng)
    parts = [
        weighted_score(metric, found, target.values, target.n_classes)
        for found in (probed, _aligned(scores, inner, classes))
    ]
    ones = np.ones(len(y))
    values = [part(ones) for part in parts]
    gap = bootstrap_gap(parts[0], parts[1], len(y), n_boot, rng)
    return RepresentationDiagnostics(
        *_dimensions(F),
        *moved,
        values[1],
        values[0],
        values[0] - values[1],
        gap,
        metric,
        *F.shape,
    )


def _dimensions(F: Array) -> tuple[float, float, float]:
    found: Dimension = effective_dimension(F)
    if found.participation == 0:
        warnings.warn(
            "The features are constant; their dimension is 0.",
            UserWarning,
            stacklevel=3,
        )
    return found.participation, found.corrected, found.entropy


def _target(net: Any, y: Any, F: Array) -> tuple[Target, Any]:
    """Read the target as the network does, where it knows classes."""
    known = getattr(net, "classes_", None)
    task = "auto" if known is None else "classification"
    if known is None and hasattr(net, "predict") and not hasattr(net, "module_"):
        task = "regression"
    target = read_target(y, F, "representation_report", task)
    return target, np.unique(y) if target.n_classes else None


def _check_classes(target: Target) -> None:
    if target.n_classes == 1:
        raise ValueError("y has one class only; two are needed.")
    if target.n_classes and np.bincount(target.values).min() < 2:
        warnings.warn(
            "A class has one row, which the probe is scored on and never learns: the "
            "gap is too low. Leave such rows out.",
            UserWarning,
            stacklevel=3,
        )


def _metric(metric: str, target: Target) -> str:
    if metric == "auto":
        return "roc_auc" if target.n_classes else "r2"
    if metric not in METRICS:
        raise ValueError(
            f'metric must be "auto" or one of {", ".join(METRICS)}. Got {metric!r}.'
        )
    if (metric == "r2") == bool(target.n_classes):
        kind = "classes" if target.n_classes else "numbers"
        raise ValueError(f"metric={metric!r} does not suit a target of {kind}.")
    return metric


def _aligned(scores: Array, net: Any, classes: Any) -> Array:
    """Columns of the classes that occur in y."""
    known = getattr(net, "classes_", None)
    if known is None or classes is None or scores.ndim == 1:
        return scores
    known = np.asarray(known)
    if missing := set(classes.tolist()) - set(known.tolist()):
        raise ValueError(f"y has classes that the network does not know: {missing}.")
    if len(known) != scores.shape[1]:
        return scores
    return scores[:, np.searchsorted(known, classes)]


def _reference(net: Any, reference: Any, X: Any, layer: str) -> Array | None:
    """Features of the reference state, or None."""
    if reference is None:
        reference = _saved(net)
    if reference is None:
        return None
    if not isinstance(reference, dict):
        return choose(layers_of(reference, X), layer)
    inner, _ = unwrap(net, X)
    module = _module(inner)
    if module is None:
        raise ValueError("A reference of arrays needs a network of torch.")
    import torch

    now = {k: v.detach().clone() for k, v in module.state_dict().items()}
    try:
        module.load_state_dict({k: torch.as_tensor(v) for k, v in reference.items()})
        return choose(layers_of(net, X), layer)
    finally:
        module.load_state_dict(now)


def _module(net: Any) -> Any:
    if hasattr(net, "_module_for_prediction"):
        return net._module_for_prediction()
    if hasattr(net, "module_"):
        return net.module_
    return net if hasattr(net, "state_dict") else None


def _saved(net: Any) -> Any:
    inner = unwrap_silently(net)
    for _, callback in getattr(inner, "callbacks_", None) or []:
        if isinstance(callback, SaveInitialWeights):
            return getattr(callback, "state_", None)
    return None


def unwrap_silently(net: Any) -> Any:
    """The network at the end of pipelines, without rows."""
    while hasattr(net, "steps") or type(net).__name__ == "FrozenEstimator":
        net = net.steps[-1][1] if hasattr(net, "steps") else net.estimator
    return net


def _probe(
    F: Array, target: Target, probe: Any, cv: Any, metric: str, rng: Any
) -> Array:
    """Cross-fitted scores of a linear model on the features."""
    if probe is None:
        linear: Any = RidgeCV(np.geomspace(1e-4, 1e4, 17))
        if target.n_classes:
            linear = (
                LogisticRegressionCV(
                    Cs=[1e-3, 1e-2, 1e-1, 1.0],
                    cv=3,
                    l1_ratios=(0.0,),
                    max_iter=300,
                    use_legacy_attributes=False,
                )
                if _modern()
                else LogisticRegressionCV(
                    Cs=[1e-3, 1e-2, 1e-1, 1.0], cv=3, max_iter=300
                )
            )
        probe = make_pipeline(StandardScaler(), linear)
    if (F[0] == F).all():  # nothing to learn from
        if metric == "r2":
            return np.full(len(F), float(np.mean(target.values)))
        return np.full((len(F), target.n_classes), 0.5)
    classes = bool(target.n_classes) and hasattr(probe, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a probe that stops early is good enough
        found: Array = cross_val_predict(
            clone(probe),
            F,
            target.values,
            cv=cv,
            method="predict_proba" if classes else "predict",
        )
    if target.n_classes and not classes:
        return np.eye(target.n_classes)[found.astype(int)]
    return found


def _modern() -> bool:
    """Whether this scikit-learn knows the argument that silences its own change."""
    import inspect

    return "use_legacy_attributes" in inspect.signature(LogisticRegressionCV).parameters


class RepresentationDisplay:
    """Show probe and network side by side, for several networks.

    Parameters
    ----------
    reports : dict
        Reports by name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    representation_report : Makes the reports.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from skdiff.inspection import RepresentationDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPClassifier(8, max_iter=500, tol=1e-3, random_state=0).fit(X, y)
    >>> display = RepresentationDisplay.from_estimator(net, X, y, n_boot=50)
    >>> display.frame().index.tolist()
    ['network']
    """

    def __init__(self, reports: Any) -> None:
        self.reports = dict(reports)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, **report_params: Any
    ) -> Any:
        """Make the reports.

        Parameters
        ----------
        estimator : estimator or dict
            Network, or several by name.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their classes or numbers.
        **report_params : dict
            Further arguments of :func:`representation_report`.

        Returns
        -------
        display : RepresentationDisplay
            Not drawn yet.
        """
        nets = estimator if isinstance(estimator, dict) else {"network": estimator}
        return cls(
            {
                k: representation_report(n, X, y, **report_params)
                for k, n in nets.items()
            }
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw one pair of points per network, joined by the gap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : RepresentationDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        at = np.arange(len(self.reports))[::-1]
        probe = [r.probe_score_ for r in self.reports.values()]
        own = [r.end_to_end_score_ for r in self.reports.values()]
        self.ax_.hlines(at, own, probe, color=COLORS["range"], linewidth=4)
        self.ax_.plot(probe, at, "o", color=COLORS["accent"], label="linear probe")
        self.ax_.plot(own, at, "o", color=COLORS["main"], label="network itself")
        self.ax_.set_yticks(at, list(self.reports))
        self.ax_.set_xlabel(next(iter(self.reports.values())).metric_)
        self.ax_.legend()
        return self

    def frame(self) -> Any:
        """Return one row per network.

        Returns
        -------
        frame : DataFrame
            The figures of the reports.
        """
        pd = require_pandas("frame")
        rows = pd.concat([r.frame for r in self.reports.values()], ignore_index=True)
        return rows.set_axis(list(self.reports), axis=0)
