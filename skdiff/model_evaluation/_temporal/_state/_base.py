"""The state of a selector: reading periods, learning them, deciding for rows."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff._base.inner import check_table, is_frozen, takes_weights
from skdiff._base.validation import require_y
from skdiff.model_evaluation._kept import keep, restore, take
from skdiff.model_evaluation._temporal._base import (
    Pool,
    Settings,
    scorer_of,
    weighs_rows,
)
from skdiff.model_evaluation._temporal._mechanisms import (
    BY_FOLDS,
    CLASSES_ONLY,
    LABEL_FREE,
    Evidence,
    Taste,
    choose,
)
from skdiff.model_evaluation._temporal._outputs import Mix, combined
from skdiff.model_evaluation._temporal._replay import score_combination


def ordered_periods(periods):
    """Labels of the periods in their order, and the position of each row's among them.

    An ordered categorical speaks for itself; everything else is sorted.
    """
    dtype = getattr(periods, "dtype", None)
    levels = getattr(dtype, "categories", None)
    periods = column_or_1d(periods)
    kind = periods.dtype.kind
    if (
        (kind in "fc" and not np.isfinite(periods).all())
        or (kind in "mM" and np.isnat(periods).any())
        # None, NaN and NaT; what is missing does not equal itself
        or (kind == "O" and any(p is None or p != p for p in periods))
    ):
        raise ValueError("periods contains NaN, infinity or None.")
    if levels is not None and getattr(dtype, "ordered", False):
        codes = levels.get_indexer(periods)
        used, codes = np.unique(codes, return_inverse=True)
        return [levels[k] for k in used], codes
    try:
        labels, codes = np.unique(periods, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"periods cannot be sorted: {error}.") from error
    return labels.tolist(), codes


class TemporalState:
    """Everything of the selector but its public methods.

    ``_pool`` is the state of the pool of models. ``_choices`` holds the newest
    ``label_delay + 1`` decisions; the last one predicts, and the first one scores the
    next period of the history.
    """

    def _blocks(self, X, y, periods, sample_weight, *, reset):
        """Check the rows and cut them into periods."""
        require_y(self, y)
        self._check_parameters(sample_weight)
        X = check_table(self, X, [self.estimator], reset=reset)
        y = self._check_target(X, y)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, np.empty((X.shape[0], 1)), dtype=np.float64
            )
        if periods is None:
            labels, codes = [0], np.zeros(len(y), dtype=np.int64)
        else:
            labels, codes = ordered_periods(periods)
            check_consistent_length(X, codes)
        X, blocks = keep(X), []
        for k, label in enumerate(labels):
            mask = codes == k
            if sample_weight is not None:
                mask &= sample_weight > 0
            rows = np.flatnonzero(mask)
            if len(rows):
                weight = None if sample_weight is None else sample_weight[rows]
                block = {"X": take(X, rows), "y": y[rows], "w": weight, "label": label}
                blocks.append(block)
        return blocks

    def _check_parameters(self, sample_weight):
        if is_frozen(self.estimator):
            raise ValueError(
                "A frozen estimator cannot be trained anew for each period. Pass it "
                "unfrozen."
            )
        classifier = is_classifier(self.estimator)
        if self.mechanism in CLASSES_ONLY and not classifier:
            raise ValueError(
                f"mechanism={self.mechanism!r} is for classifiers: it needs "
                "probabilities or votes."
            )
        if sample_weight is not None and not takes_weights(self.estimator):
            raise ValueError(
                f"{type(self.estimator).__name__} takes no sample_weight, or a model "
                "inside it takes none."
            )
        if self.scoring is not None:
            scorer_of(self.scoring)  # refuses unknown names
            if sample_weight is not None and not weighs_rows(self.scoring):
                raise ValueError(
                    f"scoring={self.scoring!r} takes no sample_weight, so that it "
                    "would count rows alike. Pass a scorer that does, or no weights."
                )

    def _check_target(self, X, y):
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        if y.dtype.kind == "c":
            raise ValueError("Complex data not supported: y must be real.")
        if is_classifier(self.estimator):
            assert_all_finite(y, input_name="y")
            check_classification_targets(y)
            return y
        return check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self
        )

    def _start(self, blocks, known=None):
        if is_classifier(self.estimator):
            parts = [block["y"] for block in blocks]
            if known is not None:
                self.classes_ = np.unique(known)
                parts.append(self.classes_)
            classes = np.unique(np.concatenate(parts))
            if len(classes) < 2:
                raise ValueError(
                    "TemporalModelSelector needs samples of at least 2 classes, but "
                    f"the data contains only one class: {classes.tolist()[0]!r}."
                )
        rng = check_random_state(self.random_state)
        self._seed = int(rng.randint(2**31 - 1))
        self._pool = Pool(None).state
        self._choices = []
        names = ("period", "chosen", "score", "n_models", "model_periods", "weights")
        self.history_ = {name: [] for name in names}

    def _settings(self, mechanism=None):
        return Settings(
            estimator=self.estimator,
            window=self.window,
            extras=self.retrain_window == "auto",
            max_models=self.max_models,
            eviction=self.eviction,
            keep_first=(mechanism or self.mechanism) == "stationary",
            fewest_rows=self.retrain_min_samples or 1,
            cv=self.cv,
            scoring=self.scoring,
            seed=self._seed,
            n_jobs=self.n_jobs,
        )

    def _taste(self):
        return Taste(self.n_select, self.combine, self.stack_penalty)

    def _kept_periods(self, *, distance):
        """Past periods whose rows later ones need; None for all."""
        if self.window is None or self.retrain_window == "auto":
            return None
        return max(self.window, self.max_models) if distance else self.window

    def _by_folds(self):
        several = self.n_select is not None and self.n_select > 1
        return self.mechanism in BY_FOLDS or (
            several and self.combine in ("weighted", "stacking")
        )

    def _learn(self, block):
        """Score the period by what was known, then learn it.

        What is kept changes at the end only: an estimator that cannot learn the period
        leaves the selector as it was.
        """
        if block["label"] is None:
            block = {**block, "label": self._pool["step"]}
        noted = {}
        if len(self._choices) > self.label_delay:
            noted = self._predicted_period(block)
        known = is_classifier(self.estimator)
        classes = None
        if known:
            classes = np.unique(
                np.concatenate([getattr(self, "classes_", block["y"]), block["y"]])
            )
        pool = Pool(self._settings(), dict(self._pool), classes)
        evidence = pool.learn(
            block,
            by_folds=self._by_folds(),
            kept_periods=self._kept_periods(distance=self.mechanism == "distance"),
        )
        choice = None
        if evidence is not None:
            choice = choose(
                self.mechanism,
                evidence,
                self._taste(),
                lambda: pool.outputs(restore(block["X"])),
                lambda: pool.scores_on_closest(restore(block["X"])),
            )
        self._pool = pool.state
        if known:
            self.classes_ = classes
        for name, value in noted.items():
            self.history_[name].append(value)
            if self.max_history is not None:
                del self.history_[name][: -self.max_history]
        if choice is None:  # no model could be trained so far
            return
        entry = {
            "members": pool.members,
            "classes": classes,
            "scores": evidence.scores,
            "ranking": choice.ranking,
            "weights": choice.mix.weights,
            "intercept": choice.mix.intercept,
            "evidence": None,
            "rows": None,
            # a choice stays what it was when parameters are set anew
            "mechanism": self.mechanism,
            "taste": vars(self._taste()),
        }
        if self.mechanism in LABEL_FREE and self.select_on_predict:
            entry["evidence"] = vars(evidence)
            entry["rows"] = pool.state["rows"] if self.mechanism == "distance" else []
        self._choices = [*self._choices, entry][-(self.label_delay + 1) :]

    def _predicted_period(self, block):
        """Entry of the history, scored by the oldest choice that is kept."""
        entry = self._choices[0]
        X = restore(block["X"])
        mix, outputs = self._decide(entry, X)
        score = score_combination(
            combined(outputs, mix),
            block["y"],
            X,
            entry["classes"],
            block["w"],
            self.scoring,
        )
        labels = self._pool["labels"]
        periods = [labels[m["last"]] for m in entry["members"]]
        return {
            "period": block["label"],
            "chosen": periods[int(np.argmax(np.abs(mix.weights)))],
            "score": score,
            "n_models": len(periods),
            "model_periods": periods,
            "weights": mix.weights,
        }

    def _last_score(self):
        return self.history_["score"][-1] if self.history_["score"] else None

    def _decide(self, entry, X):
        """Weights for some rows, and the predictions of the models that have one."""
        pool = Pool(self._settings(), {"members": entry["members"]}, entry["classes"])
        mix = Mix(entry["weights"], entry["intercept"])
        if entry["evidence"] is not None:
            every = {}
            pool.state["rows"] = entry["rows"]

            def outputs():
                every["found"] = pool.outputs(X)
                return every["found"]

            choice = choose(
                entry["mechanism"],
                Evidence(**entry["evidence"]),
                Taste(**entry["taste"]),
                outputs,
                lambda: pool.scores_on_closest(X),
            )
            mix = choice.mix
            if "found" in every:
                return mix, every["found"]
        return mix, pool.outputs(X, np.flatnonzero(mix.weights))

    def _predicted(self, X):
        """Combined predictions, or the one model that is used."""
        entry = self._now()
        X = check_table(self, X, [self.estimator], reset=False)
        mix, outputs = self._decide(entry, X)
        used = np.flatnonzero(mix.weights)
        alone = None
        if len(used) == 1 and not len(mix.intercept):
            alone = entry["members"][used[0]]["model"]
            if is_classifier(self.estimator) and len(alone.classes_) < len(
                self.classes_
            ):
                alone = None
        return combined(outputs, mix), alone, X

    # --- what is known ----------------------------------------------------------------

    def _now(self):
        check_is_fitted(self, "history_")
        if not self._choices:
            raise NotFittedError(
                "This TemporalModelSelector has no model yet: the periods so far have "
                "one class only, or fewer rows than retrain_min_samples."
            )
        return self._choices[-1]

    @property
    def models_(self):
        """Models that are kept."""
        return [m["model"] for m in self._now()["members"]]

    @property
    def model_periods_(self):
        """Last period of each model."""
        members = self._now()["members"]
        return [self._pool["labels"][m["last"]] for m in members]

    @property
    def validation_scores_(self):
        """Scores on the newest period."""
        return self._now()["scores"]

    @property
    def ranking_(self):
        """Models from the best down."""
        return self._now()["ranking"]

    @property
    def weights_(self):
        """Weights of the models."""
        return self._now()["weights"]

    @property
    def selected_(self):
        """Models with a weight."""
        return np.flatnonzero(self.weights_)

    @property
    def periods_(self):
        """Labels of the periods learned."""
        check_is_fitted(self, "history_")
        return list(self._pool["labels"])
