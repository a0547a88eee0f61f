"""Which problem and which level set belong to data and a loss."""

from typing import Any

from scipy.sparse import issparse

from skdiff._base.typing import Array
from skdiff._convex import _losses
from skdiff._convex._losses import Loss
from skdiff.multiplicity._sets._l1 import L1LevelSet, L1Problem
from skdiff.multiplicity._sets._level_set import LevelSet, UnboundedError
from skdiff.multiplicity._sets._multinomial import MultinomialProblem
from skdiff.multiplicity._sets._piecewise import PiecewiseLevelSet
from skdiff.multiplicity._sets._problem import Problem
from skdiff.multiplicity._sets._sparse import SparseLevelSet, SparseProblem


def make_problem(data: dict[str, Any], loss: Loss) -> Problem:
    """The objective as its solver takes it."""
    kind, _ = _kind(data["X"], data.get("lasso"), loss)
    return kind(**data, loss=loss)


def level_set_class(problem: Problem) -> Any:
    """The class of level sets of a problem."""
    return _kind(problem.X, problem.lasso, problem.loss)[1]


def _kind(X: Any, lasso: Array | None, loss: Loss) -> tuple[Any, Any]:
    if issparse(X):
        return SparseProblem, SparseLevelSet
    if isinstance(loss, _losses.PIECEWISE_LINEAR):
        return L1Problem, PiecewiseLevelSet
    if isinstance(loss, _losses.Multinomial):
        return MultinomialProblem, LevelSet
    return (L1Problem, L1LevelSet) if lasso is not None else (Problem, LevelSet)


def minimiser(problem: Problem, start: Array) -> Any:
    """The level set around the best model; raise where there is none."""
    try:
        return level_set_class(problem).at(problem, start)
    except UnboundedError as error:
        raise ValueError(
            f"The linear model could not be refined to its optimum: {error} Rescale "
            "the columns of X or strengthen the penalty (a smaller C, a larger alpha)."
        ) from error
