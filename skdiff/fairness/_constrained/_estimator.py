"""Classifiers and regressors under expected constraints."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from skdiff.fairness._constrained._base import BaseConstrained


def _has(method):
    """Whether the model that was or will be fitted has a method."""

    def check(self):
        model = getattr(self, "estimator_", self.estimator)
        return model is None or hasattr(model, method)

    return check


class ConstrainedClassifier(ClassifierMixin, BaseConstrained):
    """Train a classifier under bounds on losses, rates and averages.

    Use it where a demand concerns the model itself: a loss of at most so much on
    critical rows, mean scores of groups that differ by at most so much, without the
    group at prediction. It reports the price of every constraint and how far the result
    is from optimal. Where only the rates of decisions matter and the group is known,
    :class:`EqualizedOddsPostprocessor` is simpler and better.

    Parameters
    ----------
    estimator : estimator, default=None
        What to train. :class:`~sklearn.linear_model.LogisticRegression` with an L2
        penalty, alone or at the end of a pipeline, is solved exactly, and is the
        default. Networks of this package are trained by descent and ascent in turn. Any
        other classifier with ``predict_proba`` and row weights serves constraints on
        losses.
    constraints : Constraint or list of Constraint, default=()
        The bounds.
    solver : {"auto", "cvxpy"}, default="auto"
        ``"auto"`` is Newton's method on the dual function, with a certificate;
        ``"cvxpy"`` solves the statement of a convex problem, for comparison.
    dual_step : float, default=0.1
        First step of the multipliers, in units of loss per violation; not used by
        linear models.
    max_iter : int, default=100
        Maximum number of iterations. Steps of the multipliers; a network spreads its
        own epochs over them.
    tol : float, default=1e-6
        Tolerance of the stopping rule. Bound of gap and violations of linear models;
        networks stop at 1e-3 and refits at 1e-4 at the earliest.
    temperature : float, default=0.2
        Log odds over which a smooth rate passes from 0 to 1: ``sigmoid(f /
        temperature)`` stands for the decision in training.
    select : {"last", "feasible", "mixture"}, default="last"
        Which iterate of a model that is not linear: the last one, the best that keeps
        the bounds, or the mean of the probabilities of the second half.
    on_infeasible : {"raise", "relax"}, default="raise"
        What to do when the constraints of a linear model cannot all hold. ``"relax"``
        keeps the smallest violation.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : int or bool, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It seeds
        unseeded inner models.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimator_ : estimator
        The fitted model; the last one of a mixture.
    multipliers_ : dict
        {name: multiplier}: how much of the objective one unit of the bound costs. A
        difference between more than two groups has one entry per pair, ``name[a,b]``.
    price_ : dict
        {name: -multiplier}, the derivative of the optimum in the bound.
    violations_ : dict
        {name: value - bound} on the training rows, of the model that predicts.
    true_violations_ : dict
        The same for real rates of decisions where a smooth one was trained.
    feasible_ : bool
        Whether no violation exceeds the tolerance.
    objective_ : float
        Mean log loss, and for linear models ``||w||^2 / (2 C n)``.
    dual_gap_ : float
        Upper bound of the distance of ``objective_`` to the optimum; of convex problems
        only.
    near_optimality_gap_ : float
        Sum of multipliers times violations; bounds the distance to the optimum where
        the inner minimisation is exact.
    history_ : dict
        Lists ``objective``, ``max_violation`` and ``sum_multipliers``.
    n_iter_ : int
        Number of steps of the multipliers.
    stopped_ : {"converged", "max_iter", "time", "callback", "interrupted"}
        Why the ascent ended.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    Constraint : The bounds.
    ConstrainedRegressor : The same for target values.
    EqualizedOddsPostprocessor : Thresholds for each group.

    Notes
    -----
    Constraints on losses, and on mean scores of linear models, are convex: the result
    is then optimal up to ``dual_gap_``. Smooth rates are not, and the result is a local
    solution. A mean of a softmax model of more than two classes can be constrained by
    its losses only.

    References
    ----------
    J. Elenter, L. F. O. Chamon and A. Ribeiro, "Near-Optimal Solutions of Constrained
    Learning Problems", ICLR 2024, arXiv:2403.11844.

    L. F. O. Chamon and A. Ribeiro, "Probably Approximately Correct Constrained
    Learning", NeurIPS 2020, arXiv:2006.05487.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.fairness import ConstrainedClassifier, Constraint
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> group = X[:, 0] > 13
    >>> gap = Constraint.rate_gap("score", at_most=1.0)
    >>> model = ConstrainedClassifier(constraints=[gap])
    >>> model = model.fit(scale(X[:, 1:3]), y, sensitive_features=group)
    >>> abs(model.violations_["score_gap"]) < 1e-6
    True
    """

    def _default(self):
        return LogisticRegression()

    def _read_y(self, X, y):
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        check_consistent_length(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return y, codes, len(self.classes_)

    def _after_trimming(self, codes):
        present = np.unique(codes)
        if len(present) < 2:
            raise ValueError(
                f"{type(self).__name__} needs two classes among the rows of positive "
                f"weight; there is one class only, {self.classes_[present[0]]!r}."
            )
        if len(present) < len(self.classes_):
            raise ValueError(
                f"{type(self).__name__}: a class has rows of weight zero only. Leave "
                "these rows out."
            )

    def _proba(self, X):
        return np.mean([m.predict_proba(X) for m in self._estimators], axis=0)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X):
        """Compute the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        return self._proba(self._query(X))

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        X = self._query(X)
        if len(self._estimators) == 1:
            return self.estimator_.predict(X)
        return self.classes_[self._proba(X).argmax(axis=1)]


class ConstrainedRegressor(RegressorMixin, BaseConstrained):
    """Train a regressor under bounds on losses and averages.

    Use it where a mean error on critical rows, the mean prediction, or the difference
    of mean predictions between groups must stay within a bound. It reports the price of
    every constraint and how far the result is from optimal.

    Parameters
    ----------
    estimator : estimator, default=None
        What to train. :class:`~sklearn.linear_model.Ridge`, the default, and
        :class:`~sklearn.linear_model.LinearRegression`, alone or at the end of a
        pipeline, are solved exactly. Networks of this package are trained by descent
        and ascent in turn. Any other regressor with row weights serves constraints on
        losses.
    constraints : Constraint or list of Constraint, default=()
        The bounds.
    solver : {"auto", "cvxpy"}, default="auto"
        ``"auto"`` is Newton's method on the dual function, with a certificate;
        ``"cvxpy"`` solves the statement of a convex problem, for comparison.
    dual_step : float, default=0.1
        First step of the multipliers, in units of loss per violation; not used by
        linear models.
    max_iter : int, default=100
        Maximum number of iterations. Steps of the multipliers; a network spreads its
        own epochs over them.
    tol : float, default=1e-6
        Tolerance of the stopping rule. Bound of gap and violations of linear models;
        networks stop at 1e-3 and refits at 1e-4 at the earliest, relative to the
        standard deviation of y, or to its variance for squared errors.
    temperature : float, default=0.2
        Without effect: regressors make no decisions.
    select : {"last", "feasible", "mixture"}, default="last"
        Which iterate of a model that is not linear: the last one, the best that keeps
        the bounds, or the mean prediction of the second half.
    on_infeasible : {"raise", "relax"}, default="raise"
        What to do when the constraints of a linear model cannot all hold. ``"relax"``
        keeps the smallest violation.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : int or bool, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It seeds
        unseeded inner models.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model; the last one of a mixture.
    multipliers_ : dict
        {name: multiplier}: how much of the objective one unit of the bound costs. A
        difference between more than two groups has one entry per pair, ``name[a,b]``.
    price_ : dict
        {name: -multiplier}, the derivative of the optimum in the bound.
    violations_ : dict
        {name: value - bound} on the training rows, of the model that predicts.
    true_violations_ : dict
        Empty: regressors make no decisions.
    feasible_ : bool
        Whether no violation exceeds the tolerance.
    objective_ : float
        Mean squared error, and for Ridge ``alpha / n ||w||^2``.
    dual_gap_ : float
        Upper bound of the distance of ``objective_`` to the optimum; of convex problems
        only.
    near_optimality_gap_ : float
        Sum of multipliers times violations; bounds the distance to the optimum where
        the inner minimisation is exact.
    history_ : dict
        Lists ``objective``, ``max_violation`` and ``sum_multipliers``.
    n_iter_ : int
        Number of steps of the multipliers.
    stopped_ : {"converged", "max_iter", "time", "callback", "interrupted"}
        Why the ascent ended.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    Constraint : The bounds.
    ConstrainedClassifier : The same for classes.

    Notes
    -----
    The squared error is ``(y - f)^2``, never half of it.

    References
    ----------
    J. Elenter, L. F. O. Chamon and A. Ribeiro, "Near-Optimal Solutions of Constrained
    Learning Problems", ICLR 2024, arXiv:2403.11844.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.fairness import ConstrainedRegressor, Constraint
    >>> X, y = load_diabetes(return_X_y=True)
    >>> budget = Constraint.mean_prediction(150.0)
    >>> model = ConstrainedRegressor(constraints=[budget]).fit(X, y)
    >>> float(model.predict(X).mean().round(6))
    150.0
    """

    def _default(self):
        return Ridge()

    def _read_y(self, X, y):
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(X, y)
        return y, y, 0

    def _after_trimming(self, y):
        pass

    def predict(self, X):
        """Predict the value of each row.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Values.
        """
        X = self._query(X)
        return np.mean([m.predict(X) for m in self._estimators], axis=0)
