"""Mixed embeddings below their parameters: rows, blocks, stages, the final training."""

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, fit_context
from skdiff._base.parameters import COUNT, NON_NEGATIVE, POSITIVE
from skdiff._base.tables import FIRST, MISSING, UNKNOWN
from skdiff._base.validation import check_X
from skdiff._nn._base import BaseNeural
from skdiff._nn._inference import MOST_ENTRIES
from skdiff.architecture_search._base import CodedRows
from skdiff.architecture_search._embeddings._blocks import (
    frequency_blocks,
    shares_of,
    sizes_of,
)
from skdiff.architecture_search._parts import earlier, halves

NOTHING = {
    "embedding_sizes_": None,
    "selection_": None,
    "mask_": None,
    "block_": None,
    "n_embedding_params_": 0,
    "n_embedding_params_full_": 0,
    "keep_fraction_": None,
    "keep_losses_": None,
    "search_history_": None,
}
# what scikit-learn notes of the rows before any work
OF_THE_ROWS = ("n_features_in_", "feature_names_in_")
INTERACTIONS = {"mlp", "fm", "deepfm", "wide_deep", "mf", "neumf"}
SHARED: dict[str, list[Any]] = {
    "interaction": [StrOptions(INTERACTIONS)],
    "max_embedding_dim": COUNT,
    "numeric": [StrOptions({"passthrough", "embedding"})],
    "categorical_features": ["array-like", str],
    "n_frequency_blocks": COUNT,
    "block_shares": ["array-like", None],
    "keep_fraction": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="right")],
    "structured": ["boolean"],
    "order": [Interval(Integral, 1, 2, closed="both")],
    "selection_learning_rate": POSITIVE,
    "selection_l1": NON_NEGATIVE,
    "search_max_iter": COUNT,
}
NO_CATEGORIES = (
    "X has no categorical column, so there is nothing to embed. Use a multilayer "
    "perceptron (sklearn.neural_network), convert columns to a categorical dtype, or "
    "name them in categorical_features."
)


@dataclass
class Fitting:
    """What a fit knows while it runs."""

    columns: Any = None
    counted: Any = None
    encoding: Any = None
    progress: Any = None
    start: Any = None
    rates: Any = None


class OneFit:
    """Training in stages has no single epoch to add."""

    @property
    def partial_fit(self) -> Any:
        """Not there: sizes are learned from all rows at once."""
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit: embedding sizes are learned "
            "from all rows at once."
        )


class BaseMixedEmbedding(CodedRows):
    """What a fit does; the subclass has the parameters."""

    _parameter_constraints: dict[str, list[Any]] = {
        **{
            name: kinds
            for name, kinds in BaseNeural._parameter_constraints.items()
            if name not in ("early_stopping", "warm_start")
        },
        **SHARED,
    }

    # a validation set is part of the method, whose stages cannot be continued
    early_stopping = warm_start = False
    # one tensor holds the vectors of all columns
    _decays_by_layer = False
    _largest_batch = 512

    def _n_layers(self):
        return 1

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Learn embedding sizes, embeddings and the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows with at least one categorical column.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice, one
            of weight zero as absent.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, continued=False)

    def _fit(self, X, y, sample_weight, **how):
        self._hidden_sizes()
        shares_of(self.n_frequency_blocks, self.block_shares)
        before = {name: vars(self)[name] for name in OF_THE_ROWS if name in vars(self)}
        self._fitting = Fitting()
        try:
            return super()._fit(X, y, sample_weight, **how)
        except BaseException:
            # all else is set at the end: an earlier fit is as it was
            for name in OF_THE_ROWS:
                vars(self).pop(name, None)
            vars(self).update(before)
            raise
        finally:
            del self._fitting

    # --- rows -------------------------------------------------------------------------

    def _coded(self, X, *, reset, y=None):
        table = super()._coded(X, reset=reset, y=y)
        columns = self._columns()
        if columns is None:
            return table
        values = np.array(table)
        places = np.flatnonzero(columns["categorical"])
        if reset:
            rows = self._counted_rows(values)
            seen = values[:, places] if rows is None else values[rows][:, places]
            columns["has_missing"] = (seen == MISSING).any(axis=0)
        # the vector of missing values has learned nothing where there were none
        absent = places[~columns["has_missing"]]
        block = values[:, absent]
        values[:, absent] = np.where(block == MISSING, UNKNOWN, block)
        if not hasattr(table, "columns"):
            return values
        return type(table)(dict(zip(list(table.columns), values.T, strict=True)))

    def _validate(self, X, y, sample_weight, *, reset):
        try:
            found = super()._validate(X, y, sample_weight, reset=reset)
        except ValueError as error:
            if "could not convert string" in str(error):
                self._refuse_texts(X)
            raise
        if (columns := self._columns()) is None:
            raise ValueError(NO_CATEGORIES)
        n_categorical = int(columns["categorical"].sum())
        if self.interaction in ("mf", "neumf") and n_categorical != 2:
            raise ValueError(
                f"interaction={self.interaction!r} needs exactly two categorical "
                f"columns, such as users and items. X has {n_categorical}."
            )
        return found

    def _refuse_texts(self, X):
        """Name the columns of strings that are not known to be categories."""
        columns = self._columns()
        table = np.asarray(X, dtype=object)
        if table.ndim != 2:
            return
        names = list(getattr(X, "columns", range(table.shape[1])))
        texts = [
            name
            for j, name in enumerate(names)
            if (columns is None or not columns["categorical"][j])
            and any(isinstance(value, str) for value in table[:, j])
        ]
        if texts:
            raise ValueError(
                f"Columns of X hold strings: {texts}. Convert them to a categorical "
                "dtype, or name them in categorical_features."
            ) from None

    def _keys(self):
        """Names of the categorical columns, or their positions where X has none."""
        names = vars(self).get("feature_names_in_")
        places = np.flatnonzero(self._columns()["categorical"]).tolist()
        return [j if names is None else str(names[j]) for j in places]

    # --- the network ------------------------------------------------------------------

    def _layout(self, n_in, n_out, blocks_dims):
        from skdiff.architecture_search._embeddings._module import Layout

        columns = self._columns()
        places = tuple(int(j) for j in np.flatnonzero(columns["categorical"]))
        counts = [len(c) + FIRST for c in columns["categories_"]]
        starts = tuple(int(s) for s in np.concatenate([[0], np.cumsum(counts)]))
        return Layout(n_in, n_out, places, starts, tuple(int(d) for d in blocks_dims))

    def _design(self):
        from skdiff.architecture_search._embeddings._module import Design

        return Design(
            self.interaction, tuple(self._hidden_sizes()), self.activation, self.numeric
        )

    def _dims(self):
        """Dimensions of each column before pruning: fewer than it has categories."""
        sizes = [len(c) for c in self._columns()["categories_"]]
        return np.clip(np.array(sizes) - 1, 1, self.max_embedding_dim)

    def _module(self, n_in, n_out, generator):
        import torch

        from skdiff.architecture_search._embeddings import _module

        fitting = vars(self).get("_fitting")
        known = vars(self) if fitting is None else fitting.encoding
        mask = torch.tensor(known["mask_"], dtype=torch.float64)
        layout = self._layout(n_in, n_out, self._dims())
        block = known["block_"]
        module = _module.build(layout, self._design(), mask, block, generator)
        if fitting is not None and fitting.start is not None:
            from skdiff._nn._fit import load_arrays

            load_arrays(module, fitting.start)
        return module

    def _stepper(self, module):
        from skdiff.architecture_search._net import rated

        return rated(super()._stepper(module))

    def _packed(self, arrays):
        """Only entries that are kept."""
        mask = self._known()["mask_"]
        return {**arrays, "table": arrays["table"][mask]}

    def _unpacked(self, arrays, module):
        mask = self._known()["mask_"]
        table = np.zeros(mask.shape, dtype=arrays["table"].dtype)
        table[mask] = arrays["table"]
        return {**arrays, "table": table}

    def _known(self):
        fitting = vars(self).get("_fitting")
        return vars(self) if fitting is None else fitting.encoding

    def _check_sizes(self, held):
        widths = [*self._hidden_sizes(), self._n_outputs(vars(self))]
        columns = self._columns()
        rows = sum(len(c) + FIRST for c in columns["categories_"])
        flags = [
            (self.mask_, (rows, self._dims().max())),
            (columns["categorical"], (self.n_features_in_,)),
            (columns["has_missing"], (len(columns["categories_"]),)),
        ]
        if (
            any(f.dtype != bool or f.shape != shape for f, shape in flags)
            or columns["categorical"].sum() != len(columns["categories_"])
            or self.block_.shape != (rows,)
            or self.mask_.sum() != np.size(self._state["arrays"]["table"])
            or any(a * b > MOST_ENTRIES * held for a, b in pairwise(widths))
        ):
            raise ValueError("The sizes do not belong to the weights of the file.")

    # --- fit --------------------------------------------------------------------------

    def _encoding(self):
        return {}

    def _fit_constant(self, encoding, continued):
        encoding = {**encoding, **NOTHING, **self._of_columns()}
        return super()._fit_constant(encoding, continued)

    def _of_columns(self):
        columns = self._columns()
        named = zip(self._keys(), columns["categories_"], strict=True)
        return {"_categories": columns, "categories_": dict(named)}

    def _most_iterations(self):
        return self.search_max_iter + 5 * self.max_iter

    def _guard(self, given, encoding, seed):
        """One guard for all stages."""
        if self._fitting.progress is None:
            self._fitting.progress = super()._guard(given, encoding, seed)
        return self._fitting.progress

    def _run(self, table, held, given, encoding, seed, continued, one_epoch):
        encoding |= NOTHING | self._of_columns() | self._limits_of(given[1])
        self._fitting.encoding = encoding
        started = time.monotonic()
        progress = self._guard(given, encoding, seed)
        self._choose(table, encoding, seed, progress, started)
        super()._run(table, held, given, encoding, seed, continued, one_epoch)

    def _limits_of(self, y):
        """HOOK: return what a regressor clips its predictions to."""
        return {}

    def _choose(self, table, encoding, seed, progress, started):
        """Run the stages before the final training, on two parts of the rows."""
        from skdiff._nn import _fit
        from skdiff._nn._threads import threads_for
        from skdiff.architecture_search._embeddings import _search

        blocks = self._blocks(table)
        encoding |= {"block_": blocks.block, "mask_": blocks.allowed}
        generator = _fit.seeded(seed)
        module = self._untrained(table, encoding, generator)
        train, held = self._parts(table, seed)
        how = self._how(train, progress, generator)
        history = _search.History()
        deep = hasattr(module, "deep")
        work = _fit.work_per_batch(module.deep, how.batch_size) if deep else 0.0
        with earlier(progress, started), threads_for(work):
            found = _search.find(
                module, train, held, how, self._selection(), blocks, history
            )
        self._fitting.start, self._fitting.rates = found.state, found.rates
        encoding |= self._evidence(found, blocks, history)

    def _blocks(self, table):
        """Blocks of the categories by their frequency in the rows of a fit."""
        X, _, weight, _ = table
        columns = self._columns()
        codes = X[:, columns["categorical"]].astype(np.int64)
        sizes = [len(c) + FIRST for c in columns["categories_"]]
        shares = shares_of(self.n_frequency_blocks, self.block_shares)
        return frequency_blocks(codes, weight, sizes, shares, self.max_embedding_dim)

    def _untrained(self, table, encoding, generator):
        """The network of all stages, in the precision of the rows."""
        from skdiff._nn import _fit
        from skdiff._nn._data import as_tensor

        X, target, weight, _ = table
        module = self._module(X.shape[1], self._n_outputs(encoding), generator)
        module = module.to(device=self.device, dtype=as_tensor(X).dtype)
        if not self._is_regressor():
            if weight is not None:
                weight = as_tensor(weight, self.device)
            classes = as_tensor(target, self.device)
            _fit.start_at_log_odds(module.bias, classes, weight)
        return module

    def _parts(self, table, seed):
        """Rows to train on and validation rows of the stages."""
        from skdiff._nn._data import TensorData, as_tensor, as_tensors

        X, target, weight, _ = table
        rows = as_tensors(X, target, weight, self.device)
        strata = None if self._is_regressor() else target
        rng = np.random.RandomState(seed)
        parts = halves(len(X), 1 - self.validation_fraction, strata, rng)
        return [TensorData(*rows[as_tensor(part, self.device)]) for part in parts]

    def _how(self, train, progress, generator):
        """How the networks of the stages are trained."""
        from skdiff.architecture_search._embeddings import _search

        return _search.Training(
            row_loss=self._row_loss,
            batch_size=self._batch_rows(train.X),
            learning_rate=self.learning_rate_init,
            max_iter=self.max_iter,
            tol=self.tol,
            n_iter_no_change=self.n_iter_no_change,
            progress=progress,
            generator=generator,
            solver=self.solver,
            momentum=self.momentum,
            alpha=float(self.alpha),
        )

    def _selection(self):
        """How the selection is searched and what is kept."""
        from skdiff.architecture_search._embeddings import _search

        return _search.Selection(
            keep_fraction=self.keep_fraction,
            structured=self.structured,
            order=self.order,
            learning_rate=self.selection_learning_rate,
            l1=float(self.selection_l1),
            max_iter=self.search_max_iter,
        )

    def _evidence(self, found, blocks, history):
        """What the stages have found, as fitted attributes."""
        sizes = sizes_of(found.mask, blocks, self.structured)
        return {
            "mask_": found.mask,
            "selection_": found.selection,
            "embedding_sizes_": dict(zip(self._keys(), sizes, strict=True)),
            "n_embedding_params_": int(found.mask.sum()),
            "n_embedding_params_full_": int(blocks.allowed.sum()),
            "keep_fraction_": found.keep_fraction,
            "keep_losses_": found.trials,
            "search_history_": history.arrays(),
        }

    def _train(self, net, data, limits, progress, validate):
        """Train on all rows for as many epochs as were best on the held-out ones."""
        rates = self._fitting.rates
        net.follow(rates.__getitem__)
        epochs = len(rates)
        limits = replace(limits, max_iter=epochs, n_iter_no_change=epochs + 1)
        run = super()._train(net, data, limits, progress, validate)
        if run.stopped == "max_iter":
            run.stopped = "schedule"
        return run

    # --- results ----------------------------------------------------------------------

    def embedding(self, column):
        """Return the vectors of the categories of a column.

        Parameters
        ----------
        column : str or int
            Name of a categorical column, or its position where X had no names.

        Returns
        -------
        vectors : ndarray of shape (n_categories, size)
            One row per entry of ``categories_[column]``. Dimensions that no block keeps
            are left out; where a category has fewer than others, zeros stand.
        """
        check_is_fitted(self)
        return self._vectors(column)[FIRST:]

    def _numbers_and_codes(self, X):
        """The numeric columns as they came, and codes of the others."""
        table = check_X(
            self,
            self._coded(X, reset=False),
            reset=False,
            dtype=[np.float64, np.float32],
        )
        mask = self._columns()["categorical"]
        return table[:, ~mask], table[:, mask].astype(np.int64)

    def _vectors(self, column):
        """Vectors of a column with those of unknown and missing values in front."""
        keys = list(self.categories_)
        if column not in keys:
            raise ValueError(f"column must be one of {keys}. Got {column!r} instead.")
        if self._state is None:
            return np.zeros((len(self.categories_[column]) + FIRST, 0))
        k = keys.index(column)
        counts = [len(c) + FIRST for c in self.categories_.values()]
        start = sum(counts[:k])
        rows = slice(start, start + counts[k])
        table = self._unpacked(self._state["arrays"], None)["table"][rows]
        return table[:, self.mask_[rows].any(axis=0)]
