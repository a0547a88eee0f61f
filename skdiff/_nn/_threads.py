"""How many threads a piece of work deserves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Below this many multiply-adds a batch a second thread gains nothing, and beside any
# other load on the machine it costs a factor of ten and more: threads spin on another.
SMALL = 10_000_000


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Run small work on one thread; never raise the count; always restore it."""
    before = torch.get_num_threads()
    if work >= SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
