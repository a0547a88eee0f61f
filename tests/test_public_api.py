"""The public surface, by name, and what every public name must come with."""

import re
from functools import cache
from pathlib import Path

import pytest

import skdiff
from tests._discovery import asked_names, public_names

REPOSITORY = Path(__file__).parents[1]
SNAPSHOT = sorted(
    f"{file.parent.name}.{name}"
    for file in Path(__file__).parent.glob("*/public_api.txt")
    for name in file.read_text().split()
)


@cache
def words_of(folder, *suffixes):
    """Every word in the files of a folder, read once."""
    files = sorted((REPOSITORY / folder).rglob("*"))
    return {
        word
        for f in files
        if f.suffix in suffixes and not {"_build", "auto_examples"} & set(f.parts)
        for word in re.findall(r"\w+", f.read_text())
    }


def test_the_surface_is_the_snapshot():
    # a change on purpose is repeated in tests/<family>/public_api.txt
    assert sorted(public_names()) == SNAPSHOT
    assert skdiff.__all__ == [*sorted(skdiff._FAMILIES), "load", "save"]


def test_the_face_knows_no_other_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        skdiff.nothing
    assert set(skdiff.__all__) <= set(dir(skdiff))


@pytest.mark.parametrize("name", asked_names())
@pytest.mark.parametrize(
    ("folder", "suffixes"),
    [("docs/user_guide", (".rst",)), ("examples", (".py",)), ("benchmarks", (".py",))],
)
def test_every_name_has_a_page_an_example_and_a_benchmark(name, folder, suffixes):
    assert name.split(".")[-1] in words_of(folder, *suffixes)


@pytest.mark.parametrize("name", asked_names())
def test_every_name_is_in_the_changelog(name):
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    assert re.search(rf"\b{name.split('.')[-1]}\b", changelog)
