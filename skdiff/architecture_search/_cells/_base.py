"""Architecture search below its parameters: rows, codes, the search, the training."""

import time
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from skdiff._base.compat import Interval, StrOptions
from skdiff._base.parameters import COUNT, POSITIVE
from skdiff._base.tables import FIRST
from skdiff._nn._base import BaseNeural
from skdiff.architecture_search._base import CodedRows
from skdiff.architecture_search._cells._architecture import NAMES, Architecture
from skdiff.architecture_search._parts import earlier, halves

# the widths of a hypercuboid go down to a quarter
SMALLEST_WIDTH = 4
OPERATIONS = ("zero", "skip", "relu", "tanh", "silu", "glu")
NOTHING = {
    "architecture_": None,
    "searched_architecture_": None,
    "alphas_": None,
    "edges_": None,
    "_operations": None,
    "perturbation_scores_": None,
    "search_history_": None,
    "race_": None,
    "searched_score_": None,
    "baseline_score_": None,
}


@dataclass
class Fitting:
    """What a fit knows while it runs."""

    given: Any
    columns: Any
    encoding: Any = None
    progress: Any = None
    max_iter: int | None = None
    rare: Any = None
    counted: Any = None


class BaseArchitectureSearch(CodedRows):
    """What a fit does; the subclass has the parameters."""

    _parameter_constraints: dict[str, list[Any]] = {
        **{
            name: kinds
            for name, kinds in BaseNeural._parameter_constraints.items()
            if name not in ("hidden_layer_sizes", "activation")
        },
        "space": [StrOptions({"cell", "hypercuboid"})],
        "operations": ["array-like"],
        "width": [Interval(Integral, SMALLEST_WIDTH, None, closed="left")],
        "n_nodes": COUNT,
        "n_cells": COUNT,
        "n_inputs": COUNT,
        "strategy": [StrOptions({"darts", "rarts", "joint"})],
        "order": [Interval(Integral, 1, 2, closed="both")],
        "selection": [StrOptions({"race", "magnitude", "perturbation", "max_w"})],
        "n_candidates": [Interval(Integral, 2, None, closed="left")],
        "temperature": POSITIVE,
        "weighting": [StrOptions({"softmax", "max_w"})],
        "search_max_iter": COUNT,
        "search_split": [Interval(Real, 0, 1, closed="neither")],
        "search_learning_rate": POSITIVE,
        "architecture_learning_rate": POSITIVE,
        "train_weight": POSITIVE,
        "penalty": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [StrOptions({"cosine_power", "constant"})],
        "power": POSITIVE,
        "compare_baseline": ["boolean"],
        "n_restarts": COUNT,
        "architecture": [Architecture, dict, str, None],
        "categorical_features": ["array-like", str, None],
    }

    # the matrices of all edges are parts of few tensors
    _decays_by_layer = False

    def _n_layers(self):
        return 1

    def _check_sizes(self, held):
        if _fewest_weights(self.architecture_) > held:
            raise ValueError(
                "The architecture does not belong to the weights of the file."
            )

    # --- parameters -------------------------------------------------------------------

    def _given(self):
        """The architecture that was passed, or None."""
        given = self.architecture
        if isinstance(given, str):
            return Architecture.from_json(given)
        return Architecture.from_dict(given) if isinstance(given, dict) else given

    def _check_search(self):
        names = np.asarray(self.operations, dtype=object)
        if names.ndim != 1:
            raise ValueError(f"operations must be a list of names, got {names}.")
        names = names.tolist()
        if unknown := [n for n in names if n not in NAMES]:
            raise ValueError(
                f"operations holds {unknown}; known operations are {list(NAMES)}."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"operations names one twice: {names}.")
        if len([n for n in names if n != "zero"]) < 2:
            raise ValueError(
                "operations must hold at least two besides 'zero', else there is "
                f"nothing to choose. Got {names}."
            )
        if self.space == "cell" and self.n_inputs > self.n_nodes:
            raise ValueError(
                f"n_inputs={self.n_inputs} is more than the {self.n_nodes} inputs that "
                f"the last of n_nodes={self.n_nodes} nodes can have."
            )
        if self.space == "hypercuboid" and self.n_cells != 1:
            raise ValueError("space='hypercuboid' has one cell: leave n_cells at 1.")
        if self.strategy == "joint" and self.selection in ("magnitude", "max_w"):
            raise ValueError(
                "strategy='joint' leaves the weights of all operations equal, so that "
                f"selection={self.selection!r} has nothing to go by. Use 'race' or "
                "'perturbation'."
            )
        if self.strategy != "darts" and self.order == 2:
            raise ValueError("order=2 belongs to strategy='darts'.")

    # --- rows -------------------------------------------------------------------------

    def _note_rows(self, levels, codes, Y, sample_weight):
        self._fitting.rare = levels[_rare(codes, Y, sample_weight)]

    # --- the network ------------------------------------------------------------------

    def _sizes(self, n_in, n_out):
        from skdiff.architecture_search._cells._inputs import Sizes

        if (columns := self._columns()) is None:
            return Sizes(n_in, n_out)
        places = tuple(int(j) for j in np.flatnonzero(columns["categorical"]))
        counts = tuple(len(c) + FIRST for c in columns["categories_"])
        return Sizes(n_in, n_out, places, counts)

    def _module(self, n_in, n_out, generator):
        from skdiff.architecture_search._cells._networks import build

        fitting = vars(self).get("_fitting")
        known = vars(self) if fitting is None else fitting.encoding
        return build(known["architecture_"], self._sizes(n_in, n_out), generator)

    def _stepper(self, module):
        from skdiff.architecture_search._net import rated

        return rated(super()._stepper(module))

    def _power(self):
        return float(self.power) if self.learning_rate == "cosine_power" else None

    # --- fit --------------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, **how):
        self._check_search()
        given = self._given()
        self._fitting = Fitting(given=given, columns=vars(self).get("_categories"))
        try:
            return super()._fit(X, y, sample_weight, **how)
        finally:
            del self._fitting

    def _encoding(self):
        kept = {n: vars(self)[n] for n in (*NOTHING, "_categories") if n in vars(self)}
        return {**super()._encoding(), **kept}

    def _fit_constant(self, encoding, continued):
        encoding = {**NOTHING, **encoding, "_categories": self._columns()}
        self.n_params_ = 0
        return super()._fit_constant(encoding, continued)

    def _most_iterations(self):
        return self.search_max_iter + self.max_iter

    def _guard(self, given, encoding, seed):
        """One guard for the search and the training."""
        if self._fitting.progress is None:
            self._fitting.progress = super()._guard(given, encoding, seed)
        return self._fitting.progress

    def _run(self, table, held, given, encoding, seed, continued, one_epoch):
        self._fitting.encoding = encoding
        encoding["_categories"] = self._columns()
        if encoding.get("architecture_") is None or not continued:
            started = time.monotonic()
            progress = self._guard(given, encoding, seed)
            self._settle(table, encoding, seed, progress, started, one_epoch)
        super()._run(table, held, given, encoding, seed, continued, one_epoch)

    def _settle(self, table, encoding, seed, progress, started, one_epoch):
        """Search or take the given architecture, and decide how long to train."""
        from skdiff._nn._threads import threads_for
        from skdiff.architecture_search._cells import _find

        encoding |= NOTHING
        given = self._fitting.given
        encoding["architecture_"] = given
        if given is not None and (one_epoch or self.early_stopping):
            return
        if (rare := self._fitting.rare) is not None and len(rare):
            if given is not None:
                return
            raise ValueError(
                "The search needs two rows of each class, one in each part; the "
                f"classes {rare.tolist()} have one. Drop such classes, or pass "
                "architecture, which needs no search."
            )
        bench, everything = self._bench(table, encoding, seed, progress)
        work = bench.how.batch_size * self.width**2 * len(self.operations)
        with earlier(progress, started), threads_for(work):
            known = None
            if given is None:
                space = self._space(bench.sizes)
                search, choice = self._search_settings(bench)
                found = _find.find(space, search, choice, bench, everything, seed)
                encoding |= _evidence(space, found)
                known = None if found.race is None else found.race.trial
            self._decide(bench, encoding, seed, known)

    def _decide(self, bench, encoding, seed, known):
        """Train the architecture and the baseline on one part; the other decides.

        ``known`` is such a training of the architecture where a race has run one.
        """
        from skdiff.architecture_search._cells._race import trial

        rivals = [encoding["architecture_"]]
        if self.compare_baseline and self._fitting.given is None:
            rivals.append(Architecture.mlp((self.width, self.width)))
        found = [
            trial(one, bench, self.max_iter, seed)
            if known is None or one != rivals[0]
            else known
            for one in rivals
        ]
        factor = 2.0 if self._is_regressor() else 1.0
        scores = [-factor * one.loss for one in found]
        encoding["searched_score_"] = scores[0]
        if len(rivals) > 1:
            encoding["baseline_score_"] = scores[1]
        best = int(np.argmax(scores))
        encoding["architecture_"] = rivals[best]
        if not self.early_stopping and found[best].n_iter:
            self._fitting.max_iter = found[best].n_iter

    def _bench(self, table, encoding, seed, progress):
        """The two halves and the terms on which networks are compared."""
        from skdiff._nn._data import TensorData, as_tensor, as_tensors
        from skdiff.architecture_search._cells._race import Bench
        from skdiff.architecture_search._cells._training import Training

        X, target, weight, _ = table
        codes = None if self._is_regressor() else target
        rng = np.random.RandomState(seed)
        parts = halves(len(X), self.search_split, codes, rng)
        everything = as_tensors(X, target, weight, self.device)
        train, held = (
            TensorData(*everything[as_tensor(rows, self.device)]) for rows in parts
        )
        how = Training(
            row_loss=self._row_loss,
            learning_rate=self.learning_rate_init,
            power=self._power(),
            batch_size=self._batch_rows(X[parts[0]]),
            solver=self.solver,
            momentum=self.momentum,
            alpha=float(self.alpha),
        )
        sizes = self._sizes(X.shape[1], self._n_outputs(encoding))
        return Bench(sizes, train, held, how, progress), everything

    def _space(self, sizes):
        from skdiff.architecture_search._cells._cell import CellSpace
        from skdiff.architecture_search._cells._hypercuboid import HypercuboidSpace

        names, width = tuple(self.operations), int(self.width)
        if self.space == "hypercuboid":
            return HypercuboidSpace(sizes, names, width, self.n_nodes)
        shape = self.n_nodes, self.n_inputs, self.n_cells
        return CellSpace(sizes, names, width, *map(int, shape))

    def _search_settings(self, bench):
        from skdiff.architecture_search._cells._find import Choice
        from skdiff.architecture_search._cells._supernet import Search

        search = Search(
            row_loss=self._row_loss,
            strategy=self.strategy,
            order=self.order,
            weighting="max_w" if self.selection == "max_w" else self.weighting,
            max_iter=self.search_max_iter,
            batch_size=bench.how.batch_size,
            learning_rate=self.search_learning_rate,
            power=self._power(),
            architecture_learning_rate=self.architecture_learning_rate,
            train_weight=float(self.train_weight),
            penalty=float(self.penalty),
        )
        choice = Choice(
            self.selection,
            self.n_candidates,
            float(self.temperature),
            self.n_restarts,
            self.max_iter,
        )
        return search, choice

    def _train(self, net, data, limits, progress, validate):
        """Train for as many epochs as the trial found best, or by early stopping."""
        from skdiff.architecture_search._cells._training import rate_of

        if (ended := progress.ended) is not None:
            # a callback has ended the search: one epoch, else nothing is learned
            progress.ended, limits = None, replace(limits, max_iter=1)
            run = super()._train(net, data, limits, progress, validate)
            progress.ended = run.stopped = ended
            return run
        if limits.one_epoch:
            return super()._train(net, data, limits, progress, validate)
        epochs = self._fitting.max_iter or limits.max_iter
        power = self._power()
        first = self.learning_rate_init
        net.follow(lambda epoch: rate_of(min(epoch, epochs - 1), epochs, first, power))
        patience = limits.n_iter_no_change
        # losses stand still at large rates; the end of the schedule is the end
        fixed = validate is None and (power is not None or self._fitting.max_iter)
        if fixed:
            patience = epochs + 1
        limits = replace(limits, max_iter=epochs, n_iter_no_change=patience)
        run = super()._train(net, data, limits, progress, validate)
        if run.stopped == "max_iter" and (fixed or power is not None):
            run.stopped = "schedule"
        return run

    def _report(self, net, table):
        self.n_params_ = sum(p.numel() for p in net.module_.parameters())


def _fewest_weights(architecture):
    """Weights that a network has whatever comes in and goes out."""
    found = architecture
    # the input of an 'mlp' has no width of its own
    widths = (0, *found.widths) if found.space == "mlp" else found.widths
    maps = sum(
        widths[source] * widths[k]
        for k, node in enumerate(found.nodes, start=1)
        for source, operation in node
        if operation != "skip"
    )
    between = len(found.nodes) * widths[-1] ** 2
    count = found.n_cells * maps + (found.n_cells - 1) * between
    return max(count, *widths)


def _rare(codes, merged, sample_weight):
    """Tell which classes are one row of a weight below two: they cannot be split."""
    weight = None
    if sample_weight is not None:
        weight = np.asarray(sample_weight, dtype=np.float64)
        weight = weight[weight > 0]
    mass = np.bincount(codes, weights=weight)
    distinct = np.bincount(merged[:, 0].astype(np.int64), minlength=len(mass))
    return (distinct < 2) & (mass < 2)


def _evidence(space, found):
    """Fitted attributes of a search."""
    race = found.race
    return {
        "architecture_": found.architecture,
        "searched_architecture_": found.architecture,
        "alphas_": found.alphas,
        "edges_": space.labels(),
        "_operations": list(space.names),
        "perturbation_scores_": found.perturbation_scores,
        "search_history_": found.history.arrays(),
        "race_": race
        and {
            "origin": [origin for origin, _ in found.candidates],
            "architecture": [one for _, one in found.candidates],
            "loss": race.losses,
            "n_iter": race.n_iter,
        },
    }
