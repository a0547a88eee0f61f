"""Find every public estimator, so that no test needs a registry."""

import inspect
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from sklearn.base import BaseEstimator

import skdiff
from tests._instances import ADAPTED, QUICK

#: what the command line asks for: one class only, and every configuration or the first
SELECTED = {"estimator": None, "every": True}


@cache
def public_names():
    """``{"family.Name": object}`` of everything the families make public."""
    names = {}
    for module in iter_modules(skdiff.__path__):
        if not module.name.startswith("_"):
            family = import_module(f"skdiff.{module.name}")
            for name in family.__all__:
                names[f"{module.name}.{name}"] = getattr(family, name)
    return names


@cache
def classes():
    """``{name: class}`` of every public estimator, in the order of family and name."""
    found = {}
    for _, thing in sorted(public_names().items()):
        if (
            inspect.isclass(thing)
            and issubclass(thing, BaseEstimator)
            and not inspect.isabstract(thing)
        ):
            found[thing.__name__] = thing
    return found


def all_estimators():
    """Every public estimator class the command line asks for."""
    asked = SELECTED["estimator"]
    return [cls for name, cls in classes().items() if asked in (None, name)]


def asked_names():
    """The public names the command line asks for."""
    asked = SELECTED["estimator"]
    return [n for n in sorted(public_names()) if asked in (None, n.split(".")[-1])]


def quick_labels():
    """A label for each configuration of the common tests: ``Name`` or ``Name-1``."""
    labels = []
    for cls in all_estimators():
        name = cls.__name__
        count = len(QUICK.get(name, [{}])) if SELECTED["every"] else 1
        labels += [f"{name}-{k}" if k else name for k in range(count)]
    return labels


def instance(label):
    """A new estimator for a label of :func:`quick_labels`."""
    name, _, k = label.partition("-")
    cls = ADAPTED.get(name, classes()[name])
    return cls(**QUICK.get(name, [{}])[int(k or 0)])


def quick_instances():
    """An instance for each label."""
    return [instance(label) for label in quick_labels()]


def default_instance(cls):
    """An instance of the defaults, with quick values for what has none."""
    quick = QUICK.get(cls.__name__, [{}])[0]
    required = {
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty
    }
    cls = ADAPTED.get(cls.__name__, cls)
    return cls(**{name: value for name, value in quick.items() if name in required})
