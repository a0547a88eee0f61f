"""What interaction screening does with a table, whatever chooses its penalty."""

import sys
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions
from skdiff._convex._solve import warn_unless_converged
from skdiff.density._base import BaseInteractions
from skdiff.density._coding import MISSING, histogram
from skdiff.density._features import (
    Energy,
    count_products,
    design,
    features,
    gauge_block,
    layout,
    list_terms,
)
from skdiff.density._gibbs import (
    redraw_missing,
    split_incomplete,
)
from skdiff.density._graph import assemble, strengths
from skdiff.density._interaction._solver import (
    make_node,
    penalty_strength,
    solve_node,
)

# Beyond it a few rows carry a sum of exponentials, and no finite answer may exist.
LARGEST_MARGIN = 6.0
LARGEST_DESIGN = 4e9  # bytes
IMPUTATION_ROUNDS, IMPUTATION_SWEEPS = 3, 3


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
        "n_jobs": [None, Integral],
    }

    def _energies(self, F, u):
        model = Energy(self._field, self._pairs, self._higher)
        return model.at_node(F, u, self._layout())

    def score_samples(self, X):
        """Unnormalised log-probability of each row under the joint model.

        Differences between rows are log-ratios of probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,)
            Up to one constant.
        """
        check_is_fitted(self)
        model = Energy(self._field, self._pairs, self._higher)
        return model.joint(self._features(self._codes(X)), self._layout())

    # --- fitting --------------------------------------------------------------------

    def _screen(self, codes, weight, sizes, alphas, starts=None):
        """Every node's solutions for decreasing alphas, and the strongest weights.

        ``weight`` has a column for each node where cells were missing.
        """
        p = codes.shape[1]
        if self.order > max(p, 2):
            raise ValueError(
                f"order={self.order} needs interactions of more columns than the "
                f"{p} there are."
            )
        rows, counts = histogram(codes, weight)
        where = layout(sizes, redundant=self.penalty == "l1")
        degree = min(self.order, p) - 1
        width = count_products(where, degree)
        if len(rows) * width * 8 > LARGEST_DESIGN:
            raise ValueError(
                f"order={self.order} makes {width} products of columns over "
                f"{len(rows)} distinct rows, {len(rows) * width * 8 / 1e9:.1f} GB. "
                "Lower the order or drop columns."
            )
        terms, _ = list_terms(where, degree)
        Z = design(features(rows, where), where, terms, width)

        def solve(u):
            s = counts if counts.ndim == 1 else counts[:, u]
            total, kept = s.sum(), np.flatnonzero(s)
            part = slice(None) if len(kept) == len(s) else kept
            problem = make_node(
                u,
                rows[part],
                s[part] / total,
                Z[part],
                where,
                terms,
                method=self.method,
                penalty=self.penalty,
            )
            return solve_node(
                problem,
                [penalty_strength(a, self.confidence, p, total) for a in alphas],
                solver="direct" if self.solver == "auto" else self.solver,
                tol=self.tol,
                max_iter=self.max_iter,
                start=None if starts is None else starts[u],
            )

        nodes = [u for u in range(p) if sizes[u] > 1]
        parallel = Parallel(n_jobs=self.n_jobs, return_as="generator")
        paths = [[] for _ in range(p)]
        for u, path in zip(
            nodes, parallel(delayed(solve)(u) for u in nodes), strict=True
        ):
            paths[u] = path
            if self.verbose:
                sys.stdout.write(
                    f"column {u + 1} of {p}: {sum(s.n_iter for s in path)} iterations, "
                    f"gap {max(s.gap for s in path):.1e}\n"
                )
        return paths, where, terms

    def _fill(self, codes, weight, sizes, marginals, alpha, rng):
        """Rows with their gaps drawn from the model, and a weight for each node."""
        codes, weights, gaps = split_incomplete(
            codes, weight, marginals, self.n_imputations, rng
        )
        where, starts = layout(sizes), None
        holes = np.flatnonzero(gaps.any(axis=1))
        for _ in range(IMPUTATION_ROUNDS):
            paths, solved, terms = self._screen(codes, weights, sizes, [alpha], starts)
            starts = [path[0].x if path else np.empty(0) for path in paths]
            model, _ = assemble(starts, where, solved, terms, self.symmetrize)
            codes[holes] = redraw_missing(
                codes[holes],
                gaps[holes],
                lambda F, u, model=model: model.at_node(F, u, where),
                where,
                rng,
                IMPUTATION_SWEEPS,
            )
        return codes, weights, starts

    def _conclude(self, codes, weight, coding, marginals, alpha):
        """Fit with one penalty; return the whole fitted state."""
        sizes = [len(labels) for labels in coding.categories]
        p, starts = len(sizes), None
        total = float(weight.sum())
        constant = [n for n, q in zip(self._names(), sizes, strict=True) if q == 1]
        if (codes == MISSING).any():
            rng = check_random_state(self.random_state)
            codes, weight, starts = self._fill(
                codes, weight, sizes, marginals, alpha, rng
            )
        paths, solved, terms = self._screen(codes, weight, sizes, [alpha], starts)
        found = [path[0] if path else None for path in paths]
        where = layout(sizes)
        solutions = [np.empty(0) if s is None else s.x for s in found]
        model, asymmetry = assemble(solutions, where, solved, terms, self.symmetrize)
        strength = strengths(model, where)
        penalty = penalty_strength(alpha, self.confidence, p, total)
        # by Hoeffding, what a gradient of pure noise reaches at most
        noise = penalty_strength(np.sqrt(2), self.confidence, p, total)
        cut = self._cut(
            strength,
            where,
            marginals,
            penalty=penalty,
            noise=max(noise - penalty, penalty),
            confidence=self.confidence,
        )
        self._warn(found, constant)
        coef, intercept = _named_coefficients(model, sizes, where)
        return {
            "categories_": coding.categories,
            "bin_edges_": coding.edges,
            "_members": coding.members,
            "marginals_": marginals,
            "coef_": coef,
            "intercept_": intercept,
            "strength_": strength,
            "asymmetry_": asymmetry,
            **cut,
            "penalty_strength_": penalty,
            "gap_": max((s.gap for s in found if s is not None), default=0.0),
            "node_n_iter_": np.array([0 if s is None else s.n_iter for s in found]),
            "n_iter_": max((s.n_iter for s in found if s is not None), default=1) or 1,
            "_field": model.field,
            "_pairs": model.pairs,
            "_higher": model.higher,
        }

    def _warn(self, found, constant):
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
