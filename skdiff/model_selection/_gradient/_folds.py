"""The folds of a search: earlier steps fitted once, inner problems bound to rows."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import sklearn
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, column_or_1d, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import (
    check_method_params,
    check_sample_weight,
    safe_indexing,
)
from skdiff._base.inner import refuse_samplers
from skdiff._convex._inner._problem import InnerProblem, Searched
from skdiff._convex._sparse import canonical_rows
from skdiff.model_selection._gradient._criteria import pair_scores, pair_votes
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._warm_starts import WarmStarts
from skdiff.model_selection._gradient._wrappers import (
    Output,
    TransformedTarget,
    split_params,
    take_apart,
)


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


class Before(NamedTuple):
    """Steps before the last one, fitted on some rows, and what they make of them."""

    steps: list[Any]
    Z: Any
    y: Any
    params: dict[str, Any]
    output: Output
    names: Any

    def transform(self, X: Any) -> Any:
        """Bring other rows to what the last step sees."""
        for step in self.steps:
            X = step.transform(X)
        return X


@dataclass
class Fold:
    """One fold: rows, fitted earlier steps, the bound inner problem.

    ``entries`` are, for each vector hyperparameter of which the fold has a part, the
    places of that part.
    """

    index: int
    train: Any
    test: Any
    before: Before
    problem: InnerProblem
    X_test: Any
    y_test: Any
    code_test: Any
    score_params: dict[str, Any]
    entries: dict[str, Any] = field(default_factory=dict)
    starts: WarmStarts = field(default_factory=WarmStarts)

    @property
    def output(self) -> Output:
        """From raw predictions to those of the whole estimator."""
        return self.before.output

    @cached_property
    def score_weight(self) -> Any:
        """Weights of the validation rows in the criterion."""
        weight = self.score_params.get("sample_weight")
        return None if weight is None else np.asarray(weight, dtype=float)

    def transform(self, X: Any) -> Any:
        """Bring rows to what the last step sees."""
        return check_rows(self.before.transform(X))


class Data(NamedTuple):
    """What all folds of all combinations share."""

    X: Any
    target: Target
    splits: list[Any]
    fit_params: dict[str, Any]
    score_params: dict[str, Any]


def fit_before(wrappers: list[Any], X: Any, y: Any, params: dict[str, Any]) -> Before:
    """Fit the earlier steps on rows, from the outside in."""
    steps: list[Any] = []
    output, names = Output(), None
    for wrapper in wrappers:
        before, params = split_params(wrapper, params)
        if not isinstance(wrapper, Pipeline):
            output = TransformedTarget(wrapper, y, output)
            y = output.forward(y)
        elif len(wrapper.steps) > 1:
            step = clone(wrapper[:-1])
            X = step.fit_transform(X, y, **before)
            steps.append(step)
            names = _names(step, names)
    return Before(steps, X, y, params, output, names)


def _names(step: Any, before: Any) -> Any:
    """Names of the columns that a step makes, or None where it has none."""
    try:
        return np.asarray(step.get_feature_names_out(before), dtype=object)
    except (AttributeError, NotFittedError, ValueError):
        return None


def make_folds(estimator: Any, data: Data, searched: dict[str, Searched]) -> list[Fold]:
    """Fit the earlier steps of each fold and bind its problem.

    ``searched`` is what an unbound problem is told of the search.
    """
    refuse_samplers(estimator, "the inner problem is solved on the rows as they are")
    parts = take_apart(estimator)
    last, plain = parts.last, parts.bare
    pairwise = get_tags(estimator).input_tags.pairwise
    X = data.X
    if plain and parts.wrappers:  # nothing comes before the last step: check it once
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
        params = check_method_params(data.X, params=data.fit_params, indices=train)
        before = fit_before(parts.wrappers, X_train, data.target.y[train], params)
        Z, Z_test = before.Z, before.transform(X_test)
        if not plain:
            Z, Z_test = check_rows(Z), check_rows(Z_test)
        elif not (same or pairwise):  # scorers see the rows as they were given
            X_test = safe_indexing(data.X, test)
        weight = _only_weight(before.params, Z, last)
        y = before.y if data.target.classes is None else data.target.codes[train]
        _check_classes(data.target, y, weight, index)
        problem = _bound(last, searched, Z, y, weight, Z_test, data.target.classes)
        problem.leader = folds[0].problem if folds else None
        score_params = check_method_params(
            data.X, params=data.score_params, indices=test
        )
        folds.append(
            Fold(
                index,
                train,
                test,
                before._replace(Z=None, y=None),
                problem,
                X_test,
                data.target.y[test],
                data.target.codes[test],
                score_params,
            )
        )
    return folds


def _bound(
    last: Any,
    searched: dict[str, Searched],
    Z: Any,
    y: Any,
    weight: Any,
    Z_test: Any,
    classes: Any,
) -> InnerProblem:
    """The problem of the last step on the rows of a fold that weigh."""
    problem = inner_problem(last)
    problem.searched = searched
    if weight is not None and not problem.weighted:
        raise ValueError(
            f"The inner problem of {type(last).__name__} does not take sample_weight "
            "into account. Declare weighted = True in it once it does."
        )
    weighs_rows = any(name in searched for name in problem.per_row)
    if weight is not None and not weighs_rows and not np.all(weight > 0):
        kept = weight > 0
        Z, y, weight = Z[kept], y[kept], weight[kept]
    bound: InnerProblem = problem.bind(
        Z, y, sample_weight=weight, X_val=Z_test, classes=classes
    )
    return bound


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


def fit_with_weights(estimator: Any, X: Any, y: Any, params: Any, weights: Any) -> None:
    """Fit with the values per row that were found, times those that were given.

    ``weights`` has them by name, and is empty where none were searched.
    """
    if not weights:
        estimator.fit(X, y, **params)
        return
    prefix = take_apart(estimator).fit_prefix
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
        raw = self.raw
        if X is not self.fold.X_test:
            raw = self.fold.problem.predict(self.w, self.fold.transform(X))
        return self.fold.output.values(raw)


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
