"""AnyLoss: a classifier trained on the metric it is judged by."""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skdiff._nn._estimators import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff._nn._options import ClassifierOptions
from skdiff._sklearn import Interval, StrOptions
from skdiff.neural_network._anyloss_metrics import NAMES

WARMUP = 100
FLAT = 1e-8  # below this slope no row can move


class AnyLossClassifier(ClassifierOptions, NeuralClassifierMixin, BaseNeural):
    """Train a linear model or a network on F1, G-mean or any confusion metric.

    Probabilities are pushed towards 0 and 1 by a steep sigmoid, so that their sums are
    nearly the cells of the confusion matrix and yet differentiable. The model predicts
    at the plain cut of 0.5. Use it when one fixed model must do well on a metric that
    cross-entropy does not know: a custom cost, a mixture of metrics, or a linear model
    on data that are not linear. When only the cut is in question, logistic regression
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
        Share of cross-entropy in the loss. ``"auto"`` is 0 for two classes and, for
        more, 0.5 with classes weighted alike unless ``class_weight`` says otherwise.
        At 1 the loss is plain cross-entropy.
    warmup_iter : int or "auto", default="auto"
        Steps of cross-entropy, with classes weighted alike unless ``class_weight``
        says otherwise, before the metric takes over. ``"auto"`` is 100 for linear
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
        Units of each hidden layer. Empty is a linear model.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="relu"
        Activation of the hidden layers.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float or array-like of shape (n_layers,), default=1e-3
        L2 penalty: ``alpha / 2`` times the squared weights is added to the mean loss.
        Without it, weights of separable data grow for ever. An array holds one for
        each weight matrix, from the input on: one more than there are hidden layers.
    batch_size : int or "auto", default="auto"
        Rows a step. ``"auto"`` is all rows: the exact gradient of the metric, in
        bounded memory. Smaller batches are stratified and use running rates.
    learning_rate_init : float, default=0.02
        Step size.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=500
        Epochs, warm-up included.
    tol : float, default=1e-5
        Gain in loss (or in the held-out metric) that counts as progress.
    n_iter_no_change : int, default=20
        Epochs without progress after which training stops.
    early_stopping : bool, default=False
        Hold out rows, stop by the metric on their hard predictions, and keep the best
        epoch; ties go to the better soft metric.
    validation_fraction : float, default=0.1
        Share of rows held out.
    time_limit : float, default=None
        Seconds after which training stops with the best state.
    warm_start : bool, default=False
        Continue from the last fit.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes, times ``sample_weight``.
    sam_rho : float, default=0.0
        Radius of sharpness-aware steps (Foret et al., 2021); 0.05 is usual, each step
        costs two gradients. Little is gained on small clean tables.
    spectral_decoupling : float, default=0.0
        Strength of a penalty on the squared logits (Pezeshki et al., 2021), which
        keeps one easy feature from hiding the others; set ``alpha=0`` with it.
    spectral_targets : array-like of shape (n_outputs,), default=None
        Logits that ``spectral_decoupling`` pulls to, one for two classes and else one
        a class; zeros by default.
    group_dro : bool, default=False
        Minimise the loss of the worst of the ``groups`` given to ``fit`` (Sagawa et
        al., 2020). It needs a strong ``alpha`` or few epochs to gain anything.
    group_step_size : float, default=0.01
        How fast the weights of the groups move.
    group_adjustment : float, default=0.0
        ``C`` of the adjustment ``C / sqrt(n_group)`` of each group's loss.
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
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, only without hidden layers.
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
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    ConfusionMetricLoss : The loss alone, for torch and skorch.
    sklearn.model_selection.TunedThresholdClassifierCV : Tune the cut instead.

    Notes
    -----
    ``predict_proba`` is *not calibrated*: the loss only asks on which side of 0.5 a row
    falls. Wrap the classifier in ``sklearn.calibration.CalibratedClassifierCV`` when
    probabilities matter. The metric enters by two numbers, its slopes in true and
    false positives, which the whole table shares; the gradient is therefore exact for
    any number of rows in two passes over chunks. The paper takes the rarer class as
    positive; here it is ``classes_[1]``, as everywhere in scikit-learn. Three and more
    classes, weights and mixtures are ours; there class-weighted cross-entropy
    (``bce_weight=1, class_weight="balanced"``) is the thing to beat.

    References
    ----------
    D. Han, N. Moniz and N. V. Chawla, "AnyLoss: Transforming Classification Metrics
    into Loss Functions", KDD 2024, arXiv 2405.14745.

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
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    # --- settings -------------------------------------------------------------------

    def _training(self):
        """Training parameters; the paper's where they are asked for."""
        settings = super()._training()
        if self.preset == "paper":
            paper = {
                "alpha": 0.0,
                "momentum": 0.0,
                "tol": 0.0,
                "n_iter_no_change": 10**9,
            }
            if self._hidden_sizes():
                paper |= {"solver": "adam", "learning_rate_init": 1e-3, "max_iter": 100}
            else:
                paper |= {"solver": "sgd", "learning_rate_init": 0.1, "max_iter": 1000}
            settings |= paper
        return settings

    def _batch_rows(self, X):
        if self.preset == "paper" and self._hidden_sizes():
            return max(2, round(0.05 * len(X)))
        if self.preset == "paper" or self.batch_size == "auto":
            return len(X)
        return int(min(self.batch_size, len(X)))

    def _amplification(self):
        return 73.0 if self.preset == "paper" else float(self.amplification)

    def _blend(self, n_classes):
        """Share of cross-entropy, and whether it weights classes alike."""
        if self.preset == "paper":
            return 0.0, False
        if self.bce_weight == "auto":
            alike = self.class_weight is None
            return (0.5, alike) if n_classes > 2 else (0.0, False)
        return float(self.bce_weight), False

    def _warmup(self, continued):
        if self.preset == "paper" or continued:
            return 0
        if self.warmup_iter == "auto":
            # under lopsided class weights a metric can be flat at a network's start
            plain = self._hidden_sizes() and self.class_weight is None
            return 0 if plain else WARMUP
        return int(self.warmup_iter)

    # --- hooks ----------------------------------------------------------------------

    def _n_outputs(self, encoding):
        """One logit for two classes: the log odds of the second."""
        n_classes = len(encoding["classes_"])
        return 1 if n_classes == 2 else n_classes

    def _module(self, n_in, n_out, generator):
        from skdiff.neural_network import _anyloss_module as modules

        sizes = self._hidden_sizes()
        if self.preset == "paper" and sizes:
            return modules.PaperMLP([n_in, *sizes, n_out], generator)
        if not sizes:
            return modules.ZeroLinear(n_in, n_out, generator)
        return super()._module(n_in, n_out, generator)

    def _net_class(self):
        from skdiff.neural_network._anyloss_module import AnyLossNet

        return AnyLossNet

    def _strata(self, target):
        return target

    def _encode(self, y, weight, encoding):
        """Check what depends on the number of classes, before any work."""
        target = super()._encode(y, weight, encoding)
        n_classes = len(encoding["classes_"])
        if n_classes > 1:
            from skdiff.neural_network._anyloss_module import check_metric

            check_metric(self.metric, n_classes)
        if self.cost_matrix is not None:
            shape = check_array(self.cost_matrix, input_name="cost_matrix").shape
            if shape != (n_classes, n_classes):
                raise ValueError(
                    f"cost_matrix has shape {shape}, but y has {n_classes} classes."
                )
        return target

    def _train(self, net, data, limits, validate, report):
        from skdiff._nn import _fit

        target, weight = data.y[:2]
        running = net.batch_size < len(target) or limits.one_epoch
        goal = self._objective(net.n_out, target, weight, running, limits.one_epoch)
        net.objective = goal
        options = net.criterion_.batch_loss
        if self._changes_loss():
            options.batch_loss = goal.batch_loss
        else:
            net.criterion_.batch_loss = goal.batch_loss
        net.in_chunks = not (self._changes_loss() or self.sam_rho)
        self._use_linear_steps(net, data)
        run = _fit.Run()
        warmup = min(self._warmup(limits.continued), limits.max_iter)
        if warmup:
            goal.warm = True
            first = replace(limits, max_iter=warmup, n_iter_no_change=10**9)
            _fit.run_epochs(net, data, first, None, report, run)
            goal.warm = False
        left = limits.max_iter - run.n_iter
        if run.stopped == "max_iter" and left:
            self._recentre(net, data)
            rest = replace(limits, max_iter=left)
            _fit.run_epochs(net, data, rest, validate, report, run)
        if net.linear is not None:
            net.linear.close()
            net.linear = None
        self._measure(net, data, goal, limits.one_epoch)
        return run

    def _descends(self):
        return True  # its steps are gradients of the one loss below

    def _no_gradient(self):
        if self.preset == "paper":
            return 'preset="paper" trains without weight decay'
        return super()._no_gradient()

    def _fitted_loss(self, target, weight, n_out):
        goal = self._objective(n_out, target, weight, False, False)
        loss = self._with_options(goal.batch_loss, self._option_keywords(n_out))
        # the slope of a metric counts as constant to autograd
        return loss, goal.bce_weight == 1

    def _objective(self, n_out, target, weight, running, one_epoch):
        """The loss, with the class totals of all rows seen so far."""
        import torch

        from skdiff.neural_network._anyloss_module import Metric, Objective

        n_classes = max(n_out, 2)
        counts = torch.ones_like(target, dtype=torch.float64)
        if weight is not None:
            counts = weight.double()
        masses = torch.zeros(n_classes, dtype=torch.float64, device=target.device)
        masses.index_add_(0, target, counts)
        # the metric of a group is its own: nothing to remember from batch to batch
        running = running and not self.group_dro
        rates = None
        totals = getattr(self, "_totals", None)
        if totals is not None and one_epoch:
            masses += torch.as_tensor(totals["masses"])
            rates = torch.as_tensor(totals["rates"])
        share, alike = self._blend(n_classes)
        goal = Objective(
            Metric(
                self.metric,
                beta=self.beta,
                average=self.average,
                zero_division=self.zero_division,
                cost_matrix=None
                if self.cost_matrix is None
                else np.asarray(self.cost_matrix, dtype=np.float64),
            ),
            amplification=self._amplification(),
            bce_weight=share,
            bce_factors=None,
            masses=masses,
            running=running,
            rates=rates,
            balanced_warmup=self.class_weight is None,
        )
        goal.bce_factors = goal.balance if alike else None
        return goal

    def _use_linear_steps(self, net, data):
        """Take NumPy steps where nothing needs a graph."""
        goal = net.objective
        target, weight = data.y[:2]
        plain = (
            not self._hidden_sizes()
            and net.n_out == 1
            and goal.metric.closed is not None
            and goal.bce_weight == 0
            and not goal.running
            and net.in_chunks
            and self.device == "cpu"
            and not self.net_params
            and float(goal.masses.min()) > 0
        )
        net.linear = None
        if plain:
            from skdiff.neural_network._anyloss_linear import LinearSteps

            net.linear = LinearSteps(
                data.X.numpy(),
                target.numpy(),
                None if weight is None else weight.numpy(),
                goal,
                net.optimizer_,
            )

    def _recentre(self, net, data):
        """Move the cut to the median row where no row's slope is alive.

        After a warm-up on a rare class all probabilities can lie where the amplifier
        is flat; the metric then has no gradient to follow.
        """
        import torch

        goal = net.objective
        asked_for = isinstance(self.class_weight, dict)  # a cut off the middle
        if goal.bce_weight == 1 or net.n_out != 1 or asked_for:
            return
        with torch.no_grad():
            z = net.module_(data.X)[:, 0]
            p = torch.sigmoid(z)
            a = torch.sigmoid(goal.amplification * (p - 0.5))
            slope = goal.amplification * a * (1 - a) * p * (1 - p)
            if float(slope.max()) >= FLAT:
                return
            warnings.warn(
                "No row lies where the metric has a slope; the intercept is moved to "
                "the median row. Lower amplification if training stays flat.",
                ConvergenceWarning,
                stacklevel=2,
            )
            list(net.module_.parameters())[-1].sub_(z.median())

    def _measure(self, net, data, goal, one_epoch):
        """Soft and hard metric of the training rows, and totals for partial_fit."""
        import torch

        from skdiff.neural_network._anyloss_module import amplified, confusion

        net.module_.eval()
        target, weight = data.y[:2]
        with torch.no_grad():
            parts = []
            for start in range(0, len(target), 65536):
                rows = slice(start, start + 65536)
                logits = net.module_(data.X[rows]).double()
                hard = _hard(logits)
                w = None if weight is None else weight[rows].double()
                parts.append(
                    [
                        confusion(a, target[rows], w)
                        for a in (amplified(logits, goal.amplification), hard)
                    ]
                )
            soft, hard = (torch.stack(c).sum(0) for c in zip(*parts, strict=True))
            self._measured = (
                float(goal.metric.value_and_gradient(soft)[0]),
                float(goal.metric.value_and_gradient(hard)[0]),
                {
                    "masses": goal.masses.cpu().numpy(),
                    "rates": (soft / soft.sum(1, keepdim=True).clamp(min=1e-300))
                    .cpu()
                    .numpy(),
                }
                if one_epoch
                else None,
            )

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        self.soft_metric_, self.hard_metric_, self._totals = self._measured
        del self._measured

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        self.soft_metric_ = self.hard_metric_ = 1.0
        self._totals = None
        return self

    def _validation_score(self, output, target, weight):
        """The hard metric; ties go to the soft one."""
        import torch

        from skdiff.neural_network._anyloss_module import Metric, amplified, confusion

        logits = torch.from_numpy(output).double()
        codes = torch.from_numpy(target)
        w = None if weight is None else torch.from_numpy(weight).double()
        metric = Metric(
            self.metric,
            beta=self.beta,
            average=self.average,
            zero_division=self.zero_division,
            cost_matrix=self.cost_matrix,
        )
        hard, soft = (
            metric.value_and_gradient(confusion(a, codes, w))[0]
            for a in (_hard(logits), amplified(logits, self._amplification()))
        )
        return hard + 1e-6 * soft

    # --- linear models --------------------------------------------------------------

    @property
    def coef_(self):
        """Coefficients of a linear model."""
        return self._linear("weights.0")

    @property
    def intercept_(self):
        """Intercepts of a linear model."""
        return self._linear("biases.0")

    def _linear(self, name):
        check_is_fitted(self)
        if self._hidden_sizes():
            raise AttributeError("Only a model without hidden layers is linear.")
        if self._state is None:
            shape = (1, self.n_features_in_) if name == "weights.0" else (1,)
            return np.zeros(shape)
        return self._state["arrays"][name]


def _hard(logits):
    """Predictions as one-hot rows."""
    import torch

    if logits.shape[1] == 1:
        says = (logits[:, 0] > 0).double()
        return torch.stack([1 - says, says], dim=1)
    one_hot = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1])
    return one_hot.double()
