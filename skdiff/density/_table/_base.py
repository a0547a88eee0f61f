"""Reading a table of categories, and writing one: what every model of a table does."""

import warnings
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    Interval,
    StrOptions,
    check_feature_names_in,
    check_sample_weight,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.tables import split_columns
from skdiff._base.validation import check_X
from skdiff.density._coding import (
    MISSING,
    Coding,
    decode,
    encode,
    encode_column,
    learn_coding,
    read_column,
    shares,
)
from skdiff.density._frames import build_frame, describe_frame, fill_polars

# a total weight below it is no number of rows
SMALLEST_TOTAL = 2.0


class Learned(NamedTuple):
    """A data set as it was read: rows that count, their codes and weights.

    ``state`` are the attributes that follow from it alone.
    """

    counted: Any
    codes: Any
    weight: Any
    state: dict[str, Any]


class BaseTable(SaveMixin, TransformerMixin, BaseEstimator):
    """Coding of a table, conditionals by column, and rows in the form of the table.

    A subclass gives the log-probabilities of some columns by ``_log_probabilities``.
    """

    _parameter_constraints = {
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "handle_unknown": [StrOptions({"error", "missing", "warn"})],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags

    # --- the table ------------------------------------------------------------------

    def _read(self, X, *, reset):
        return check_X(
            self,
            X,
            reset=reset,
            dtype=None,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )

    def _names(self):
        return getattr(self, "feature_names_in_", np.arange(self.n_features_in_))

    def _learn(self, X, sample_weight):
        """Which rows count, their codes and weights, and what was learned of them."""
        given, X = X, self._read(X, reset=True)
        weight = check_sample_weight(sample_weight, X)
        table = given if hasattr(given, "columns") else X
        exact = split_columns(table, self.categorical_features)
        counted = weight > 0
        X, weight = X[counted], self._as_counts(weight[counted])
        names = self._names()
        coding = learn_coding(
            X,
            weight,
            exact,
            names,
            max_categories=self.max_categories,
            n_bins=self.n_bins,
        )
        self._warn_of_folded(names, coding)
        codes, _ = encode(X, coding, names)
        marginals = shares(codes, weight, coding.categories)
        state = {
            "categories_": coding.categories,
            "bin_edges_": coding.edges,
            "marginals_": marginals,
            "_members": coding.members,
            "_limits": coding.limits,
            "_frame": describe_frame(given),
        }
        return Learned(counted, codes, weight, state)

    def _warn_of_folded(self, names, coding):
        """Warn of columns whose rare categories share one code."""
        folded = [
            f"{name} ({len(members[0])} values)"
            for name, members in zip(names, coding.members, strict=True)
            if members is not None
        ]
        if folded:
            warnings.warn(
                f"Rare categories of column {', '.join(folded)} share one: at most "
                f"max_categories={self.max_categories} are kept.",
                UserWarning,
                stacklevel=3,
            )

    def _as_counts(self, weight):
        """Weights that sum to hardly more than one row are proportions of the rows."""
        total = float(weight.sum())
        effective = total**2 / float(weight @ weight)
        # without a penalty only the shape of the distribution counts
        free = getattr(self, "alpha", None) == 0
        if free or total >= SMALLEST_TOTAL or effective < SMALLEST_TOTAL:
            return weight
        warnings.warn(
            f"sample_weight sums to {total:.3g}, less than {SMALLEST_TOTAL} rows, so "
            "it is taken for proportions: it is scaled to the effective number of "
            f"rows, {effective:.6g}. Give weights that count rows.",
            UserWarning,
            stacklevel=5,
        )
        return weight * (effective / total)

    def _coding(self):
        return Coding(self.categories_, self.bin_edges_, self._members, self._limits)

    def _codes(self, X, skip=None):
        """Codes of new rows, -1 where a cell is missing; ``skip`` is not looked at."""
        codes, strangers = self._encoded(self._read(X, reset=False), skip)
        if self.handle_unknown == "warn" and any(strangers):
            some = [
                f"{name} ({', '.join(map(repr, values[:3]))})"
                for name, values in zip(self._names(), strangers, strict=True)
                if values
            ]
            warnings.warn(
                "X holds categories that were not seen in fit and count as missing "
                f"cells, in {', '.join(some[:5])}. handle_unknown='error' refuses "
                "them.",
                UserWarning,
                stacklevel=4,
            )
        return codes

    def _encoded(self, table, skip=None):
        return encode(
            table,
            self._coding(),
            self._names(),
            refuse_unknown=self.handle_unknown == "error",
            skip=skip,
        )

    def _node(self, node):
        names = list(getattr(self, "feature_names_in_", []))
        if isinstance(node, str) and node in names:
            return names.index(node)
        if isinstance(node, Integral) and not isinstance(node, bool):
            p = self.n_features_in_
            if -p <= node < p:
                return int(node) % p
        raise ValueError(
            f"node must be the number of a column (0 to {self.n_features_in_ - 1}) or "
            f"its name at fit. Got {node!r} instead."
        )

    def _code(self, u, value):
        """Code of one category of a column."""
        name = self._names()[u]
        cell = np.array([value], dtype=object)
        codes, _ = encode_column(cell, self._coding(), u, name)
        if codes[0] == MISSING:
            raise ValueError(
                f"The value given for column {name} must be one of its categories. Got "
                f"{value!r} instead."
            )
        return int(codes[0])

    def _nodes(self, columns):
        """Numbers of columns given by number or name, each once."""
        if isinstance(columns, str | Integral) or not np.iterable(columns):
            columns = [columns]
        nodes = [self._node(column) for column in columns]
        if not nodes or len(set(nodes)) < len(nodes):
            raise ValueError(f"columns must name columns once. Got {columns!r}.")
        return nodes

    def _orders(self, order, n_orders):
        """Orders of the columns: the one given, or their own and random ones."""
        p = self.n_features_in_
        if order is not None:
            nodes = self._nodes(order)
            if len(nodes) < p:
                raise ValueError(
                    f"order must name all {p} columns. Got {len(nodes)} of them."
                )
            return np.array([nodes])
        rng = check_random_state(0)  # the same for every row and every call
        more = [rng.permutation(p) for _ in range(n_orders - 1)]
        return np.array([np.arange(p), *more])

    def _given(self, given):
        """Codes and values of known cells, by the number of their column."""
        known, values = {}, {}
        for column, value in dict(given or {}).items():
            u = self._node(column)
            if u in known:
                raise ValueError(f"Column {self._names()[u]} is given more than once.")
            known[u], values[u] = self._code(u, value), value
        return known, values

    def _rng(self, random_state):
        seed = self.random_state if random_state is None else random_state
        return check_random_state(seed)

    # --- conditionals ---------------------------------------------------------------

    def _stacked(self, X, column):
        """Probabilities of one column, or of all side by side."""
        return np.exp(np.hstack(self._log_probabilities(X, column)))

    def _likeliest(self, X, column):
        """Most probable category of one column, or a table of all."""
        logs = self._log_probabilities(X, column)
        best = np.column_stack([log.argmax(axis=1) for log in logs])
        if column is not None:
            return self.categories_[self._node(column)][best[:, 0]]
        return decode(best, self.categories_)

    def transform(self, X):
        """Conditional log-odds of every column, as features for another model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_odds : ndarray of shape (n_samples, n_outputs)
            For each column and each of its categories but the first, the logarithm of
            its probability over that of the first, given the other columns.
        """
        logs = self._log_probabilities(X, None)
        return np.hstack([log[:, 1:] - log[:, :1] for log in logs])

    def get_feature_names_out(self, input_features=None):
        """Names of the outputs of :meth:`transform`: ``column=category``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns, which must be those seen in fit.

        Returns
        -------
        names : ndarray of str
            One name an output.
        """
        check_is_fitted(self)
        names = check_feature_names_in(self, input_features)
        return np.array(
            [
                f"{name}={label}"
                for name, labels in zip(names, self.categories_, strict=True)
                for label in labels[1:]
            ],
            dtype=object,
        )

    # --- rows in the form of the table ----------------------------------------------

    def _as_table(self, columns):
        """Labels of each column as an array, or the DataFrame that fit was given."""
        if self._frame is not None:
            return build_frame(columns, self._frame)
        kinds = {labels.dtype.kind for labels in columns}
        if kinds <= set("iuf") or kinds == {"b"}:
            return np.column_stack(columns)
        out = np.empty((len(columns[0]), len(columns)), dtype=object)
        for j, column in enumerate(columns):
            out[:, j] = column
        return out

    def _labels(self, codes):
        """Labels of each column of codes; in a binned column the medians of bins."""
        return [labels[codes[:, j]] for j, labels in enumerate(self.categories_)]

    def _fill_gaps(self, X, labels):
        """A copy of X with its missing cells taken from ``labels`` per column.

        A category unknown to the model is kept, though it is read as missing.
        """
        table = self._read(X, reset=False)
        gaps, cells = find_gaps(table), {}
        for u in np.flatnonzero(gaps.any(axis=0)).tolist():
            rows = np.flatnonzero(gaps[:, u])
            cells[u] = rows, labels[u][rows]
        if hasattr(X, "with_columns"):
            return fill_polars(X, cells)
        framed = hasattr(X, "iloc")
        out = X.copy() if framed else np.array(table)
        for u, (rows, values) in cells.items():
            if framed:
                column = out.iloc[:, u].copy()
                column.iloc[rows] = values
                out.isetitem(u, column)
            else:
                out[rows, u] = values
        return out


def find_gaps(table):
    """Where cells are missing, whatever the model makes of the others."""
    return np.column_stack(
        [read_column(table[:, j], j)[1] for j in range(table.shape[1])]
    )


def check_count(value, name, least=1):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}. Got {value!r} instead."
        )
