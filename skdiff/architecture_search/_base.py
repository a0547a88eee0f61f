"""Rows with categories as a network takes them: codes beside numbers."""

import numpy as np
from scipy.sparse import issparse

from skdiff._base.compat import safe_indexing
from skdiff._base.rows import merge_rows
from skdiff._base.tables import TableEncoder, split_columns
from skdiff._base.validation import check_X, require_y
from skdiff._nn._base import BaseNeural

SMALLEST_BATCH, STEPS = 32, 32
# whole weights up to this are so many rows
MOST_COPIES = 10
# relative, of sums of weights
ROUNDING = 1e-12


class CodedRows(BaseNeural):
    """What a fit does to its rows; ``_fitting.columns`` holds what it learns.

    After a fit that is ``_categories``, the state of a ``TableEncoder``.
    """

    _largest_batch = 256

    def _note_rows(self, levels, codes, Y, sample_weight):
        """HOOK: see the codes of the labels before and after equal rows are merged."""

    def _validate(self, X, y, sample_weight, *, reset):
        """Check and convert; code categories; bring the rows into sorted order.

        Equal rows stay as many as they are: as one row they would fall into one part
        of the table, and those of the other labels into the other.
        """
        self._fitting.counted = _counted(sample_weight)
        X = self._coded(X, reset=reset, y=y)
        X, y, weight = super()._validate(X, y, sample_weight, reset=reset)
        levels, codes = (None, y)
        if not self._is_regressor():
            levels, codes = np.unique(y, return_inverse=True)
        Y = np.asarray(codes, dtype=np.float64).reshape(len(y), -1)
        table = X, Y
        rows, Y, merged = merge_rows(X, Y, weight)
        if levels is not None:
            self._note_rows(levels, codes, Y, sample_weight)
        times = _times(table, weight, sample_weight)
        rows, Y = np.repeat(rows, times, axis=0), np.repeat(Y, times, axis=0)
        merged = np.repeat(merged / times, times)
        alike = np.ptp(merged) <= ROUNDING * merged.max()
        weight = None if alike else merged
        y = Y if np.ndim(y) == 2 else Y[:, 0]
        y = y if levels is None else levels[y.astype(np.int64)]
        return rows.astype(X.dtype, copy=False), y, weight

    def _is_regressor(self):
        return "y_numeric" in self._target_checks

    def _coded(self, X, *, reset, y=None):
        """Replace the categories of a table by their codes; leave other rows alone."""
        if reset:
            encoder = self._learned(X, y)
            self._fitting.columns = None if encoder is None else vars(encoder)
        elif (columns := self._columns()) is not None:
            encoder = TableEncoder.__new__(TableEncoder)
            vars(encoder).update(columns)
        else:
            encoder = None
        if encoder is None:
            return X
        X = check_X(self, X, reset=reset, skip_check_array=True)
        numeric, codes = encoder.transform(X)
        table = np.empty((len(codes), len(encoder.categorical)))
        table[:, ~encoder.categorical] = numeric
        table[:, encoder.categorical] = codes
        if not hasattr(X, "columns"):
            return table
        return type(X)(dict(zip(list(X.columns), table.T, strict=True)))

    def _learned(self, X, y):
        """Learn the categories of the columns that have some; None without any."""
        if self.categorical_features is None:
            return None
        if not hasattr(X, "shape"):
            if isinstance(self.categorical_features, str):
                return None
            X = np.asarray(X, dtype=object)
        if len(X.shape) != 2 or issparse(X):
            return None
        mask = split_columns(X, self.categorical_features)
        if not mask.any():
            return None
        require_y(self, y)
        X = check_X(self, X, reset=True, skip_check_array=True)
        if (rows := self._counted_rows(X)) is not None:
            X = safe_indexing(X, rows)
        return TableEncoder(mask).fit(X)

    def _counted_rows(self, X):
        """Rows of positive weight; None for all. Wrong lengths are refused later."""
        counted = self._fitting.counted
        if counted is None or len(counted) != X.shape[0] or counted.all():
            return None
        return np.flatnonzero(counted)

    def _columns(self):
        """What is known of the categorical columns: the state of an encoder, or None.

        A file or a pickle keeps it as a dictionary.
        """
        fitting = vars(self).get("_fitting")
        return vars(self).get("_categories") if fitting is None else fitting.columns

    def _checked(self, X):
        return super()._checked(self._coded(X, reset=False))

    def _scale(self, X, weight, encoding):
        """Codes stay as they are."""
        super()._scale(X, weight, encoding)
        if (columns := self._columns()) is not None:
            mask = columns["categorical"]
            encoding["mean_"] = np.where(mask, 0.0, encoding["mean_"])
            encoding["scale_"] = np.where(mask, 1.0, encoding["scale_"])

    def _batch_rows(self, X):
        """Some dozens of steps per epoch, small data sets included."""
        if self.batch_size != "auto":
            return super()._batch_rows(X)
        size = 2 ** round(np.log2(max(len(X) / STEPS, 1)))
        return min(max(size, SMALLEST_BATCH), self._largest_batch, len(X))


def _counted(sample_weight):
    """Where the weights are positive; None without weights that are numbers."""
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):  # refused by name later
        return None
    counted = weight > 0
    return counted if weight.ndim == 1 and counted.any() else None


def _times(table, weight, sample_weight):
    """How many rows each of the merged rows stands for.

    Small whole weights are copies; what other weights there are, a row is one row.
    """
    copies = np.ones(len(table[0]))
    if sample_weight is not None:
        given = np.asarray(sample_weight, dtype=np.float64)
        given = given[given > 0]
        if given.max() <= MOST_COPIES and np.all(given == np.round(given)):
            copies = given
    if weight is not None:
        copies = copies * (weight > 0)
    share = merge_rows(*table, copies)[2]
    return np.rint(share * copies.sum()).astype(np.int64)
