"""The fit of Private-GSD: reserve, read, measure, search."""

import warnings
from copy import copy
from fractions import Fraction

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skdiff._base.compat import CallbackSupportMixin
from skdiff._base.inner import whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._privacy._bounds import (
    N_CELLS,
    bounds_of,
    power_cells,
    quantile_edges,
    threshold,
)
from skdiff._privacy._budget import PrivacyBudgetError, PrivacyLeakWarning
from skdiff._privacy._opendp import require_opendp
from skdiff._privacy._release import Release, partition_sensitivity_sq
from skdiff.synthetic._gsd import _table
from skdiff.synthetic._gsd._measure import (
    LARGEST_NOISE,
    Measured,
    Rounds,
    Task,
    adaptive,
    most_picks,
    one_shot,
    targets_of,
    typical_noise,
)
from skdiff.synthetic._gsd._paper import paper_search
from skdiff.synthetic._gsd._request import asked, check_request, portion
from skdiff.synthetic._gsd._search import Limits, search
from skdiff.synthetic._gsd._shrink import one_way_shares, shrunk
from skdiff.synthetic._gsd._start import repaired, resampled, start
from skdiff.synthetic._gsd._state import State
from skdiff.synthetic._queries._families import QueryFamily
from skdiff.synthetic._queries._marginals import Ways
from skdiff.synthetic._schema import TableSchema

MOST_ROWS = 2000  # default size of the synthetic table
WAYS = {"1-way": 1, "2-way": 2, "3-way": 3}
_ROUND_SWEEPS = 10  # sweeps between adaptive rounds


class BaseGSD(SaveMixin, CallbackSupportMixin, BaseEstimator):
    """The fit; parameters and what is released are the subclass's."""

    #: tests draw from a seeded source through this; the release is then not private
    _noise_source = None

    def _fit(self, X, y):
        form = (self.neighbors, self.rows_per_user)
        check_request(self.epsilon, self.delta, self.rho, form, self.accountant)
        # a refused fit keeps the release that an earlier one has paid for
        request = self._reserve(X)
        with whole_fit(self):
            release = Release(
                self._noise_source,
                self.noise,
                private=request.private,
                rows_per_user=self.rows_per_user,
            )
            try:
                rows = _table.read(self, X, y, self.target_name)
                rows = _table.named(rows, self.schema)
                declared = self._declared(rows)
                missing = _table.undeclared(rows.form, declared)
                self._check_columns(rows, declared, missing)
                codes, rest = self._prepare(release, rows, declared, missing, request)
                self._measure(release, codes, rest)
            finally:
                # what was not charged was not measured, however the fit ended
                if self.accountant is not None:
                    self.accountant.release(request.rho - release.ledger.total)
            total = release.ledger.total
            valid = self._noise_source is None
            self.privacy_spent_ = request.spent(total, valid)
            self._ledger = tuple(
                (e.name, e.kind, e.sensitivity_sq, e.sigma_sq, e.eps, e.rho)
                for e in release.ledger.entries
            )
            if request.private and not valid:
                warnings.warn(
                    "The noise did not come from the operating system: the release "
                    "has no guarantee.",
                    PrivacyLeakWarning,
                    stacklevel=4,
                )
        return self

    def _reserve(self, X):
        """State the budget, and take it from the accountant before rows are read."""
        accountant = self.accountant
        if accountant is not None and not accountant.remaining:
            raise PrivacyBudgetError("The accountant has no budget left.")
        form = (self.neighbors, self.rows_per_user)
        known = self.rho is not None or self.delta is not None
        if accountant is not None and known:
            delta = self.delta if self.delta is not None else 0.5
            request = asked(self.epsilon, delta, self.rho, form, 0)
            accountant.reserve(request.rho)
        n_rows = _table.number_of_rows(X)
        rho = None if self.rho is None and self.epsilon is None else self.rho
        request = asked(self.epsilon, self.delta, rho, form, n_rows)
        if accountant is not None and not known:
            accountant.reserve(request.rho)
        return request

    def _declared(self, rows):
        """The schema by the names of the columns."""
        declared = self._declared_by_hand(rows)._by_name(rows.form.names)
        edges = self.edges if isinstance(self.edges, dict) else {}
        changes = {"edges": {**declared.edges, **edges}, "depth": self.depth}
        integer = _table.integer_columns(rows.form, declared)
        missing = _table.missing_columns(rows.form, declared)
        return declared._with(integer=integer, missing=missing, **changes)

    def _declared_by_hand(self, rows):
        return TableSchema({}) if self.schema is None else self.schema

    def _check_columns(self, rows, declared, missing):
        if missing and self.bounds == "raise":
            raise ValueError(
                f"Column {missing[0]!r} of X has no declared bounds. Declare them in a "
                'TableSchema, or buy them with bounds="spend".'
            )
        names = list(rows.form.names)
        strange = [c for c in self.fixed_columns if c not in names]
        if strange:
            raise ValueError(f"fixed_columns names {strange[0]!r}, no column of X.")
        if len(self.fixed_columns) and self.init is None:
            raise ValueError("fixed_columns needs init, which holds their values.")
        if self.noise == "opendp":
            require_opendp()

    def _prepare(self, release, rows, declared, missing, request):
        """Check and code all columns; buy the number of rows, bounds and edges."""
        # cells that can be checked are checked before the first measurement
        numbers = {n: _table.numbers_of(rows, n, declared) for n in missing}
        given = [n for n in rows.form.names if n not in numbers]
        held = declared._resolved(rows.form.names, dict.fromkeys(numbers, (0.0, 1.0)))
        places = {name: j for j, name in enumerate(rows.form.names)}
        for name in given:
            held._coded[places[name]].encode(rows.columns[places[name]])
        rest, total = request.rho, request.rho
        counted = self.neighbors == "add-remove" and request.private
        shares = self.n_fraction * counted + self.bounds_fraction * bool(numbers)
        if request.private and shares >= 1:
            raise ValueError(
                "n_fraction and bounds_fraction leave nothing of the budget. Got "
                f"{self.n_fraction} and {self.bounds_fraction}."
            )
        n_rows = rows.n_rows
        if counted:
            part = total * portion(self.n_fraction)
            noisy, _ = release.counts("number of rows", np.array([n_rows]), 1, part)
            n_rows, rest = max(int(noisy[0]), 1), rest - part
        if numbers:
            part = Fraction(0)
            if request.private:
                part = total * portion(self.bounds_fraction)
                rest -= part
            found = self._buy_bounds(release, numbers, part)
            kinds = dict(zip(rows.form.names, rows.form.dtypes, strict=True))
            found = {n: _table.representable(b, kinds[n]) for n, b in found.items()}
            found |= {
                n: _table.around_whole(found[n]) for n in found if n in declared.integer
            }
        else:
            found = {}
        schema = declared._resolved(rows.form.names, found)
        if self.edges == "quantile":
            schema, rest = self._buy_edges(release, rows, schema, rest)
        self.schema_ = schema
        self._form = tuple(rows.form)
        self._n_rows = n_rows
        return _table.encode(rows, schema), rest

    def _buy_bounds(self, release, numbers, part):
        each = part / len(numbers)
        found = {}
        for name, values in numbers.items():
            counts = np.bincount(power_cells(values), minlength=N_CELLS)
            sensitivity_sq = partition_sensitivity_sq(self.neighbors)
            noisy, sigma_sq = release.counts(
                f"bounds of {name}", counts, sensitivity_sq, each
            )
            found[name] = bounds_of(noisy, threshold(sigma_sq))
        return found

    def _buy_edges(self, release, rows, schema, rest):
        """Replace equal widths by about equal mass (histograms of twice the bins)."""
        columns = [
            (j, c)
            for j, c in enumerate(schema._coded)
            if c.numeric and not c.integer and c.name not in schema.edges
        ]
        if not columns:
            return schema, rest
        width = len(schema._coded)
        pairs = max(width * (width - 1) // 2, 1)
        each = Fraction(0)
        if rest is not None:
            part = rest * Fraction(len(columns), len(columns) + pairs)
            rest, each = rest - part, part / len(columns)
        edges = dict(schema.edges)
        fine = schema._with(depth=min(schema.depth + 2, 12))
        for j, column in columns:
            grid = fine._coded[j]
            counts = np.bincount(grid.encode(rows.columns[j]), minlength=grid.size)
            noisy, _ = release.counts(
                f"edges of {column.name}",
                counts,
                partition_sensitivity_sq(self.neighbors),
                each,
            )
            edges[column.name] = tuple(
                quantile_edges(noisy[: grid.n_bins], grid.edges, 2**schema.depth)
            )
        return schema._with(edges=edges), rest

    def _measure(self, release, codes, rho):
        """Measure, search, and keep what may be released."""
        rng = check_random_state(self.random_state)
        task = self._task()
        size = self.n_synthetic
        if size is None:
            size = min(self._n_rows, MOST_ROWS)
        watched = watch(self, unit="Sweep")
        with watched as progress:
            run = _Search(self, progress, rng, size)
            self.selection_, rounds = self._selection(task, rho)
            if self.selection_ == "one-shot":
                measured = one_shot(release, codes, task, rho)
            else:
                plan = (rounds, run.between)
                measured = adaptive(release, codes, task, rho, plan)
            del codes
            found = run.last(measured)
        self.queries_ = [m.family for m in measured]
        self.noisy_answers_ = [m.shares for m in measured]
        self.noise_scale_ = np.array([m.sigma for m in measured])
        self.synthetic_ = run.codes
        self.loss_, self.loss_history_ = found.loss, found.history
        self.n_evals_, self.n_iter_ = run.n_evals, progress.n_iter
        self.stopped_ = found.stopped
        if self.stopped_ == "time":
            warnings.warn(
                "The search reached time_limit; the best table so far is kept.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _task(self):
        """Tables that may be measured."""
        wanted = self.queries
        wanted = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        if not wanted:
            raise ValueError("queries must not be empty.")
        pairs = {}
        for family in wanted:
            if isinstance(family, str):
                if family not in WAYS:
                    raise ValueError(
                        f"queries holds {family!r}; known are {sorted(WAYS)}."
                    )
                family = Ways(WAYS[family])
            if not isinstance(family, QueryFamily):
                raise TypeError(
                    "queries must hold names or query objects. Got "
                    f"{type(family).__name__}."
                )
            # a copy, since another fit may give the user's object another schema
            for pair in copy(family).fit_schema(self.schema_)._parts:
                pairs[repr(pair[0])] = pair
        families, parts = zip(*pairs.values(), strict=True)
        one_way = Ways(1, levels=1).fit_schema(self.schema_)._parts
        return Task(
            list(families), list(parts), one_way, self.neighbors, self._n_rows,
            self.rows_per_user,
        )  # fmt: skip

    def _selection(self, task, rho):
        """One-shot or adaptive, and the rounds; public numbers decide."""
        if rho is None:
            return "one-shot", None
        chosen = self.selection
        single = all(len(cells.columns) == 1 for cells in task.parts)
        if chosen == "auto":
            quiet = typical_noise(task, rho) <= LARGEST_NOISE
            chosen = "one-shot" if quiet or single else "adaptive"
        if chosen == "one-shot":
            return chosen, None
        if self.n_per_round == "auto":
            picks = most_picks(task, rho)
            if self.selection == "adaptive":
                picks = max(picks, 1)
            rounds = Rounds(picks, max(-(-picks // self.n_rounds), 1))
        else:
            picks = min(self.n_rounds * self.n_per_round, len(task.parts))
            rounds = Rounds(picks, self.n_per_round)
        return ("adaptive" if rounds.n_picks else "1-way"), rounds


class _Search:
    """Searches of one fit: each starts where the last one ended."""

    def __init__(self, estimator, progress, rng, size):
        self.estimator, self.progress, self.rng = estimator, progress, rng
        self.size, self.n_evals, self.codes = size, 0, None
        schema = estimator.schema_
        fixed = set(estimator.fixed_columns)
        self.free = np.array(
            [j for j, name in enumerate(schema.names) if name not in fixed], dtype=int
        )
        self.allowed = None
        if estimator.constraint is not None:
            self.allowed = lambda codes: np.asarray(
                estimator.constraint(schema.decode(codes)), dtype=bool
            )
        if estimator.init is not None:
            public = schema.encode(
                estimator.init
                if hasattr(estimator.init, "columns")
                else np.asarray(estimator.init)
            )
            self.codes = resampled(public, size, rng)

    def between(self, measured):
        """The table that fits what was measured so far."""
        self._run(measured, _ROUND_SWEEPS)
        return self.codes

    def last(self, measured):
        """The final search."""
        return self._run(measured, None)

    def _run(self, measured: list[Measured], sweeps):
        estimator = self.estimator
        sizes = estimator.schema_.n_codes
        if self.codes is None:
            alone = one_way_shares(measured, sizes)
            self.codes = start(alone, self.size, self.rng)
        if self.allowed is not None:
            self.codes = repaired(self.codes, self.allowed, self.free, self.rng)
        most = estimator.max_evals
        if sweeps is not None:
            limit = sweeps * self.size * sum(sizes)
            most = limit if most is None else min(limit, most)
        batch = None if estimator.batch_size == "auto" else estimator.batch_size
        limits = Limits(estimator.tol, most, batch, self.free, self.allowed)
        if estimator.denoise:
            measured = shrunk(measured, sizes, estimator._n_rows)
        state = State(self.codes, targets_of(measured))
        run = search if estimator.search == "genetic" else paper_search
        found = run(state, limits, self.rng, self.progress)
        self.codes = np.ascontiguousarray(state.codes)
        self.n_evals += found.n_evals
        return found
