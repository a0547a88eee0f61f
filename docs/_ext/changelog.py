"""The changelog of the repository as a page: its few Markdown forms in RST."""

import re
from pathlib import Path

from api_pages import DOCS, write

UNDERLINES = {1: "=", 2: "-", 3: "~"}


def to_rst(text):
    """Headings, code and links; lists are the same in both."""
    lines = []
    for line in text.splitlines():
        heading = re.match(r"(#+) (.*)", line)
        if heading:
            title = heading[2]
            lines += [title, UNDERLINES[len(heading[1])] * len(title)]
        else:
            line = re.sub(r"`([^`]+)`", r"``\1``", line)
            lines.append(re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", line))
    return "\n".join(lines) + "\n"


def setup(app):
    """Write the page before Sphinx reads it."""
    text = (Path(DOCS).parent / "CHANGELOG.md").read_text()
    write(DOCS / "changelog.rst", to_rst(text))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
