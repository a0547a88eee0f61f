"""A callback that stops a training which is forecast to lose."""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring

from skdiff._base.typing import FloatArray
from skdiff.model_selection._curve_network._estimator import LearningCurvePFN


class Incumbent:
    """The best score so far, shared by the trainings that compete.

    Parameters
    ----------
    score : float or None, default=None
        Score to start from.

    Attributes
    ----------
    score : float or None
        Best score of a completed training; None before the first one.

    See Also
    --------
    PredictiveStopping : Reads it, and updates it after each completed training.

    Examples
    --------
    >>> from skdiff.model_selection import Incumbent
    >>> best = Incumbent()
    >>> best.update(0.8)
    True
    >>> best.update(0.7)
    False
    >>> best.score
    0.8
    """

    def __init__(self, score: float | None = None) -> None:
        self.score = score

    def update(self, score: float, *, lower_is_better: bool = False) -> bool:
        """Take in the score of a completed training.

        Parameters
        ----------
        score : float
            Its best score.
        lower_is_better : bool, default=False
            Whether smaller scores are better.

        Returns
        -------
        improved : bool
            Whether it is the best so far.
        """
        if not np.isfinite(score):
            return False
        sign = -1 if lower_is_better else 1
        if self.score is not None and sign * score <= sign * self.score:
            return False
        self.score = float(score)
        return True

    def __repr__(self) -> str:
        return f"Incumbent(score={self.score})"


class PredictiveStopping:
    """Stop a training that is very unlikely to beat the best one so far.

    A callback of skorch networks, and of every estimator that supports scikit-learn's
    callbacks. After each iteration the curve of validation scores is continued by
    :class:`LearningCurvePFN`. The training ends when its best score is worse than the
    one to beat and the probability of a better one at any later iteration is below
    ``1 - confidence``. Trainings one after another share the best score through one
    :class:`Incumbent`.

    Parameters
    ----------
    monitor : str, default="valid_acc"
        Column of the history of a skorch network.
    lower_is_better : bool or "auto", default="auto"
        Whether smaller values are better. ``"auto"`` means names that contain
        "loss" or "error".
    threshold : float, default=None
        A fixed score to beat, in place of ``incumbent``.
    confidence : float, default=0.95
        Larger values stop less.
    min_iter : int, default=3
        Iterations before the first decision.
    check_every : int, default=1
        Iterations between two decisions.
    horizon : int or "auto", default="auto"
        Iterations of a complete training; ``"auto"`` is ``max_epochs`` of a skorch
        network and ``max_iter`` of an estimator.
    incumbent : Incumbent, default=None
        The best score so far, updated after each completed training. By default an
        incumbent that only this callback knows.
    bounds : tuple of two floats or "auto", default="auto"
        Smallest and largest possible score. ``"auto"`` is (0, 1) for scores that lie
        there, (0, inf) for losses, and no bounds otherwise.
    X_val, y_val : array-like, default=None
        Validation set for scikit-learn's callbacks, which see no validation scores.
    scoring : str, callable or None, default=None
        Score on that set; None is the estimator's ``score``.
    sink : callable, default=print
        What takes the message of a stop.

    Attributes
    ----------
    curve_ : ndarray of shape (n_iter,)
        Scores of the last training.
    stopped_at_ : int or None
        Iteration at which it was stopped; None for a completed training.
    probability_ : float or None
        Probability of a better score at the last decision.

    See Also
    --------
    PredictiveStoppingSearchCV : A search by the same rule.

    Notes
    -----
    ``net.history`` of a skorch network gets the column ``predict_gain``, the
    probability. With ``n_jobs`` each process has an incumbent to itself.

    References
    ----------
    S. Adriaensen, H. Rakotoarison, S. Müller and F. Hutter, "Efficient Bayesian
    Learning Curve Extrapolation using Prior-Data Fitted Networks", NeurIPS 2023,
    arXiv:2310.20447.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.model_selection import PredictiveStopping
    >>> from skdiff.neural_network import AnyLossClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> stop = PredictiveStopping(
    ...     threshold=0.999, X_val=scale(X), y_val=y, sink=lambda message: None
    ... )
    >>> model = AnyLossClassifier(max_iter=50, random_state=0)
    >>> model.set_callbacks(stop).fit(scale(X), y).n_iter_ < 50
    True
    """

    def __init__(
        self,
        monitor: str = "valid_acc",
        *,
        lower_is_better: bool | str = "auto",
        threshold: float | None = None,
        confidence: float = 0.95,
        min_iter: int = 3,
        check_every: int = 1,
        horizon: int | str = "auto",
        incumbent: Incumbent | None = None,
        bounds: tuple[float, float] | str = "auto",
        X_val: Any = None,
        y_val: Any = None,
        scoring: Any = None,
        sink: Callable[[str], Any] = print,
    ) -> None:
        self.monitor = monitor
        self.lower_is_better = lower_is_better
        self.threshold = threshold
        self.confidence = confidence
        self.min_iter = min_iter
        self.check_every = check_every
        self.horizon = horizon
        self.incumbent = incumbent
        self.bounds = bounds
        self.X_val = X_val
        self.y_val = y_val
        self.scoring = scoring
        self.sink = sink

    # a training's own; set when it starts
    curve_: FloatArray
    stopped_at_: int | None
    probability_: float | None
    _best: Incumbent
    _values: list[float]
    _length: int
    _lower: bool

    # --- the rule -------------------------------------------------------------------

    def _start(self, horizon: Any, *, lower: bool) -> None:
        """Begin with an empty curve, after a check of what was given."""
        if not isinstance(self.confidence, Real) or not 0 < self.confidence < 1:
            raise ValueError(
                f"confidence must lie strictly between 0 and 1. Got {self.confidence}."
            )
        for name in ("min_iter", "check_every"):
            if not getattr(self, name) >= 1:
                raise ValueError(
                    f"{name} must be at least 1. Got {getattr(self, name)}."
                )
        horizon = horizon if self.horizon == "auto" else self.horizon
        if not isinstance(horizon, (int, np.integer)) or horizon < 2:
            raise ValueError(
                f"horizon must be the number of iterations of a complete training, at "
                f"least 2. Got {horizon!r}."
            )
        self._length, self._lower = int(horizon), lower
        if not hasattr(self, "_best"):
            given = self.incumbent
            self._best = Incumbent() if given is None else given
        self._values = []
        self.curve_ = np.empty(0)
        self.stopped_at_ = None
        self.probability_ = None

    def _hear(self, score: float) -> bool:
        """Take in the score of an iteration; tell whether the training has to end."""
        self._values.append(float(score))
        self.curve_ = np.array(self._values)
        n = len(self._values)
        target = self._best.score if self.threshold is None else self.threshold
        due = n >= self.min_iter and (n - self.min_iter) % self.check_every == 0
        seen = self.curve_[np.isfinite(self.curve_)]
        if target is None or not due or n >= self._length or not len(seen):
            return False
        best = seen.min() if self._lower else seen.max()
        self.probability_ = self._chance(seen, float(target))
        behind = best > target if self._lower else best < target
        if not behind or self.probability_ >= 1 - self.confidence:
            return False
        self.stopped_at_ = n
        self.sink(
            f"Stopped after iteration {n} of {self._length}: the probability of a "
            f"score better than {target:.4g} is {self.probability_:.3f}."
        )
        return True

    def _chance(self, seen: Any, target: float) -> float:
        bounds = self.bounds
        if isinstance(bounds, str):
            inside = min(seen.min(), target) >= 0 and max(seen.max(), target) <= 1
            loss = self._lower and min(seen.min(), target) >= 0
            bounds = (0, np.inf) if loss else (0, 1) if inside else (-np.inf, np.inf)
        model = LearningCurvePFN(
            horizon=self._length,
            direction="minimize" if self._lower else "maximize",
            bounds=bounds,
        )
        # the range of scores is learned from the curve and from what it has to beat
        model.fit(np.append(seen, target)[:, None])
        curve = np.where(np.isfinite(self.curve_), self.curve_, np.nan)
        return float(model.predict_proba_exceed(curve[None], target)[0])

    def _finish(self) -> None:
        """Tell the incumbent of a training that was not stopped."""
        seen = self.curve_[np.isfinite(self.curve_)]
        if self.stopped_at_ is None and len(seen):
            best = seen.min() if self._lower else seen.max()
            self._best.update(float(best), lower_is_better=self._lower)

    # --- skorch ---------------------------------------------------------------------

    def initialize(self) -> "PredictiveStopping":
        """Begin anew; called by skorch.

        Returns
        -------
        self : PredictiveStopping
            The callback.
        """
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start a curve.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        **kwargs : dict
            Ignored.
        """
        lower = self.lower_is_better
        if isinstance(lower, str):
            lower = any(word in self.monitor.lower() for word in ("loss", "error"))
        self._start(net.max_epochs, lower=bool(lower))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Take in an epoch, and end the training where it is hopeless.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        **kwargs : dict
            Ignored.
        """
        try:
            score = net.history[-1, self.monitor]
        except KeyError as error:
            raise ValueError(
                f"The history of the network has no column {self.monitor!r}; it has "
                f"{sorted(net.history[-1])}. Set monitor to one of them."
            ) from error
        over = self._hear(score)
        if self.probability_ is not None:
            net.history.record("predict_gain", self.probability_)
        if over:
            raise KeyboardInterrupt  # as skorch's own EarlyStopping ends a training

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Report the score of a completed training.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        **kwargs : dict
            Ignored.
        """
        self._finish()

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Do nothing.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        **kwargs : dict
            Ignored.
        """

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Do nothing.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        **kwargs : dict
            Ignored.
        """

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Do nothing.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        **kwargs : dict
            Ignored.
        """

    def on_grad_computed(self, net: Any, named_parameters: Any, **kwargs: Any) -> None:
        """Do nothing.

        Parameters
        ----------
        net : skorch.NeuralNet
            The network.
        named_parameters : iterator
            Ignored.
        **kwargs : dict
            Ignored.
        """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; called by skorch and by ``clone``.

        Parameters
        ----------
        deep : bool, default=True
            Ignored: no parameter is an estimator.

        Returns
        -------
        params : dict
            Parameters by name.
        """
        names = (
            "monitor", "lower_is_better", "threshold", "confidence", "min_iter",
            "check_every", "horizon", "incumbent", "bounds", "X_val", "y_val",
            "scoring", "sink",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> "PredictiveStopping":
        """Set parameters by name.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        self : PredictiveStopping
            The callback.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"PredictiveStopping has no parameter {name!r}.")
            setattr(self, name, value)
        return self

    # --- scikit-learn ---------------------------------------------------------------

    def setup(self, estimator: Any, context: Any) -> None:
        """Start a curve.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted.
        context : sklearn.callback.CallbackContext
            Ignored.
        """
        if self.X_val is None:
            raise ValueError(
                "As a callback of scikit-learn estimators PredictiveStopping needs a "
                "validation set: give X_val and y_val."
            )
        self._scorer = check_scoring(estimator, self.scoring)
        lower = self.lower_is_better is True
        self._start(getattr(estimator, "max_iter", None), lower=lower)

    def on_fit_task_begin(self, estimator: Any, context: Any, **kwargs: Any) -> None:
        """Do nothing.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted.
        context : sklearn.callback.CallbackContext
            Ignored.
        **kwargs : dict
            Ignored.
        """

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        fitted_estimator: Any = None,
        **kwargs: Any,
    ) -> bool:
        """Score an iteration.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted.
        context : sklearn.callback.CallbackContext
            Ignored.
        fitted_estimator : estimator or None
            What a fit would be that ended now.
        **kwargs : dict
            Ignored.

        Returns
        -------
        stop : bool
            True ends the training.
        """
        if fitted_estimator is None:
            return False
        data = (self.X_val,) if self.y_val is None else (self.X_val, self.y_val)
        return self._hear(self._scorer(fitted_estimator, *data))

    def teardown(self, estimator: Any, context: Any) -> None:
        """Report the score of a completed training.

        Parameters
        ----------
        estimator : estimator
            The estimator that is fitted.
        context : sklearn.callback.CallbackContext
            Ignored.
        """
        if hasattr(self, "_scorer"):  # else it has refused to start
            self._finish()
            del self._scorer
