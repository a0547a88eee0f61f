"""Estimators over the set of nearly optimal linear models."""

from numbers import Real

import numpy as np
from scipy.special import expit, logit
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from skdiff._sklearn import Interval, fit_context
from skdiff.multiplicity import _linear_models as linear
from skdiff.multiplicity._base import BaseRashomon
from skdiff.multiplicity._measures import AbstentionMixin


class RashomonClassifier(AbstentionMixin, ClassifierMixin, BaseRashomon):
    """Tell which predictions are arbitrary among equally good logistic models.

    The Rashomon set holds every linear model whose training objective is within a
    tolerance of the best one. Nothing in the data speaks against any of them, yet they
    disagree about some rows. This estimator gives the exact range of every probability,
    decision and coefficient over the whole set. Use it to audit a fitted model before
    its decisions are acted upon. A confidence interval answers another question (a new
    sample), and refits with other seeds or bootstraps see only a part of the set.

    Parameters
    ----------
    estimator : estimator, default=None
        ``LogisticRegression`` or ``LogisticRegressionCV`` with L2 or no penalty, or a
        pipeline that ends in one; ``FrozenEstimator`` for a model already fitted. None
        is ``LogisticRegression()``. Its solution is polished to full accuracy.
    epsilon : float, default=0.01
        Size of the set: larger sets hold more models and give wider ranges.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means: a share of the best objective; an amount of it; one
        minus the level of a joint (``"lr"``) or single-coefficient (``"profile"``)
        likelihood-ratio region; or a number of standard errors of the five-fold
        cross-validated loss.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective, or of the loss alone: all
        models whose loss is at most that of the estimator plus the tolerance. The
        second set is centred at the minimiser of the loss.
    threshold : float, default=0.5
        Probability of ``classes_[1]`` above which it is predicted.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        ``"cvxpy"`` solves a convex program a row and side, a referee that is hundreds
        of times slower; the others are the batched Newton method.
    tol : float, default=1e-4
        Residual of the optimality conditions at which a row is done. The reported ends
        are of second order in it: 1e-4 gives about eight digits of the width.
    max_iter : int, default=60
        Newton steps before a row takes the slow and sure way.
    n_jobs : int or None, default=None
        Threads over blocks of rows.
    random_state : int, RandomState instance or None, default=None
        Splits the rows when ``epsilon_type="cv"``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    classes_ : ndarray of shape (2,)
        Labels.
    coef_ : ndarray of shape (1, n_features)
        Coefficients of the baseline, the polished optimum.
    intercept_ : ndarray of shape (1,)
        Its intercept.
    objective_ : float
        The best objective (with ``level="loss"`` the best loss): mean log loss plus
        penalty.
    epsilon_ : float
        How far above ``objective_`` the set reaches.
    hessian_ : ndarray of shape (n_parameters, n_parameters)
        Second derivatives of the objective at its minimum, intercept last.
    n_iter_ : int
        Newton steps of the polish.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    RashomonRegressor : The same for ridge regression and least squares.
    multiplicity_report : A report in one call.

    Notes
    -----
    The largest ``v'w`` over the set solves ``grad L(w) = mu v``, ``L(w) = L* + eps``.
    All rows are solved together by Newton's method on ``(w, mu)`` in coordinates where
    the Hessian at the optimum is the identity, from a third-order start; reported is
    the Lagrangian's value. The paper searches a grid of target probabilities instead,
    which gives inner bounds. The training rows are stored, as the questions need them.
    Coefficients are those of the linear model, after the steps of a pipeline.

    References
    ----------
    J. Watson-Daniels, D. C. Parkes and B. Ustun, "Predictive Multiplicity in
    Probabilistic Classification", AAAI 2023, arXiv 2206.01131.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.multiplicity import RashomonClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> model = RashomonClassifier(pipeline, epsilon=0.01)
    >>> int(model.fit(X, y).conflicts(X).sum())
    16
    """

    _numeric = False
    _parameter_constraints = {
        **BaseRashomon._parameter_constraints,
        "threshold": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        epsilon=0.01,
        epsilon_type="relative",
        level="objective",
        threshold=0.5,
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
        self.threshold = threshold
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    # the inner estimator checks its own parameters
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the estimator, polish it, and prepare its level set.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
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
        return self._fit(X, y, sample_weight, "classifier", LogisticRegression)

    def _encode(self, y):
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{kind}."
            )
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) == 1:
            raise ValueError(
                f"y has one class only, {classes[0]!r}: there is nothing to disagree "
                f"about (n_samples = {len(y)})."
            )
        return codes.astype(np.float64), classes

    def _response(self, f):
        return expit(f)

    def _shares(self, bounds):
        return {"conflict_ratio": self._on_both_sides(bounds, self.threshold)}

    def _row_loss_of(self, f, y):
        y = column_or_1d(y)
        if unknown := set(np.unique(y).tolist()) - set(self.classes_.tolist()):
            raise ValueError(f"y has labels {sorted(unknown)} not seen in fit.")
        codes = (y == self.classes_[1]).astype(np.float64)
        return np.logaddexp(0, f) - codes * f

    def _cut(self):
        return logit(self.threshold)

    def _check_delta(self, delta):
        if delta is not None and (not isinstance(delta, Real) or not 0 < delta <= 1):
            raise ValueError(f"delta must be in (0, 1], got {delta!r}.")
        return delta

    def _on_both_sides(self, bounds, threshold):
        cut = logit(threshold)  # predict says classes_[1] strictly above it
        return (bounds[:, 0] <= cut) & (bounds[:, 1] > cut)

    def _prediction_and_range(self, X):
        V = self._query(X)
        return expit(V @ self._baseline), expit(self._range(V))

    def decision_function(self, X):
        """Return the log odds of ``classes_[1]`` under the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Log odds.
        """
        return self._query(X) @ self._baseline

    def predict_proba(self, X):
        """Return the probabilities of the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Columns follow ``classes_``.
        """
        f = self.decision_function(X)
        return np.column_stack([expit(-f), expit(f)])

    def predict(self, X, abstain=False, abstain_label=None):
        """Predict labels by the baseline, or only where all models agree.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        abstain : bool, default=False
            Whether to withhold the label of rows on which the set disagrees: those of
            which :meth:`conflicts` is true.
        abstain_label : object, default=None
            The sentinel that stands for a withheld label. Take one that is no label.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels; of dtype object with ``abstain=True``.
        """
        codes = (self.decision_function(X) > logit(self.threshold)).astype(int)
        labels = self.classes_[codes]
        if not abstain:
            return labels
        labels = labels.astype(object)
        labels[self.conflicts(X)] = abstain_label
        return labels

    def predict_proba_range(self, X):
        """Return the range of the probability of ``classes_[1]``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2)
            Smallest and largest probability over the set.
        """
        return expit(self.decision_range(X))

    def conflicts(self, X, threshold=None):
        """Tell for which rows both labels are predicted by some model of the set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        threshold : float, default=None
            Another threshold than the constructor's.

        Returns
        -------
        conflicts : ndarray of bool of shape (n_samples,)
            True where the label is arbitrary.
        """
        threshold = self.threshold if threshold is None else threshold
        if not isinstance(threshold, Real) or not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold!r}.")
        return self._on_both_sides(self.decision_range(X), threshold)

    def ambiguity(self, X, delta=None):
        """Return the share of rows on which the set disagrees.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float, default=None
            Count rows whose probability can move by at least this; rows whose label
            can change if None.

        Returns
        -------
        share : float
            Between 0 and 1.
        """
        if delta is None:
            return float(self.conflicts(X).mean())
        self._check_delta(delta)
        p, bounds = self._prediction_and_range(X)
        return float((np.maximum(bounds[:, 1] - p, p - bounds[:, 0]) >= delta).mean())

    def __sklearn_tags__(self):
        """Tell scikit-learn that the target is binary."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class RashomonRegressor(RegressorMixin, BaseRashomon):
    """Tell which predictions are arbitrary among equally good linear regressions.

    The same audit as :class:`RashomonClassifier` for squared loss. The level set is an
    ellipsoid and every range has a closed form.

    Parameters
    ----------
    estimator : estimator, default=None
        ``Ridge``, ``RidgeCV`` or ``LinearRegression``, or a pipeline that ends in one;
        ``FrozenEstimator`` for a model already fitted. None is ``Ridge()``.
    epsilon : float, default=0.01
        Size of the set.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means, as in :class:`RashomonClassifier`. Likelihood ratios
        are those of Gaussian noise of unknown variance.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective or of the loss alone.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        ``"cvxpy"`` solves a convex program a row and side; the others are the formula.
    tol : float, default=1e-4
        Kept for the losses without a closed form.
    max_iter : int, default=60
        Kept for the losses without a closed form.
    n_jobs : int or None, default=None
        Threads over blocks of rows.
    random_state : int, RandomState instance or None, default=None
        Splits the rows when ``epsilon_type="cv"``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    coef_ : ndarray of shape (n_features,)
        Coefficients of the baseline.
    intercept_ : float
        Its intercept.
    objective_ : float
        The best objective: half the mean squared error plus penalty.
    epsilon_ : float
        How far above ``objective_`` the set reaches.
    hessian_ : ndarray of shape (n_parameters, n_parameters)
        Second derivatives of the objective, intercept last.
    n_iter_ : int
        Newton steps of the polish.
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
    With Hessian ``H`` the half-width of ``v'w`` is ``sqrt(2 eps v' H^-1 v)``.

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
        """Fit the estimator, polish it, and prepare its level set.

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
        return self._fit(X, y, sample_weight, "regressor", Ridge)

    def _encode(self, y):
        y = np.asarray(y)
        if y.dtype.kind not in "biuf":
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return y.astype(np.float64), None

    def _response(self, f):
        return f * self._unit

    def _shares(self, bounds):
        return {}

    def _check_delta(self, delta):
        if not isinstance(delta, Real) or not delta > 0:
            raise ValueError(f"delta must be > 0, got {delta!r}.")
        return delta

    def _row_loss_of(self, f, y):
        return (np.asarray(y, dtype=np.float64) - f * self._unit) ** 2 / 2

    def _prediction_and_range(self, X):
        V = self._query(X)
        return V @ self._baseline * self._unit, self._range(V) * self._unit

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
        return self._query(X) @ self._baseline * self._unit

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
        return self.decision_range(X)

    def ambiguity(self, X, delta):
        """Return the share of rows whose prediction can move by at least ``delta``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float
            Change of the prediction that counts, in its units.

        Returns
        -------
        share : float
            Between 0 and 1.
        """
        self._check_delta(delta)
        middle, bounds = self._prediction_and_range(X)
        reach = np.maximum(bounds[:, 1] - middle, middle - bounds[:, 0])
        return float((reach >= delta).mean())


def multiplicity_report(
    estimator, X, y, *, epsilon=0.01, groups=None, sample_weight=None, **report_params
):
    """Report in one call how arbitrary an estimator's predictions are.

    Parameters
    ----------
    estimator : estimator
        What :class:`RashomonClassifier` or :class:`RashomonRegressor` takes.
    X : array-like of shape (n_samples, n_features)
        Training rows, on which the report is made too.
    y : array-like of shape (n_samples,)
        Their targets.
    epsilon : float, default=0.01
        Relative tolerance.
    groups : array-like of shape (n_samples,), default=None
        Group of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the fit.
    **report_params : dict
        Passed to ``report``: ``deltas``, ``epsilons``.

    Returns
    -------
    table : pandas.DataFrame
        A line a group and tolerance; see :meth:`RashomonClassifier.report`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.multiplicity import multiplicity_report
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> table = multiplicity_report(LogisticRegression(), X, y)
    >>> table[["n", "conflict_ratio"]].round(4).values.tolist()
    [[569.0, 0.0281]]
    """
    last = estimator
    while hasattr(last, "steps") or hasattr(last, "estimator"):
        last = last.steps[-1][1] if hasattr(last, "steps") else last.estimator
    regression = isinstance(last, linear.REGRESSORS)
    cls = RashomonRegressor if regression else RashomonClassifier
    model = cls(estimator, epsilon=epsilon).fit(X, y, sample_weight=sample_weight)
    return model.report(X, y, groups=groups, **report_params)
