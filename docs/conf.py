"""Sphinx configuration. The API reference is built from each family's ``__all__``."""

import inspect
import os
import warnings
from importlib import import_module
from pathlib import Path

import skdiff

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "skdiff"
author = "the skdiff developers"
copyright = f"2026, {author}"
version = release = skdiff.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["templates"]
exclude_patterns = ["_build", "**/README.txt", "auto_examples/**/*.ipynb"]
html_theme = "pydata_sphinx_theme"
html_title = f"skdiff {version}"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_show_sourcelink = False

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "ignore_pattern": r"quickstart\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "min_reported_time": 1e9,
    "doc_module": ("skdiff",),
    "backreferences_dir": None,
}
# sphinx-gallery registers a configuration value that Sphinx cannot pickle
suppress_warnings = ["config.cache"]
warnings.filterwarnings("ignore", category=DeprecationWarning, module="sphinx")


def write_api_index():
    """One page that lists every public name, by family."""
    lines = ["API reference", "=============", ""]
    for family in skdiff._FAMILIES:
        module = import_module(f"skdiff.{family}")
        title = f"skdiff.{family}"
        summary = inspect.getdoc(module).splitlines()[0]
        lines += [title, "-" * len(title), "", summary, ""]
        lines += [f".. currentmodule:: {title}", "", ".. autosummary::"]
        lines += ["   :toctree: generated", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in module.__all__] + [""]
    lines += ["skdiff", "------", "", "Saving and loading without pickle.", ""]
    lines += [".. currentmodule:: skdiff", "", ".. autosummary::"]
    lines += [
        "   :toctree: generated",
        "   :nosignatures:",
        "",
        "   save",
        "   load",
        "",
    ]
    page = Path(__file__).parent / "api" / "index.rst"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(lines))


def skip_what_is_not_ours(app, what, name, thing, skip, options):
    """Leave out what scikit-learn and torch document themselves."""
    module = (
        getattr(inspect.unwrap(thing), "__module__", None) if callable(thing) else ""
    )
    return skip or (
        module is not None and not str(module or "skdiff").startswith("skdiff")
    )


def setup(app):
    """Write the API index before Sphinx reads it; hook the member filter."""
    write_api_index()
    app.connect("autodoc-skip-member", skip_what_is_not_ours)
