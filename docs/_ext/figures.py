"""The build fails on an example without a figure, and on one that takes too long."""

import time
from pathlib import Path

from sphinx.errors import ExtensionError

# processor seconds; the aim is 10, and a slower machine has some room
LONGEST = 15.0
_started = {}


def time_example(gallery_conf, name, when):
    """Measure what an example takes of one core; a hook of the gallery."""
    if when == "before":
        _started[name] = time.process_time()
    elif name in _started and time.process_time() - _started[name] > LONGEST:
        raise ExtensionError(f"{name} took more than {LONGEST:.0f} s of one core")


def check_figures(app, env):
    """Look for the figures of every example that was run."""
    if not app.config.sphinx_gallery_conf["plot_gallery"]:
        return
    folder = Path(app.srcdir) / "auto_examples"
    bare = [
        str(page.relative_to(folder))
        for page in sorted(folder.glob("*/plot_*.rst"))
        if not list(page.parent.glob(f"images/sphx_glr_{page.stem}_*.png"))
    ]
    if bare:
        raise ExtensionError(f"examples without a figure: {', '.join(bare)}")


def setup(app):
    """Check once every page is read."""
    app.connect("env-updated", check_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
