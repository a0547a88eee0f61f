"""Marginals of any subset of columns by one network, conditionals by another."""

import warnings
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from skdiff._base.progress import Patience, watch
from skdiff.density._coding import MISSING, distinct_codes
from skdiff.density._joint._base import BaseDensity
from skdiff.density._joint._chain import (
    chain_log_prob,
    draw_cells,
    every_state,
)
from skdiff.density._joint._holdout import hold_out
from skdiff.density._marginalization._energy import EnergyTarget, read_levels
from skdiff.density._marginalization._inference import (
    ChainOnly,
    MarginalNetworks,
    squared_gaps,
)
from skdiff.density._table._base import check_count

SMALL_BATCH, LARGE_BATCH, BATCHES = 256, 1024, 40
LARGEST_SPACE = 2**14  # states that are listed
CHECKED_ROWS = 500  # rows at which the consistency of a fit is measured
ENERGY_BATCH, ENERGY_ROWS = 512, 2000


class MarginalizationModel(CallbackSupportMixin, BaseDensity):
    """Learn the probability of any subset of a table's columns with two networks.

    One network gives the log-probability of any known cells in a single evaluation, the
    other the conditional of each column given any known cells. Together they score rows
    with missing cells, impute, sample in any order and compute marginals. Use it where
    :class:`LatentClassModel`, which is faster and exact, is not flexible enough: try
    that first.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(128, 128, 128)
        Number of units in each hidden layer. Layers of equal size have skip
        connections.
    alpha : float, default=5e-4
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. It applies to the conditionals, which learn rows by heart without it.
    learning_rate_init : float, default=0.005
        Step size of the optimiser. It falls to zero along half a cosine.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. "auto" is a fortieth of the rows, at least 256
        (or all rows) and at most 1024.
    max_iter : int, default=100
        Maximum number of iterations. They are epochs of the conditionals; an epoch has
        at least 20 batches. Where it sees each row four times or more, either network
        ends earlier once its loss stands still.
    marginal_max_iter : int, default=100
        Epochs of the marginals, which follow. At 0 every marginal is a product of
        conditionals.
    on_policy : float, default=0.0
        Fraction of the rows of a batch that are drawn from the model, by persistent
        chains, when the marginals are trained.
    corruption : float, default=0.3
        Fraction of these rows of which a random part of the cells is redrawn uniformly.
        Without it the marginals of improbable rows are never trained.
    smoothing : float, default=0.0
        Weight of each column's frequencies that is mixed into its conditionals.
    early_stopping : bool, default=False
        Whether to stop by the score of a validation set and keep the best epoch. It
        applies to the conditionals.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``early_stopping``.
    n_iter_no_change : int, default=10
        Number of iterations without progress before training stops. It applies with
        ``early_stopping``.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
        The conditionals have half of it at most.
    categorical_features : array-like, "from_dtype" or None, default="from_dtype"
        Columns whose every value is a category, however many: a mask, numbers or
        names; "from_dtype" takes those of a categorical dtype. Strings and booleans
        always are.
    max_categories : int, default=50
        Other columns of strings have at most this many categories: the rarest share
        one, which goes by the name of its commonest member. Other columns of whole
        numbers with more distinct values are binned.
    n_bins : int, default=10
        Bins of a column of numbers that holds fractions, or too many distinct values:
        cut at quantiles. Inside a bin the density is flat.
    handle_unknown : {"warn", "missing", "error"}, default="warn"
        Whether a category that was not there in fit has probability zero, with a
        warning (as evidence for other cells it counts as missing), is taken as
        missing, or is refused.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``. It applies to
        training; numpy predicts.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per iteration is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial weights, the batches, the masks and samples.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column, sorted; for a binned column the medians of bins.
    n_categories_ : ndarray of shape (n_features,)
        Number of categories of each column.
    bin_edges_ : list of ndarray or None
        Upper bounds of the bins but the last; None for a column that is not binned.
    marginals_ : list of ndarray
        Weighted frequencies of the categories; after :meth:`fit_energy` those of rows
        drawn from the model.
    log_likelihood_curve_ : list of float
        Estimate of the mean log-likelihood of the rows in each epoch of the
        conditionals; after :meth:`fit_energy` minus the standard deviation of the
        difference between the model's log-probability and the energy, per step.
    marginal_loss_curve_ : list of float
        Loss in each epoch of the marginals.
    validation_scores_ : list of float
        Held-out log-likelihood per row after each epoch, when rows are held out.
    consistency_error_ : float
        Root mean square of :meth:`consistency_error` on training rows.
    log_normalizer_ : float
        Estimate of the logarithm of the sum of the energy's exponentials, after
        :meth:`fit_energy`; NaN after ``fit``.
    n_iter_ : int
        Epochs of both networks, or steps of :meth:`fit_energy`.
    stopped_ : str
        Why training ended: "max_iter", "converged" (``early_stopping``, or the loss of
        a small table stood still), "time", "callback" or "interrupted".
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, when all are strings.

    See Also
    --------
    LatentClassModel : A mixture with the same methods, exact and faster.
    MarginalImputer : A transformer that fills missing cells.
    GuidedSampler : Rows with a high reward from a fitted model.

    Notes
    -----
    The conditionals are trained by the order-agnostic likelihood, then frozen, and the
    marginals f are trained to satisfy ``f(s) + log p(x_j | x_s) = f(s and j)`` for
    random s and j. ``f`` of nothing is subtracted, so that the empty set has
    probability one exactly. Other sums hold approximately: marginals of more cells may
    exceed those of fewer (``monotone=True`` limits them), and all rows together may
    have a probability a few per cent from one (:meth:`total_probability`). The
    conditionals, and products of them (``method="chain"``), sum to one exactly. Missing
    cells are never targets. A row of weight two is the same row twice.

    References
    ----------
    S. Liu, P. J. Ramadge and R. P. Adams, "Generative Marginalization Models", ICML
    2024, arXiv 2310.12920.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.density import MarginalizationModel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.integers(0, 2, (500, 3))
    >>> X[:, 2] = X[:, 0] ^ X[:, 1]
    >>> model = MarginalizationModel(
    ...     (32,), max_iter=30, marginal_max_iter=20, random_state=0
    ... ).fit(X)
    >>> model.predict([[0, 1, 0], [1, 1, 0]], 2)
    array([1, 0])
    """

    _parameter_constraints = {
        **BaseDensity._parameter_constraints,
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "marginal_max_iter": [Interval(Integral, 0, None, closed="left")],
        "on_policy": [Interval(Real, 0, 1, closed="both")],
        "corruption": [Interval(Real, 0, 1, closed="both")],
        "smoothing": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "device": [str],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128, 128, 128),
        *,
        alpha=5e-4,
        learning_rate_init=0.005,
        batch_size="auto",
        max_iter=100,
        marginal_max_iter=100,
        on_policy=0.0,
        corruption=0.3,
        smoothing=0.0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        time_limit=None,
        categorical_features="from_dtype",
        max_categories=50,
        n_bins=10,
        handle_unknown="warn",
        device="cpu",
        verbose=0,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.marginal_max_iter = marginal_max_iter
        self.on_policy = on_policy
        self.corruption = corruption
        self.smoothing = smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.time_limit = time_limit
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.n_bins = n_bins
        self.handle_unknown = handle_unknown
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn the distribution of a table's rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of categories and numbers; cells may be missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        hidden = self._hidden()
        learned = self._learn(X, sample_weight)
        rng = check_random_state(self.random_state)
        rows, weight = distinct_codes(learned.codes, learned.weight)
        known = (rows >= 0).any(axis=1)
        data = rows[known], weight[known], learned.state["marginals_"]

        def attributes(weights):
            known = {**learned.state, "n_features_in_": self.n_features_in_}
            return {**known, "_weights": weights, "_smoothing": self.smoothing}

        with watch(self, X, attributes=attributes) as guard:
            found = self._train(data, hidden, guard, rng)
        vars(self).update(
            {
                **learned.state,
                **found,
                "_smoothing": self.smoothing,
                "log_normalizer_": np.nan,
            }
        )
        some = np.unique(np.linspace(0, len(data[0]) - 1, CHECKED_ROWS).astype(int))
        self.consistency_error_ = self._consistency(data[0][some])
        if self.stopped_ == "time":
            warnings.warn(
                "MarginalizationModel stopped at its time_limit after "
                f"{self.n_iter_} epochs. Increase it, or lower max_iter and "
                "marginal_max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _hidden(self):
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not sizes or not all(isinstance(h, Integral) and h > 0 for h in sizes):
            raise ValueError(
                "hidden_layer_sizes must be positive integers, one at least. Got "
                f"{self.hidden_layer_sizes!r} instead."
            )
        return tuple(int(h) for h in sizes)

    def _settings(self, hidden, total):
        from skdiff._nn._modes import check_device
        from skdiff.density._marginalization._training import Settings

        check_device(self.device)
        batch = self.batch_size
        if batch == "auto":
            batch = int(np.clip(total / BATCHES, SMALL_BATCH, LARGE_BATCH))
            batch = min(batch, max(1, round(total)))
        return Settings(
            hidden=hidden,
            learning_rate=self.learning_rate_init,
            alpha=self.alpha,
            batch_size=batch,
            on_policy=self.on_policy,
            corruption=self.corruption,
            smoothing=self.smoothing,
            device=self.device,
        )

    def _work(self, hidden, sizes, batch):
        """Multiply-adds of a batch."""
        widths = [len(sizes), *hidden, sum(sizes)]
        return batch * sum(a * b for a, b in pairwise(widths))

    def _train(self, data, hidden, guard, rng):
        """Both stages; what has ended the first by time leaves the second its own."""
        from skdiff._nn._modes import gradients
        from skdiff._nn._threads import threads_for
        from skdiff.density._marginalization import _training as training

        rows, weight, marginals = data
        sizes = [len(m) for m in marginals]
        held = np.zeros(len(weight))
        if self.early_stopping:
            held = hold_out(weight, self.validation_fraction, rng)
        left = np.maximum(weight - held, 0.0)
        table = training.Table(rows[left > 0] + 1, left[left > 0], sizes, marginals)
        test = None
        if held.any() and left.any():
            test = training.Table(rows[held > 0] + 1, held[held > 0], sizes, marginals)
        settings = self._settings(hidden, float(weight.sum()))
        draws = training.Draws(rng)
        first = training.History(guard, Patience(self.n_iter_no_change, 0.0))
        second = training.History(guard, Patience(1, 0.0))
        end, guard.deadline = guard.deadline, self._first_deadline()
        work = self._work(hidden, sizes, settings.batch_size)
        with threads_for(work), gradients():
            with guard.interruptible(lambda: first.best is not None):
                training.train_conditional(
                    table, settings, self.max_iter, first, draws, test
                )
            if guard.ended == "time":
                guard.ended = None
            guard.deadline = end
            with guard.interruptible(lambda: True):
                if self.marginal_max_iter:
                    training.train_marginal(
                        table,
                        settings,
                        self.marginal_max_iter,
                        second,
                        draws,
                        first.best,
                    )
        converged = (first.patience.over or first.flat) and guard.ended is None
        late = end is not None and len(first.losses) < self.max_iter and not converged
        return {
            "_weights": (first.best, second.best),
            "log_likelihood_curve_": [-loss for loss in first.losses],
            "marginal_loss_curve_": second.losses,
            "validation_scores_": first.scores,
            "n_iter_": len(first.losses) + len(second.losses),
            "stopped_": guard.reason(
                "converged" if converged else "time" if late else "max_iter"
            ),
        }

    def _first_deadline(self):
        """When the conditionals have to be ready."""
        import time

        if self.time_limit is None:
            return None
        return time.monotonic() + self.time_limit / 2

    def _joint(self):
        conditional, marginal = self._weights
        networks = MarginalNetworks(
            marginal,
            conditional,
            [len(labels) for labels in self.categories_],
            self.marginals_,
            self._smoothing,
        )
        # a fit that ended before its second stage still has the conditionals
        return networks if marginal is not None else ChainOnly(networks)

    # --- checks ---------------------------------------------------------------------

    def consistency_error(self, X):
        """Root mean square by which the two networks disagree in one step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        error : float
            Of ``f(s) + log p(x_j | x_s) - f(s and j)`` in nats, over the steps of the
            order of the columns and of two random ones, the same in every call.
        """
        check_is_fitted(self)
        return self._consistency(self._codes(X))

    def _consistency(self, codes):
        total, count = squared_gaps(self._joint(), codes, self._orders(None, 3))
        return float(np.sqrt(total / max(count, 1)))

    def total_probability(self, *, n_samples=2000, random_state=None):
        """Sum of the marginals of all rows there are, which ought to be one.

        Parameters
        ----------
        n_samples : int, default=2000
            Rows drawn from the conditionals by which the sum is estimated where there
            are more than 16384 combinations of categories; otherwise it is exact.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        total : float
            Of ``exp(f(x))`` over all combinations of categories.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        sizes, joint = [len(labels) for labels in self.categories_], self._joint()
        if np.prod(sizes, dtype=float) <= LARGEST_SPACE:
            return float(np.exp(logsumexp(joint.log_marginal(every_state(sizes)))))
        orders = np.tile(np.arange(len(sizes)), (n_samples, 1))
        nothing = np.full(orders.shape, MISSING)
        rows = draw_cells(joint, nothing, orders, self._rng(random_state))
        ratio = joint.log_marginal(rows) - chain_log_prob(joint, rows, orders)
        return float(np.exp(logsumexp(ratio) - np.log(n_samples)))

    # --- energies -------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit_energy(self, fn, n_steps=2000, categories=None):
        """Learn the distribution whose log-probability is known up to a constant.

        There are no training rows: the model draws rows, and learns from what ``fn``
        returns for them.

        Parameters
        ----------
        fn : callable
            ``fn(X)`` returns the unnormalised log-probability of each row. X is an
            array, or a DataFrame where ``categories`` is a dict.
        n_steps : int, default=2000
            Gradient steps, of 512 rows each unless ``batch_size`` is a number.
        categories : list or dict, default=None
            Categories of each column: sequences of labels, or numbers of categories,
            which are then 0, 1 and so on; a dict names the columns. None takes those of
            the model fitted before.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        hidden = self._hidden()
        check_count(n_steps, "n_steps")
        if categories is None:
            check_is_fitted(self)
            if any(edges is not None for edges in self.bin_edges_):
                raise ValueError(
                    "fit_energy needs categories: columns of the fitted model are "
                    "binned, and an energy of bins is not defined."
                )
            state = {"categories_": self.categories_, "_frame": self._frame}
        else:
            state = read_levels(categories)
            self._forget()
        target = EnergyTarget(fn, state["categories_"], state["_frame"])
        rng = check_random_state(self.random_state)
        with watch(self, max_iter=n_steps, unit="Step") as guard:
            found = self._train_energy(target, hidden, n_steps, guard, rng)
        names = state.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names
        vars(self).update({**target.state(), **state, **found, "_smoothing": 0.0})
        self._finish_energy(target, rng)
        return self

    def _forget(self):
        """Drop what an earlier fit has left."""
        for name in [n for n in vars(self) if n.endswith("_") and n[0] != "_"]:
            delattr(self, name)

    def _train_energy(self, target, hidden, n_steps, guard, rng):
        from skdiff._nn._modes import gradients
        from skdiff._nn._threads import threads_for
        from skdiff.density._marginalization import _training as training

        sizes = target.sizes
        settings = self._settings(hidden, ENERGY_BATCH * BATCHES)
        if self.batch_size == "auto":
            settings = settings._replace(batch_size=ENERGY_BATCH)
        work = self._work(hidden, sizes, settings.batch_size)
        with threads_for(work), gradients():
            g, f, gaps = training.train_energy(
                target, sizes, settings, n_steps, guard, training.Draws(rng)
            )
        return {
            "_weights": (g, f),
            "log_likelihood_curve_": [-gap for gap in gaps],
            "marginal_loss_curve_": [],
            "validation_scores_": [],
            "n_iter_": len(gaps),
            "stopped_": guard.reason("max_iter"),
        }

    def _finish_energy(self, target, rng):
        """Frequencies, normaliser and consistency from rows drawn by the model."""
        joint, p = self._joint(), len(target.sizes)
        # drawn in the order in which they are scored: the normaliser is unbiased
        orders = np.tile(np.arange(p), (ENERGY_ROWS, 1))
        codes = draw_cells(joint, np.full(orders.shape, MISSING), orders, rng)
        self.marginals_ = [
            np.bincount(codes[:, u], minlength=k) / len(codes)
            for u, k in enumerate(target.sizes)
        ]
        ratio = target(codes) - chain_log_prob(joint, codes, orders)
        self.log_normalizer_ = float(logsumexp(ratio) - np.log(len(ratio)))
        self.consistency_error_ = self._consistency(codes[:CHECKED_ROWS])
