"""The estimator of TELL: k-means as a layer, alone or on top of an autoencoder."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import ClusterMixin
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state

from skdiff._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import Patience, watch
from skdiff.cluster._tell import _lloyd as numbers
from skdiff.cluster._tell._base import ClusterLayer

COLLAPSED = 1e-3


class TELLClustering(SaveMixin, CallbackSupportMixin, ClusterMixin, ClusterLayer):
    """Cluster by a one-layer network whose weights are the centres.

    Without hidden layers it is k-means, on rows of length one by default: as a layer of
    torch, in a stream, or with soft assignments. With hidden layers the same layer sits
    on the codes of an autoencoder trained with it, and the centres are decoded into
    readable rows. To cluster a table and nothing else take
    :class:`~sklearn.cluster.KMeans`: it finds the same clusters, and the encoder does
    not beat it; the user guide has figures.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    normalize : bool, default=True
        Bring rows, or their codes, to length one, so that only directions count:
        spherical k-means. Magnitudes are then lost.
    temperature : float, default=None
        Factor of the squared distance in ``softmax(-temperature * distance ** 2)``; the
        larger, the harder. One over the median squared distance to the nearest centre
        if None.
    loss : {"hard", "expected", "logsumexp"}, default="hard"
        Inertia; its expectation under the soft assignment, which pushes rows away from
        far centres; or the log-sum-exp bound, of which soft means are the optimum.
    hidden_layer_sizes : array-like of int, default=None
        Number of units in each hidden layer. It describes the encoder, which the
        decoder mirrors. No network if None.
    latent_dim : int, default=10
        Length of the code.
    clustering_weight : float, default=0.05
        Weight of the mean cluster loss of a row beside the reconstruction error of a
        cell. The paper's code averages over rows and clusters: its 0.01 is
        ``0.01 / n_clusters`` here. Large values collapse the codes.
    reconstruction : {"mse", "bce"}, default="mse"
        Reconstruction error: squared, or cross-entropy for columns in [0, 1].
    init : {"k-means++", "random"} or array-like of shape (n_clusters, n_features), \
default="k-means++"
        Start of the centres; an array is in input units.
    n_init : int, default=4
        Starts, of which the best is kept; 1 when ``init`` is an array.
    solver : {"auto", "lloyd", "sgd"}, default="auto"
        How centres move: to the means of their rows, or in mini-batches by the weight
        of the batch in all a centre has seen. ``"auto"`` is ``"lloyd"``, but ``"sgd"``
        for ``loss="expected"``, which has no closed form. The network is always trained
        by Adam, and then ``"sgd"`` takes one step of the centres an epoch.
    max_iter : int, default=300
        Maximum number of iterations. They are Lloyd's steps, or epochs; with an
        encoder, joint epochs after ``pretrain_iter``.
    pretrain_iter : int, default=50
        Epochs of reconstruction alone before the centres are placed.
    batch_size : int, default=256
        Number of rows per gradient step. It applies to ``solver="sgd"`` and to the
        network.
    learning_rate_init : float, default=1e-3
        Step size of the optimiser. It applies to the network.
    dropout : float, default=0.0
        Fraction of cells dropped before each layer of the encoder.
    reassignment_ratio : float, default=0.01
        In mini-batches a centre that has seen less than this fraction of the rows of
        the busiest is moved to a random row.
    tol : float, default=1e-4
        Tolerance of the stopping rule. Lloyd's algorithm stops when the centres move
        less, relative to the variance of the columns; epochs stop after several that
        lower the loss by less.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. It applies to
        an encoder with ``reconstruction="mse"``; centres and decoded rows stay in input
        units.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. Where scikit-learn's k-means does the work (hard assignments,
        ``normalize=False``) the clock is read between starts.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise progress is printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial centres and weights and the order of the batches.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centres in input units: decoded when there is an encoder; of length one when
        ``normalize`` and there is none.
    latent_centers_ : ndarray of shape (n_clusters, n_latent)
        Centres among the codes; without an encoder the same as ``cluster_centers_``.
    labels_ : ndarray of int of shape (n_samples,)
        Clusters of the rows of the last ``fit`` or ``partial_fit``.
    inertia_ : float
        Sum of squared distances of their codes to the nearest centre.
    n_iter_ : int
        Lloyd steps of the best start, epochs, or batches of ``partial_fit``.
    counts_ : ndarray of shape (n_clusters,)
        Rows each centre has seen.
    temperature_ : float
        The temperature in use.
    layer_weight_ : ndarray of shape (n_clusters, n_latent)
        Weights of the layer, ``2 * temperature_ * latent_centers_``.
    layer_bias_ : ndarray of shape (n_clusters,)
        Its bias, ``-temperature_ * (latent_centers_ ** 2).sum(axis=1)``.
    stopped_ : str
        Why ``fit`` ended: ``"converged"``, ``"max_iter"``, ``"time"``, ``"callback"``
        or ``"interrupted"``; ``"partial_fit"`` after that.
    loss_curve_ : list of float or None
        Loss of each epoch of the network; None without an encoder.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    sklearn.cluster.KMeans : The same clusters, for a table alone.
    sklearn.cluster.MiniBatchKMeans : The same stream.

    Notes
    -----
    The layer computes ``W x + b``, largest for the nearest centre. The paper trains
    centres by normalised gradient steps, which never settle and leave clusters empty;
    here they move to means, in closed form or by shares, from k-means++ starts on codes
    of a pretrained encoder. Rows of zeros have no direction: with ``normalize`` they
    stay where they are and a warning is issued once. After ``partial_fit`` on a model
    with an encoder the encoder is the one of ``fit``; the first call fits it.
    ``fit`` takes no weights, because k-means++ starts from weighted rows and from
    repeated rows differ; ``partial_fit`` does.

    References
    ----------
    X. Peng, Y. Li, I. W. Tsang, H. Zhu, J. Lv and J. T. Zhou, "XAI Beyond
    Classification: Interpretable Neural Clustering", JMLR 23(6), 2022, arXiv
    1808.07292.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.cluster import TELLClustering
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = TELLClustering(3, normalize=False, random_state=0).fit(X)
    >>> round(model.inertia_, 2)
    78.85
    >>> model.predict_proba(X[:1]).round(2).max()
    np.float64(1.0)
    """

    _parameter_constraints: dict = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "normalize": ["boolean"],
        "standardize": ["boolean"],
        "temperature": [Interval(Real, 0, None, closed="neither"), None],
        "loss": [StrOptions({"hard", "expected", "logsumexp"})],
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "clustering_weight": [Interval(Real, 0, None, closed="left")],
        "reconstruction": [StrOptions({"mse", "bce"})],
        "init": [StrOptions({"k-means++", "random"}), "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"auto", "lloyd", "sgd"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "pretrain_iter": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        normalize=True,
        temperature=None,
        loss="hard",
        hidden_layer_sizes=None,
        latent_dim=10,
        clustering_weight=0.05,
        reconstruction="mse",
        init="k-means++",
        n_init=4,
        solver="auto",
        max_iter=300,
        pretrain_iter=50,
        batch_size=256,
        learning_rate_init=1e-3,
        dropout=0.0,
        reassignment_ratio=0.01,
        tol=1e-4,
        standardize=True,
        time_limit=None,
        verbose=False,
        random_state=None,
        device="cpu",
    ):
        self.n_clusters = n_clusters
        self.normalize = normalize
        self.temperature = temperature
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.latent_dim = latent_dim
        self.clustering_weight = clustering_weight
        self.reconstruction = reconstruction
        self.init = init
        self.n_init = n_init
        self.solver = solver
        self.max_iter = max_iter
        self.pretrain_iter = pretrain_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.dropout = dropout
        self.reassignment_ratio = reassignment_ratio
        self.tol = tol
        self.standardize = standardize
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self):
        """Sparse rows without an encoder; both precisions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.hidden_layer_sizes is None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the clusters of a table.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; sparse ones only without an encoder.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted clusterer.
        """
        self._fit(self._check_table(X, reset=True))
        return self

    def _fit(self, X):
        solver = self._solver()
        self._check_size(X)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        warned = self._warn_of_zeros(X)
        plain = self.hidden_layer_sizes is None
        with watch(self, X, attributes=self._centers_alone if plain else None) as guard:
            if plain:
                Z, state, curve = self._units(X), None, None
                found, temperature, counts = self._cluster(
                    Z, self._start(X), solver, rng, guard
                )
                n_iter = found.n_iter
            else:
                found, state, curve = self._fit_network(X, solver, rng, seed, guard)
                temperature, n_iter = self.temperature, len(curve)
                counts = np.bincount(found.labels, minlength=self.n_clusters) * 1.0
        self._take_over(found, temperature, state)
        self.counts_, self.n_iter_, self.loss_curve_ = counts, n_iter, curve
        self.stopped_ = guard.reason(found.stopped)
        self._seed, self._since, self._warned = seed, 0, warned
        self._warn_of_time()
        self._warn_of_collapse()

    def _solver(self):
        if self.solver == "auto":
            return "sgd" if self.loss == "expected" else "lloyd"
        if self.solver == "lloyd" and self.loss == "expected":
            raise ValueError(
                "loss='expected' has no closed-form centres: solver must be 'sgd' or "
                "'auto', got 'lloyd'."
            )
        return self.solver

    def _check_size(self, X):
        if X.shape[0] < self.n_clusters:
            raise ValueError(
                f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}."
            )

    def _start(self, X):
        """Given centres as codes, or None."""
        if isinstance(self.init, str):
            return None
        init = check_array(self.init, dtype=X.dtype, input_name="init")
        if init.shape != (self.n_clusters, X.shape[1]):
            raise ValueError(
                f"init has shape {init.shape}, which is not (n_clusters, n_features) = "
                f"{(self.n_clusters, X.shape[1])}."
            )
        return init

    def _first(self, Z, rng):
        """Centres to start from, of rows ``Z``."""
        if self.init == "random":
            rows = rng.choice(Z.shape[0], self.n_clusters, replace=False)
            picked = Z[rows]
            return picked.toarray() if sparse.issparse(picked) else picked.copy()
        with np.errstate(invalid="ignore"):
            centers, _ = kmeans_plusplus(Z, self.n_clusters, random_state=rng)
        return centers.toarray() if sparse.issparse(centers) else centers

    def _cluster(self, Z, given, solver, rng, guard):
        """The best of several starts: clusters, the temperature, rows seen."""
        if given is not None:
            given = numbers.to_unit(given) if self.normalize else given
        best = None
        for k in range(1 if given is not None else self.n_init):
            if best is not None and guard.is_over():
                break
            centers = self._first(Z, rng) if given is None else given.copy()
            with guard.interruptible(lambda: best is not None):  # noqa: B023
                run = self._run_start(Z, centers, solver, rng, guard)
                found = run[0]
                guard.write(
                    f"Start {k + 1}: {found.n_iter} iterations, loss = "
                    f"{found.value:.6g}"
                )
                if best is None or found.value < best[0].value:
                    best = run
        return best

    def _run_start(self, Z, centers, solver, rng, guard):
        """Clusters from one start, the temperature, rows seen."""
        temperature = self.temperature
        if temperature is None and self.loss != "hard":
            _, near = numbers.assign(Z, centers, numbers.row_norms(Z))
            temperature = numbers.default_temperature(near)
        how = numbers.Layer(self.loss, temperature or 1.0, self.normalize)
        if solver != "lloyd":
            run, counts = self._epochs(Z, centers, rng, how, guard)
            return run, temperature, counts
        if self.loss == "hard" and not self.normalize:
            run = self._k_means(Z, centers)
            guard.step(state=run.centers)
        else:
            tol = self.tol * numbers.spread(Z) if self.tol else 0.0
            run = numbers.lloyd(
                Z, centers, how, max_iter=self.max_iter, tol=tol, progress=guard
            )
        counts = np.bincount(run.labels, minlength=self.n_clusters) * 1.0
        return run, temperature, counts

    def _k_means(self, Z, centers):
        """The standard case, by scikit-learn's compiled kernel of the algorithm."""
        peer = KMeans(
            self.n_clusters,
            init=centers,
            n_init=1,
            max_iter=self.max_iter,
            tol=self.tol,
            algorithm="lloyd",
        )
        peer.fit(Z)
        n_iter = peer.n_iter_
        stopped = "converged" if n_iter < self.max_iter else "max_iter"
        placed = self._placed(Z, peer.cluster_centers_)
        return placed._replace(n_iter=n_iter, stopped=stopped)

    def _epochs(self, Z, centers, rng, how, guard):
        """Mini-batches until epochs no longer lower the loss."""
        n, size = Z.shape[0], min(self.batch_size, Z.shape[0])
        draws = np.random.default_rng(rng.randint(2**31 - 1))
        counts, since = np.zeros(len(centers)), 0
        patience, best = Patience(3, self.tol, relative=True), None
        with guard.interruptible(lambda: best is not None):
            for k in guard.iterations(self.max_iter):
                order = draws.permutation(n)
                for start in range(0, n, size):
                    batch = Z[order[start : start + size]]
                    centers, counts = numbers.online_step(
                        batch, centers, counts, None, how
                    )
                    centers, since = self._revive(batch, centers, counts, since, draws)
                D = numbers.squared_distances(Z, centers)
                value = numbers.loss_of(D, how.temperature, self.loss)
                over = patience.is_over(value)
                best = numbers.Clusters(
                    centers,
                    D.argmin(axis=1),
                    D.min(axis=1),
                    value,
                    k + 1,
                    "converged" if over else "max_iter",
                )
                if guard.step(state=centers) or over:
                    break
        return best, counts

    def _revive(self, batch, centers, counts, since, draws):
        """Look for dead centres once in a while."""
        since += batch.shape[0]
        if since < 10 * len(centers) and (counts > 0).all():
            return centers, since
        ratio = self.reassignment_ratio
        return numbers.reassign(batch, centers, counts, ratio, draws), 0

    def _settle(self, Z, centers):
        """Clusters of the final codes."""
        placed = self._placed(Z, centers)
        if self.loss == "expected":
            return placed
        temperature = self.temperature or numbers.default_temperature(placed.near)
        how = numbers.Layer(self.loss, temperature, self.normalize)
        tol = self.tol * numbers.spread(Z)
        return numbers.lloyd(Z, centers, how, max_iter=self.max_iter, tol=tol)

    # --- what a fit warns of --------------------------------------------------------

    def _warn_of_zeros(self, X):
        """Say once that rows of zeros have no direction."""
        if not self.normalize or self.hidden_layer_sizes is not None:
            return False
        n_zero = int((numbers.row_norms(X) == 0).sum())
        if n_zero:
            warnings.warn(
                f"X has rows of zeros ({n_zero}), which have no direction: they stay "
                "at zero. Drop them, or set normalize=False.",
                UserWarning,
                stacklevel=4,
            )
        return n_zero > 0

    def _warn_of_time(self):
        if self.stopped_ == "time":
            warnings.warn(
                f"TELLClustering reached time_limit={self.time_limit} after "
                f"{self.n_iter_} iterations; the best state so far is kept.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _warn_of_collapse(self):
        found = np.count_nonzero(np.bincount(self.labels_))
        if found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif self._state is not None and self.n_clusters > 1:
            C = self.latent_centers_
            gaps = numbers.squared_distances(C, C)[~np.eye(len(C), dtype=bool)]
            if np.sqrt(gaps.min()) < COLLAPSED:
                warnings.warn(
                    "Two centres are closer than 1e-3 among the codes, which have "
                    "collapsed. Lower clustering_weight or raise pretrain_iter.",
                    ConvergenceWarning,
                    stacklevel=4,
                )

    # --- streams --------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Move the centres by one batch.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. The first batch needs at least ``n_clusters`` of them.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: a row of weight two counts as the same row twice.

        Returns
        -------
        self : object
            The clusterer.
        """
        first = not self.__sklearn_is_fitted__()
        X = self._check_table(X, reset=first)
        weight = None
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, X)
            X, weight = X[weight > 0], weight[weight > 0]
        if first and self.hidden_layer_sizes is not None:
            self._fit(X)
            return self
        if first:
            self._solver()
            self._check_size(X)
            self._begin(X)
        elif not self._warned:
            self._warned = self._warn_of_zeros(X)
        Z = self._codes(X)
        how = numbers.Layer(self.loss, self.temperature_, self.normalize)
        centers, counts = numbers.online_step(
            Z, self.latent_centers_, self.counts_, weight, how
        )
        draws = np.random.default_rng([self._seed, self.n_iter_])
        centers, since = self._revive(Z, centers, counts, self._since, draws)
        temperature = self.temperature
        if temperature is None and self.loss != "hard":
            temperature = self.temperature_
        self._take_over(self._placed(Z, centers), temperature, self._state)
        self.counts_, self._since = counts, since
        self.stopped_ = "partial_fit"
        self.n_iter_ += 1
        return self

    def _begin(self, X):
        """Place the centres on the first batch."""
        rng = check_random_state(self.random_state)
        seed, warned = int(rng.randint(2**31 - 1)), self._warn_of_zeros(X)
        Z, given = self._units(X), self._start(X)
        if given is None:
            centers = self._first(Z, rng)
        else:
            centers = numbers.to_unit(given) if self.normalize else given
        self._take_over(self._placed(Z, centers), self.temperature, None)
        self.counts_, self.n_iter_ = np.zeros(self.n_clusters), 0
        self.loss_curve_ = None
        self._seed, self._since, self._warned = seed, 0, warned
