"""Which strengths of regularisation are tuned, and what the tuned numbers mean.

MacKay et al. (2019), "Self-Tuning Networks": every tuned value is an unbounded number
``h``, the logit of a dropout probability or the logarithm of a noise or decay.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("dropout", "input_noise", "weight_decay")
WIDTH = 20  # hidden units of a global hypernetwork
#: between these a value is tuned: beyond them nothing changes any more
LIMITS = {
    "dropout": (0.005, 0.9),
    "input_noise": (1e-3, 3.0),
    "weight_decay": (1e-7, 100.0),
}


def kind_of(name: str) -> str:
    """What a tuned value is: its name without layer and column."""
    return name.rstrip("_0123456789")


def unbounded(name: str, value: Any) -> Any:
    """``h`` of a probability, a noise or a decay."""
    value = np.asarray(value, dtype=np.float64)
    if kind_of(name) == "dropout":
        return np.log(value) - np.log1p(-value)
    return np.log(value)


def natural(name: str, h: Any) -> Any:
    """Inverse of :func:`unbounded`."""
    h = np.asarray(h, dtype=np.float64)
    return 1 / (1 + np.exp(-h)) if kind_of(name) == "dropout" else np.exp(h)


@dataclass(frozen=True)
class Source:
    """A strength: ``width`` columns of ``h`` from ``column`` on, or a fixed value."""

    column: int | None
    value: float
    width: int = 1


@dataclass(frozen=True)
class Plan:
    """Strengths of all layers, and the names of those that are tuned."""

    names: tuple[str, ...]
    dropout: tuple[Source, ...]
    input_noise: Source
    weight_decay: tuple[Source, ...]
    by_column: bool  # whether the first decay is one for each column
    start: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def is_random(self) -> np.ndarray:
        """Tell for each name whether it is the strength of something random."""
        return np.array([kind_of(name) != "weight_decay" for name in self.names])

    def as_dict(self, h: np.ndarray) -> dict[str, Any]:
        """Tuned values by name; ``h`` has one column per name."""
        return {
            name: natural(name, h[..., k])
            if h.ndim > 1
            else float(natural(name, h[..., k]))
            for k, name in enumerate(self.names)
        }


@dataclass(frozen=True)
class _Block:
    """Values that share a place in the network: a start, and which layers it is for."""

    names: tuple[str, ...]
    value: float
    layers: Sequence[int]


def _shared(kind: str, values: Sequence[float], layers: Sequence[int]) -> _Block:
    """One common value, which starts at the geometric mean of the layers'."""
    mean = math.exp(sum(math.log(values[k]) for k in layers) / len(layers))
    return _Block((kind,), mean, layers)


def _blocks(
    kind: str, values: Sequence[float], per_layer: bool, n_columns: int
) -> list[_Block]:
    """Which layers share a tuned value; the columns of the first matrix may not."""
    layers, blocks = list(range(len(values))), []
    if kind == "weight_decay" and n_columns:
        names = tuple(f"{kind}_0_{j}" for j in range(n_columns))
        blocks.append(_Block(names, values[0], [0]))
        layers = layers[1:]
    if not layers:
        return blocks
    if kind == "input_noise" or not per_layer:
        return [*blocks, _shared(kind, values, layers)]
    return [*blocks, *(_Block((f"{kind}_{k}",), values[k], [k]) for k in layers)]


def make_plan(
    tune: Sequence[str],
    starts: dict[str, Sequence[float]],
    per_layer: bool,
    *,
    n_columns: int = 0,
    bounds: dict[str, tuple[float, float]] | None = None,
) -> Plan:
    """Number the strengths that are tuned.

    ``starts`` holds the values of every kind where tuning begins: one per hidden layer
    for dropout, one for the noise of the inputs, one per weight matrix for decay. With
    ``n_columns`` each column of the first matrix has a decay.
    """
    names: list[str] = []
    h: list[float] = []
    ends: list[tuple[float, float]] = []
    sources: dict[str, tuple[Source, ...]] = {}
    for kind in KINDS:
        values = starts[kind]
        fixed = [Source(None, v) for v in values]
        if kind in tune:
            _check_starts(kind, values, (bounds or {}).get(kind))
            for block in _blocks(kind, values, per_layer, n_columns):
                low, high = (bounds or LIMITS).get(kind, LIMITS[kind])
                low, high = min(low, block.value), max(high, block.value)
                width = len(block.names)
                for k in block.layers:
                    fixed[k] = Source(len(names), block.value, width)
                names += block.names
                h += [float(unbounded(kind, block.value))] * width
                low, high = unbounded(kind, [low, high])
                ends += [(float(low), float(high))] * width
        sources[kind] = tuple(fixed)
    if not names:
        raise ValueError(
            f"tune={list(tune)!r} leaves nothing to tune: dropout needs hidden layers."
        )
    low_h, high_h = np.array(ends).T
    return Plan(
        tuple(names),
        sources["dropout"],
        sources["input_noise"][0],
        sources["weight_decay"],
        n_columns > 0,
        np.array(h),
        low_h,
        high_h,
    )


def _check_starts(
    kind: str, values: Sequence[float], bounds: tuple[float, float] | None
) -> None:
    """Refuse a start that has no logarithm, or lies outside the bounds given."""
    name = "alpha" if kind == "weight_decay" else kind
    if values and min(values) <= 0:
        raise ValueError(
            f"{name} must be > 0 where tune holds {kind!r}: its tuning starts there."
        )
    if values and bounds and not all(bounds[0] <= v <= bounds[1] for v in values):
        raise ValueError(
            f"{name}={values} must lie within the bounds {tuple(bounds)} of {kind!r}: "
            "its tuning starts there."
        )


def read_bounds(bounds: Any) -> dict[str, tuple[float, float]] | None:
    """Check the bounds of each kind."""
    if bounds is None:
        return None
    read = {}
    for kind, pair in bounds.items():
        if kind not in KINDS:
            raise ValueError(f"bounds names {kind!r}; known names are {list(KINDS)}.")
        top = 1 if kind == "dropout" else math.inf
        try:
            low, high = map(float, pair)
        except (TypeError, ValueError):  # not two, or not numbers
            low = high = math.nan
        if not 0 < low < high < top:
            raise ValueError(
                f"bounds of {kind!r} must be two rising numbers above 0 and below "
                f"{top}, got {pair!r}."
            )
        read[kind] = low, high
    return read
