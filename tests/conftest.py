"""What every test relies on: no screen, and no traces left behind."""

import os
import sys
import warnings

import hypothesis
import joblib
import numpy as np
import pytest

from tests._child import Child, ChildBackend
from tests._discovery import SELECTED, instance

os.environ.setdefault("MPLBACKEND", "Agg")
# a busy machine is slow now and then; no test is timed
hypothesis.settings.register_profile("untimed", deadline=None, derandomize=True)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser):
    group = parser.getgroup("skdiff")
    group.addoption("--estimator", help="run the common tests on one class only")
    group.addoption(
        "--one-instance",
        action="store_true",
        help="run the common tests on the first configuration of each class only",
    )


def pytest_configure(config):
    # before any module is collected, as the parameters of tests depend on it
    SELECTED["estimator"] = config.getoption("--estimator")
    SELECTED["every"] = not config.getoption("--one-instance")


@pytest.fixture
def estimator(request):
    """The estimator of a label; see ``tests._common.every_instance``."""
    return instance(request.param)


@pytest.fixture(scope="session", autouse=True)
def child():
    """The process that serves the batteries and what needs another process.

    It also runs what ``n_jobs`` sends to other processes: each of joblib's own would
    import everything once more. A test that wants a pool asks for ``"loky"``.
    """
    child = Child()
    backend = type("Backend", (ChildBackend,), {"child": child})
    joblib.register_parallel_backend("child", backend, make_default=True)
    yield child
    joblib.register_parallel_backend("loky", joblib.parallel.BACKENDS["loky"], True)
    child.stop()


def global_state():
    """State that no fit may change; torch's only once somebody imported torch."""
    state = {
        "numpy generator": np.random.get_state()[1].tobytes(),
        "numpy errors": tuple(sorted(np.geterr().items())),
        "directory": os.getcwd(),
        "warning filters": len(warnings.filters),
    }
    if torch := sys.modules.get("torch"):
        state |= {
            "torch generator": torch.get_rng_state().numpy().tobytes(),
            "torch threads": torch.get_num_threads(),
            "torch dtype": torch.get_default_dtype(),
            "torch gradients": torch.is_grad_enabled(),
            "torch determinism": torch.are_deterministic_algorithms_enabled(),
        }
    return state


@pytest.fixture
def untouched(request):
    """Fail a test that leaves global state changed."""
    before, had = global_state(), set(sys.modules)
    yield
    after = global_state()
    changed = [name for name in before if before[name] != after[name]]
    if {"skorch", "torch._dynamo"} & set(
        sys.modules
    ) - had and "warning filters" in changed:
        changed.remove("warning filters")  # imports add them
    # some of scikit-learn's checks leave random_state at None, which by its contract
    # draws from numpy's global generator
    if "check" in request.node.name and "numpy generator" in changed:
        changed.remove("numpy generator")
    assert not changed, f"changed by the test: {changed}"


def pytest_collection_modifyitems(items):
    # scikit-learn's checks on one estimator share nothing; spread the slow ones evenly
    items.sort(key=lambda item: "slow" in item.keywords)
