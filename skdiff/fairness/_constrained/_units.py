"""Units of y: no tolerance, step or ceiling of a regressor may depend on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.typing import Array
from skdiff.fairness._constrained._terms import Term, TrainingRows


@dataclass(frozen=True)
class Units:
    """The spread of y, to the next power of two, and what it makes of each term.

    ``terms`` is the size of an excess that is as grave as one of 1 of a classifier.
    """

    y: float
    terms: Array

    @property
    def objective(self) -> float:
        """Unit of the mean squared error."""
        return self.y**2

    @property
    def multipliers(self) -> Array:
        """Units of the multipliers: objective per term."""
        return np.asarray(self.objective / self.terms)

    def worst(self, excess: Array) -> float:
        """Largest violation, without units."""
        return float(np.max(excess / self.terms, initial=0.0))


def units_of(terms: Sequence[Term], rows: TrainingRows) -> Units:
    """Return the units of the rows; a classifier has none."""
    if rows.classifier:
        return Units(1.0, np.ones(len(terms)))
    center = rows.y - float(rows.weight @ rows.y)
    spread = float(np.sqrt(rows.weight @ center**2))
    # a product with a power of two loses no bit
    y = float(2.0 ** np.round(np.log2(spread))) if spread > 0 else 1.0
    powers = {"loss": y**2, "score": y}
    return Units(y, np.array([powers.get(t.kind, 1.0) for t in terms], dtype=float))


def without_units(terms: Sequence[Term], units: Units) -> list[Term]:
    """Return the terms of ``y / units.y``."""
    return [
        term._replace(
            bound=term.bound / unit, row_loss=_with_unit(term.row_loss, units.y)
        )
        for term, unit in zip(terms, units.terms.tolist(), strict=True)
    ]


def _with_unit(row_loss: Any, unit: float) -> Callable[[Any, Any], Any] | None:
    if row_loss is None or unit == 1:
        found: Callable[[Any, Any], Any] | None = row_loss
        return found
    return lambda f, y: row_loss(f * unit, y * unit)
