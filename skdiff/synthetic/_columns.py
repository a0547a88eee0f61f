"""One column of a declared table: values to codes, and codes to values."""

import math
from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, BoolArray, IntArray


class Column(NamedTuple):
    """Levels of a categorical column, or edges of the bins of a numeric one.

    Codes count levels or bins; the code after the last one is a missing value, where
    the column may have some.
    """

    name: Any
    levels: tuple[Any, ...] | None
    edges: Array | None
    integer: bool
    log: bool
    missing: bool
    other: Any

    @property
    def n_bins(self) -> int:
        """Number of codes but for the missing one."""
        if self.levels is not None:
            return len(self.levels)
        return len(self._edges) - 1

    @property
    def size(self) -> int:
        """Number of codes."""
        return self.n_bins + self.missing

    @property
    def numeric(self) -> bool:
        """Whether the column has bins."""
        return self.levels is None

    @property
    def _edges(self) -> Array:
        assert self.edges is not None
        return self.edges

    def encode(self, values: Any) -> IntArray:
        """Return codes; a message names the column and never a value."""
        if self.levels is None:
            return self._encode_numbers(values)
        return self._encode_levels(values)

    def _encode_numbers(self, values: Any) -> IntArray:
        numbers = as_numbers(values, self.name)
        absent = np.isnan(numbers)
        self._check_missing(absent)
        if np.isinf(numbers).any():
            raise ValueError(f"Column {self.name!r} of X contains infinity.")
        # clamped before binning; half-open bins, the last one closed
        clipped = np.clip(numbers, self._edges[0], self._edges[-1])
        codes = np.searchsorted(self._edges[1:-1], clipped, side="right")
        return np.where(absent, self.n_bins, codes).astype(np.int64)

    def _encode_levels(self, values: Any) -> IntArray:
        assert self.levels is not None
        items = as_objects(values)
        place = {level: k for k, level in enumerate(self.levels)}
        unknown = len(place) + 2
        absent = np.array([v is None or v != v for v in items], dtype=bool)
        self._check_missing(absent)
        try:
            codes = np.array([place.get(v, unknown) for v in items], dtype=np.int64)
        except TypeError:
            raise ValueError(
                f"Column {self.name!r} of X holds values that cannot be levels."
            ) from None
        codes[absent] = self.n_bins
        strange = codes == unknown
        if strange.any():
            if self.other is None:
                raise ValueError(
                    f"Column {self.name!r} of X holds values that are not among its "
                    "declared levels. Declare them in the TableSchema, or name a level "
                    "for them in its parameter other."
                )
            codes[strange] = place[self.other]
        return codes

    def _check_missing(self, absent: BoolArray) -> None:
        if absent.any() and not self.missing:
            raise ValueError(
                f"Column {self.name!r} of X contains NaN. Name it in the parameter "
                "missing of the TableSchema if that is a value to be kept."
            )

    def middles(self) -> Array:
        """One number in each bin; of levels, their positions."""
        if self.levels is not None:
            return np.arange(len(self.levels), dtype=np.float64)
        low, high = self._edges[:-1], self._edges[1:]
        if self.integer:
            return np.floor((low + high - 1) / 2)
        if self.log:
            return np.sqrt(low * high)
        return low + (high - low) / 2

    def scaled(self) -> Array:
        """The middles on the unit interval."""
        values = np.log(self.middles()) if self.log else self.middles()
        ends = np.log(self._edges[[0, -1]]) if self.log else self._edges[[0, -1]]
        return (values - ends[0]) / (ends[1] - ends[0])

    def values(self, codes: IntArray, rng: np.random.RandomState | None) -> Any:
        """Return values; numbers are uniform within their bin, or its middle."""
        if self.levels is not None:
            table = np.empty(self.n_bins + 1, dtype=object)
            table[:-1], table[-1] = list(self.levels), None
            return table[codes]
        at = np.minimum(codes, self.n_bins - 1)
        if rng is None:
            numbers = self.middles()[at]
        else:
            numbers = self._within(at, rng.uniform(size=len(codes)))
        return np.where(codes == self.n_bins, np.nan, numbers)

    def _within(self, bins: IntArray, part: Array) -> Array:
        low, high = self._edges[bins], self._edges[bins + 1]
        if self.integer:
            return np.minimum(np.floor(low + part * (high - low)), high - 1)
        if self.log:
            return np.clip(low * (high / low) ** part, low, high)
        return np.clip(low + part * (high - low), low, high)


def as_numbers(values: Any, name: Any) -> Array:
    """A column as float64; what is no number is refused without being quoted."""
    try:
        if hasattr(values, "to_numpy") and hasattr(values, "isna"):
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        if isinstance(error, TypeError) and "number" in str(error):
            raise TypeError(
                f"Column {name!r} of X: argument must be a string or a real number."
            ) from None
        raise ValueError(
            f"Column {name!r} of X holds values that are not numbers. Declare its "
            "levels in a TableSchema."
        ) from None


def as_objects(values: Any) -> list[Any]:
    """A column as a list of Python objects; missing cells are None or NaN."""
    if hasattr(values, "isna"):
        values = values.to_numpy(dtype=object, na_value=np.nan)
    return list(np.asarray(values).tolist())


def numeric_edges(
    bounds: tuple[float, float], depth: int, *, integer: bool, log: bool
) -> Array:
    """Edges of ``2**depth`` bins at most; those of integers fall between integers."""
    low, high = bounds
    n_bins = 2**depth
    if integer:
        low, high = float(math.ceil(low)), float(math.floor(high)) + 1
        n_bins = int(min(n_bins, high - low))
    if log:
        edges = np.geomspace(low, high, n_bins + 1)
    else:
        # by halves, since the difference of bounds may overflow
        part = np.arange(n_bins + 1) / n_bins
        edges = low * (1 - part) + high * part
    if integer:
        edges = np.floor(edges + 1e-9)
    edges[0], edges[-1] = low, high
    return np.unique(edges)
