"""The plan of the house: what may import what, and how large anything may grow."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from statistics import median

import skdiff

ROOT = Path(skdiff.__file__).parent
GROUND = {"_base", "metrics", "datasets"}
ENGINES = {"_nn", "_convex", "_privacy"}
NEVER_AT_THE_TOP = {"cvxpy", "matplotlib", "pandas"}
#: the one import of a family by another: the search still offers the weighted models
BORROWED = {("model_selection", "skdiff.linear_model")}
LONGEST_FILE, MEDIAN_FILE = 600, 220
MOST_FILES, LARGEST_FOLDER = 25, 0.15
MOST_ARGUMENTS = 8
MEDIAN_FUNCTION, LONG_FUNCTION = 8, 25  # lines without the docstring

FILES = sorted(ROOT.rglob("*.py"))


@cache
def tree(path):
    return ast.parse(path.read_text())


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def room(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def floor(room):
    if room in GROUND:
        return 0
    if room in ENGINES:
        return 1
    return 3 if room == "__init__" else 2


def imports(nodes):
    """``(module, names)`` of every import statement among the nodes."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module, tuple(alias.name for alias in node.names)


def top_level(node):
    """Nodes that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from top_level(child)


def functions(path):
    return [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef)]


# --- imports ------------------------------------------------------------------------


def test_imports_run_downward():
    wrong = []
    for path in FILES:
        here = room(path)
        for module, _ in imports(ast.walk(tree(path))):
            top, *rest = module.split(".")
            if top == "skdiff" and rest and rest[0] != here:
                there = floor(rest[0])
                if not (there < floor(here) or there == floor(here) == 0):
                    wrong.append(f"{name_of(path)} imports {module}")
    assert not wrong


def test_no_family_borrows_from_another_by_name():
    """``import_module`` with a string is an import, too."""
    found = set()
    for path in FILES:
        for node in ast.walk(tree(path)):
            called = isinstance(node, ast.Call) and ast.unparse(node.func)
            if called and called.endswith("import_module") and node.args:
                target = node.args[0]
                if isinstance(target, ast.Constant):
                    parts = target.value.split(".")
                    if parts[0] == "skdiff" and parts[1] != room(path):
                        found.add((room(path), target.value))
    above = {(a, b) for a, b in found if floor(b.split(".")[1]) >= floor(a)}
    assert above <= BORROWED


def test_imports_have_no_circle():
    """Neither among the modules of a family nor among those of the ground."""
    modules = {}
    for path in FILES:
        parts = ["skdiff", *path.relative_to(ROOT).with_suffix("").parts]
        modules[".".join(p for p in parts if p != "__init__")] = path
    edges = {}
    for name, path in modules.items():
        targets = set()
        for module, names in imports(top_level(tree(path))):
            inner = {f"{module}.{n}" for n in names} & modules.keys()
            # of a package that is on the way down to this module, only parts count
            if module in modules and not f"{name}.".startswith(f"{module}."):
                targets.add(module)
            targets |= inner
        edges[name] = targets - {name}
    state = {}

    def visit(name, way):
        if state.get(name) == "done":
            return
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        for target in sorted(edges[name]):
            visit(target, [*way, name])
        state[name] = "done"

    for name in edges:
        visit(name, [])


def test_private_names_of_scikit_learn_have_one_place():
    wrong = []
    for path in FILES:
        if path.name == "compat.py":
            continue
        for module, names in imports(ast.walk(tree(path))):
            top, *rest = module.split(".")
            private = [n for n in (*rest, *names) if n.startswith("_")]
            if top == "sklearn" and private:
                wrong.append(f"{name_of(path)}: {module} {private}")
    assert not wrong, "only _base/compat.py may import them"


def test_heavy_libraries_are_imported_where_they_are_used():
    wrong = []
    for path in FILES:
        loaded = {m.split(".")[0] for m, _ in imports(top_level(tree(path)))}
        if found := loaded & NEVER_AT_THE_TOP:
            wrong.append(f"{name_of(path)}: {sorted(found)}")
    assert not wrong


# --- one of each --------------------------------------------------------------------


def test_rows_are_read_in_one_place():
    """Dates, a missing y and unequal lengths are refused by ``_base.validation``."""
    guilty = {
        name_of(path)
        for path in FILES
        for _, names in imports(ast.walk(tree(path)))
        if "validate_data" in names and name_of(path) != "_base/validation.py"
    }
    assert not guilty


def test_types_of_arrays_have_one_definition():
    guilty = {
        name_of(path)
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.endswith("Array")
    } - {"_base/typing.py"}
    assert not guilty


# --- sizes --------------------------------------------------------------------------


def lines(path):
    return len(path.read_text().splitlines())


def test_files_are_short():
    sizes = {name_of(path): lines(path) for path in FILES}
    assert median(sizes.values()) <= MEDIAN_FILE
    long = {name for name, size in sizes.items() if size > LONGEST_FILE}
    assert not long


def test_no_folder_outgrows_the_house():
    count, size = Counter(), Counter()
    for path in FILES:
        count[path.parent] += 1
        size[path.parent] += lines(path)
    assert max(count.values()) <= MOST_FILES
    largest, total = size.most_common(1)[0][1], size.total()
    assert largest <= LARGEST_FOLDER * total, size.most_common(3)


def test_functions_are_short():
    lengths = []
    for path in FILES:
        for function in functions(path):
            length = function.end_lineno - function.lineno + 1
            if ast.get_docstring(function) is not None:
                text = function.body[0]
                length -= text.end_lineno - text.lineno + 1
            lengths.append(length)
    lengths.sort()
    assert median(lengths) <= MEDIAN_FUNCTION
    assert lengths[int(0.9 * len(lengths))] <= LONG_FUNCTION


def test_private_functions_take_few_arguments():
    """Beyond eight, a dataclass named for what it is; public ones follow the method."""
    public = set(skdiff.__all__)
    for family in skdiff._FAMILIES:
        public |= set(getattr(skdiff, family).__all__)
    guilty = set()
    for path in FILES:
        methods = {
            id(f)
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
            for f in node.body
            if isinstance(f, ast.FunctionDef) and not f.name.startswith("_")
        }
        for function in functions(path):
            if id(function) in methods or function.name in {*public, "__init__"}:
                continue
            a = function.args
            named = [*a.posonlyargs, *a.args, *a.kwonlyargs]
            named = [n for n in named if n.arg not in ("self", "cls")]
            if len(named) + bool(a.vararg) + bool(a.kwarg) > MOST_ARGUMENTS:
                guilty.add(f"{name_of(path)}:{function.name}")
    assert not guilty
