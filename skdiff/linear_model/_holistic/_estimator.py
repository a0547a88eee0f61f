"""Linear models trained on the holistic robust loss."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.utils.metaestimators import available_if

from skdiff._base.compat import Interval, Options, StrOptions, fit_context
from skdiff._convex._solve import warn_unless_converged
from skdiff.linear_model._holistic._problem import HolisticProblem
from skdiff.linear_model._holistic._solver import fit
from skdiff.linear_model._robust._base import (
    RESCALE,
    LinearClassifier,
    LinearRegressor,
    standard_units,
)

# of the variance of each column, so that solutions are unique and finite
_ANCHOR = 1e-9


def _is_logistic(estimator):
    return estimator.loss == "logistic"


class _Holistic:
    """Fit of both."""

    _parameter_constraints: dict = {
        "poisoning": [Interval(Real, 0, 1, closed="both")],
        "statistical_radius": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "evasion_radius": [Interval(Real, 0, None, closed="left")],
        "norm": [Options(Real, {2, np.inf})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", "cvxpy"})],
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def _learn(self, X, y, weight, unit=1.0, stretch=1.0):
        """Fit on targets in ``unit`` of the loss; return coefficients and weights."""
        share, centre = weight / weight.sum(), self._centre(X, weight)
        A = self._design(X - centre)
        auto = isinstance(self.statistical_radius, str)
        radius = 3.0 / weight.sum() if auto else float(self.statistical_radius)
        mean = share @ A
        spread = share @ (A - mean) ** 2
        if not np.all(np.isfinite(spread)):
            raise ValueError(RESCALE)
        anchor = _ANCHOR * spread
        anchor[X.shape[1] :] = 0.0
        ridge = self._ridge(X.shape[1]) * stretch
        problem = HolisticProblem(
            A,
            y,
            share,
            self.loss,
            float(self.poisoning),
            radius,
            float(self.evasion_radius),
            float(self.norm),
            ridge + anchor,
            X.shape[1],
        )
        with np.errstate(all="ignore"):
            found = fit(problem, self.solver, self.tol, self.max_iter)
        if not np.all(np.isfinite(found.x)):
            raise ValueError(RESCALE)
        warn_unless_converged(self, found)
        self._warn_if_constant(A @ found.x)
        extra = float(anchor @ found.x**2 / 2)
        self.robust_objective_ = unit * problem.robust(found.x)
        self.objective_ = unit * float(found.objective - extra)
        self.dual_gap_ = unit * float(found.gap + extra)
        self.n_iter_ = max(int(found.n_iter), 1)
        return self._uncentred(found.x, centre), problem.weights(found.x)

    def _warn_if_constant(self, scores):
        if len(scores) > 1 and np.ptp(scores) <= 1e-6:
            warnings.warn(
                "The fitted scores are constant: under these radii no coefficients are "
                "better than none. Decrease poisoning, statistical_radius or "
                "evasion_radius.",
                UserWarning,
                stacklevel=4,
            )

    def _on_all_rows(self, weights, sample_weight):
        """Weights of the rows that counted, zeros for the others."""
        if sample_weight is None:
            return weights
        kept = np.asarray(sample_weight, dtype=float) > 0
        full = np.zeros(len(kept))
        full[kept] = weights
        return full


class HolisticRobustClassifier(_Holistic, LinearClassifier):
    """Linear classifier for poisoned, few and attacked rows.

    Minimises the worst mean loss when a fraction of the rows is replaced by the worst
    one, the distribution is a Kullback-Leibler ball around them, and every row is moved
    within a ball. The value is a certificate: it bounds the loss under such attacks.

    Parameters
    ----------
    loss : {"logistic", "hinge", "squared_hinge"}, default="logistic"
        Loss of a margin.
    poisoning : float, default=0.01
        Fraction of the rows that may be replaced by the worst one.
    statistical_radius : float or "auto", default="auto"
        Kullback-Leibler radius; ``"auto"`` is 3 over the sum of the weights.
    evasion_radius : float, default=0.0
        Radius of the ball each row may be moved in, in the units of X.
    norm : {2, inf}, default=2
        Norm of that ball.
    alpha : float, default=0.0
        L2 penalty: ``alpha / 2`` times the sum of squared coefficients is added.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    solver : {"auto", "cvxpy"}, default="auto"
        An interior point method, with other solvers and the statement in cvxpy where it
        stops short of a proof; or that statement alone.
    tol : float, default=1e-7
        Tolerance of the stopping rule. It is that of the gap, relative to objectives
        above one.
    max_iter : int, default=500
        Maximum number of iterations.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels.
    coef_ : ndarray of shape (1, n_features)
        Coefficients.
    intercept_ : ndarray of shape (1,)
        Intercept.
    robust_objective_ : float
        Holistic loss of all training rows at their worst evasion, without the penalty.
    worst_case_weights_ : ndarray of shape (n_samples,)
        Weights of the training rows that attain it.
    objective_ : float
        Holistic loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum, by duality; with
        cvxpy by the cone solver's own dual value.
    n_iter_ : int
        Newton steps.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    HolisticRobustRegressor : The same for values.
    skdiff.metrics.holistic_robust_loss : The loss alone.
    skdiff.neural_network.HolisticRobustLoss : The loss for networks.

    Notes
    -----
    An attack within a ball lowers every margin by the radius times the dual norm of the
    coefficients, so that the worst evasion of a linear model is exact. A ridge of 1e-9
    times the variance of each column keeps solutions unique and finite.

    References
    ----------
    A. Bennouna, R. Lucas and B. Van Parys, "Certified Robust Neural Networks:
    Generalization and Corruption Resistance", ICML 2023, arXiv:2303.02251.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.linear_model import HolisticRobustClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = HolisticRobustClassifier(alpha=0.01).fit(scale(X[:, :5]), y)
    >>> round(model.robust_objective_, 2), bool(model.dual_gap_ < 1e-6)
    (0.26, True)
    """

    _parameter_constraints: dict = {
        "loss": [StrOptions({"logistic", "hinge", "squared_hinge"})],
        **_Holistic._parameter_constraints,
    }

    def __init__(
        self,
        loss="logistic",
        *,
        poisoning=0.01,
        statistical_radius="auto",
        evasion_radius=0.0,
        norm=2,
        alpha=0.0,
        fit_intercept=True,
        solver="auto",
        tol=1e-7,
        max_iter=500,
    ):
        self.loss = loss
        self.poisoning = poisoning
        self.statistical_radius = statistical_radius
        self.evasion_radius = evasion_radius
        self.norm = norm
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter

    def __sklearn_tags__(self):
        """Two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels of two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, codes, weight, classes = self._table(X, y, sample_weight)
        if len(classes) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                "multiclass."
            )
        w, worst = self._learn(X, 2.0 * codes - 1, weight)
        self.coef_, self.intercept_ = self._split(w, X.shape[1])
        self.worst_case_weights_ = self._on_all_rows(worst, sample_weight)
        self.classes_ = classes
        return self

    @available_if(_is_logistic)
    def predict_proba(self, X):
        """Return the probability of each class, with the logistic loss.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Rows sum to one.
        """
        return self._proba(X)

    @available_if(_is_logistic)
    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, 2)
            Logarithms.
        """
        return self._log_proba(X)


class HolisticRobustRegressor(_Holistic, LinearRegressor):
    """Linear regression for poisoned, few and attacked rows.

    Minimises the worst mean loss when a fraction of the rows is replaced by the worst
    one, the distribution is a Kullback-Leibler ball around them, and every row is moved
    within a ball.

    Parameters
    ----------
    loss : {"squared", "absolute"}, default="squared"
        Loss of a residual.
    poisoning : float, default=0.01
        Fraction of the rows that may be replaced by the worst one.
    statistical_radius : float or "auto", default="auto"
        Kullback-Leibler radius; ``"auto"`` is 3 over the sum of the weights.
    evasion_radius : float, default=0.0
        Radius of the ball each row may be moved in, in the units of X.
    norm : {2, inf}, default=2
        Norm of that ball.
    alpha : float, default=0.0
        L2 penalty: ``alpha / 2`` times the sum of squared coefficients is added.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    solver : {"auto", "cvxpy"}, default="auto"
        As in :class:`HolisticRobustClassifier`.
    tol : float, default=1e-7
        Tolerance of the stopping rule. It is that of the gap, in units of the variance
        or the standard deviation of y.
    max_iter : int, default=500
        Maximum number of iterations.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    robust_objective_ : float
        Holistic loss of all training rows at their worst evasion, without the penalty.
    worst_case_weights_ : ndarray of shape (n_samples,)
        Weights of the training rows that attain it.
    objective_ : float
        Holistic loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum, by duality; with
        cvxpy by the cone solver's own dual value.
    n_iter_ : int
        Newton steps.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    HolisticRobustClassifier : The same for labels.
    sklearn.linear_model.HuberRegressor : Ignores outliers; this one fears them.

    Notes
    -----
    The worst rows weigh more here, not less: outliers pull the fit towards them. For
    data that are contaminated already and a clean test set, use a Huber loss.

    References
    ----------
    A. Bennouna, R. Lucas and B. Van Parys, "Certified Robust Neural Networks:
    Generalization and Corruption Resistance", ICML 2023, arXiv:2303.02251.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import HolisticRobustRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = HolisticRobustRegressor().fit(X, y)
    >>> bool(model.robust_objective_ > ((y - model.predict(X)) ** 2).mean())
    True
    """

    _parameter_constraints: dict = {
        "loss": [StrOptions({"squared", "absolute"})],
        **_Holistic._parameter_constraints,
    }

    def __init__(
        self,
        loss="squared",
        *,
        poisoning=0.01,
        statistical_radius="auto",
        evasion_radius=0.0,
        norm=2,
        alpha=0.0,
        fit_intercept=True,
        solver="auto",
        tol=1e-7,
        max_iter=500,
    ):
        self.loss = loss
        self.poisoning = poisoning
        self.statistical_radius = statistical_radius
        self.evasion_radius = evasion_radius
        self.norm = norm
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = self._table(X, y, sample_weight)
        mean, scale = standard_units(y, weight, self.fit_intercept)
        squared = self.loss == "squared"
        unit = scale**2 if squared else scale
        w, worst = self._learn(
            X, (y - mean) / scale, weight, unit, 1.0 if squared else scale
        )
        self._keep(scale * w, X.shape[1])
        if self.fit_intercept:
            self.intercept_ += mean
        self.worst_case_weights_ = self._on_all_rows(worst, sample_weight)
        return self
