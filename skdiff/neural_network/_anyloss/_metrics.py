"""Metrics of a binary confusion matrix with their two-number gradient.

With the class totals ``P`` and ``N`` fixed, a metric is a function of ``tp`` and
``fp``, and all that a soft count needs of it are ``M_tp`` and ``M_fp``: a metric is a
pair of class costs that adjust themselves (Han, Moniz and Chawla, 2024, section 4).
Every function here maps ``(tp, fp, P, N)`` to ``(M, M_tp, M_fp)``, on plain floats.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

EPS = 1e-7  # keeps roots differentiable at empty cells, as in the authors' code

Numbers = tuple[float, float, float]
BinaryMetric = Callable[[float, float, float, float], Numbers]


def accuracy(tp: float, fp: float, P: float, N: float) -> Numbers:
    """Share of rows that are right."""
    n = P + N
    return (tp + N - fp) / n, 1 / n, -1 / n


def balanced_accuracy(tp: float, fp: float, P: float, N: float) -> Numbers:
    """Mean of the two recalls."""
    return (tp / P + (N - fp) / N) / 2, 1 / (2 * P), -1 / (2 * N)


def gmean(tp: float, fp: float, P: float, N: float) -> Numbers:
    """Geometric mean of the two recalls."""
    tn = N - fp
    M = math.sqrt(tp * tn / (P * N) + EPS**2)
    scale = 1 / (2 * P * N * M)
    return M, tn * scale, -tp * scale


def fbeta(
    tp: float, fp: float, P: float, N: float, beta: float = 1.0, empty: float = 0.0
) -> Numbers:
    """F-measure of the positive class."""
    b2 = beta**2
    D = b2 * P + tp + fp
    if D <= 0:
        return empty, 0.0, 0.0
    gain = (1 + b2) / D
    return gain * tp, gain * (b2 * P + fp) / D, -gain * tp / D


def jaccard(tp: float, fp: float, P: float, N: float, empty: float = 0.0) -> Numbers:
    """Intersection over union of the positive class."""
    D = P + fp
    if D <= 0:
        return empty, 0.0, 0.0
    return tp / D, 1 / D, -tp / D**2


def mcc(tp: float, fp: float, P: float, N: float) -> Numbers:
    """Matthews correlation."""
    n, q = P + N, tp + fp
    root = math.sqrt(P * N * q * (n - q) + (EPS * n * n) ** 2)
    M = (tp * N - fp * P) / root
    slope = P * N * (n - 2 * q) / (2 * root)
    return M, (N - M * slope) / root, (-P - M * slope) / root


def kappa(tp: float, fp: float, P: float, N: float) -> Numbers:
    """Cohen's kappa."""
    D = (P + N) * P + (tp + fp) * (N - P)
    M = 2 * (N * tp - P * fp) / D
    return M, (2 * N - M * (N - P)) / D, (-2 * P - M * (N - P)) / D


BINARY: dict[str, Callable[..., Numbers]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "gmean": gmean,
    "f1": fbeta,
    "fbeta": fbeta,
    "jaccard": jaccard,
    "mcc": mcc,
    "kappa": kappa,
    "quadratic_kappa": kappa,  # two classes have one distance only
}
NAMES = tuple(BINARY)


def binary_metric(
    metric: object, beta: float, empty: float, cost_matrix: object
) -> BinaryMetric | None:
    """The closed form of a named metric, a mixture of them, or a cost matrix.

    None where the metric is, or contains, a callable.
    """
    if cost_matrix is not None:
        return _cost(cost_matrix)
    if isinstance(metric, dict):
        parts = [
            (weight, binary_metric(name, beta, empty, None))
            for name, weight in metric.items()
        ]
        if any(part is None for _, part in parts):
            return None
        return partial(_mixture, [(w, part) for w, part in parts if part])
    if not isinstance(metric, str):
        return None
    if metric == "fbeta":
        return partial(fbeta, beta=beta, empty=empty)
    if metric in ("f1", "jaccard"):
        return partial(BINARY[metric], empty=empty)
    return BINARY[metric]


def _mixture(
    parts: list[tuple[float, BinaryMetric]], tp: float, fp: float, P: float, N: float
) -> Numbers:
    total = [0.0, 0.0, 0.0]
    for weight, part in parts:
        for k, number in enumerate(part(tp, fp, P, N)):
            total[k] += weight * number
    return total[0], total[1], total[2]


def _cost(cost_matrix: object) -> BinaryMetric:
    rows: Any = cost_matrix
    c00, c01, c10, c11 = (float(rows[i][j]) for i in (0, 1) for j in (0, 1))

    def metric(tp: float, fp: float, P: float, N: float) -> Numbers:
        n = P + N
        cost = c00 * (N - fp) + c01 * fp + c10 * (P - tp) + c11 * tp
        return 1 - cost / n, (c10 - c11) / n, (c00 - c01) / n

    return metric
