"""Which estimator has which inner problem."""

from functools import singledispatch
from typing import Any

# estimators of this package that hand over theirs by a method
_HANDED_OVER = ("WeightedElasticNet", "WeightedLogisticRegression", "WeightedRidge")
# what a subclass must inherit to be the model of its parent
_THE_MODEL = ("fit", "predict", "decision_function", "predict_proba")


@singledispatch
def _find(estimator: Any) -> Any:
    return None


def inner_problem(estimator: Any) -> Any:
    """Return the inner problem of an estimator; open for registration.

    ``inner_problem.register(MyEstimator, MyProblem)`` makes a custom estimator
    searchable by :class:`GradientSearchCV`, where ``MyProblem`` is a subclass of
    :class:`InnerProblem`. A subclass of a registered estimator has the same problem
    only if it inherits ``fit`` and the methods that predict.

    Parameters
    ----------
    estimator : estimator instance
        Unfitted estimator.

    Returns
    -------
    problem : InnerProblem
        Not yet bound to rows.

    Raises
    ------
    TypeError
        If the estimator has no inner problem.

    See Also
    --------
    InnerProblem : What is returned, with an example.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.model_selection import inner_problem
    >>> sorted(inner_problem(Ridge()).parameters)
    ['alpha', 'sample_weight']
    """
    own = getattr(estimator, "_inner_problem", None)
    problem = _find(estimator) if own is None else own()
    if problem is None:
        registered = {cls.__name__ for cls in _find.registry if cls is not object}
        supported = ", ".join(sorted({*registered, *_HANDED_OVER}))
        raise TypeError(
            f"{type(estimator).__name__} has no inner problem, so its hyperparameters "
            f"have no gradient. Supported: {supported}. {_REMEDY}"
        )
    if not problem.for_subclasses:
        _refuse_other_models(type(estimator), own is not None)
    return problem


inner_problem.register = _find.register  # type: ignore[attr-defined]
inner_problem.registry = _find.registry  # type: ignore[attr-defined]

_REMEDY = (
    "Register a custom one with inner_problem.register, or search with "
    "HyperbandSearchCV, which takes any estimator."
)


def _refuse_other_models(cls: type, by_method: bool) -> None:
    """Refuse a subclass that is another model than the one that has the problem."""
    if by_method:
        parent = next(c for c in cls.__mro__ if "_inner_problem" in vars(c))
    else:
        parent = next(c for c in cls.__mro__ if c in _find.registry)
    for name in _THE_MODEL:
        inherited = _defined(parent, name)
        if inherited is not None and _defined(cls, name) is not inherited:
            raise TypeError(
                f"{cls.__name__} is a subclass of {parent.__name__} with its own "
                f"{name}, so the inner problem of {parent.__name__} is not its own. "
                f"{_REMEDY}"
            )


def _defined(cls: type, name: str) -> Any:
    return next((vars(c)[name] for c in cls.__mro__ if name in vars(c)), None)
