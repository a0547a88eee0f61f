"""AnyLoss: a classifier trained on the metric it is judged by."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions
from skdiff._nn._base import BaseNeural
from skdiff._nn._options import ClassifierOptions
from skdiff.neural_network._anyloss._base import BaseAnyLoss
from skdiff.neural_network._anyloss._metrics import NAMES


class AnyLossClassifier(BaseAnyLoss):
    """Train a linear model or a network on F1, G-mean or any confusion metric.

    Probabilities are pushed towards 0 and 1 by a steep sigmoid, so that their sums are
    nearly the cells of the confusion matrix and yet differentiable. The model predicts
    at the threshold 0.5. Use it when one fixed model must do well on a metric that
    cross-entropy does not know: a custom cost, a mixture of metrics, or a linear model
    on data that are not linear. When only the threshold matters, logistic regression
    under ``TunedThresholdClassifierCV`` does about as well and should be tried first.

    Parameters
    ----------
    metric : str, callable or dict, default="f1"
        What to maximise: ``"accuracy"``, ``"balanced_accuracy"``, ``"gmean"``,
        ``"f1"``, ``"fbeta"``, ``"jaccard"``, ``"mcc"``, ``"kappa"`` or
        ``"quadratic_kappa"``; a callable ``m(tn, fp, fn, tp)`` or ``m(C)`` of torch
        operations, higher is better; or a dict of metrics and their weights. With two
        classes the positive one is ``classes_[1]``.
    beta : float, default=1.0
        Weight of recall in ``"fbeta"``.
    average : {"macro", "weighted", "micro"}, default="macro"
        Average of F-measure and Jaccard index over three and more classes.
    amplification : float, default=10.0
        Steepness ``L`` of the sigmoid. Values from 4 to 73 give about the same model.
    bce_weight : float or "auto", default="auto"
        Weight of cross-entropy in the loss. ``"auto"`` is 0 for two classes and, for
        more, 0.5 with classes weighted alike unless ``class_weight`` is set.
        At 1 the loss is cross-entropy.
    warmup_iter : int or "auto", default="auto"
        Steps of cross-entropy, with classes weighted alike unless ``class_weight``
        is set, before the metric takes over. ``"auto"`` is 100 for linear
        models and with ``class_weight``, 0 for other networks and warm starts.
    cost_matrix : array-like of shape (n_classes, n_classes), default=None
        Cost of predicting the column's class for the row's; replaces ``metric``.
    zero_division : float, default=0.0
        Value of an F-measure or Jaccard index whose denominator is zero.
    preset : {"paper"} or None, default=None
        ``"paper"`` trains as in the paper and overrides the other training
        parameters: a linear model from zero by 1000 full-batch gradient steps of 0.1
        with ``amplification=73``; with hidden layers sigmoid units behind batch
        normalisation by Adam, 100 epochs of batches of 5 % of the rows.
    hidden_layer_sizes : array-like of int, default=()
        Number of units in each hidden layer. Empty is a linear model.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation function of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float or array-like of shape (n_layers,), default=1e-3
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. Without it the weights of separable data diverge. An array holds one value
        per weight matrix, from the input on: one more than there are hidden layers.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is all rows: the exact gradient of
        the metric, in bounded memory. Smaller batches are stratified and use running
        rates.
    learning_rate_init : float, default=0.02
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=500
        Maximum number of iterations. One iteration is an epoch; warm-up counts.
    tol : float, default=1e-5
        Tolerance of the stopping rule. A smaller gain in the loss, or in the metric on
        the validation set, is no progress.
    n_iter_no_change : int, default=20
        Number of iterations without progress before training stops.
    early_stopping : bool, default=False
        Whether to stop by the score of a validation set and keep the best epoch. The
        score is the metric of the predicted classes; ties go to the better soft metric.
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
        costs two gradients. Little is gained on small clean data sets.
    spectral_decoupling : float, default=0.0
        Penalty on the squared logits (Pezeshki et al., 2021), which keeps one easy
        feature from hiding the others. Set ``alpha=0`` with it.
    spectral_targets : array-like of shape (n_outputs,), default=None
        Logits towards which ``spectral_decoupling`` pulls; zeros by default. There is
        one for two classes and else one per class.
    group_dro : bool, default=False
        Whether to minimise the loss of the worst of the ``groups`` given to ``fit``
        (Sagawa et al., 2020). A gain needs a large ``alpha`` or few epochs.
    group_step_size : float, default=0.01
        Step size of the group weights.
    group_adjustment : float, default=0.0
        ``C`` in the adjustment ``C / sqrt(n_group)`` of each group's loss.
    mixup : float, default=0.0
        Shape ``a`` of the law ``Beta(a, a)`` by which pairs of rows of a batch and
        their labels are mixed (Zhang et al., 2018); 0 is off, 1 is usual. Probabilities
        become less certain. Set ``bce_weight=1`` with it. Without ``early_stopping``
        all of ``max_iter`` is run, as the loss of mixed rows is random.
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
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients in the units of X, only without hidden layers.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts, only without hidden layers.
    soft_metric_ : float
        The metric of the soft confusion matrix of the training rows.
    hard_metric_ : float
        The metric of their predictions.
    net_ : skorch.NeuralNet or None
        The network; None when y has one class.
    loss_ : float
        Loss after the last epoch.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_ : list of float or None
        Metric of the held-out rows after each epoch, with ``early_stopping``.
    groups_ : ndarray of shape (n_groups,) or None
        Labels of the groups; None when ``fit`` was given none.
    group_losses_ : ndarray of shape (n_groups,) or None
        Loss of each group of the training rows.
    group_weights_ : ndarray of shape (n_groups,) or None
        Final weights of the groups; None without ``group_dro``.
    worst_group_score_ : float or None
        Lowest metric of a group of the training rows.
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
    ConfusionMetricLoss : The loss alone, for torch and skorch.
    sklearn.model_selection.TunedThresholdClassifierCV : Tune the threshold instead.

    Notes
    -----
    ``predict_proba`` is *not calibrated*: the loss only depends on which side of 0.5 a
    row falls. Wrap the classifier in ``sklearn.calibration.CalibratedClassifierCV``
    when probabilities matter. The metric enters by two numbers, its slopes in true and
    false positives, which the whole table shares; the gradient is therefore exact for
    any number of rows in two passes over chunks. The paper takes the rarer class as
    positive; here it is ``classes_[1]``, as everywhere in scikit-learn. Three and more
    classes, weights and mixtures are ours; there class-weighted cross-entropy
    (``bce_weight=1, class_weight="balanced"``) is the thing to beat.

    References
    ----------
    D. Han, N. Moniz and N. V. Chawla, "AnyLoss: Transforming Classification Metrics
    into Loss Functions", KDD 2024, arXiv 2405.14745.

    H. Zhang, M. Cisse, Y. N. Dauphin and D. Lopez-Paz, "mixup: Beyond Empirical Risk
    Minimization", ICLR 2018, arXiv 1710.09412.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.metrics import f1_score
    >>> from skdiff.neural_network import AnyLossClassifier
    >>> X, y = make_classification(600, weights=[0.9], class_sep=0.8, random_state=0)
    >>> model = AnyLossClassifier("f1", random_state=0).fit(X, y)
    >>> f1_score(y, model.predict(X)) > 0.6
    True
    """

    _parameter_constraints = {
        **BaseNeural._parameter_constraints,
        **ClassifierOptions._option_constraints,
        "metric": [StrOptions(set(NAMES)), callable, dict],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "average": [StrOptions({"macro", "weighted", "micro"})],
        "amplification": [Interval(Real, 0, None, closed="neither")],
        "bce_weight": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "warmup_iter": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "cost_matrix": ["array-like", None],
        "zero_division": [Interval(Real, 0, 1, closed="both")],
        "preset": [StrOptions({"paper"}), None],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        metric="f1",
        *,
        beta=1.0,
        average="macro",
        amplification=10.0,
        bce_weight="auto",
        warmup_iter="auto",
        cost_matrix=None,
        zero_division=0.0,
        preset=None,
        hidden_layer_sizes=(),
        activation="relu",
        solver="adam",
        alpha=1e-3,
        batch_size="auto",
        learning_rate_init=0.02,
        momentum=0.9,
        max_iter=500,
        tol=1e-5,
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
        mixup=0.0,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.metric = metric
        self.beta = beta
        self.average = average
        self.amplification = amplification
        self.bce_weight = bce_weight
        self.warmup_iter = warmup_iter
        self.cost_matrix = cost_matrix
        self.zero_division = zero_division
        self.preset = preset
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
        self.mixup = mixup
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    # --- linear models --------------------------------------------------------------

    @property
    def coef_(self):
        """Coefficients of a linear model."""
        return self._linear()[0]

    @property
    def intercept_(self):
        """Intercepts of a linear model."""
        return self._linear()[1]

    def _linear(self):
        """Coefficients and intercepts in the units of X."""
        check_is_fitted(self)
        if self._hidden_sizes():
            raise AttributeError("Only a model without hidden layers is linear.")
        if self._state is None:
            return np.zeros((1, self.n_features_in_)), np.zeros(1)
        arrays = self._state["arrays"]
        coef = arrays["weights.0"] / self.scale_.astype(arrays["weights.0"].dtype)
        return coef, arrays["biases.0"] - coef @ self.mean_.astype(coef.dtype)
