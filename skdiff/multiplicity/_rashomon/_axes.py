"""What reports and displays share: names, legends and colours."""

from typing import Any

from skdiff._base.plotting import COLORS, require_pandas


def feature_names(estimator: Any, d: Any) -> Any:
    """Names of the columns as the linear model sees them, numbers if unknown."""
    names = getattr(estimator, "feature_names_in_", None)
    if estimator._steps_fitted:
        steps = getattr(estimator.estimator_, "estimator", estimator.estimator_)[:-1]
        try:
            names = steps.get_feature_names_out(names)
        except (AttributeError, ValueError):  # a step that names nothing
            names = None
    return [f"x{k}" for k in range(d)] if names is None else names


def named_bounds(estimator: Any, bounds: Any) -> Any:
    """A table of bounds with the names of the coefficients, per class if several."""
    pd = require_pandas("coef_range(as_frame=True)")
    d = estimator.coef_.shape[-1]
    index = [*feature_names(estimator, d), "intercept"][: bounds.shape[-2]]
    if bounds.ndim == 3:
        index = pd.MultiIndex.from_product(
            [estimator.classes_, index], names=["class", "feature"]
        )
    return pd.DataFrame(bounds.reshape(-1, 2), index=index, columns=["low", "high"])


def legend_above(ax: Any) -> Any:
    """Legend over the axes, where it hides nothing; thin lines made visible."""
    n = len(ax.get_legend_handles_labels()[0])
    legend = ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=n if n <= 3 else 2,
        frameon=False,
        fontsize="small",
        borderaxespad=0.2,
        columnspacing=1.2,
    )
    for line in legend.get_lines():
        line.set_linewidth(max(line.get_linewidth(), 1.5))
    for handle in legend.legend_handles:
        if hasattr(handle, "set_linewidths"):  # of intervals
            handle.set_linewidths([3.0])


def shades(n: Any) -> Any:
    """One colour per group, from the palette and beyond."""
    if n <= 1:
        return [COLORS["main"]]
    fixed = [COLORS["main"], COLORS["accent"], COLORS["neutral"]]
    if n <= len(fixed):
        return fixed[:n]
    from matplotlib import colormaps

    return [colormaps["viridis"](k / (n - 1)) for k in range(n)]
