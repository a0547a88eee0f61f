"""The last layer of a network as a linear model on its learned features."""

import warnings
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, TransformerMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff._base.validation import check_X
from skdiff._nn._base import BaseNeural
from skdiff.multiplicity._rashomon._estimator import RashomonClassifier
from skdiff.multiplicity._rashomon._regressor._estimator import RashomonRegressor

_ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
}
_ROWS = 4096


def last_layer_features(estimator: Any, X: Any) -> Any:
    """Return the last hidden layer of a fitted network: its learned features.

    This function is experimental: its interface may change without notice.

    Parameters
    ----------
    estimator : estimator
        A fitted ``MLPClassifier`` or ``MLPRegressor``, one of skdiff's networks whose
        output is linear in a hidden layer, or a pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
        Rows, as the estimator takes them.

    Returns
    -------
    features : ndarray of shape (n_samples, n_hidden)
        What the last layer sees.

    See Also
    --------
    last_layer_multiplicity : The audit of that layer.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.neural_network import MLPClassifier
    >>> from skdiff.multiplicity import last_layer_features
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> network = MLPClassifier(8, early_stopping=True, random_state=0).fit(X, y)
    >>> last_layer_features(network, X).shape
    (569, 8)
    """
    steps, network = _split(estimator)
    if steps is not None:
        X = steps.transform(X)
    if isinstance(network, BaseNeural):
        return _torch_layers(network, X)[0]
    X = check_X(network, X, dtype=np.float64, reset=False)
    activation = _ACTIVATIONS[network.activation]
    layers = zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True)
    for weight, bias in layers:
        X = activation(X @ weight + bias)
    return X


def last_layer_multiplicity(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    epsilon: float = 0.01,
    alpha: Any = None,
    sample_weight: Any = None,
    **rashomon_params: Any,
) -> Any:
    """Audit all nearly optimal last layers of a fitted network.

    The network's output is a linear model on its last hidden layer. With these learned
    features held fixed, the set of all last layers within the tolerance is the set of
    a logistic or ridge regression, and every range is exact *given the features*.
    Networks that learned other features are not in it: the ranges are inner bounds of
    the multiplicity of the network.

    This function is experimental: its interface may change without notice.

    Parameters
    ----------
    estimator : estimator
        A fitted ``MLPClassifier`` or ``MLPRegressor``, one of skdiff's networks whose
        output is linear in a hidden layer, or a pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
        Training rows of the network.
    y : array-like of shape (n_samples,)
        Their targets.
    epsilon : float, default=0.01
        Size of the set, as in :class:`RashomonClassifier`.
    alpha : float, default=None
        Strength of the penalty ``alpha ||w||^2 / 2`` beside the mean loss; the
        network's own weight decay if None. Learned features often separate the
        classes, and then a small penalty leaves a wide set.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    **rashomon_params : dict
        Other parameters of :class:`RashomonClassifier` or :class:`RashomonRegressor`.

    Returns
    -------
    audit : RashomonClassifier or RashomonRegressor
        Fitted; it takes rows as the network does. Its baseline is the *best* last
        layer, not the network's own, and its objective the log loss or half the
        squared error, whatever the network was trained on.

    Warns
    -----
    ConvergenceWarning
        If the network's own last layer is not in the set.

    See Also
    --------
    last_layer_features : The features alone.
    ModelListMultiplicity : Disagreement among whole networks.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.neural_network import MLPClassifier
    >>> from skdiff.multiplicity import last_layer_multiplicity
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> network = MLPClassifier(8, max_iter=2000, random_state=0).fit(X, y)
    >>> audit = last_layer_multiplicity(network, X, y, alpha=0.001, epsilon=0.1)
    >>> audit.predict_proba_range(X).shape
    (569, 2)
    """
    if alpha is not None and (
        not isinstance(alpha, Real) or not 0 <= float(alpha) < np.inf
    ):
        raise ValueError(f"alpha must be >= 0, got {alpha!r}.")
    network, n = _split(estimator)[1], len(y)
    coef, intercept, own = _last_layer(network, n)
    total = float(n)
    if sample_weight is not None:
        total = float(check_sample_weight(sample_weight, np.empty((n, 1))).sum())
    penalty = total * (own if alpha is None else float(alpha))
    head, cls = _head(network, coef, intercept, penalty)
    layers = make_pipeline(_Features(estimator), head)
    audit = cls(FrozenEstimator(layers), epsilon=epsilon, **rashomon_params)
    with warnings.catch_warnings():  # the one below explains what it means here
        warnings.filterwarnings(
            "ignore", ".*above the best objective", ConvergenceWarning
        )
        audit.fit(X, y, sample_weight=sample_weight)
    w = np.append(np.ravel(coef), np.ravel(intercept))
    _warn_outside(audit, w, network)
    return audit


def _head(network: Any, coef: Any, intercept: Any, penalty: float) -> tuple[Any, Any]:
    """The network's own last layer as a fitted linear model, and what audits it."""
    head: Any
    cls: Any
    if is_classifier(network):
        C = np.inf if penalty == 0 else 1.0 / penalty
        head, cls = LogisticRegression(C=C), RashomonClassifier
        head.classes_ = network.classes_
    else:
        if coef.shape[0] > 1:
            raise ValueError("estimator with several outputs is not supported.")
        head, cls = Ridge(alpha=penalty), RashomonRegressor
        coef, intercept = coef[0], float(intercept[0])
    head.coef_, head.intercept_, head.n_features_in_ = coef, intercept, coef.shape[-1]
    # it was trained on another objective, and is a start of the refinement only
    head.tol = np.inf
    return head, cls


def _warn_outside(audit: Any, w: Any, network: Any) -> Any:
    """The network's own last layer may lie beyond the tolerance."""
    fitted = audit._set
    d = fitted.scaling.n_features
    scaled = fitted.scaling.solver(w[None, :d], w[d:]).ravel()
    gap = fitted.level_set.problem.value(scaled) - fitted.level_set.objective
    if gap > fitted.budget:
        unit = fitted.loss_unit
        warnings.warn(
            f"The last layer of {type(network).__name__} is {gap * unit:.2g} above the "
            f"best one on its features, more than the tolerance "
            f"{audit.epsilon_:.2g}: the network itself is not in the audited set. "
            "Train it longer, or allow for it with a larger epsilon.",
            ConvergenceWarning,
            stacklevel=3,
        )


class _Features(TransformerMixin, BaseEstimator):
    """A fitted network as a transformer."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any = None) -> Any:
        """Do nothing: the network is fitted."""
        return self

    def transform(self, X: Any) -> Any:
        """Return the learned features."""
        return last_layer_features(self.estimator, X)

    def __sklearn_is_fitted__(self) -> Any:
        """It came fitted."""
        return True


def _split(estimator: Any) -> Any:
    """Return (transformers or None, network) of what the user gave."""
    inner = estimator
    while isinstance(inner, FrozenEstimator):
        inner = inner.estimator
    steps = None
    if isinstance(inner, Pipeline):
        steps, inner = inner[:-1], inner.steps[-1][1]
        while isinstance(inner, FrozenEstimator):
            inner = inner.estimator
    if not isinstance(inner, MLPClassifier | MLPRegressor | BaseNeural):
        raise ValueError(
            "estimator must be, or be a Pipeline that ends in, MLPClassifier, "
            f"MLPRegressor or a network of skdiff; got {type(inner).__name__}."
        )
    check_is_fitted(inner)
    if getattr(inner, "loss", "squared_error") == "poisson":
        raise ValueError("MLPRegressor with loss='poisson' is not supported.")
    return steps, inner


def _last_layer(network: Any, n: Any) -> Any:
    """Coefficients (n_outputs, n_hidden), intercepts, and the penalty beside the mean.

    Of two logits of two classes the difference counts.
    """
    if isinstance(network, BaseNeural):
        probe = np.zeros((1, network.n_features_in_))
        _, weight, bias = _torch_layers(network, probe)
        alpha = float(np.ravel(network.alpha)[-1])
        if is_classifier(network):
            if len(network.classes_) == 2 and len(weight) == 2:
                # the least ||w0||^2 + ||w1||^2 of a difference is half its square
                weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
                alpha /= 2
            return weight, bias, alpha
        scale, mean = np.ravel(network._y_scale), np.ravel(network._y_mean)
        return weight * scale[:, None], bias * scale + mean, alpha
    # scikit-learn adds alpha ||w||^2 / 2 to the sum of the losses of a batch
    rows = n
    if network.solver != "lbfgs":
        rows = min(n, 200 if network.batch_size == "auto" else network.batch_size)
    return network.coefs_[-1].T, network.intercepts_[-1], network.alpha / rows


def _torch_layers(network: Any, X: Any) -> Any:
    """Hidden features of X, and the weight and bias of the last layer."""
    if network._state is None:
        raise ValueError("The target was constant: there is no network to audit.")
    import torch

    module = network._module_for_prediction()
    if not (hasattr(module, "hidden") and hasattr(module, "layers")):
        raise ValueError(
            f"{type(network).__name__} in this configuration has no last layer that is "
            "linear in hidden features."
        )
    X = check_X(network, X, dtype=[np.float64, np.float32], reset=False)
    X = network._inputs(X)
    weight, bias = module.layers()[-1]
    table = torch.as_tensor(np.ascontiguousarray(X), dtype=weight.dtype)
    with torch.no_grad():
        parts = [module.hidden(part.to(weight.device)) for part in table.split(_ROWS)]
        hidden = torch.cat(parts)
        off = (
            module(table[:8].to(weight.device)) - (hidden[:8] @ weight.T + bias)
        ).abs()
    if off.numel() and float(off.max()) > 1e-3:
        raise ValueError(
            f"The output of {type(network).__name__} is not linear in its last hidden "
            "layer."
        )
    return tuple(
        tensor.detach().cpu().numpy().astype(np.float64)
        for tensor in (hidden, weight, bias)
    )
