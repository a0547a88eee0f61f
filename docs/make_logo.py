"""Draw the logo and the favicon: a convex bowl, its tangent and where they touch."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath

STATIC = Path(__file__).parent / "_static"
BLUE, RED = "#1f6f8b", "#d1495b"


def mark(ax, bowl):
    """The bowl, its tangent and the point of contact in a unit square."""
    x = np.linspace(0.06, 0.94, 200)
    y = 0.12 + 3.2 * (x - 0.5) ** 2
    inside = y <= 0.9
    at = 0.66
    slope, height = 6.4 * (at - 0.5), 0.12 + 3.2 * (at - 0.5) ** 2
    tangent = np.array([0.42, 1.0])
    ax.plot(tangent, height + slope * (tangent - at), color=RED, lw=4.2, zorder=1)
    ax.plot(x[inside], y[inside], color=bowl, lw=6.5, solid_capstyle="round")
    ax.plot([at], [height], "o", color=RED, ms=9.5, mec="white", mew=1.6, zorder=3)


def save(figure, name):
    """Write one SVG that is the same whenever it is drawn."""
    with plt.rc_context({"svg.hashsalt": "skdiff"}):
        figure.savefig(STATIC / name, transparent=True, metadata={"Date": None})
    plt.close(figure)


def draw(name, bowl, word=None):
    """The mark alone, or with the name of the package beside it."""
    width = 1 if word is None else 3.5
    figure = plt.figure(figsize=(width, 1))
    ax = figure.add_axes((0, 0, 1, 1))
    mark(ax, bowl)
    if word is not None:
        path = TextPath((1.12, 0.29), "skdiff", 0.72, FontProperties(weight="bold"))
        ax.add_patch(PathPatch(path, fc=word, ec="none"))
    ax.set(xlim=(0, width), ylim=(0, 1))
    ax.axis("off")
    save(figure, name)


if __name__ == "__main__":
    matplotlib.use("Agg")
    draw("logo-light.svg", BLUE, word="#22313a")
    draw("logo-dark.svg", "#6fb7cf", word="#e8eef1")
    draw("favicon.svg", BLUE)
