"""CaPE: a network trained until its probabilities match frequencies."""

import time
import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._nn._estimators import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff._sklearn import Interval, StrOptions
from skdiff.calibration._maps import (
    MAPS,
    Line,
    bin_targets,
    class_targets,
    fit_platt,
    kernel_targets,
    log_odds,
)


@dataclass
class _Fitting:
    """What a fit knows while it runs: the rows, and which of them are held out."""

    X: Any = None
    weight: Any = None
    codes: Any = None
    encoding: Any = None
    rows: Any = None
    seed: int = 0
    platt: Any = None


class CalibratedProbabilityClassifier(NeuralClassifierMixin, BaseNeural):
    """Train a network whose probabilities match frequencies.

    A network is trained on the labels until its held-out cross-entropy stops
    improving, and then goes on, at a small rate, with epochs on the labels and epochs
    on *empirical probabilities*: what happened to rows that were given about the same
    forecast. Use it for risks, where the number itself is the answer and labels are
    noisy. The early-stopped network with Platt scaling is the baseline, and often as
    good; the user guide has figures.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Units of each hidden layer. Empty is a linear model.
    method : {"bin", "kernel"}, default="bin"
        How targets are made of the training rows' own forecasts, with
        ``target_source="train"``: frequencies of bins of equal weight, or a Gaussian
        kernel regression.
    n_bins : int, default=10
        Bins of ``method="bin"`` and of ``target_map="bin"``.
    bandwidth : float, default=0.05
        Width of the kernel, in probability. The paper's code has 0.1.
    target_source : {"validation", "train", "cross_fit"}, default="validation"
        Rows whose outcomes make the targets. ``"validation"``: ``target_map`` is
        fitted on the held-out rows' forecasts and applied to those of the training
        rows. ``"train"`` is the paper's: on small tables it teaches the network the
        over-confidence it already has. ``"cross_fit"``: ``target_map`` is fitted on
        out-of-fold forecasts of networks trained on ``n_folds`` folds, which costs
        as many more fits.
    discrimination_epochs : int, default=1
        Epochs on the labels after each epoch on targets. The paper's code has 5.
    target_map : {"platt", "bin", "isotonic"}, default="platt"
        Map from forecasts to frequencies, for held-out targets.
    n_folds : int, default=5
        Folds of ``target_source="cross_fit"``.
    multiclass : {"one_vs_rest", "top_label"}, default="one_vs_rest"
        Targets of three and more classes: each class against the rest, normalised, or
        the likeliest class alone with the rest in proportion.
    finetune_iter : int, default=50
        Epochs of the second stage. With 0 this is an early-stopped network.
    finetune_learning_rate : float, default=1e-4
        Step size of the second stage; far below the first stage's.
    final_platt : bool, default=False
        Platt-scale the outputs on the held-out rows at the end.
    estimator : estimator instance, default=None
        A neural classifier of skdiff to start from instead of a network of one's own.
        Fitted, or in a :class:`~sklearn.frozen.FrozenEstimator`, it is taken as it is,
        and the first stage is left out; otherwise a clone is fitted on the training
        rows. Its architecture replaces ``hidden_layer_sizes`` and ``activation``.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser of both stages.
    alpha : float or array-like of shape (n_layers,), default=1e-4
        L2 penalty: ``alpha / 2`` times the squared weights is added to the mean loss.
        An array holds one for each weight matrix, from the input on: one more than
        there are hidden layers.
    batch_size : int or "auto", default="auto"
        Rows a step. ``"auto"`` is all rows of small tables and 256 of large ones.
    learning_rate_init : float, default=1e-3
        Step size of the first stage.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=300
        Epochs of the first stage.
    tol : float, default=1e-4
        Gain in held-out cross-entropy that counts as progress.
    n_iter_no_change : int, default=20
        Epochs without progress after which the first stage stops.
    validation_fraction : float, default=0.2
        Share of rows held out, to choose the epoch and to make targets. When it is
        fewer than ten rows nothing is held out, and the network is trained on the
        labels alone.
    time_limit : float, default=None
        Seconds after which training stops with the best state.
    warm_start : bool, default=False
        Continue from the last fit.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision. ``"auto"`` is that of X; ``"float32"`` is faster.
    device : str, default="cpu"
        Where torch computes.
    net_params : dict, default=None
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``.
    verbose : bool, default=False
        Print the loss of every epoch.
    random_state : int, RandomState instance or None, default=None
        Start of the weights, order of the batches, held-out rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    empirical_targets_ : ndarray of shape (n_train,) or (n_train, n_classes), or None
        The last targets of the training rows: probabilities of ``classes_[1]``, or of
        every class for three and more. None when there was no second stage.
    train_indices_ : ndarray of int of shape (n_train,)
        Rows trained on, among those of positive weight, in the order of the targets.
    best_epoch_ : int
        Epoch of the second stage whose weights are kept; -1 when none was better than
        the early-stopped network, whose weights then stand.
    stage_history_ : dict of ndarrays
        A row an epoch: ``"kind"`` (``"early"``, ``"cape"`` on targets,
        ``"discrimination"`` on labels), ``"train_loss"``, ``"validation_loss"``,
        ``"validation_ece"``, ``"validation_brier"``.
    platt_ : ndarray of shape (n_maps, 2) or None
        Slope and offset of the final Platt map, one for two classes and else one a
        class; None without ``final_platt``.
    net_ : skorch.NeuralNet or None
        The network; None when y has one class.
    loss_ : float
        Loss of the last epoch.
    loss_curve_ : list of float
        Loss of each epoch of both stages.
    validation_scores_ : list of float or None
        Minus the cross-entropy of the held-out rows after each epoch.
    n_iter_ : int
        Epochs run in both stages.
    stopped_ : str
        ``"converged"``, ``"max_iter"``, ``"time"``, ``"callback"``, ``"diverged"``,
        ``"interrupted"`` or ``"constant"``.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    OnlinePlattCalibrator : Calibrate a stream of forecasts.
    sklearn.calibration.CalibratedClassifierCV : Platt or isotonic maps around any
        classifier.
    skdiff.metrics.expected_calibration_error : Judge the result.

    Notes
    -----
    Equal forecasts get equal targets. There is no ``class_weight``: re-weighted classes
    have other frequencies, and the probabilities would answer for those; a warning says
    so when ``estimator`` has one. The held-out rows serve twice, for the targets and
    for the choice of the epoch; with the two numbers of Platt's map this did no harm in
    our runs, for the other maps prefer ``"cross_fit"``. The kernel regression is a
    convolution on a grid, exact to 1e-4.

    References
    ----------
    S. Liu, A. Kaku, W. Zhu, M. Leibovich, S. Mohan, B. Yu, L. Zanna, N. Razavian and
    C. Fernandez-Granda, "Deep Probability Estimation", ICML 2022, arXiv 2111.10734.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.calibration import CalibratedProbabilityClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 3))
    >>> risk = 1 / (1 + np.exp(-X[:, 0]))
    >>> y = (rng.uniform(size=400) < risk).astype(int)
    >>> model = CalibratedProbabilityClassifier(
    ...     (8,), learning_rate_init=0.02, max_iter=100, random_state=0
    ... ).fit(X, y)
    >>> bool(np.mean((model.predict_proba(X)[:, 1] - risk) ** 2) < 0.02)
    True
    """

    _parameter_constraints = {
        **{
            name: kinds
            for name, kinds in BaseNeural._parameter_constraints.items()
            if name != "early_stopping"
        },
        "method": [StrOptions({"bin", "kernel"})],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "bandwidth": [Interval(Real, 0, None, closed="neither")],
        "target_source": [StrOptions({"validation", "train", "cross_fit"})],
        "discrimination_epochs": [Interval(Integral, 0, None, closed="left")],
        "target_map": [StrOptions(set(MAPS))],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "multiclass": [StrOptions({"one_vs_rest", "top_label"})],
        "finetune_iter": [Interval(Integral, 0, None, closed="left")],
        "finetune_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "final_platt": ["boolean"],
        "estimator": [BaseNeural, FrozenEstimator, None],
    }
    # the method is made of a hold-out, and of classes as frequent as they are
    early_stopping = True
    class_weight = None

    def __init__(
        self,
        hidden_layer_sizes=(64, 64),
        *,
        method="bin",
        n_bins=10,
        bandwidth=0.05,
        target_source="validation",
        discrimination_epochs=1,
        target_map="platt",
        n_folds=5,
        multiclass="one_vs_rest",
        finetune_iter=50,
        finetune_learning_rate=1e-4,
        final_platt=False,
        estimator=None,
        activation="relu",
        solver="adam",
        alpha=1e-4,
        batch_size="auto",
        learning_rate_init=1e-3,
        momentum=0.9,
        max_iter=300,
        tol=1e-4,
        n_iter_no_change=20,
        validation_fraction=0.2,
        time_limit=None,
        warm_start=False,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.method = method
        self.n_bins = n_bins
        self.bandwidth = bandwidth
        self.target_source = target_source
        self.discrimination_epochs = discrimination_epochs
        self.target_map = target_map
        self.n_folds = n_folds
        self.multiclass = multiclass
        self.finetune_iter = finetune_iter
        self.finetune_learning_rate = finetune_learning_rate
        self.final_platt = final_platt
        self.estimator = estimator
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    # --- the network to start from --------------------------------------------------

    def _given(self):
        """The network given, without its wrapper; None for one of one's own."""
        frozen = isinstance(self.estimator, FrozenEstimator)
        return self.estimator.estimator if frozen else self.estimator

    def _is_taken(self):
        """Tell whether the network given is fitted and is taken as it is."""
        return self._given() is not None and hasattr(self._given(), "n_iter_")

    def _check_given(self):
        given = self._given()
        if given is None:
            return
        if not isinstance(given, NeuralClassifierMixin):
            raise ValueError(
                "estimator must be a neural classifier of skdiff, got "
                f"{type(given).__name__}."
            )
        if isinstance(self.estimator, FrozenEstimator):
            check_is_fitted(given)
        if self._is_taken() and given._state is None:
            raise ValueError("estimator has seen one class only: it has no network.")
        if getattr(given, "class_weight", None) is not None:
            warnings.warn(
                "estimator weights the classes (class_weight); its probabilities are "
                "of re-weighted classes. Fit it without class_weight.",
                UserWarning,
                stacklevel=4,
            )

    # --- hooks ----------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, **how):
        self._check_given()
        self._fitting = _Fitting()
        try:
            return super()._fit(X, y, sample_weight, **how)
        finally:
            del self._fitting

    def _validate(self, X, y, sample_weight, *, reset):
        X, y, weight = super()._validate(X, y, sample_weight, reset=reset)
        if self._is_taken() and X.shape[1] != self._given().n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but estimator was fitted on "
                f"{self._given().n_features_in_}."
            )
        self._fitting.X, self._fitting.weight = X, weight
        return X, y, weight

    def _encode(self, y, weight, encoding):
        if self._is_taken():
            encoding.setdefault("classes_", self._given().classes_)
        codes = super()._encode(y, weight, encoding)
        self._fitting.codes, self._fitting.encoding = codes, encoding
        return codes

    def _split(self, target, seed):
        rows = super()._split(target, seed)
        self._fitting.seed = seed
        if rows is not None:
            rows = self._fitting.rows = tuple(np.sort(side) for side in rows)
        return rows

    def _n_outputs(self, encoding):
        given = self._given()
        return (
            super()._n_outputs(encoding)
            if given is None
            else given._n_outputs(encoding)
        )

    def _n_layers(self):
        given = self._given()
        return super()._n_layers() if given is None else given._n_layers()

    @property
    def _decays_by_layer(self):
        given = self._given()
        return given is None or given._decays_by_layer

    def _module(self, n_in, n_out, generator):
        given = self._given()
        return (super() if given is None else given)._module(n_in, n_out, generator)

    def _net_class(self):
        from skdiff.calibration._cape_module import CapeNet

        return CapeNet

    def _row_loss(self, output, target):
        from skdiff.calibration._cape_module import row_loss

        return row_loss(output, target)

    def _train(self, net, data, limits, validate, report):
        from skdiff.calibration import _cape_module as stages

        begin, run, fitting = time.monotonic(), stages.CapeRun(), self._fitting
        held = None
        if validate is not None:
            out = fitting.rows[1]
            weight = (
                np.ones(len(out)) if fitting.weight is None else fitting.weight[out]
            )
            held = stages.Held(fitting.X[out], fitting.codes[out], weight)
        if self._given() is not None and not limits.continued:
            self._start_from_given(net, held, run)
        else:
            stages.first_stage(net, data, limits, held, report, run)
        left = stages.seconds_left(limits, begin)
        through = run.stopped in ("converged", "max_iter", "diverged")
        if held is not None and self.finetune_iter and left is not None and through:
            stages.second_stage(
                net,
                data,
                stages.replace(left, max_iter=self.finetune_iter),
                held,
                report,
                run,
                learning_rate=self.finetune_learning_rate,
                discrimination_epochs=self.discrimination_epochs,
                retarget=self._retarget(held),
            )
        fitting.platt = self._final_map(net, held, stages)
        return run

    def _start_from_given(self, net, held, run):
        """Bring the weights of the network given; they count as one epoch."""
        from skdiff._nn import _fit
        from skdiff.calibration._cape_module import probabilities

        fitting, given = self._fitting, self._given()
        if not self._is_taken():
            rows = slice(None) if fitting.rows is None else fitting.rows[0]
            labels = fitting.encoding["classes_"][fitting.codes[rows]]
            weight = None if fitting.weight is None else fitting.weight[rows]
            given = clone(given).fit(fitting.X[rows], labels, sample_weight=weight)
        given._restore(net.module_)
        run.loss_curve.append(float(given.loss_))
        run.stopped = "converged"
        if held is not None:
            output = _fit.predict_chunks(net.module_, held.X, self.device)
            score = run.note("early", held.judge(probabilities(output)))
            run.validation_scores.append(score)

    def _retarget(self, held):
        """A function from forecasts to targets of the training rows."""
        fitting = self._fitting
        rows = fitting.rows[0]
        codes = fitting.codes[rows]
        weight = np.ones(len(rows)) if fitting.weight is None else fitting.weight[rows]
        top = self.multiclass == "top_label"
        if self.target_source == "train":

            def own(p, known, hit):
                if self.method == "bin":
                    return bin_targets(p, hit, weight, self.n_bins)
                return kernel_targets(p, hit, weight, self.bandwidth)

            return lambda proba, _: class_targets(proba, proba, codes, own, top)
        out_of_fold = None
        if self.target_source == "cross_fit":
            out_of_fold = self._out_of_fold(rows, codes, weight)
            known_codes, known_weight = codes, weight
        else:
            known_codes, known_weight = held.codes, held.weight

        def mapped(p, known, hit):
            learn = MAPS[self.target_map]
            return learn(known, hit, known_weight, self.n_bins)(p)

        def retarget(proba, held_proba):
            known = held_proba if out_of_fold is None else out_of_fold
            return class_targets(proba, known, known_codes, mapped, top)

        return retarget

    def _out_of_fold(self, rows, codes, weight):
        """Forecasts of every training row by a network that has not seen it."""
        X, k = self._fitting.X[rows], len(self._fitting.encoding["classes_"])
        rng = check_random_state(self._fitting.seed)
        counts = np.bincount(codes)
        enough = counts[counts > 0].min() >= self.n_folds
        kind = StratifiedKFold if enough else KFold
        folds = kind(min(self.n_folds, len(X)), shuffle=True, random_state=rng)
        proba = np.zeros((len(X), k))
        for train, out in folds.split(X, codes):
            seed = rng.randint(2**31 - 1)
            if self._given() is None:
                settings = self.get_params(deep=False)
                settings |= {"finetune_iter": 0, "final_platt": False, "verbose": False}
                network = type(self)(**settings).set_params(random_state=seed)
            else:
                network = clone(self._given())
                if "random_state" in network.get_params():
                    network.set_params(random_state=seed)
            network.fit(X[train], codes[train], sample_weight=weight[train])
            proba[np.ix_(out, network.classes_)] = network.predict_proba(X[out])
        return proba

    def _final_map(self, net, held, stages):
        """Platt's map of the outputs, from the held-out rows."""
        if not self.final_platt or held is None:
            return None
        output = stages.predict_chunks(net.module_, held.X, self.device)
        z = log_odds(stages.probabilities(output))
        columns = [1] if z.shape[1] == 2 else range(z.shape[1])
        lines = [
            fit_platt(z[:, k], (held.codes == k).astype(float), held.weight)
            for k in columns
        ]
        return np.array(lines)

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        targets, rows = run.targets, self._fitting.rows
        binary = targets is not None and targets.shape[1] == 2
        self.empirical_targets_ = targets[:, 1].copy() if binary else targets
        self.train_indices_ = np.arange(len(self._fitting.codes))
        if rows is not None:
            self.train_indices_ = rows[0]
        self.best_epoch_ = run.best_epoch
        self.stage_history_ = {
            "kind": np.array(run.kinds, dtype=str),
            **{name: np.array(values) for name, values in run.measures.items()},
        }
        self.platt_ = self._fitting.platt

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        self.empirical_targets_, self.best_epoch_, self.platt_ = None, -1, None
        self.train_indices_ = np.arange(len(self._fitting.codes))
        self.stage_history_ = {"kind": np.array([], dtype=str)}
        return self

    # --- inference ------------------------------------------------------------------

    def _output(self, X):
        """Outputs of the network, after the final Platt map if there is one."""
        output = super()._output(X)
        platt = getattr(self, "platt_", None)
        if platt is None:
            return output
        from skdiff.calibration._cape_module import probabilities

        proba = probabilities(output)
        if len(platt) == 1:
            (slope, offset), z = platt[0], log_odds(proba[:, 1])
            return (slope * z + offset).astype(output.dtype)[:, None]
        columns = [Line(*line)(log_odds(proba[:, k])) for k, line in enumerate(platt)]
        return np.log(np.maximum(np.column_stack(columns), 1e-300)).astype(output.dtype)

    def reliability_curve(self, X, y, n_bins=10, *, strategy="quantile"):
        """Return frequencies and mean forecasts of bins, for a reliability diagram.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not trained on.
        y : array-like of shape (n_samples,)
            Their labels.
        n_bins : int, default=10
            Number of bins.
        strategy : {"quantile", "uniform"}, default="quantile"
            Bins of equal counts or of equal width.

        Returns
        -------
        prob_true : ndarray of shape (n_filled_bins,)
            Frequency of ``classes_[1]``; of the likeliest class being right for three
            and more classes.
        prob_pred : ndarray of shape (n_filled_bins,)
            Mean forecast.
        """
        proba, y = self.predict_proba(X), np.asarray(y)
        if len(self.classes_) == 2:
            p, hit = proba[:, 1], y == self.classes_[1]
        else:
            p, hit = proba.max(axis=1), y == self.classes_[proba.argmax(axis=1)]
        return calibration_curve(hit, p, n_bins=n_bins, strategy=strategy, pos_label=1)
