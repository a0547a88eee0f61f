"""Sparse rows that numeric code may read without touching the caller's."""

from typing import Any

import numpy as np
from scipy import sparse


def canonical_rows(X: Any) -> Any:
    """Return sparse X as a CSR array with sorted indices and no duplicates.

    SciPy sorts and sums in place, which would change the caller's arrays and fails on
    those of a read-only memory map. What is canonical and writable is not copied.
    """
    rows = sparse.csr_array(X)
    parts = (rows.data, rows.indices, rows.indptr)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    elif not all(part.flags.writeable for part in parts):
        data, indices, indptr = (np.array(part) for part in parts)
        rows = sparse.csr_array((data, indices, indptr), shape=rows.shape)
    return rows
