"""Models of ordered classes with one penalty."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, fit_context
from skdiff._convex._solve import warn_unless_converged
from skdiff.linear_model._ordinal._base import BaseOrdinal, make_rows
from skdiff.linear_model._ordinal._solver import Penalty, fit, pose, spread

CONSTRAINTS: dict = {
    "alpha": [Interval(Real, 0, None, closed="left")],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "penalize_base": ["boolean"],
    "fit_intercept": ["boolean"],
    "standardize": ["boolean"],
    "categories": ["array-like", None],
    "decision": [StrOptions({"argmax", "median"})],
    "monotone": [StrOptions({"clip", "rearrange"})],
    "solver": [StrOptions({"auto", "cvxpy"})],
    "tol": [Interval(Real, 0, 1, closed="neither")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "warm_start": ["boolean"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
}


class PRESTOClassifier(BaseOrdinal):
    """Ordered classes, each threshold with coefficients shrunk towards the next.

    Use it for the probability of a rare last class (a purchase after a click, severe
    after mild): it borrows from the common classes below without assuming that one
    direction serves all thresholds. ``alpha=0`` is the general cumulative logit
    model, a large ``alpha`` with ``penalize_base=False`` the proportional odds model.

    Parameters
    ----------
    alpha : float, default=1e-3
        Penalty of the base coefficients and of the differences between neighbouring
        thresholds.
    l1_ratio : float, default=1.0
        Proportion of the L1 penalty: ``alpha * (l1_ratio * |psi| + (1 - l1_ratio) / 2
        * psi**2)`` is summed over the entries.
    penalize_base : bool, default=True
        Whether the coefficients of the first threshold are penalised too. If not, they
        have no finite optimum where a column alone tells a class apart.
    fit_intercept : bool, default=True
        Whether to fit thresholds, which are never penalised. False needs two classes.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. ``coef_`` is in
        the units of X. Sparse X, and X without an intercept, are scaled only.
    categories : array-like of shape (n_categories,), default=None
        Labels in their order. By default that of an ordered Categorical (pandas) or an
        Enum (polars), or of sorting.
        Categories that do not occur are dropped.
    decision : {"argmax", "median"}, default="argmax"
        Predict the likeliest class, or the first whose cumulative probability is at
        least one half.
    monotone : {"clip", "rearrange"}, default="clip"
        What is done where cumulative probabilities of a row cross: negative
        probabilities are clipped at zero and the rest scaled, or the cumulative ones
        are sorted.
    solver : {"auto", "cvxpy"}, default="auto"
        Proximal Newton steps with a duality gap, or the statement in cvxpy.
    tol : float, default=1e-7
        Tolerance of the stopping rule. It is relative to the gradient of the model
        without features.
    max_iter : int, default=100
        Maximum number of iterations.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in their order.
    coef_ : ndarray of shape (n_classes - 1, n_features)
        Coefficients of each threshold. Larger values mean lower classes.
    coef_diff_ : ndarray of shape (n_classes - 1, n_features)
        The first row is that of ``coef_``, later rows are differences of its rows.
    intercept_ : ndarray of shape (n_classes - 1,)
        Thresholds.
    n_iter_ : int
        Newton steps.
    objective_ : float
        Weighted mean loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    PRESTOClassifierCV : Finds the penalty.
    ProportionalOddsClassifier : One direction for all thresholds.
    sklearn.linear_model.LogisticRegression : The same with two classes.

    Notes
    -----
    ``P(y <= k | x) = sigmoid(intercept_[k] + coef_[k] @ x)``. Minus the log-likelihood
    is jointly convex in all coefficients, since a class probability is ``sigmoid(u) *
    sigmoid(-v) * (1 - exp(v - u))`` of its neighbouring logits. Fits keep the logits of
    the training rows in order around their own class; on other rows they may cross,
    which is counted in a warning. With ``alpha=0`` a ridge of 1e-10 on standardised
    columns keeps the solution unique and finite. Scorers of probabilities that sort the
    labels, such as ``"neg_log_loss"``, need labels whose order is that of sorting.

    References
    ----------
    G. Faletto and J. Bien, "Predicting Rare Events by Shrinking Towards Proportional
    Odds", ICML 2023, arXiv:2305.18700.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import PRESTOClassifier
    >>> X, target = load_diabetes(return_X_y=True)
    >>> y = np.digitize(target, [100, 200, 300])
    >>> model = PRESTOClassifier(alpha=0.01).fit(X, y)
    >>> model.coef_.shape, int((model.coef_diff_[1:] != 0).sum())
    ((3, 10), 5)
    >>> model.predict_cumulative_proba(X[:1]).round(2)
    array([[0.07, 0.42, 0.95, 1.  ]])
    """

    _parameter_constraints: dict = CONSTRAINTS

    def __init__(
        self,
        alpha=1e-3,
        l1_ratio=1.0,
        *,
        penalize_base=True,
        fit_intercept=True,
        standardize=True,
        categories=None,
        decision="argmax",
        monotone="clip",
        solver="auto",
        tol=1e-7,
        max_iter=100,
        warm_start=False,
        class_weight=None,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.penalize_base = penalize_base
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.categories = categories
        self.decision = decision
        self.monotone = monotone
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.class_weight = class_weight

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels; an ordered Categorical brings its order.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If y has one class, a label outside ``categories``, or ``categories``
            repeats one.
        """
        table = self._table(X, y, sample_weight)
        return self._learn(table, start=self._previous(table))

    def _previous(self, table):
        """The last solution as a start, where it fits."""
        if not (self.warm_start and hasattr(self, "coef_diff_")):
            return None
        same = self.coef_diff_.shape == (len(table.classes) - 1, table.X.shape[1])
        if not (same and np.array_equal(self.classes_, table.classes)):
            return None
        rows, how = make_rows(table, self.standardize, self.fit_intercept)
        levels = self.intercept_ + self.coef_ @ how.mean - rows.start
        first = np.diff(levels, prepend=0.0)[:, None]
        return np.hstack([first, self.coef_diff_ * how.scale]).ravel()


class LikelihoodRatioTest(NamedTuple):
    """Statistic, degrees of freedom and p-value."""

    statistic: float
    df: int
    pvalue: float


class ProportionalOddsClassifier(BaseOrdinal):
    """Ordered logistic regression: one direction, a threshold between classes.

    Use it where one direction orders the classes, and where standard errors are wanted;
    a likelihood-ratio test tells whether the data contradict the common direction.

    Parameters
    ----------
    alpha : float, default=0.0
        Penalty of the coefficients.
    l1_ratio : float, default=1.0
        Proportion of the L1 penalty: ``alpha * (l1_ratio * |w| + (1 - l1_ratio) / 2 *
        w**2)`` is summed over the coefficients.
    fit_intercept : bool, default=True
        Whether to fit thresholds, which are never penalised. False needs two classes.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. ``coef_`` is in
        the units of X. Sparse X, and X without an intercept, are scaled only.
    categories : array-like of shape (n_categories,), default=None
        Labels in their order. By default that of an ordered Categorical (pandas) or an
        Enum (polars), or of sorting.
        Categories that do not occur are dropped.
    decision : {"argmax", "median"}, default="argmax"
        Predict the likeliest class, or the first whose cumulative probability is at
        least one half.
    solver : {"auto", "cvxpy"}, default="auto"
        Newton steps with a duality gap, or the statement in cvxpy.
    tol : float, default=1e-7
        Tolerance of the stopping rule. It is that of the Newton decrement, and with an
        L1 penalty relative to the gradient of the model without features.
    max_iter : int, default=100
        Maximum number of iterations.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in their order.
    coef_ : ndarray of shape (n_classes - 1, n_features)
        Coefficients, equal in all rows. Larger values mean lower classes.
    intercept_ : ndarray of shape (n_classes - 1,)
        Thresholds, which rise.
    n_iter_ : int
        Newton steps.
    objective_ : float
        Weighted mean loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    PRESTOClassifier : A direction for each threshold, shrunk towards its neighbour.

    Notes
    -----
    ``P(y <= k | x) = sigmoid(intercept_[k] + coef_[0] @ x)``. Packages that write
    ``intercept - coef @ x``, such as ``statsmodels`` and R's ``polr``, have the
    opposite sign of the coefficients. With ``alpha=0`` a ridge of 1e-10 on standardised
    columns keeps the solution unique and finite. Cumulative probabilities never cross.

    References
    ----------
    P. McCullagh, "Regression Models for Ordinal Data", Journal of the Royal Statistical
    Society B, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import ProportionalOddsClassifier
    >>> X, target = load_diabetes(return_X_y=True)
    >>> y = np.digitize(target, [100, 200, 300])
    >>> model = ProportionalOddsClassifier().fit(X, y)
    >>> model.summary_frame().loc["x2", ["coef", "z"]].round(1).tolist()
    [-16.4, -6.2]
    >>> round(model.lr_test_parallel(X, y).pvalue, 2)
    0.64
    """

    _parameter_constraints: dict = {
        k: v
        for k, v in CONSTRAINTS.items()
        if k not in ("penalize_base", "monotone", "warm_start")
    }
    _parallel = True
    monotone = "clip"

    def __init__(
        self,
        alpha=0.0,
        l1_ratio=1.0,
        *,
        fit_intercept=True,
        standardize=True,
        categories=None,
        decision="argmax",
        solver="auto",
        tol=1e-7,
        max_iter=100,
        class_weight=None,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.categories = categories
        self.decision = decision
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels; an ordered Categorical brings its order.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If y has one class, a label outside ``categories``, or ``categories``
            repeats one.
        """
        return self._learn(self._table(X, y, sample_weight))

    def lr_test_parallel(self, X, y, sample_weight=None):
        """Test whether all thresholds share their coefficients.

        The likelihood ratio of the general model (a direction for each threshold) over
        this one, both without a penalty and fitted here to the rows given, usually
        those of ``fit``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, counted as that many rows.

        Returns
        -------
        test : named tuple
            ``statistic``, ``df`` and ``pvalue`` (chi-squared, for many rows). A small
            p-value speaks against the common direction.

        Raises
        ------
        ValueError
            If there are fewer than three classes, or ``alpha`` is not zero.
        """
        check_is_fitted(self)
        if self.alpha != 0 or not self.fit_intercept:
            raise ValueError(
                "lr_test_parallel needs alpha=0: a penalised likelihood has no such "
                "test."
            )
        order = self.classes_.tolist()
        table = self._table(X, y, sample_weight, order, reset=False)
        rows, _ = make_rows(table, self.standardize, self.fit_intercept)
        m = rows.n_thresholds
        if m < 2:
            raise ValueError(
                "lr_test_parallel needs at least three classes. Got two: they have one "
                "threshold."
            )
        parallel = fit(pose(rows, Penalty(0, 1, parallel=True)), None, self.tol, 100)
        problem = pose(rows, Penalty(0, 1))
        general = fit(problem, spread(parallel.x, rows), self.tol, 100)
        warn_unless_converged(self, general)
        gain = max(parallel.objective - general.objective, 0.0)
        statistic = 2.0 * float(table.weight.sum()) * gain
        A = rows.A if isinstance(rows.A, np.ndarray) else rows.A.toarray()
        df = (m - 1) * int(np.linalg.matrix_rank(A) - 1)
        return LikelihoodRatioTest(statistic, df, float(chi2.sf(statistic, df)))
