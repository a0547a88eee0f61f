"""The folds of a search: earlier steps fitted once, inner problems bound to rows."""

from typing import Any, NamedTuple

import numpy as np
import sklearn
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, column_or_1d, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import (
    check_method_params,
    check_sample_weight,
    routing_enabled,
    safe_indexing,
)
from skdiff._convex._inner._problem import Searched
from skdiff._convex._sparse import canonical_rows
from skdiff.model_selection._gradient._criteria import pair_scores, pair_votes
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._warm_starts import WarmStarts


class Parts(NamedTuple):
    """An estimator taken apart: earlier steps, the last one, and its prefix."""

    pipelines: list[Any]
    last: Any
    prefix: str


def take_apart(estimator: Any) -> Parts:
    """Split a pipeline, or a pipeline at the end of one, from its last step."""
    pipelines, prefix = [], ""
    while isinstance(estimator, Pipeline):
        pipelines.append(estimator)
        name, last = estimator.steps[-1]
        if not hasattr(last, "fit"):
            raise TypeError(
                f"The last step {name!r} of the pipeline must be an estimator with an "
                f"inner problem, got {last!r}."
            )
        estimator, prefix = last, f"{prefix}{name}__"
    return Parts(pipelines, estimator, prefix)


class Target(NamedTuple):
    """Targets as the inner problems want them, and the labels behind the codes."""

    y: Any
    codes: Any
    classes: Any


def check_target(y: Any, last: Any, name: str) -> Target:
    """Check y by the kind of the last step."""
    if y is None:
        raise ValueError(
            f"This {name} estimator requires y to be passed, but the target y is None."
        )
    tags = get_tags(last)
    if tags.estimator_type == "classifier":
        y = column_or_1d(y, warn=True)
        check_array(y, ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"{name} needs at least two classes in y; got one class: "
                f"{classes.tolist()[0]!r}."
            )
        return Target(y, codes, classes)
    several = tags.target_tags.multi_output
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim > 2:
        raise ValueError(f"y must have one or two dimensions, got {y.ndim}.")
    if not several:
        y = column_or_1d(y, warn=True)
    return Target(y, y, None)


def check_rows(X: Any) -> Any:
    """Check what the last step will see; sparse rows stay sparse."""
    # one memory order: the last bits of a product depend on it
    X = check_array(X, accept_sparse=["csr", "csc", "coo"], dtype=np.float64, order="C")
    return canonical_rows(X) if sparse.issparse(X) else X


class Fold:
    """One fold: rows, fitted earlier steps, the bound inner problem."""

    def __init__(
        self,
        index: Any,
        train: Any,
        test: Any,
        steps: Any,
        problem: Any,
        rows: Any,
        score_params: Any,
    ) -> None:
        self.index, self.train, self.test = index, train, test
        self.steps, self.problem = steps, problem
        self.X_test, self.y_test, self.code_test = rows
        self.score_params = score_params
        weight = score_params.get("sample_weight")
        self.score_weight = None if weight is None else np.asarray(weight, dtype=float)
        self.starts = WarmStarts()

    def transform(self, X: Any) -> Any:
        """Bring rows to what the last step sees."""
        for step in self.steps:
            X = step.transform(X)
        return check_rows(X)


class Data(NamedTuple):
    """What all folds of all combinations share."""

    X: Any
    target: Target
    splits: list[Any]
    fit_params: dict[str, Any]
    score_params: dict[str, Any]


def make_folds(estimator: Any, data: Data, searched: dict[str, Searched]) -> list[Fold]:
    """Fit the earlier steps of each fold and bind its problem.

    ``searched`` is what an unbound problem is told of the search.
    """
    pipelines, last, _ = take_apart(estimator)
    pairwise = get_tags(estimator).input_tags.pairwise
    X, plain = data.X, not any(len(pipeline.steps) > 1 for pipeline in pipelines)
    if plain and pipelines:  # nothing comes before the last step: check it once
        X = check_rows(X)
    same = X is data.X
    folds: list[Fold] = []
    for index, (train, test) in enumerate(data.splits):
        train, test = np.asarray(train), np.asarray(test)
        if train.dtype == bool:
            train, test = np.flatnonzero(train), np.flatnonzero(test)
        if pairwise:
            X_train, X_test = X[np.ix_(train, train)], X[np.ix_(test, train)]
        else:
            X_train, X_test = _take(X, train), _take(X, test)
        y_train = data.target.y[train]
        params = check_method_params(data.X, params=data.fit_params, indices=train)
        steps, weight = [], None
        Z, Z_test = X_train, X_test
        for pipeline in pipelines:
            before, params = split_params(pipeline, params)
            if len(pipeline.steps) > 1:
                step = clone(pipeline[:-1])
                Z = step.fit_transform(Z, y_train, **before)
                Z_test = step.transform(Z_test)
                steps.append(step)
        if not plain:
            Z, Z_test = check_rows(Z), check_rows(Z_test)
        elif not (same or pairwise):  # scorers see the rows as they were given
            X_test = safe_indexing(data.X, test)
        weight = _only_weight(params, Z, last)
        codes = data.target.codes[train]
        _check_classes(data.target, codes, weight, index)
        problem = inner_problem(last)
        problem.searched = searched
        weighs_rows = any(name in searched for name in problem.per_row)
        if weight is not None and not weighs_rows and not np.all(weight > 0):
            kept = weight > 0
            Z, codes, weight = Z[kept], codes[kept], weight[kept]
        problem = problem.bind(
            Z, codes, sample_weight=weight, X_val=Z_test, classes=data.target.classes
        )
        problem.leader = folds[0].problem if folds else None
        rows = X_test, data.target.y[test], data.target.codes[test]
        score_params = check_method_params(
            data.X, params=data.score_params, indices=test
        )
        folds.append(Fold(index, train, test, steps, problem, rows, score_params))
    return folds


def _take(X: Any, rows: Any) -> Any:
    return X[rows] if type(X) is np.ndarray else safe_indexing(X, rows)


def _only_weight(params: Any, Z: Any, last: Any) -> Any:
    unknown = sorted(set(params) - {"sample_weight"})
    if unknown:
        raise TypeError(
            f"The inner problem of {type(last).__name__} knows sample_weight and no "
            f"other fit parameter. Got {unknown}."
        )
    if params.get("sample_weight") is None:
        return None
    return check_sample_weight(params["sample_weight"], Z)


def _check_classes(target: Any, codes: Any, weight: Any, index: Any) -> None:
    if target.classes is not None:
        seen = codes if weight is None else codes[weight > 0]
        missing = sorted(set(range(len(target.classes))) - set(seen.tolist()))
        if missing:
            trimmed = " with a positive sample_weight" if weight is not None else ""
            label = target.classes[missing].tolist()[0]
            raise ValueError(
                f"The class {label!r} is missing from the training rows of fold {index}"
                f"{trimmed}. Use fewer or stratified folds, or gather more rows of it."
            )


def split_params(pipeline: Any, params: Any) -> Any:
    """Fit parameters of the earlier steps, and those of the last."""
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


def fit_with_weights(estimator: Any, X: Any, y: Any, params: Any, weights: Any) -> None:
    """Fit with the values per row that were found, times those that were given.

    ``weights`` has them by name, and is empty where none were searched.
    """
    if not weights:
        estimator.fit(X, y, **params)
        return
    prefix = take_apart(estimator).prefix
    # the names of steps say where the weights go, routed or not
    params = dict(params)
    for name, found in weights.items():
        given = params.pop(name, params.pop(prefix + name, None))
        times = 1.0 if given is None else np.asarray(given, dtype=float)
        params[prefix + name] = found * times
    with sklearn.config_context(enable_metadata_routing=False):
        estimator.fit(X, y, **params)


class _FoldModel(BaseEstimator):
    """The model of a fold at one point, as far as scorers ask."""

    def __init__(self, fold: Any = None, w: Any = None) -> None:
        self.fold = fold
        self.w = w

    def __sklearn_is_fitted__(self) -> Any:
        return True

    def _raw(self, X: Any) -> Any:
        if X is self.fold.X_test:
            return self.raw
        return self.fold.problem.predict(self.w, self.fold.transform(X))


class RegressorOfFold(RegressorMixin, _FoldModel):
    """Predicts values."""

    def predict(self, X: Any) -> Any:
        """Values."""
        return self._raw(X)


def _gives_probabilities(model: Any) -> Any:
    return model.probabilistic


class ClassifierOfFold(ClassifierMixin, _FoldModel):
    """Predicts labels, margins and, for a log loss, probabilities."""

    def decision_function(self, X: Any) -> Any:
        """Margins; of each class, where pairs have theirs."""
        raw = self._raw(X)
        return pair_scores(raw) if raw.ndim == 3 else raw

    def predict(self, X: Any) -> Any:
        """Labels."""
        raw = self._raw(X)
        if raw.ndim == 3:
            broken = self.fold.problem.estimator.break_ties
            raw = pair_scores(raw) if broken else pair_votes(raw)
        codes = (raw > 0).astype(int) if raw.ndim == 1 else raw.argmax(axis=1)
        return self.classes_[codes]

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Probabilities."""
        raw = self._raw(X)
        if raw.ndim == 1:
            return np.column_stack([expit(-raw), expit(raw)])
        return softmax(raw, axis=1)


def fold_model(fold: Any, point: Any, probabilistic: Any) -> Any:
    """Dress the solution of a fold as a fitted estimator."""
    classes = fold.problem.classes
    kind = RegressorOfFold if classes is None else ClassifierOfFold
    model = kind(fold, point.w)
    model.raw = point.raw
    if classes is not None:
        model.classes_ = classes
        model.probabilistic = probabilistic
    return model
