"""What every model with marginals of any subset of columns can compute."""

import warnings

import numpy as np
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff.density._coding import MISSING
from skdiff.density._joint._chain import (
    cell_log_probabilities,
    chain_log_prob,
    conditional_chain,
    draw_cells,
    every_state,
    likeliest_cells,
    one_cell_less,
)
from skdiff.density._joint._spans import (
    draw_in_bin,
    log_density_in_bin,
    make_spans,
    means,
)
from skdiff.density._table._base import BaseTable, check_count, find_gaps

LARGEST_TABLE = 2**20  # entries of a table of joint probabilities


class BaseDensity(BaseTable):
    """Marginals, conditionals, completion and sampling of a joint distribution.

    A subclass fits, and gives its :class:`~skdiff.density._joint._chain.Joint` by
    ``_joint``.
    """

    def _learn(self, X, sample_weight):
        learned = super()._learn(X, sample_weight)
        sizes = [len(labels) for labels in learned.state["categories_"]]
        mass = [
            np.bincount(codes[codes != MISSING], learned.weight[codes != MISSING], k)
            for codes, k in zip(learned.codes.T, sizes, strict=True)
        ]
        learned.state["n_categories_"] = np.array(sizes)
        learned.state["_bin_mass"] = mass
        return learned

    def _spans(self, u):
        """Bounds of the bins of a column; None where its values are categories."""
        if self._limits[u] is None:
            return None
        return make_spans(self.bin_edges_[u], self._limits[u], self._bin_mass[u])

    def _observed(self, X):
        """Codes, log-densities within bins, and which cells have probability zero."""
        check_is_fitted(self)
        table = self._read(X, reset=False)
        codes, strangers = self._encoded(table)
        strange = np.zeros(codes.shape, dtype=bool)
        if self.handle_unknown == "warn" and any(strangers):
            strange = (codes == MISSING) & ~find_gaps(table)
            names = [
                str(name)
                for name, values in zip(self._names(), strangers, strict=True)
                if values
            ]
            warnings.warn(
                "X holds categories that were not seen in fit, which have probability "
                f"zero, in {', '.join(names[:5])}. handle_unknown='missing' leaves "
                "such cells out.",
                UserWarning,
                stacklevel=3,
            )
        factors = np.zeros(codes.shape)
        for u in range(codes.shape[1]):
            spans, known = self._spans(u), codes[:, u] != MISSING
            if spans is not None and known.any():
                values = table[known, u].astype(np.float64)
                factors[known, u] = log_density_in_bin(spans, values, codes[known, u])
        return codes, factors, strange

    def _log_probabilities(self, X, column):
        """Log-probabilities of one column or of all, given the known cells."""
        check_is_fitted(self)
        u = None if column is None else self._node(column)
        codes, joint = self._codes(X, skip=u), self._joint()
        nodes = range(self.n_features_in_) if u is None else [u]
        return [joint.log_conditional(codes, v) for v in nodes]

    def _log_mass(self, codes, method, order=None, n_orders=1, monotone=False):
        """Log-probability of the known cells by the marginals or along chains."""
        if method not in ("marginal", "chain"):
            raise ValueError(
                f"method must be 'marginal' or 'chain'. Got {method!r} instead."
            )
        check_count(n_orders, "n_orders")
        orders, joint = self._orders(order, n_orders), self._joint()
        if method == "chain":
            logs = [
                chain_log_prob(joint, codes, np.tile(each, (len(codes), 1)))
                for each in orders
            ]
            return logsumexp(logs, axis=0) - np.log(len(orders))
        found = joint.log_marginal(codes)
        return np.minimum(found, one_cell_less(joint, codes)) if monotone else found

    # --- probabilities --------------------------------------------------------------

    def score_samples(
        self, X, *, method="marginal", order=None, n_orders=1, monotone=False
    ):
        """Log-probability of the known cells of each row.

        Numbers that were binned count by their density, so that the value is that of a
        density in these columns and of a probability in the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; missing cells are summed over.
        method : {"marginal", "chain"}, default="marginal"
            The marginal itself, or the product of conditionals along ``order``.
        order : list of int or str, default=None
            Order of all columns in a chain. None takes them as they stand.
        n_orders : int, default=1
            Chains whose probabilities are averaged where ``order`` is None: the columns
            as they stand, and random orders, which are the same in every call.
        monotone : bool, default=False
            Whether a marginal is lowered to those with one cell fewer, which a
            probability never exceeds. It takes one evaluation per column.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Natural logarithms; minus infinity where a category was not seen in fit,
            with ``handle_unknown="warn"``.
        """
        codes, factors, strange = self._observed(X)
        log = self._log_mass(codes, method, order, n_orders, monotone)
        log = log + factors.sum(axis=1)
        return np.where(strange.any(axis=1), -np.inf, log)

    def score(self, X, y=None, sample_weight=None):
        """Mean log-probability of the rows; higher is better.

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
            Mean of :meth:`score_samples`.
        """
        rows = self.score_samples(X)
        weight = check_sample_weight(sample_weight, rows)
        return float(np.average(rows, weights=weight))

    def log_marginal(self, X, columns, *, monotone=False):
        """Log-probability of the cells of some columns alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all columns; the cells of the others do not count.
        columns : int, str or list of them
            Columns, by number or name.
        monotone : bool, default=False
            As in :meth:`score_samples`.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Cells that are missing are summed over.
        """
        codes, factors, strange = self._observed(X)
        kept = np.isin(np.arange(self.n_features_in_), self._nodes(columns))
        codes = np.where(kept, codes, MISSING)
        log = self._log_mass(codes, "marginal", monotone=monotone)
        log = log + factors[:, kept].sum(axis=1)
        return np.where(strange[:, kept].any(axis=1), -np.inf, log)

    def conditional_log_prob(
        self, X, target_columns, *, method="marginal", monotone=False
    ):
        """Log-probability of the cells of some columns given the other known cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        target_columns : int, str or list of them
            Columns whose cells are scored together.
        method : {"marginal", "chain"}, default="marginal"
            The difference of two marginals, or the product of conditionals of the
            target columns one after the other.
        monotone : bool, default=False
            Whether the probability of a row's categories is limited to one, which
            differences of estimated marginals may exceed.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Target cells that are missing are summed over; categories not seen in fit
            count as missing among the other cells.
        """
        codes, factors, strange = self._observed(X)
        targets = self._nodes(target_columns)
        if method == "chain":
            log = conditional_chain(self._joint(), codes, targets)
        else:
            given = codes.copy()
            given[:, targets] = MISSING
            log = self._log_mass(codes, method) - self._log_mass(given, method)
        if monotone:
            log = np.minimum(log, 0.0)
        log = log + factors[:, targets].sum(axis=1)
        return np.where(strange[:, targets].any(axis=1), -np.inf, log)

    def conditional_log_likelihood(self, X):
        """Log-probability of each cell given the other known cells of its row.

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
        codes, factors, strange = self._observed(X)
        log = cell_log_probabilities(self._joint(), codes) + factors
        return np.where(strange, -np.inf, log)

    def predict_proba(self, X, column=None):
        """Probabilities of a column's categories given the other known cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; the cells of the column itself are not looked at. Other cells that are
            missing are summed over.
        column : int or str, default=None
            The column, by number or name. None returns all columns side by side.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_categories)
            In the order of ``categories_[column]``; for all columns concatenated.
        """
        return self._stacked(X, column)

    def predict(self, X, column=None):
        """Most probable category of a column given the other known cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; the cells of the column itself are not looked at.
        column : int or str, default=None
            The column, by number or name. None returns a whole table, each cell
            predicted from the other cells of its row.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_features)
            Categories; for a binned column the medians of bins.
        """
        return self._likeliest(X, column)

    def query(self, evidence, columns):
        """Joint probabilities of some columns given cells of others.

        Columns that are in neither are summed over.

        Parameters
        ----------
        evidence : dict
            Known cells: categories by the number or name of their column. May be empty.
        columns : int, str or list of them
            Columns whose joint distribution is computed.

        Returns
        -------
        proba : ndarray
            One axis per column of ``columns``, in the order of ``categories_``. The
            entries sum to one.
        """
        check_is_fitted(self)
        nodes, known = self._nodes(columns), self._given(evidence)[0]
        if set(nodes) & set(known):
            raise ValueError("columns must not name columns that evidence holds.")
        shape = [len(self.categories_[u]) for u in nodes]
        if np.prod(shape, dtype=float) > LARGEST_TABLE:
            raise ValueError(
                f"A table of {' x '.join(map(str, shape))} probabilities is too large: "
                f"{LARGEST_TABLE} at most."
            )
        states = every_state(shape)
        codes = np.full((len(states), self.n_features_in_), MISSING)
        codes[:, list(known)] = list(known.values())
        codes[:, nodes] = states
        log = self._joint().log_marginal(codes)
        return np.exp(log - logsumexp(log)).reshape(shape)

    # --- completion and sampling ----------------------------------------------------

    def sample(self, n_samples=1, *, given=None, order=None, random_state=None):
        """Draw rows.

        Parameters
        ----------
        n_samples : int, default=1
            Rows to draw.
        given : dict, default=None
            Cells that all rows share: values by the number or name of their column.
            The others are drawn given them.
        order : list of int or str, default=None
            Order of all columns in which cells are drawn, each given those before. None
            takes a random order for each row, or draws all cells together where the
            model can.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows, in a DataFrame with the names and dtypes of the one that ``fit`` was
            given, if it was one. Binned numbers are drawn within their bins.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        known, values = self._given(given)
        rng, joint = self._rng(random_state), self._joint()
        codes = np.full((n_samples, self.n_features_in_), MISSING)
        codes[:, list(known)] = list(known.values())
        if order is None:
            codes = joint.complete(codes, rng)
        else:
            orders = np.tile(self._orders(order, 1), (n_samples, 1))
            codes = draw_cells(joint, codes, orders, rng)
        columns = self._drawn_labels(codes, rng)
        for u, value in values.items():
            columns[u] = np.full(n_samples, value, dtype=columns[u].dtype)
        return self._as_table(columns)

    def _drawn_labels(self, codes, rng):
        """Labels of codes; numbers are drawn within their bins."""
        columns = self._labels(codes)
        for u in range(codes.shape[1]):
            if (spans := self._spans(u)) is not None:
                drawn = draw_in_bin(spans, codes[:, u], rng)
                columns[u] = drawn.astype(columns[u].dtype)
        return columns

    def impute(self, X, *, strategy="mode", random_state=None):
        """Fill the missing cells of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; ``nan``, ``None`` and pandas' ``NA`` are missing.
        strategy : {"mode", "sample", "mean"}, default="mode"
            The most probable category of each cell; one draw of all of a row's missing
            cells together; or the expected value of columns of numbers, and the mode
            of the others.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        completed : ndarray or DataFrame of shape (n_samples, n_features)
            A copy with the gaps filled, a DataFrame of pandas or polars where X is one.
            The mode of a binned column is the median of a bin.
        """
        check_is_fitted(self)
        if strategy not in ("mode", "sample", "mean"):
            raise ValueError(
                "strategy must be 'mode', 'sample' or 'mean'. Got "
                f"{strategy!r} instead."
            )
        codes, joint = self._codes(X), self._joint()
        if strategy == "sample":
            rng = self._rng(random_state)
            labels = self._drawn_labels(joint.complete(codes, rng), rng)
            return self._fill_gaps(X, labels)
        labels = self._labels(likeliest_cells(joint, codes))
        if strategy == "mean":
            labels = [
                self._mean_labels(codes, u, labels[u]) for u in range(len(labels))
            ]
        return self._fill_gaps(X, labels)

    def _mean_labels(self, codes, u, modes):
        """Expected values of a column of numbers where it is missing."""
        if self.categories_[u].dtype.kind not in "iuf":
            return modes
        values = self.categories_[u].astype(np.float64)
        if (spans := self._spans(u)) is not None:
            values = means(spans)
        out, gaps = modes.astype(np.float64), np.flatnonzero(codes[:, u] == MISSING)
        if len(gaps):
            log = self._joint().log_conditional(codes[gaps], u)
            out[gaps] = np.exp(log) @ values
        # a column of whole numbers has no place for fractions
        return np.round(out) if self.categories_[u].dtype.kind in "iu" else out
