"""CaPE: a network trained until its probabilities match frequencies."""

from numbers import Integral, Real

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.frozen import FrozenEstimator

from skdiff._base.compat import Interval, StrOptions
from skdiff._nn._base import BaseNeural
from skdiff.calibration._cape._base import BaseCape
from skdiff.calibration._cape._maps import MAPS


class CalibratedProbabilityClassifier(BaseCape):
    """Train a network whose probabilities match frequencies.

    A network is trained on the labels until its held-out cross-entropy stops
    improving, and then goes on, at a small rate, with epochs on the labels and epochs
    on *empirical probabilities*: what happened to rows that were given about the same
    forecast. Use it for risks, where the number itself matters and labels are
    noisy. The early-stopped network with Platt scaling is the baseline, and often as
    good; the user guide has figures.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Number of units in each hidden layer. Empty is a linear model.
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
    final_platt : bool, default=True
        Whether the outputs are Platt-scaled on the validation set at the end. A prior
        worth some twenty events keeps the map near the identity.
    estimator : estimator instance, default=None
        A neural classifier of skdiff to start from instead of a network of its own.
        Fitted, or in a :class:`~sklearn.frozen.FrozenEstimator`, it is taken as it is,
        and the first stage is left out; otherwise a clone is fitted on the training
        rows, with ``groups`` where it takes them. Its architecture replaces
        ``hidden_layer_sizes`` and ``activation``, and ``spectral_decoupling`` and
        ``group_dro`` are its own to set.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation function of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser. Both stages use it.
    alpha : float or array-like of shape (n_layers,), default=1e-2
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. An array holds one value per weight matrix, from the input on: one more
        than there are hidden layers.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is 128, so that an epoch of a
        small data set has several steps, but all rows of one of at most 256.
    learning_rate_init : float, default=1e-3
        Step size of the optimiser. It applies to the first stage.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=300
        Maximum number of iterations. One iteration is an epoch of the first stage.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A smaller gain in cross-entropy on the
        validation set is no progress.
    n_iter_no_change : int, default=20
        Number of iterations without progress before training stops. It applies to the
        first stage.
    validation_fraction : float, default=0.2
        Fraction of the rows in the validation set. The set chooses the epoch and makes
        the targets. With fewer than ten rows there is none, and the network is trained
        on the labels alone.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call.
    sam_rho : float, default=0.0
        Radius of sharpness-aware steps (Foret et al., 2021); 0.05 is usual. Each step
        costs two gradients. They apply to both stages.
    spectral_decoupling : float, default=0.0
        Penalty on the squared logits (Pezeshki et al., 2021), which keeps one easy
        feature from hiding the others. It applies to the first stage; set ``alpha=0``
        with it. Probabilities move towards the middle; a second stage of some hundred
        epochs moves them back.
    spectral_targets : array-like of shape (n_classes,), default=None
        Logits towards which ``spectral_decoupling`` pulls; zeros by default. There is
        one per class.
    group_dro : bool, default=False
        Whether to minimise the loss of the worst of the ``groups`` given to ``fit``
        (Sagawa et al., 2020). It applies to the first stage. The second weights all
        rows equally, as frequencies must.
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
    empirical_targets_ : ndarray of shape (n_train,) or (n_train, n_classes), or None
        The last targets of the training rows: probabilities of ``classes_[1]``, or of
        every class for three and more. None when there was no second stage.
    train_indices_ : ndarray of int of shape (n_train,)
        Rows trained on, among those of positive weight, in the order of the targets.
    best_epoch_ : int
        Epoch of the second stage whose weights are kept; -1 when none was better than
        the early-stopped network, whose weights then stand.
    stage_history_ : dict of ndarrays
        One row per epoch: ``"kind"`` (``"early"``, ``"cape"`` on targets,
        ``"discrimination"`` on labels), ``"train_loss"``, ``"validation_loss"``,
        ``"validation_ece"``, ``"validation_brier"``.
    platt_ : ndarray of shape (n_maps, 2) or None
        Slope and offset of the final Platt map, one for two classes and else one per
        class; None without ``final_platt``.
    net_ : skorch.NeuralNet or None
        The network; None when y has one class.
    loss_ : float
        Loss of the last epoch.
    loss_curve_ : list of float
        Loss of each epoch of both stages.
    validation_scores_ : list of float or None
        Minus the cross-entropy of the held-out rows after each epoch.
    groups_ : ndarray of shape (n_groups,) or None
        Labels of the groups; None when ``fit`` was given none.
    group_losses_ : ndarray of shape (n_groups,) or None
        Cross-entropy of each group of the rows trained on.
    group_weights_ : ndarray of shape (n_groups,) or None
        Final weights of the groups in the first stage; None without ``group_dro``.
    worst_group_score_ : float or None
        Lowest accuracy of a group of the rows trained on.
    n_iter_ : int
        Epochs run in both stages.
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
    OnlinePlattCalibrator : Calibrate a stream of forecasts.
    sklearn.calibration.CalibratedClassifierCV : Platt or isotonic maps around any
        classifier.
    skdiff.metrics.expected_calibration_error : Judge the result.

    Notes
    -----
    Equal forecasts get equal targets. There is no ``class_weight``: re-weighted classes
    have other frequencies, and the probabilities would describe those; a warning is
    raised when ``estimator`` has one. The held-out rows serve twice, for the targets
    and for the choice of the epoch; with the two numbers of Platt's map this did no
    harm in our runs, for the other maps prefer ``"cross_fit"``. The kernel regression
    is a convolution on a grid, exact to 1e-4.

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
        **BaseCape._option_constraints,
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
        final_platt=True,
        estimator=None,
        activation="relu",
        solver="adam",
        alpha=1e-2,
        batch_size="auto",
        learning_rate_init=1e-3,
        momentum=0.9,
        max_iter=300,
        tol=1e-4,
        n_iter_no_change=20,
        validation_fraction=0.2,
        time_limit=None,
        warm_start=False,
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
