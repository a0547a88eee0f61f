"""What every graphical model of a table of categories offers, whatever its energies."""

import warnings
from numbers import Integral, Real
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
from skdiff._base.plotting import require_pandas
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
from skdiff.density._features import layout
from skdiff.density._frames import build_frame, describe_frame, fill_polars
from skdiff.density._gibbs import gibbs, redraw_missing
from skdiff.density._missing import (
    cell_log_likelihood,
    likeliest,
    log_conditionals,
    log_conditionals_of,
)
from skdiff.density._query import marginal

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


class BaseInteractions(SaveMixin, TransformerMixin, BaseEstimator):
    """Coding, conditionals, completion and sampling.

    A subclass fits, and gives its :class:`~skdiff.density._model.Model` by ``_model``.
    """

    _parameter_constraints = {
        "threshold": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "handle_unknown": [StrOptions({"error", "missing", "warn"})],
        "n_imputations": [Interval(Integral, 1, None, closed="left")],
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

    def _layout(self):
        return layout([len(labels) for labels in self.categories_])

    def _coding(self):
        return Coding(self.categories_, self.bin_edges_, self._members)

    def _codes(self, X, skip=None):
        """Codes of new rows, -1 where a cell is missing; ``skip`` is not looked at."""
        codes, strangers = encode(
            self._read(X, reset=False),
            self._coding(),
            self._names(),
            refuse_unknown=self.handle_unknown == "error",
            skip=skip,
        )
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

    def _log_probabilities(self, X, node):
        """Log-probabilities of one column or of all, given the known cells."""
        check_is_fitted(self)
        if node is None:
            everything = range(self.n_features_in_)
            return log_conditionals_of(self._model(), self._codes(X), everything)
        u = self._node(node)
        return [log_conditionals(self._model(), self._codes(X, skip=u), u)]

    # --- conditionals ---------------------------------------------------------------

    def predict_proba(self, X, node=None):
        """Probabilities of a column's categories given the other columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; the cells of the column itself are not looked at. Other cells that
            are missing are summed over.
        node : int or str, default=None
            The column, by number or name. None returns all columns side by side.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_categories)
            In the order of ``categories_[node]``; for all columns concatenated.
        """
        return np.exp(np.hstack(self._log_probabilities(X, node)))

    def predict(self, X, node=None):
        """Most probable category of a column given the other columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; the cells of the column itself are not looked at.
        node : int or str, default=None
            The column, by number or name. None returns a whole table, each cell
            predicted from the other cells of its row.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_features)
            Categories; for a binned column the medians of bins.
        """
        logs = self._log_probabilities(X, node)
        best = np.column_stack([log.argmax(axis=1) for log in logs])
        if node is not None:
            return self.categories_[self._node(node)][best[:, 0]]
        return decode(best, self.categories_)

    def conditional_log_likelihood(self, X):
        """Logarithm of each cell's probability given the other cells of its row.

        Low values mark cells that do not fit the rest of their row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples, n_features)
            Zero where a cell is missing.
        """
        check_is_fitted(self)
        return cell_log_likelihood(self._model(), self._codes(X))

    def score(self, X, y=None, sample_weight=None):
        """Mean pseudo-log-likelihood of the rows; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Mean over rows of the sum over columns of
            :meth:`conditional_log_likelihood`.
        """
        rows = self.conditional_log_likelihood(X).sum(axis=1)
        weight = check_sample_weight(sample_weight, rows)
        return float(np.average(rows, weights=weight))

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

    # --- completion and sampling ----------------------------------------------------

    def impute(self, X, *, method="mode", n_sweeps=20, random_state=None):
        """Fill the missing cells of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; ``nan``, ``None`` and pandas' ``NA`` are missing.
        method : {"mode", "sample"}, default="mode"
            The most probable category of each cell, or one draw of all of a row's
            missing cells together by Gibbs sampling.
        n_sweeps : int, default=20
            Sweeps of the sampler.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        completed : ndarray or DataFrame of shape (n_samples, n_features)
            A copy with the gaps filled, a DataFrame of pandas or polars where X is one.
            In a binned column
            a gap is filled by the median of a bin.
        """
        check_is_fitted(self)
        if method not in ("mode", "sample"):
            raise ValueError(
                f"method must be 'mode' or 'sample'. Got {method!r} instead."
            )
        _check_count(n_sweeps, "n_sweeps")
        codes, model = self._codes(X), self._model()
        table = self._read(X, reset=False)
        gaps = codes == MISSING
        filled = likeliest(model, codes)
        if method == "sample":
            rng = self._rng(random_state)
            filled = redraw_missing(filled, gaps, model, rng, n_sweeps)
        # a category unknown to the model is kept, though it is read as missing
        gaps = np.column_stack(
            [read_column(table[:, j], j)[1] for j in range(table.shape[1])]
        )
        cells = {}
        for u in np.flatnonzero(gaps.any(axis=0)).tolist():
            rows = np.flatnonzero(gaps[:, u])
            cells[u] = rows, self.categories_[u][filled[rows, u]]
        if hasattr(X, "with_columns"):
            return fill_polars(X, cells)
        framed = hasattr(X, "iloc")
        out = X.copy() if framed else np.array(table)
        for u, (rows, labels) in cells.items():
            if framed:
                column = out.iloc[:, u].copy()
                column.iloc[rows] = labels
                out.isetitem(u, column)
            else:
                out[rows, u] = labels
        return out

    def sample(
        self, n_samples=1, *, burn_in=100, thin=5, n_chains=None, random_state=None
    ):
        """Draw rows by Gibbs sampling, all chains at once.

        Parameters
        ----------
        n_samples : int, default=1
            Rows to draw.
        burn_in : int, default=100
            Sweeps before the first row of a chain is kept.
        thin : int, default=5
            Sweeps between two rows of the same chain.
        n_chains : int, default=None
            Independent chains; None is as many as rows, 1000 at most.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Categories; in a binned column the medians of bins. A DataFrame with the
            names and dtypes of the one that ``fit`` was given, if it was one.
        """
        check_is_fitted(self)
        _check_count(n_samples, "n_samples")
        _check_count(burn_in, "burn_in", least=0)
        _check_count(thin, "thin")
        if n_chains is None:
            n_chains = min(n_samples, 1000)
        _check_count(n_chains, "n_chains")
        codes = gibbs(
            self._model(),
            self.marginals_,
            n_samples,
            self._rng(random_state),
            burn_in=burn_in,
            thin=thin,
            n_chains=n_chains,
        )
        if self._frame is None:
            return decode(codes, self.categories_)
        columns = [labels[codes[:, j]] for j, labels in enumerate(self.categories_)]
        return build_frame(columns, self._frame)

    def query(self, evidence, columns, *, n_samples=10_000, random_state=None):
        """Joint probabilities of some columns given cells of others.

        Columns that are in neither are summed over. For models that are sums of tables
        over few columns (:class:`InteractionScreening`) this is exact as long as no
        table of the elimination has more than about a million entries, which is to say
        for graphs of small tree-width; otherwise, and for other models with many
        states, Gibbs sampling estimates it.

        Parameters
        ----------
        evidence : dict
            Known cells: categories by the number or name of their column. May be empty.
        columns : int, str or list of them
            Columns whose joint distribution is computed.
        n_samples : int, default=10_000
            Rows to draw where it is estimated.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        proba : ndarray
            One axis per column of ``columns``, in the order of ``categories_``.
        """
        check_is_fitted(self)
        _check_count(n_samples, "n_samples")
        given = list(columns) if isinstance(columns, list | tuple) else [columns]
        nodes = [self._node(column) for column in given]
        known = {}
        for column, value in dict(evidence).items():
            known[self._node(column)] = self._code(self._node(column), value)
        if not nodes or len(set(nodes)) < len(nodes) or set(nodes) & set(known):
            raise ValueError(
                "columns must name columns once, and none that evidence holds. Got "
                f"{columns!r} with evidence for {sorted(map(str, evidence))}."
            )
        rng = self._rng(random_state)
        return marginal(self._model(), known, nodes, n_samples=n_samples, rng=rng)

    def _code(self, u, value):
        """Code of one category of a column."""
        name = self._names()[u]
        cell = np.array([value], dtype=object)
        codes, _ = encode_column(cell, self._coding(), u, name)
        if codes[0] == MISSING:
            raise ValueError(
                f"evidence for column {name} must be one of its categories. Got "
                f"{value!r} instead."
            )
        return int(codes[0])

    def _rng(self, random_state):
        seed = self.random_state if random_state is None else random_state
        return check_random_state(seed)

    # --- the graph ------------------------------------------------------------------

    @property
    def interactions_(self):
        """Tidy table of the interactions, the strongest first."""
        check_is_fitted(self)
        pd = require_pandas("interactions_")
        names = self._names()
        rows = [
            {
                "columns": tuple(names[j] for j in T),
                "order": len(T),
                "strength": strength,
                "coefficient": coefficient,
                "selected": selected,
            }
            for T, strength, coefficient, selected in self._list_interactions()
        ]
        columns = ["columns", "order", "strength", "coefficient", "selected"]
        table = pd.DataFrame(rows, columns=columns)
        return table.sort_values(
            "strength", ascending=False, kind="stable", ignore_index=True
        )

    def _cut(self, strength, threshold, scale):
        """Threshold, thresholds of single pairs, and adjacency.

        ``threshold`` is that of ``"auto"``, and ``scale`` its factor for each pair.
        """
        if self.threshold != "auto":
            threshold, scale = self.threshold, np.ones_like(strength)
        cuts = threshold * scale
        adjacency = strength > cuts
        np.fill_diagonal(adjacency, False)
        return {
            "threshold_": float(threshold),
            "adjacency_": adjacency,
            "_cuts": cuts,
        }

    def _describe(self, T, block):
        """A row of the table of interactions."""
        strength = float(np.linalg.norm(block))
        coefficient = float(block.ravel()[0]) if block.size == 1 else np.nan
        cut = max(self._cuts[i, j] for i in T for j in T if i != j)
        # a model fitted again holds the interactions of its graph alone
        selected = getattr(self, "refit", False) or strength > cut
        return T, strength, coefficient, selected


def _check_count(value, name, least=1):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}. Got {value!r} instead."
        )
