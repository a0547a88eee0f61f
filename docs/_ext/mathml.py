"""Formulas as MathML: every browser renders them, without scripts or a network."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError

# sizes of delimiters, which MathML stretches by itself, and a command it does not know
REPLACED = {r"\\[bB]igg?(?![a-zA-Z])": "", r"\\dots(?![a-zA-Z])": r"\\ldots"}


def convert(tex, block):
    """The MathML of a formula, or an error that shows the formula."""
    for pattern, instead in REPLACED.items():
        tex = re.sub(pattern, instead, tex)
    try:
        return tex2mathml(tex, as_block=block)
    except MathError as error:
        raise ExtensionError(f"{error} in {tex!r}") from error


def visit_inline(translator, node):
    """Write a formula within a line; on small screens a long one scrolls."""
    formula = convert(" ".join(node.astext().split()), block=False)
    translator.body.append(f'<span class="math-inline">{formula}</span>')
    raise SkipNode


def visit_display(translator, node):
    """Write a formula on its own; wide ones scroll."""
    translator.body.append('<div class="math-display">')
    parts = re.split(r"\n\s*\n", node.astext().strip())
    translator.body.extend(convert(part, block=True) for part in parts)
    translator.body.append("</div>\n")
    raise SkipNode


def setup(app):
    """Register the renderer under the name of html_math_renderer."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
