"""Influence of every row on the loss of a target sample, in closed form."""

import warnings

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff._base.inner import fit_inner
from skdiff._base.validation import refuse_dates, require_y
from skdiff.data_selection._models._base import last_step, split_pipeline
from skdiff.data_selection._models._glm import (
    Penalty,
    logistic_derivatives,
    squared_derivatives,
    weighted_sum,
)

_FAR = 1e-3  # of the objective


def influence_scores(estimator, X, y, X_target, y_target, *, sample_weight=None):
    """Return the derivative of the target loss in the weight of each training row.

    Negative helps: more weight on the row lowers the mean loss of the target sample.
    To first order the loss changes by ``-weight * score`` when the row is removed. All
    rows cost one linear system, however many they are.

    Parameters
    ----------
    estimator : estimator
        ``Ridge``, ``LinearRegression`` or ``LogisticRegression`` without an L1 penalty,
        alone or at the end of a pipeline, whose earlier steps are held fixed. A fitted
        one is used as it is; it should have been fitted to X, y and ``sample_weight``.
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Training rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their outcomes.
    X_target : array-like or sparse matrix of shape (n_target, n_features)
        Rows like those the model is for.
    y_target : array-like of shape (n_target,) or (n_target, n_outputs)
        Their outcomes.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the training rows; ones if None.

    Returns
    -------
    scores : ndarray of shape (n_samples,)
        Derivatives of the mean log loss, or of the mean squared error over rows and
        outputs, at the fitted model.

    Notes
    -----
    With g the gradient of the target loss and H the Hessian of scikit-learn's own
    objective, penalty and weights included, the score of a row is ``-g' H^-1 g_i``
    (Koh and Liang, 2017). ``class_weight="balanced"`` depends on the weights, which is
    taken into account. Building H costs ``n_samples * n_features ** 2``, times the
    number of classes squared if there are more than two.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.data_selection import influence_scores
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> y = np.array([0.0, 1.0, 2.0, 9.0])  # the last outcome is off
    >>> scores = influence_scores(Ridge(0.1), X, y, X[:3], y[:3])
    >>> int(np.argmax(scores))
    3
    """
    for table, outcome in ((X, y), (X_target, y_target)):
        require_y(estimator, outcome)
        refuse_dates(table)
        check_consistent_length(table, outcome)
    require_supported(estimator)
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    weight = np.ones(n)
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, np.empty((n, 1)))
    model = estimator
    try:
        check_is_fitted(last_step(estimator))
    except NotFittedError:
        model = fit_inner(
            estimator, X, y, weight=None if sample_weight is None else weight
        )
    found = derivatives(model, X, y, X_target, y_target, weight)
    if found.gap > _FAR:
        warnings.warn(
            "The fitted model is not at the optimum of its objective on X, y and "
            f"sample_weight: a Newton step would gain {found.gap:.1%} of it. Fit it to "
            "these rows, or lower its tol.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found.scores


def require_supported(estimator):
    """Refuse what has no closed form here."""
    last = last_step(estimator)
    name = type(last).__name__
    if not isinstance(last, Ridge | LinearRegression | LogisticRegression):
        raise ValueError(
            f"influence_scores knows Ridge, LinearRegression and LogisticRegression. "
            f"Got {name}."
        )
    if getattr(last, "positive", False):
        raise ValueError(
            f"{name}(positive=True) has no closed form: a bound is no derivative."
        )
    if isinstance(last, LogisticRegression) and (
        getattr(last, "penalty", None) in ("l1", "elasticnet")
        or (getattr(last, "l1_ratio", 0.0) or 0.0) > 0
    ):
        raise ValueError("An L1 penalty has no closed form: use l1_ratio=0.")


def is_supported(estimator):
    """Tell whether the closed form exists."""
    try:
        require_supported(estimator)
    except ValueError:
        return False
    return True


def derivatives(model, X, y, X_target, y_target, weight):
    """Return the derivatives for a fitted model of a supported kind."""
    last, Z = split_pipeline(model, X)
    _, Z_target = split_pipeline(model, X_target)
    Z, Z_target = (
        check_array(A, accept_sparse="csr", dtype=np.float64) for A in (Z, Z_target)
    )
    for A in (Z, Z_target):
        if A.shape[1] != last.n_features_in_:
            raise ValueError(
                f"X has {A.shape[1]} features, but {type(last).__name__} is expecting "
                f"{last.n_features_in_} features as input."
            )
    if isinstance(last, LogisticRegression):
        return _logistic(last, Z, y, Z_target, y_target, weight)
    return _squared(last, Z, y, Z_target, y_target, weight)


def _numbers(y, name):
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
    return y[:, None] if y.ndim == 1 else y


def _squared(last, X, y, X_target, y_target, weight):
    y, y_target = _numbers(y, "y"), _numbers(y_target, "y_target")
    coef = np.atleast_2d(np.asarray(last.coef_, dtype=np.float64))
    has_intercept = bool(last.fit_intercept)
    residual = _decision(last, X) - y
    miss = _decision(last, X_target) - y_target
    if has_intercept and not sparse.issparse(X):  # the same model, better conditioned
        centre = weight @ X / weight.sum()
        X, X_target = X - centre, X_target - centre
    goal = weighted_sum(X_target, 2.0 * miss / miss.size, has_intercept)
    alphas = np.broadcast_to(np.ravel(getattr(last, "alpha", 0.0)), len(coef))
    scores, gap = np.zeros(len(y)), 0.0
    for alpha in np.unique(alphas):
        k = alphas == alpha
        found = squared_derivatives(
            X,
            residual[:, k],
            weight,
            coef[k],
            Penalty(float(alpha)),
            has_intercept,
            goal[k],
        )
        scores += found.scores
        gap = max(gap, found.gap)
    return found._replace(scores=scores, gap=gap)


def _logistic(last, X, y, X_target, y_target, weight):
    classes = last.classes_
    y, y_target = _codes(y, classes, "y"), _codes(y_target, classes, "y_target")
    factor = np.ones(len(classes))
    if last.class_weight is not None:
        how = {} if last.class_weight != "balanced" else {"sample_weight": weight}
        factor = compute_class_weight(
            last.class_weight, classes=classes, y=classes[y], **how
        )
    P, residual = _probabilities(last, X, y)
    _, miss = _probabilities(last, X_target, y_target)
    has_intercept = bool(last.fit_intercept)
    C = np.inf if getattr(last, "penalty", "l2") is None else last.C
    strength = 0.0 if np.isinf(C) else 1.0 / C
    on_intercept = (
        strength / last.intercept_scaling**2 if last.solver == "liblinear" else 0.0
    )
    goal = weighted_sum(X_target, miss / len(miss), has_intercept)
    found = logistic_derivatives(
        X,
        P,
        residual,
        weight * factor[y],
        np.asarray(last.coef_, dtype=np.float64),
        Penalty(strength, on_intercept),
        has_intercept,
        goal,
    )
    scores = found.scores * factor[y]
    if isinstance(last.class_weight, str):
        # balanced factors are total / (classes * mass): one row's weight moves them all
        mass = np.bincount(y, weights=weight, minlength=len(classes))
        effect = np.bincount(y, weights=weight * scores, minlength=len(classes))
        scores = scores + effect.sum() / weight.sum() - (effect / mass)[y]
    return found._replace(scores=scores)


def _codes(y, classes, name):
    y = check_array(y, ensure_2d=False, dtype=None, input_name=name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    known = np.isin(y, classes)
    if y.ndim != 1 or not known.all():
        raise ValueError(
            f"{name} must hold classes the model knows: {classes.tolist()}."
        )
    return np.searchsorted(classes, y)


def _decision(last, X):
    """Linear predictions, (n, outputs), whatever the names of the columns."""
    coef = np.atleast_2d(np.asarray(last.coef_, dtype=np.float64))
    return np.asarray(X @ coef.T) + np.ravel(last.intercept_)


def _probabilities(last, X, codes):
    """Probabilities and their distance to the class, one column for one output."""
    f = _decision(last, X)
    if f.shape[1] == 1:
        P = expit(f)
        return P, P - codes[:, None]
    P = softmax(f, axis=1)
    R = P.copy()
    R[np.arange(len(R)), codes] -= 1.0
    return P, R
