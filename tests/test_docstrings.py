"""Docstrings say what exists: parameters, fitted attributes, sources, an example."""

import inspect
import warnings

import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import scale

from tests._discovery import (
    SELECTED,
    all_estimators,
    asked_names,
    instance,
    public_names,
    quick_labels,
)

ESTIMATORS = all_estimators()
SECTIONS = ("Parameters", "Attributes", "See Also", "Notes", "References", "Examples")


def section(docstring, title):
    """Names documented in one numpydoc section."""
    lines = inspect.cleandoc(docstring).splitlines()
    names, inside = [], False
    for line, under in zip(lines, [*lines[1:], ""], strict=True):
        if under and set(under) == {"-"} and len(under) >= 3:
            inside = line.strip() == title
        elif inside and line and not line[0].isspace() and set(line) != {"-"}:
            names += [n.strip() for n in line.split(" : ")[0].split(",")]
    return names


def fitted(estimator):
    classifier = is_classifier(estimator)
    X, y = (load_breast_cancer if classifier else load_diabetes)(
        return_X_y=True, as_frame=True
    )
    X[:] = scale(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = clone(estimator).fit(X.iloc[:120], y.iloc[:120])
        if callable(getattr(model, "select", None)):  # which leaves its answer behind
            model.select(X.iloc[120:140])
        return model


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda c: c.__name__)
def test_the_sections_are_there(cls):
    docstring = inspect.getdoc(cls)
    missing = [s for s in SECTIONS if f"\n{s}\n---" not in docstring]
    assert not missing


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda c: c.__name__)
def test_documented_parameters_are_the_constructors(cls):
    documented = section(cls.__doc__, "Parameters")
    assert documented == list(inspect.signature(cls.__init__).parameters)[1:]


@pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda c: c.__name__)
def test_documented_attributes_are_the_fitted_ones(cls):
    documented = set(section(cls.__doc__, "Attributes"))
    models = [
        fitted(instance(label))
        for label in quick_labels()
        if label.partition("-")[0] == cls.__name__
    ]
    set_by_fit = {name for model in models for name in vars(model)}
    public = {n for n in set_by_fit if n.endswith("_") and not n.startswith("_")}
    assert public <= documented, f"undocumented: {sorted(public - documented)}"
    # an attribute may depend on the configuration (`only when ...`), but must be known
    # to the class or present in one of the configurations
    if SELECTED["every"]:
        known = set_by_fit | set(dir(cls))
        assert documented <= known, f"never set: {sorted(documented - known)}"


def public_callables(name, thing):
    """The thing itself and, of a class, its public methods."""
    yield name, thing
    if inspect.isclass(thing):
        for method, function in inspect.getmembers(thing, inspect.isroutine):
            ours = getattr(function, "__module__", "") or ""
            if not method.startswith("_") and ours.startswith("skdiff."):
                yield f"{name}.{method}", function


@pytest.mark.parametrize("public", asked_names())
def test_everything_public_is_documented(public):
    for name, thing in public_callables(public, public_names()[public]):
        docstring = inspect.getdoc(thing)
        assert docstring and docstring.strip(), f"{name} has no docstring"
        first = docstring.splitlines()[0]
        assert first.endswith(".") and first[0].isupper(), f"{name}: {first}"
        if inspect.isfunction(thing):
            parameters = inspect.signature(thing).parameters
            named = [n for n in parameters if n not in ("self", "cls")]
            documented = [n.lstrip("*") for n in section(docstring, "Parameters")]
            assert documented == named, f"{name}: documented {documented}, has {named}"
