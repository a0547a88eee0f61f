import contextlib
import signal
from threading import Thread

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skdiff._base import progress as module
from skdiff._base.compat import CallbackSupportMixin, fit_context
from skdiff._base.progress import Patience, Progress, watch


class Halver(CallbackSupportMixin, BaseEstimator):
    """Halves a number, once per iteration, in two stages."""

    _parameter_constraints: dict = {}

    def __init__(self, max_iter=5, tol=0.0, time_limit=None, verbose=0, hurt=None):
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit
        self.verbose = verbose
        self.hurt = hurt

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        value, losses, patience = 1.0, [], Patience(1, self.tol)
        with watch(
            self, X, y, max_iter=2 * self.max_iter, attributes=lambda v: {"value_": v}
        ) as progress:
            for _ in range(2):
                with progress.interruptible(lambda: bool(losses)):
                    for _ in progress.iterations(self.max_iter):
                        if self.hurt is not None and len(losses) in self.hurt:
                            self.hurt = self.hurt - {len(losses)}
                            raise KeyboardInterrupt
                        value /= 2
                        losses.append(value)
                        if progress.step(loss=value, score=-value, state=value):
                            break
                        if patience.is_over(value):
                            break
        self.value_, self.n_iter_ = value, len(losses)
        self.stopped_ = progress.reason("converged" if patience.over else "max_iter")
        return self


def test_stages_run_to_their_limits():
    model = Halver().fit([[0.0]])
    assert model.n_iter_ == 10 and model.stopped_ == "max_iter"
    assert model.value_ == 2.0**-10


def test_patience_tells_convergence():
    model = Halver(tol=0.05, max_iter=50).fit([[0.0]])
    assert model.stopped_ == "converged" and model.n_iter_ < 10
    strict = Patience(2, 0.1, relative=True)
    assert [strict.is_over(loss) for loss in (1.0, 0.95, 0.8, 0.79, 0.78)] == [
        False, False, False, False, True,
    ]  # fmt: skip
    assert strict.lowest == 0.78
    assert Patience(1, 0.0).is_over(np.nan)


def test_time_limit_ends_all_stages(monkeypatch):
    now = iter(np.arange(100.0))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    model = Halver(max_iter=40, time_limit=3.5).fit([[0.0]])
    assert model.stopped_ == "time" and model.n_iter_ == 4


def test_verbose_prints_one_line_per_iteration(capsys):
    Halver(max_iter=1, verbose=1).fit([[0.0]])
    assert capsys.readouterr().out.splitlines() == [
        "Iteration 1, loss = 0.50000000, validation score = -0.500000",
        "Iteration 2, loss = 0.25000000, validation score = -0.250000",
    ]


def test_first_interrupt_keeps_what_there_is():
    model = Halver(hurt={3})
    with pytest.warns(UserWarning, match="interrupted; its best state is kept"):
        model.fit([[0.0]])
    assert model.n_iter_ == 3 and model.stopped_ == "interrupted"


def test_interrupt_goes_through_where_nothing_is_there_to_keep():
    model = Halver(hurt={0})
    with pytest.raises(KeyboardInterrupt):
        model.fit([[0.0]])
    assert not hasattr(model, "value_")


def test_second_interrupt_goes_through():
    progress = Progress()
    with pytest.warns(UserWarning), progress.interruptible(lambda: True):
        raise KeyboardInterrupt
    assert progress.is_over() and list(progress.iterations(3)) == []
    with pytest.raises(KeyboardInterrupt), progress.interruptible(lambda: True):
        raise KeyboardInterrupt


def test_listening_notices_what_an_inner_loop_catches():
    progress = Progress(kept="all of it is kept")
    before = signal.getsignal(signal.SIGINT)
    with progress.listening():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert progress.ended is None
        with pytest.warns(UserWarning, match="all of it is kept"):
            assert progress.is_over()
        assert progress.ended == "interrupted"
        with pytest.raises(KeyboardInterrupt), progress.interruptible(lambda: True):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    thread = Thread(target=lambda: list(_listen(progress)))
    thread.start()
    thread.join()


def _listen(progress):
    with progress.listening():
        yield


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), Progress().interruptible(lambda: True):
        raise ZeroDivisionError


def test_first_reason_stands():
    progress = Progress()
    progress.end("callback")
    progress.end("time")
    assert progress.reason("converged") == "callback"


class Recorder:
    """A callback that keeps the values it sees and may ask to stop."""

    def __init__(self, stop_after=np.inf):
        self.stop_after, self.tasks, self.seen = stop_after, [], []

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def on_fit_task_begin(self, estimator, context, *, X):
        self.tasks.append(("begin", context.task_name))
        assert X == [[0.0]]

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.tasks.append(("end", context.task_name))
        if fitted_estimator is not None:
            self.seen.append(fitted_estimator.value_)
        return len(self.seen) >= self.stop_after

    def teardown(self, estimator, context):
        self.tasks.append("teardown")


def test_callbacks_see_iterations_and_may_end_the_fit():
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")
    watched, stopping = Recorder(), Recorder(stop_after=2)
    assert Halver(max_iter=2).set_callbacks(watched).fit([[0.0]]).n_iter_ == 4
    assert watched.seen == [0.5, 0.25, 0.125, 0.0625]
    step = [("begin", "iteration"), ("end", "iteration")]
    assert watched.tasks == [
        "setup", ("begin", "fit"), *(4 * step), ("end", "fit"), "teardown",
    ]  # fmt: skip
    model = Halver().set_callbacks(stopping).fit([[0.0]])
    assert model.stopped_ == "callback" and model.n_iter_ == 2
    assert ("end", "fit") in stopping.tasks
