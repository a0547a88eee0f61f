"""CaPE below its parameters: the start, the two stages, the sources of targets."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff._nn._options import ClassifierOptions, TrainingOptions
from skdiff._nn._tables import standardised
from skdiff.calibration._cape._maps import (
    MAPS,
    Line,
    bin_targets,
    class_targets,
    fit_platt,
    kernel_targets,
    log_odds,
)

# strength of the identity as the prior of the final map: about that of twenty events
PLATT_PRIOR = 20.0


MINI_BATCH = 128


@dataclass
class Fitting:
    """What a fit knows while it runs: the rows, and which are the validation set.

    ``Z`` holds the rows of ``X`` as the network takes them.
    """

    X: Any = None
    Z: Any = None
    weight: Any = None
    codes: Any = None
    encoding: Any = None
    rows: Any = None
    seed: int = 0
    grouping: Any = None
    platt: Any = None


class BaseCape(ClassifierOptions, NeuralClassifierMixin, BaseNeural):
    """What a fit does; the subclass has the parameters."""

    # the method is made of a hold-out, and of classes as frequent as they are
    early_stopping = True
    class_weight = None

    # --- the network to start from --------------------------------------------------

    def _given(self):
        """The network given, without its wrapper; None for one of its own."""
        frozen = isinstance(self.estimator, FrozenEstimator)
        return self.estimator.estimator if frozen else self.estimator

    def _is_taken(self):
        """Tell whether the network given is fitted and is taken as it is."""
        return self._given() is not None and hasattr(self._given(), "n_iter_")

    def _check_given(self):
        given = self._given()
        if given is None:
            return
        if not isinstance(given, NeuralClassifierMixin):
            raise ValueError(
                "estimator must be a neural classifier of skdiff, got "
                f"{type(given).__name__}."
            )
        for name in ("spectral_decoupling", "group_dro"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} acts in the first stage, which estimator replaces: set it "
                    "on the estimator."
                )
        if isinstance(self.estimator, FrozenEstimator):
            check_is_fitted(given)
        if self._is_taken() and given._state is None:
            raise ValueError("estimator has seen one class only: it has no network.")
        if getattr(given, "class_weight", None) is not None:
            warnings.warn(
                "estimator weights the classes (class_weight); its probabilities are "
                "of re-weighted classes. Fit it without class_weight.",
                UserWarning,
                stacklevel=4,
            )

    # --- hooks ----------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, **how):
        self._check_given()
        self._fitting = Fitting(grouping=how.get("grouping"))
        try:
            return super()._fit(X, y, sample_weight, **how)
        finally:
            del self._fitting

    def _validate(self, X, y, sample_weight, *, reset):
        X, y, weight = super()._validate(X, y, sample_weight, reset=reset)
        if self._is_taken() and X.shape[1] != self._given().n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but estimator was fitted on "
                f"{self._given().n_features_in_}."
            )
        self._fitting.X, self._fitting.weight = X, weight
        return X, y, weight

    def _scale(self, X, weight, encoding):
        """Keep the units of a network that is taken as it is."""
        if self._is_taken():
            units = ("mean_", "scale_", "_varies")
            encoding |= {name: vars(self._given())[name] for name in units}
        else:
            super()._scale(X, weight, encoding)
        self._fitting.Z = standardised(X, encoding)

    def _encode(self, y, weight, encoding):
        if self._is_taken():
            encoding.setdefault("classes_", self._given().classes_)
        codes = super()._encode(y, weight, encoding)
        self._fitting.codes, self._fitting.encoding = codes, encoding
        return codes

    def _split(self, target, seed):
        rows = super()._split(target, seed)
        self._fitting.seed = seed
        if rows is not None:
            rows = self._fitting.rows = tuple(np.sort(side) for side in rows)
        return rows

    def _n_outputs(self, encoding):
        given = self._given()
        return (
            super()._n_outputs(encoding)
            if given is None
            else given._n_outputs(encoding)
        )

    def _n_layers(self):
        given = self._given()
        return super()._n_layers() if given is None else given._n_layers()

    @property
    def _decays_by_layer(self):
        given = self._given()
        return given is None or given._decays_by_layer

    def _module(self, n_in, n_out, generator):
        given = self._given()
        return (super() if given is None else given)._module(n_in, n_out, generator)

    def _batch_rows(self, X):
        """Several steps per epoch: epochs are counted to decide when to stop."""
        if self.batch_size == "auto":
            return len(X) if len(X) <= 2 * MINI_BATCH else MINI_BATCH
        return super()._batch_rows(X)

    def _warn_of_limit(self, stopped, max_iter):
        """Say that probabilities are not those of a trained network."""
        if stopped in ("max_iter", "time"):
            limit = {"max_iter": f"max_iter={max_iter}", "time": "time_limit"}[stopped]
            warnings.warn(
                f"Training ended at {limit} before it converged: the probabilities may "
                "not be calibrated. Increase it, or learning_rate_init.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _net_class(self):
        from skdiff.calibration._cape._module import CapeNet

        return CapeNet

    def _row_loss(self, output, target):
        from skdiff.calibration._cape._module import row_loss

        return row_loss(output, target)

    def _train(self, net, data, limits, progress, validate):
        from skdiff._nn._fit import start_at_log_odds
        from skdiff.calibration._cape import _module as stages

        run, fitting = stages.CapeRun(), self._fitting
        held = None
        if validate is not None:
            out = fitting.rows[1]
            weight = (
                np.ones(len(out)) if fitting.weight is None else fitting.weight[out]
            )
            held = stages.Held(fitting.Z[out], fitting.codes[out], weight)
        if self._given() is not None and not limits.continued:
            self._start_from_given(net, held, run)
        else:
            if not limits.continued:
                start_at_log_odds(net.module_.layers()[-1][1], *data.y[:2])
            first = replace(limits, offer_start=False)
            stages.first_stage(net, data, first, progress, held, run)
        if held is not None and self.finetune_iter and not progress.is_over():
            # it sets frequencies right, which the options of the loss would bend again
            loss, net.criterion_.batch_loss = (
                net.criterion_.batch_loss,
                self._batch_loss,
            )
            stages.second_stage(
                net,
                stages.TensorData(data.X, data.y[:2]),
                stages.Finetuning(
                    self.finetune_iter,
                    self.finetune_learning_rate,
                    self.discrimination_epochs,
                    self._retarget(held),
                ),
                progress,
                held,
                run,
            )
            net.criterion_.batch_loss = loss
        fitting.platt = self._final_map(net, held, stages)
        return run

    def _start_from_given(self, net, held, run):
        """Bring the weights of the network given; they count as one epoch."""
        from skdiff._nn import _fit
        from skdiff.calibration._cape._module import probabilities

        fitting, given = self._fitting, self._given()
        if not self._is_taken():
            rows = slice(None) if fitting.rows is None else fitting.rows[0]
            labels = fitting.encoding["classes_"][fitting.codes[rows]]
            weight = None if fitting.weight is None else fitting.weight[rows]
            more = self._groups_for(given, rows)
            given = clone(given).set_params(standardize=False)
            given.fit(fitting.Z[rows], labels, sample_weight=weight, **more)
        given._restore(net.module_)
        run.loss_curve.append(float(given.loss_))
        run.stopped = "converged"
        if held is not None:
            output = _fit.predict_chunks(net.module_, held.X, self.device)
            score = run.note("early", held.judge(probabilities(output)))
            run.validation_scores.append(score)

    def _groups_for(self, network, rows):
        """The groups of some rows, as a keyword, for a network that takes them."""
        grouping = self._fitting.grouping
        if grouping is None or not isinstance(network, TrainingOptions):
            return {}
        labels, codes = grouping
        return {"groups": labels[codes[rows]]}

    def _retarget(self, held):
        """A function from forecasts to targets of the training rows."""
        fitting = self._fitting
        rows = fitting.rows[0]
        codes = fitting.codes[rows]
        weight = np.ones(len(rows)) if fitting.weight is None else fitting.weight[rows]
        top = self.multiclass == "top_label"
        if self.target_source == "train":

            def own(p, known, hit):
                if self.method == "bin":
                    return bin_targets(p, hit, weight, self.n_bins)
                return kernel_targets(p, hit, weight, self.bandwidth)

            return lambda proba, _: class_targets(proba, proba, codes, own, top)
        out_of_fold = None
        if self.target_source == "cross_fit":
            out_of_fold = self._out_of_fold(rows, codes, weight)
            known_codes, known_weight = codes, weight
        else:
            known_codes, known_weight = held.codes, held.weight

        def mapped(p, known, hit):
            learn = MAPS[self.target_map]
            return learn(known, hit, known_weight, self.n_bins)(p)

        def retarget(proba, held_proba):
            known = held_proba if out_of_fold is None else out_of_fold
            return class_targets(proba, known, known_codes, mapped, top)

        return retarget

    def _out_of_fold(self, rows, codes, weight):
        """Forecasts of every training row by a network that has not seen it."""
        X, k = self._fitting.X[rows], len(self._fitting.encoding["classes_"])
        rng = check_random_state(self._fitting.seed)
        counts = np.bincount(codes)
        enough = counts[counts > 0].min() >= self.n_folds
        kind = StratifiedKFold if enough else KFold
        folds = kind(min(self.n_folds, len(X)), shuffle=True, random_state=rng)
        proba = np.zeros((len(X), k))
        for train, out in folds.split(X, codes):
            seed = rng.randint(2**31 - 1)
            if self._given() is None:
                settings = self.get_params(deep=False)
                settings |= {"finetune_iter": 0, "final_platt": False, "verbose": False}
                network = type(self)(**settings).set_params(random_state=seed)
            else:
                network = clone(self._given())
                if "random_state" in network.get_params():
                    network.set_params(random_state=seed)
            more = self._groups_for(network, rows[train])
            network.fit(X[train], codes[train], sample_weight=weight[train], **more)
            proba[np.ix_(out, network.classes_)] = network.predict_proba(X[out])
        return proba

    def _final_map(self, net, held, stages):
        """Platt's map of the outputs, from the held-out rows."""
        if not self.final_platt or held is None:
            return None
        output = stages.predict_chunks(net.module_, held.X, self.device)
        z = log_odds(stages.probabilities(output))
        columns = [1] if z.shape[1] == 2 else range(z.shape[1])
        lines = [
            fit_platt(
                z[:, k], (held.codes == k).astype(float), held.weight, PLATT_PRIOR
            )
            for k in columns
        ]
        return np.array(lines)

    def _take_over(self, net, run, encoding, seed, keep, continued):
        super()._take_over(net, run, encoding, seed, keep, continued)
        targets, rows = run.targets, self._fitting.rows
        binary = targets is not None and targets.shape[1] == 2
        self.empirical_targets_ = targets[:, 1].copy() if binary else targets
        self.train_indices_ = np.arange(len(self._fitting.codes))
        if rows is not None:
            self.train_indices_ = rows[0]
        self.best_epoch_ = run.best_epoch
        self.stage_history_ = {
            "kind": np.array(run.kinds, dtype=str),
            **{name: np.array(values) for name, values in run.measures.items()},
        }
        self.platt_ = self._fitting.platt

    def _fit_constant(self, encoding, continued):
        super()._fit_constant(encoding, continued)
        self.empirical_targets_, self.best_epoch_, self.platt_ = None, -1, None
        self.train_indices_ = np.arange(len(self._fitting.codes))
        self.stage_history_ = {"kind": np.array([], dtype=str)}
        return self

    # --- inference ------------------------------------------------------------------

    def _read(self, output):
        """Outputs of the network, after the final Platt map if there is one."""
        platt = getattr(self, "platt_", None)
        if platt is None:
            return output
        from skdiff.calibration._cape._module import probabilities

        proba = probabilities(output)
        if len(platt) == 1:
            (slope, offset), z = platt[0], log_odds(proba[:, 1])
            return (slope * z + offset).astype(output.dtype)[:, None]
        columns = [Line(*line)(log_odds(proba[:, k])) for k, line in enumerate(platt)]
        return np.log(np.maximum(np.column_stack(columns), 1e-300)).astype(output.dtype)
