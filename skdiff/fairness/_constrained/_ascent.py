"""Dual ascent where the inner minimisation is a fit of any model."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from skdiff._base.typing import Array
from skdiff.fairness._constrained._models import log_losses, outputs
from skdiff.fairness._constrained._terms import Term, TrainingRows, custom_loss
from skdiff.fairness._constrained._units import Units

GROWN, SHRUNK = 1.5, 0.5
DAMPED, LEAST = 0.7, 0.02  # of the steps beside a descent, where multipliers swing
MOST_KEPT = 20


class Iterate(NamedTuple):
    """One model of the ascent, and where it stands."""

    model: Any
    multipliers: Array
    excess: Array
    objective: float


class Trace(NamedTuple):
    """What the ascent leaves behind."""

    iterates: list[Iterate]
    history: dict[str, list[float]]
    converged: bool


def elementwise(
    model: Any, rows: TrainingRows, terms: Sequence[Term], temperature: float
) -> tuple[Array, Array]:
    """Return the loss of every row, and the average of every term."""
    X, y = rows.X, rows.y
    if rows.classifier:
        if not hasattr(model, "predict_proba"):
            raise ValueError(
                f"{type(model).__name__} has no predict_proba, which constraints need."
            )
        loss = log_losses(model, X, y)
        f = outputs(model, X, True) if rows.n_classes == 2 else np.zeros(len(y))
    else:
        f = outputs(model, X, False)
        loss = (y - f) ** 2
    losses = {"loss": loss, "score": f}
    losses |= {"rate": expit(f / temperature), "probability": expit(f)}
    averages = np.empty(len(terms))
    for j, term in enumerate(terms):
        values = losses.get(term.kind)
        if values is None:
            values = custom_loss(term.row_loss, f, y, term.entry).value
        averages[j] = term.weights @ values
    return loss, averages


def look_at(
    model: Any,
    multipliers: Array,
    rows: TrainingRows,
    terms: Sequence[Term],
    temperature: float,
) -> Iterate:
    """Return where a model stands: mean loss and excess."""
    loss, averages = elementwise(model, rows, terms, temperature)
    excess = averages - np.array([t.bound for t in terms])
    return Iterate(model, multipliers, excess, float(rows.weight @ loss))


class Limits(NamedTuple):
    """How long, how fast and how exactly multipliers move."""

    max_iter: int
    dual_step: float
    tol: float
    units: Units


def ascend(
    improve: Callable[[Array], Any],
    look: Callable[[Any, Array], Iterate],
    first: Iterate,
    limits: Limits,
    step_done: Callable[[Iterate], bool],
    settle: bool,
) -> Trace:
    """Move multipliers by ``lam <- max(lam + eta (L - c), 0)`` and fit again.

    ``improve(multipliers)`` returns the next model, ``look`` says where it stands;
    ``limits`` says how long and how exactly. The step of a multiplier shrinks when its
    constraint crosses the bound. With ``settle`` it grows while it does not, and the
    ascent ends when nothing moves any more.
    """
    max_iter, tol, units = limits.max_iter, limits.tol, limits.units
    first_eta = limits.dual_step * units.multipliers / units.terms
    eta = first_eta
    state, iterates = first, [first]
    history: dict[str, list[float]] = {
        "objective": [],
        "max_violation": [],
        "sum_multipliers": [],
    }
    _note(history, first)
    converged = False
    for _ in range(max_iter):
        lam = np.maximum(state.multipliers + eta * state.excess, 0.0)
        if state is first and not np.any(lam):
            converged = True
            break
        found = look(improve(lam), lam)
        iterates.append(found)
        _note(history, found)
        if step_done(found):
            break
        same = np.sign(found.excess) == np.sign(state.excess)
        if not settle:
            eta = np.maximum(eta * np.where(same, 1.0, DAMPED), LEAST * first_eta)
        if settle:
            eta = eta * np.where(same, GROWN, SHRUNK)
            moved = np.abs(lam - state.multipliers) / (units.multipliers + lam)
            slack = float(np.abs(lam * found.excess).sum()) / units.objective
            met = units.worst(found.excess) <= tol
            state = found
            if (met and slack <= tol) or float(moved.max()) <= tol:
                converged = True
                break
        state = found
    return Trace(iterates, history, converged)


def new_history() -> dict[str, list[float]]:
    """Empty lists."""
    return {"objective": [], "max_violation": [], "sum_multipliers": []}


def _note(history: dict[str, list[float]], state: Iterate) -> None:
    history["objective"].append(state.objective)
    history["max_violation"].append(float(np.max(state.excess, initial=0.0)))
    history["sum_multipliers"].append(float(state.multipliers.sum()))


def chosen(trace: Trace, select: str, limits: Limits) -> list[Iterate]:
    """Return the iterates that make up the model: one, or those to be averaged."""
    iterates = trace.iterates
    if select == "mixture":
        half = iterates[len(iterates) // 2 :]
        places = np.linspace(0, len(half) - 1, min(MOST_KEPT, len(half)))
        return [half[round(float(k))] for k in places]
    if select == "feasible":
        worst = [limits.units.worst(i.excess) for i in iterates]
        fine = [k for k, v in enumerate(worst) if v <= limits.tol]
        if fine:
            return [iterates[min(fine, key=lambda k: iterates[k].objective)]]
        return [iterates[int(np.argmin(worst))]]
    return [iterates[-1]]


def reweighted(rows: TrainingRows, terms: Sequence[Term], multipliers: Array) -> Array:
    """Weights of the Lagrangian, relative to those of the rows."""
    extra = multipliers @ np.array([t.weights for t in terms])
    return np.asarray(1.0 + extra / rows.weight)
