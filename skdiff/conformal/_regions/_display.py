"""Plots of regions of two targets."""

import numpy as np

from skdiff._base.plotting import COLORS, get_axes, require_pandas

GRID = 160
MARGIN = 0.06


class ConformalRegionDisplay:
    """Show the regions of some rows in the plane of two targets.

    Parameters
    ----------
    regions : list of Region
        Regions of two targets.
    targets : array-like of shape (n_regions, 2), default=None
        True targets of the rows, drawn as points.
    target_names : sequence of str, default=None
        Names of the two axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    MultiOutputConformalRegressor : What makes the regions.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.conformal import ConformalRegionDisplay
    >>> from skdiff.conformal import MultiOutputConformalRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> Y = X + rng.normal(size=(200, 2))
    >>> model = MultiOutputConformalRegressor(random_state=0).fit(X, Y)
    >>> display = ConformalRegionDisplay.from_estimator(model, X[:3], Y[:3])
    >>> display.frame().columns.tolist()
    ['low_0', 'high_0', 'low_1', 'high_1', 'volume', 'inside']
    """

    def __init__(self, regions, targets=None, target_names=None):
        self.regions = list(regions)
        self.targets = None if targets is None else np.asarray(targets, dtype=float)
        self.target_names = target_names

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, target_names=None):
        """Make the display from a fitted regressor.

        Parameters
        ----------
        estimator : MultiOutputConformalRegressor
            Fitted, on two targets.
        X : array-like of shape (n_samples, n_features)
            A few rows.
        y : array-like of shape (n_samples, 2), default=None
            Their targets.
        target_names : sequence of str, default=None
            Names of the two axes.

        Returns
        -------
        display : ConformalRegionDisplay
            Not drawn yet.
        """
        regions = estimator.predict_region(X)
        if len(regions[0].centre) != 2:
            raise ValueError(
                f"Regions of two targets are drawn; these have "
                f"{len(regions[0].centre)}."
            )
        return cls(regions, y, target_names)

    def plot(self, ax=None):
        """Draw the regions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : ConformalRegionDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        for region in self.regions:
            self._draw(region)
        if self.targets is not None:
            self.ax_.scatter(*self.targets.T, s=18, color=COLORS["accent"], zorder=3)
        names = self.target_names or ("target 0", "target 1")
        self.ax_.set(xlabel=names[0], ylabel=names[1])
        return self

    def _draw(self, region):
        (a, b), (c, d) = region.bounds()
        wide, high = MARGIN * (b - a), MARGIN * (d - c)
        u = np.linspace(a - wide, b + wide, GRID)
        v = np.linspace(c - high, d + high, GRID)
        U, V = np.meshgrid(u, v)
        inside = region.contains(np.column_stack([U.ravel(), V.ravel()]))
        Z = inside.reshape(U.shape).astype(float)
        fill = [COLORS["range"]]
        self.ax_.contourf(U, V, Z, levels=[0.5, 1.5], colors=fill, alpha=0.5)
        self.ax_.contour(U, V, Z, levels=[0.5], colors=[COLORS["main"]], linewidths=1)

    def frame(self):
        """Return the numbers behind the plot.

        Returns
        -------
        table : pandas.DataFrame
            One row per region: bounds, volume and, where targets are known, whether
            they are inside.
        """
        pd = require_pandas("frame")
        rows = []
        for k, region in enumerate(self.regions):
            (a, b), (c, d) = region.bounds()
            row = {"low_0": a, "high_0": b, "low_1": c, "high_1": d}
            row["volume"] = region.volume()
            if self.targets is not None:
                row["inside"] = region.contains(self.targets[k])
            rows.append(row)
        return pd.DataFrame(rows)
