"""A shared parameter has one type, default, constraint and text in all classes."""

import inspect
import re

import pytest
from sklearn.utils._param_validation import make_constraint

from skdiff._base.parameters import VARIES, Parameter, shared_parameters
from tests._discovery import all_estimators

CASES = [
    pytest.param(cls, name, parameter, id=f"{cls.__name__}-{name}")
    for cls in all_estimators()
    for name, parameter in shared_parameters(cls).items()
    if name in inspect.signature(cls).parameters
]
REFERENCE = re.compile(r"As in :class:`~?[\w.]+`\.")


def entries(cls):
    """``{name: (type, description)}`` of the section *Parameters*."""
    found, current, inside = {}, (), False
    lines = inspect.getdoc(cls).splitlines()
    for line, under in zip(lines, [*lines[1:], ""], strict=True):
        if len(under) >= 3 and set(under) == {"-"}:
            inside, current = line.strip() == "Parameters", ()
        elif inside and line and not line[0].isspace() and set(line) != {"-"}:
            names, _, kind = line.partition(" : ")
            current = names.split(", ")
            found |= dict.fromkeys(current, (kind, ""))
        elif inside and line.strip():
            for name in current:
                kind, text = found[name]
                found[name] = kind, f"{text} {line.strip()}".strip()
    return found


def readable(constraint):
    return sorted(str(make_constraint(kind)) for kind in constraint)


@pytest.mark.parametrize(("cls", "name", "parameter"), CASES)
def test_a_shared_parameter_is_described_alike(cls, name, parameter):
    kind, text = entries(cls)[name]
    if REFERENCE.fullmatch(text):
        return
    assert text == parameter.text or text.startswith(parameter.text + " ")
    if parameter.type is not VARIES:
        assert kind.removesuffix(", optional").rpartition(", default=")[0] == (
            parameter.type
        )


@pytest.mark.parametrize(("cls", "name", "parameter"), CASES)
def test_a_shared_parameter_has_the_shared_default(cls, name, parameter):
    if parameter.default is not VARIES:
        assert inspect.signature(cls).parameters[name].default == parameter.default


@pytest.mark.parametrize(("cls", "name", "parameter"), CASES)
def test_a_shared_parameter_has_the_shared_constraint(cls, name, parameter):
    if parameter.constraint is not VARIES:
        assert readable(cls._parameter_constraints[name]) == readable(
            parameter.constraint
        )


@pytest.mark.parametrize("cls", all_estimators(), ids=lambda c: c.__name__)
def test_a_parameter_of_another_meaning_is_declared_with_its_reason(cls):
    for base in cls.__mro__:
        own = vars(base).get("_own_parameters", {})
        for name, reason in own.items():
            assert len(reason.split()) > 2, f"{name} needs a reason"
            assert any(name in _groups(c) for c in cls.__mro__), f"{name} is not shared"


def _groups(cls):
    from skdiff._base.parameters import EVERYWHERE

    return {**EVERYWHERE, **vars(cls).get("_shared_parameters", {})}


def test_groups_add_up_along_the_bases_and_exceptions_are_left_out():
    class Base:
        _shared_parameters = {"alpha": Parameter("Penalty.")}

    class Child(Base):
        _own_parameters = {"tol": "measured in units of its own"}

    shared = shared_parameters(Child)
    assert shared["alpha"].text == "Penalty."
    assert "tol" not in shared and "max_iter" in shared
