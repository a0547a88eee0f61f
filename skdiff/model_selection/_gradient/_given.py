"""What a search is given, checked: data, intervals, scorers and options."""

from dataclasses import dataclass
from typing import Any

from skdiff.model_selection._gradient._folds import Data
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._space import Continuous, from_distribution
from skdiff.model_selection._gradient._wrappers import Parts


@dataclass(frozen=True)
class Options:
    """Constructor arguments that steer a search."""

    solver: str
    max_iter: int
    tol: float
    inner_tol: float
    tie_strength: float
    n_starts: int
    warm: bool
    n_jobs: Any
    scored: bool  # by scorers of the user, not by the criterion


@dataclass(frozen=True)
class Given:
    """Data, what is searched, and how it is scored."""

    X: Any
    y: Any
    data: Data
    routed: Any
    intervals: dict[str, Continuous]
    choices: dict[str, list[Any]]
    criterion: Any
    scorers: Any
    refit_metric: Any


def read_distributions(
    estimator: Any, distributions: dict[str, Any], parts: Parts
) -> tuple[dict[str, Continuous], dict[str, list[Any]]]:
    """Split the dictionary into intervals and lists; check the names."""
    if not distributions:
        raise ValueError("param_distributions is empty: there is nothing to search.")
    known = estimator.get_params(deep=True)
    problem = inner_problem(parts.last)
    differentiable = problem.parameters
    intervals, choices = {}, {}
    for key, given in distributions.items():
        found = from_distribution(key, given)
        name = key.removeprefix(parts.prefix)
        if key not in known and name not in problem.per_row:
            raise ValueError(
                f"Invalid parameter {key!r} for estimator {estimator}. Valid "
                f"parameters are: {sorted(known)}."
            )
        if isinstance(found, list):
            choices[key] = found
            continue
        inside = key == parts.prefix + name or name in problem.per_row
        if not inside or name not in differentiable:
            raise ValueError(
                f"{key!r} has no gradient. Parameters with one: "
                f"{[parts.prefix + n for n in differentiable]}. Give a list of "
                "values to try them one by one."
            )
        if found.per not in differentiable[name]:
            kinds = ", ".join(repr(k) for k in differentiable[name])
            raise ValueError(
                f"{key!r} of {type(parts.last).__name__} cannot be searched "
                f"per={found.per!r}; possible: {kinds}."
            )
        if name in problem.per_row and found.low < 0:
            raise ValueError(
                f"{key!r} must not be negative: its interval begins at {found.low:g}."
            )
        intervals[key] = found
    if not intervals:
        raise ValueError(
            "param_distributions has no interval. Give a Continuous, loguniform or "
            "uniform for at least one parameter, or use GridSearchCV."
        )
    return intervals, choices
