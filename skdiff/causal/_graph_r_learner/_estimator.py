"""Effects of a treatment on the nodes of a graph."""

from numbers import Integral

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, fit_context
from skdiff._base.inner import whole_fit
from skdiff._base.validation import check_X, require_y
from skdiff.causal._graph_r_learner._features import (
    averaging,
    check_adjacency,
    clusters,
    hop_features,
)
from skdiff.causal._r_learner._base import BaseRLearner
from skdiff.causal._r_learner._residuals import Residuals, r_loss

_PER_FOLD = 10  # clusters


class GraphRLearner(BaseRLearner):
    """R-learner whose models see means over the neighbourhood of a node.

    Use it where rows are nodes of a graph (people and contacts, shops and roads) and
    the effect on a node may depend on its neighbours' columns. Then the final stage
    decides: with a node's own columns alone it misses the effect, whatever the models
    of outcome and treatment see. Where neighbours do not matter :class:`RLearner` has
    fewer columns to learn from. It does not treat spill-over: the outcome of a node
    must not depend on the treatment of others.

    Parameters
    ----------
    outcome_model : estimator, default=None
        As in :class:`RLearner`.
    treatment_model : estimator, default=None
        As in :class:`RLearner`.
    final_model : estimator, default=None
        As in :class:`RLearner`.
    n_hops : int, default=2
        Number of steps: models see a node's columns, their mean over neighbours, the
        mean of those means, and so on.
    final_features : {"graph", "own"}, default="graph"
        Whether the final stage sees them, or a node's own columns only.
    nuisance_features : {"graph", "own"}, default="graph"
        The same for the models of outcome and treatment.
    cv : int, cross-validation splitter or iterable, default=5
        Folds. An int is the number of folds made of clusters of neighbouring nodes.
    clip : float, default=0.01
        As in :class:`RLearner`.
    trim_residual : float, default=1e-3
        As in :class:`RLearner`.
    discrete_treatment : bool or "auto", default="auto"
        As in :class:`RLearner`.
    n_bootstrap : int, default=50
        As in :class:`RLearner`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    clusters_ : ndarray of shape (n_samples,)
        Cluster of each node; standard errors take clusters for independent.
    outcome_residual_ : ndarray of shape (n_samples,)
        y less its held-out prediction.
    treatment_residual_ : ndarray of shape (n_samples,)
        Treatment less its held-out prediction.
    ate_ : float
        Average effect over the training rows.
    ate_std_ : float
        Its standard error.
    ate_interval_ : tuple of two floats
        Its interval of coverage 95 %.
    r_loss_ : float
        R-loss of the final stage on its training rows.
    final_model_ : estimator
        Fitted final model.
    outcome_models_ : list of estimators
        Outcome models, one per fold.
    treatment_models_ : list of estimators
        Treatment models, one per fold.
    treatment_classes_ : ndarray of shape (2,)
        Classes of a discrete treatment: the effect is that of the second. None
        otherwise.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    RLearner : Rows that do not hang together.

    Notes
    -----
    The features are ``X, S X, ..., S^k X`` with S the adjacency whose rows are scaled
    to sum one; a node without neighbours is its own neighbour. The adjacency is an
    argument of ``fit`` and no metadata: a fold of a search would cut its rows only.

    References
    ----------
    X. Nie and S. Wager, "Quasi-Oracle Estimation of Heterogeneous Treatment Effects",
    Biometrika 108, 2021, arXiv:1712.04912.

    F. Wu, A. Souza, T. Zhang, C. Fifty, T. Yu and K. Weinberger, "Simplifying Graph
    Convolutional Networks", ICML 2019, arXiv:1902.07153.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression, RidgeCV
    >>> from sklearn.neighbors import kneighbors_graph
    >>> from skdiff.causal import GraphRLearner
    >>> rng = np.random.default_rng(0)
    >>> graph = kneighbors_graph(rng.uniform(size=(800, 2)), 6)
    >>> X = rng.normal(size=(800, 2))
    >>> around = graph @ X[:, 0] / 6
    >>> treated = rng.random(800) < 0.5
    >>> y = X[:, 1] + treated * (1 + 5 * around) + rng.normal(size=800)
    >>> model = GraphRLearner(RidgeCV(), LogisticRegression(), random_state=0)
    >>> effect = model.fit(X, y, treatment=treated, adjacency=graph).effect(X)
    >>> bool(np.corrcoef(effect, around)[0, 1] > 0.95)
    True
    """

    __metadata_request__fit = {"adjacency": UNUSED}
    __metadata_request__predict = {"adjacency": UNUSED}
    __metadata_request__score = {"adjacency": UNUSED}

    _parameter_constraints: dict = {
        **BaseRLearner._parameter_constraints,
        "n_hops": [Interval(Integral, 0, None, closed="left")],
        "final_features": [StrOptions({"graph", "own"})],
        "nuisance_features": [StrOptions({"graph", "own"})],
    }

    def __init__(
        self,
        outcome_model=None,
        treatment_model=None,
        final_model=None,
        *,
        n_hops=2,
        final_features="graph",
        nuisance_features="graph",
        cv=5,
        clip=0.01,
        trim_residual=1e-3,
        discrete_treatment="auto",
        n_bootstrap=50,
        n_jobs=None,
        random_state=None,
    ):
        self.outcome_model = outcome_model
        self.treatment_model = treatment_model
        self.final_model = final_model
        self.n_hops = n_hops
        self.final_features = final_features
        self.nuisance_features = nuisance_features
        self.cv = cv
        self.clip = clip
        self.trim_residual = trim_residual
        self.discrete_treatment = discrete_treatment
        self.n_bootstrap = n_bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, treatment=None, adjacency=None):
        """Fit the models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Columns of the nodes.
        y : array-like of shape (n_samples,)
            Outcome.
        treatment : array-like of shape (n_samples,)
            Treatment: two classes, or numbers. Required. Effects are those of the class
            that comes second in sorted order, against the first.
        adjacency : array-like or sparse matrix of shape (n_samples, n_samples)
            Non-negative weights of the edges; row i holds the neighbours of node i.
            Required.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        require_y(self, y)
        with whole_fit(self):
            X = check_X(self, X, reset=True, dtype=np.float64)
            y = self._read_outcome(y, X)
            t, self.treatment_classes_ = self._read_treatment(treatment, X)
            graph = check_adjacency(adjacency, len(X))
            features = hop_features(X, averaging(graph), self.n_hops)
            self._check_features(features)
            self._rng = check_random_state(self.random_state)
            self.clusters_ = self._clusters_of(graph)
            splits = self._graph_splits(t, self.clusters_)
            N = features if self.nuisance_features == "graph" else X
            found = self._cross_fit(N, y, t, None, splits)
            self._learn(features, found, self.clusters_)
        return self

    def _check_features(self, features):
        if not np.all(np.isfinite(features)):
            raise ValueError("Means over neighbours are not finite. Rescale X.")

    def _clusters_of(self, graph):
        folds = self.cv if isinstance(self.cv, Integral) else 5
        return clusters(graph, min(folds * _PER_FOLD, graph.shape[0]))

    def _graph_splits(self, t, labels):
        """Folds of clusters, at random; a given splitter is taken as it is."""
        if not isinstance(self.cv, Integral):
            cv = check_cv(self.cv)
            codes = None if self.treatment_classes_ is None else t.astype(np.int64)
            return self._splits_of(cv, np.zeros(len(t)), codes, labels)
        if self.cv < 2:
            raise ValueError(f"cv must be at least 2, got {self.cv}.")
        moved = self._rng.permutation(labels.max() + 1)[labels]
        folds = moved % min(self.cv, labels.max() + 1)
        return [
            (np.flatnonzero(folds != k), np.flatnonzero(folds == k))
            for k in range(int(folds.max()) + 1)
        ]

    def _final_rows(self):
        features = super()._final_rows()
        own = self.final_features == "own"
        return features[:, : self.n_features_in_] if own else features

    def _query(self, X, adjacency):
        check_is_fitted(self)
        X = check_X(self, X, reset=False, dtype=np.float64)
        if self.final_features == "own":
            return X
        return self._features(X, adjacency)

    def _features(self, X, adjacency):
        if adjacency is None:
            features = BaseRLearner._final_rows(self)
            if not np.array_equal(X, features[:, : X.shape[1]]):
                raise ValueError(
                    "Rows other than those of fit need their adjacency: pass "
                    "adjacency=..."
                )
            return features
        graph = check_adjacency(adjacency, len(X))
        features = hop_features(X, averaging(graph), self.n_hops)
        self._check_features(features)
        return features

    def final_stage_report(self, models):
        """Compare final stages, with and without the neighbourhood.

        The residuals of ``fit`` serve all of them.

        Parameters
        ----------
        models : dict
            Final models by name.

        Returns
        -------
        frame : DataFrame
            One row per name; columns ``r_loss`` and ``r_score`` with the features of
            ``final_features``, and ``r_loss_graph`` and ``r_loss_own``.
        """
        frame = super().final_stage_report(models)
        found = Residuals(**self._residuals)
        features = BaseRLearner._final_rows(self)
        for kind, rows in (
            ("graph", features),
            ("own", features[:, : self.n_features_in_]),
        ):
            frame[f"r_loss_{kind}"] = [
                r_loss(found, self._held_out_effects(model, rows))
                for model in dict(models).values()
            ]
        return frame

    def effect(self, X, adjacency=None):
        """Return the effect on each node.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Columns of the nodes.
        adjacency : array-like or sparse matrix of shape (n_samples, n_samples), \
                default=None
            Their graph; None where they are the nodes of ``fit``.

        Returns
        -------
        effect : ndarray of shape (n_samples,)
            Change of y per unit of treatment, or from the first to the second class.
        """
        return self._effects(self._query(X, adjacency))

    def predict(self, X, adjacency=None):
        """Return the effect on each node; the same as ``effect``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Columns of the nodes.
        adjacency : array-like or sparse matrix of shape (n_samples, n_samples), \
                default=None
            Their graph; None where they are the nodes of ``fit``.

        Returns
        -------
        effect : ndarray of shape (n_samples,)
            Effects.
        """
        return self.effect(X, adjacency)

    def effect_interval(self, X, adjacency=None, level=0.95):
        """Return an interval of the effect on each node.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Columns of the nodes.
        adjacency : array-like or sparse matrix of shape (n_samples, n_samples), \
                default=None
            Their graph; None where they are the nodes of ``fit``.
        level : float, default=0.95
            Coverage.

        Returns
        -------
        lower : ndarray of shape (n_samples,)
            Lower bounds.
        upper : ndarray of shape (n_samples,)
            Upper bounds.
        """
        return self._interval(self._query(X, adjacency), level)

    def score(self, X, y, *, treatment=None, adjacency=None):
        """Return the R-score, which is 0 for the best constant effect.

        It is one less the ratio of the R-losses.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Columns of the nodes.
        y : array-like of shape (n_samples,)
            Outcome.
        treatment : array-like of shape (n_samples,)
            Treatment. Required.
        adjacency : array-like or sparse matrix of shape (n_samples, n_samples), \
                default=None
            Their graph; None where they are the nodes of ``fit``.

        Returns
        -------
        score : float
            At most 1. Models of outcome and treatment are averaged over the folds.
        """
        rows = self._query(X, adjacency)
        X = check_X(self, X, reset=False, dtype=np.float64)
        own = self.nuisance_features == "own"
        N = X if own else self._features(X, adjacency)
        return self._score(N, rows, (y, treatment), None)
