"""Noise that can be repeated: these tests measure laws, and none may fail by chance.

The generator of the operating system itself is tested beside the samplers.
"""

import pytest

from skdiff._privacy import _release
from tests.synthetic._tables import SeededSource


@pytest.fixture(autouse=True)
def repeatable_noise(monkeypatch):
    """One source for all fits of a test, in place of the operating system's."""
    source = SeededSource(0)
    monkeypatch.setattr(_release, "SystemSource", lambda: source)
