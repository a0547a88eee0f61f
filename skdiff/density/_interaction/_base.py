"""What interaction screening does with a table, whatever chooses its penalty."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skdiff._base.compat import Interval, StrOptions
from skdiff._convex._solve import warn_unless_converged
from skdiff.density._base import BaseInteractions
from skdiff.density._coding import MISSING
from skdiff.density._features import Energy, gauge_block, layout
from skdiff.density._graph import noise_bound, noise_scale, strengths
from skdiff.density._interaction._screen import (
    Filled,
    Settings,
    Table,
    combine_nodes,
    fill_gaps,
    noise_of,
    solve_nodes,
    solve_on_graph,
)
from skdiff.density._interaction._solver import (
    noise_level,
    penalty_strength,
)
from skdiff.density._model import linear_model

# Beyond it a few rows carry a sum of exponentials, and no finite answer may exist.
LARGEST_MARGIN = 6.0


class BaseScreening(BaseInteractions):
    """Interaction screening over given penalties."""

    _parameter_constraints = {
        **BaseInteractions._parameter_constraints,
        "method": [StrOptions({"rise", "logrise", "pseudolikelihood"})],
        "order": [Interval(Integral, 2, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "penalty": [StrOptions({"l1", "group"})],
        "symmetrize": [StrOptions({"mean", "min", "max"})],
        "solver": [StrOptions({"auto", "direct", "cvxpy"})],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "refit": ["boolean"],
        "n_jobs": [None, Integral],
    }

    def _model(self):
        return linear_model(
            Energy(self._field, self._pairs, self._higher), self._layout()
        )

    def score_samples(self, X, *, method="marginal", order=None):
        """Unnormalised log-probability of each row under the joint model.

        Differences between rows are log-ratios of probabilities. Missing cells are
        summed over: the value is that of the known cells together.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        method : {"marginal", "chain"}, default="marginal"
            The joint model itself, up to one constant, or the product of conditionals
            along ``order``, which is normalised and takes one sum per column.
        order : list of int or str, default=None
            Order of all columns in a chain. None takes them as they stand.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Up to one constant; :meth:`log_marginal` is normalised.
        """
        return self._score_rows(X, method, order)

    # --- fitting --------------------------------------------------------------------

    def _settings(self):
        return Settings(
            method=self.method,
            order=self.order,
            confidence=self.confidence,
            penalty=self.penalty,
            symmetrize=self.symmetrize,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            n_jobs=self.n_jobs,
        )

    def _fill(self, table, marginals, alpha):
        """The table with its gaps drawn from the model, and coefficients to start."""
        if not (table.codes == MISSING).any():
            return Filled(table, None)
        return fill_gaps(
            table,
            marginals,
            alpha,
            self._settings(),
            n_imputations=self.n_imputations,
            rng=check_random_state(self.random_state),
        )

    def _conclude(self, learned, alpha, write):
        """Fit with one penalty; return the whole fitted state."""
        marginals, settings = learned.state["marginals_"], self._settings()
        sizes = [len(share) for share in marginals]
        total = float(learned.weight.sum())
        table = Table(learned.codes, learned.weight, sizes)
        table, starts = self._fill(table, marginals, alpha)
        solved = solve_nodes(table, [alpha], settings, starts=starts, write=write)
        found = [path[0] if path else None for path in solved.paths]
        energy, asymmetry = combine_nodes(solved, 0, settings)
        where = layout(sizes)
        strength = strengths(energy, where)
        penalty = penalty_strength(alpha, self.confidence, len(sizes), total)
        bound = noise_bound(len(sizes), self.confidence, total)
        scale = noise_scale(where, marginals, self.confidence)
        # of balanced columns that are independent
        threshold = max(bound - penalty, penalty)
        if self.threshold == "auto":
            noise = noise_of(table, solved, settings)
            scale = noise_level(bound, penalty, scale, noise) / threshold
        cut = self._cut(strength, threshold, scale)
        if self.refit:
            higher = self._higher_above(energy, cut["_cuts"])
            solved = solve_on_graph(
                table, cut["adjacency_"], higher, settings, write=write
            )
            found = [path[0] if path else None for path in solved.paths]
            energy, asymmetry = combine_nodes(solved, 0, settings)
            strength = strengths(energy, where)
        self._warn(found, sizes)
        coef, intercept = _named_coefficients(energy, sizes, where)
        return {
            **learned.state,
            "coef_": coef,
            "intercept_": intercept,
            "strength_": strength,
            "asymmetry_": asymmetry,
            **cut,
            "penalty_strength_": penalty,
            "gap_": max((s.gap for s in found if s is not None), default=0.0),
            "node_n_iter_": np.array([0 if s is None else s.n_iter for s in found]),
            "n_iter_": max((s.n_iter for s in found if s is not None), default=1) or 1,
            "_field": energy.field,
            "_pairs": energy.pairs,
            "_higher": energy.higher,
        }

    def _higher_above(self, energy, cuts):
        """Interactions of three and more columns that are longer than the threshold."""
        return {
            T
            for T, block in energy.higher.items()
            if np.linalg.norm(block) > max(cuts[i, j] for i in T for j in T if i != j)
        }

    def _warn(self, found, sizes):
        constant = [n for n, q in zip(self._names(), sizes, strict=True) if q == 1]
        if constant:
            warnings.warn(
                f"Columns {', '.join(map(str, constant))} have one category: they take "
                "no part in any interaction.",
                UserWarning,
                stacklevel=4,
            )
        solved = [s for s in found if s is not None]
        names = [
            str(name)
            for name, s in zip(self._names(), found, strict=True)
            if s is not None and s.stats["largest_margin"] > LARGEST_MARGIN
        ]
        if names:
            warnings.warn(
                f"Columns {', '.join(names)} are nearly determined by the others: "
                "their coefficients grow without bound as the penalty falls, and rest "
                "on few rows. Increase alpha, or drop columns that repeat others.",
                ConvergenceWarning,
                stacklevel=4,
            )
        for solution in solved:
            if not solution.converged:
                warn_unless_converged(self, solution)
                break

    def _list_interactions(self):
        where, p = self._layout(), len(self.categories_)
        for i in range(p):
            for j in range(i + 1, p):
                block = self._pairs[where.spans[i], where.spans[j]]
                if block.any():
                    yield self._describe((i, j), block)
        for T, block in self._higher.items():
            yield self._describe(T, block)


def _named_coefficients(model, sizes, where):
    """Pairwise coefficients and fields: arrays of spins, or blocks of energies."""
    p = len(sizes)
    if max(sizes) <= 2:
        alive = np.flatnonzero(np.array(sizes) == 2)
        coef, intercept = np.zeros((p, p)), np.zeros(p)
        coef[np.ix_(alive, alive)] = model.pairs
        intercept[alive] = model.field
        return coef, intercept
    blocks = {}
    for i in range(p):
        for j in range(i + 1, p):
            block = model.pairs[where.spans[i], where.spans[j]]
            if block.any():
                blocks[i, j] = gauge_block(block, (i, j), where)
    fields = [basis @ model.field[span] for basis, span in zip(*where, strict=True)]
    return blocks, fields
