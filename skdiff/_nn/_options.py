"""Options of training that supervised networks share, all off by default.

A classifier or regressor that offers them derives from :class:`ClassifierOptions` or
:class:`RegressorOptions`, takes their parameters in its constructor, and names the
attributes they leave behind in its docstring. torch is imported by the fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_consistent_length, column_or_1d

from skdiff._base.compat import check_sample_weight, fit_context
from skdiff._base.parameters import (
    CLASSIFIER_OPTIONS,
    TRAINING_OPTIONS,
    Parameter,
    constraints,
)
from skdiff._base.progress import Progress

REGMIX_ALPHA = 2.0
REGMIX_HOLD_OUT = 0.2


class TrainingOptions:
    """Sharpness-aware steps and group DRO, for classifiers and regressors alike."""

    _shared_parameters: Mapping[str, Parameter] = TRAINING_OPTIONS
    _option_constraints = constraints(TRAINING_OPTIONS)

    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(
        self: Any, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> Any:
        """Fit the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice, one
            of weight zero as absent.
        groups : array-like of shape (n_samples,), default=None
            Group of each row. Needed by ``group_dro``; without it they are only
            reported on, in ``group_losses_``.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        continued = self.warm_start and hasattr(self, "_state")
        grouping = self._grouping(groups, X, sample_weight)
        return self._fit(X, y, sample_weight, continued=continued, grouping=grouping)

    def _partial_fit(self: Any, X: Any, y: Any, sample_weight: Any) -> Any:
        if self.group_dro:
            raise ValueError("group_dro=True needs groups, which partial_fit has not.")
        return super()._partial_fit(X, y, sample_weight)  # type: ignore[misc]

    def _grouping(self: Any, groups: Any, X: Any, sample_weight: Any) -> Any:
        """Labels of the groups and codes of the rows that count."""
        if groups is None:
            if self.group_dro:
                raise ValueError("group_dro=True requires groups to be passed to fit.")
            return None
        groups = column_or_1d(groups)
        check_consistent_length(X, groups)
        if groups.dtype.kind == "f" and not np.isfinite(groups).all():
            raise ValueError("Input groups contains NaN or infinity.")
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, groups[:, None])
            groups = groups[weight > 0]
        return np.unique(groups, return_inverse=True)

    def _option_keywords(self: Any, n_out: Any) -> Any:
        """Arguments of the loss with options; empty when none is on."""
        return {}

    def _changes_loss(self: Any) -> Any:
        return self.group_dro

    def _no_gradient(self: Any) -> Any:
        for name in ("sam_rho", "group_dro"):
            if getattr(self, name):
                return f"with {name} it trains by more than the descent of one loss"
        return super()._no_gradient()  # type: ignore[misc]

    def _fitted_loss(self: Any, target: Any, weight: Any, n_out: Any) -> Any:
        loss, twice = super()._fitted_loss(  # type: ignore[misc]
            target, weight, n_out
        )
        return self._with_options(loss, self._option_keywords(n_out)), twice

    def _with_options(self: Any, batch_loss: Any, keywords: Any) -> Any:
        """The loss of a batch, with what the options add."""
        if not keywords:
            return batch_loss
        from skdiff._nn._option_steps import OptionLoss

        return OptionLoss(batch_loss, **keywords)

    def _configure(
        self: Any, net: Any, data: Any, table: Any, encoding: Any, seed: Any
    ) -> Any:
        """Switch on what is asked for."""
        net.sam_rho = float(self.sam_rho)
        keywords = self._option_keywords(net.n_out)
        if self.group_dro:
            import torch

            from skdiff._nn._data import TensorData

            labels, codes = table[3]
            codes = torch.from_numpy(codes)
            data = TensorData(data.X, (*data.y, codes))
            net.strata = codes
            keywords |= {
                # a group that is held out as a whole has no rows here
                "group_sizes": torch.bincount(codes, minlength=len(labels)).double(),
                "group_step_size": float(self.group_step_size),
                "group_adjustment": float(self.group_adjustment),
            }
        net.criterion_.batch_loss = self._with_options(self._batch_loss, keywords)
        return data

    def _fit_constant(self: Any, encoding: Any, continued: Any) -> Any:
        self._forget_groups()
        return super()._fit_constant(encoding, continued)  # type: ignore[misc]

    def _forget_groups(self: Any) -> Any:
        self.groups_ = self.group_losses_ = self.group_weights_ = None
        self.worst_group_score_ = None

    def _report(self: Any, net: Any, table: Any) -> Any:
        """Loss of each group of the training rows, and the score of the worst."""
        self._forget_groups()
        X, target, weight, grouping = table
        if grouping is None:
            return
        import torch

        from skdiff._nn import _fit
        from skdiff._nn._option_steps import OptionLoss, group_loss

        labels, codes = grouping
        loss = net.criterion_.batch_loss
        if isinstance(loss, OptionLoss):
            if self.group_dro:
                self.group_weights_ = loss.group_weights.numpy().astype(np.float64)
            loss = loss.batch_loss
        output = _fit.predict_chunks(net.module_, X, self.device)
        z, codes_or_values, weights = (
            None if a is None else torch.from_numpy(a) for a in (output, target, weight)
        )
        losses, scores = [], []
        for g in range(len(labels)):
            rows = np.flatnonzero(codes == g)
            if not len(rows):  # all of them held out
                losses.append(np.nan)
                continue
            with torch.no_grad():
                some = torch.from_numpy(rows)
                value = group_loss(loss, z, codes_or_values, weights, some)
                losses.append(float(value))
            w = None if weight is None else weight[rows]
            scores.append(self._validation_score(output[rows], target[rows], w))
        self.groups_, self.group_losses_ = labels, np.array(losses)
        self.worst_group_score_ = float(min(scores))


class ClassifierOptions(TrainingOptions):
    """Adds spectral decoupling of the logits."""

    _shared_parameters = CLASSIFIER_OPTIONS
    _option_constraints = {
        **TrainingOptions._option_constraints,
        **constraints(CLASSIFIER_OPTIONS),
    }

    def _changes_loss(self: Any) -> Any:
        return super()._changes_loss() or self.spectral_decoupling > 0

    def _option_keywords(self: Any, n_out: Any) -> Any:
        if not self.spectral_decoupling:
            return {}
        import torch

        keywords = {"spectral_decoupling": float(self.spectral_decoupling)}
        if self.spectral_targets is not None:
            targets = np.asarray(self.spectral_targets, dtype=np.float64)
            if targets.shape != (n_out,) or not np.isfinite(targets).all():
                raise ValueError(
                    "spectral_targets must hold one finite value for each of the "
                    f"network's {n_out} outputs, got {self.spectral_targets!r}."
                )
            keywords["spectral_targets"] = torch.from_numpy(targets)
        return keywords


class RegressorOptions(TrainingOptions):
    """Adds mixing of neighbouring rows."""

    _option_constraints = {
        **TrainingOptions._option_constraints,
        "regmix": [dict, None],
    }

    def _no_gradient(self: Any) -> Any:
        if self.regmix is not None:
            return "with regmix it trains on mixed rows"
        return super()._no_gradient()

    def _regmix(self: Any) -> Any:
        """``(k, alpha, by)`` of the mixing, or None."""
        if self.regmix is None:
            return None
        known = {"k": "auto", "alpha": REGMIX_ALPHA, "by": "data"}
        if unknown := set(self.regmix) - set(known):
            raise ValueError(
                f"regmix has unknown keys {sorted(unknown)}; it takes {sorted(known)}."
            )
        settings: dict[str, Any] = {**known, **self.regmix}
        k, alpha, by = settings["k"], settings["alpha"], settings["by"]
        whole = isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 1
        if not whole and k != "auto":
            raise ValueError(f"regmix['k'] must be an int >= 1 or 'auto', got {k!r}.")
        number = isinstance(alpha, int | float | np.number)
        if not number or not alpha > 0 or not np.isfinite(alpha):
            raise ValueError(f"regmix['alpha'] must be a number > 0, got {alpha!r}.")
        if by not in ("data", "target"):
            raise ValueError(f"regmix['by'] must be 'data' or 'target', got {by!r}.")
        return k, float(alpha), by

    def _configure(
        self: Any, net: Any, data: Any, table: Any, encoding: Any, seed: Any
    ) -> Any:
        """Choose which rows may be mixed."""
        data = super()._configure(net, data, table, encoding, seed)
        settings = self._regmix()
        X, target = table[:2]
        net.mixing, self.regmix_k_ = None, None
        if settings is not None and len(X) > 1:
            k, alpha, by = settings
            if k == "auto":
                k = self._choose_k(table, alpha, by, encoding, seed)
            self.regmix_k_ = int(min(k, len(X) - 1))
            net.mixing = _neighbours(X, target, self.regmix_k_, alpha, by)
        return data

    def _choose_k(
        self: Any, table: Any, alpha: Any, by: Any, encoding: Any, seed: Any
    ) -> Any:
        """No neighbour, 1, 2, 4, ...: the best on a fifth of the rows."""
        from skdiff._nn import _fit
        from skdiff._nn._data import as_tensors

        X, target, weight, _ = table
        n = len(X)
        order = np.random.default_rng(seed).permutation(n)
        cut = n - max(1, round(REGMIX_HOLD_OUT * n))
        train, held = np.sort(order[:cut]), np.sort(order[cut:])
        if len(held) < 2:  # no score without a spread
            return 1
        training = self._training()
        limits = _fit.Limits(
            max_iter=training["max_iter"],
            tol=training["tol"],
            n_iter_no_change=training["n_iter_no_change"],
        )
        progress = Progress(time_limit=self.time_limit)
        w, w_held = (None if weight is None else weight[r] for r in (train, held))
        sizes = [0, *(2**e for e in range(32) if 2**e < len(train))]
        scores = []
        for size in sizes:
            generator = _fit.seeded(seed)
            net = self._build(X.shape[1], encoding, generator, X.dtype.name, X[train])
            net.strata = _fit.codes(self._strata(target[train]))
            net.sam_rho = float(self.sam_rho)
            net.mixing = _neighbours(X[train], target[train], size, alpha, by)
            data = as_tensors(X[train], target[train], w, self.device)
            self._train(net, data, limits, progress, None)
            _fit.finish(net)
            output = _fit.predict_chunks(net.module_, X[held], self.device)
            scores.append(self._validation_score(output, target[held], w_held))
        return sizes[int(np.argmax(scores))]


def _neighbours(X: Any, target: Any, k: Any, alpha: Any, by: Any) -> Any:
    """The k nearest other rows of each row, by features or by targets."""
    if k == 0:
        return None
    import torch

    from skdiff._nn._option_steps import Mixing

    space = X if by == "data" else target.reshape(len(target), -1)
    found = NearestNeighbors(n_neighbors=k).fit(space).kneighbors(return_distance=False)
    return Mixing(torch.from_numpy(found.astype(np.int64)), alpha)
