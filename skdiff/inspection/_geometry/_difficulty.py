"""Generalisation difficulty of a task, from its geometry.

A. Boopathy, K. Liu, J. Hwang, S. Ge, A. Mohammedsaleh and I. Fiete, "Model-agnostic
Measure of Generalization Difficulty", ICML 2023, and the constants of its code.
"""

from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gammaln
from sklearn.utils import check_random_state

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array
from skdiff._base.validation import is_real
from skdiff.inspection._geometry._dimension import intrinsic_dimension, numeric_rows
from skdiff.inspection._geometry._sharpness import (
    Target,
    nearest_other_class,
    read_target,
)

_PAIRS, _TOP = 1_000_000, 2_000  # sampled pairs, and how many make the tail
_MOST_EXACT = 20_000  # rows up to which the nearest rows are searched


@dataclass(frozen=True)
class GeneralizationDifficulty:
    """The difficulty of a task with all that it was computed from.

    Attributes
    ----------
    bits : float
        Bits of prior knowledge that reaching the target error needs beyond the rows;
        infinity where it exceeds the largest float.
    log10_bits : float
        Its decimal logarithm; minus infinity for 0 bits.
    target_error, intrinsic_dim, delta, radius, n_samples, n_classes : float or int
        Constants of the formula; ``n_classes`` is 0 for regression.
    output_bound : float
        Bound of the outputs.
    frequency : float
        Largest frequency that the target may have on a sphere of that dimension.
    n_functions : float
        Number of functions up to that frequency (natural logarithm).

    Examples
    --------
    >>> from skdiff.inspection import generalization_difficulty
    >>> mnist = generalization_difficulty(
    ...     target_error=0.001, intrinsic_dim=14, delta=2.3987, radius=17.179,
    ...     n_samples=60_000, n_classes=10,
    ... )
    >>> round(mnist.log10_bits, 1)
    16.2
    """

    bits: float
    log10_bits: float
    target_error: float
    intrinsic_dim: float
    delta: float
    radius: float
    n_samples: int
    n_classes: int
    output_bound: float
    frequency: float
    n_functions: float

    def frame(self) -> Any:
        """Return one row with all fields.

        Returns
        -------
        frame : DataFrame
            One row.
        """
        return require_pandas("frame").DataFrame([asdict(self)])


def _log_choose(a: float, b: float) -> float:
    return float(gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1))


def difficulty(
    error: float, m: float, delta: float, radius: float, n: int, classes: int, B: float
) -> tuple[float, float, float]:
    """Return the logarithm of the bits, the frequency K and ln E.

    M = 2 pi R / delta, K = (sqrt((m - 1)^2 + 4 M^2) - (m - 1)) / 2,
    E = C(m + K, m) + C(m + K - 1, m), and
    bits = (2 D P E - n D) log2(B sqrt(D P) L W / error) with L = K sqrt(D) / R.
    """
    D, P = max(classes - 1, 1), max(classes, 1)
    M = 2 * np.pi * radius / delta
    K = (np.sqrt((m - 1) ** 2 + 4 * M * M) - (m - 1)) / 2
    log_e = np.logaddexp(_log_choose(m + K, m), _log_choose(m + K - 1, m))
    area = np.log(2) + (m + 1) / 2 * np.log(np.pi) + np.log(P) - gammaln((m + 1) / 2)
    log_w = 0.5 * np.log(m / 6) + area / m + np.log(radius) - np.log(n) / m
    log_l = np.log(K) + 0.5 * np.log(D) - np.log(radius)
    each = np.log(B) + 0.5 * np.log(D * P) - np.log(error) + log_l + log_w
    # 2 D P E - n D as a logarithm, for it overflows in high dimension
    gap = np.log(n) - np.log(2 * P) - log_e
    if each <= 0 or gap >= 0:
        return -np.inf, float(K), float(log_e)
    count = np.log(2 * D * P) + log_e + np.log1p(-np.exp(gap))
    return float(count + np.log(each / np.log(2))), float(K), float(log_e)


def extreme_quantile(values: Array, probability: float, top: int) -> float:
    """Return the value exceeded with a small probability.

    Moment estimator of A. Dekkers, J. Einmahl and L. de Haan (1989), on the ``top``
    largest of the values.
    """
    ordered = np.sort(values)[::-1]
    top = min(top, len(ordered) - 1)
    base = ordered[top]
    logs = np.log(ordered[:top]) - np.log(base)
    first, second = logs.mean(), (logs**2).mean()
    if first == 0:
        return float(base)
    low = 1 - 0.5 / max(1 - first**2 / second, 1e-12)
    gamma = first + low
    ratio = top / (len(values) * probability)
    grown = np.log(ratio) if abs(gamma) < 1e-8 else (ratio**gamma - 1) / gamma
    return float(base + base * first * (1 - low) * grown)


def smallest_distance(X: Array, target: Target, resolution: float) -> tuple[float, Any]:
    """Return the least distance of two rows that differ in y, and their numbers."""
    if target.n_classes:
        distance, row = nearest_other_class(X, target.values)
        first = int(distance.argmin())
        return float(distance[first]), (first, int(row[first]))
    best, where = np.inf, (0, 0)
    for start in range(0, len(X), 1000):
        rows = slice(start, start + 1000)
        distance = cdist(X[rows], X)
        near = np.abs(target.values[rows, None] - target.values) < resolution
        distance[near] = np.inf
        at = np.unravel_index(distance.argmin(), distance.shape)
        if distance[at] < best:
            best, where = float(distance[at]), (start + int(at[0]), int(at[1]))
    return best, where


def extrapolated_distance(X: Array, target: Target, resolution: float, rng: Any) -> Any:
    """Return the least distance among all pairs as sampled pairs let expect it."""
    first, second = rng.randint(len(X), size=(2, _PAIRS))
    values = target.values
    far = values[first] != values[second]
    if not target.n_classes:
        far = np.abs(values[first] - values[second]) >= resolution
    first, second = first[far], second[far]
    if len(first) < 2:
        return np.inf, (0, 0)
    distance = np.sqrt(((X[first] - X[second]) ** 2).sum(axis=1))
    at = int(distance.argmin())
    where = (int(first[at]), int(second[at]))
    if distance[at] == 0:
        return 0.0, where
    pairs = far.mean() * len(X) ** 2 / 2
    largest = extreme_quantile(1 / distance, 1 / pairs, min(_TOP, len(first) // 20 + 2))
    return float(min(distance[at], 1 / max(largest, 1e-300))), where


def generalization_difficulty(
    X: Any = None,
    y: Any = None,
    target_error: float = 0.01,
    *,
    intrinsic_dim: float | None = None,
    delta: Any = "evt",
    radius: float | None = None,
    n_samples: int | None = None,
    n_classes: int | None = None,
    output_bound: float = 1.0,
    regression_resolution: float | None = None,
    random_state: Any = None,
) -> GeneralizationDifficulty:
    """Return how many bits of prior knowledge a task needs beyond its rows.

    A closed form in the geometry of the data: their dimension, their extent, and the
    smallest distance at which the label changes. It grows like a power of extent over
    distance with the dimension as exponent, so that its logarithm is what compares
    tasks. It is 0 where the rows determine the target.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), default=None
        Rows; not needed where all constants are given.
    y : array-like of shape (n_samples,), default=None
        Classes or numbers.
    target_error : float, default=0.01
        Error that is to be reached, in the units of the outputs.
    intrinsic_dim : float, default=None
        Dimension of the data; by default :func:`intrinsic_dimension` with five
        neighbours, rounded.
    delta : {"evt", "sample"} or float, default="evt"
        Distance at which the label changes. ``"sample"`` is the smallest distance of
        two rows of different classes; ``"evt"`` is the same up to 20 000 rows, and
        extrapolates from a million sampled pairs beyond.
    radius : float, default=None
        Largest norm of a row, by default after centring.
    n_samples : int, default=None
        Number of rows; by default that of X.
    n_classes : int, default=None
        Number of classes; by default that of y. 0 or 1 stands for one number.
    output_bound : float, default=1.0
        Bound of the outputs.
    regression_resolution : float, default=None
        Difference of y from which two rows count as different; a tenth of the standard
        deviation by default. Regression only.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    difficulty : GeneralizationDifficulty
        The bits, with every constant.

    Notes
    -----
    The published value of ImageNet is 3.58e41 bits: these are no bits that anybody
    could count, but an order of tasks. Compare logarithms.

    References
    ----------
    A. Boopathy, K. Liu, J. Hwang, S. Ge, A. Mohammedsaleh and I. Fiete, "Model-agnostic
    Measure of Generalization Difficulty", ICML 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdiff.inspection import generalization_difficulty
    >>> X, y = load_digits(return_X_y=True)
    >>> round(generalization_difficulty(X, y, 0.1).log10_bits)
    9
    """
    given = [intrinsic_dim, radius, n_samples, n_classes]
    complete = None not in given and not isinstance(delta, str)
    if X is None and not complete:
        raise ValueError(
            "Pass X and y, or all of intrinsic_dim, delta, radius, n_samples and "
            "n_classes."
        )
    if X is not None and not complete:
        X = numeric_rows(X)
        measured = _measure(X, y, delta, regression_resolution, random_state, given)
        intrinsic_dim, radius, n_samples, n_classes, delta = measured
    _check(target_error, intrinsic_dim, delta, radius, n_samples, output_bound)
    if not isinstance(n_classes, Integral) or n_classes < 0:
        raise ValueError(f"n_classes must be an int >= 0. Got {n_classes!r}.")
    constants: Any = (target_error, intrinsic_dim, delta, radius, n_samples)
    constants += (int(n_classes), output_bound)
    log, K, log_e = difficulty(*constants)
    with np.errstate(over="ignore"):
        bits = float(np.exp(log))
    return GeneralizationDifficulty(
        *(bits, float(log / np.log(10)), *constants, K, log_e)
    )


def _measure(
    X: Array, y: Any, delta: Any, resolution: Any, random_state: Any, given: Any
) -> tuple[Any, ...]:
    """Fill in the constants that were not given."""
    target = read_target(y, X, "generalization_difficulty")
    rng = check_random_state(random_state)
    intrinsic_dim, radius, n_samples, n_classes = given
    if intrinsic_dim is None:
        intrinsic_dim = max(1, round(intrinsic_dimension(X, random_state=rng)))
    if radius is None:
        radius = float(np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=1).max()))
    if isinstance(delta, str):
        delta = _distance(X, target, delta, resolution, rng)
    n_samples = len(X) if n_samples is None else n_samples
    n_classes = target.n_classes if n_classes is None else n_classes
    return intrinsic_dim, radius, n_samples, n_classes, delta


def _distance(X: Array, target: Target, how: str, resolution: Any, rng: Any) -> float:
    if how not in ("evt", "sample"):
        raise ValueError(f'delta must be "evt", "sample" or a number. Got {how!r}.')
    if resolution is None:
        resolution = 0.0 if target.n_classes else 0.1 * float(np.std(target.values))
        if not target.n_classes and resolution == 0:
            raise ValueError("y is the same in all rows: there is nothing to learn.")
    elif not is_real(resolution) or not 0 < resolution < np.inf:
        raise ValueError(
            f"regression_resolution must be a positive number. Got {resolution!r}."
        )
    if how == "evt" and len(X) > _MOST_EXACT:
        found, (i, j) = extrapolated_distance(X, target, resolution, rng)
    elif target.n_classes == 1:
        found, (i, j) = np.inf, (0, 0)
    else:
        found, (i, j) = smallest_distance(X, target, resolution)
    if found == np.inf:
        raise ValueError("y is the same in all rows: there is nothing to learn.")
    if found == 0:
        raise ValueError(
            f"Rows {i} and {j} are equal and have different labels: no function fits "
            "them. Remove such rows, or give delta."
        )
    return float(found)


def _check(
    error: Any, m: Any, delta: Any, radius: Any, n_samples: Any, bound: Any
) -> None:
    checked = {
        "target_error": error,
        "delta": delta,
        "radius": radius,
        "n_samples": n_samples,
        "output_bound": bound,
    }
    for name, value in checked.items():
        if not is_real(value) or not 0 < value < np.inf:
            raise ValueError(f"{name} must be a positive number. Got {value!r}.")
    if not is_real(m) or not 1 <= m < np.inf:
        raise ValueError(f"intrinsic_dim must be at least 1. Got {m!r}.")
