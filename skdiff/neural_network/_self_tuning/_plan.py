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
#: between these a value is tuned: beyond them nothing changes any more
LIMITS = {
    "dropout": (0.005, 0.9),
    "input_noise": (1e-3, 3.0),
    "weight_decay": (1e-7, 100.0),
}


def kind_of(name: str) -> str:
    """What a tuned value is: its name without the layer."""
    return name if name in KINDS else name.rpartition("_")[0]


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
    """A strength: column ``column`` of ``h``, or the fixed ``value`` where None."""

    column: int | None
    value: float


@dataclass(frozen=True)
class Plan:
    """Strengths of all layers, and the names of those that are tuned."""

    names: tuple[str, ...]
    dropout: tuple[Source, ...]
    input_noise: Source
    weight_decay: tuple[Source, ...]
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


def make_plan(
    tune: Sequence[str], starts: dict[str, Sequence[float]], per_layer: bool
) -> Plan:
    """Number the strengths that are tuned.

    ``starts`` holds the values of every kind where tuning begins: one per hidden layer
    for dropout, one for the noise of the inputs, one per weight matrix for decay.
    """
    names: list[str] = []
    h: list[float] = []
    bounds: list[tuple[float, float]] = []
    sources: dict[str, tuple[Source, ...]] = {}
    for kind in KINDS:
        values = starts[kind]
        if kind not in tune or not values:
            sources[kind] = tuple(Source(None, v) for v in values)
            continue
        if min(values) <= 0:
            raise ValueError(
                f"{'alpha' if kind == 'weight_decay' else kind} must be > 0 where "
                f"tune holds {kind!r}: its tuning starts there."
            )
        alone = kind == "input_noise" or not per_layer
        first = len(names)
        # one common value starts at the geometric mean of the layers'
        common = [math.exp(sum(map(math.log, values)) / len(values))]
        for k, value in enumerate(common if alone else values):
            low, high = LIMITS[kind]
            names.append(kind if alone else f"{kind}_{k}")
            h.append(float(unbounded(kind, value)))
            limits = unbounded(kind, [min(low, value), max(high, value)])
            bounds.append((float(limits[0]), float(limits[1])))
        columns = [first + (0 if alone else k) for k in range(len(values))]
        sources[kind] = tuple(
            Source(c, v) for c, v in zip(columns, values, strict=True)
        )
    if not names:
        raise ValueError(
            f"tune={list(tune)!r} leaves nothing to tune: dropout needs hidden layers."
        )
    low, high = np.array(bounds).T
    return Plan(
        tuple(names),
        sources["dropout"],
        sources["input_noise"][0],
        sources["weight_decay"],
        np.array(h),
        low,
        high,
    )
