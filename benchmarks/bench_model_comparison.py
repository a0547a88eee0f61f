"""Tests of model comparison: their time beside peers, and their type-I errors.

``TestResult`` is what every test returns.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    Row,
    interleaved,
    pick,
    print_table,
    run,
)

import numpy as np
from scipy.stats import binomtest

from skdiff.model_evaluation import mcnemar_test


def speed():
    """Each test beside the vectorised baseline."""
    n = pick(1_000_000, 10_000)
    rng = np.random.default_rng(0)
    y, a, b = (rng.integers(0, 2, n) for _ in range(3))

    def baseline():
        right, other = a == y, b == y
        n10, n01 = int(np.sum(right & ~other)), int(np.sum(other & ~right))
        return binomtest(n10, n10 + n01).pvalue

    times = interleaved(
        {"ours": lambda: mcnemar_test(y, a, b, method="exact"), "scipy": baseline}
    )
    row = Row(f"mcnemar_test, {n} rows", times["ours"], times["scipy"], "scipy counts")
    print_table("model_evaluation", [row])


if __name__ == "__main__":
    run(speed)
