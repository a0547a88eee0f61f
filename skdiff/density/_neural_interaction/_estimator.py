"""Interaction screening with networks: interactions of any order."""

import sys
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, check_sample_weight, fit_context
from skdiff.density._base import BaseInteractions
from skdiff.density._coding import MISSING, histogram
from skdiff.density._features import features, layout
from skdiff.density._gibbs import (
    cell_log_likelihood,
    redraw_missing,
    split_incomplete,
)
from skdiff.density._graph import combine
from skdiff.density._interaction._solver import penalty_strength
from skdiff.density._neural_interaction._inference import (
    conditional_energies,
    expand,
    forward,
    influence,
    joint_energies,
    shapes_of,
    unpack,
)

FULL_BATCH_ROWS, MINI_BATCH = 50_000, 2000
IMPUTATION_ROUNDS, IMPUTATION_SWEEPS = 2, 3
CONFIDENCE = 0.05
# rows at which strengths are measured, and states and contexts of an expansion
STRENGTH_ROWS, EXPANSION_STATES, EXPANSION_NEIGHBOURS, CONTEXTS = 200, 1024, 8, 16


class NeuralInteractionScreening(BaseInteractions):
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
        Strength above which a pair of columns is an edge; with ``l1_input`` in the
        "conditional" variant, length of the first layer's weights. "auto" cuts where
        they fall most.
    categorical_features : array-like, "from_dtype" or None, default="from_dtype"
        As in :class:`InteractionScreening`.
    max_categories : int, default=30
        As in :class:`InteractionScreening`.
    n_bins : int, default=4
        As in :class:`InteractionScreening`.
    handle_unknown : {"error", "missing"}, default="error"
        Whether a category that was not there in fit is refused or taken as missing.
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
        handle_unknown="error",
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
        _, codes, weight, coding, marginals = self._learn(X, sample_weight)
        rng = check_random_state(self.random_state)
        where = layout([len(labels) for labels in coding.categories])
        state = self._learn_table(codes, weight, where, marginals, hidden, rng)
        state |= {
            "categories_": coding.categories,
            "bin_edges_": coding.edges,
            "_members": coding.members,
            "marginals_": marginals,
        }
        for name in [n for n in vars(self) if n.startswith("_memory")]:
            delattr(self, name)
        vars(self).update(state)
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

        hidden, state = self._hidden(), {}
        rng = check_random_state(self.random_state)
        if not hasattr(self, "_flat"):
            _, codes, weight, coding, marginals = self._learn(X, sample_weight)
            where = layout([len(labels) for labels in coding.categories])
            shapes = shapes_of(where, hidden, self.variant)
            flat, memory = initial(shapes, rng, zero_input=self.l1_input > 0), None
            state = {
                "categories_": coding.categories,
                "bin_edges_": coding.edges,
                "_members": coding.members,
                "marginals_": marginals,
                "_hidden_sizes": list(hidden),
            }
            curve = []
        else:
            table = self._read(X, reset=False)
            weight = check_sample_weight(sample_weight, table)
            codes = self._codes(X)[weight > 0]
            weight = weight[weight > 0]
            where, marginals = self._layout(), self.marginals_
            flat, memory = self._flat, getattr(self, "_memory", None)
            curve = list(self.loss_curve_)
        weights, gaps = weight, codes == MISSING
        if gaps.any():
            codes, weights, gaps = split_incomplete(
                codes, weight, marginals, self.n_imputations, rng
            )
        if gaps.any() and not state:
            codes = redraw_missing(
                codes, gaps, self._energies, where, rng, IMPUTATION_SWEEPS
            )
        flat, memory, progress, rows = self._train(
            codes, weights, where, marginals, hidden, flat, rng, memory, epochs=1
        )
        state |= self._analyse(
            flat, rows, float(weight.sum()), where, marginals, hidden
        )
        curve += progress.loss_curve
        state |= {
            "_memory": memory,
            "loss_curve_": curve,
            "validation_scores_": [],
            "n_iter_": len(curve),
            "stopped_": "partial_fit",
        }
        vars(self).update(state)
        return self

    def _hidden(self):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(isinstance(h, Integral) and h > 0 for h in sizes):
            raise ValueError(
                "hidden_layer_sizes must be positive integers. Got "
                f"{self.hidden_layer_sizes!r} instead."
            )
        return [int(h) for h in sizes]

    def _learn_table(self, codes, weight, where, marginals, hidden, rng):
        """Train, after filling gaps by draws from the model so far; analyse."""
        from skdiff.density._neural_interaction._module import initial

        total = float(weight.sum())
        shapes = shapes_of(where, hidden, self.variant)
        flat = initial(shapes, rng, zero_input=self.l1_input > 0)
        if (codes == MISSING).any():
            codes, weight, gaps = split_incomplete(
                codes, weight, marginals, self.n_imputations, rng
            )
            for _ in range(IMPUTATION_ROUNDS):
                flat = self._train(codes, weight, where, marginals, hidden, flat, rng)[
                    0
                ]
                codes = redraw_missing(
                    codes,
                    gaps,
                    self._energy_function(flat, where, hidden),
                    where,
                    rng,
                    IMPUTATION_SWEEPS,
                )
        flat, _, progress, rows = self._train(
            codes, weight, where, marginals, hidden, flat, rng
        )
        if progress.stopped in ("max_iter", "time"):
            warnings.warn(
                f"NeuralInteractionScreening stopped after {len(progress.loss_curve)} "
                "iterations without converging. Increase max_iter or alpha, loosen "
                "tol, or set early_stopping=True.",
                ConvergenceWarning,
                stacklevel=3,
            )
        state = self._analyse(flat, rows, total, where, marginals, hidden)
        return state | {
            "n_iter_": max(1, len(progress.loss_curve)),
            "loss_curve_": progress.loss_curve,
            "validation_scores_": progress.scores,
            "stopped_": progress.stopped,
            "_hidden_sizes": list(hidden),
        }

    def _train(
        self,
        codes,
        weight,
        where,
        marginals,
        hidden,
        flat,
        rng,
        memory=None,
        epochs=None,
    ):
        """Minimise the screening loss; return parameters, memory, progress, rows."""
        from skdiff._nn._threads import threads_for
        from skdiff.density._neural_interaction import _module as module

        held = np.zeros(len(codes), dtype=bool)
        if self.early_stopping and epochs is None and len(codes) >= 20:
            count = max(1, round(self.validation_fraction * len(codes)))
            held[rng.permutation(len(codes))[:count]] = True
        rows, counts = histogram(codes[~held], weight[~held])
        table = module.make_table(rows, counts, where, self.device)
        screening = module.Screening(
            shapes_of(where, hidden, self.variant),
            where,
            variant=self.variant,
            activation=self.activation,
            alpha=self.alpha,
            l1_input=self.l1_input,
            device=self.device,
        )
        validate = None
        if held.any():
            seen = weight[held] if weight.ndim == 1 else weight[held].max(axis=1)
            validate = self._validator(codes[held], seen, where, hidden)
        progress = module.Progress(
            validate,
            patience=self.n_iter_no_change,
            tol=self.tol,
            time_limit=self.time_limit,
            write=sys.stdout.write if self.verbose else None,
        )
        solver = self.solver
        if solver == "auto":
            solver = "lbfgs" if len(rows) <= FULL_BATCH_ROWS else "adam"
        batch = MINI_BATCH if self.batch_size == "auto" else self.batch_size
        work = len(flat) * min(len(rows), batch if solver == "adam" else len(rows))
        try:
            with threads_for(work):
                if solver == "lbfgs" and epochs is None:
                    flat = module.fit_lbfgs(
                        screening,
                        table,
                        flat,
                        progress,
                        max_iter=self.max_iter,
                        tol=self.tol,
                    )
                else:
                    flat, memory = module.fit_adam(
                        screening,
                        table,
                        flat,
                        progress,
                        max_iter=self.max_iter if epochs is None else epochs,
                        learning_rate=self.learning_rate_init,
                        batch_size=batch,
                        tol=self.tol,
                        rng=rng,
                        memory=memory,
                    )
        except KeyboardInterrupt:
            if progress.last is None:  # nothing to keep: plainly unfitted
                raise
            flat, progress.stopped = progress.answer(flat), "interrupted"
            warnings.warn(
                "The fit was interrupted; its best state is kept.", stacklevel=4
            )
        if not np.isfinite(flat).all():
            raise ValueError("The loss is not finite. Lower learning_rate_init.")
        return flat, memory, progress, rows

    def _validator(self, codes, weight, where, hidden):
        """Mean pseudo-log-likelihood of held-out rows, as a function of parameters."""
        test, mass = histogram(codes, weight)
        F = features(test, where)

        def validate(candidate):
            energies = self._energy_function(candidate, where, hidden)
            logs = cell_log_likelihood(test, F, energies).sum(axis=1)
            return float(np.average(logs, weights=mass))

        return validate

    # --- what the network says ------------------------------------------------------

    def _energy_function(self, flat, where, hidden):
        layers = unpack(flat, shapes_of(where, hidden, self.variant))
        chosen = joint_energies if self.variant == "energy" else conditional_energies
        return lambda F, u: chosen(F, u, layers, self.activation, where)

    def _energies(self, F, u):
        where = self._layout()
        return self._energy_function(self._flat, where, self._hidden_sizes)(F, u)

    @available_if(lambda self: self.variant == "energy")
    def score_samples(self, X):
        """Unnormalised log-probability of each row, of the energy variant.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Up to one constant.
        """
        check_is_fitted(self)
        where = self._layout()
        layers = unpack(self._flat, shapes_of(where, self._hidden_sizes, self.variant))
        F = self._features(self._codes(X))
        return forward(F, layers, self.activation)[:, 0]

    def _analyse(self, flat, rows, total, where, marginals, hidden):
        """Strengths, graph and interactions of the trained network."""
        energies = self._energy_function(flat, where, hidden)
        picked = np.unique(np.linspace(0, len(rows) - 1, STRENGTH_ROWS).astype(int))
        F = features(rows[picked], where)
        directed = influence(energies, F, where)
        strength = (directed + directed.T) / 2
        norms = self._input_norms(flat, where, hidden)
        selecting = self.l1_input > 0 and self.variant == "conditional"
        noise = penalty_strength(np.sqrt(2), CONFIDENCE, len(marginals), total)
        cut = self._cut(
            (norms + norms.T) / 2 if selecting else strength,
            where,
            marginals,
            penalty=0.0,
            noise=noise,
            confidence=CONFIDENCE,
        )
        return {
            "_flat": flat,
            "strength_": strength,
            "asymmetry_": np.abs(directed - directed.T),
            "input_norm_": norms,
            **cut,
            "_blocks": self._expansions(
                energies, F, strength, cut["adjacency_"], where
            ),
        }

    def _input_norms(self, flat, where, hidden):
        """Length of the first layer's weights from column v into the network of u."""
        W = unpack(flat, shapes_of(where, hidden, self.variant))[0]
        p = len(where.spans)
        out = np.zeros((p, p))
        for v, span in enumerate(where.spans):
            part = W[..., span, :]
            out[:, v] = np.sqrt(np.sum(part**2, axis=(-2, -1)))
        np.fill_diagonal(out, 0.0)
        return out

    def _expansions(self, energies, F, strength, adjacency, where):
        """Interactions of each column with its strongest neighbours."""
        gathered = {}
        for u in range(len(where.spans)):
            if not where.bases[u].shape[1]:
                continue
            ranked = np.argsort(-strength[u], kind="stable")
            neighbours, states = [], 1
            for v in ranked[adjacency[u][ranked]][:EXPANSION_NEIGHBOURS]:
                states *= len(where.bases[v])
                if states > EXPANSION_STATES:
                    break
                neighbours.append(int(v))
            found = expand(energies, u, neighbours, F[:CONTEXTS], where)
            for T, block in found.items():
                gathered.setdefault(T, []).append(block)
        return {
            T: combine(blocks, "mean")
            for T, blocks in sorted(gathered.items())
            if len(T) > 1 and len(blocks) == len(T)
        }

    def _list_interactions(self):
        for T, block in self._blocks.items():
            yield self._describe(T, block)
