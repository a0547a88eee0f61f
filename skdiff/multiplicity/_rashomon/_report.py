"""A report in one call."""

from typing import Any

from skdiff.multiplicity._rashomon import _linear_models as linear
from skdiff.multiplicity._rashomon._estimator import RashomonClassifier
from skdiff.multiplicity._rashomon._regressor._estimator import RashomonRegressor


def multiplicity_report(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    epsilon: float = 0.01,
    epsilon_type: str = "relative",
    level: str = "objective",
    threshold: Any = None,
    groups: Any = None,
    sample_weight: Any = None,
    **report_params: Any,
) -> Any:
    """Report in one call how arbitrary an estimator's predictions are.

    Parameters
    ----------
    estimator : estimator
        What :class:`RashomonClassifier` or :class:`RashomonRegressor` takes.
    X : array-like of shape (n_samples, n_features)
        Training rows, on which the report is made too.
    y : array-like of shape (n_samples,)
        Their targets.
    epsilon : float, default=0.01
        Size of the set.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means, as in :class:`RashomonClassifier`.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective or of the loss alone.
    threshold : float, default=None
        Probability of the second class above which it is predicted, 0.5 if None; for
        classifiers of two classes only.
    groups : array-like of shape (n_samples,), default=None
        Group of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the fit.
    **report_params : dict
        Passed to ``report``: ``deltas``, ``epsilons``.

    Returns
    -------
    table : pandas.DataFrame
        One line per group and tolerance; see :meth:`RashomonClassifier.report`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.multiplicity import multiplicity_report
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> table = multiplicity_report(LogisticRegression(), X, y)
    >>> table[["n", "conflict_ratio"]].round(4).values.tolist()
    [[569.0, 0.0281]]
    """
    last = estimator
    while hasattr(last, "steps") or hasattr(last, "estimator"):
        last = last.steps[-1][1] if hasattr(last, "steps") else last.estimator
    regression = isinstance(last, linear.REGRESSORS)
    cls: Any = RashomonRegressor if regression else RashomonClassifier
    given: dict[str, Any] = {
        "epsilon": epsilon,
        "epsilon_type": epsilon_type,
        "level": level,
    }
    if threshold is not None:
        if regression:
            raise ValueError("threshold is for classifiers.")
        given["threshold"] = threshold
    model = cls(estimator, **given).fit(X, y, sample_weight=sample_weight)
    return model.report(X, y, groups=groups, **report_params)
