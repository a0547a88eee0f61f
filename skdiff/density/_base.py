"""What every graphical model of a table of categories offers, whatever its energies."""

import warnings
from numbers import Integral, Real

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
    learn_coding,
    read_column,
    shares,
)
from skdiff.density._features import layout, softmax
from skdiff.density._gibbs import (
    cell_log_likelihood,
    expected_features,
    gibbs,
    redraw_missing,
)
from skdiff.density._graph import choose_threshold, noise_scale


class BaseInteractions(SaveMixin, TransformerMixin, BaseEstimator):
    """Coding, conditionals, completion and sampling.

    A subclass fits and gives ``_energies(F, u)``: the energies, up to a constant, of
    the states of column u for rows of features.
    """

    _parameter_constraints = {
        "threshold": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
        "handle_unknown": [StrOptions({"error", "missing"})],
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
        X, weight = X[counted], weight[counted]
        names = self._names()
        coding = learn_coding(
            X,
            weight,
            exact,
            names,
            max_categories=self.max_categories,
            n_bins=self.n_bins,
        )
        self._tell_of_folded(names, coding)
        codes = encode(X, coding, names)
        marginals = shares(codes, weight, coding.categories)
        return counted, codes, weight, coding, marginals

    def _tell_of_folded(self, names, coding):
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

    def _layout(self):
        return layout([len(labels) for labels in self.categories_])

    def _coding(self):
        return Coding(self.categories_, self.bin_edges_, self._members)

    def _codes(self, X):
        """Codes of new rows, -1 where a cell is missing."""
        return encode(
            self._read(X, reset=False),
            self._coding(),
            self._names(),
            refuse_unknown=self.handle_unknown == "error",
        )

    def _features(self, codes):
        return expected_features(codes, self._energies, self._layout(), self.marginals_)

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

    # --- conditionals ---------------------------------------------------------------

    def predict_proba(self, X, node=None):
        """Probabilities of a column's categories given the other columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; the cells of the column itself are not looked at. Other cells that
            are missing are replaced by their expectation.
        node : int or str, default=None
            The column, by number or name. None returns all columns side by side.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_categories)
            In the order of ``categories_[node]``; for all columns concatenated.
        """
        check_is_fitted(self)
        nodes = range(self.n_features_in_) if node is None else [self._node(node)]
        F = self._features(self._codes(X))
        return np.hstack([softmax(self._energies(F, u)) for u in nodes])

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
        check_is_fitted(self)
        nodes = range(self.n_features_in_) if node is None else [self._node(node)]
        F = self._features(self._codes(X))
        best = np.column_stack([self._energies(F, u).argmax(axis=1) for u in nodes])
        if node is not None:
            return self.categories_[nodes[0]][best[:, 0]]
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
        codes = self._codes(X)
        return cell_log_likelihood(codes, self._features(codes), self._energies)

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
        check_is_fitted(self)
        F = self._features(self._codes(X))
        parts = []
        for u in range(self.n_features_in_):
            energies = self._energies(F, u)
            parts.append(energies[:, 1:] - energies[:, :1])
        return np.hstack(parts)

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
            A copy with the gaps filled, a DataFrame where X is one. In a binned column
            a gap is filled by the median of a bin.
        """
        check_is_fitted(self)
        if method not in ("mode", "sample"):
            raise ValueError(
                f"method must be 'mode' or 'sample'. Got {method!r} instead."
            )
        _check_count(n_sweeps, "n_sweeps")
        codes = self._codes(X)
        table = self._read(X, reset=False)
        gaps = codes == MISSING
        F = self._features(codes)
        filled = codes.copy()
        for u in np.flatnonzero(gaps.any(axis=0)):
            rows = np.flatnonzero(gaps[:, u])
            filled[rows, u] = self._energies(F[rows], u).argmax(axis=1)
        if method == "sample":
            rng = self._rng(random_state)
            filled = redraw_missing(
                filled, gaps, self._energies, self._layout(), rng, n_sweeps
            )
        # a category unknown to the model is kept, though it is read as missing
        gaps = np.column_stack(
            [read_column(table[:, j], j)[1] for j in range(table.shape[1])]
        )
        framed = hasattr(X, "iloc")
        out = X.copy() if framed else np.array(table)
        for u in np.flatnonzero(gaps.any(axis=0)):
            rows = np.flatnonzero(gaps[:, u])
            labels = self.categories_[u][filled[rows, u]]
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
        X : ndarray of shape (n_samples, n_features)
            Categories; in a binned column the medians of bins.
        """
        check_is_fitted(self)
        _check_count(n_samples, "n_samples")
        _check_count(burn_in, "burn_in", least=0)
        _check_count(thin, "thin")
        if n_chains is None:
            n_chains = min(n_samples, 1000)
        _check_count(n_chains, "n_chains")
        codes = gibbs(
            self._energies,
            self._layout(),
            self.marginals_,
            n_samples,
            self._rng(random_state),
            burn_in=burn_in,
            thin=thin,
            n_chains=n_chains,
        )
        return decode(codes, self.categories_)

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

    def _cut(self, strength, where, marginals, *, penalty, noise, confidence):
        """Threshold, cuts of single pairs and adjacency of a matrix of strengths."""
        threshold, scale = self.threshold, np.ones_like(strength)
        if threshold == "auto":
            scale = noise_scale(where, marginals, confidence)
            threshold = choose_threshold(strength, scale, penalty=penalty, noise=noise)
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
        return T, strength, coefficient, strength > cut


def _check_count(value, name, least=1):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}. Got {value!r} instead."
        )
