"""How the time of a fit is shared by its stages, and what it ends with."""

import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from skdiff._base.progress import Progress


def guarded(stages: Iterable[Any], guard: Progress) -> Iterator[Any]:
    """Yield the stages of a fit, each with its part of the time that is left.

    One that is out of time doesn't end those that follow.
    """
    stages, whole, cut = list(stages), guard.deadline, False
    for k, stage in enumerate(stages):
        if whole is not None:
            now = time.monotonic()
            guard.deadline = now + (whole - now) / (len(stages) - k)
        yield stage
        if guard.ended == "time":
            cut, guard.ended = True, None
    guard.deadline = whole
    if cut:
        guard.end("time")


def ended(model: Any, guard: Progress) -> str:
    """Why the fit ended, with a warning where its time was over."""
    if guard.ended == "time":
        warnings.warn(
            f"Time limit ({model.time_limit} s) reached and the training of "
            f"{type(model).__name__} ended early. Increase time_limit.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return guard.reason("converged")
