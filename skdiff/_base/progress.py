"""The loop guard of every iterative fit: limits, callbacks, progress, interrupts.

A fit makes one :class:`Progress` (by :func:`watch`) and hands it to its numeric loops,
which need no estimator for it. A loop looks like this::

    with progress.interruptible(lambda: bool(losses)):
        for _ in progress.iterations(max_iter):
            losses.append(...)
            if progress.step(loss=losses[-1]) or patience.is_over(losses[-1]):
                break
    stopped = progress.reason("converged" if patience.over else "max_iter")

and a callback of SciPy's minimisers raises ``StopIteration`` where ``step`` returns
True. Several stages of one fit share the guard, and so the deadline; once it has ended
the fit, further stages do nothing. A closed form needs no guard: an interrupt passes
through it and leaves the estimator unfitted.
"""

import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from skdiff._base.compat import has_callbacks


class Progress:
    """What may end a fit, and who hears of its iterations.

    Parameters
    ----------
    time_limit : float or None
        Seconds from now after which the fit ends.
    verbose : bool
        Print one line per iteration.
    unit : str
        What an iteration is called in that line.
    report : callable or None
        Called with the loop's state after each iteration; True ends the fit.
    close : callable or None
        Called once when the fit is complete.
    kept : str
        What the warning of an interrupted fit says is kept.

    Attributes
    ----------
    n_iter : int
        Iterations completed, over all stages.
    ended : str or None
        What has ended the fit before its own criterion: ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    """

    def __init__(
        self,
        *,
        time_limit: float | None = None,
        verbose: bool = False,
        unit: str = "Iteration",
        report: Callable[[Any], bool] | None = None,
        close: Callable[[], Any] | None = None,
        kept: str = "its best state is kept",
    ) -> None:
        self.deadline = None if time_limit is None else time.monotonic() + time_limit
        self.verbose, self.unit = verbose, unit
        self._report, self._close, self._kept = report, close, kept
        self._caught_elsewhere = False
        self.n_iter = 0
        self.ended: str | None = None

    def iterations(self, most: int) -> Iterator[int]:
        """Count the iterations of one stage until the fit has ended."""
        for k in range(most):
            if self.ended is not None:
                return
            yield k

    def step(
        self,
        *,
        loss: float | None = None,
        score: float | None = None,
        state: Any = None,
    ) -> bool:
        """Note one completed iteration; return whether the fit has to end.

        A line is printed where there is a loss or a score to print.
        """
        self.n_iter += 1
        if self.verbose and (loss, score) != (None, None):
            values = [
                f", {name} = {value:{form}}"
                for name, value, form in (
                    ("loss", loss, ".8f"),
                    ("validation score", score, ".6f"),
                )
                if value is not None
            ]
            self.write(f"{self.unit} {self.n_iter}{''.join(values)}")
        if self._report is not None and self._report(state):
            self.end("callback")
        return self.is_over()

    def is_over(self) -> bool:
        """Whether the fit has ended, or its time is over."""
        if self._caught_elsewhere:
            self._interrupt()
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.end("time")
        return self.ended is not None

    def end(self, reason: str) -> None:
        """End the fit; the first reason stands."""
        self.ended = self.ended or reason

    def reason(self, otherwise: str) -> str:
        """Why the fit stopped.

        ``otherwise`` is what the loop knows (``"converged"`` or ``"max_iter"``), where
        the guard has not ended it.
        """
        return self.ended or otherwise

    def write(self, line: str) -> None:
        """Print a line where ``verbose``."""
        if self.verbose:
            sys.stdout.write(line + "\n")

    @contextmanager
    def interruptible(self, has_state: Callable[[], bool]) -> Iterator[None]:
        """Turn the first ``KeyboardInterrupt`` into the end of the fit.

        It goes through where ``has_state`` says that there is nothing to keep, and so
        does a second one.
        """
        try:
            yield
        except KeyboardInterrupt:
            if self.ended == "interrupted" or not has_state():
                raise
            self._interrupt()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notice Ctrl-C even where an estimator inside catches the interrupt.

        Estimators that end their own training on ``KeyboardInterrupt`` would otherwise
        let a search go on. Only the main thread can listen, and only where nobody else
        handles the signal.
        """
        free = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if not free:
            yield
            return

        def note(number: int, frame: Any) -> None:
            self._caught_elsewhere = True
            signal.default_int_handler(number, frame)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self) -> None:
        self._caught_elsewhere = False
        if self.ended == "interrupted":
            return
        self.ended = "interrupted"
        warnings.warn(
            f"The fit was interrupted; {self._kept}.", UserWarning, stacklevel=3
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and self._close is not None:
            self._close()


class Patience:
    """Counts iterations since a loss last fell.

    Parameters
    ----------
    limit : int
        Iterations without a gain after which it is over.
    tol : float
        Smallest gain that counts.
    relative : bool
        Whether ``tol`` is in units of the loss.
    """

    def __init__(self, limit: int, tol: float, *, relative: bool = False) -> None:
        self.limit, self.tol, self.relative = limit, tol, relative
        self.lowest, self.stale = np.inf, 0

    def is_over(self, loss: float) -> bool:
        """Note a loss; return whether nothing has fallen for too long."""
        gain = self.tol * abs(loss) if self.relative else self.tol
        self.stale = 0 if loss < self.lowest - gain else self.stale + 1
        self.lowest = min(self.lowest, loss)
        return self.over

    @property
    def over(self) -> bool:
        """Whether nothing has fallen for too long."""
        return self.stale >= self.limit


def watch(
    estimator: Any,
    X: Any = None,
    y: Any = None,
    *,
    max_iter: int | None = None,
    metadata: dict[str, Any] | None = None,
    attributes: Callable[[Any], dict[str, Any] | None] | None = None,
    unit: str = "Iteration",
) -> Progress:
    """Return the guard of an estimator's fit; use it as a context manager.

    Parameters
    ----------
    estimator : estimator object
        Its ``time_limit`` and ``verbose`` are read where it has them, and its
        scikit-learn callbacks hear of every iteration.
    X, y : array-like
        Training data, for the callbacks.
    max_iter : int or None
        Most iterations of all stages together; None where that is not known.
    metadata : dict or None
        Further arguments of ``fit``, for the callbacks.
    attributes : callable or None
        From the state that a loop gives to :meth:`Progress.step` to fitted attributes,
        with which callbacks can predict.
    unit : str
        What an iteration is called.
    """
    report = close = None
    if has_callbacks(estimator):
        context = estimator._init_callback_context(max_subtasks=max_iter)
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y, metadata=metadata)
        data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}

        def report(state: Any) -> bool:
            task = context.subcontext(task_name=unit.lower())
            task.call_on_fit_task_begin(**data)
            fitted = None if attributes is None else lambda: attributes(state)
            return bool(
                task.call_on_fit_task_end(**data, reconstruction_attributes=fitted)
            )

        def close() -> None:
            context.call_on_fit_task_end(**data)

    return Progress(
        time_limit=getattr(estimator, "time_limit", None),
        verbose=bool(getattr(estimator, "verbose", False)),
        unit=unit,
        report=report,
        close=close,
    )
