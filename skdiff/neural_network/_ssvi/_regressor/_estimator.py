"""SparseBayesianMLPRegressor: values and their uncertainty on a budget of weights."""

from numbers import Real

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions
from skdiff._nn._mixins import NeuralRegressorMixin
from skdiff._nn._options import RegressorOptions
from skdiff.neural_network._ssvi._averages import average_values, mixture_quantile
from skdiff.neural_network._ssvi._base import BaseSparseBayesian, count


class SparseBayesianMLPRegressor(
    RegressorOptions, NeuralRegressorMixin, BaseSparseBayesian
):
    """Predict numbers and their uncertainty by a network on a budget of weights.

    Use it for predictive intervals from a small model. A Gaussian process is better on
    a few hundred rows, a conformal wrapper gives intervals with a guarantee around any
    model.

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
    noise : {"homoscedastic", "heteroscedastic"} or float, default="homoscedastic"
        Standard deviation of the targets around the network: one that is learned, one
        that the network predicts for each row, or a given one in units of y.
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
    sam_rho : float, default=0.0
        Radius of sharpness-aware steps (Foret et al., 2021); 0.05 is usual. Each step
        costs two gradients.
    regmix : dict, default=None
        Mix every row with one of its nearest neighbours, for instance ``{"k": 4}``; see
        :class:`LipschitzMLPRegressor`.
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
    net_ : skorch.NeuralNet
        The network.
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
        ``"time"``, ``"callback"``, ``"diverged"``, ``"interrupted"``.
    mean_ : ndarray of shape (n_features,)
        What is subtracted from each column.
    scale_ : ndarray of shape (n_features,)
        What each column is divided by.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    noise_ : ndarray of shape (n_outputs,) or None
        Standard deviation of the noise in units of y; None if it depends on the row.
    regmix_k_ : int or None
        Neighbours that rows were mixed with; None without ``regmix``.
    n_outputs_ : int
        Number of targets.

    See Also
    --------
    SparseBayesianMLPClassifier : The same for classes.
    sklearn.gaussian_process.GaussianProcessRegressor : Better on few rows.

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
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.neural_network import SparseBayesianMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SparseBayesianMLPRegressor((50,), max_iter=40, random_state=0)
    >>> low, high = model.fit(scale(X), y).predict_interval(scale(X), 0.9).T
    >>> bool(0.8 < ((low <= y) & (y <= high)).mean() < 0.98)
    True
    """

    _parameter_constraints = {
        **BaseSparseBayesian._parameter_constraints,
        **RegressorOptions._option_constraints,
        "noise": [
            StrOptions({"homoscedastic", "heteroscedastic"}),
            Interval(Real, 0, None, closed="neither"),
        ],
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
        noise="homoscedastic",
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
        self.noise = noise
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

    # --- noise ------------------------------------------------------------------------

    def _n_targets(self, encoding):
        return encoding["n_outputs_"]

    def _n_outputs(self, encoding):
        """Means, then the logarithms of the noise's deviations where it is learned."""
        learned = isinstance(self.noise, str)
        return self._n_targets(encoding) * (2 if learned else 1)

    def _n_noise(self, n_out):
        return n_out // 2 if self.noise == "homoscedastic" else 0

    def _encode(self, y, weight, encoding):
        target = super()._encode(y, weight, encoding)
        self._noise = None
        if not isinstance(self.noise, str):
            scale = encoding["_y_scale"]
            self._noise = self.noise / np.where(scale > 0, scale, 1.0)
        return target

    def _row_loss(self, output, target):
        import torch

        q = target.shape[1]
        if self._noise is None:
            log_std = output[:, q:]
        else:
            log_std = torch.from_numpy(np.log(self._noise)).to(output)
        scaled = (target - output[:, :q]) * torch.exp(-log_std)
        return (scaled.square() / 2 + log_std).sum(dim=1)

    def _validation_score(self, output, target, weight):
        mean = output[:, : target.shape[1]]
        return super()._validation_score(mean, target, weight)

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        if self.noise == "heteroscedastic":
            self.noise_ = None
        elif self.noise == "homoscedastic":
            learned = net.module_.log_noise.detach().double().exp().cpu().numpy()
            self.noise_ = learned * self._y_scale
        else:
            self.noise_ = np.full(self.n_outputs_, float(self.noise))

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        noise = 0.0 if isinstance(self.noise, str) else float(self.noise)
        self.noise_ = np.full(self.n_outputs_, noise)
        return self

    # --- predictions ------------------------------------------------------------------

    def _parts(self, X, n_samples, random_state=None):
        """Yield values and deviations of the noise (n, n_outputs), in units of y."""
        check_is_fitted(self)
        q = self.n_outputs_
        for raw in self._draws(X, n_samples, random_state):
            scale = self._y_scale.astype(raw.dtype, copy=False)
            values = raw[:, :q] * scale + self._y_mean.astype(raw.dtype, copy=False)
            if raw.shape[1] > q:
                yield values, np.exp(raw[:, q:]) * scale
            else:
                yield values, np.broadcast_to(self.noise_.astype(raw.dtype), raw.shape)

    def _values(self, output):
        return super()._values(output[:, : self.n_outputs_])

    def _shaped(self, values):
        return values[..., 0] if self._one_column else values

    def predict(self, X, *, return_std=False, use_mean=False):
        """Predict the value of each row, averaged over drawn networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Also return the standard deviation of the prediction, noise included.
        use_mean : bool, default=False
            Use the one network of mean weights instead of the average over draws.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values in the units of the training targets.
        std : ndarray of the same shape
            Only with ``return_std``.
        """
        if use_mean and not return_std:
            return self._values(self._output(X))
        average = average_values(self._parts(X, self.n_predict_samples))
        mean = self._shaped(average.mean)
        if not return_std:
            return mean
        if use_mean:
            mean = self._values(self._output(X))
        return mean, self._shaped(np.sqrt(average.epistemic + average.aleatoric))

    def sample_predictions(self, X, n_samples=100, *, random_state=None):
        """Return the values of networks drawn from the posterior, without noise.

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
        y : ndarray of shape (n_samples, n_rows) or (n_samples, n_rows, n_outputs)
            A network's values for all rows.
        """
        parts = self._parts(X, count(n_samples), random_state)
        return self._shaped(np.stack([values for values, _ in parts]))

    def predict_distribution(self, X):
        """Return means and variances, and where the variance comes from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        parts : dict of ndarray
            ``mean``, and the variances ``aleatoric`` (noise), ``epistemic`` (between
            drawn networks) and ``total``, their sum; each of the shape of ``predict``.
        """
        average = average_values(self._parts(X, self.n_predict_samples))
        parts = {
            "mean": average.mean,
            "aleatoric": average.aleatoric,
            "epistemic": average.epistemic,
            "total": average.aleatoric + average.epistemic,
        }
        return {name: self._shaped(part) for name, part in parts.items()}

    def predict_interval(self, X, coverage=0.9):
        """Return central intervals of the predictive distribution.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        coverage : float, default=0.9
            Probability inside, by the model; held-out coverage can differ.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            Lower and upper bounds: quantiles of the mixture of drawn networks' normals.
        """
        check_is_fitted(self)
        check_scalar(
            coverage,
            "coverage",
            Real,
            min_val=0,
            max_val=1,
            include_boundaries="neither",
        )
        parts = list(self._parts(X, self.n_predict_samples))
        means, stds = (np.stack(part) for part in zip(*parts, strict=True))
        tail = (1 - coverage) / 2
        bounds = [mixture_quantile(means, stds, level) for level in (tail, 1 - tail)]
        return self._shaped(np.stack(bounds)).transpose(
            *range(1, 2 if self._one_column else 3), 0
        )
