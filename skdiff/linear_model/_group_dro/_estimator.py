"""Linear models that minimise the loss of the worst group."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from skdiff._base.compat import Interval, StrOptions, check_sample_weight, fit_context
from skdiff._convex._linear_rows import LogisticRows, SoftmaxRows, SquaredRows
from skdiff._convex._solve import warn_unless_converged
from skdiff.linear_model._group_dro._solver import (
    GroupProblem,
    fit,
    fit_cvxpy,
    sort_groups,
)
from skdiff.linear_model._robust._base import (
    RESCALE,
    LinearClassifier,
    LinearRegressor,
    standard_units,
)


def group_codes(groups, n_samples, sample_weight, name):
    """Labels of the groups, and codes of the rows whose weight is positive."""
    if groups is None:
        raise ValueError(
            f"{name} requires groups to be passed to fit: the group of each row."
        )
    shape = np.shape(groups)
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise ValueError(
            f"groups should be a 1d array, got an array of shape {shape} instead."
        )
    groups = column_or_1d(groups)
    check_consistent_length(np.empty((n_samples, 1)), groups)
    missing = [k for k, g in enumerate(groups.tolist()) if g is None or g != g]
    if missing:
        raise ValueError(
            f"Input groups contains NaN or None in {len(missing)} rows, the first of "
            f"which is {missing[0]}."
        )
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, np.empty((n_samples, 1)))
        groups = groups[weight > 0]
    try:
        labels, codes = np.unique(groups, return_inverse=True)
    except TypeError:  # labels of several types have no order: that of appearance
        place = {label: k for k, label in enumerate(dict.fromkeys(groups.tolist()))}
        labels = np.empty(len(place), dtype=object)
        labels[:] = list(place)
        codes = np.array([place[label] for label in groups.tolist()])
    if len(labels) < 2:
        raise ValueError(
            f"{name} needs at least two groups; got one group, {labels.tolist()[0]!r}, "
            f"in {len(groups)} sample(s)."
        )
    return labels, codes


class _GroupDRO:
    """Fit of both."""

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "group_adjustment": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", "cvxpy"})],
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        alpha=1e-3,
        *,
        group_adjustment=0.0,
        fit_intercept=True,
        solver="auto",
        tol=1e-9,
        max_iter=100,
    ):
        self.alpha = alpha
        self.group_adjustment = group_adjustment
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter

    def _groups(self, groups, n_kept, sample_weight):
        given = np.asarray(1.0 if sample_weight is None else sample_weight)
        n_samples = len(given) if given.ndim else n_kept
        return group_codes(groups, n_samples, sample_weight, type(self).__name__)

    def _learn(self, make_rows, table, groups, n_outputs=1, unit=1.0):
        """Fit; ``make_rows(A, y)`` states the loss, in ``unit`` of the user's."""
        X, y, weight = table
        labels, codes = groups
        order, cuts, share = sort_groups(codes, weight, len(labels))
        sizes = np.bincount(codes, weights=weight)
        centre = self._centre(X, weight)
        problem = GroupProblem(
            make_rows(self._design(X[order] - centre), y[order]),
            share,
            cuts,
            self.group_adjustment / np.sqrt(sizes) / unit,
            self._ridge(X.shape[1], n_outputs),
        )
        with np.errstate(all="ignore"):
            if self.solver == "cvxpy":
                found = fit_cvxpy(problem)
            else:
                found = fit(problem, self.tol, self.max_iter)
            losses = problem.group_losses(found.solution.x)
        if not np.isfinite(found.solution.objective):
            raise ValueError(RESCALE)
        warn_unless_converged(self, found.solution)
        self.groups_, self.group_weights_ = labels, found.q
        self.group_losses_ = unit * losses
        self.objective_ = float(unit * found.solution.objective)
        self.dual_gap_ = float(unit * found.solution.gap)
        self.n_iter_ = max(int(found.solution.n_iter), 1)
        return self._uncentred(found.solution.x, centre, n_outputs)


class GroupDROClassifier(_GroupDRO, LinearClassifier):
    """Logistic regression that minimises the loss of the worst group.

    Use it where the groups are known in training, some are small, and the loss of the
    worst counts. The group is not needed to predict.

    Parameters
    ----------
    alpha : float, default=1e-3
        L2 penalty: ``alpha / 2`` times the sum of squared coefficients is added.
    group_adjustment : float, default=0.0
        ``C`` in ``C / sqrt(n_group)``, which is added to each group's loss: small
        groups, whose training loss flatters, get more weight.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    solver : {"auto", "cvxpy"}, default="auto"
        Newton steps of the dual, or the statement in cvxpy.
    tol : float, default=1e-9
        Tolerance of the stopping rule. It is that of the gap between the largest
        group loss and the mean under ``group_weights_``.
    max_iter : int, default=100
        Maximum number of iterations.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; with three classes and more those of a softmax.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    groups_ : ndarray of shape (n_groups,)
        Groups.
    group_weights_ : ndarray of shape (n_groups,)
        Weights whose weighted loss has the same minimiser; they sum to one.
    group_losses_ : ndarray of shape (n_groups,)
        Mean loss of each group, without adjustment.
    objective_ : float
        Largest adjusted loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum.
    n_iter_ : int
        Steps of the dual.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    GroupDRORegressor : The same for values.
    skdiff.neural_network.LipschitzMLPClassifier : Networks take ``group_dro=True``.

    Notes
    -----
    Minimises ``max_g (mean loss of group g + C / sqrt(n_g)) + alpha / 2 * ||w||^2``
    with weighted means. A model that fits every row perfectly has no worst group:
    without a penalty, on more columns than rows, it is the same as the usual one.

    References
    ----------
    S. Sagawa, P. W. Koh, T. B. Hashimoto and P. Liang, "Distributionally Robust Neural
    Networks for Group Shifts", ICLR 2020, arXiv:1911.08731.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.linear_model import GroupDROClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> groups = (X[:, 0] > 17).astype(int)
    >>> model = GroupDROClassifier(0.01).fit(scale(X[:, 1:5]), y, groups=groups)
    >>> model.group_losses_.round(3), bool(model.dual_gap_ < 1e-7)
    (array([0.218, 0.038]), True)
    """

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, groups=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        groups : array-like of shape (n_samples,)
            Group of each row, at least two groups.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If ``groups`` is missing or has fewer than two groups.
        """
        X, codes, weight, classes = self._table(X, y, sample_weight)
        found = self._groups(groups, len(X), sample_weight)
        K = len(classes)
        n_outputs = 1 if K == 2 else K

        def rows(A, y):
            return LogisticRows(A, y) if K == 2 else SoftmaxRows(A, y, K)

        w = self._learn(rows, (X, codes, weight), found, n_outputs)
        self.coef_, self.intercept_ = self._split(w, X.shape[1], n_outputs)
        self.classes_ = classes
        return self

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one.
        """
        return self._proba(X)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Logarithms.
        """
        return self._log_proba(X)


class GroupDRORegressor(_GroupDRO, LinearRegressor):
    """Linear regression that minimises the squared error of the worst group.

    Use it where the groups are known in training, some are small, and the error of the
    worst counts. The group is not needed to predict.

    Parameters
    ----------
    alpha : float, default=1e-3
        L2 penalty: ``alpha / 2`` times the sum of squared coefficients is added.
    group_adjustment : float, default=0.0
        ``C`` in ``C / sqrt(n_group)``, which is added to each group's loss.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is never penalised.
    solver : {"auto", "cvxpy"}, default="auto"
        Newton steps of the dual, or the statement in cvxpy.
    tol : float, default=1e-9
        Tolerance of the stopping rule. It is that of the gap between the largest
        group loss and the mean under ``group_weights_``, relative to the variance of y.
    max_iter : int, default=100
        Maximum number of iterations.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    groups_ : ndarray of shape (n_groups,)
        Groups.
    group_weights_ : ndarray of shape (n_groups,)
        Weights whose weighted loss has the same minimiser; they sum to one.
    group_losses_ : ndarray of shape (n_groups,)
        Mean squared error of each group, without adjustment.
    objective_ : float
        Largest adjusted loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum.
    n_iter_ : int
        Steps of the dual.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    GroupDROClassifier : The same for labels.

    Notes
    -----
    Minimises ``max_g (mean squared error of group g + C / sqrt(n_g)) + alpha / 2 *
    ||w||^2`` with weighted means. The worst group may be the one with the largest
    noise, which no model can help: the others then pay for nothing.

    References
    ----------
    S. Sagawa, P. W. Koh, T. B. Hashimoto and P. Liang, "Distributionally Robust Neural
    Networks for Group Shifts", ICLR 2020, arXiv:1911.08731.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import GroupDRORegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GroupDRORegressor().fit(X, y, groups=X[:, 1] > 0)
    >>> model.group_losses_.round().tolist()
    [3051.0, 3051.0]
    """

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, groups=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        groups : array-like of shape (n_samples,)
            Group of each row, at least two groups.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If ``groups`` is missing or has fewer than two groups.
        """
        X, y, weight = self._table(X, y, sample_weight)
        found = self._groups(groups, len(X), sample_weight)
        # in standard deviations of y, so that tolerances have no unit
        mean, scale = standard_units(y, weight, self.fit_intercept)
        z = (y - mean) / scale
        w = self._learn(SquaredRows, (X, z, weight), found, unit=scale**2)
        self._keep(scale * w, X.shape[1])
        if self.fit_intercept:
            self.intercept_ += mean
        return self
