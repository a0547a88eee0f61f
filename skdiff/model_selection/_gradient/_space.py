"""The outer variables: intervals of hyperparameters and how they map to values.

The search moves ``theta``, one number a free hyperparameter. A logarithmic interval is
searched in the logarithm, a linear one in the share of its length, a bounded share
through the logistic function, so that every variable has a range of a few units.
"""

from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import scipy.stats
from scipy.special import expit

from skdiff._base.typing import FloatArray as Array

SCALES = ("log", "linear", "logit")
PER = (None, "feature", "group", "output", "layer", "coefficient", "sample")
_NAMES = ("loguniform", "reciprocal", "uniform")
_LOGIT_END = 8.0  # where the logistic function is within 3e-4 of its ends


@dataclass(frozen=True)
class Continuous:
    """An interval of a continuous hyperparameter, for one value or for many.

    Use it in the ``param_distributions`` of :class:`GradientSearchCV` where a frozen
    ``loguniform`` or ``uniform`` is not enough: for a penalty per feature, per group,
    per output or per layer of a network, a weight per row, or a bounded share.

    Parameters
    ----------
    low : float
        Lower bound of the interval.
    high : float
        Upper bound of the interval.
    scale : {"log", "linear", "logit"}, default="log"
        ``"log"`` searches the logarithm and needs ``low > 0``. ``"linear"`` searches
        the value itself. ``"logit"`` searches ``low + (high - low) / (1 +
        exp(-theta))``, which approaches the ends without reaching them: for weights
        and shares.
    per : {None, "feature", "group", "output", "layer", "coefficient", "sample"}, \
            default=None
        What has a value of its own: nothing (one value for all), each feature that
        the last step sees, each group named in ``groups``, each target, each weight
        matrix of a network (from the input on), each coefficient of a model with a row
        of them a class, or each row.
    groups : array-like, default=None
        With ``per="group"``: a label for each feature, for each weight matrix of a
        network or, for row weights, for each row. Equal labels share a value.
    init : float, default=None
        Where searches in several dimensions and row weights start; the middle of the
        interval in its scale if None.

    See Also
    --------
    GradientSearchCV : What searches the interval.

    Examples
    --------
    >>> from skdiff.model_selection import Continuous
    >>> Continuous(1e-3, 1e3, per="feature")
    Continuous(low=0.001, high=1000.0, scale='log', per='feature')
    """

    low: float
    high: float
    scale: str = "log"
    per: str | None = None
    groups: Any = None
    init: float | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        try:
            low, high = float(self.low), float(self.high)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"low and high must be numbers, got {self.low!r} and {self.high!r}."
            ) from error
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(
                f"low must be finite and smaller than high, got low={self.low!r}, "
                f"high={self.high!r}."
            )
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, got {self.scale!r}.")
        if self.per not in PER:
            raise ValueError(f"per must be one of {PER}, got {self.per!r}.")
        if self.scale == "log" and low <= 0:
            raise ValueError(
                f"A logarithmic interval needs low > 0, got low={self.low!r}. Use "
                'scale="linear" for an interval that holds zero.'
            )
        if (self.per == "group") != (self.groups is not None):
            raise ValueError('groups must be given with per="group" and only then.')
        if self.init is not None and not low <= float(self.init) <= high:
            raise ValueError(
                f"init must lie within [{self.low}, {self.high}], got {self.init!r}."
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def __repr__(self) -> str:
        """Show what differs from the defaults."""
        shown = [f"low={self.low}", f"high={self.high}"]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value is not field.default and value != field.default:
                text = "..." if field.name == "groups" else repr(value)
                shown.append(f"{field.name}={text}")
        if self.scale == "log":
            shown.insert(2, "scale='log'")
        return f"Continuous({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        """Compare by value; groups may be arrays."""
        if not isinstance(other, Continuous):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return all(
            np.array_equal(mine[k], theirs[k]) if k == "groups" else mine[k] == v
            for k, v in theirs.items()
        )

    def __hash__(self) -> int:
        """Hash by the interval alone."""
        return hash((self.low, self.high, self.scale, self.per))

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of the interval of the outer variable."""
        if self.scale == "log":
            return float(np.log(self.low)), float(np.log(self.high))
        if self.scale == "linear":
            return 0.0, 1.0
        return -_LOGIT_END, _LOGIT_END

    def value(self, theta: Array) -> Array:
        """Hyperparameter at an outer variable.

        Parameters
        ----------
        theta : ndarray
            Outer variables.

        Returns
        -------
        value : ndarray
            Hyperparameters.
        """
        if self.scale == "log":
            return np.clip(np.exp(theta), self.low, self.high)
        if self.scale == "linear":
            return self.low + (self.high - self.low) * theta
        return self.low + (self.high - self.low) * expit(theta)

    def slope(self, theta: Array) -> Array:
        """Derivative of the hyperparameter in the outer variable.

        Parameters
        ----------
        theta : ndarray
            Outer variables.

        Returns
        -------
        slope : ndarray
            Derivatives.
        """
        if self.scale == "log":
            return np.exp(theta)
        if self.scale == "linear":
            return np.full_like(np.asarray(theta, dtype=float), self.high - self.low)
        share = expit(theta)
        return (self.high - self.low) * share * (1 - share)

    def invert(self, value: Any) -> Array:
        """Outer variable of a hyperparameter.

        Parameters
        ----------
        value : float or ndarray
            Hyperparameters.

        Returns
        -------
        theta : ndarray
            Outer variables.
        """
        value = np.asarray(value, dtype=float)
        if self.scale == "log":
            return np.log(value)
        share = (value - self.low) / (self.high - self.low)
        if self.scale == "linear":
            return share
        low, high = self.bounds
        share = np.clip(share, expit(low), expit(high))
        return np.log(share / (1 - share))

    def start(self) -> float:
        """Outer variable where a search begins."""
        low, high = self.bounds
        return (low + high) / 2 if self.init is None else float(self.invert(self.init))


@dataclass(frozen=True)
class Variable:
    """One hyperparameter of the search: its interval, and which entries are tied.

    ``codes[j]`` is the outer variable of entry ``j``; None for a single number. A
    ``shape`` says that the estimator takes the entries as a matrix, ``by_row`` that
    they belong to the rows.
    """

    key: str
    name: str
    spec: Continuous
    codes: Array | None
    shape: tuple[int, ...] | None = None
    by_row: bool = False

    @property
    def size(self) -> int:
        """Outer variables."""
        return 1 if self.codes is None else int(self.codes.max(initial=-1)) + 1

    def value(self, theta: Array) -> Any:
        """Value for the estimator: a float, or an array."""
        values = self.spec.value(theta)
        if self.codes is None:
            return float(values[0])
        found = values[self.codes]
        return found if self.shape is None else found.reshape(self.shape)

    def pull(self, theta: Array, gradient: Any) -> Array:
        """Turn a gradient in the value into one in the outer variables."""
        gradient = np.ravel(np.asarray(gradient, dtype=float))
        if self.codes is None:
            total = np.array([gradient.sum()])
        else:
            total = np.bincount(self.codes, weights=gradient, minlength=self.size)
        return total * self.spec.slope(theta)


class Space:
    """All outer variables of one search, stacked."""

    def __init__(self, variables: list[Variable]) -> None:
        self.variables = variables
        ends = np.cumsum([0] + [v.size for v in variables])
        self.slices = [slice(a, b) for a, b in pairwise(ends)]
        self.size = int(ends[-1])

    @property
    def by_row(self) -> list[str]:
        """Names of hyperparameters with a value per row."""
        return [v.name for v in self.variables if v.by_row]

    def n_entries(self, name: str) -> int:
        """Number of values of a vector."""
        codes = next(v.codes for v in self.variables if v.name == name)
        return 1 if codes is None else len(codes)

    def _stack(self, what: Any) -> Array:
        return np.concatenate([np.full(v.size, what(v)) for v in self.variables])

    @property
    def lower(self) -> Array:
        """Lower ends."""
        return self._stack(lambda v: v.spec.bounds[0])

    @property
    def upper(self) -> Array:
        """Upper ends."""
        return self._stack(lambda v: v.spec.bounds[1])

    def start(self) -> Array:
        """Where a search begins."""
        return self._stack(lambda v: v.spec.start())

    def values(self, theta: Array) -> dict[str, Any]:
        """Values by the inner problem's names."""
        pairs = zip(self.variables, self.slices, strict=True)
        return {v.name: v.value(theta[s]) for v, s in pairs}

    def pull(self, theta: Array, gradients: dict[str, Any]) -> Array:
        """Gradient in the outer variables from those in the values."""
        pairs = zip(self.variables, self.slices, strict=True)
        return np.concatenate([v.pull(theta[s], gradients[v.name]) for v, s in pairs])

    def tied(self) -> "Space":
        """Return the space in which every vector is one number."""
        return Space(
            [
                Variable(
                    v.key,
                    v.name,
                    v.spec,
                    None if v.codes is None else np.zeros_like(v.codes),
                    v.shape,
                    v.by_row,
                )
                for v in self.variables
            ]
        )

    def untie(self, theta: Array) -> Array:
        """Bring a point of the tied space to this one."""
        return np.concatenate(
            [np.full(v.size, t) for v, t in zip(self.variables, theta, strict=True)]
        )

    def penalty(
        self, theta: Array, centre: Array, weight: float
    ) -> tuple[float, Array]:
        """``weight / 2 * sum over vectors of mean (theta - centre)^2``, with slope."""
        value, gradient = 0.0, np.zeros_like(theta)
        for variable, part in zip(self.variables, self.slices, strict=True):
            if variable.size > 1:
                off = theta[part] - centre[part]
                value += weight * float(np.mean(off**2)) / 2
                gradient[part] = weight * off / variable.size
        return value, gradient


def from_distribution(key: str, given: Any) -> Continuous | list[Any]:
    """Return the interval or the list that an entry of the dictionary means."""
    if isinstance(given, Continuous):
        return given
    name = getattr(getattr(given, "dist", None), "name", None)
    if name in _NAMES:
        low, high = (float(end) for end in given.support())
        return Continuous(low, high, scale="linear" if name == "uniform" else "log")
    if name is not None:
        raise ValueError(
            f"param_distributions[{key!r}] is a {name} distribution. Gradient search "
            "needs an interval: loguniform, uniform or Continuous."
        )
    if _is_interval(given):
        raise ValueError(
            f"param_distributions[{key!r}] = {given!r} is a tuple of two numbers. For "
            f"the interval between them write Continuous{given!r} or "
            f"loguniform{given!r}; to try these two values alone, {list(given)!r}."
        )
    # values of a list may be tuples themselves, such as the sizes of hidden layers
    flat = isinstance(given, np.ndarray) and given.ndim == 1
    if flat or isinstance(given, (list, tuple)):
        if len(given) == 0:
            raise ValueError(f"param_distributions[{key!r}] is an empty list.")
        return list(given)
    raise TypeError(
        f"param_distributions[{key!r}] must be a Continuous, a frozen loguniform or "
        f"uniform, or a list of values. Got {given!r}."
    )


def _is_interval(given: Any) -> bool:
    """Whether a tuple looks like the two ends of an interval."""
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and all(isinstance(end, Real) and not isinstance(end, bool) for end in given)
    )


_INTERVAL, _FROZEN = "skdiff interval", "scipy interval"


def to_plain(given: Any) -> Any:
    """Turn an interval into plain values, which a file without pickle can hold."""
    if isinstance(given, Continuous):
        return {_INTERVAL: [getattr(given, n) for n in _FIELDS]}
    name = getattr(getattr(given, "dist", None), "name", None)
    if name in _NAMES:
        return {_FROZEN: [name, list(given.args), dict(given.kwds)]}
    return given


def from_plain(given: Any) -> Any:
    """Bring an interval back."""
    if isinstance(given, dict) and set(given) == {_INTERVAL}:
        return Continuous(*given[_INTERVAL])
    if isinstance(given, dict) and set(given) == {_FROZEN}:
        name, args, keywords = given[_FROZEN]
        if name not in _NAMES:
            raise ValueError(f"{name!r} is no interval.")
        return getattr(scipy.stats, name)(*args, **keywords)
    return given


_FIELDS = tuple(Continuous.__dataclass_fields__)
