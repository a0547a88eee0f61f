"""Differentiable and convex machine learning for tables, as scikit-learn estimators.

Methods live in families named after scikit-learn's own modules, one way in each::

    from skdiff.neural_network import AnyLossClassifier
    from skdiff.multiplicity import RashomonClassifier

Importing :mod:`skdiff` loads none of torch, skorch, cvxpy, matplotlib or pandas; each
is loaded by the first call that needs it.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

__version__ = "0.1.0.dev0"

_FUNCTIONS = {"load": "skdiff._base.persistence", "save": "skdiff._base.persistence"}
_FAMILIES = sorted(m.name for m in iter_modules(__path__) if not m.name.startswith("_"))

__all__ = [*_FAMILIES, "load", "save"]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    if name in _FAMILIES:
        return import_module(f"skdiff.{name}")
    raise AttributeError(f"module 'skdiff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
