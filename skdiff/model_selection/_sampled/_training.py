"""How one setting is trained and scored on one fold: afresh, or further than before."""

import inspect
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral
from traceback import format_exc
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.pipeline import Pipeline

from skdiff._base.compat import check_method_params, safe_split, score_fitted
from skdiff._base.inner import split_params
from skdiff._base.typing import IntArray

# libraries in which a warm start runs this many iterations *more*; ensembles that grow
# to the number given are the exception
_MORE = {"max_iter", "max_epochs"}
_LIBRARIES = {"sklearn", "skorch", "skdiff"}
_GROWING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
# integers, or None, of which more does not train further
_NO_RESOURCE = {"random_state", "n_jobs", "verbose"}

Result = dict[str, Any]


class Folds(NamedTuple):
    """The data of a search and its folds, pairs of training and test rows."""

    X: Any
    y: Any
    splits: Sequence[tuple[IntArray, IntArray]]


class Scoring(NamedTuple):
    """How trainings are scored, and what to do when one fails."""

    scorers: Any
    params: Mapping[str, Any]
    error_score: Any
    return_train_score: bool


@dataclass
class Job:
    """One setting to bring to a budget: on one fold, or on each of them.

    ``model`` has had ``done`` of the resource and is continued; None starts afresh.
    With ``keep`` the trained model is returned.
    """

    params: dict[str, Any]
    budget: int | None = None
    done: int = 0
    model: Any = None
    keep: bool = False


class Listener(NamedTuple):
    """Callback context of one training, and the search it belongs to."""

    search: Any
    context: Any


class Training:
    """Fit afresh, on every row of the fold.

    Parameters
    ----------
    estimator : estimator
        What is cloned for each setting.
    params : dict
        Arguments of ``fit``, of all rows.
    """

    continues = False

    def __init__(self, estimator: Any, params: Mapping[str, Any]) -> None:
        self.estimator, self.params = estimator, params

    def rows(self, fold: int, train: IntArray, budget: int | None) -> IntArray:
        """Return the rows of a fold that a budget trains on."""
        return train

    def parameters(self, budget: int) -> dict[str, int]:
        """Parameters of the estimator that express the budget."""
        return {}

    def fresh(self, params: Mapping[str, Any], budget: int | None) -> Any:
        """Return an unfitted copy of the estimator at a setting."""
        # parameters may be estimators themselves: every model has its own
        return clone(self.estimator).set_params(**clone(params, safe=False))

    def advance(
        self, model: Any, done: int, budget: Any, X: Any, y: Any, params: dict[str, Any]
    ) -> None:
        """Train the model, which has had ``done``, up to the budget."""
        fit(model, X, y, params)


class SampleTraining(Training):
    """Fit afresh on nested prefixes of one permutation per fold."""

    def __init__(
        self, estimator: Any, params: Mapping[str, Any], orders: Sequence[IntArray]
    ) -> None:
        super().__init__(estimator, params)
        self.orders = orders

    def rows(self, fold: int, train: IntArray, budget: int | None) -> IntArray:
        """Return the first ``budget`` rows in the order of the fold."""
        return self.orders[fold][:budget]


class EpochTraining(Training):
    """Continue by ``partial_fit``: one call is one epoch.

    Earlier steps of a pipeline are fitted once, before the first epoch.
    """

    continues = True

    def __init__(self, estimator: Any, params: Mapping[str, Any], classes: Any) -> None:
        super().__init__(estimator, params)
        self.classes = classes

    def advance(
        self, model: Any, done: int, budget: Any, X: Any, y: Any, params: dict[str, Any]
    ) -> None:
        """Call ``partial_fit`` for the epochs that are missing."""
        while isinstance(model, Pipeline):
            X, model, params = enter(model, done == 0, X, y, params)
        if self.classes is not None and takes_classes(model):
            params = {"classes": self.classes, **params}
        data = (X,) if y is None else (X, y)
        for _ in range(budget - done):
            model.partial_fit(*data, **params)


class CountTraining(Training):
    """Set a count parameter, and continue where the step that owns it can."""

    def __init__(
        self, estimator: Any, params: Mapping[str, Any], resource: str
    ) -> None:
        super().__init__(estimator, params)
        self.resource = resource
        self.continues = warm_start_of(resource) in estimator.get_params()

    def parameters(self, budget: int) -> dict[str, int]:
        """Return the count itself."""
        return {self.resource: budget}

    def fresh(self, params: Mapping[str, Any], budget: Any) -> Any:
        """Return an unfitted copy that will be able to continue."""
        model = super().fresh({**params, self.resource: budget}, budget)
        if self.continues:
            model.set_params(**{warm_start_of(self.resource): True})
        return model

    def advance(
        self, model: Any, done: int, budget: Any, X: Any, y: Any, params: dict[str, Any]
    ) -> None:
        """Fit up to the count."""
        more = done and adds_iterations(model, self.resource)
        model.set_params(**{self.resource: budget - done if more else budget})
        fit(model, X, y, params)


def fit(model: Any, X: Any, y: Any, params: dict[str, Any]) -> None:
    """Fit with or without a target."""
    if y is None:
        model.fit(X, **params)
    else:
        model.fit(X, y, **params)


# --- epochs --------------------------------------------------------------------------


def last_step(estimator: Any) -> Any:
    """What ``partial_fit`` is called on: the estimator, or its last step."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def enter(
    pipeline: Pipeline, first: bool, X: Any, y: Any, params: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Rows as the last step of a pipeline sees them, that step, and its arguments."""
    before, params = split_params(pipeline, params)
    if len(pipeline.steps) > 1:
        head = pipeline[:-1]
        if first:
            X = head.fit_transform(X, y, **before)
            # with a memory the fitted steps are copies
            pipeline.steps[:-1] = head.steps
        else:
            X = head.transform(X)
    return X, pipeline.steps[-1][1], params


def takes_classes(model: Any) -> bool:
    """Tell whether ``partial_fit`` takes ``classes``, by name or with everything."""
    accepted = inspect.signature(model.partial_fit).parameters
    return "classes" in accepted or any(
        p.kind is p.VAR_KEYWORD for p in accepted.values()
    )


# --- counts --------------------------------------------------------------------------


def check_count(estimator: Any, resource: str) -> None:
    """Refuse a resource that is no parameter with a count."""
    known = estimator.get_params()
    if resource not in known:
        raise ValueError(
            f"resource must be 'n_samples', 'partial_fit' or a parameter of "
            f"{type(estimator).__name__}. Got {resource!r} instead."
        )
    value, name = known[resource], resource.rpartition("__")[2]
    counts = value is None or isinstance(value, Integral)
    if name in _NO_RESOURCE or isinstance(value, bool) or not counts:
        raise ValueError(
            f"resource={resource!r} is no parameter that counts iterations, trees or "
            f"the like; its value is {value!r}. Name one that does, or 'n_samples' or "
            "'partial_fit'."
        )


def warm_start_of(resource: str) -> str:
    """Name of the ``warm_start`` of the step that owns a parameter."""
    owner, _, _ = resource.rpartition("__")
    return f"{owner}__warm_start" if owner else "warm_start"


def adds_iterations(model: Any, resource: str) -> bool:
    """Tell whether a warm start runs the count *again* rather than up to it."""
    owner, _, name = resource.rpartition("__")
    step = model.get_params()[owner] if owner else model
    if name not in _MORE or isinstance(step, _GROWING):
        return False
    # a class that merely inherits BaseEstimator and mixins belongs to no library
    return any(
        cls.__module__.split(".")[0] in _LIBRARIES and "fit" in vars(cls)
        for cls in type(step).__mro__
    )


# --- rows ----------------------------------------------------------------------------


def nested_order(y: Any, train: IntArray, rng: Any, stratify: bool) -> IntArray:
    """Order the rows of a fold so that every prefix is a sample of the whole.

    With classes every prefix has nearly their proportions, and the first row of each
    class comes first, so that no budget of at least that many rows misses one.
    """
    order: IntArray = rng.permutation(np.asarray(train))
    if not stratify:
        return order
    _, codes = np.unique(np.asarray(y)[order], return_inverse=True)
    place = np.empty(len(order))
    for code in range(codes.max() + 1):
        mine = np.flatnonzero(codes == code)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
        place[mine[0]] = 0.0
    return order[np.argsort(place, kind="stable")]


# --- one training --------------------------------------------------------------------


def train_and_score(
    training: Training,
    folds: Folds,
    fold: int,
    job: Job,
    scoring: Scoring,
    listener: Listener | None = None,
) -> tuple[Result, Any]:
    """Train one setting on one fold up to a budget and score it.

    Returns
    -------
    result : dict
        As scikit-learn's searches collect it: scores, times, rows, the error if any.
    model : estimator or None
        What to continue from, if it is to be kept and did not fail.
    """
    X, y, splits = folds
    train, test = splits[fold]
    train = training.rows(fold, train, job.budget)
    done, model, failed = job.done, job.model, None
    start = time.perf_counter()
    try:
        if model is None:
            done, model = 0, training.fresh(job.params, job.budget)
        seen = X_train, y_train = safe_split(model, X, y, train)
        unseen = safe_split(model, X, y, test, train)
        given = check_method_params(X, params=training.params, indices=train)
        watched = nullcontext()
        if listener is not None:
            context = listener.context
            watched = context.propagate_callback_context(model)
            context.call_on_fit_task_begin(
                estimator=listener.search, X=X_train, y=y_train
            )
        with watched:
            training.advance(model, done, job.budget, X_train, y_train, given)
    except Exception:  # whatever a training raises, as in scikit-learn's searches
        if scoring.error_score == "raise":
            raise
        failed = format_exc()
    fitted = time.perf_counter()
    result: Result = {
        "fit_error": failed,
        "score_error": None,
        "n_test_samples": len(test),
    }
    if failed is None:
        result["test_scores"], trouble = scores_of(model, unseen, X, test, scoring)
        result["score_time"] = time.perf_counter() - fitted
        if scoring.return_train_score:
            result["train_scores"], more = scores_of(model, seen, X, train, scoring)
            trouble = more or trouble
        result["score_error"] = trouble
    else:
        result["test_scores"] = failed_scores(scoring)
        if scoring.return_train_score:
            result["train_scores"] = failed_scores(scoring)
        result["score_time"] = 0.0
    result["fit_time"] = fitted - start
    if listener is not None:
        listener.context.call_on_fit_task_end(estimator=listener.search)
    return result, model if job.keep and failed is None else None


def scores_of(
    model: Any, data: tuple[Any, Any], X: Any, rows: IntArray, scoring: Scoring
) -> tuple[Any, str | None]:
    """Return scores, and what went wrong with them.

    A warning waits for the end of the search, where the last training may raise what is
    really wrong. Several metrics are told apart, and warned of, by scikit-learn.
    """
    scorers, error_score = scoring.scorers, scoring.error_score
    given = check_method_params(X, params=scoring.params, indices=rows)
    if error_score == "raise" or hasattr(scorers, "_scorers"):
        return score_fitted(model, *data, scorers, given, error_score), None
    try:
        return score_fitted(model, *data, scorers, given, "raise"), None
    except Exception:  # whatever a scorer raises
        return error_score, format_exc()


def failed_scores(scoring: Scoring) -> Any:
    """Return the error score, for every metric that is known by name."""
    names = getattr(scoring.scorers, "_scorers", None)
    if names is None:
        return scoring.error_score
    return dict.fromkeys(names, scoring.error_score)
