"""Networks whose predictions cannot change faster than a bound."""

from dataclasses import replace
from numbers import Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions
from skdiff._base.validation import split_validation
from skdiff._nn._base import SMALLEST_VALIDATION, BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin, NeuralRegressorMixin
from skdiff._nn._options import ClassifierOptions, RegressorOptions

DEFAULT_BOUND = 2.0  # of a classifier on too few rows to choose
CHOOSING_FRACTION = 0.2  # of the rows validate


class BaseLipschitz(BaseNeural):
    """The module, its units, and what its bound says about X."""

    _parameter_constraints = {
        **BaseNeural._parameter_constraints,
        "lipschitz_bound": [Interval(Real, 0, None, closed="neither")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu", "elu"})],
    }

    # a layer is made of the direction of its free matrix, whose length decays to no end
    _decays_by_layer = False

    def _no_gradient(self):
        return "its bound makes the fit independent of the size of its free parameters"

    def _module(self, n_in, n_out, generator):
        from skdiff.neural_network._lipschitz._module import LipschitzMLP

        sizes = [n_in, *self._hidden_sizes(), n_out]
        bound = (
            DEFAULT_BOUND if self.lipschitz_bound == "auto" else self.lipschitz_bound
        )
        bound = float(bound)
        return LipschitzMLP(sizes, self.activation, bound, generator)

    def _plain_net(self, module, loss):
        from skdiff.neural_network._lipschitz._module import bounded_net_class

        return bounded_net_class(module, loss)

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        self.lipschitz_bound_ = float(self._state["arrays"]["root"]) ** 2
        smallest = float(self.scale_.min())
        self.input_lipschitz_bound_ = self.lipschitz_bound_ * self._unit() / smallest

    def _fit_constant(self, encoding, continued):
        self.lipschitz_bound_ = self.input_lipschitz_bound_ = 0.0
        return super()._fit_constant(encoding, continued)

    def _unit(self):
        """Units of the output for one of the network's."""
        return 1.0


class LipschitzMLPClassifier(ClassifierOptions, NeuralClassifierMixin, BaseLipschitz):
    """Classify by a network with a proven bound on its sensitivity to the inputs.

    Use it when small changes of the inputs, by noise, rounding or an adversary, must
    not flip a decision: :meth:`certified_radius` tells for every row how far its
    inputs can move, in any direction, before another class can win. A small bound
    costs accuracy; for clean data alone ``MLPClassifier`` or boosting is simpler.

    Parameters
    ----------
    lipschitz_bound : float or "auto", default="auto"
        Bound of the change of the logits by that of the standardised inputs, both in
        Euclidean length. Smaller is more robust, larger more accurate on data without
        noise. ``"auto"`` trains shortly within 1, 2 and 5 and takes the lowest log loss
        of a fifth of the rows. Where these are at least 50 and that trial stopped
        making progress, the fit ends after 1.5 times as many epochs, unless
        ``early_stopping`` decides. The bound is 2 where a fifth would be fewer than ten
        rows.
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Number of units in each hidden layer. Empty is a linear map within the bound.
    activation : {"identity", "logistic", "tanh", "relu", "elu"}, default="relu"
        Activation function of the hidden layers. Its slopes lie between 0 and 1.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float, default=0.0
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. It acts on the free parameters; the bound already regularises.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is all rows of small data sets and
        256 of large ones.
    learning_rate_init : float, default=0.01
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=300
        Maximum number of iterations. One iteration is an epoch.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A smaller gain in the loss, or in the validation
        score, is no progress.
    n_iter_no_change : int, default=20
        Number of iterations without progress before training stops.
    early_stopping : bool, default=False
        Whether to stop by the score of a validation set and keep the best epoch.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``early_stopping``.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.
    sam_rho : float, default=0.0
        Radius of sharpness-aware steps (Foret et al., 2021); 0.05 is usual. Each step
        costs two gradients.
    spectral_decoupling : float, default=0.0
        Penalty on the squared logits (Pezeshki et al., 2021), which keeps one easy
        feature from hiding the others.
    spectral_targets : array-like of shape (n_classes,), default=None
        Logits towards which ``spectral_decoupling`` pulls; zeros by default. There is
        one per class.
    group_dro : bool, default=False
        Whether to minimise the loss of the worst of the ``groups`` given to ``fit``
        (Sagawa et al., 2020).
    group_step_size : float, default=0.01
        Step size of the group weights.
    group_adjustment : float, default=0.0
        ``C`` in the adjustment ``C / sqrt(n_group)`` of each group's loss.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision. ``"auto"`` is that of X; ``"float32"`` is faster.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``.
    net_params : dict, default=None
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every epoch is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial weights, the order of the batches and the validation set.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    lipschitz_bound_ : float
        The bound in standardised units, proven by construction.
    input_lipschitz_bound_ : float
        The bound in the units of X: ``lipschitz_bound_`` over the smallest
        standard deviation of a column.
    net_ : skorch.NeuralNet or None
        The network; None when y has one class.
    loss_ : float
        Loss after the last epoch.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_ : list of float or None
        Score of the held-out rows after each epoch, with ``early_stopping``.
    groups_ : ndarray of shape (n_groups,) or None
        Labels of the groups; None when ``fit`` was given none.
    group_losses_ : ndarray of shape (n_groups,) or None
        Loss of each group of the training rows.
    group_weights_ : ndarray of shape (n_groups,) or None
        Final weights of the groups; None without ``group_dro``.
    worst_group_score_ : float or None
        Lowest score of a group of the training rows.
    n_iter_ : int
        Epochs run.
    stopped_ : str
        ``"converged"``, ``"max_iter"``, ``"time"``, ``"callback"``, ``"diverged"``,
        ``"interrupted"`` or ``"constant"``.
    mean_ : ndarray of shape (n_features,)
        What is subtracted from each column.
    scale_ : ndarray of shape (n_features,)
        What each column is divided by.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    LipschitzMLPRegressor : The same for numbers.
    sklearn.neural_network.MLPClassifier : A network without a bound.

    Notes
    -----
    A layer is ``sqrt(2) A' Psi s(sqrt(2) Psi^-1 B h + b)`` with ``A A' + B B' = I`` by
    a Cayley transform of free weights and ``Psi`` a positive diagonal, so any weights
    are within the bound. One logit per class; the difference of two logits has the
    constant ``sqrt(2)`` times the bound, hence the radius ``margin / (sqrt(2) bound)``.

    References
    ----------
    R. Wang and I. R. Manchester, "Direct Parameterization of Lipschitz-Bounded Deep
    Networks", ICML 2023, arXiv 2301.11526.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.neural_network import LipschitzMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = LipschitzMLPClassifier(5.0, max_iter=60, tol=0.01, random_state=0)
    >>> model = model.fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> bool((model.certified_radius(X) > 0.1).mean() > 0.8)
    True
    """

    _parameter_constraints = {
        **BaseLipschitz._parameter_constraints,
        **ClassifierOptions._option_constraints,
        "lipschitz_bound": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        lipschitz_bound="auto",
        *,
        hidden_layer_sizes=(64, 64),
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size="auto",
        learning_rate_init=0.01,
        momentum=0.9,
        max_iter=300,
        tol=1e-4,
        n_iter_no_change=20,
        early_stopping=False,
        validation_fraction=0.1,
        time_limit=None,
        warm_start=False,
        class_weight=None,
        sam_rho=0.0,
        spectral_decoupling=0.0,
        spectral_targets=None,
        group_dro=False,
        group_step_size=0.01,
        group_adjustment=0.0,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.lipschitz_bound = lipschitz_bound
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.sam_rho = sam_rho
        self.spectral_decoupling = spectral_decoupling
        self.spectral_targets = spectral_targets
        self.group_dro = group_dro
        self.group_step_size = group_step_size
        self.group_adjustment = group_adjustment
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    def _train(self, net, data, limits, progress, validate):
        if self.lipschitz_bound != "auto" or limits.continued or limits.one_epoch:
            return super()._train(net, data, limits, progress, validate)
        most = self._choose_bound(net, data, limits, progress)
        if most is None or validate is not None or most >= limits.max_iter:
            return super()._train(net, data, limits, progress, validate)
        limits = replace(limits, max_iter=most)
        run = super()._train(net, data, limits, progress, validate)
        if run.stopped == "max_iter":
            run.stopped = "converged"
        return run

    def _choose_bound(self, net, data, limits, progress):
        """Set the bound with the lowest log loss of a part of the training rows.

        The number of epochs that serves it is returned, if any.
        """
        import torch

        from skdiff.neural_network._lipschitz._choice import choose_bound

        codes = data.y[0].cpu().numpy()
        rows = split_validation(
            len(codes), CHOOSING_FRACTION, 0, strata=codes, fewest=SMALLEST_VALIDATION
        )
        if rows is None:
            return None
        parts = tuple(torch.from_numpy(part).to(data.X.device) for part in rows)
        strata, net.strata = net.strata, None
        chosen = choose_bound(net, data, parts, limits, progress.deadline)
        net.strata = strata
        return chosen.n_epochs

    def certified_radius(self, X, *, units="standardized"):
        """Return how far each row can move before its predicted class can change.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        units : {"standardized", "input"}, default="standardized"
            Length of a move with every column in standard deviations, or in the units
            of X, where the smallest deviation decides and the radius is often tiny.

        Returns
        -------
        radius : ndarray of shape (n_samples,)
            Euclidean length below which no move changes the class; infinite when there
            is one class.
        """
        check_is_fitted(self)
        if units not in ("standardized", "input"):
            raise ValueError(f"units must be 'standardized' or 'input', got {units!r}.")
        logits = self._output(X)
        if logits.shape[1] < 2:
            return np.full(len(logits), np.inf)
        best = np.partition(logits, -2, axis=1)
        bound = {
            "standardized": self.lipschitz_bound_,
            "input": self.input_lipschitz_bound_,
        }[units]
        return (best[:, -1] - best[:, -2]) / (np.sqrt(2) * bound)


class LipschitzMLPRegressor(RegressorOptions, NeuralRegressorMixin, BaseLipschitz):
    """Predict numbers by a network with a proven bound on its slope.

    Use it when predictions must not jump: interpolation of noisy measurements,
    surrogates that are searched, inputs with known errors. The bound holds in
    standardised units: the change of the target in standard deviations, divided by
    the Euclidean change of the standardised inputs.

    Parameters
    ----------
    lipschitz_bound : float, default=1.0
        Bound of the change of the standardised targets by that of the standardised
        inputs, both in Euclidean length. Smaller is smoother.
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Number of units in each hidden layer. Empty is a linear map within the bound.
    activation : {"identity", "logistic", "tanh", "relu", "elu"}, default="relu"
        Activation function of the hidden layers. Its slopes lie between 0 and 1.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float, default=0.0
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. It acts on the free parameters; the bound already regularises.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is all rows of small data sets and
        256 of large ones.
    learning_rate_init : float, default=0.01
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=300
        Maximum number of iterations. One iteration is an epoch.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A smaller gain in the loss, or in the validation
        score, is no progress.
    n_iter_no_change : int, default=20
        Number of iterations without progress before training stops.
    early_stopping : bool, default=False
        Whether to stop by the score of a validation set and keep the best epoch.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``early_stopping``.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call.
    sam_rho : float, default=0.0
        Radius of sharpness-aware steps (Foret et al., 2021); 0.05 is usual. Each step
        costs two gradients.
    regmix : dict, default=None
        Mix every row with one of its nearest neighbours (Hwang and Whang, 2021), for
        instance ``{"k": 4}``: ``k`` neighbours, or ``"auto"`` to choose among none, 1,
        2, 4, ... on held-out rows; ``alpha`` of the Beta law of the shares, 2 by
        default; ``by`` ``"data"`` or, for neighbours in the target, ``"target"``.
    group_dro : bool, default=False
        Whether to minimise the loss of the worst of the ``groups`` given to ``fit``
        (Sagawa et al., 2020).
    group_step_size : float, default=0.01
        Step size of the group weights.
    group_adjustment : float, default=0.0
        ``C`` in the adjustment ``C / sqrt(n_group)`` of each group's loss.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision. ``"auto"`` is that of X; ``"float32"`` is faster.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``.
    net_params : dict, default=None
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every epoch is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial weights, the order of the batches and the validation set.

    Attributes
    ----------
    lipschitz_bound_ : float
        The bound in standardised units, proven by construction.
    input_lipschitz_bound_ : float
        The bound in the units of X and y: ``lipschitz_bound_`` over the smallest
        standard deviation of a column.
    net_ : skorch.NeuralNet or None
        The network.
    loss_ : float
        Loss after the last epoch.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_ : list of float or None
        Score of the held-out rows after each epoch, with ``early_stopping``.
    groups_ : ndarray of shape (n_groups,) or None
        Labels of the groups; None when ``fit`` was given none.
    group_losses_ : ndarray of shape (n_groups,) or None
        Loss of each group of the training rows.
    group_weights_ : ndarray of shape (n_groups,) or None
        Final weights of the groups; None without ``group_dro``.
    worst_group_score_ : float or None
        Lowest score of a group of the training rows.
    regmix_k_ : int or None
        Neighbours that rows were mixed with; None without ``regmix``.
    n_outputs_ : int
        Number of targets.
    n_iter_ : int
        Epochs run.
    stopped_ : str
        ``"converged"``, ``"max_iter"``, ``"time"``, ``"callback"``, ``"diverged"``,
        ``"interrupted"``.
    mean_ : ndarray of shape (n_features,)
        What is subtracted from each column.
    scale_ : ndarray of shape (n_features,)
        What each column is divided by.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    LipschitzMLPClassifier : The same for classes.
    sklearn.neural_network.MLPRegressor : A network without a bound.

    Notes
    -----
    The layers are those of :class:`LipschitzMLPClassifier`. Targets are standardised
    by the first table seen and predictions mapped back.

    References
    ----------
    R. Wang and I. R. Manchester, "Direct Parameterization of Lipschitz-Bounded Deep
    Networks", ICML 2023, arXiv 2301.11526.

    S.-H. Hwang and S. E. Whang, "RegMix: Data Mixing Augmentation for Regression",
    2021, arXiv 2106.03374.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.neural_network import LipschitzMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = LipschitzMLPRegressor(max_iter=60, tol=0.01, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        **BaseLipschitz._parameter_constraints,
        **RegressorOptions._option_constraints,
    }

    def __init__(
        self,
        lipschitz_bound=1.0,
        *,
        hidden_layer_sizes=(64, 64),
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size="auto",
        learning_rate_init=0.01,
        momentum=0.9,
        max_iter=300,
        tol=1e-4,
        n_iter_no_change=20,
        early_stopping=False,
        validation_fraction=0.1,
        time_limit=None,
        warm_start=False,
        sam_rho=0.0,
        regmix=None,
        group_dro=False,
        group_step_size=0.01,
        group_adjustment=0.0,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.lipschitz_bound = lipschitz_bound
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.sam_rho = sam_rho
        self.regmix = regmix
        self.group_dro = group_dro
        self.group_step_size = group_step_size
        self.group_adjustment = group_adjustment
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    def _unit(self):
        return float(np.max(self._y_scale))
