"""A reward as a function of codes, whatever form the user gave it in."""

from typing import Any

import numpy as np

from skdiff._base.typing import Array, IntArray


def as_rows(model: Any, codes: IntArray, fixed: dict[int, Any]) -> Any:
    """Rows of codes in the form of the table, medians for bins but as given there."""
    columns = model._labels(codes)
    for u, value in fixed.items():
        columns[u] = np.full(len(codes), value, dtype=columns[u].dtype)
    return model._as_table(columns)


def rewarding(reward: Any, model: Any, response: Any, fixed: dict[int, Any]) -> Any:
    """Return the function from codes to rewards; ``reward`` may be an estimator.

    ``fixed`` are the values of columns that all rows share.
    """
    score = reward if not hasattr(reward, "predict") else by_estimator(reward, response)

    def rewards(codes: IntArray) -> Array:
        found = np.asarray(score(as_rows(model, codes, fixed)), dtype=np.float64)
        if found.shape != (len(codes),):
            raise ValueError(
                "reward must return one number per row. Got an array of shape "
                f"{found.shape} for {len(codes)} rows."
            )
        if np.isnan(found).any() or (found == np.inf).any():
            raise ValueError("reward must not return NaN or plus infinity.")
        return found

    return rewards


def living(rewards: Array, rng: Any) -> IntArray:
    """Places of all rows, in which forbidden rows give way to others."""
    kept, dead = np.arange(len(rewards)), ~np.isfinite(rewards)
    if dead.all():
        raise ValueError("No row was found whose reward is not minus infinity.")
    if dead.any():
        kept[dead] = rng.choice(np.flatnonzero(~dead), size=dead.sum())
    return kept


def by_estimator(estimator: Any, response: Any) -> Any:
    """The probability of a class, or the prediction of a regressor."""
    names = getattr(estimator, "feature_names_in_", None)

    def columns(rows: Any) -> Any:
        # it may have been fitted on some columns of the table
        if names is None or not hasattr(rows, "columns"):
            return rows
        return rows[list(names)]

    if not hasattr(estimator, "predict_proba"):
        if response is not None:
            raise ValueError("response names a class, but reward has no predict_proba.")
        return lambda rows: estimator.predict(columns(rows))
    labels = list(estimator.classes_)
    if response is not None and response not in labels:
        raise ValueError(
            f"response must be one of the classes of reward, {labels}. Got "
            f"{response!r} instead."
        )
    place = -1 if response is None else labels.index(response)
    return lambda rows: estimator.predict_proba(columns(rows))[:, place]
