"""Imports run downward only, and private scikit-learn has one door."""

import ast
from pathlib import Path

import pytest

import skdiff

ROOT = Path(skdiff.__file__).parent
GROUND = {
    "_base",
    "metrics", "datasets",
}  # fmt: skip
ENGINES = {"_nn", "_convex"}
NEVER_AT_THE_TOP = {"cvxpy", "matplotlib", "pandas"}


def floor(room):
    return (
        0
        if room in GROUND
        else 1
        if room in ENGINES
        else 3
        if room == "__init__"
        else 2
    )


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module, tuple(alias.name for alias in node.names)


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward(path):
    here = path.relative_to(ROOT).with_suffix("").parts[0]
    for module, names in imports(ast.parse(path.read_text())):
        top, *rest = module.split(".")
        if top == "skdiff" and rest and rest[0] != here:
            there = floor(rest[0])
            assert there < floor(here) or there == floor(here) == 0, module
        if top == "sklearn" and path.name != "compat.py":
            private = [n for n in (*rest, *names) if n.startswith("_")]
            assert not private, f"{module} {private}: only _base/compat.py may"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_are_imported_where_they_are_used(path):
    tree = ast.parse(path.read_text())
    at_top = ast.Module(
        [n for n in tree.body if not isinstance(n, ast.FunctionDef)], []
    )
    classes = [n for n in at_top.body if isinstance(n, ast.ClassDef)]
    for node in classes:
        node.body = [n for n in node.body if not isinstance(n, ast.FunctionDef)]
    loaded = {module.split(".")[0] for module, _ in imports(at_top)}
    assert not loaded & NEVER_AT_THE_TOP


def test_one_family_resolves_names_of_another_by_name():
    # model_selection keeps three names importable whose home is linear_model; it is
    # the one exception, and imports the other family only when asked
    found = {
        (path.relative_to(ROOT).parts[0], node.args[0].value)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("import_module")
        and isinstance(node.args[0], ast.Constant)
    }
    assert found == {("model_selection", "skdiff.linear_model")}
    for name in ("WeightedElasticNet", "WeightedLogisticRegression", "WeightedRidge"):
        here = skdiff.model_selection
        assert getattr(here, name) is getattr(skdiff.linear_model, name)
        assert name not in here.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        skdiff.model_selection.nothing
