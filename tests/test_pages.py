"""Pages keep their form: code that runs, figures, rows and cards for every family."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skdiff
from tests._discovery import all_estimators

REPOSITORY = Path(__file__).parents[1]
GUIDE = REPOSITORY / "docs" / "user_guide"
METHODS = sorted(p for p in GUIDE.glob("*/*.rst") if p.stem != "index")
EXTRAS = ("pandas", "matplotlib", "networkx", "polars", "mapie", "hypothesis")
HIDDEN = f"""
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Hidden())
"""


def code_blocks(path):
    """The Python code of a page, in order."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in blocks]


@pytest.mark.parametrize("page", ["README.md", "docs/getting_started.rst"])
def test_code_for_a_first_look_runs_without_the_extras(page):
    blocks = code_blocks(REPOSITORY / page)
    assert blocks
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", HIDDEN + "\n".join(blocks)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    printed = re.search(
        r"^```\n\n```\n(.*?)^```", (REPOSITORY / page).read_text(), re.M | re.S
    )
    assert printed is None or run.stdout == printed[1]


@pytest.mark.parametrize("page", METHODS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_method_pages_have_a_snippet_and_a_figure(page):
    text = page.read_text()
    assert re.search(r"^\.\. (?:figure|image):: /auto_examples/", text, re.MULTILINE)
    assert "\n.. minigallery:: " in text
    failed, tried = doctest.testfile(
        str(page),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert not failed
    assert tried or code_blocks(page), "no runnable snippet"


@pytest.mark.parametrize("family", skdiff._FAMILIES)
def test_families_have_a_page_a_row_a_card_and_examples(family):
    index = (GUIDE / family / "index.rst").read_text()
    assert ".. figure::" in index
    assert "do not use" in " ".join(index.lower().split())
    pages = re.findall(r"^   ([\w/]+)$", index.split("toctree::")[1], re.MULTILINE)
    assert sorted(pages) == sorted(p.stem for p in METHODS if p.parent.name == family)
    guide = (GUIDE / "index.rst").read_text()
    assert f"   {family}/index\n" in guide
    assert f"`~skdiff.{family}." in guide
    assert (
        f":link: user_guide/{family}/index"
        in (REPOSITORY / "docs" / "index.rst").read_text()
    )
    assert f"`skdiff.{family}`" in (REPOSITORY / "README.md").read_text()
    examples = REPOSITORY / "examples" / family
    assert (examples / "README.txt").exists() or family == "metrics"


@pytest.mark.parametrize("cls", all_estimators(), ids=lambda c: c.__name__)
def test_every_estimator_is_introduced_in_its_guide(cls):
    family = cls.__module__.split(".")[1]
    pages = [p.read_text() for p in METHODS if p.parent.name == family]
    assert any(f":class:`{cls.__name__}`" in text for text in pages)


def test_changelog_entries_are_one_sentence_each():
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    entries = re.findall(r"^- (.*?)(?=^- |^#|\Z)", changelog, re.MULTILINE | re.DOTALL)
    for entry in map(" ".join, map(str.split, entries)):
        assert entry.endswith("."), entry
        assert not re.search(r"(?<!et al)\. [A-Z`]", entry), entry


def test_links_of_the_readme_lead_somewhere():
    text = (REPOSITORY / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    inside = [link for link in links if "://" not in link]
    assert inside and all((REPOSITORY / link).exists() for link in inside)


def test_claims_name_scripts_that_exist():
    claims = (REPOSITORY / "docs" / "evidence" / "claims.rst").read_text()
    scripts = re.findall(r"^     - ``(\w+)``$", claims, re.MULTILINE)
    commands = re.findall(
        r"^     - ``python -m pytest (\S+) .*``$", claims, re.MULTILINE
    )
    assert len(scripts) + len(commands) == claims.count("\n   * - ") - 1
    assert all((REPOSITORY / path).exists() for path in commands)
    for name in scripts:
        assert (REPOSITORY / "benchmarks" / f"bench_{name}.py").exists()
