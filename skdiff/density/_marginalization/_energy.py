"""An energy as a function of codes, and the columns it is defined on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import decode
from skdiff.density._frames import Description, build_frame


def read_levels(categories: Any) -> dict[str, Any]:
    """Categories of each column in order, and the form of the rows."""
    named = isinstance(categories, Mapping)
    levels = list(categories.values()) if named else list(categories)
    if not levels:
        raise ValueError("categories must name at least one column.")
    labels = [_labels(level, j) for j, level in enumerate(levels)]
    state: dict[str, Any] = {
        "categories_": labels,
        "n_features_in_": len(labels),
        "_frame": None,
    }
    if named:
        names = list(categories)
        dtypes = [str(label.dtype) for label in labels]
        state["_frame"] = {"library": "pandas", "names": names, "dtypes": dtypes}
        if all(isinstance(name, str) for name in names):
            state["feature_names_in_"] = np.array(names, dtype=object)
    return state


def _labels(level: Any, j: int) -> Any:
    """Sorted distinct categories of one column."""
    if isinstance(level, Integral) and not isinstance(level, bool):
        level = range(int(level))
    values = list(level)
    if not values:
        raise ValueError(f"categories of column {j} are empty.")
    text = [isinstance(v, str) for v in values]
    if any(text) and not all(text):
        raise TypeError(f"categories of column {j} mix strings with other types.")
    found = np.unique(np.array(values, dtype=object if any(text) else None))
    if len(found) < len(values):
        raise ValueError(f"categories of column {j} must be distinct.")
    return found


@dataclass(frozen=True)
class EnergyTarget:
    """Unnormalised log-probabilities of codes by the user's function of rows."""

    fn: Callable[[Any], Any]
    categories: Sequence[Any]
    frame: Description | None

    @property
    def sizes(self) -> list[int]:
        """Number of categories of each column."""
        return [len(labels) for labels in self.categories]

    def state(self) -> dict[str, Any]:
        """What a coding of these categories needs beside them."""
        p = len(self.categories)
        return {
            "n_categories_": np.array(self.sizes),
            "n_features_in_": p,
            "bin_edges_": [None] * p,
            "marginals_": [np.full(k, 1.0 / k) for k in self.sizes],
            "_members": [None] * p,
            "_limits": [None] * p,
            "_bin_mass": [np.ones(k) for k in self.sizes],
        }

    def __call__(self, codes: IntArray) -> Array:
        rows: Any = decode(codes, self.categories)
        if self.frame is not None:
            columns = [labels[codes[:, j]] for j, labels in enumerate(self.categories)]
            rows = build_frame(columns, self.frame)
        found = np.asarray(self.fn(rows), dtype=np.float64)
        if found.shape != (len(codes),):
            raise ValueError(
                "fn must return one number per row. Got an array of shape "
                f"{found.shape} for {len(codes)} rows."
            )
        if np.isnan(found).any() or (found == np.inf).any():
            raise ValueError("fn must not return NaN or plus infinity.")
        return found
