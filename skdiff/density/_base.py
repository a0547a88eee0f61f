"""What every graphical model of a table of categories offers, whatever its energies."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, check_sample_weight
from skdiff._base.plotting import require_pandas
from skdiff.density._coding import MISSING
from skdiff.density._features import layout
from skdiff.density._gibbs import gibbs, redraw_missing
from skdiff.density._joint._chain import chain_log_prob, conditional_chain
from skdiff.density._joint._graph import InteractionJoint
from skdiff.density._missing import (
    cell_log_likelihood,
    likeliest,
    log_conditionals,
    log_conditionals_of,
    log_marginals,
)
from skdiff.density._query import marginal
from skdiff.density._table._base import BaseTable, check_count


def has_joint(estimator):
    """Whether the conditionals of a model belong to a joint distribution."""
    return getattr(estimator, "variant", "energy") == "energy"


class BaseInteractions(BaseTable):
    """Conditionals, completion and sampling of a graphical model.

    A subclass fits, and gives its :class:`~skdiff.density._model.Model` by ``_model``.
    """

    _parameter_constraints = {
        **BaseTable._parameter_constraints,
        "threshold": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_imputations": [Interval(Integral, 1, None, closed="left")],
    }

    def _layout(self):
        return layout([len(labels) for labels in self.categories_])

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
        return self._stacked(X, node)

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
        return self._likeliest(X, node)

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

    # --- joint probabilities --------------------------------------------------------

    def _joint(self):
        """Marginals, conditionals and completions of the model."""
        return InteractionJoint(self._model(), self.marginals_)

    @available_if(has_joint)
    def log_marginal(self, X, columns):
        """Log-probability of the cells of some columns alone.

        It is normalised: exactly where the columns can be summed out one after the
        other (:meth:`query`), otherwise by Gibbs sampling with fixed random numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all columns; the cells of the others do not count.
        columns : int, str or list of them
            Columns, by number or name.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Cells that are missing are summed over.
        """
        check_is_fitted(self)
        codes, nodes = self._codes(X), self._nodes(columns)
        kept = np.isin(np.arange(self.n_features_in_), nodes)
        return self._joint().log_marginal(np.where(kept, codes, MISSING))

    def conditional_log_prob(self, X, target_columns):
        """Log-probability of the cells of some columns given the other known cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        target_columns : int, str or list of them
            Columns whose cells are scored together: the product of their conditionals
            one after the other.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Target cells that are missing are summed over.
        """
        check_is_fitted(self)
        codes, targets = self._codes(X), self._nodes(target_columns)
        return conditional_chain(self._joint(), codes, targets)

    def _score_rows(self, X, method, order):
        """Log-probabilities up to one constant, or along a chain of all columns."""
        if method not in ("marginal", "chain"):
            raise ValueError(
                f"method must be 'marginal' or 'chain'. Got {method!r} instead."
            )
        check_is_fitted(self)
        codes = self._codes(X)
        if method == "marginal":
            return log_marginals(self._model(), codes)
        orders = np.tile(self._orders(order, 1), (len(codes), 1))
        return chain_log_prob(self._joint(), codes, orders)

    # --- completion and sampling ----------------------------------------------------

    def impute(
        self, X, *, strategy="mode", n_sweeps=20, random_state=None, method=None
    ):
        """Fill the missing cells of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; ``nan``, ``None`` and pandas' ``NA`` are missing.
        strategy : {"mode", "sample"}, default="mode"
            The most probable category of each cell, or one draw of all of a row's
            missing cells together by Gibbs sampling.
        n_sweeps : int, default=20
            Sweeps of the sampler.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.
        method : {"mode", "sample"}, default=None
            Earlier name of ``strategy``.

        Returns
        -------
        completed : ndarray or DataFrame of shape (n_samples, n_features)
            A copy with the gaps filled, a DataFrame of pandas or polars where X is one.
            The mode of a binned column is the median of a bin.
        """
        check_is_fitted(self)
        name, strategy = (
            ("strategy", strategy) if method is None else ("method", method)
        )
        if strategy not in ("mode", "sample"):
            raise ValueError(
                f"{name} must be 'mode' or 'sample'. Got {strategy!r} instead."
            )
        check_count(n_sweeps, "n_sweeps")
        codes, model = self._codes(X), self._model()
        filled = likeliest(model, codes)
        if strategy == "sample":
            rng = self._rng(random_state)
            filled = redraw_missing(filled, codes == MISSING, model, rng, n_sweeps)
        return self._fill_gaps(X, self._labels(filled))

    def sample(
        self,
        n_samples=1,
        *,
        given=None,
        burn_in=100,
        thin=5,
        n_chains=None,
        random_state=None,
    ):
        """Draw rows by Gibbs sampling, all chains at once.

        Parameters
        ----------
        n_samples : int, default=1
            Rows to draw.
        given : dict, default=None
            Cells that all rows share: categories by the number or name of their column.
            The others are drawn given them.
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
        check_count(n_samples, "n_samples")
        check_count(burn_in, "burn_in", least=0)
        check_count(thin, "thin")
        if n_chains is None:
            n_chains = min(n_samples, 1000)
        check_count(n_chains, "n_chains")
        codes = gibbs(
            self._model(),
            self.marginals_,
            n_samples,
            self._rng(random_state),
            given=self._given(given)[0],
            burn_in=burn_in,
            thin=thin,
            n_chains=n_chains,
        )
        return self._as_table(self._labels(codes))

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
        check_count(n_samples, "n_samples")
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
