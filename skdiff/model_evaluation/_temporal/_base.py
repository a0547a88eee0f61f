"""The pool of models: training, honest predictions, eviction."""

import warnings
from dataclasses import dataclass
from inspect import signature

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.inner import fit_inner, seeded
from skdiff.model_evaluation._kept import n_rows, restore, stack, take
from skdiff.model_evaluation._temporal._label_free import closest, numeric_sample
from skdiff.model_evaluation._temporal._mechanisms import Evidence
from skdiff.model_evaluation._temporal._outputs import (
    mean_losses,
    pseudo_probabilities,
    ranked,
    redundant,
    row_losses,
)


@dataclass(frozen=True)
class Settings:
    """What the pool does, from the parameters of the selector."""

    estimator: object
    window: int | None
    extras: bool
    max_models: int
    eviction: str
    keep_first: bool
    fewest_rows: int
    cv: object
    scoring: object
    seed: int
    n_jobs: int | None


class StoredClassifier(ClassifierMixin, BaseEstimator):
    """Probabilities that are there already, for a scorer."""

    def __init__(self, proba=None, classes_=None):
        self.proba = proba
        self.classes_ = classes_

    def fit(self, X, y):
        """Do nothing."""
        return self

    def predict_proba(self, X):
        """Return the probabilities."""
        return self.proba

    def predict(self, X):
        """Return the classes of largest probability."""
        return self.classes_[self.proba.argmax(axis=1)]


class StoredRegressor(RegressorMixin, BaseEstimator):
    """Predictions that are there already, for a scorer."""

    def __init__(self, values=None):
        self.values = values

    def fit(self, X, y):
        """Do nothing."""
        return self

    def predict(self, X):
        """Return them."""
        return self.values


def scorer_of(scoring):
    """Return the scorer that a name stands for."""
    return get_scorer(scoring) if isinstance(scoring, str) else scoring


def weighs_rows(scoring):
    """Whether a scorer takes row weights."""
    scorer = scorer_of(scoring)
    return (
        "sample_weight" in signature(getattr(scorer, "_score_func", scorer)).parameters
    )


def score_of(output, X, y, classes, scoring, weight=None):
    """Score of predictions; NaN where it is not defined because a class is missing."""
    if classes is None:
        model = StoredRegressor(output)
    else:
        model = StoredClassifier(output, classes)
    how = {} if weight is None else {"sample_weight": weight}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            return float(scorer_of(scoring)(model, X, y, **how))
    except ValueError:
        if classes is None or len(np.unique(y)) == len(classes):
            raise
        return np.nan


def all_weights(weight, y):
    """Return the weights of rows, one where there are none."""
    return np.ones(len(y)) if weight is None else weight


def output_of(model, X, classes):
    """Predictions of a model: probabilities of ``classes`` (n, K), or numbers (n,)."""
    if classes is None:
        return np.asarray(model.predict(X), dtype=np.float64)
    known = np.asarray(model.classes_)
    if hasattr(model, "predict_proba"):
        p = np.asarray(model.predict_proba(X), dtype=np.float64)
    elif hasattr(model, "decision_function") and len(known) > 1:
        p = pseudo_probabilities(np.asarray(model.decision_function(X), dtype=float))
    else:
        p = np.asarray(model.predict(X))[:, None] == known
    where = np.searchsorted(classes, known)
    aligned = np.zeros((len(p), len(classes)))
    aligned[:, where] = p
    return aligned


class Pool:
    """Models of past periods, and the rows that later models need.

    ``state`` is a plain dict, so that copies and files hold it: ``members`` (dicts of
    ``model``, ``first`` and ``last`` period trained on, ``kind``), ``rows`` (dicts of
    ``X``, ``y``, ``w``, ``step``), ``step`` (periods so far) and ``labels``.
    """

    def __init__(self, settings, state=None, classes=None):
        self.settings, self.classes = settings, classes
        self.state = state or {"members": [], "rows": [], "step": 0, "labels": []}

    @property
    def members(self):
        """The models, from the oldest to the newest."""
        return self.state["members"]

    def outputs(self, X, indices=None):
        """Predictions of the models on rows; NaN for those that are not wanted."""
        wanted = range(len(self.members)) if indices is None else indices
        found = None
        for k in wanted:
            one = output_of(self.members[k]["model"], X, self.classes)
            if found is None:
                found = np.full((len(self.members), *one.shape), np.nan)
            found[k] = one
        return found

    def codes(self, y):
        """Targets as the numbers compute with them."""
        return y if self.classes is None else np.searchsorted(self.classes, y)

    # --- learning ---------------------------------------------------------------------

    def learn(self, rows, *, by_folds, kept_periods):
        """Add a labelled period; return the evidence, or None where there is no model.

        Parameters
        ----------
        rows : dict
            ``X`` (kept), ``y``, ``w`` and ``label`` of the period.
        by_folds : bool
            Whether new models are judged by folds.
        kept_periods : int or None
            Past periods whose rows stay; None keeps all.
        """
        state = self.state
        step = state["step"]
        old = [m for m in self.members if m["kind"] == "window"]
        before = [*state["rows"], {**rows, "step": step}]
        fresh = self._new_members(before, step)
        state["members"] = [*old, *fresh]
        state["step"] = step + 1
        state["labels"] = [*state["labels"], rows["label"]]
        state["rows"] = before if kept_periods is None else before[-kept_periods:]
        if not self.members:
            return None
        evidence = self._judge(before, len(old), by_folds=by_folds)
        return self._evict(evidence)

    def _spans(self, step):
        """Kinds of new models and the first period each learns from; newest last."""
        first = 0
        if self.settings.window is not None:
            first = max(step - self.settings.window + 1, 0)
        spans = {"window": first}
        if self.settings.extras:
            spans = {"all": 0, "newest": step, **spans}
        # those that would equal another are left out
        kinds = {start: kind for kind, start in spans.items()}
        return [(kind, start) for kind, start in spans.items() if kinds[start] == kind]

    def _new_members(self, rows, step):
        if n_rows(rows[-1]["X"]) < self.settings.fewest_rows:
            return []
        members = []
        for kind, first in self._spans(step):
            used = [part for part in rows if part["step"] >= first]
            y = np.concatenate([part["y"] for part in used])
            if self.classes is not None and len(np.unique(y)) < 2:
                continue
            model = self._fit(used, y, step)
            member = {"model": model, "first": first, "last": step, "kind": kind}
            members.append(member)
        return members

    def _fit(self, parts, y, step):
        """Train on rows of periods, with a seed of the step."""
        rng = np.random.RandomState((self.settings.seed + step) % 2**32)
        weight = None
        if any(part["w"] is not None for part in parts):
            weight = np.concatenate([all_weights(p["w"], p["y"]) for p in parts])
        X = restore(stack([part["X"] for part in parts]))
        estimator = seeded(self.settings.estimator, rng)
        params = None if weight is None else {"sample_weight": weight}
        return fit_inner(estimator, X, y, params=params)

    def _judge(self, rows, n_old, *, by_folds):
        """Honest predictions on the newest period, and scores."""
        newest = rows[-1]
        X, y = restore(newest["X"]), newest["y"]
        fresh = np.arange(len(self.members)) >= n_old
        shape = (len(y),) if self.classes is None else (len(y), len(self.classes))
        outputs = np.full((len(self.members), *shape), np.nan)
        for k, member in enumerate(self.members):
            if not fresh[k]:
                outputs[k] = output_of(member["model"], X, self.classes)
            elif by_folds and len(outputs) > 1:
                outputs[k] = self._by_folds(rows, member, shape)
        scores = self.scores(outputs, X, y, newest["w"])
        weight = all_weights(newest["w"], y)
        return Evidence(outputs, self.codes(y), weight, scores, fresh)

    def scores(self, outputs, X, y, weight):
        """Scores of predictions, one per model; NaN without predictions."""
        known = row_losses(outputs, self.codes(y))
        losses = mean_losses(known, all_weights(weight, y))
        if self.settings.scoring is None:
            return -losses
        found = np.full(len(outputs), np.nan)
        for k in np.flatnonzero(~np.isnan(losses)):
            found[k] = score_of(
                outputs[k], X, y, self.classes, self.settings.scoring, weight
            )
        # where the scorer is not defined the losses decide
        return -losses if np.isnan(found).all() else found

    def _by_folds(self, rows, member, shape):
        """Predictions on the newest period by models of its window without the fold."""
        used = [part for part in rows if part["step"] >= member["first"]]
        newest, past = used[-1], used[:-1]
        y_past = [part["y"] for part in past]
        found = np.full(shape, np.nan)
        jobs, places = [], []
        for train, test in self._folds(newest["y"]):
            y = np.concatenate([*y_past, newest["y"][train]])
            if len(y) == 0 or (self.classes is not None and len(np.unique(y)) < 2):
                return found
            part = {
                "X": take(newest["X"], train),
                "y": newest["y"][train],
                "w": None if newest["w"] is None else newest["w"][train],
            }
            parts = [*past, part] if len(train) else past
            X_test = restore(take(newest["X"], test))
            jobs.append(
                delayed(self._fit_and_predict)(parts, y, member["last"], X_test)
            )
            places.append(test)
        for test, output in zip(
            places, Parallel(n_jobs=self.settings.n_jobs)(jobs), strict=True
        ):
            found[test] = output
        return found

    def _fit_and_predict(self, parts, y, step, X_test):
        return output_of(self._fit(parts, y, step), X_test, self.classes)

    def _folds(self, y):
        """Folds of the newest period; as few as its rarer class allows."""
        cv = self.settings.cv
        if not isinstance(cv, int | np.integer):
            cv = check_cv(cv, y, classifier=is_classifier(self.settings.estimator))
            return list(cv.split(np.zeros((len(y), 1)), y))
        if len(y) < 2:
            return []
        fewest = len(y)
        if self.classes is not None:
            fewest = np.unique(y, return_counts=True)[1].min()
        stratified = self.classes is not None and fewest >= 2
        n_folds = int(min(cv, fewest if stratified else len(y)))
        kind = StratifiedKFold if stratified else KFold
        return list(kind(n_folds).split(np.zeros((len(y), 1)), y))

    def _evict(self, evidence):
        """Drop models beyond the limit; the newest stays."""
        while True:
            window = [k for k, m in enumerate(self.members) if m["kind"] == "window"]
            if len(window) <= self.settings.max_models:
                return evidence
            candidates = window[1:] if self.settings.keep_first else window
            candidates = candidates[:-1] or window[:1]
            drop = self._least_useful(np.array(candidates), evidence, window[-1])
            kept = np.delete(np.arange(len(self.members)), drop)
            self.state["members"] = [self.members[k] for k in kept]
            evidence = Evidence(
                evidence.outputs[kept],
                evidence.target,
                evidence.weight,
                evidence.scores[kept],
                evidence.fresh[kept],
            )

    def _least_useful(self, candidates, evidence, newest):
        if self.settings.eviction == "oldest":
            return candidates[0]
        if self.settings.eviction == "worst":
            return candidates[ranked(evidence.scores[candidates])[-1]]
        pairs = np.append(candidates, newest)
        outputs = evidence.outputs[pairs]
        if np.isnan(outputs[-1]).any():
            outputs = outputs[:-1]
        return candidates[redundant(outputs)] if len(outputs) > 1 else candidates[0]

    # --- past periods -----------------------------------------------------------------

    def scores_on_closest(self, X):
        """Scores on the past period most like X, and which models it has trained.

        The latter have no score.
        """
        rows = self.state["rows"]
        samples = [numeric_sample(restore(part["X"])) for part in rows]
        part = rows[closest(samples, numeric_sample(X))]
        step, X_past, y = part["step"], restore(part["X"]), part["y"]
        leaks = np.array([m["first"] <= step <= m["last"] for m in self.members])
        scores = np.full(len(leaks), np.nan)
        if not leaks.all():
            outputs = self.outputs(X_past, np.flatnonzero(~leaks))
            scores = self.scores(outputs, X_past, y, part["w"])
        return scores, leaks
