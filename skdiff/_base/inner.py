"""Fitting an estimator inside an estimator, in one way.

The caller's X reaches the inner model as it came. Metadata are routed, or, with routing
off, passed to the step that takes them. Row weights arrive or are refused, and a failed
inner fit leaves the outer estimator unfitted.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import check_array, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.validation import (
    check_is_fitted,
    has_fit_parameter,
)

from skdiff._base.compat import BaseSearchCV, check_method_params, routing_enabled
from skdiff._base.validation import check_X, refuse_dates

# meta-estimators whose fit hands every keyword on to the one estimator inside
_HAND_ON = (BaseSearchCV, TransformedTargetRegressor)
# what scikit-learn hangs on an estimator besides its fit
_NOT_OF_A_FIT = (
    "_sklearn",
    "_skl_",
    "_metadata_request",
    "_callback",
    "_parent_callback",
)
_WEIGHT = "sample_weight"
# where an estimator keeps the names that its last fit has set
_OF_A_FIT = "_of_a_fit"


# --- what is inside an estimator ------------------------------------------------------


def is_frozen(estimator: Any) -> bool:
    """Tell whether an estimator is to be used as it is."""
    return isinstance(estimator, FrozenEstimator)


def unfrozen(estimator: Any) -> Any:
    """Return the estimator inside frozen wrappers."""
    while is_frozen(estimator):
        estimator = estimator.estimator
    return estimator


def nested(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and every estimator inside it."""
    yield estimator
    if hasattr(estimator, "get_params") and not isinstance(estimator, type):
        for value in estimator.get_params(deep=True).values():
            if hasattr(value, "fit") and not isinstance(value, type):
                yield value


def reads_any_table(estimator: Any) -> bool:
    """Tell whether earlier steps inside decide which cells they can read."""
    return any(
        isinstance(e, Pipeline | ColumnTransformer | FeatureUnion)
        for e in nested(estimator)
    )


def sampler_steps(estimator: Any) -> list[str]:
    """Return the names of the steps inside that resample rows."""
    return [
        f"{name} ({type(step).__name__})"
        for e in nested(estimator)
        if isinstance(e, Pipeline)
        for name, step in e.steps
        if hasattr(step, "fit_resample")
    ]


def refuse_samplers(estimator: Any, reason: str) -> None:
    """Raise where a step inside resamples rows; ``reason`` says what needs the rows."""
    if steps := sampler_steps(estimator):
        raise ValueError(
            f"The step {steps[0]} of the pipeline resamples rows, and {reason}. "
            "Remove the step, or resample the rows before fit."
        )


def transform_before(pipeline: Pipeline, X: Any) -> Any:
    """Return what the last step of a fitted pipeline sees of new rows.

    Steps that resample rows are passed by, as their own pipeline does; one of them may
    be the last before the model, where a slice of the pipeline has no ``transform``.
    """
    for _, step in pipeline.steps[:-1]:
        if step not in (None, "passthrough") and not hasattr(step, "fit_resample"):
            X = step.transform(X)
    return X


# --- the table ------------------------------------------------------------------------


def check_table(owner: Any, X: Any, given: Sequence[Any], *, reset: bool) -> Any:
    """Check shape and names of X, and its cells as far as the inner models would.

    Parameters
    ----------
    owner : estimator
        Whose columns X has; its tags say whether sparse X and NaN are accepted.
    X : array-like, sparse matrix or DataFrame
        The rows, as the caller gave them.
    given : sequence of estimators
        The inner models that the caller gave. Where one of them is a pipeline or
        holds one, its steps judge the cells.
    reset : bool
        Whether to learn number and names of the columns, or to compare with them.

    Returns
    -------
    X : ndarray, sparse matrix or DataFrame
        A frame is returned as it came; so is an array that a pipeline will read.
        Other arrays are finite numbers in C order.
    """
    free, frame = any(reads_any_table(e) for e in given), _is_frame(X)
    given_rows = X
    if not (free and frame):
        refuse_dates(X)
    tags = get_tags(owner).input_tags
    how = {
        "accept_sparse": "csr" if tags.sparse else False,
        "ensure_all_finite": "allow-nan" if tags.allow_nan else True,
        "order": "C",  # the last bit of a product depends on it
    }
    if not frame and not free:
        dtype: str | None = "numeric"
        if (tags.string or tags.categorical) and _kind(X) in "OUST":
            dtype = None
        return check_X(owner, X, reset=reset, dtype=dtype, **how)
    if not hasattr(X, "shape"):
        X = np.asarray(X)
        # numbers beside text stay numbers
        X = np.asarray(given_rows, dtype=object) if X.dtype.kind in "US" else X
    # the shape alone, in scikit-learn's words; nothing is allocated
    shape_only = np.broadcast_to(np.int8(0), X.shape) if len(X.shape) == 2 else X
    check_array(shape_only, estimator=owner, dtype=None)
    X = check_X(owner, X, skip_check_array=True, reset=reset)
    # a frame with columns of text or categories is for the inner model to judge
    if not free and all_numbers(X):
        check_array(X, estimator=owner, input_name="X", **how)
    if sparse.issparse(X) and X.format not in ("csr", "csc"):
        return X.tocsr()  # rows of the other formats cannot be taken
    return X


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


def _kind(X: Any) -> str:
    return getattr(getattr(X, "dtype", None), "kind", None) or np.asarray(X).dtype.kind


def all_numbers(X: Any) -> bool:
    """Tell whether every column of a frame holds numbers."""
    dtypes = list(X.dtypes)
    if all(hasattr(dtype, "is_numeric") for dtype in dtypes):  # polars
        return all(dtype.is_numeric() for dtype in dtypes)
    return all(getattr(dtype, "kind", "O") in "biuf" for dtype in dtypes)


# --- metadata -------------------------------------------------------------------------


def route(owner: Any, params: dict[str, Any], names: Sequence[str]) -> list[dict]:
    """Return the fit arguments of each inner model.

    Parameters
    ----------
    owner : estimator
        Whose ``get_metadata_routing`` knows the inner models by ``names``.
    params : dict
        What the caller passed to ``fit``.
    names : sequence of str
        Names of the inner models in the router.
    """
    if not routing_enabled() or not params:
        return [dict(params) for _ in names]
    routed = process_routing(owner, "fit", **params)
    return [dict(routed[name].fit) for name in names]


def take_rows(X: Any, params: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Cut the arguments that have one entry per row to some rows."""
    return check_method_params(X, params=params, indices=rows)


def refuse_params(params: dict[str, Any], reason: str) -> None:
    """Raise on fit arguments that no model takes, as it is fitted already."""
    if params:
        raise ValueError(
            f"fit got the arguments {sorted(params)}, which no model takes: {reason}."
        )


def split_params(pipeline: Pipeline, params: dict[str, Any]) -> tuple[dict, dict]:
    """Fit arguments of the earlier steps of a pipeline, and those of the last."""
    name = pipeline.steps[-1][0]
    if not routing_enabled():
        start = f"{name}__"
        last = {k[len(start) :]: v for k, v in params.items() if k.startswith(start)}
        before = {k: v for k, v in params.items() if not k.startswith(start)}
        loose = sorted(k for k in before if "__" not in k)
        if loose:
            raise ValueError(
                f"Pipeline.fit does not accept the {loose[0]} parameter. You can pass "
                f"parameters to a step by stepname__parameter, here {start}{loose[0]}."
            )
        return before, last
    if not params:
        return {}, {}
    last = dict(process_routing(pipeline, "fit", **params)[name].fit)
    before = {}
    if len(pipeline.steps) > 1:
        router = pipeline[:-1].get_metadata_routing()
        consumed = router.consumes("fit_transform", params.keys())
        before = {k: v for k, v in params.items() if k in consumed}
    return before, last


# --- row weights ----------------------------------------------------------------------


def weight_argument(estimator: Any) -> str | None:
    """Name under which ``fit`` takes row weights with routing off, None where not.

    The weights of a pipeline are those of its last step; those of a search, of the
    estimator that it searches.
    """
    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        inside = weight_argument(last) if hasattr(last, "fit") else None
        return None if inside is None else f"{step}__{inside}"
    if is_frozen(estimator):
        return None
    if isinstance(estimator, _HAND_ON):
        return weight_argument(_handed_to(estimator))
    if not has_fit_parameter(estimator, _WEIGHT):
        return None
    # an ensemble of pipelines has the argument and cannot pass it on by this name
    return None if any(isinstance(e, Pipeline) for e in nested(estimator)) else _WEIGHT


def _handed_to(estimator: Any) -> Any:
    if isinstance(estimator, TransformedTargetRegressor):
        return (
            LinearRegression() if estimator.regressor is None else estimator.regressor
        )
    return estimator.estimator


def takes_weights(estimator: Any) -> bool:
    """Tell whether row weights can reach what is trained inside an estimator."""
    if sampler_steps(estimator):
        return False
    if weight_argument(estimator) is not None:
        return True
    with sklearn.config_context(enable_metadata_routing=True):
        return request_weights(clone(estimator))


def request_weights(estimator: Any) -> bool:
    """Let row weights be routed to every last step inside an estimator of ours.

    Earlier steps and scorers go without, unless the caller asked for them. Metadata
    routing must be enabled. Returns whether every model inside takes weights.
    """
    if is_frozen(estimator) or not hasattr(estimator, "fit"):
        return False
    for method in ("score", "split"):
        _request(estimator, method, False)
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            for e in nested(step):
                for method in ("fit", "transform", "fit_transform"):
                    _request(e, method, False)
        return request_weights(estimator.steps[-1][1])
    inside = _children(estimator)
    own = has_fit_parameter(estimator, _WEIGHT)
    if own:
        _request(estimator, "fit", True)
    if not inside:
        return own
    if isinstance(getattr(estimator, "scoring", None), str):
        scorer = get_scorer(estimator.scoring)
        estimator.scoring = scorer.set_score_request(sample_weight=False)
    taken = [request_weights(e) for e in inside]  # of every one, so no generator
    return all(taken)


def _children(estimator: Any) -> list[Any]:
    """The estimators directly inside another one."""
    if not hasattr(estimator, "get_params"):
        return []
    return [
        value
        for name, value in estimator.get_params(deep=True).items()
        if "__" not in name and hasattr(value, "fit") and not isinstance(value, type)
    ]


def _request(estimator: Any, method: str, wanted: bool) -> None:
    """Request weights for a method, or not, where the caller has not said."""
    ask = getattr(estimator, f"set_{method}_request", None)
    if ask is None:
        return
    requests = getattr(get_routing_for_object(estimator), method, None)
    known = getattr(requests, "requests", {})
    if _WEIGHT in known and (wanted or known[_WEIGHT] is None):
        ask(**{_WEIGHT: wanted})


# --- fit ------------------------------------------------------------------------------


def fit_inner(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    params: dict[str, Any] | None = None,
    weight: Any = None,
) -> Any:
    """Fit a clone of an estimator; a frozen one is returned as it is.

    Parameters
    ----------
    estimator : estimator
        What to fit. Its pipelines run as they run themselves, with sampler steps.
    X, y : array-like
        The rows and their outcomes.
    params : dict, default=None
        Fit arguments of this estimator: routed ones, or, with routing off, those the
        caller passed. ``sample_weight`` alone means the last step of a pipeline.
    weight : array-like of shape (n_samples,), default=None
        Weights that the method itself gives the rows, times those of the caller.

    Raises
    ------
    ValueError
        If there are weights and nothing inside takes them.
    """
    params = dict(params or {})
    name = type(estimator).__name__
    if is_frozen(estimator):
        refuse_params(params, "the model is frozen")
        check_is_fitted(estimator)
        return estimator
    estimator = clone(estimator)
    path = weight_argument(estimator)
    routed = routing_enabled()
    given = params.pop(_WEIGHT, None)
    if path is not None and not routed:
        given = _product(given, params.pop(path, None))
    total = _product(given, weight)
    if total is None:
        return estimator.fit(X, y, **params)
    refuse_samplers(estimator, "the weights in sample_weight belong to the rows of X")
    if routed and weight is None:
        return estimator.fit(X, y, **params, sample_weight=total)
    if path is not None and (not routed or (given is None and not params)):
        # the name of the step says where they go, whatever else may be routed
        with sklearn.config_context(enable_metadata_routing=False):
            return estimator.fit(X, y, **params, **{path: total})
    if routed or not params:
        with sklearn.config_context(enable_metadata_routing=True):
            if request_weights(estimator):
                return estimator.fit(X, y, **params, sample_weight=total)
    raise ValueError(f"{name} takes no sample_weight, or a model inside it takes none.")


def _product(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return np.asarray(first, dtype=np.float64) * np.asarray(second, dtype=np.float64)


def seeded(estimator: Any, random_state: Any) -> Any:
    """Return a clone whose unseeded parts, splitters included, are seeded.

    Parameters
    ----------
    estimator : estimator
        Left unchanged. What is seeded in it keeps its seed; what is frozen is kept.
    random_state : RandomState
        Where the seeds are drawn from, in the order of the parameter names.
    """
    if is_frozen(estimator) or not hasattr(estimator, "get_params"):
        return estimator
    estimator = clone(estimator)
    params = estimator.get_params(deep=True)
    kept = tuple(f"{name}__" for name, value in params.items() if is_frozen(value))
    seeds: dict[str, Any] = {}
    for name in sorted(params):
        value = params[name]
        if kept and name.startswith(kept):
            continue
        if name.rpartition("__")[2] == "random_state":
            if value is None:
                seeds[name] = int(random_state.randint(2**31 - 1))
        elif _unseeded_splitter(value):
            seeds[name] = copy.copy(value)
            seeds[name].random_state = int(random_state.randint(2**31 - 1))
    return estimator.set_params(**seeds) if seeds else estimator


def _unseeded_splitter(value: Any) -> bool:
    return (
        hasattr(value, "split")
        and not isinstance(value, type | str | BaseEstimator)
        and getattr(value, "random_state", 0) is None
        and getattr(value, "shuffle", True) is True
    )


@contextmanager
def whole_fit(owner: Any) -> Iterator[None]:
    """Leave an estimator fitted as a whole or not at all.

    What an earlier fit has set is dropped first; after an error or an interrupt what
    this one has set is dropped too.
    """
    of_a_fit = [*vars(owner).get(_OF_A_FIT, ()), _OF_A_FIT]
    _drop(owner, [name for name in vars(owner) if name.endswith("_")] + of_a_fit)
    before = set(vars(owner))
    try:
        yield
    except BaseException:
        _drop(owner, _set_since(owner, before))
        raise
    setattr(owner, _OF_A_FIT, _set_since(owner, before))


def _set_since(owner: Any, before: set[str]) -> list[str]:
    """Names set since, but for what scikit-learn hangs on estimators meanwhile."""
    new = sorted(set(vars(owner)) - before)
    return [name for name in new if not name.startswith(_NOT_OF_A_FIT)]


def _drop(owner: Any, names: list[str]) -> None:
    for name in names:
        vars(owner).pop(name, None)
