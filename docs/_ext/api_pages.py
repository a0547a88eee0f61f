"""Pages of the API reference, one per family, from each family's ``__all__``."""

import inspect
import re
from importlib import import_module
from pathlib import Path

from sklearn.base import BaseEstimator

import skdiff
from skdiff._base.compat import CallbackSupportMixin

DOCS = Path(__file__).parents[1]
KINDS = ("Estimators", "Displays", "Functions", "Other classes")


def kind_of(name, thing):
    """The heading under which a public name stands."""
    if name.endswith("Display"):
        return "Displays"
    if inspect.isfunction(thing):
        return "Functions"
    return "Estimators" if issubclass(thing, BaseEstimator) else "Other classes"


def family_page(family):
    """The page of a family: its names by kind, each on a page under its short name."""
    module = import_module(f"skdiff.{family}")
    title = f"skdiff.{family}"
    names = {kind: [] for kind in KINDS}
    for name in module.__all__:
        names[kind_of(name, getattr(module, name))].append(name)
    lines = [title, "=" * len(title), "", inspect.getdoc(module), ""]
    guide = DOCS / "user_guide" / family / "index.rst"
    if guide.exists():
        lines += [f"User guide: :doc:`/user_guide/{family}/index`.", ""]
    lines += [f".. currentmodule:: {title}", ""]
    for kind, members in names.items():
        if members:
            lines += [kind, "-" * len(kind), "", ".. autosummary::"]
            lines += ["   :toctree: generated", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in members] + [""]
    return "\n".join(lines)


FILES = """\
skdiff
======

Saving and loading without pickle. Every estimator also has both as methods.

.. currentmodule:: skdiff

.. autosummary::
   :toctree: generated
   :nosignatures:

   save
   load
"""


def progress_table():
    """What each estimator's ``verbose``, limits and callbacks are, from signatures."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    head = ("estimator", "verbose", "limits", "callbacks")
    rows = [head]
    for family in skdiff._FAMILIES:
        module = import_module(f"skdiff.{family}")
        for name in module.__all__:
            thing = getattr(module, name)
            if not (inspect.isclass(thing) and issubclass(thing, BaseEstimator)):
                continue
            parameters = inspect.signature(thing).parameters
            limits = [
                f"``{p}``" for p in parameters if p.endswith(("_iter", "time_limit"))
            ]
            rows.append(
                (
                    f":class:`~skdiff.{family}.{name}`",
                    "yes" if "verbose" in parameters else "",
                    ", ".join(limits),
                    "yes" if issubclass(thing, CallbackSupportMixin) else "",
                )
            )
    for row in rows:
        lines += [f"   * - {row[0]}", *(f"     - {cell}".rstrip() for cell in row[1:])]
    return "\n".join(lines) + "\n"


def write_pages():
    """Write the index and the page of each family."""
    folder = DOCS / "api"
    folder.mkdir(exist_ok=True)
    write(folder / "progress.inc", progress_table())
    lines = ["API reference", "=============", ""]
    lines += [
        "What is public, by family. ``from skdiff.<family> import <name>`` is",
        "",
    ]
    lines[-2] += " the one way in."
    lines += [".. list-table::", "   :header-rows: 1", "   :widths: 30 70", ""]
    lines += ["   * - module", "     - what it holds"]
    for family in skdiff._FAMILIES:
        summary = inspect.getdoc(import_module(f"skdiff.{family}")).splitlines()[0]
        lines += [f"   * - :doc:`skdiff.{family} <{family}>`", f"     - {summary}"]
        write(folder / f"{family}.rst", family_page(family))
    lines += ["   * - :doc:`skdiff <files>`", "     - Files without pickle.", ""]
    lines += [".. toctree::", "   :hidden:", ""]
    lines += [f"   {family}" for family in skdiff._FAMILIES] + ["   files", ""]
    write(folder / "files.rst", FILES)
    write(folder / "index.rst", "\n".join(lines))


def write(path, text):
    """Write a file where it has changed, so that a second build is short."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def guide_of_names():
    """The guide page that introduces each public name, as ``{full name: page}``."""
    pages = {}
    for path in sorted((DOCS / "user_guide").glob("*/*.rst")):
        text = path.read_text()
        module = re.search(r"currentmodule:: (\S+)", text)
        for match in re.finditer(r":(?:class|func):`~?([\w.]+)", text):
            name = match[1] if "." in match[1] else f"{module and module[1]}.{match[1]}"
            place = (path.name == "index.rst", match.start())
            page = f"/user_guide/{path.parent.name}/{path.stem}"
            same_family = name.split(".")[1:2] == [path.parent.name]
            if same_family and (name not in pages or place < pages[name][0]):
                pages[name] = (place, page)
    return {name: page for name, (_, page) in pages.items()}


def setup(app):
    """Write the pages before Sphinx reads them, and tell templates the guide."""
    write_pages()
    # by name: a page that is new since the last build is not yet known to Sphinx
    pages = [str(path) for path in sorted((DOCS / "api").glob("*.rst"))]
    app.config.autosummary_generate = pages
    app.config.autosummary_context["guide"] = guide_of_names()
    return {"parallel_read_safe": True, "parallel_write_safe": True}
