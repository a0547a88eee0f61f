"""Sphinx configuration. The API reference is built from each family's ``__all__``."""

import inspect
import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from figures import time_example  # noqa: E402

import skdiff  # noqa: E402

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "skdiff"
author = "the skdiff developers"
copyright = f"2026, {author}"
version = release = skdiff.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "mathml",
    "changelog",
    "figures",
]
templates_path = ["templates"]
exclude_patterns = ["_build", "**/README.txt", "auto_examples/**/*.ipynb"]

html_theme = "pydata_sphinx_theme"
html_title = f"skdiff {version}"
html_static_path = ["_static"]
html_css_files = ["skdiff.css"]
html_favicon = "_static/favicon.svg"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "image_light": "_static/logo-light.svg",
        "image_dark": "_static/logo-dark.svg",
        "alt_text": "skdiff",
    },
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navigation_depth": 3,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"index": [], "changelog": [], "glossary": []}

autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

ADDRESSES = {
    "sklearn": "https://scikit-learn.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "pandas": "https://pandas.pydata.org/docs/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
}
intersphinx_mapping = {
    name: (address, str(HERE / "_inventories" / f"{name}.inv"))
    for name, address in ADDRESSES.items()
}

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
    "backreferences_dir": "api/backreferences",
    "inspect_global_variables": False,
    "capture_repr": (),
    "remove_config_comments": True,
    "thumbnail_size": (480, 336),
    "reset_modules": ("matplotlib", time_example),
    "reset_modules_order": "both",
}
# sphinx-gallery registers a configuration value that Sphinx cannot pickle
suppress_warnings = ["config.cache"]
warnings.filterwarnings("ignore", category=DeprecationWarning, module="sphinx")


def skip_what_is_not_ours(app, what, name, thing, skip, options):
    """Leave out what scikit-learn and torch document themselves."""
    module = (
        getattr(inspect.unwrap(thing), "__module__", None) if callable(thing) else ""
    )
    return skip or (
        module is not None and not str(module or "skdiff").startswith("skdiff")
    )


def setup(app):
    """Hook the member filter."""
    app.connect("autodoc-skip-member", skip_what_is_not_ours)
