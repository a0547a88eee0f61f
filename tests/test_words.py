"""What users read keeps to the field's terms: docstrings, messages, pages, changelog.

``NEVER`` holds words that no text of the field uses in our sense; ``RARELY`` holds
words that are right in a few places only. Code, names, formulas and lists of
references are no prose and are left out.
"""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import skdiff
from tests._discovery import public_names

REPOSITORY = Path(__file__).parents[1]
PER = (
    "batch|bracket|call|candidate|cell|class|coefficient|column|commit|draw|epoch|"
    "evaluation|family|feature|fold|group|iteration|layer|level|line|method|model|"
    "network|outcome|parameter|pixel|point|question|round|row|rung|sample|score|seed|"
    "setting|stage|step|table|target|tree|unit|weight"
)
COUNTED = (
    "calls|draws|epochs|evaluations|fits|folds|iterations|lines|microseconds|models|"
    "networks|points|products|rows|seconds|settings|solves|steps|systems|times|trees|"
    "units|values|weights"
)
BETWEEN = r"(?:as|by|for|from|has|in|is|of|on|than|to|with)\b"
NEVER = {
    "a ... a ..., for per": (
        rf"\b(?:(?:an?|one|each|no) (?!{BETWEEN})\w+|one|{COUNTED}) an? (?:{PER})\b"
    ),
    "dear": r"\bdear(?:er|est)?\b",
    "referee": r"\breferees?\b",
    "slow and sure": r"\bslow and sure\b",
    "polish": r"\bpolish(?:e[sd]|ing)?\b",
    "sweep over tolerances": r"\bsweeps? (?:over|of|across) (?:the )?tolerances\b",
    "hold-out rows": r"\bhold-?out rows?\b",
    "kink": r"\bkink(?:s|ed)?\b",
    "luck": r"\b(?:un)?luck(?:y|ily)?\b",
    "one door": r"\bdoors?\b",
    "deepen": r"\bdeepen(?:s|ed|ing)?\b",
    "of one's own": r"\bof (?:one's|their) own\b",
    "wide table": r"\bwide (?:sparse )?tables?\b",
    "by custom": r"\bby custom\b",
    "for ever": r"\bfor ever\b",
    "less their mean": r"\bless (?:its|their|the) means?\b",
    "told": r"\btold\b",
    "wronger": r"\bwronger\b",
    "hungry": r"\bhungry\b",
    "lopsided": r"\blopsided\b",
    "dare": r"\bdare[sd]?\b",
    "paces": r"\bpaces\b",
    "sane": r"\bsane\b",
    "amiss": r"\bamiss\b",
    "feigns": r"\bfeign(?:s|ed)?\b",
    "creeping": r"\bcreep(?:s|ing)?\b",
    "sways": r"\bsway(?:s|ed)?\b",
    "eager": r"\beager\b",
    "dress": r"\bdress(?:es|ed)?\b",
}
RARELY = {
    "share of": r"\bshares? of\b",
    "promise": r"\bpromis(?:e[sd]?|ing)\b",
    "picture": r"\bpictures?\b",
    "ask, answer, says, question": (
        r"\b(?:ask(?:s|ed|ing)?|answer(?:s|ed|ing)?|sa(?:ys?|id)|questions?)\b"
    ),
    "the cut": r"\b(?:the|a|fixed|tuned) cuts?\b",
    "side or end of a range": (
        r"\b(?:both|each|either|lower|upper|two) (?:ends?|sides?)\b|"
        r"\b(?:ends?|sides?) of (?:an?|the|each|its) (?:range|interval|bracket)s?\b"
    ),
    "words, for categories": r"\bwords\b",
    "plain, for standard": r"\bplain\b",
}
CEILING = 12

NO_PROSE = re.compile(
    r"""
    ^```.*?^```                                 # code of a Markdown page
    | ^[ \t]*\.\.[ ]topic::[ ]References.*?(?=^\S|\Z)
    | ^References\n-{5,}\n.*?(?=^\w+\n-{5,}$|\Z)   # of a docstring
    | ^[ \t]*\.\.[ ](?:code-block|math|toctree|plot|testcode|figure|image|raw|_[\w-]+:)
      .*?(?=^[ \t]{0,2}\S|\Z)
    | ^[ \t]*>>>.*?(?=^[ \t]*$|\Z)              # doctests and what they print
    | ``.+?``
    | (?::[\w:]+:)?`[^`]+`                      # roles, titles of links, Markdown code
    | \]\([^)]*\)
    | \b\w+_\w*\b                               # names
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def prose(text):
    """The text with all that is not prose blanked, lines where they were."""
    return NO_PROSE.sub(blank, text)


def pages():
    """``(place, text)`` of every page, the README and the changelog."""
    for path in sorted((REPOSITORY / "docs").rglob("*.rst")):
        if not {"_build", "auto_examples", "api"} & set(path.parts):
            yield path.relative_to(REPOSITORY), path.read_text()
    for path in sorted(REPOSITORY.glob("examples/**/README.txt")):
        yield path.relative_to(REPOSITORY), path.read_text()
    for path in sorted(REPOSITORY.glob("*.md")):
        yield path.relative_to(REPOSITORY), path.read_text()
    for path in sorted((REPOSITORY / "examples").rglob("*.py")):
        text = path.read_text()
        comments = re.findall(r"^# .*$|^#$", text, re.MULTILINE)
        yield (
            path.relative_to(REPOSITORY),
            "\n".join([ast.get_docstring(ast.parse(text)) or "", *comments]),
        )


def docstrings():
    """``(place, text)`` of every public docstring, an inherited one once."""
    things = {name: getattr(skdiff, name) for name in ("load", "save")}
    things |= {name: import_module(f"skdiff.{name}") for name in skdiff._FAMILIES}
    for name, thing in public_names().items():
        things[name] = thing
        if inspect.isclass(thing):
            for member in dir(thing):
                if not member.startswith("_"):
                    things[f"{name}.{member}"] = getattr(thing, member)
    seen = set()
    for name, thing in things.items():
        if isinstance(thing, property):
            thing = thing.fget
        module = getattr(thing, "__module__", None) or "skdiff"
        text = inspect.getdoc(thing) if callable(thing) or "." not in name else None
        if text and module.startswith("skdiff") and text not in seen:
            seen.add(text)
            yield name, text


def messages():
    """``(place, text)`` of what is raised or warned, as far as it is written there."""
    for path in sorted(Path(skdiff.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            warns = isinstance(node, ast.Call) and "warn" in ast.unparse(node.func)
            if warns or (isinstance(node, ast.Raise) and node.exc is not None):
                text = "".join(
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", text


SOURCES = {"pages": pages, "docstrings": docstrings, "messages": messages}


@cache
def texts(source):
    return [(place, prose(text)) for place, text in SOURCES[source]()]


def found(pattern):
    """Where a pattern stands, with the line around it."""
    pattern = re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)
    return [
        f"{place}, line {text.count(chr(10), 0, match.start()) + 1}: "
        f"{' '.join(text[max(0, match.start() - 30) : match.end() + 30].split())}"
        for source in SOURCES
        for place, text in texts(source)
        for match in pattern.finditer(text)
    ]


@pytest.mark.parametrize("word", NEVER)
def test_words_of_no_field(word):
    places = found(NEVER[word])
    assert not places, "\n".join([f"not a term of the field: {word}", *places])


@pytest.mark.parametrize("word", RARELY)
def test_words_for_a_few_places(word):
    places = found(RARELY[word])
    assert len(places) <= CEILING, "\n".join([f"too often: {word}", *places])


def test_code_is_no_prose():
    text = (
        "Weights ``a dear b`` of :func:`told`.\n\n>>> polish\n'told'\n\nNo tie_luck.\n"
    )
    assert not any(re.search(p, prose(text)) for p in NEVER.values())
    assert prose(text).count("\n") == text.count("\n")
