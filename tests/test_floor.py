"""The lower bounds we declare are the versions that `make test-floor` runs."""

import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
BOUNDS = sorted({*PROJECT["dependencies"], *EXTRAS["plot"], *EXTRAS["test"]})
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints-floor.txt").read_text().splitlines()
    if not line.startswith("#")
)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_lower_bound_is_a_version_that_was_run(bound):
    name, _, version = bound.partition(">=")
    assert Version(PINS[name]) == Version(version)


def test_the_docs_tell_the_bounds():
    page = " ".join((ROOT / "docs" / "installation.rst").read_text().split())
    python = PROJECT["requires-python"].removeprefix(">=")
    bounds = dict(bound.split(">=") for bound in PROJECT["dependencies"])
    assert f"Python {python} or later" in page
    assert f"scikit-learn {bounds['scikit-learn']} or later" in page
    table = (ROOT / "docs" / "versions.rst").read_text().lower()
    for name in ("scikit-learn", "numpy", "scipy", "cvxpy", "skorch", "torch"):
        assert f"* - {name}\n     - {PINS[name]}\n" in table
