"""A network with a dial between accuracy and equal rates, without groups later."""

from numbers import Integral, Real

import numpy as np

from skdiff._base.compat import (
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff.fairness._groups import (
    encode_groups,
    label_array,
    read_groups,
    require_both_labels,
    require_two_groups,
)

FEWEST = 8  # rows of a group in a batch, where it has as many


class DistractionClassifier(NeuralClassifierMixin, BaseNeural):
    """Classify by a network whose rates between groups can be dialled down.

    ``fairness_weight`` trades accuracy for equal rates; groups are needed in ``fit``
    only. Where the group is known at prediction,
    :class:`EqualizedOddsPostprocessor` loses less accuracy for the same difference.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Number of units in each hidden layer. ``mode="distraction"`` needs at least one.
    constraint : {"demographic_parity", "equalized_odds", "equal_opportunity"}, \
default="demographic_parity"
        Mean probabilities that should be alike in all groups: of all rows, of the rows
        of each label, or of the rows of the positive label.
    fairness_weight : float, default=1.0
        Weight of the difference. 0 is a standard network. ``mode="distraction"`` needs
        larger weights than the others for the same effect, about ten.
    mode : {"distraction", "penalty", "adversarial"}, default="distraction"
        ``"distraction"`` gives a linear layer inside the network to a second player,
        who reduces the difference. ``"penalty"`` adds it to the loss of all parameters.
        ``"adversarial"`` opposes a linear model that tells the group from the last
        hidden layer.
    position : int, default=-1
        After which hidden layer the second player's layer stands.
    keep_weight : float, default=0.1
        Weight of the cross-entropy in the second player's goal, which keeps the layer
        from erasing everything.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation function of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float, default=0.0001
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is all rows of small data sets and
        256 of large ones. Batches are stratified by group and grow until the smallest
        group has eight rows in them.
    learning_rate_init : float, default=0.001
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=200
        Maximum number of iterations. One iteration is an epoch.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A smaller gain in the loss is no progress.
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
    groups_ : ndarray of shape (n_groups,) or None
        Sorted labels of the groups.
    gaps_ : list of float
        Mean over the batches of each epoch of the sum of differences between groups, in
        mean probabilities.
    net_ : skorch.NeuralNet or None
        The network; None when y has one class.
    loss_ : float
        Cross-entropy after the last epoch.
    loss_curve_ : list of float
        Cross-entropy of each epoch.
    validation_scores_ : list of float or None
        Score of the held-out rows after each epoch, with ``early_stopping``.
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
    EqualizedOddsPostprocessor : Thresholds for each group, where it is known later.
    ConstrainedClassifier : A bound in place of a weight.

    Notes
    -----
    The paper's layer-level details were not available: the alternating game here is our
    reading of its abstract. For two classes and a full batch the difference of
    demographic parity is the difference of mean probabilities of the two groups; three
    and more groups, and labels, are summed over pairs.

    References
    ----------
    M. Yazdani-Jahromi, A. Yalabadi, A. Rajabi, A. Tayebi, I. Garibay and O. Garibay,
    "Distraction is All You Need for Fairness", 2023, arXiv:2203.07593.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.fairness import DistractionClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, group = X[:, 1:3], X[:, 0] > 13
    >>> model = DistractionClassifier((8,), mode="penalty", max_iter=20, random_state=0)
    >>> model = model.fit(X, y, sensitive_features=group)
    >>> model.gaps_[-1] < model.gaps_[0]
    True
    """

    _parameter_constraints = {
        **BaseNeural._parameter_constraints,
        "constraint": [
            StrOptions({"demographic_parity", "equalized_odds", "equal_opportunity"})
        ],
        "fairness_weight": [Interval(Real, 0, None, closed="left")],
        "mode": [StrOptions({"distraction", "penalty", "adversarial"})],
        "position": [Integral],
        "keep_weight": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(64, 64),
        *,
        constraint="demographic_parity",
        fairness_weight=1.0,
        mode="distraction",
        position=-1,
        keep_weight=0.1,
        activation="relu",
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate_init=0.001,
        momentum=0.9,
        max_iter=200,
        tol=1e-4,
        n_iter_no_change=20,
        early_stopping=False,
        validation_fraction=0.1,
        time_limit=None,
        warm_start=False,
        class_weight=None,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.constraint = constraint
        self.fairness_weight = fairness_weight
        self.mode = mode
        self.position = position
        self.keep_weight = keep_weight
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
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, sensitive_features=None, sample_weight=None):
        """Fit the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row, any hashable label. Required; ``predict`` needs none.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        continued = self.warm_start and hasattr(self, "_state")
        self._given_groups = sensitive_features
        try:
            return self._fit(X, y, sample_weight, continued=continued)
        finally:
            del self._given_groups

    def partial_fit(
        self, X, y, classes=None, *, sensitive_features=None, sample_weight=None
    ):
        """Train one more epoch on these rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come. Needed at the first call when the first rows
            do not have them all.
        sensitive_features : array-like of shape (n_samples,)
            Group of each row. Every group has to be among the rows of every call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        self._given_groups = sensitive_features
        try:
            return super().partial_fit(X, y, classes, sample_weight)
        finally:
            del self._given_groups

    def _fit(self, X, y, sample_weight, *, continued, one_epoch=False, grouping=None):
        self._check_position()
        return super()._fit(
            X, y, sample_weight, continued=continued, one_epoch=one_epoch
        )

    def _check_position(self):
        n_hidden = len(self._hidden_sizes())
        if self.mode != "distraction":
            return
        if not -n_hidden <= self.position < n_hidden:
            raise ValueError(
                f"position={self.position} names no hidden layer of "
                f'{n_hidden}; mode="distraction" needs one.'
            )

    def _validate(self, X, y, sample_weight, *, reset):
        """Check rows as every network does, and read the group of those that count."""
        given = y
        X_all, y, weight = super()._validate(X, y, sample_weight, reset=reset)
        where = f"{type(self).__name__}.fit"
        labels = read_groups(self._given_groups, len(np.asarray(given)), where)
        if sample_weight is not None:
            kept = check_sample_weight(sample_weight, labels[:, None]) > 0
            labels = labels[kept]
        groups, codes = encode_groups(labels)
        classes, target = np.unique(y, return_inverse=True)
        if len(classes) > 1:
            require_two_groups(groups)
        if self.constraint != "demographic_parity" and len(classes) > 1:
            w = np.ones(len(y)) if weight is None else weight
            require_both_labels(groups, codes, target, w, classes)
        self._grouping = groups, codes
        return X_all, y, weight

    def _run(self, table, held, given, encoding, seed, continued, one_epoch):
        groups, codes = self.__dict__.pop("_grouping")
        rows = self.__dict__.pop("_kept_rows", None)
        codes = codes if rows is None else codes[rows]
        table = (*table[:3], (groups, codes))
        super()._run(table, held, given, encoding, seed, continued, one_epoch)

    def _split(self, target, seed):
        rows = super()._split(target, seed)
        if rows is not None:
            self._kept_rows = rows[0]
        return rows

    def _fit_constant(self, encoding, continued):
        self.__dict__.pop("_grouping")
        self.groups_, self.gaps_ = None, []
        return super()._fit_constant(encoding, continued)

    def _module(self, n_in, n_out, generator):
        sizes = [n_in, *self._hidden_sizes(), n_out]
        if self.mode != "distraction" or not self.fairness_weight:
            return super()._module(n_in, n_out, generator)
        from skdiff.fairness._distraction._module import DistractedMLP

        return DistractedMLP(sizes, self.activation, generator, self.position)

    def _net_class(self):
        if not self.fairness_weight:
            return super()._net_class()
        from skdiff.fairness._distraction._module import FairNet

        return FairNet

    def _stepper(self, module):
        if not self.fairness_weight:
            return super()._stepper(module)
        from skdiff._nn._plain import BACKWARD
        from skdiff.fairness._distraction._plain import PlainFairNet

        by_hand = module.activation in BACKWARD and not self._has_added_loss()
        if by_hand and "optimizer" not in (self.net_params or {}):
            return PlainFairNet
        return self._net_class()

    def _descends(self):
        return not self.fairness_weight

    def _configure(self, net, data, table, encoding, seed):
        """Bring the groups into the batches, and make these large enough."""
        if not self.fairness_weight:
            return data
        import torch

        from skdiff._nn._data import TensorData
        from skdiff.fairness._distraction._module import Rule, Settings

        groups, codes = table[3]
        sizes = np.bincount(codes, minlength=len(groups))
        smallest = max(int(sizes.min()), 1)
        needed = -(-min(FEWEST, smallest) * len(codes) // smallest)
        net.batch_size = max(net.batch_size, needed)
        net.strata = torch.from_numpy(codes)
        rule = Rule(self.constraint, len(groups))
        net.begin(
            Settings(
                self.mode,
                rule,
                float(self.fairness_weight),
                float(self.keep_weight),
                float(self.learning_rate_init),
            ),
            groups,
        )
        codes = torch.from_numpy(codes).to(data.X.device)
        return TensorData(data.X, (*data.y, codes))

    def _report(self, net, table):
        groups, _ = table[3]
        self.groups_ = label_array(groups)
        self.gaps_ = [*net.gaps] if self.fairness_weight else []
