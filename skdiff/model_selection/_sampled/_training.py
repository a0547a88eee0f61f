"""How one setting is trained and scored on one fold: afresh, or further than before."""

import inspect
import time
from contextlib import nullcontext
from traceback import format_exc

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skdiff._base.compat import check_method_params, safe_split, score_fitted

# libraries in which a warm start runs this many iterations *more*; ensembles that grow
# to the number given are the exception
_MORE = {"max_iter", "max_epochs"}
_LIBRARIES = {"sklearn", "skorch", "skdiff"}
_GROWING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


class Training:
    """Fit afresh, on every row of the fold."""

    continues = False

    def rows(self, fold, train, budget):
        """Return the rows of a fold that a budget trains on."""
        return train

    def parameters(self, budget):
        """Parameters of the estimator that express the budget."""
        return {}

    def fresh(self, estimator, params, budget):
        """Return an unfitted copy of the estimator at a setting."""
        # parameters may be estimators themselves: every model has its own
        return clone(estimator).set_params(**clone(params, safe=False))

    def advance(self, model, done, budget, X, y, fit_params):
        """Train the model, which has had ``done``, up to the budget."""
        fit(model, X, y, fit_params)


class SampleTraining(Training):
    """Fit afresh on nested prefixes of one permutation a fold."""

    def __init__(self, orders):
        self.orders = orders

    def rows(self, fold, train, budget):
        """Return the first ``budget`` rows in the order of the fold."""
        return self.orders[fold][:budget]


class EpochTraining(Training):
    """Continue by ``partial_fit``: one call is one epoch."""

    continues = True

    def __init__(self, classes):
        self.classes = classes

    def advance(self, model, done, budget, X, y, fit_params):
        """Call ``partial_fit`` for the epochs that are missing."""
        if self.classes is not None:
            accepted = inspect.signature(model.partial_fit).parameters
            if "classes" in accepted:
                fit_params = {"classes": self.classes, **fit_params}
        data = (X,) if y is None else (X, y)
        for _ in range(budget - done):
            model.partial_fit(*data, **fit_params)


class CountTraining(Training):
    """Set a count parameter, and continue where the step that owns it can."""

    def __init__(self, resource, continues):
        self.resource = resource
        self.continues = continues

    def parameters(self, budget):
        """Return the count itself."""
        return {self.resource: budget}

    def fresh(self, estimator, params, budget):
        """Return an unfitted copy that will be able to continue."""
        model = super().fresh(estimator, {**params, self.resource: budget}, budget)
        if self.continues:
            model.set_params(**{warm_start_of(self.resource): True})
        return model

    def advance(self, model, done, budget, X, y, fit_params):
        """Fit up to the count."""
        more = done and adds_iterations(model, self.resource)
        model.set_params(**{self.resource: budget - done if more else budget})
        fit(model, X, y, fit_params)


def fit(model, X, y, fit_params):
    """Fit with or without a target."""
    if y is None:
        model.fit(X, **fit_params)
    else:
        model.fit(X, y, **fit_params)


def warm_start_of(resource):
    """Name of the ``warm_start`` of the step that owns a parameter."""
    owner, _, _ = resource.rpartition("__")
    return f"{owner}__warm_start" if owner else "warm_start"


def adds_iterations(model, resource):
    """Tell whether a warm start runs the count *again* rather than up to it."""
    owner, _, name = resource.rpartition("__")
    step = model.get_params()[owner] if owner else model
    if name not in _MORE or isinstance(step, _GROWING):
        return False
    # a class that merely inherits BaseEstimator and mixins is nobody's but its own
    return any(
        cls.__module__.split(".")[0] in _LIBRARIES and "fit" in vars(cls)
        for cls in type(step).__mro__
    )


def nested_order(y, train, rng, stratify):
    """Order the rows of a fold so that every prefix is a sample of the whole.

    With classes every prefix has nearly their shares, and the first row of each class
    comes first, so that no budget of at least that many rows misses one.
    """
    order = rng.permutation(np.asarray(train))
    if not stratify:
        return order
    _, codes = np.unique(np.asarray(y)[order], return_inverse=True)
    place = np.empty(len(order))
    for code in range(codes.max() + 1):
        mine = np.flatnonzero(codes == code)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
        place[mine[0]] = 0.0
    return order[np.argsort(place, kind="stable")]


def train_and_score(
    estimator,
    training,
    params,
    model,
    done,
    budget,
    X,
    y,
    fold,
    split,
    *,
    scorers,
    fit_params,
    score_params,
    error_score,
    return_train_score,
    keep,
    caller=None,
    context=None,
):
    """Train one setting on one fold up to a budget and score it.

    Returns
    -------
    result : dict
        As scikit-learn's searches collect it: scores, times, rows, the error if any.
    model : estimator or None
        What to continue from, if it is to be kept and did not fail.
    """
    train, test = split
    train = training.rows(fold, train, budget)
    failed = None
    start = time.perf_counter()
    try:
        if model is None:
            done, model = 0, training.fresh(estimator, params, budget)
        X_train, y_train = safe_split(model, X, y, train)
        X_test, y_test = safe_split(model, X, y, test, train)
        given = check_method_params(X, params=fit_params, indices=train)
        watched = nullcontext()
        if context is not None:
            watched = context.propagate_callback_context(model)
            context.call_on_fit_task_begin(estimator=caller, X=X_train, y=y_train)
        with watched:
            training.advance(model, done, budget, X_train, y_train, given)
    except Exception:  # whatever a training raises, as in scikit-learn's searches
        if error_score == "raise":
            raise
        failed = format_exc()
    fitted = time.perf_counter()
    result = {"fit_error": failed, "score_error": None, "n_test_samples": len(test)}
    for part, rows in (("test", test), ("train", train)):
        if part == "train" and not return_train_score:
            continue
        if failed is not None:
            result[f"{part}_scores"] = failed_scores(scorers, error_score)
            continue
        given = check_method_params(X, params=score_params, indices=rows)
        data = (X_test, y_test) if part == "test" else (X_train, y_train)
        result[f"{part}_scores"], trouble = scores_of(
            model, data, scorers, given, error_score
        )
        result["score_error"] = trouble or result["score_error"]
        if part == "test":
            result["score_time"] = time.perf_counter() - fitted
    result.setdefault("score_time", 0.0)
    result["fit_time"] = fitted - start
    if context is not None:
        context.call_on_fit_task_end(estimator=caller)
    return result, model if keep and failed is None else None


def scores_of(model, data, scorers, score_params, error_score):
    """Return scores, and what went wrong with them.

    A warning waits for the end of the search, where the last training may raise what is
    really wrong. Several metrics are told apart, and warned of, by scikit-learn.
    """
    if error_score == "raise" or hasattr(scorers, "_scorers"):
        return score_fitted(model, *data, scorers, score_params, error_score), None
    try:
        return score_fitted(model, *data, scorers, score_params, "raise"), None
    except Exception:  # whatever a scorer raises
        return error_score, format_exc()


def failed_scores(scorers, error_score):
    """Return the error score, for every metric that is known by name."""
    names = getattr(scorers, "_scorers", None)
    return error_score if names is None else dict.fromkeys(names, error_score)
