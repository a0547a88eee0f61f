"""Ordered labels, and columns in units of their spread."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.sparsefuncs import mean_variance_axis

from skdiff._base.rows import column_statistics
from skdiff._base.typing import Array, IntArray


def declared_order(y: Any, categories: Any) -> list[Any] | None:
    """Labels in order, as the caller or an ordered Categorical gives them."""
    if categories is not None:
        labels = np.asarray(categories, dtype=object)
        if labels.ndim != 1 or len(labels) < 2:
            raise ValueError(
                "categories must be a list of at least two labels in their order. Got "
                f"{categories!r}."
            )
        order = labels.tolist()
        repeated = sorted({str(c) for c in order if order.count(c) > 1})
        if repeated:
            raise ValueError(f"categories repeats the labels {repeated}.")
        return order
    if hasattr(y, "columns") and y.shape[1] == 1:
        y = y.iloc[:, 0] if hasattr(y, "iloc") else y[y.columns[0]]
    dtype: Any = getattr(y, "dtype", None)
    if getattr(dtype, "ordered", False) and hasattr(dtype, "categories"):
        return list(dtype.categories)
    if type(dtype).__name__ == "Enum" and hasattr(dtype, "categories"):
        return list(dtype.categories)  # of polars, which orders it
    return None


def check_labels(y: Any) -> None:
    """Refuse what is no label, and warn of labels as many as rows.

    Integers of a short range are neither, which is seen at a tenth of the time.
    """
    short = y.dtype.kind in "iu" and int(y.max()) - int(y.min()) < len(y) // 2
    if not short:
        check_classification_targets(y)


def ordered_codes(y: Any, order: list[Any] | None) -> tuple[Any, IntArray]:
    """Labels that occur, in their order, and codes of the rows."""
    if order is None:
        classes, codes = np.unique(y, return_inverse=True)
        return classes, codes.astype(np.int64)
    place = {label: k for k, label in enumerate(order)}
    unknown = sorted({str(label) for label in y.tolist() if label not in place})
    if unknown:
        raise ValueError(
            f"y has labels that are not in categories: {unknown}. categories are "
            f"{order}."
        )
    full = np.array([place[label] for label in y.tolist()], dtype=np.int64)
    used, codes = np.unique(full, return_inverse=True)
    kept = [order[k] for k in used]
    dtype = object if y.dtype.kind == "O" else None
    return np.array(kept, dtype=dtype), codes.astype(np.int64)


class Scaling(NamedTuple):
    """Centre and scale of the columns."""

    mean: Array
    scale: Array

    def apply(self, X: Any) -> Any:
        """Scaled rows; sparse ones are never centred (and have means of zero here)."""
        if sparse.issparse(X):
            return sparse.csr_array(X @ sparse.diags_array(1.0 / self.scale))
        return (X - self.mean) / self.scale


def scaling(X: Any, weight: Array, standardize: bool, free: bool = True) -> Scaling:
    """Means, and standard deviations where columns are to be standardised.

    A constant column keeps its scale. Where the thresholds are free, centring changes
    no fit; it only makes dense problems better conditioned. Through the origin it would
    make another model.
    """
    share = weight / weight.sum()
    if sparse.issparse(X):
        variance = mean_variance_axis(sparse.csr_matrix(X), axis=0, weights=weight)[1]
        mean, scale = np.zeros(X.shape[1]), np.sqrt(variance.astype(np.float64))
    else:
        mean, scale = column_statistics(X, share)
    if not free:
        mean = np.zeros_like(mean)
    return Scaling(mean, np.where(standardize & (scale > 0), scale, 1.0))
