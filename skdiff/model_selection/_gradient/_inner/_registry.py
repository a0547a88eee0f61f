"""Which estimator has which inner problem."""

from functools import singledispatch

# estimators of this package that hand over theirs by a method
_HANDED_OVER = ("WeightedElasticNet", "WeightedLogisticRegression", "WeightedRidge")


@singledispatch
def inner_problem(estimator):
    """Return the inner problem of an estimator; open for registration.

    ``inner_problem.register(MyEstimator, MyProblem)`` makes an estimator of one's own
    searchable by :class:`GradientSearchCV`, where ``MyProblem`` is a subclass of
    :class:`InnerProblem`.

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
    if own is not None:
        return own()
    registered = {cls.__name__ for cls in inner_problem.registry if cls is not object}
    supported = sorted({*registered, *_HANDED_OVER})
    raise TypeError(
        f"{type(estimator).__name__} has no inner problem, so its hyperparameters have "
        f"no gradient. Supported: {', '.join(supported)}. Register your own with "
        "inner_problem.register, or search with HyperbandSearchCV, which takes any "
        "estimator."
    )
