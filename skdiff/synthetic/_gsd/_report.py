"""How far a synthetic table is from a table that the caller holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array, IntArray
from skdiff.synthetic._cells import counts_of
from skdiff.synthetic._gsd._measure import label


@dataclass(frozen=True)
class ErrorReport:
    """Errors of fractions of rows, by table of counts; not private."""

    entries: tuple[tuple[str, int, float, float, float], ...]
    private: bool = False

    @property
    def mean_error(self) -> float:
        """Mean absolute error over all counts."""
        sizes = np.array([e[1] for e in self.entries], dtype=np.float64)
        return float(sizes @ [e[2] for e in self.entries] / sizes.sum())

    @property
    def max_error(self) -> float:
        """Largest absolute error."""
        return max(e[3] for e in self.entries)

    def frame(self) -> Any:
        """Return one row per table of counts."""
        pd = require_pandas("frame")
        names = ["queries", "n_queries", "mean_error", "max_error", "mean_noise"]
        return pd.DataFrame(list(self.entries), columns=names)

    def __repr__(self) -> str:
        return (
            f"ErrorReport(mean_error={self.mean_error:.3g}, "
            f"max_error={self.max_error:.3g}, private=False)"
        )


def errors_of(
    families: list[Any], noisy: list[Array], synthetic: IntArray, codes: IntArray
) -> Iterator[tuple[str, int, float, float, float]]:
    """Errors of the synthetic table and of the noisy measurement, by family."""
    for family, shares in zip(families, noisy, strict=True):
        ((_, cells),) = family._parts
        truth = counts_of(cells, codes) / len(codes)
        error = np.abs(counts_of(cells, synthetic) / len(synthetic) - truth)
        noise = float(np.abs(shares - truth).mean())
        yield label(family), len(truth), float(error.mean()), float(error.max()), noise
