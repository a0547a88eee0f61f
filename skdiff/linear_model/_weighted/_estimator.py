"""Linear models with a penalty per feature."""

import warnings
from numbers import Real

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import Interval, StrOptions, fit_context
from skdiff.linear_model._weighted._base import BaseWeighted, check_vector
from skdiff.linear_model._weighted._problems import (
    WeightedElasticNetProblem,
    WeightedLogisticProblem,
    WeightedRidgeProblem,
)


class WeightedRidge(RegressorMixin, BaseWeighted):
    """Ridge regression with a penalty per feature.

    Use it where features deserve different shrinkage: known nuisance columns, groups of
    different kinds, or penalties found by
    :class:`~skdiff.model_selection.GradientSearchCV`. With equal entries it is
    :class:`~sklearn.linear_model.Ridge`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Penalty of the squared coefficients; zero leaves a feature unpenalised.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    tol : float, default=1e-8
        Tolerance of the stopping rule. It is relative and applies to the iterations for
        sparse X; dense X is solved directly.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_outputs,)
        Intercept.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    skdiff.model_selection.GradientSearchCV : Finds the penalties.
    sklearn.linear_model.Ridge : One penalty for all.

    Notes
    -----
    Minimises ``||y - Xw - b||^2 + sum_j alpha_j w_j^2``, with ``sample_weight`` before
    the squares. Dense tables with more columns than rows are solved in the space of
    the rows, sparse ones by preconditioned conjugate gradients without being centred
    or densified.

    References
    ----------
    A. E. Hoerl and R. W. Kennard, "Ridge Regression: Biased Estimation for
    Nonorthogonal Problems", Technometrics, 1970, section on generalized ridge.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import WeightedRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> alpha = np.ones(10)
    >>> alpha[0] = 1e9
    >>> model = WeightedRidge(alpha).fit(X, y)
    >>> bool(abs(model.coef_[0]) < 1e-3)
    True
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(self, alpha=1.0, *, fit_intercept=True, tol=1e-8):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.tol = tol

    def __sklearn_tags__(self):
        """Several targets are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _inner_problem(self):
        """Return the training problem, unbound; a gradient search asks for it."""
        return WeightedRidgeProblem(self)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = self._rows(
            X, y, sample_weight, multi_output=True, y_numeric=True
        )
        check_vector(self.alpha, "alpha", X.shape[1], positive=False)
        problem, w, _ = self._solve(X, np.asarray(y, dtype=float), weight)
        intercept = problem.y_mean - problem.x_mean @ w
        if y.ndim == 1:
            self.coef_, self.intercept_ = w[:, 0], float(intercept[0])
        else:
            self.coef_, self.intercept_ = w.T, intercept
        return self

    def predict(self, X):
        """Predict the value of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values.
        """
        return self._check_query(X) @ self.coef_.T + self.intercept_


class WeightedElasticNet(RegressorMixin, BaseWeighted):
    """Lasso or elastic net with a penalty per feature.

    Use it for an adaptive lasso, for columns that must stay in the model (``alpha`` of
    zero), or for penalties found by :class:`~skdiff.model_selection.GradientSearchCV`.
    With equal entries it is :class:`~sklearn.linear_model.ElasticNet`, exact on its
    support.

    Parameters
    ----------
    alpha : float or array-like of shape (n_features,), default=1.0
        Penalty; zero leaves a feature unpenalised.
    l1_ratio : float, default=1.0
        Proportion of the L1 penalty, above 0; 1 is the lasso.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    tol : float, default=1e-8
        Tolerance of the stopping rule. It applies to the coordinate descent that finds
        the support where linear systems do not settle it.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    skdiff.model_selection.GradientSearchCV : Finds the penalties.
    sklearn.linear_model.ElasticNet : One penalty for all.

    Notes
    -----
    Minimises ``||y - Xw - b||^2 / (2 n) + sum_j alpha_j (l1_ratio |w_j| + (1 -
    l1_ratio) w_j^2 / 2)``, where weights of the rows are scaled to sum to n. A working
    set grows until the optimality conditions hold; on it the signs are settled by
    linear systems, so that coefficients are exact to rounding.

    References
    ----------
    H. Zou, "The Adaptive Lasso and Its Oracle Properties", JASA, 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import WeightedElasticNet
    >>> X, y = load_diabetes(return_X_y=True)
    >>> alpha = np.full(10, 1.0)
    >>> alpha[:2] = 0
    >>> model = WeightedElasticNet(alpha).fit(X, y)
    >>> np.flatnonzero(model.coef_).tolist()
    [0, 1, 2, 8]
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        "l1_ratio": [Interval(Real, 0, 1, closed="right")],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(self, alpha=1.0, l1_ratio=1.0, *, fit_intercept=True, tol=1e-8):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol

    def _inner_problem(self):
        """Return the training problem, unbound; a gradient search asks for it."""
        return WeightedElasticNetProblem(self)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = self._rows(X, y, sample_weight, y_numeric=True)
        check_vector(self.alpha, "alpha", X.shape[1], positive=False)
        problem, w, _ = self._solve(X, np.asarray(y, dtype=float), weight)
        self.coef_ = w[:, 0]
        self.intercept_ = float(problem.y_mean[0] - problem.x_mean @ self.coef_)
        return self

    def predict(self, X):
        """Predict the value of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Values.
        """
        return self._check_query(X) @ self.coef_ + self.intercept_


class WeightedLogisticRegression(ClassifierMixin, BaseWeighted):
    """Logistic regression with a penalty per feature, two classes or more.

    Use it where features deserve different shrinkage, or with penalties found by
    :class:`~skdiff.model_selection.GradientSearchCV`. With equal entries it is
    :class:`~sklearn.linear_model.LogisticRegression`.

    Parameters
    ----------
    C : float or array-like of shape (n_features,) or (n_classes, n_features), \
            default=1.0
        Inverse of the penalty, of each feature or, for three classes and more, of each
        coefficient; ``inf`` leaves it unpenalised.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.
    tol : float, default=1e-8
        Tolerance of the stopping rule. Newton steps stop when the predicted decrease is
        below ``tol**2`` times the objective.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    n_iter_ : int
        Newton steps.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    skdiff.model_selection.GradientSearchCV : Finds the penalties.
    sklearn.linear_model.LogisticRegression : One penalty for all.

    Notes
    -----
    Minimises the sum of log losses plus ``sum_j w_j^2 / (2 C_j)``, where the entries of
    a matrix ``C`` belong to those of ``coef_``; three classes and
    more have one logit each, as in scikit-learn. Classes that a line separates
    have no finite unpenalised solution: the last step is returned with a warning.

    References
    ----------
    S. le Cessie and J. C. van Houwelingen, "Ridge Estimators in Logistic Regression",
    Applied Statistics, 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.linear_model import WeightedLogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> C = np.array([1.0, 1.0, 1e-6, 1e-6])
    >>> model = WeightedLogisticRegression(C).fit(X, y)
    >>> bool(np.abs(model.coef_[:, 2:]).max() < 1e-3)
    True
    """

    _parameter_constraints: dict = {
        "C": [Interval(Real, 0, None, closed="right"), "array-like"],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "tol": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(self, C=1.0, *, fit_intercept=True, class_weight=None, tol=1e-8):
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol

    def _inner_problem(self):
        """Return the training problem, unbound; a gradient search asks for it."""
        return WeightedLogisticProblem(self)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = self._rows(X, y, sample_weight)
        y = column_or_1d(y)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                "WeightedLogisticRegression needs at least two classes; got one class: "
                f"{classes[0]!r}."
            )
        check_vector(self.C, "C", X.shape[1], positive=True, n_classes=len(classes))
        _, w, n_iter = self._solve(X, codes, weight, classes)
        if n_iter >= 100:
            warnings.warn(
                "Newton's method stopped after 100 steps. Decrease C, or scale X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        d = X.shape[1]
        self.classes_, self.n_iter_ = classes, n_iter
        self.coef_ = np.ascontiguousarray(w[:d].T)
        self.intercept_ = w[d].copy() if self.fit_intercept else np.zeros(w.shape[1])
        return self

    def decision_function(self, X):
        """Return the margin of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log odds of ``classes_[1]``, or one logit per class.
        """
        z = self._check_query(X) @ self.coef_.T + self.intercept_
        return z[:, 0] if len(self.classes_) == 2 else z

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        z = self.decision_function(X)
        codes = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return self.classes_[codes]

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one.
        """
        z = self.decision_function(X)
        if z.ndim == 1:
            return np.column_stack([expit(-z), expit(z)])
        return softmax(z, axis=1)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Logarithms.
        """
        z = self.decision_function(X)
        if z.ndim == 1:
            return np.column_stack([log_expit(-z), log_expit(z)])
        return log_softmax(z, axis=1)
