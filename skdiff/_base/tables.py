"""Mixed columns as a block of numbers and a block of category codes, and back.

A code of 0 is a category that was not seen in fit, 1 is a missing value, and the
categories of a column follow from 2 on, so that the codes of a column index the rows of
an embedding table directly.
"""

import numbers
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils import check_array

from skdiff._base.typing import BoolArray, FloatArray, IntArray

UNKNOWN, MISSING, FIRST = 0, 1, 2


def split_columns(X: Any, categorical_features: Any = "from_dtype") -> BoolArray:
    """Tell the categorical columns of a table from the numeric ones.

    ``categorical_features`` means what it means in
    :class:`~sklearn.ensemble.HistGradientBoostingClassifier`: a mask, column numbers,
    column names, ``"from_dtype"`` (the columns of a categorical dtype), or None.

    Returns
    -------
    ndarray of bool of shape (n_features,)
        True where a column is categorical.
    """
    n_features = X.shape[1]
    mask = np.zeros(n_features, dtype=bool)
    if categorical_features is None:
        return mask
    if isinstance(categorical_features, str):
        if categorical_features != "from_dtype":
            raise ValueError(
                "categorical_features must be 'from_dtype', None, a mask, or a list "
                f"of columns. Got {categorical_features!r} instead."
            )
        dtypes = list(getattr(X, "dtypes", [])) or [None] * n_features
        # pandas calls the dtype "category", polars Categorical or Enum
        names = [str(dtype).partition("(")[0].lower() for dtype in dtypes]
        return np.isin(names, ["category", "categorical", "enum"])
    wanted = np.asarray(categorical_features)
    if wanted.ndim != 1:
        raise ValueError("categorical_features must be one-dimensional.")
    if wanted.size == 0:
        return mask
    if wanted.dtype == bool:
        if len(wanted) != n_features:
            raise ValueError(
                "categorical_features set as a boolean mask must have shape "
                f"({n_features},). Got {wanted.shape} instead."
            )
        return wanted
    if wanted.dtype.kind in "iu":
        if wanted.min() < 0 or wanted.max() >= n_features:
            raise ValueError(
                "categorical_features set as integer indices must be in "
                f"[0, {n_features - 1}]. Got {wanted.tolist()} instead."
            )
        mask[wanted] = True
        return mask
    if not all(isinstance(name, str) for name in wanted.tolist()):
        raise ValueError(
            "categorical_features must be an array-like of bool, int or str. Got "
            f"{wanted.dtype.name} instead."
        )
    if not hasattr(X, "columns"):
        raise ValueError(
            "categorical_features passed as names need X with column names, such as a "
            "DataFrame."
        )
    columns = list(X.columns)
    for name in wanted.tolist():
        if name not in columns:
            raise ValueError(
                f"categorical_features has an item value {name!r} which is not among "
                "the columns of X."
            )
        mask[columns.index(name)] = True
    return mask


class TableEncoder:
    """Codes of the categorical columns, numbers of the others.

    Parameters
    ----------
    categorical : ndarray of bool of shape (n_features,)
        As :func:`split_columns` returns it.
    dtype : dtype
        Of the numeric block.
    allow_missing : bool
        Whether numeric columns may hold NaN, which is passed on.
    """

    def __init__(
        self, categorical: Any, *, dtype: Any = np.float64, allow_missing: bool = False
    ) -> None:
        self.categorical = np.asarray(categorical)
        self.dtype = dtype
        self.allow_missing = allow_missing

    def fit(self, X: Any) -> "TableEncoder":
        """Learn the categories of each categorical column."""
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=UNKNOWN - FIRST,
            encoded_missing_value=MISSING - FIRST,
        )
        self._encoders = []
        self.categories_ = []
        for j in np.flatnonzero(self.categorical):
            values, missing = _column(X, j)
            present = np.flatnonzero(~missing)
            if not len(present):
                raise ValueError(f"Column {j} of X has nothing but missing values.")
            fitted = encoder.__class__(**encoder.get_params())
            # arrays, whatever scikit-learn is set to give
            fitted.set_output(transform="default")
            fitted.fit(values[present, None])
            self._encoders.append(fitted)
            self.categories_.append(fitted.categories_[0])
        return self

    @property
    def cardinalities(self) -> list[int]:
        """Number of codes of each categorical column, the two special ones included."""
        return [len(categories) + FIRST for categories in self.categories_]

    def transform(self, X: Any) -> tuple[FloatArray, IntArray]:
        """Return the numeric block and the codes (int64) of each row."""
        numeric = np.empty((X.shape[0], 0), dtype=self.dtype)
        kept = np.flatnonzero(~self.categorical)
        if len(kept):
            block = X.iloc[:, kept] if hasattr(X, "iloc") else X[:, kept.tolist()]
            numeric = check_array(
                block,
                dtype=self.dtype,
                ensure_all_finite="allow-nan" if self.allow_missing else True,
                input_name="X",
            )
        codes = np.empty((X.shape[0], len(self._encoders)), dtype=np.int64)
        positions = np.flatnonzero(self.categorical)
        for k, (j, encoder) in enumerate(zip(positions, self._encoders, strict=True)):
            values, missing = _column(X, j)
            codes[:, k] = MISSING
            if not missing.all():
                found = encoder.transform(values[~missing, None])[:, 0]
                codes[~missing, k] = found.astype(np.int64) + FIRST
        return numeric, codes

    def inverse(self, numeric: FloatArray, codes: IntArray) -> Any:
        """Put the columns together again, as an object array in the fitted order.

        Missing categories come back as NaN; unknown ones have no value, and as None.
        """
        out = np.empty((len(codes), len(self.categorical)), dtype=object)
        out[:, ~self.categorical] = numeric
        positions = np.flatnonzero(self.categorical)
        for k, (j, categories) in enumerate(
            zip(positions, self.categories_, strict=True)
        ):
            table = np.empty(len(categories) + FIRST, dtype=object)
            table[UNKNOWN], table[MISSING] = None, np.nan
            table[FIRST:] = categories
            out[:, j] = table[codes[:, k]]
        return out


def _column(X: Any, j: Any) -> tuple[Any, BoolArray]:
    """One column as an object array, and where it is missing."""
    if hasattr(X, "iloc"):
        values = X.iloc[:, j].to_numpy(dtype=object, na_value=np.nan)
    else:
        values = np.asarray(X[:, int(j)]).astype(object)
    # NaN is the only value that differs from itself
    missing = np.array([v is None or v != v for v in values.tolist()], dtype=bool)
    strings = sum(isinstance(v, str) for v in values[~missing])
    if 0 < strings < len(values) - missing.sum():
        raise TypeError(
            f"Column {j} of X mixes strings with other types. Make it all strings."
        )
    if not strings and any(
        not isinstance(v, numbers.Number | np.bool_) for v in values[~missing]
    ):
        raise TypeError(
            f"Column {j} of X holds values that are neither numbers nor strings. Turn "
            "them into strings."
        )
    return values, missing
