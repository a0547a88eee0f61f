"""Interaction screening with networks: interactions of any order."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from skdiff._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._base.progress import Patience, watch
from skdiff.density._base import BaseInteractions
from skdiff.density._coding import MISSING, histogram
from skdiff.density._features import features, layout
from skdiff.density._gibbs import redraw_missing, split_incomplete
from skdiff.density._graph import largest_gap, noise_bound, noise_scale
from skdiff.density._missing import cell_log_likelihood
from skdiff.density._neural_interaction._inference import (
    Network,
    expand_graph,
    influence,
    noise_factors,
)

FULL_BATCH_ROWS, MINI_BATCH = 50_000, 2000
IMPUTATION_ROUNDS, FIRST_SWEEPS, IMPUTATION_SWEEPS = 4, 10, 3
# complete rows per category from which the first network is trained on them alone
ENOUGH_ROWS = 50
CONFIDENCE = 0.05
STRENGTH_ROWS = 200  # rows at which strengths are measured


class NeuralInteractionScreening(CallbackSupportMixin, BaseInteractions):
    """Learn a table's conditional distributions, with interactions of any order.

    One network per column, or one energy for all columns, takes the place of the sums
    of products of :class:`InteractionScreening`. Use it when interactions of three and
    more columns matter and there are many rows; on few rows, or when pairs are the
    whole story, the linear model is better, faster, and its graph is easier to trust.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(15, 15)
        Number of units in each hidden layer. All networks have the same.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
default="silu"
        Activation function of the hidden layers.
    variant : {"conditional", "energy"}, default="conditional"
        One network per column, which fits each conditional best; or one network for the
        joint log-probability, whose conditionals agree with each other.
    l1_input : float, default=0.0
        L1 penalty on the first layer, which then starts at zero: inputs that do not
        pay stay out, and the graph is read off the first layer. Try 0.003.
    alpha : float, default=1e-4
        L2 penalty on the weights. On small tables more of it is needed.
    solver : {"auto", "lbfgs", "adam"}, default="auto"
        L-BFGS on the histogram of distinct rows, or Adam on batches of them; "auto"
        takes Adam beyond 50 000 distinct rows.
    learning_rate_init : float, default=0.01
        Step size of the optimiser. It falls as ``1 / (1 + step / 50000)``.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. It counts distinct rows and applies to Adam;
        ``"auto"`` is 2000.
    max_iter : int, default=500
        Maximum number of iterations. They are steps of L-BFGS, or epochs of Adam.
    tol : float, default=1e-8
        Tolerance of the stopping rule. L-BFGS stops when the loss falls by less than
        this fraction of it, Adam after ``n_iter_no_change`` epochs in which it falls by
        less.
    n_iter_no_change : int, default=10
        Number of iterations without progress before training stops. Progress is a
        better validation score with ``early_stopping``, and a better loss for Adam.
    early_stopping : bool, default=False
        Whether to stop by the score of a validation set and keep the best epoch. The
        score is the pseudo-likelihood.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``early_stopping``.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    threshold : float or "auto", default="auto"
        Strength above which a pair of columns is an edge. "auto" is where the
        strengths above the noise of independent columns fall most; with ``l1_input`` in
        the "conditional" variant, where pairs without weights in the first layer have
        no strength, that noise itself.
    categorical_features : array-like, "from_dtype" or None, default="from_dtype"
        As in :class:`InteractionScreening`.
    max_categories : int, default=30
        As in :class:`InteractionScreening`.
    n_bins : int, default=4
        As in :class:`InteractionScreening`.
    handle_unknown : {"warn", "missing", "error"}, default="warn"
        As in :class:`InteractionScreening`.
    n_imputations : int, default=5
        Completions drawn of each training row with missing cells.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``. It applies to
        training; numpy predicts.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per iteration is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial weights, the validation set, the batches, the completions of missing
        cells and :meth:`sample`.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column.
    bin_edges_ : list of ndarray or None
        Upper bounds of the bins of a binned column but the last.
    marginals_ : list of ndarray
        Weighted frequencies of the categories.
    strength_ : ndarray of shape (n_features, n_features)
        Root mean square, over training rows, of what one column does to the energies of
        the other, averaged over the two directions. It equals that of
        :class:`InteractionScreening` when all interactions are pairs.
    asymmetry_ : ndarray of shape (n_features, n_features)
        Difference between the two directions.
    input_norm_ : ndarray of shape (n_features, n_features)
        Length of the first layer's weights from column v in the network of column u.
    adjacency_ : ndarray of bool of shape (n_features, n_features)
        The graph.
    threshold_ : float
        Where it was cut.
    interactions_ : DataFrame
        Interactions of neighbours in the graph, by expansion of the networks over the
        states of up to eight neighbours a column.
    n_iter_ : int
        Iterations or epochs.
    loss_curve_ : list of float
        Loss after each.
    validation_scores_ : list of float
        Held-out scores, when rows are held out.
    stopped_ : str
        Why training ended: "converged", "max_iter", "time", "interrupted", "diverged"
        or "partial_fit".
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, when all are strings.

    See Also
    --------
    InteractionScreening : Sums of products instead of networks; convex.

    Notes
    -----
    The loss is the interaction screening objective, ``sum_u mean exp(-y_u' H_u)``, with
    ``H_u`` the output of column u's network on the contrasts of the other columns, or
    for the energy E of a row ``E`` minus its mean over the states of column u. All
    networks are trained together as one batched matrix product. The published code
    feeds category numbers to the networks; here they get contrasts.

    References
    ----------
    A. Jayakumar, A. Y. Lokhov, S. Misra and M. Vuffray, "Learning of Discrete Graphical
    Models with Neural Networks", NeurIPS 2020, arXiv 2006.11937.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.density import NeuralInteractionScreening
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, (3000, 3))
    >>> X[:, 2] = X[:, 0] ^ X[:, 1] ^ (rng.uniform(size=3000) < 0.1)
    >>> model = NeuralInteractionScreening((5,), max_iter=100, random_state=0).fit(X)
    >>> model.predict([[0, 1, 0], [1, 1, 0]], node=2)
    array([1, 0])
    """

    _parameter_constraints = {
        **BaseInteractions._parameter_constraints,
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [
            StrOptions({"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"})
        ],
        "variant": [StrOptions({"conditional", "energy"})],
        "l1_input": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"auto", "lbfgs", "adam"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "device": [str],
    }

    def __init__(
        self,
        hidden_layer_sizes=(15, 15),
        *,
        activation="silu",
        variant="conditional",
        l1_input=0.0,
        alpha=1e-4,
        solver="auto",
        learning_rate_init=0.01,
        batch_size="auto",
        max_iter=500,
        tol=1e-8,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        time_limit=None,
        threshold="auto",
        categorical_features="from_dtype",
        max_categories=30,
        n_bins=4,
        handle_unknown="warn",
        n_imputations=5,
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.variant = variant
        self.l1_input = l1_input
        self.alpha = alpha
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.threshold = threshold
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.n_bins = n_bins
        self.handle_unknown = handle_unknown
        self.n_imputations = n_imputations
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn the conditionals of a table's columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of categories; cells may be missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        hidden = self._hidden()
        learned = self._learn(X, sample_weight)
        rng = check_random_state(self.random_state)
        network = self._network([len(m) for m in learned.state["marginals_"]], hidden)
        known = {**learned.state, "_hidden_sizes": hidden}

        def attributes(flat):
            return {
                **known,
                "n_features_in_": self.n_features_in_,
                "_flat": flat,
            }

        with watch(self, X, attributes=attributes) as guard:
            state = self._learn_table(learned, network, rng, guard)
        for name in [n for n in vars(self) if n.startswith("_memory")]:
            delattr(self, name)
        vars(self).update({**known, **state})
        if self.stopped_ in ("max_iter", "time"):
            warnings.warn(
                f"NeuralInteractionScreening stopped at its limit ({self.stopped_}) "
                f"after {self.n_iter_} iterations, without converging. Increase "
                "max_iter, time_limit or alpha, loosen tol, or set "
                "early_stopping=True.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Take one epoch of Adam on these rows.

        Categories and bins are those of the first call; missing cells are filled by
        the model so far.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of categories.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        from skdiff.density._neural_interaction._module import initial

        hidden, rng = self._hidden(), check_random_state(self.random_state)
        first = not hasattr(self, "_flat")
        if first:
            learned = self._learn(X, sample_weight)
            codes, weight, state = learned.codes, learned.weight, learned.state
            network = self._network([len(m) for m in state["marginals_"]], hidden)
            flat = initial(network.shapes, rng, zero_input=self.l1_input > 0)
            memory, curve = None, []
            state = {**state, "_hidden_sizes": hidden}
        else:
            table = self._read(X, reset=False)
            weight = check_sample_weight(sample_weight, table)
            codes, weight = self._codes(X)[weight > 0], weight[weight > 0]
            network, flat = self._fitted_network(), self._flat
            memory, curve = getattr(self, "_memory", None), list(self.loss_curve_)
            state = {"marginals_": self.marginals_}
        weights, gaps = weight, codes == MISSING
        if gaps.any():
            codes, weights, gaps = split_incomplete(
                codes, weight, state["marginals_"], self.n_imputations, rng
            )
            if not first:
                model = network.model(flat)
                codes = redraw_missing(codes, gaps, model, rng, IMPUTATION_SWEEPS)
        with watch(self, X, max_iter=1) as guard:
            flat, history, memory, rows = self._train(
                (codes, weights), network, flat, rng, guard, memory, epochs=1
            )
        curve += history.losses
        state |= self._analyse(flat, rows, float(weight.sum()), network, state)
        state |= {
            "_memory": memory,
            "loss_curve_": curve,
            "validation_scores_": [],
            "n_iter_": len(curve),
            "stopped_": "partial_fit",
        }
        vars(self).update(state)
        return self

    def _network(self, sizes, hidden):
        return Network(layout(sizes), tuple(hidden), self.variant, self.activation)

    def _fitted_network(self):
        sizes = [len(labels) for labels in self.categories_]
        return self._network(sizes, self._hidden_sizes)

    def _model(self):
        return self._fitted_network().model(self._flat)

    def _hidden(self):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(isinstance(h, Integral) and h > 0 for h in sizes):
            raise ValueError(
                "hidden_layer_sizes must be positive integers. Got "
                f"{self.hidden_layer_sizes!r} instead."
            )
        return [int(h) for h in sizes]

    def _learn_table(self, learned, network, rng, guard):
        """Train, after filling gaps by draws from the model so far; analyse."""
        from skdiff.density._neural_interaction._module import initial

        codes, weight, marginals = (
            learned.codes,
            learned.weight,
            learned.state["marginals_"],
        )
        flat = initial(network.shapes, rng, zero_input=self.l1_input > 0)
        if (codes == MISSING).any():
            complete = ~(codes == MISSING).any(axis=1)
            start = codes[complete], weight[complete]
            codes, weight, gaps = split_incomplete(
                codes, weight, marginals, self.n_imputations, rng
            )
            if start[1].sum() < ENOUGH_ROWS * sum(len(m) for m in marginals):
                start = codes, weight
            for k in range(IMPUTATION_ROUNDS):
                data = (codes, weight) if k else start
                flat = self._train(data, network, flat, rng, guard)[0]
                sweeps = IMPUTATION_SWEEPS if k else FIRST_SWEEPS
                codes = redraw_missing(codes, gaps, network.model(flat), rng, sweeps)
        flat, history, _, rows = self._train((codes, weight), network, flat, rng, guard)
        total = float(learned.weight.sum())
        return {
            **self._analyse(flat, rows, total, network, learned.state),
            "n_iter_": max(1, len(history.losses)),
            "loss_curve_": history.losses,
            "validation_scores_": history.scores,
            "stopped_": guard.reason(history.stopped),
        }

    def _train(self, data, network, flat, rng, guard, memory=None, epochs=None):
        """Minimise the loss; return parameters, history, memory, distinct rows."""
        from skdiff._nn._modes import check_device, gradients
        from skdiff._nn._threads import threads_for
        from skdiff.density._neural_interaction import _module as module

        check_device(self.device)
        codes, weight = data
        held = np.zeros(len(codes), dtype=bool)
        if self.early_stopping and epochs is None and len(codes) >= 20:
            count = max(1, round(self.validation_fraction * len(codes)))
            held[rng.permutation(len(codes))[:count]] = True
        rows, counts = histogram(codes[~held], weight[~held])
        validate = None
        if held.any():
            validate = self._validator(codes[held], weight[held], network)
        patience = Patience(self.n_iter_no_change, self.tol)
        history = module.History(guard, validate, patience)
        solver = self.solver
        if solver == "auto":
            solver = "lbfgs" if len(rows) <= FULL_BATCH_ROWS else "adam"
        batch = MINI_BATCH if self.batch_size == "auto" else self.batch_size
        work = len(flat) * min(len(rows), batch if solver == "adam" else len(rows))
        steps = module.Steps(
            max_iter=self.max_iter if epochs is None else epochs,
            learning_rate=self.learning_rate_init,
            batch_size=batch,
            patience=Patience(self.n_iter_no_change, self.tol),
        )
        last = flat
        with threads_for(work), gradients():
            table = module.make_table(rows, counts, network.where, self.device)
            screening = module.Screening(
                network, alpha=self.alpha, l1_input=self.l1_input, device=self.device
            )
            with guard.interruptible(lambda: history.last is not None):
                if guard.ended is not None:
                    pass
                elif solver == "lbfgs" and epochs is None:
                    last = module.fit_lbfgs(
                        screening,
                        table,
                        flat,
                        history,
                        max_iter=self.max_iter,
                        tol=self.tol,
                    )
                else:
                    last, memory = module.fit_adam(
                        screening, table, flat, history, steps, rng, memory
                    )
        if guard.ended is not None:
            last = history.result(flat)
        if not np.isfinite(last).all():
            raise ValueError("The loss is not finite. Lower learning_rate_init.")
        return last, history, memory, (rows, counts)

    def _validator(self, codes, weight, network):
        """Mean pseudo-log-likelihood of the known cells of rows that are held out."""
        test, mass = histogram(codes, weight)

        def validate(candidate):
            logs = cell_log_likelihood(network.model(candidate), test)
            if mass.ndim == 1:
                return float(np.average(logs.sum(axis=1), weights=mass))
            return float((logs * mass).sum() / mass.max(axis=1).sum())

        return validate

    # --- what the network holds -----------------------------------------------------

    @available_if(lambda self: self.variant == "energy")
    def score_samples(self, X, *, method="marginal", order=None):
        """Unnormalised log-probability of each row, of the energy variant.

        Missing cells are summed over: the value is that of the known cells together.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        method : {"marginal", "chain"}, default="marginal"
            The joint model itself, up to one constant, or the product of conditionals
            along ``order``, which is normalised and takes one sum per column.
        order : list of int or str, default=None
            Order of all columns in a chain. None takes them as they stand.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Up to one constant; :meth:`log_marginal` is normalised.
        """
        return self._score_rows(X, method, order)

    def _analyse(self, flat, rows, total, network, state):
        """Strengths, graph and interactions of the trained network."""
        model, marginals = network.model(flat), state["marginals_"]
        last = len(rows[0]) - 1
        picked = np.unique(np.linspace(0, last, STRENGTH_ROWS).astype(int))
        F = features(rows[0][picked], network.where)
        directed = influence(model.energies, F, network.where)
        strength = (directed + directed.T) / 2
        noise = noise_bound(len(marginals), CONFIDENCE, total)
        scale = noise_scale(network.where, marginals, CONFIDENCE)
        scale = scale * noise_factors(model, *rows)
        # zeros of the first layer leave pairs without any noise; elsewhere that of a
        # network is unknown, and above that of a linear model
        sparse = self.l1_input > 0 and self.variant == "conditional"
        threshold = noise if sparse else largest_gap(strength, scale, noise)
        cut = self._cut(strength, threshold, scale)
        return {
            "_flat": flat,
            "strength_": strength,
            "asymmetry_": np.abs(directed - directed.T),
            "input_norm_": network.input_norms(flat),
            **cut,
            "_blocks": expand_graph(model, F, strength, cut["adjacency_"]),
        }

    def _list_interactions(self):
        for T, block in self._blocks.items():
            yield self._describe(T, block)
