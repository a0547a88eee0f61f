"""SparseBayesianMLPClassifier: a Bayesian network with an exact budget of weights."""

import numpy as np
from scipy.special import softmax, xlogy
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import StrOptions
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff._nn._options import ClassifierOptions
from skdiff.neural_network._ssvi._averages import (
    average_log_probabilities,
    average_probabilities,
)
from skdiff.neural_network._ssvi._base import BaseSparseBayesian, count


class SparseBayesianMLPClassifier(
    ClassifierOptions, NeuralClassifierMixin, BaseSparseBayesian
):
    """Classify by a Bayesian network with an exact budget of weights.

    Use it when a model has to be small *and* know what it does not know: the budget
    holds from the first step to the last, and predictions average over networks drawn
    from the posterior. A deep ensemble is often better calibrated and a standard
    network as accurate; neither is small.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(200, 200)
        Number of units in each hidden layer. Empty is a linear model.
    density : float, default=0.1
        Fraction of the weights that may differ from zero, in every layer and at every
        step. At 1 this is standard variational inference.
    density_distribution : {"uniform", "erdos_renyi"}, default="uniform"
        The same share in every layer, or more of it in small layers.
    dense_first_layer : bool, default=False
        Keep all weights of the first layer, on top of the budget.
    criterion : {"snr_abs", "mean_abs", "abs_mean", "snr", "exp_abs", "snr_exp"}, \
default="snr_abs"
        Which active weights are given up first: the lowest signal to noise of the
        absolute weight, the lowest ``E|w|``, ``|E w|``, ``|E w|`` over the standard
        deviation, or the same two for ``exp |w|``. They differ little.
    update_every : int, default=50
        Steps between two exchanges of weights.
    update_fraction : float, default=0.3
        Fraction of the active weights exchanged at first, falling like a cosine. At 0
        the random mask of the start stays.
    update_end : float, default=0.75
        Fraction of the training after which the masks stay.
    prior_std : float, default=0.3
        Standard deviation of the prior of an active weight.
    posterior_std_init : float, default=0.02
        Standard deviation of a weight at the start.
    kl_weight : float, default=0.1
        Weight of the divergence from the prior; 1 is the evidence bound, which
        under-fits small tables. It grows from zero over the first half of training.
    n_predict_samples : int, default=30
        Networks drawn from the posterior for a prediction.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation function of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float or array-like of shape (n_layers,), default=0.0
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. It acts on the means, in addition to the prior. An array holds one value
        per weight matrix, from the input on: one more than there are hidden layers.
    batch_size : int or "auto", default=128
        Number of rows per gradient step. ``"auto"`` is all rows of small data sets and
        256 of large ones.
    learning_rate_init : float, default=0.002
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=100
        Maximum number of iterations. One iteration is an epoch. It is also the length
        of the schedules of masks and divergence, all of which run unless
        ``early_stopping`` ends them.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A smaller gain in the validation score is no
        progress.
    n_iter_no_change : int, default=20
        Number of iterations without progress before training stops. It applies with
        ``early_stopping``.
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
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``. The optimizer
        must stay the one of ``solver``.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every epoch is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial masks and weights, the noise, the order of the batches and the
        validation set.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    masks_ : list of ndarray of shape (n_out, n_in)
        Active weights of each layer, the input layer first; biases are always there.
    n_active_weights_ : int
        Number of active weights.
    n_total_weights_ : int
        Number of weights, active or not.
    density_ : float
        Their ratio: ``density`` but for rounding and a dense first layer.
    elbo_curve_ : list of float
        Evidence lower bound a row after each epoch, with the full divergence.
    mask_overlap_ : list of float
        Jaccard index of the masks before and after each exchange.
    feature_relevance_ : ndarray of shape (n_features,)
        Sum of ``E|w|`` over the active first-layer weights of each column, scaled to
        sum one.
    feature_usage_ : ndarray of shape (n_features,)
        Number of active first-layer weights of each column: a poor measure of
        relevance.
    net_ : skorch.NeuralNet or None
        The network; None when y has one class.
    loss_ : float
        Loss after the last epoch.
    loss_curve_ : list of float
        Loss of each epoch, with the divergence as weighted then.
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
        ``"completed"`` after all epochs, ``"converged"`` by ``early_stopping``,
        ``"time"``, ``"callback"``, ``"diverged"``, ``"interrupted"`` or ``"constant"``.
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
    SparseBayesianMLPRegressor : The same for numbers.
    sklearn.neural_network.MLPClassifier : A dense network without uncertainty.

    Notes
    -----
    Biases are points, not distributions. A step draws the noise of every row's units
    (the local reparameterisation); on tables of up to 100 rows it draws one network for
    all, so that weights and repeated rows agree exactly. Predictions average networks
    drawn once for all rows. Unlike the authors' code a weight just given up is not
    taken back in the same exchange, a new weight starts at zero, and the budget is
    exact in every layer. Sparse weights make the fitted model small; on a CPU they do
    not make it fast.

    References
    ----------
    J. Li, Z. Miao, Q. Qiu and R. Zhang, "Training Bayesian Neural Networks with Sparse
    Subspace Variational Inference", ICLR 2024, arXiv 2402.11025.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.neural_network import SparseBayesianMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = SparseBayesianMLPClassifier((50,), max_iter=60, random_state=0)
    >>> model = model.fit(scale(X), y)
    >>> model.score(scale(X), y) > 0.95, round(model.density_, 2)
    (True, 0.1)
    """

    _parameter_constraints = {
        **BaseSparseBayesian._parameter_constraints,
        **ClassifierOptions._option_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(200, 200),
        *,
        density=0.1,
        density_distribution="uniform",
        dense_first_layer=False,
        criterion="snr_abs",
        update_every=50,
        update_fraction=0.3,
        update_end=0.75,
        prior_std=0.3,
        posterior_std_init=0.02,
        kl_weight=0.1,
        n_predict_samples=30,
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size=128,
        learning_rate_init=0.002,
        momentum=0.9,
        max_iter=100,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.density = density
        self.density_distribution = density_distribution
        self.dense_first_layer = dense_first_layer
        self.criterion = criterion
        self.update_every = update_every
        self.update_fraction = update_fraction
        self.update_end = update_end
        self.prior_std = prior_std
        self.posterior_std_init = posterior_std_init
        self.kl_weight = kl_weight
        self.n_predict_samples = n_predict_samples
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

    def predict(self, X, *, use_mean=False):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        use_mean : bool, default=False
            Use the one network of mean weights instead of the average over draws.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels, of the kind given to ``fit``.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X, use_mean=use_mean).argmax(axis=1)]

    def predict_proba(self, X, *, use_mean=False):
        """Return the probability of each class, averaged over drawn networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        use_mean : bool, default=False
            Use the one network of mean weights instead.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        if use_mean:
            return softmax(self._output(X), axis=1)
        return average_probabilities(self._draws(X, self.n_predict_samples)).mean

    def decision_function(self, X):
        """Return log probabilities, or for two classes their difference.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log odds of ``classes_[1]``, or one log probability per class.
        """
        logs = average_log_probabilities(self._draws(X, self.n_predict_samples))
        if len(self.classes_) > 2:
            return logs
        return logs[:, 0] if len(self.classes_) == 1 else logs[:, 1] - logs[:, 0]

    def sample_predictions(self, X, n_samples=100, *, random_state=None):
        """Return the probabilities of networks drawn from the posterior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_samples : int, default=100
            Number of networks.
        random_state : int, default=None
            Seed of the draws; that of the fit by default.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_rows, n_classes)
            A network's probabilities for all rows.
        """
        drawn = self._draws(X, count(n_samples), random_state)
        return np.stack([softmax(output, axis=1) for output in drawn])

    def predict_distribution(self, X):
        """Return probabilities and where their uncertainty comes from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        parts : dict of ndarray
            ``mean`` of shape (n_samples, n_classes); and in nats, one per row:
            ``total``, the entropy of the mean, ``aleatoric``, the mean entropy of the
            drawn networks, and ``epistemic``, their difference, the mutual information.
        """
        mean, entropy = average_probabilities(self._draws(X, self.n_predict_samples))
        total = -xlogy(mean, mean).sum(axis=1)
        return {
            "mean": mean,
            "aleatoric": entropy,
            "epistemic": np.maximum(total - entropy, 0.0),
            "total": total,
        }
