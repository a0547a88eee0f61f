"""The synthesizer as a class that any table of numbers can be given to.

Noise has no seed, so that two private fits differ; the common tests run without it, and
the tests of the family with it. The schema declares bounds that are read from X here.
"""

import numpy as np

from skdiff import synthetic
from skdiff.synthetic import TableSchema
from tests.data_selection._instances_selectors import Adapted


def schema_of(columns):
    """Bounds of columns of numbers, as nobody should read them from private rows."""
    found = {}
    for name, values in columns.items():
        try:
            values = np.asarray(values, dtype=float)
        except (TypeError, ValueError):
            continue  # refused by the class
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.clip([values.min(), values.max()], -1e300, 1e300)
            if not low < high:
                low, high = low - 1 - abs(low) / 2, high + 1 + abs(high) / 2
            found[name] = (float(low), float(high))
    return TableSchema(found)


class PrivateGSDSynthesizer(Adapted, synthetic.PrivateGSDSynthesizer):
    """Declares the bounds of X, and leaves y out."""

    def _declared_by_hand(self, rows):
        return schema_of(dict(zip(rows.form.names, rows.columns, strict=True)))

    def fit(self, X, y=None):
        return super().fit(X)


ADAPTED = {"PrivateGSDSynthesizer": PrivateGSDSynthesizer}
PrivateGSDSynthesizer.__doc__ = synthetic.PrivateGSDSynthesizer.__doc__

QUICK = {
    "PrivateGSDSynthesizer": [
        {
            "epsilon": None,
            "depth": 2,
            "n_synthetic": 40,
            "tol": 0.01,
            "max_evals": 40_000,
        },
        {"epsilon": None, "queries": "1-way", "depth": 3, "search": "paper",
         "max_evals": 20_000},
    ]
}  # fmt: skip
