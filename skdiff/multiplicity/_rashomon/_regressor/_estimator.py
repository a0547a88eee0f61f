"""The regressor over the set of nearly optimal linear models."""

from numbers import Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils import check_array

from skdiff._base.compat import fit_context
from skdiff._base.inner import whole_fit
from skdiff.multiplicity._rashomon._base import BaseRashomon
from skdiff.multiplicity._sets._objective import LOG_LINKS


class RashomonRegressor(RegressorMixin, BaseRashomon):
    """Find which predictions are arbitrary among equally good linear regressions.

    The same audit as :class:`RashomonClassifier` for regressions. Under squared loss
    and an L2 penalty the level set is an ellipsoid and every range has a closed form;
    Poisson, gamma and Huber losses and L1 penalties are solved by Newton's method,
    quantile regression by linear programs.

    Parameters
    ----------
    estimator : estimator, default=None
        ``Ridge``, ``RidgeCV``, ``LinearRegression``, ``Lasso``, ``LassoCV``,
        ``ElasticNet``, ``ElasticNetCV``, ``PoissonRegressor``, ``GammaRegressor``,
        ``HuberRegressor`` (at its fitted scale), ``QuantileRegressor``, ``LinearSVR``
        or ``SGDRegressor`` (by its loss), or a pipeline that ends in one;
        ``FrozenEstimator`` for a model already fitted. None is ``Ridge()``.
    epsilon : float, default=0.01
        Size of the set.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means, as in :class:`RashomonClassifier`. Likelihood ratios
        are those of Gaussian noise of unknown variance, of counts, or of gamma
        variables of estimated dispersion; other losses have none.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective or of the loss alone.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        ``"cvxpy"`` solves one convex program per row and bound; the others are the
        formula or the batched Newton method.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A row without a closed form is done when the
        residual of its optimality conditions is below it.
    max_iter : int, default=60
        Maximum number of iterations. They are Newton steps; rows that need more fall
        back to safeguarded bisection.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They are threads over blocks of
        rows.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It splits
        the rows when ``epsilon_type="cv"``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    coef_ : ndarray of shape (n_features,)
        Coefficients of the baseline.
    intercept_ : float
        Its intercept.
    objective_ : float
        The best objective: half the mean squared error (half the mean deviance, the
        mean loss) plus penalty.
    epsilon_ : float
        How far above ``objective_`` the set reaches.
    hessian_ : ndarray of shape (n_parameters, n_parameters) or None
        Second derivatives of the smooth part of the objective, intercept last. None
        for sparse tables of more than 2000 columns.
    n_iter_ : int
        Newton steps of the refinement.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    RashomonClassifier : The same for logistic regression, with decisions.
    multiplicity_report : A report in one call.

    Notes
    -----
    With Hessian ``H`` and squared loss the half-width of ``v'w`` is ``sqrt(2 eps v'
    H^-1 v)``. Poisson and gamma regressions have a logarithmic link: ranges of the
    linear predictor are exponentiated.

    References
    ----------
    J. Watson-Daniels, D. C. Parkes and B. Ustun, "Predictive Multiplicity in
    Probabilistic Classification", AAAI 2023, arXiv 2206.01131.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.multiplicity import RashomonRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = RashomonRegressor(epsilon=0.05).fit(X, y)
    >>> model.predict_range(X[:2]).round(1)
    array([[155.4, 210. ],
           [ 61.9, 120.1]])
    """

    _numeric = True

    def __init__(
        self,
        estimator=None,
        *,
        epsilon=0.01,
        epsilon_type="relative",
        level="objective",
        solver="auto",
        tol=1e-4,
        max_iter=60,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.epsilon = epsilon
        self.epsilon_type = epsilon_type
        self.level = level
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the estimator, refine it, and prepare its level set.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        with whole_fit(self):
            return self._fit(X, y, sample_weight, "regressor", Ridge)

    def _encode(self, y):
        y = np.asarray(y)
        if y.dtype.kind not in "biuf":
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return y.astype(np.float64), None

    def _response(self, f):
        if self._set.goal.loss in LOG_LINKS:
            return np.exp(f)
        return f * self._set.scaling.unit

    @property
    def _linear_response(self):
        return self._set.goal.loss not in LOG_LINKS

    def _flags(self, bounds):
        return {}

    def _check_delta(self, delta):
        if not isinstance(delta, Real) or not delta > 0:
            raise ValueError(f"delta must be > 0, got {delta!r}.")
        return delta

    def _row_loss_of(self, f, y):
        y = np.asarray(y, dtype=np.float64) / self._set.scaling.unit
        loss = self._set.level_set.problem.loss
        return loss.evaluate(f, y)[0] * self._set.loss_unit

    def _prediction_and_range(self, X):
        V = self._query(X)
        bounds = self._range(V)
        return self._response(V @ self._set.baseline), self._response(bounds)

    def predict(self, X):
        """Predict by the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Values.
        """
        return self._response(self._query(X) @ self._set.baseline)

    def predict_range(self, X):
        """Return the range of each prediction over the set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2)
            Smallest and largest prediction.
        """
        V = self._query(X)
        return self._response(self._range(V))

    def ambiguity(self, X, delta):
        """Return the proportion of rows whose prediction can move by ``delta``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float
            Change of the prediction that counts, in its units.

        Returns
        -------
        proportion : float
            Between 0 and 1.
        """
        self._check_delta(delta)
        middle, bounds = self._prediction_and_range(X)
        reach = np.maximum(bounds[:, 1] - middle, middle - bounds[:, 0])
        return float((reach >= delta).mean())
