"""How many directions of the parameters a training needs."""

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array
from skdiff._base.validation import is_real
from skdiff.inspection._geometry._dimension import numeric_rows
from skdiff.inspection._geometry._sharpness import read_target
from skdiff.inspection._representations._layers import unwrap

_DENSE = 10_000_000  # entries of a projection up to which it is dense
_STEPS = {"relu": 0, "tanh": 1, "logistic": 2, "identity": 3}


@dataclass(frozen=True)
class ObjectiveDimension:
    """How few directions of the parameters train a network nearly as well.

    Attributes
    ----------
    dimension_ : int
        Least number of directions whose median score reaches the threshold; the number
        of parameters where none does.
    compression_ : float
        Parameters per number that has to be stored.
    n_parameters_ : int
        Parameters of the network.
    full_score_, baseline_, threshold_ : float
        Score of the full training, score without any, and what has to be reached.
    dims_ : ndarray of shape (n_dims,)
        Numbers of directions that were tried.
    scores_ : ndarray of shape (n_dims, n_repeats)
        Scores of the validation rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from skdiff.inspection import ObjectiveDimension, objective_intrinsic_dimension
    >>> X, y = load_iris(return_X_y=True)
    >>> found = objective_intrinsic_dimension(
    ...     MLPClassifier(8), X, y, dims=[1, 4, 16], n_repeats=1, random_state=0
    ... )
    >>> isinstance(found, ObjectiveDimension)
    True
    """

    dimension_: int
    compression_: float
    n_parameters_: int
    full_score_: float
    baseline_: float
    threshold_: float
    dims_: Any
    scores_: Any

    def frame(self) -> Any:
        """Return one row per number of directions and repetition.

        Returns
        -------
        frame : DataFrame
            Columns ``dim``, ``repeat`` and ``score``.
        """
        repeats = self.scores_.shape[1]
        return require_pandas("frame").DataFrame(
            {
                "dim": np.repeat(self.dims_, repeats),
                "repeat": np.tile(np.arange(repeats), len(self.dims_)),
                "score": self.scores_.ravel(),
            }
        )


class Problem(NamedTuple):
    """Rows, targets as columns and the shapes of the layers."""

    X: Array
    Y: Array
    shapes: list[tuple[int, int]]
    activation: str
    alpha: float
    classes: bool

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum(a * b + b for a, b in self.shapes)


def unpack(theta: Array, shapes: list[tuple[int, int]]) -> list[tuple[Array, Array]]:
    """Split the parameters into weights (inputs, outputs) and biases."""
    found, start = [], 0
    for a, b in shapes:
        weight = theta[start : start + a * b].reshape(a, b)
        found.append((weight, theta[start + a * b : start + a * b + b]))
        start += a * b + b
    return found


def _activate(name: str, z: Array) -> Array:
    if name == "relu":
        return np.maximum(z, 0.0)
    if name == "identity":
        return z
    return np.tanh(z) if name == "tanh" else 0.5 * (1 + np.tanh(z / 2))


def _slope(name: str, h: Array) -> Any:
    """Derivative from the value of the activation."""
    kinds = (h > 0, 1 - h * h, h * (1 - h), 1.0)
    return kinds[_STEPS[name]]


def outputs(problem: Problem, theta: Array, X: Array) -> list[Array]:
    """Values of every layer, the last without activation."""
    found = [X]
    layers = unpack(theta, problem.shapes)
    for k, (weight, bias) in enumerate(layers):
        z = found[-1] @ weight + bias
        found.append(_activate(problem.activation, z) if k < len(layers) - 1 else z)
    return found


def objective(problem: Problem, theta: Array) -> tuple[float, Array]:
    """Mean loss with penalty, and its gradient."""
    values, n = outputs(problem, theta, problem.X), len(problem.X)
    out = values[-1]
    if problem.classes:
        shifted = out - out.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss, delta = -(problem.Y * log_p).sum() / n, (np.exp(log_p) - problem.Y) / n
    else:
        delta = (out - problem.Y) / n
        loss = 0.5 * n * (delta**2).sum()
    layers = unpack(theta, problem.shapes)
    gradient: list[Array] = []
    for k in range(len(layers) - 1, -1, -1):
        weight, _ = layers[k]
        step = values[k].T @ delta + problem.alpha * weight
        loss += 0.5 * problem.alpha * (weight**2).sum()
        gradient = [step.ravel(), delta.sum(axis=0), *gradient]
        if k:
            delta = (delta @ weight.T) * _slope(problem.activation, values[k])
    return float(loss), np.concatenate(gradient)


def start(problem: Problem, rng: Any) -> Array:
    """Uniform weights of Glorot and Bengio; zeros of a linear model."""
    if len(problem.shapes) == 1:
        return np.zeros(problem.n_parameters)
    parts = []
    for a, b in problem.shapes:
        bound = np.sqrt(6 / (a + b))
        parts += [rng.uniform(-bound, bound, a * b), np.zeros(b)]
    return np.concatenate(parts)


def make_projection(kind: str, D: int, d: int, rng: Any) -> Any:
    """Random directions (D, d): unit columns, orthonormal ones, or sparse ones."""
    if kind == "auto":
        kind = "dense" if D * d <= _DENSE else "sparse"
    if kind == "sparse":
        density = 1 / np.sqrt(D)
        P = sparse.random(
            D,
            d,
            density,
            "csc",
            random_state=rng,
            data_rvs=lambda k: rng.choice([-1.0, 1.0], k),
        )
        size = np.sqrt(np.asarray(P.multiply(P).sum(axis=0)).ravel())
        return P @ sparse.diags_array(1 / np.maximum(size, 1e-300))
    P = rng.standard_normal((D, d))
    return (
        np.linalg.qr(P)[0] if kind == "orthonormal" else P / np.linalg.norm(P, axis=0)
    )


def train(problem: Problem, theta: Array, P: Any, max_iter: int) -> Array:
    """Minimise over theta + P z; over theta itself without P."""

    def value(z: Array) -> tuple[float, Array]:
        loss, gradient = objective(problem, theta + (z if P is None else P @ z))
        return loss, gradient if P is None else P.T @ gradient

    size = len(theta) if P is None else P.shape[1]
    found = minimize(
        value,
        np.zeros(size),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "maxfun": 2 * max_iter},
    )
    return theta + (found.x if P is None else P @ found.x)


def score(problem: Problem, theta: Array, X: Array, Y: Array) -> float:
    """Accuracy or R squared."""
    out = outputs(problem, theta, X)[-1]
    if problem.classes:
        return float((out.argmax(axis=1) == Y.argmax(axis=1)).mean())
    return float(1 - ((out - Y) ** 2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum())


def objective_intrinsic_dimension(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    threshold: float = 0.9,
    dims: Any = "geometric",
    n_repeats: int = 3,
    projection: str = "auto",
    max_iter: int = 200,
    validation_fraction: float = 0.3,
    random_state: Any = None,
) -> ObjectiveDimension:
    """Find in how few random directions a network can be trained nearly as well.

    Parameters move in theta_0 + P z only, with random directions P. The least number of
    directions that reaches 90 % of what full training gains over no training is how
    many numbers the solution needs, rather than how many the network has.

    Parameters
    ----------
    estimator : estimator
        Multilayer perceptron of scikit-learn or of skdiff, fitted or not: its
        ``hidden_layer_sizes``, ``activation`` and ``alpha`` are read. A pipeline that
        ends in one must be fitted.
    X : array-like of shape (n_samples, n_features)
        Rows; standardise them first.
    y : array-like of shape (n_samples,)
        Classes or numbers.
    threshold : float, default=0.9
        Fraction of the gain of full training that has to be reached.
    dims : "geometric" or array-like of int, default="geometric"
        Numbers of directions to try. ``"geometric"`` doubles from 1 until the threshold
        is reached and then bisects.
    n_repeats : int, default=3
        Random directions per number; the median score counts.
    projection : {"auto", "dense", "orthonormal", "sparse"}, default="auto"
        Directions: Gaussian with unit length, orthonormal, or sparse; ``"auto"`` is
        dense up to ten million entries.
    max_iter : int, default=200
        Maximum number of iterations of each training (L-BFGS on all rows).
    validation_fraction : float, default=0.3
        Fraction of the rows in the validation set.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    found : ObjectiveDimension
        The dimension, with the curve.

    Notes
    -----
    Costs about ``n_repeats`` times twice the logarithm of the dimension full trainings.
    Where the target needs all of D linear coefficients the dimension is .9 D.

    References
    ----------
    C. Li, H. Farkhoor, R. Liu and J. Yosinski, "Measuring the Intrinsic Dimension of
    Objective Landscapes", ICLR 2018, arXiv:1804.08838.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from skdiff.inspection import objective_intrinsic_dimension
    >>> X, y = load_iris(return_X_y=True)
    >>> found = objective_intrinsic_dimension(
    ...     MLPClassifier(20), X - X.mean(axis=0), y, n_repeats=1, random_state=0
    ... )
    >>> found.dimension_ < found.n_parameters_ / 5
    True
    """
    _check(threshold, n_repeats, max_iter, projection, validation_fraction)
    net, X = unwrap(estimator, X)
    X, rng = numeric_rows(X), check_random_state(random_state)
    problem, held = _problem(net, X, y, validation_fraction, rng)
    D, theta = problem.n_parameters, start(problem, rng)
    full = score(problem, train(problem, theta, None, max_iter), *held)
    base = score(problem, theta, *held)
    if problem.classes:
        base = max(base, float(problem.Y.mean(axis=0).max()))
    else:
        base = 0.0
    wanted = base + threshold * (full - base)
    tried: dict[int, list[float]] = {}

    def reaches(d: int) -> bool:
        if d not in tried:
            tried[d] = []
            for _ in range(n_repeats):
                theta = start(problem, rng)
                P = make_projection(projection, D, d, rng)
                tried[d].append(
                    score(problem, train(problem, theta, P, max_iter), *held)
                )
        return bool(np.median(tried[d]) >= wanted)

    dimension = _search(reaches, dims, D)
    order = np.array(sorted(tried))
    return ObjectiveDimension(
        dimension,
        D / (dimension + 2),
        D,
        full,
        base,
        wanted,
        order,
        np.array([tried[int(d)] for d in order]),
    )


def _search(reaches: Any, dims: Any, D: int) -> int:
    """Least dimension that reaches the threshold."""
    if not isinstance(dims, str):
        found = [d for d in _whole(dims, D) if reaches(d)]
        return min(found, default=D)
    if dims != "geometric":
        raise ValueError(f'dims must be "geometric" or a list of int. Got {dims!r}.')
    low, high = 0, 1
    while high < D and not reaches(high):
        low, high = high, min(2 * high, D)
    # to 5 %, which is what random directions leave uncertain
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def _whole(dims: Any, D: int) -> list[int]:
    found = np.atleast_1d(np.asarray(dims))
    if found.dtype.kind not in "iu" or np.any((found < 1) | (found > D)):
        raise ValueError(f"dims must be whole numbers from 1 to {D}. Got {dims!r}.")
    return [int(d) for d in found]


def _problem(
    net: Any, X: Array, y: Any, fraction: float, rng: Any
) -> tuple[Problem, tuple[Array, Array]]:
    for name in ("hidden_layer_sizes", "activation"):
        if not hasattr(net, name):
            raise TypeError(
                "estimator must be a multilayer perceptron with hidden_layer_sizes and "
                f"activation. Got {type(net).__name__}."
            )
    if net.activation not in _STEPS:
        raise ValueError(
            f"activation must be one of {', '.join(_STEPS)}. Got {net.activation!r}."
        )
    task = "classification" if is_classifier(net) else "regression"
    target = read_target(y, X, "objective_intrinsic_dimension", task)
    if target.n_classes == 1:
        raise ValueError("y has one class only; two are needed.")
    if target.n_classes:
        Y = np.eye(target.n_classes)[target.values]
    else:
        Y = target.values[:, None]
        Y = (Y - Y.mean()) / (Y.std() or 1.0)
    parts = train_test_split(X, Y, test_size=fraction, random_state=rng)
    hidden = [int(h) for h in np.atleast_1d(net.hidden_layer_sizes)]
    sizes = [X.shape[1], *hidden, Y.shape[1]]
    shapes = list(itertools.pairwise(sizes))
    alpha = float(np.ravel(getattr(net, "alpha", 0.0))[-1]) / len(parts[0])
    problem = Problem(
        parts[0], parts[2], shapes, net.activation, alpha, bool(target.n_classes)
    )
    return problem, (parts[1], parts[3])


def _check(
    threshold: Any, n_repeats: Any, max_iter: Any, projection: Any, fraction: Any
) -> None:
    for name, value in (("threshold", threshold), ("validation_fraction", fraction)):
        if not is_real(value) or not 0 < value < 1:
            raise ValueError(f"{name} must lie in (0, 1). Got {value!r}.")
    for name, value in (("n_repeats", n_repeats), ("max_iter", max_iter)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive int. Got {value!r}.")
    if projection not in ("auto", "dense", "orthonormal", "sparse"):
        raise ValueError(
            'projection must be "auto", "dense", "orthonormal" or "sparse". '
            f"Got {projection!r}."
        )
