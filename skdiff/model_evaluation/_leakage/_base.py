"""One fold of an audit: steps fitted to all rows, or to the training rows."""

import inspect
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.utils import get_tags

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import fit_inner, nested, take_rows
from skdiff.model_evaluation._kept import keep, restore, stack

#: rows with which the behaviour of a step is judged
_MOST_ROWS = 1000


class Arguments(NamedTuple):
    """Arguments that the caller passed to ``fit``, by who takes them."""

    pipeline: dict  # of the fit to all rows
    steps: dict  # by the name of the step
    scorer: dict
    splitter: dict


NONE = Arguments({}, {}, {}, {})


def fold_scores(steps, X, y, fold, arrangements, scorer, arguments=NONE):
    """Scores on the test rows of a fold, one per arrangement.

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers, and the model as the last one; seeded.
    X, y : array-like
        All rows and their outcomes.
    fold : tuple of ndarray
        Training rows and test rows.
    arrangements : list of frozenset of str
        Names of the steps that are fitted to the training and the test rows.
    scorer : callable
        Of the model.
    arguments : Arguments
        Of the steps and the scorer, for all rows.
    """
    train, test = fold
    both = np.concatenate([train, test])
    y_train, y_test = safe_indexing(y, train), safe_indexing(y, test)
    parts = safe_indexing(X, train), safe_indexing(X, test)
    y_all = np.concatenate([np.asarray(y_train), np.asarray(y_test)])
    of_train, of_all = (
        {name: take_rows(X, given, rows) for name, given in arguments.steps.items()}
        for rows in (train, both)
    )
    of_score = take_rows(X, arguments.scorer, test)
    found = []
    for outside in arrangements:
        Z_train, Z_test = parts
        for name, step in steps[:-1]:
            if name in outside:
                given = of_all.get(name, {})
                Z_train, Z_test = _together(clone(step), Z_train, Z_test, y_all, given)
            else:
                step = clone(step)
                Z_train = fitted_transform(step, Z_train, y_train, of_train.get(name))
                Z_test = step.transform(Z_test)
        name, model = steps[-1]
        model = fit_inner(model, Z_train, y_train, params=of_train.get(name))
        found.append(float(scorer(model, Z_test, y_test, **of_score)))
    if not np.isfinite(found).all():
        raise ValueError(
            "A score of a fold is not finite: its test rows may be too few for the "
            "scorer, or lack a class. Pass another scoring, or fewer folds."
        )
    return found


def fitted_transform(step, Z, y, given=None):
    """Fit a step and transform the rows that it was fitted to, as a pipeline does."""
    given = given or {}
    if hasattr(step, "fit_transform"):
        return step.fit_transform(Z, y, **given)
    return step.fit(Z, y, **given).transform(Z)


def _together(step, Z_train, Z_test, y, given):
    """Both parts, transformed by a step that was fitted to both: the leak."""
    rows = restore(stack([keep(Z_train), keep(Z_test)]))
    Z = fitted_transform(step, rows, y, given)
    n = Z_train.shape[0]
    return (
        safe_indexing(Z, np.arange(n)),
        safe_indexing(Z, np.arange(n, rows.shape[0])),
    )


def supervised_steps(steps, X, y, random_state):
    """Return the names of the transformers whose result depends on y.

    A step is supervised where it declares so, where a model inside it learns from y, or
    where other labels change what it makes of the rows.
    """
    rows = np.arange(X.shape[0])
    if len(rows) > _MOST_ROWS:
        rows = np.sort(random_state.choice(rows, _MOST_ROWS, replace=False))
    Z, y = safe_indexing(X, rows), safe_indexing(y, rows)
    other = safe_indexing(y, random_state.permutation(len(rows)))
    found = []
    for name, step in steps[:-1]:
        if _declared(step) or _changes(step, Z, y, other):
            found.append(name)
        Z = fitted_transform(clone(step), Z, y)
    return found


def _declared(step):
    """Whether tags, the signature of ``fit`` or a model inside ask for y."""
    needed = inspect.signature(step.fit).parameters.get("y")
    if get_tags(step).target_tags.required:
        return True
    if needed is not None and needed.default is needed.empty:
        return True
    return any(is_classifier(e) or is_regressor(e) for e in nested(step))


def _changes(step, Z, y, other):
    """Whether other labels change the transformed rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = (
            fitted_transform(clone(step), Z, labels) for labels in (y, other)
        )
    return not _same(first, second)


def _same(first, second):
    if first.shape != second.shape:
        return False
    if hasattr(first, "columns"):
        return bool(first.equals(second))
    if hasattr(first, "tocsr"):
        return (first != second).nnz == 0
    if first.dtype.kind in "fc":
        return bool(np.allclose(first, second, rtol=1e-9, atol=0, equal_nan=True))
    return bool(np.array_equal(first, second))
