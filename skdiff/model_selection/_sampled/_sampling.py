"""Random settings from lists and distributions, without repeating what was tried."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

Setting = dict[str, Any]
Space = Mapping[str, Any]

# beyond this many settings a grid is drawn from, never listed
LISTED = 100_000


def setting_key(setting: Setting) -> tuple[Any, ...]:
    """A hashable name of a setting: equal for equal values of one type."""
    return tuple((name, value_key(setting[name])) for name in sorted(setting))


def value_key(value: Any) -> Any:
    """A hashable name of one value."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value).__name__, value
    if isinstance(value, BaseEstimator):
        return "estimator", id(value), repr(value)
    return type(value).__name__, repr(value)


def check_space(space: Any) -> list[Space]:
    """Return the space as a list of dictionaries, or say what is wrong with it."""
    spaces = [space] if isinstance(space, Mapping) else space
    if not isinstance(spaces, Sequence) or isinstance(spaces, str) or not spaces:
        raise TypeError(
            "param_distributions must be a dictionary or a non-empty list of them. "
            f"Got {space!r} instead."
        )
    for one in spaces:
        if not isinstance(one, Mapping):
            raise TypeError(
                "param_distributions must be a dictionary or a list of dictionaries. "
                f"It holds {one!r}."
            )
        for name, values in one.items():
            if hasattr(values, "rvs"):
                continue
            listed = isinstance(values, (Sequence, np.ndarray))
            if not listed or isinstance(values, str):
                raise TypeError(
                    f"Parameter {name!r} in param_distributions needs a list of "
                    f"values or a distribution with a method rvs. Got {values!r}."
                )
            if len(values) == 0:
                raise ValueError(
                    f"Parameter {name!r} in param_distributions has an empty list."
                )
            if isinstance(values, tuple):
                refuse_interval(name, values)
    return list(spaces)


def is_number(value: Any) -> bool:
    """Tell whether a value is a number to compute with (a boolean is not)."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, (bool, np.bool_)
    )


def refuse_interval(name: str, values: tuple[Any, ...]) -> None:
    """Refuse a tuple of two rising numbers, which looks like bounds."""
    if len(values) != 2 or not all(map(is_number, values)) or values[0] >= values[1]:
        return
    low, high = values
    if all(isinstance(v, (int, np.integer)) for v in values):
        interval = f"scipy.stats.randint({low}, {high + 1})"
    elif low > 0 and high >= 10 * low:
        interval = f"scipy.stats.loguniform({low}, {high})"
    else:
        interval = f"scipy.stats.uniform({low}, {high - low})"
    raise ValueError(
        f"Parameter {name!r} in param_distributions is the tuple {values}: for the "
        f"interval give {interval}, for these two values the list {list(values)}."
    )


class SettingSampler:
    """Draw settings from a space; a finite one is drawn without replacement."""

    def __init__(self, space: Any, rng: np.random.RandomState) -> None:
        self.spaces = check_space(space)
        self.rng = rng
        self.names = [sorted(one) for one in self.spaces]
        finite = not any(hasattr(v, "rvs") for one in self.spaces for v in one.values())
        self.sizes = [
            math.prod(len(v) for v in one.values()) if finite else 0
            for one in self.spaces
        ]
        self.total = sum(self.sizes) if finite else None
        self.taken: set[tuple[Any, ...]] = set()

    def take(self, settings: Sequence[Setting]) -> None:
        """Note that these settings have been tried."""
        self.taken.update(setting_key(s) for s in settings)

    def draw(self, n: int) -> list[Setting]:
        """Return n settings not taken and distinct, or fewer where a grid ends."""
        if self.total is not None and self.total <= LISTED:
            return self._from_list(n)
        found: dict[tuple[Any, ...], Setting] = {}
        for _ in range(20):  # duplicates are rare in what cannot be listed
            for setting in self._random(n - len(found)):
                key = setting_key(setting)
                if key not in self.taken:
                    found.setdefault(key, setting)
            if len(found) >= n:
                break
        return list(found.values())

    def _from_list(self, n: int) -> list[Setting]:
        assert self.total is not None
        found: dict[tuple[Any, ...], Setting] = {}
        for i in self.rng.permutation(self.total):
            if len(found) == n:
                break
            setting = self._nth(int(i))
            key = setting_key(setting)
            if key not in self.taken:
                found.setdefault(key, setting)
        return list(found.values())

    def _nth(self, index: int) -> Setting:
        """The setting at a place of the grid."""
        for one, names, size in zip(self.spaces, self.names, self.sizes, strict=True):
            if index < size:
                setting = {}
                for name in names:
                    index, place = divmod(index, len(one[name]))
                    setting[name] = one[name][place]
                return setting
            index -= size
        raise IndexError(index)

    def _random(self, n: int) -> list[Setting]:
        """Independent draws, a whole column at a time."""
        if n <= 0:
            return []
        which = self.rng.randint(len(self.spaces), size=n)
        settings: list[Setting] = [{} for _ in range(n)]
        for k, one in enumerate(self.spaces):
            rows = np.flatnonzero(which == k)
            for name in self.names[k]:
                values = self._column(one[name], len(rows))
                for row, value in zip(rows, values, strict=True):
                    settings[row][name] = value
        return settings

    def _column(self, values: Any, n: int) -> list[Any]:
        if not hasattr(values, "rvs"):
            return [values[i] for i in self.rng.randint(len(values), size=n)]
        try:
            drawn = values.rvs(size=n, random_state=self.rng)
            if len(drawn) == n:  # plain numbers read better in a table of results
                return drawn.tolist() if isinstance(drawn, np.ndarray) else list(drawn)
        except TypeError:  # a distribution of the user's own
            pass
        return [values.rvs(random_state=self.rng) for _ in range(n)]
