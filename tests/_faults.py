"""What may happen around a fit: interrupts, limits, switches of others, odd frames.

Each function takes a :class:`tests._battery.Battery` and judges cases by it.
"""

import signal
import time
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import get_tags

from tests._common import synthesizes

METHODS = ("predict", "predict_proba", "decision_function", "transform")


def all_answers(model, X):
    if synthesizes(model):
        return {"sample": np.asarray(model.sample(random_state=0))}
    return {m: np.asarray(getattr(model, m)(X)) for m in METHODS if hasattr(model, m)}


def alike(first, second, rtol=0.0):
    """Compare what two models say; None when they agree."""
    assert first.keys() == second.keys()
    for method, a in first.items():
        b = second[method]
        if a.dtype.kind in "fiub" and rtol:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=method)
        else:
            np.testing.assert_array_equal(a, b, err_msg=method)


# --- frames -------------------------------------------------------------------------


def odd_frames(X, y, classifier):
    """``{name: (X, y)}``: the base table in frames of every kind."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    cases = {
        "nullable Float64": (frame.convert_dtypes(dtype_backend="numpy_nullable"), y),
        "columns of two precisions": (frame.astype({"a": "float64"}), y),
        "duplicate index": (frame.set_index(np.zeros(len(X), int)), pd.Series(y)),
    }
    if classifier:
        cases["y nullable Int64"] = (frame, pd.Series(y, dtype="Int64"))
        cases["y nullable boolean"] = (frame, pd.Series(y == 1, dtype="boolean"))
        levels = pd.Categorical(y, categories=[1, 0, 7])  # one is unused
        cases["y category with an unused level"] = (frame, pd.Series(levels))
    else:
        cases["y nullable Float64"] = (frame, pd.Series(y, dtype="Float64"))
    if find_spec("polars"):
        polars = import_module("polars")
        table = polars.DataFrame({c: X[:, j] for j, c in enumerate("abcd")})
        cases["polars"] = (table, y)
        cases["polars with y"] = (table, polars.Series("y", y))
    return cases


def frames(battery):
    X, y = battery.X, battery.y
    expected = all_answers(battery.fit(X, y), X)

    def same(frame, target):
        found = all_answers(battery.fit(frame, target), frame)
        if "predict" in found and found["predict"].dtype.kind in "bO":
            found["predict"] = found["predict"].astype(expected["predict"].dtype)
        alike(found, expected, rtol=1e-5)

    for case, (frame, target) in odd_frames(X, y, battery.classifier).items():
        battery.judge(f"frame: {case}", lambda f=frame, t=target: same(f, t))


# --- targets ------------------------------------------------------------------------


def constant_targets(battery):
    """Every regressor answers a constant exactly."""
    parameters = battery.estimator.get_params(deep=False)
    if not is_regressor(battery.estimator) or parameters.get("fit_intercept") is False:
        return

    def answers(value, X):
        y = np.full(len(X), value)
        try:
            model = battery.fit(X, y)
        except ValueError as error:
            # of the models near an optimum of zero there is one only
            return None if "tolerance" in str(error) else f"raised {error}"
        off = np.abs(np.asarray(model.predict(X)) - value).max()
        if off <= 1e-9 * max(1.0, abs(value)):
            return None
        inner = getattr(battery.estimator, "estimator", None)
        if inner is not None:  # what it wraps may itself not find the constant
            own = clone(inner).fit(X, y)
            if np.abs(own.predict(X) - value).max() > 1e-9 * max(1.0, abs(value)):
                return None
        return f"is {off:.3g} away"

    for value in (100.0, -3e-5, 1e6):
        battery.judge(f"constant y = {value:g}", lambda v=value: answers(v, battery.X))


# --- the same question twice, and in company ----------------------------------------


def repeated_calls(battery):
    """Nothing is drawn and nothing is learned when a fitted model is asked."""
    X = battery.X
    # unseeded on purpose: what is drawn, is drawn in fit
    model = clone(battery.estimator).fit(X, battery.y)
    first = all_answers(model, X)
    battery.judge("asked twice", lambda: alike(first, all_answers(model, X)))
    if get_tags(battery.estimator).non_deterministic:
        return  # answers belong to a batch, and say so

    def in_company(rows):
        found = all_answers(model, rows)
        alike(
            {m: a[:5] for m, a in found.items()},
            {m: a[:5] for m, a in first.items()},
            rtol=1e-7,
        )

    company = {
        "alone": X[:5],
        "among far rows": np.r_[X[:5], 1e3 * X[5:20]],
        "among copies": np.r_[X[:5], np.repeat(X[:1], 50, axis=0)],
    }
    for case, rows in company.items():
        battery.judge(f"rows asked {case}", lambda rows=rows: in_company(rows))


# --- switches that belong to others -------------------------------------------------


def torch_switches(battery):
    """A fit inside ``no_grad`` or ``inference_mode`` is the same fit."""
    torch = import_module("torch")
    X, y = battery.X, battery.y
    expected = all_answers(battery.fit(X, y), X)

    def inside(switch):
        with switch():
            model = battery.fit(X, y)
            found = all_answers(model, X)
        alike(found, expected)
        alike(all_answers(model, X), expected)

    for switch in (torch.no_grad, torch.inference_mode):
        battery.judge(f"inside {switch.__name__}", lambda s=switch: inside(s))


def devices(battery):
    """A device that is not there is refused by the name of the parameter."""
    if "device" not in battery.estimator.get_params(deep=False):
        return
    torch = import_module("torch")
    X, y = battery.X, battery.y
    expected = all_answers(battery.fit(X, y), X)

    def refused_or_unused(device):
        model = battery.fresh().set_params(device=device)
        try:
            model.fit(X, y)
        except ValueError as error:
            return None if "device" in str(error) else f"raised {error}"
        # k-means without a network, for instance, runs on no device
        return alike(all_answers(model, X), expected)

    absent = ["nonsense", "cuda:99"] + ["cuda"] * (not torch.cuda.is_available())
    for device in absent:
        battery.judge(f"device={device!r}", lambda d=device: refused_or_unused(d))


# --- limits and interrupts ----------------------------------------------------------


def time_limits(battery):
    """A fit out of time warns, keeps the best state, and says why it ended."""
    parameters = battery.estimator.get_params(deep=False)
    if "time_limit" not in parameters:
        return

    def limited():
        model = battery.fresh().set_params(time_limit=1e-9)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                model.fit(battery.X, battery.y)
            except ValueError as error:
                return None if "time_limit" in str(error) else f"raised {error}"
        battery.finite_answers(model, battery.X)
        stopped = getattr(model, "stopped_", None)
        if stopped not in ("time", "converged"):
            return f"stopped_ is {stopped!r}"
        told = any(issubclass(w.category, ConvergenceWarning) for w in seen)
        return None if told or stopped == "converged" else "ended without a warning"

    battery.judge("time_limit", limited)


@contextmanager
def interrupt_after(seconds):
    """Raise KeyboardInterrupt once, as Ctrl-C does, unless the block ends before.

    Yields a list that is no longer empty once it has been raised.
    """
    raised = []

    def raise_it(*_):
        raised.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, raise_it)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield raised
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupts(battery, moments=(0.15, 0.5, 0.85)):
    """After Ctrl-C a model is unfitted or usable, and a new fit is a fresh one."""
    X, y = battery.X, battery.y
    start = time.monotonic()
    expected = all_answers(battery.fit(X, y), X)
    whole = time.monotonic() - start

    def interrupted(after):
        model, raised = battery.fresh(), []
        try:
            with interrupt_after(max(after * whole, 1e-4)) as raised:
                model.fit(X, y)
        except (KeyboardInterrupt, Exception):
            # compiled code of others may report an interrupt as an error of its own
            if not raised:
                raise
            for method in METHODS:
                if hasattr(type(model), method):
                    try:
                        getattr(model, method)(X)
                    except (NotFittedError, AttributeError):
                        continue
                    break  # usable: the best state is there
        else:
            battery.finite_answers(model, X)
        alike(all_answers(model.fit(X, y), X), expected)

    for moment in moments:
        battery.judge(f"interrupted at {moment:.0%}", lambda m=moment: interrupted(m))


# --- files --------------------------------------------------------------------------


def damaged_files(battery, folder, mutations=30):
    """A damaged file is refused, or says what the good one said."""
    X = battery.X
    model = battery.fit(X, battery.y)
    expected = all_answers(model, X)
    path = f"{folder}/model.npz"
    model.save(path)
    with open(path, "rb") as file:
        good = file.read()
    rng = np.random.default_rng(0)

    def damaged():
        refused = 0
        for _ in range(mutations):
            data = bytearray(good)
            at = int(rng.integers(len(data)))
            data[at] ^= 1 << int(rng.integers(8))
            with open(path, "wb") as file:
                file.write(data[: at if rng.uniform() < 0.2 else None])
            try:
                again = type(model).load(path)
            except ValueError:
                refused += 1
            else:
                alike(all_answers(again, X), expected)
        return None if refused else "not one of the damaged files was refused"

    battery.judge("damaged files", damaged)


def run(battery, folder):
    frames(battery)
    constant_targets(battery)
    repeated_calls(battery)
    torch_switches(battery)
    devices(battery)
    time_limits(battery)
    interrupts(battery)
    damaged_files(battery, folder)
