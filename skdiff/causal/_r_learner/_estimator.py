"""Effects of a treatment by residual on residual regression."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight, fit_context, safe_indexing
from skdiff._base.inner import check_table, whole_fit
from skdiff._base.validation import require_y
from skdiff.causal._keywords import beside
from skdiff.causal._r_learner._base import BaseRLearner
from skdiff.causal._r_learner._models._base import beside_columns


class RLearner(BaseRLearner):
    """Effect of a treatment, from row to row, with any models in three places.

    Use it where rows were not treated at random but X and W hold what decided it. One
    model learns the outcome, one the treatment, both on held-out rows; a final model
    learns how the outcome's residual varies with the treatment's. Errors of the first
    two enter only as a product. The class of the final model decides what effects can
    be found: compare several by ``final_stage_report``. Where treatment was random and
    its rate is known, a difference of means is enough for the average effect.

    Parameters
    ----------
    outcome_model : estimator, default=None
        Model of y given X and W; a classifier for an outcome of two values. By default
        boosted trees.
    treatment_model : estimator, default=None
        Model of the treatment given X and W: a classifier where it has two classes.
        By default boosted trees.
    final_model : estimator, default=None
        Model of the effect given X. By default least squares.
    cv : int, cross-validation splitter or iterable, default=5
        Folds of the cross-fitting; every row is held out once. An int makes shuffled
        folds, stratified by a discrete treatment.
    clip : float, default=0.01
        Probabilities of treatment are kept this far from 0 and 1.
    trim_residual : float, default=1e-3
        Rows whose treatment residual is below this many standard deviations are left
        out of the final stage, where they would weigh next to nothing.
    discrete_treatment : bool or "auto", default="auto"
        Whether the treatment has two classes. ``"auto"`` takes text, and two numbers
        unless ``treatment_model`` is a regressor, for classes.
    n_bootstrap : int, default=50
        Number of refits of the final stage for the intervals of a final model that is
        not least squares.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
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
    GraphRLearner : Rows that are nodes of a graph.
    LinearGMMRegressor : Where something unseen decides the treatment, and instruments
        are at hand.

    Notes
    -----
    The final stage minimises the mean of ``(v - tau(x) u)^2`` over residuals v of the
    outcome and u of the treatment, by weights ``u^2`` on targets ``v / u``. A final
    model that takes no weights is fitted on rows drawn in proportion to them. Intervals
    of a final model that is least squares, a constant, or a pipeline that ends in one,
    come from the sandwich covariance, of clusters where ``groups`` are given;
    those of other models from a bootstrap of the final stage, which knows nothing of
    their bias. With least squares ``ate_`` is the mean of ``effect``; with other final
    models it is corrected by their residuals (doubly robust).

    References
    ----------
    X. Nie and S. Wager, "Quasi-Oracle Estimation of Heterogeneous Treatment Effects",
    Biometrika 108, 2021, arXiv:1712.04912.

    P. M. Robinson, "Root-N-Consistent Semiparametric Regression", Econometrica 56,
    1988.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression, RidgeCV
    >>> from skdiff.causal import RLearner
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 3))
    >>> treated = rng.random(1000) < 1 / (1 + np.exp(-X[:, 0]))
    >>> y = X[:, 0] + treated * (1 + X[:, 1]) + rng.normal(size=1000)
    >>> model = RLearner(RidgeCV(), LogisticRegression(), random_state=0)
    >>> model.fit(X, y, treatment=treated).effect([[0, 1, 0]]).round(1)
    array([2.])
    """

    def __init__(
        self,
        outcome_model=None,
        treatment_model=None,
        final_model=None,
        *,
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
        self.cv = cv
        self.clip = clip
        self.trim_residual = trim_residual
        self.discrete_treatment = discrete_treatment
        self.n_bootstrap = n_bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, treatment=None, W=None, sample_weight=None, groups=None):
        """Fit the models.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            What the effect may depend on.
        y : array-like of shape (n_samples,)
            Outcome.
        treatment : array-like of shape (n_samples,)
            Treatment: two classes, or numbers. Required. Effects are those of the class
            that comes second in sorted order, against the first.
        W : array-like or DataFrame of shape (n_samples, n_controls), default=None
            Further columns for the models of outcome and treatment only.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in all models.
        groups : array-like of shape (n_samples,), default=None
            Clusters: kept together by the folds of an int ``cv``, and in the standard
            errors.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        require_y(self, y)
        with whole_fit(self):
            X = check_table(self, X, self._given(), reset=True)
            y = self._read_outcome(y, X)
            t, self.treatment_classes_ = self._read_treatment(treatment, X)
            W, weight, clusters = self._read_beside(X, W, sample_weight, groups)
            if weight is not None and isinstance(self.cv, Integral):
                kept = np.flatnonzero(weight > 0)
                X, y, t, weight = safe_indexing(X, kept), y[kept], t[kept], weight[kept]
                W = None if W is None else safe_indexing(W, kept)
                clusters = None if clusters is None else clusters[kept]
            self._rng = check_random_state(self.random_state)
            codes = None if self.treatment_classes_ is None else t.astype(np.int64)
            splits = self._splits(X, codes, clusters, self._rng)
            found = self._cross_fit(beside_columns(X, W), y, t, weight, splits)
            self._learn(X, found, clusters)
        return self

    def _read_beside(self, X, W, sample_weight, groups, *, reset=True):
        if W is not None:
            check_consistent_length(X, W)
            if not hasattr(W, "iloc"):
                W = beside(self, W, "W", X, ensure_2d=True)
        width = None if W is None else W.shape[1]
        if reset:
            self._n_controls = width
        elif width != self._n_controls:
            raise ValueError(
                f"W has {width} columns; the model was fitted with {self._n_controls}."
            )
        weight = (
            None if sample_weight is None else check_sample_weight(sample_weight, X)
        )
        if groups is None:
            return W, weight, None
        groups = column_or_1d(groups)
        check_consistent_length(X, groups)
        return W, weight, np.unique(groups, return_inverse=True)[1]

    def _query(self, X):
        check_is_fitted(self)
        return check_table(self, X, self._given(), reset=False)

    def effect(self, X):
        """Return the effect of each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        effect : ndarray of shape (n_samples,)
            Change of y per unit of treatment, or from the first to the second class.
        """
        return self._effects(self._query(X))

    def predict(self, X):
        """Return the effect of each row, for pipelines; the same as ``effect``.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        effect : ndarray of shape (n_samples,)
            Effects.
        """
        return self.effect(X)

    def effect_interval(self, X, level=0.95):
        """Return an interval of the effect of each row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        level : float, default=0.95
            Coverage.

        Returns
        -------
        lower : ndarray of shape (n_samples,)
            Lower bounds.
        upper : ndarray of shape (n_samples,)
            Upper bounds.
        """
        return self._interval(self._query(X), level)

    def score(self, X, y, *, treatment=None, W=None, sample_weight=None):
        """Return the R-score, which is 0 for the best constant effect.

        It is one less the ratio of the R-losses.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Outcome.
        treatment : array-like of shape (n_samples,)
            Treatment. Required.
        W : array-like or DataFrame of shape (n_samples, n_controls), default=None
            Controls, where ``fit`` had them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            At most 1; 0 is the best constant effect. Models of outcome and treatment
            are averaged over the folds.
        """
        X = self._query(X)
        W, weight, _ = self._read_beside(X, W, sample_weight, None, reset=False)
        return self._score(beside_columns(X, W), X, (y, treatment), weight)
