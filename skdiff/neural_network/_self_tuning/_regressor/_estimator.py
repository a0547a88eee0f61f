"""Regression that finds its dropout, noise and weight decay in one training."""

import numpy as np

from skdiff._nn._mixins import NeuralRegressorMixin
from skdiff.neural_network._self_tuning._base import BaseSelfTuning


class SelfTuningMLPRegressor(NeuralRegressorMixin, BaseSelfTuning):
    """Predict numbers by a network that tunes its regularisation in one training run.

    Dropout of each layer, noise on the inputs and weight decay of each layer move while
    the network trains, by gradients of the loss on a validation set. Use it in place of
    a grid of fits when a network has several such values; on most small tables a linear
    model or gradient boosting does as well.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(64, 64)
        Number of units in each hidden layer. Empty is a linear model.
    tune : array-like of str, default=("dropout", "input_noise", "weight_decay")
        What is tuned. ``"dropout"`` acts behind the hidden layers, ``"input_noise"`` on
        standardised columns, ``"weight_decay"`` on the weight matrices.
    per_layer : bool, default=True
        Whether each layer has a dropout and a decay of its own.
    per_column : bool, default=False
        Whether each column of X has a decay in the first weight matrix, where ``tune``
        holds ``"weight_decay"``.
    response : {"structured", "hypernetwork", "global_hypernetwork"}, \
default="structured"
        How the weights follow the hyperparameters. ``"structured"`` shifts and scales
        the units and doubles the weights; ``"hypernetwork"`` makes every weight linear
        in them, for linear models and very small networks. Both are trained around the
        current values. ``"global_hypernetwork"`` lets a network with 20 hidden units
        map them to the weights, trained over the whole of ``bounds``; they are then
        where the validation loss of that response is lowest.
    bounds : dict of pairs of float, default=None
        Lowest and highest value of ``"dropout"``, ``"input_noise"`` and
        ``"weight_decay"``. None, or a name left out, is .005 to .9, .001 to 3 and 1e-7
        to 100, widened to the start.
    dropout : float, default=0.1
        Probability where tuning starts, or that stays where it is not tuned.
    input_noise : float, default=0.1
        Standard deviation of the noise where tuning starts, or that stays where it is
        not tuned.
    alpha : float or array-like of shape (n_layers,), default=1e-3
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. Tuning starts there; where it is not tuned it stays. An array holds one
        value per weight matrix, from the input on.
    perturb_scale : float, default=0.5
        First standard deviation of the perturbation of logits and logarithms. It is
        learned thereafter.
    entropy_weight : float, default=1e-3
        Weight of the entropy of the perturbation in the validation loss. Without it the
        scale shrinks and the response learns no slope.
    warmup_epochs : int, default=5
        Epochs before the hyperparameters move.
    train_steps : int, default=2
        Steps of the weights between two changes of the hyperparameters.
    valid_steps : int, default=1
        Steps of the hyperparameters at each change.
    hyper_learning_rate : float, default=0.03
        Step size of Adam for the hyperparameters, on their logits and logarithms.
    refit : bool, default=True
        Whether a fresh network is trained on all rows in the end, at the values of the
        best epoch and for as many epochs. Otherwise the tuned network is kept, which
        has not seen the validation set.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation function of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is a sixteenth of the training
        rows, at least 16 and at most 256.
    learning_rate_init : float, default=0.003
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=100
        Maximum number of iterations. One iteration is an epoch of tuning.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A smaller gain in the validation loss is no
        progress.
    n_iter_no_change : int, default=50
        Number of iterations without progress before training stops. A network often
        overfits before its hyperparameters have moved, so patience pays.
    validation_fraction : float, default=0.2
        Fraction of the rows in the validation set. It tunes the hyperparameters and
        chooses the epoch. With fewer than ten rows in it nothing is tuned: the network
        is trained on all rows at once, with the decay and neither dropout nor noise.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call.
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
        the initial weights, the batches, dropout, noise, perturbations and the
        validation set.

    Attributes
    ----------
    n_outputs_ : int
        Number of targets.
    hyperparameters_ : dict of float
        Tuned values: ``dropout_0`` behind the first hidden layer, ``input_noise``,
        ``weight_decay_0`` of the first weight matrix and so on; ``dropout`` and
        ``weight_decay`` with ``per_layer=False``; ``weight_decay_0_3`` of the fourth
        column with ``per_column``.
    hyperparameter_history_ : dict of ndarray
        Value of each at the start and after every epoch.
    perturb_scales_ : dict of float or None
        Learned standard deviation of the perturbation of each logit or logarithm; None
        where nothing was tuned, or the response is global.
    n_tuned_iter_ : int
        Epoch of the lowest validation loss, whose values are ``hyperparameters_``.
    search_score_ : float or None
        Minus the validation loss of that epoch. It is optimistic: the validation set
        has chosen the epoch and the values.
    refit_score_ : float or None
        Minus the validation loss of a fresh network trained on the training part at
        those values; None without ``refit``.
    net_ : skorch.NeuralNet or None
        The network; None when the target is constant.
    loss_ : float
        Loss after the last epoch of tuning.
    loss_curve_ : list of float
        Loss of each epoch of tuning, penalties included.
    validation_scores_ : list of float or None
        Minus the validation loss after each epoch of tuning.
    n_iter_ : int
        Epochs of tuning.
    stopped_ : str
        ``"completed"`` after all epochs, ``"converged"``, ``"time"``, ``"callback"``,
        ``"diverged"``, ``"interrupted"``, ``"constant"``, or ``"max_iter"`` where
        nothing was tuned.
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
    SelfTuningMLPClassifier : The same for classes.
    SelfTuningDisplay : Draws the tuned values and the validation curves.
    skdiff.model_selection.GradientSearchCV : Exact gradients for convex models.

    Notes
    -----
    Every row is trained under a perturbed copy of the hyperparameters, and each layer
    learns how its weights have to follow. The validation loss is then differentiated
    through that response alone. ``h`` in the response is measured from its start.

    References
    ----------
    M. MacKay, P. Vicol, J. Lorraine, D. Duvenaud and R. Grosse, "Self-Tuning Networks:
    Bilevel Optimization of Hyperparameters Using Structured Best-Response Functions",
    ICLR 2019, arXiv 1903.03088.

    J. Lorraine and D. Duvenaud, "Stochastic Hyperparameter Optimization through
    Hypernetworks", 2018, arXiv 1802.09419.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.neural_network import SelfTuningMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SelfTuningMLPRegressor((16,), max_iter=20, tol=0.1, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.4
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(64, 64),
        *,
        tune=("dropout", "input_noise", "weight_decay"),
        per_layer=True,
        per_column=False,
        response="structured",
        bounds=None,
        dropout=0.1,
        input_noise=0.1,
        alpha=1e-3,
        perturb_scale=0.5,
        entropy_weight=1e-3,
        warmup_epochs=5,
        train_steps=2,
        valid_steps=1,
        hyper_learning_rate=0.03,
        refit=True,
        activation="relu",
        solver="adam",
        batch_size="auto",
        learning_rate_init=0.003,
        momentum=0.9,
        max_iter=100,
        tol=1e-4,
        n_iter_no_change=50,
        validation_fraction=0.2,
        time_limit=None,
        warm_start=False,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.tune = tune
        self.per_layer = per_layer
        self.per_column = per_column
        self.response = response
        self.bounds = bounds
        self.dropout = dropout
        self.input_noise = input_noise
        self.alpha = alpha
        self.perturb_scale = perturb_scale
        self.entropy_weight = entropy_weight
        self.warmup_epochs = warmup_epochs
        self.train_steps = train_steps
        self.valid_steps = valid_steps
        self.hyper_learning_rate = hyper_learning_rate
        self.refit = refit
        self.activation = activation
        self.solver = solver
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    def _curve_loss(self, output, target, weight):
        errors = ((output - target) * self._y_scale) ** 2
        return float(np.average(errors.mean(axis=1), weights=weight))
