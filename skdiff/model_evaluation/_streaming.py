"""Results of parallel tasks as they come, until the caller has enough."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from skdiff._base.compat import streaming_parallel


@contextmanager
def streamed(n_jobs: int | None, tasks: Iterable[Any]) -> Iterator[Iterable[Any]]:
    """Yield the results in order; tasks left over at the end are dropped."""
    found = streaming_parallel(n_jobs)(tasks)
    try:
        yield found
    finally:
        if hasattr(found, "close"):
            with warnings.catch_warnings():
                # joblib warns of the tasks that it drops
                warnings.simplefilter("ignore", UserWarning)
                found.close()
