"""Find every public estimator, so that no test needs a registry."""

import inspect
from importlib import import_module
from pkgutil import iter_modules

from sklearn.base import BaseEstimator

import skdiff
from tests._instances import QUICK


def public_names():
    """``{"family.Name": object}`` of everything the families make public."""
    names = {}
    for module in iter_modules(skdiff.__path__):
        if not module.name.startswith("_"):
            family = import_module(f"skdiff.{module.name}")
            for name in family.__all__:
                names[f"{module.name}.{name}"] = getattr(family, name)
    return names


def all_estimators():
    """Every public estimator class, in the order of its name."""
    return [
        thing
        for _, thing in sorted(public_names().items())
        if inspect.isclass(thing)
        and issubclass(thing, BaseEstimator)
        and not inspect.isabstract(thing)
    ]


def quick_instances():
    """An instance for each configuration of the common tests."""
    return [
        cls(**arguments)
        for cls in all_estimators()
        for arguments in QUICK.get(cls.__name__, [{}])
    ]


def default_instance(cls):
    """An instance of the defaults, with quick values for what has none."""
    quick = QUICK.get(cls.__name__, [{}])[0]
    required = {
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty
    }
    return cls(**{name: value for name, value in quick.items() if name in required})
