"""From a scikit-learn estimator to the objective it minimised."""

import copy
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskElasticNet,
    MultiTaskLasso,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import BaseSearchCV
from skdiff._base.inner import fit_inner, unfrozen
from skdiff.multiplicity._sets._objective import MARGIN_LOSSES, Objective

LOGISTIC = (LogisticRegression, LogisticRegressionCV)
RIDGE_CLASSIFIERS = (RidgeClassifier, RidgeClassifierCV)
CLASSIFIERS = (
    *LOGISTIC,
    LinearSVC,
    SGDClassifier,
    *RIDGE_CLASSIFIERS,
    OneVsRestClassifier,
)
LASSOS = (Lasso, LassoCV, ElasticNet, ElasticNetCV)
REGRESSORS = (
    Ridge,
    RidgeCV,
    LinearRegression,
    *LASSOS,
    PoissonRegressor,
    GammaRegressor,
    TweedieRegressor,
    HuberRegressor,
    QuantileRegressor,
    LinearSVR,
    SGDRegressor,
)
# relatives of the above by inheritance whose coefficients are a matrix
STRANGERS = (MultiTaskLasso, MultiTaskElasticNet)
SUPPORTED = {
    "classifier": (
        "LogisticRegression, LogisticRegressionCV, LinearSVC, SGDClassifier (log_loss, "
        "hinge, squared_hinge, modified_huber, squared_error), RidgeClassifier, "
        "RidgeClassifierCV and OneVsRestClassifier of one of them"
    ),
    "regressor": (
        "Ridge, RidgeCV, LinearRegression, Lasso, LassoCV, ElasticNet, ElasticNetCV, "
        "PoissonRegressor, GammaRegressor, TweedieRegressor (convex powers), "
        "HuberRegressor, QuantileRegressor, LinearSVR and SGDRegressor"
    ),
}
# loss of an SGD estimator -> loss, how it scales with the target, name of its width
SGD_CLASSIFIER_LOSSES = {
    "log_loss": "Logistic",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "modified_huber": "ModifiedHuber",
    "squared_error": "Squared",
}
SGD_REGRESSOR_LOSSES = {
    "squared_error": "Squared",
    "huber": "Huber",
    "epsilon_insensitive": "EpsilonInsensitive",
    "squared_epsilon_insensitive": "SquaredEpsilonInsensitive",
}


def split(estimator: Any, default: Any, kind: Any) -> Any:
    """Return (transformers or None, linear model, frozen?) of what the user gave."""
    frozen = isinstance(estimator, FrozenEstimator)
    inner = estimator.estimator if frozen else estimator
    inner = default() if inner is None else inner
    steps, last = None, inner
    if isinstance(inner, Pipeline):
        steps, last = inner[:-1], inner.steps[-1][1]
        if isinstance(last, FrozenEstimator):
            frozen, last = True, last.estimator
    allowed = CLASSIFIERS if kind == "classifier" else REGRESSORS
    known = isinstance(last, allowed) and not isinstance(last, STRANGERS)
    if isinstance(last, OneVsRestClassifier):
        known = isinstance(last.estimator, CLASSIFIERS[:-1])
    if not known:
        why = ""
        if isinstance(last, SVC):
            why = " A kernel's model has no coefficients on the features."
        elif isinstance(last, BaseSearchCV):
            why = " Fit the search first and pass its best_estimator_."
        raise ValueError(
            f"estimator must be, or be a Pipeline that ends in, one of "
            f"{SUPPORTED[kind]}; got {type(last).__name__}.{why}"
        )
    if frozen:
        try:
            check_is_fitted(inner)
        except NotFittedError as error:
            raise NotFittedError(
                "estimator is frozen but not fitted: fit it before it is frozen."
            ) from error
    return steps, last, inner, frozen


class Tap(BaseEstimator):
    """A step that passes on rows and targets, and keeps what the next step is given.

    Behind sampler steps these are the rows that the last step was trained on.
    """

    def fit(self, X: Any, y: Any = None) -> "Tap":
        """Keep the rows and targets."""
        self.seen_ = (X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Keep the rows and targets, and pass the rows on."""
        self.seen_ = (X, y)
        return X

    def transform(self, X: Any) -> Any:
        """Pass the rows on."""
        return X


class Trained(NamedTuple):
    """A fitted estimator, and the rows that its linear model was trained on."""

    estimator: Any
    model: Any  # the linear model inside
    X: Any
    y: Any


def trained(inner: Any, frozen: Any, X: Any, y: Any, sample_weight: Any) -> Trained:
    """Fit the estimator unless it came fitted; pipelines run as they run themselves."""
    pipeline = isinstance(inner, Pipeline)
    if frozen:
        model = unfrozen(inner[-1] if pipeline else inner)
        return Trained(inner, model, inner[:-1].transform(X) if pipeline else X, y)
    with warnings.catch_warnings():
        # the solution is refined below, so early stopping does not matter here
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        if not pipeline:
            inner = fit_inner(inner, X, y, weight=sample_weight)
            return Trained(inner, inner, X, y)
        tapped = copy.copy(inner)
        last = inner.steps[-1]
        tapped.steps = [*inner.steps[:-1], (f"before_{last[0]}", Tap()), last]
        tapped = fit_inner(tapped, X, y, weight=sample_weight)
    tap, model = tapped.steps[-2][1], tapped.steps[-1][1]
    tapped.steps = [*tapped.steps[:-2], tapped.steps[-1]]
    return Trained(tapped, model, *tap.seen_)


def stopped_early(model: Any, gap: float, best: float) -> bool:
    """Whether a gap to the optimum is that of a fit that stopped before it."""
    n_iter, most = getattr(model, "n_iter_", None), getattr(model, "max_iter", None)
    if n_iter is not None and most is not None and np.max(n_iter) >= most:
        return True
    tol = getattr(model, "tol", None)
    return tol is not None and gap <= 100 * float(tol) * max(1.0, abs(best))


def fits_itself(model: Any) -> bool:
    """Whether a subclass brings its own ``fit``."""
    known = (*CLASSIFIERS, *REGRESSORS)
    return all(type(model).fit is not kind.fit for kind in known)


def parameters(model: Any) -> Any:
    """Coefficients (K, d) and intercepts (K,) of a fitted model."""
    coef = model.coef_
    coef = np.atleast_2d(coef.toarray() if issparse(coef) else coef)
    return coef, np.broadcast_to(np.ravel(model.intercept_), len(coef))


# --- objectives -------------------------------------------------------------------


def objective_of(model: Any, total: Any, n: Any) -> Any:
    """Read the objective off a fitted model.

    ``total`` is the sum of the n weights. LogisticRegression and LinearSVC minimise ``C
    sum_i s_i loss_i + ||w||^2 / 2``; divided by ``C sum_i s_i`` the losses are averaged
    and the penalty is ``1 / (C sum_i s_i)``. Ridge minimises ``sum_i s_i (y - f)^2 +
    alpha ||w||^2``; halved and averaged, ``alpha / sum_i s_i``. Lasso, elastic net,
    Poisson, gamma and quantile regression average by weight themselves. SGD steps down
    ``sum_i s_i loss_i / n + alpha R(w)``: averaged, ``alpha n / sum_i s_i``.
    """
    if getattr(model, "positive", False):
        raise ValueError("estimator with positive=True is not supported.")
    for kinds, reader in _READERS:
        if isinstance(model, kinds):
            goal = reader(model, total, n)
            labels = goal.loss == "Squared" and isinstance(model, ClassifierMixin)
            return goal._replace(signs=labels or goal.loss in MARGIN_LOSSES)
    raise TypeError(f"no objective is known of {type(model).__name__}")


def _of_logistic(model: Any, total: Any, n: Any) -> Any:
    C, ratio = _logistic_penalty(model)
    strength = 0.0 if np.isinf(C) else 1.0 / (C * total)
    alpha, lasso = (1.0 - ratio) * strength, ratio * strength
    at = (0.0, 0.0)
    if model.solver == "liblinear":  # penalises the intercept, scaled
        scaling = model.intercept_scaling
        at = (alpha / scaling**2, lasso / scaling)
    loss = "Logistic" if len(model.classes_) == 2 else "Multinomial"
    return Objective(loss, alpha, at[0], model.fit_intercept, lasso, at[1])


def _logistic_penalty(model: Any) -> Any:
    """C, infinite without penalty, and the weight of the L1 norm."""
    penalty = model.penalty
    if isinstance(model, LogisticRegressionCV):
        ratio = np.ravel(getattr(model, "l1_ratio_", 0.0))[0]
        C = float(np.ravel(model.C_)[0])
    else:
        ratio, C = model.l1_ratio, model.C
    ratio = float(ratio or 0.0)
    if penalty in ("l1", "l2"):
        ratio = float(penalty == "l1")
    # since 1.8 the penalty is given by l1_ratio and C alone ("deprecated")
    return (np.inf if penalty is None else C), ratio


def _of_svc(model: Any, total: Any, n: Any) -> Any:
    if getattr(model, "multi_class", "ovr") != "ovr":
        raise ValueError(
            "LinearSVC with multi_class='crammer_singer' is not supported."
        )
    loss = "SquaredHinge" if model.loss == "squared_hinge" else "Hinge"
    strength, scaling = 1.0 / (model.C * total), model.intercept_scaling
    if model.penalty == "l1":
        return Objective(
            loss, 0.0, 0.0, model.fit_intercept, strength, strength / scaling
        )
    return Objective(loss, strength, strength / scaling**2, model.fit_intercept)


def _of_svr(model: Any, total: Any, n: Any) -> Any:
    square = model.loss == "squared_epsilon_insensitive"
    loss = "SquaredEpsilonInsensitive" if square else "EpsilonInsensitive"
    strength, scaling = 1.0 / (model.C * total), model.intercept_scaling
    return Objective(
        loss,
        strength,
        strength / scaling**2,
        model.fit_intercept,
        params={"delta": float(model.epsilon)},
    )


def _of_sgd(model: Any, total: Any, n: Any) -> Any:
    classifies = isinstance(model, SGDClassifier)
    known = SGD_CLASSIFIER_LOSSES if classifies else SGD_REGRESSOR_LOSSES
    if model.loss not in known:
        raise ValueError(
            f"{type(model).__name__} with loss={model.loss!r} is not supported; "
            f"supported losses are {sorted(known)}."
        )
    params = {}
    if known[model.loss] in ("Huber", *_INSENSITIVE):
        params = {"delta": float(model.epsilon)}
    strength = model.alpha * n / total
    ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": model.l1_ratio}.get(model.penalty, 0.0)
    if model.penalty is None:
        strength = 0.0
    return Objective(
        known[model.loss],
        (1.0 - ratio) * strength,
        0.0,
        model.fit_intercept,
        ratio * strength,
        params=params,
    )


def _of_ridge(model: Any, total: Any, n: Any) -> Any:
    alpha = 0.0
    if not isinstance(model, LinearRegression):
        chosen = isinstance(model, RidgeCV | RidgeClassifierCV)
        alpha = model.alpha_ if chosen else model.alpha
        if np.ndim(alpha) and np.size(alpha) > 1:
            raise ValueError("estimator with one alpha per target is not supported.")
        alpha = float(np.asarray(alpha).ravel()[0]) / total
    return Objective("Squared", alpha, 0.0, model.fit_intercept)


def _of_lasso(model: Any, total: Any, n: Any) -> Any:
    chosen = isinstance(model, LassoCV | ElasticNetCV)
    alpha = float(model.alpha_ if chosen else model.alpha)
    ratio = 1.0
    if not isinstance(model, Lasso | LassoCV):
        ratio = float(model.l1_ratio_ if chosen else model.l1_ratio)
    return Objective(
        "Squared", (1 - ratio) * alpha, 0.0, model.fit_intercept, ratio * alpha
    )


def _of_glm(model: Any, total: Any, n: Any) -> Any:
    loss = "Poisson" if isinstance(model, PoissonRegressor) else "Gamma"
    return Objective(loss, float(model.alpha), 0.0, model.fit_intercept)


def _of_tweedie(model: Any, total: Any, n: Any) -> Any:
    power = float(model.power)
    identity = model.link == "identity" or (model.link == "auto" and power <= 0)
    if identity and power == 0:
        return Objective("Squared", float(model.alpha), 0.0, model.fit_intercept)
    if identity or not 1 <= power <= 2:
        raise ValueError(
            f"TweedieRegressor with power={model.power} and link={model.link!r} is not "
            "convex in the coefficients; supported are powers from 1 to 2 with the "
            "logarithmic link, and power 0 with the identity."
        )
    loss = {1.0: "Poisson", 2.0: "Gamma"}.get(power, "Tweedie")
    params = {"power": power} if loss == "Tweedie" else {}
    return Objective(loss, float(model.alpha), 0.0, model.fit_intercept, params=params)


def _of_huber(model: Any, total: Any, n: Any) -> Any:
    """At the fitted scale, where half of ``scale`` times the objective is ours.

    HuberRegressor minimises ``sum_i s_i scale H((y - f) / scale) + alpha ||w||^2`` with
    ``H(z) = z^2`` up to ``epsilon``, jointly with the scale.
    """
    return Objective(
        "Huber",
        float(model.alpha * model.scale_) / total,
        0.0,
        model.fit_intercept,
        params={"delta": float(model.epsilon * model.scale_)},
    )


def _of_quantile(model: Any, total: Any, n: Any) -> Any:
    return Objective(
        "Pinball",
        0.0,
        0.0,
        model.fit_intercept,
        float(model.alpha),
        params={"quantile": float(model.quantile)},
    )


_INSENSITIVE = ("EpsilonInsensitive", "SquaredEpsilonInsensitive")
_READERS = (
    (LOGISTIC, _of_logistic),
    (LinearSVC, _of_svc),
    (LinearSVR, _of_svr),
    ((SGDClassifier, SGDRegressor), _of_sgd),
    ((Ridge, RidgeCV, LinearRegression, *RIDGE_CLASSIFIERS), _of_ridge),
    (LASSOS, _of_lasso),
    ((PoissonRegressor, GammaRegressor), _of_glm),
    (TweedieRegressor, _of_tweedie),
    (HuberRegressor, _of_huber),
    (QuantileRegressor, _of_quantile),
)


# --- weights and classes ------------------------------------------------------------


def class_weights(model: Any, y: Any, sample_weight: Any) -> Any:
    """Weight of each class in sorted order, as the model computed it; None if equal."""
    given = getattr(model, "class_weight", None)
    if given is None:
        return None
    keywords = {"classes": np.unique(y), "y": y}
    # these count rows, the others count their weight
    if not isinstance(model, (SGDClassifier, *RIDGE_CLASSIFIERS)):
        keywords["sample_weight"] = sample_weight
    return compute_class_weight(given, **keywords)


def combined_weight(sample_weight: Any, model: Any, target: Any) -> Any:
    """Product of row and class weights; ``target`` are codes of a classifier's classes.

    Nothing is lost where the model has no class weights.
    """
    weight = np.ones(len(target))
    if sample_weight is not None:
        weight = np.asarray(sample_weight, dtype=np.float64)
    if getattr(model, "class_weight", None) is None:
        return weight
    codes = target.astype(np.intp)
    return weight * class_weights(model, model.classes_[codes], sample_weight)[codes]


def is_one_vs_rest(model: Any) -> Any:
    """Whether a fitted model of three classes or more is as many binary ones."""
    if isinstance(model, LOGISTIC):
        # liblinear knows no other way; scikit-learn 1.8 refuses it
        by_class = getattr(model, "multi_class", "auto") == "ovr"
        return by_class or model.solver == "liblinear"
    kinds = (LinearSVC, SGDClassifier, OneVsRestClassifier, *RIDGE_CLASSIFIERS)
    return isinstance(model, kinds)


def binary_models(model: Any, codes: Any, sample_weight: Any) -> Any:
    """Yield (model, weights) of each class against the rest, as they were fitted.

    LinearSVC and SGDClassifier weight the rows of the class by its class weight and
    leave those of the rest alone; OneVsRestClassifier leaves it to each model.
    """
    if isinstance(model, OneVsRestClassifier):
        for part in model.estimators_:
            yield part, sample_weight
        return
    by_class = class_weights(model, model.classes_[codes], sample_weight)
    base = np.ones(len(codes)) if sample_weight is None else sample_weight
    for k in range(len(model.classes_)):
        part = copy.copy(model)
        part.coef_ = model.coef_[k : k + 1]
        part.intercept_ = np.atleast_1d(
            np.broadcast_to(model.intercept_, len(model.classes_))[k]
        )
        part.classes_, part.class_weight = np.array([0, 1]), None
        if by_class is None:
            yield part, sample_weight
        elif isinstance(model, RIDGE_CLASSIFIERS):  # rows keep their class's weight
            yield part, base * by_class[codes]
        else:
            yield part, base * np.where(codes == k, by_class[k], 1)
