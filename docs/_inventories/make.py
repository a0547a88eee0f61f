"""Write the inventories by which pages link to other projects' documentation.

The build reads these files and needs no network. Each lists the public names of the
version that is installed, at the addresses by which that project publishes its pages.
Run ``python docs/_inventories/make.py`` when a dependency adds a name that a page
refers to.
"""

import inspect
import zlib
from importlib import import_module
from pathlib import Path

import numpy
import pandas
import scipy
import sklearn
import skorch
import torch
from sklearn.utils.discovery import all_displays, all_estimators, all_functions

HERE = Path(__file__).parent
SCIPY = ("linalg", "optimize", "sparse", "special", "stats")
TORCH = ("nn", "optim")
SKORCH = ("net", "classifier", "regressor", "callbacks", "dataset")


def role(thing):
    """The kind of object, in Sphinx's words."""
    return "py:class" if inspect.isclass(thing) else "py:function"


def members(name, address, thing):
    """A name, and the methods of a class, at one page."""
    yield name, role(thing), address
    if inspect.isclass(thing):
        for member, _ in inspect.getmembers(thing, callable):
            if not member.startswith("_"):
                full = f"{name}.{member}"
                yield full, "py:method", f"{address.split('#')[0]}#{full}"


def page(name, folder, thing):
    """The entries of a name with a generated page."""
    return members(name, f"{folder}/{name}.html#{name}", thing)


def public(module):
    """The public names of a module that are its own."""
    names = getattr(module, "__all__", None) or dir(module)
    for name in names:
        thing = getattr(module, name, None)
        if not name.startswith("_") and callable(thing):
            yield f"{module.__name__}.{name}", thing


def of_sklearn():
    """scikit-learn: one page per public estimator, display and function."""
    found = [*all_estimators(), *all_displays(), *all_functions()]
    for name, thing in found:
        home = thing.__module__.split("._")[0]
        for module in (home, home.rsplit(".", 1)[0]):
            if hasattr(import_module(module), name):
                yield from page(f"{module}.{name}", "modules/generated", thing)
                break
    frozen = "sklearn.frozen.FrozenEstimator"
    yield frozen, "py:class", f"modules/generated/{frozen}.html#{frozen}"
    for section in ("calibration", "grid_search", "model_persistence"):
        yield section, "std:doc", f"modules/{section}.html"


def of_numpy():
    """NumPy: functions and arrays, and its random generators."""
    for name, thing in public(numpy):
        yield from page(name, "reference/generated", thing)
    for name in ("Generator", "RandomState", "SeedSequence"):
        address = "legacy" if name == "RandomState" else "generator"
        full = f"numpy.random.{name}"
        yield full, "py:class", f"reference/random/{address}.html#{full}"


def of_scipy():
    """SciPy: the modules that pages refer to."""
    for part in SCIPY:
        for name, thing in public(import_module(f"scipy.{part}")):
            yield from page(name, "reference/generated", thing)


def of_pandas():
    """Pandas: tables, columns and top-level functions."""
    for name, thing in public(pandas):
        yield name, role(thing), f"reference/api/{name}.html#{name}"


def of_torch():
    """Torch: modules, optimisers and the classes of the top level."""
    for part in TORCH:
        for name, thing in public(import_module(f"torch.{part}")):
            yield name, role(thing), f"generated/{name}.html#{name}"
    yield "torch.Tensor", "py:class", "tensors.html#torch.Tensor"
    name = "torch.Generator"
    yield name, "py:class", f"generated/{name}.html#{name}"


def of_skorch():
    """Skorch: one page per module, names at the top level as well."""
    for part in SKORCH:
        module = import_module(f"skorch.{part}")
        for name, thing in public(module):
            full = f"{module.__name__}.{name.rsplit('.', 1)[-1]}"
            yield full, role(thing), f"{part}.html#{full}"
    for name in ("NeuralNet", "NeuralNetClassifier", "NeuralNetRegressor"):
        home = getattr(skorch, name).__module__
        part = home.rsplit(".", 1)[-1]
        yield f"skorch.{name}", "py:class", f"{part}.html#{home}.{name}"


def write(project, version, entries):
    """Write one inventory in the format that intersphinx reads."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: {version}\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = sorted({f"{n} {r} 1 {address} -" for n, r, address in entries})
    body = zlib.compress(("\n".join(lines) + "\n").encode(), 9)
    (HERE / f"{project}.inv").write_bytes(head.encode() + body)
    print(f"{project} {version}: {len(lines)} names")


if __name__ == "__main__":
    write("sklearn", sklearn.__version__, of_sklearn())
    write("numpy", numpy.__version__, of_numpy())
    write("scipy", scipy.__version__, of_scipy())
    write("pandas", pandas.__version__, of_pandas())
    write("torch", torch.__version__.split("+")[0], of_torch())
    write("skorch", skorch.__version__, of_skorch())
