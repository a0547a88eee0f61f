"""Everything about one method: ``python -m tests._check AnyLossClassifier``.

Its own tests, the common tests and the battery on every configuration, its docstring
and what must come with a public name. Further arguments go to pytest.
"""

import difflib
import inspect
import re
import sys
from pathlib import Path

import pytest

from tests._discovery import classes

HERE = Path(__file__).parent
COMMON = (
    "test_common.py",
    "test_bad_input.py",
    "test_docstrings.py",
    "test_parameters.py",
    "test_public_api.py",
)


def own_tests(name):
    """The test files of the family that speak of the class."""
    family = classes()[name].__module__.split(".")[1]
    word = re.compile(rf"\b{name}\b")
    files = sorted((HERE / family).glob("test_*.py"))
    return [file for file in files if word.search(file.read_text())]


def arguments(name):
    """What pytest is called with."""
    files = [*own_tests(name), *(HERE / file for file in COMMON)]
    files.append(Path(inspect.getfile(classes()[name])))
    return [
        *map(str, files),
        *("--estimator", name, "--doctest-modules", "-m", "not slow", "-q"),
    ]


def main(name="", *more):
    if name not in classes():
        near = difflib.get_close_matches(name, classes(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Give a public class."
        sys.exit(f"{name!r} is no public estimator. {hint}")
    sys.exit(pytest.main([*arguments(name), *more]))


if __name__ == "__main__":
    main(*sys.argv[1:])
