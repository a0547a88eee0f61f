"""Figures of an architecture and of the evidence of its search."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas

SPACING, SHIFT, BEND = 1.5, 0.35, 0.13  # of the nodes, and of edges that pass some
LABEL = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
BOX = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": COLORS["main"]}


class ArchitectureDisplay:
    """Draw the wiring that was found, and what speaks for it.

    Parameters
    ----------
    architecture : Architecture
        What is drawn.
    weights : array-like of shape (n_edges, n_operations), default=None
        Mixing weights at the end of the search.
    scores : array-like of shape (n_edges, n_operations), default=None
        Growth of the validation loss when an operation is removed.
    edges : list of str, default=None
        Names of the rows of both.
    operations : list of str, default=None
        Names of the columns of both.
    race : dict, default=None
        As ``race_`` of the estimator.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    ArchitectureSearchClassifier : What is shown.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.architecture_search import (
    ...     ArchitectureDisplay, ArchitectureSearchClassifier
    ... )
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ArchitectureSearchClassifier(
    ...     width=8, search_max_iter=3, max_iter=8, random_state=0
    ... )
    >>> display = ArchitectureDisplay.from_estimator(model.fit(X, y))
    >>> display.frame().columns.tolist()
    ['edge', 'operation', 'weight', 'perturbation_score']
    """

    def __init__(
        self,
        architecture,
        *,
        weights=None,
        scores=None,
        edges=None,
        operations=None,
        race=None,
    ):
        self.architecture = architecture
        self.weights = None if weights is None else np.asarray(weights, dtype=float)
        self.scores = None if scores is None else np.asarray(scores, dtype=float)
        self.edges, self.operations, self.race = edges, operations, race

    @classmethod
    def from_estimator(cls, estimator):
        """Make the display from a fitted search.

        Parameters
        ----------
        estimator : ArchitectureSearchClassifier or ArchitectureSearchRegressor
            Fitted estimator.

        Returns
        -------
        display : ArchitectureDisplay
            Not drawn yet.
        """
        check_is_fitted(estimator)
        if estimator.architecture_ is None:
            raise ValueError("The target was constant: there is no network to show.")
        if estimator.alphas_ is None:
            return cls(estimator.architecture_)
        alphas = estimator.alphas_
        # rows of a cell compete within an edge, those of a chain within a layer
        rows, found = len(alphas), estimator.searched_architecture_
        if found.space == "hypercuboid":
            rows = len(found.nodes)
        blocks = alphas.reshape(rows, -1)
        weights = np.exp(blocks - blocks.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return cls(
            estimator.architecture_,
            weights=weights.reshape(alphas.shape),
            scores=estimator.perturbation_scores_,
            edges=estimator.edges_,
            operations=estimator._operations,
            race=estimator.race_,
        )

    def _table(self, values):
        if values is None:
            raise ValueError("There was no search: the architecture was given.")
        return values

    def plot(self, ax=None):
        """Draw the wiring, from the stem on the left to the output on the right.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : ArchitectureDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        found = self.architecture
        n = len(found.nodes)
        stem = "input" if found.space == "mlp" else f"stem\n{found.widths[0]}"
        units = found.widths if found.space == "mlp" else found.widths[1:]
        labels = [stem, *(f"node {k + 1}\n{units[k]}" for k in range(n)), "output"]
        # nodes alternate about a line, so that long edges pass between them
        places = [
            (SPACING * k, SHIFT * (1 - 2 * (k % 2)) * (0 < k <= n))
            for k in range(n + 2)
        ]
        for k, node in enumerate(found.nodes, start=1):
            for source, operation in node:
                self._arrow(places[source], places[k], operation)
        for k in found.outputs():
            self._arrow(places[k], places[n + 1], None)
        for place, label in zip(places, labels, strict=True):
            self.ax_.text(*place, label, ha="center", va="center", bbox=BOX, zorder=3)
        times = f" ({found.n_cells} cells)" if found.n_cells > 1 else ""
        self.ax_.set(
            xlim=(-0.6, places[-1][0] + 0.6),
            ylim=(-1.2, 1.4),
            aspect="equal",
            title=f"{found.space}{times}",
        )
        self.ax_.axis("off")
        return self

    def _arrow(self, start, stop, label):
        """One edge, bent the more the further it goes."""
        color = COLORS["neutral"] if label is None else COLORS["accent"]
        span = stop[0] - start[0]
        bend = -BEND * (span - SPACING)
        style = {"arrowstyle": "->", "color": color, "shrinkA": 16, "shrinkB": 16}
        style["connectionstyle"] = f"arc3,rad={bend}"
        style["linestyle"] = ":" if label is None else "-"
        self.ax_.annotate("", xy=stop, xytext=start, arrowprops=style)
        if label is not None:
            # the middle of the bent line
            x, y = np.add(start, stop) / 2
            x, y = x + bend * (stop[1] - start[1]) / 2, y - bend * span / 2
            self.ax_.text(x, y, label, ha="center", va="center", bbox=LABEL, size=8)

    def plot_weights(self, kind="weights", ax=None):
        """Draw the mixing weights, or the scores by removal, as a table of colours.

        Parameters
        ----------
        kind : {"weights", "scores"}, default="weights"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : ArchitectureDisplay
            This display.
        """
        if kind not in ("weights", "scores"):
            raise ValueError(f"kind must be 'weights' or 'scores', got {kind!r}.")
        values = self._table(getattr(self, kind))
        self.figure_, self.ax_ = get_axes(ax)
        image = self.ax_.imshow(values, aspect="auto", cmap="Blues")
        self.ax_.set_xticks(range(len(self.operations)), self.operations, rotation=45)
        self.ax_.set_yticks(range(len(self.edges)), self.edges)
        if len(self.edges) <= 12:
            middle = (np.nanmin(values) + np.nanmax(values)) / 2
            for (e, o), value in np.ndenumerate(values):
                color = "white" if value > middle else "black"
                self.ax_.text(
                    o, e, f"{value:.2g}", ha="center", va="center", color=color, size=8
                )
        title = {"weights": "mixing weight", "scores": "loss added by removal"}[kind]
        self.figure_.colorbar(image, ax=self.ax_, label=title)
        return self

    def plot_race(self, ax=None):
        """Draw the validation loss of each candidate, rung by rung.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : ArchitectureDisplay
            This display.
        """
        if self.race is None:
            raise ValueError("There was no race: selection was another one.")
        self.figure_, self.ax_ = get_axes(ax)
        colors = {"magnitude": COLORS["accent"], "perturbation": COLORS["main"]}
        seen = set()
        for origin, losses in zip(self.race["origin"], self.race["loss"], strict=True):
            color = colors.get(origin.split(",")[0], COLORS["range"])
            label = None if origin in seen else origin
            seen.add(origin)
            rungs = np.arange(1, len(losses) + 1)
            self.ax_.plot(rungs, losses, marker="o", color=color, label=label)
        self.ax_.set(xlabel="rung", ylabel="validation loss")
        self.ax_.set_xticks(range(1, self.race["loss"].shape[1] + 1))
        self.ax_.legend()
        return self

    def frame(self):
        """Return weights and scores as a DataFrame, one row per edge and operation.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``edge``, ``operation``, ``weight`` and ``perturbation_score``.
        """
        weights = self._table(self.weights)
        pd = require_pandas("ArchitectureDisplay.frame")
        n, k = weights.shape
        return pd.DataFrame(
            {
                "edge": np.repeat(self.edges, k),
                "operation": np.tile(self.operations, n),
                "weight": weights.ravel(),
                "perturbation_score": self.scores.ravel(),
            }
        )
