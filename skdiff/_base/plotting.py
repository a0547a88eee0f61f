"""What every Display shares. matplotlib is imported inside the functions only."""

from typing import Any

# One hue a role, the same in every figure; readable in grey and for colour-blind eyes.
COLORS = {
    "main": "#1f6f8b",
    "range": "#9cc5d3",
    "accent": "#d1495b",
    "neutral": "#6b6b6b",
}


def get_axes(ax: Any = None) -> tuple[Any, Any]:
    """Return ``(figure, axes)``: those of ``ax``, or new ones."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib. Install it with `pip install skdiff[plot]`."
        ) from error
    if ax is None:
        figure, ax = plt.subplots(layout="constrained")
        return figure, ax
    return ax.figure, ax


def require_pandas(what: str) -> Any:
    """Import pandas for a table, or say which extra brings it."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"{what} returns a DataFrame and needs pandas. "
            "Install it with `pip install skdiff[dataframe]`."
        ) from error
    return pd
