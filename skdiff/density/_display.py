"""The graph of interactions as a figure."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas


class InteractionGraphDisplay:
    """Draw which columns interact and how strongly.

    Build it with :meth:`from_estimator`; :meth:`plot` draws, :meth:`frame` returns the
    edges.

    Parameters
    ----------
    strength : ndarray of shape (n_features, n_features)
        Strengths of interaction.
    adjacency : ndarray of bool of shape (n_features, n_features)
        Edges of the graph.
    names : list of str
        Names of the columns.
    sign : ndarray of shape (n_features, n_features), default=None
        Signs of couplings, which colour the edges.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the graph is drawn.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list or AxesImage
        The edges, or the image of the matrix.

    See Also
    --------
    InteractionScreening : What is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.density import InteractionGraphDisplay, InteractionScreening
    >>> rng = np.random.default_rng(0)
    >>> a = rng.integers(0, 2, 500)
    >>> X = np.column_stack([a, a ^ (rng.uniform(size=500) < 0.1)])
    >>> model = InteractionScreening().fit(X)
    >>> InteractionGraphDisplay.from_estimator(model).frame()[["first", "second"]]
      first second
    0     0      1
    """

    def __init__(self, strength, adjacency, names, sign=None):
        self.strength = strength
        self.adjacency = adjacency
        self.names = names
        self.sign = sign

    @classmethod
    def from_estimator(cls, estimator):
        """Take the graph of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator of this family with ``adjacency_``.

        Returns
        -------
        display : InteractionGraphDisplay
            Not drawn yet.
        """
        check_is_fitted(estimator, "adjacency_")
        names = getattr(
            estimator, "feature_names_in_", np.arange(estimator.n_features_in_)
        )
        coef = getattr(estimator, "coef_", None)
        sign = np.sign(coef) if isinstance(coef, np.ndarray) else None
        return cls(
            estimator.strength_, estimator.adjacency_, [str(n) for n in names], sign
        )

    def plot(self, ax=None, *, kind="graph", layout="auto"):
        """Draw the graph, or the matrix of strengths.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.
        kind : {"graph", "matrix"}, default="graph"
            Columns as points joined by edges, wider for stronger; or all strengths as
            an image.
        layout : {"auto", "circle", "spring"} or array of shape (n_features, 2), \
default="auto"
            Where the points lie. "spring" needs networkx and puts neighbours together;
            "auto" takes it where it is installed.

        Returns
        -------
        display : InteractionGraphDisplay
            This display.
        """
        if kind not in ("graph", "matrix"):
            raise ValueError(f"kind must be 'graph' or 'matrix'. Got {kind!r} instead.")
        # an unknown layout is refused before any axes are made
        places = None if kind == "matrix" else self._places(layout)
        self.figure_, self.ax_ = get_axes(ax)
        if kind == "matrix":
            self._plot_matrix()
        else:
            self._plot_graph(places)
        return self

    def _places(self, layout):
        p = len(self.names)
        if not isinstance(layout, str):
            places = np.asarray(layout, dtype=np.float64)
            if places.shape != (p, 2):
                raise ValueError(
                    f"layout must have shape ({p}, 2). Got {places.shape} instead."
                )
            return places
        if layout not in ("auto", "circle", "spring"):
            raise ValueError(
                "layout must be 'auto', 'circle', 'spring' or an array. Got "
                f"{layout!r} instead."
            )
        if layout != "circle":
            try:
                return self._spring()
            except ImportError as error:
                if layout == "spring":
                    raise ImportError(
                        "layout='spring' needs networkx. Install it with "
                        "`pip install skdiff[graph]`."
                    ) from error
        angle = 2 * np.pi * np.arange(p) / p
        return np.column_stack([np.cos(angle), np.sin(angle)])

    def to_networkx(self):
        """Return the graph for networkx, with strengths as weights.

        Returns
        -------
        graph : networkx.Graph
            One node per column, by number, with its name; an edge per interacting pair.
        """
        import networkx as nx

        graph = nx.Graph()
        graph.add_nodes_from((j, {"name": n}) for j, n in enumerate(self.names))
        for a, b in zip(*np.nonzero(np.triu(self.adjacency, 1)), strict=True):
            graph.add_edge(int(a), int(b), weight=float(self.strength[a, b]))
        return graph

    def _spring(self):
        graph = self.to_networkx()
        import networkx as nx

        found = nx.spring_layout(graph, seed=0)
        return np.array([found[j] for j in graph])

    def _plot_graph(self, places):
        i, j = np.nonzero(np.triu(self.adjacency, 1))
        largest = self.strength[i, j].max(initial=0.0) or 1.0
        self.lines_ = []
        for a, b in zip(i, j, strict=True):
            negative = self.sign is not None and self.sign[a, b] < 0
            (line,) = self.ax_.plot(
                *places[[a, b]].T,
                color=COLORS["accent" if negative else "main"],
                lw=0.5 + 3.5 * self.strength[a, b] / largest,
                zorder=1,
            )
            self.lines_.append(line)
        self.ax_.scatter(*places.T, s=60, color=COLORS["range"], zorder=2)
        for name, place in zip(self.names, places, strict=True):
            self.ax_.annotate(
                name, place, xytext=(5, 5), textcoords="offset points", fontsize=8
            )
        self.ax_.margins(0.15)
        self.ax_.set_axis_off()

    def _plot_matrix(self):
        self.lines_ = self.ax_.imshow(self.strength, cmap="Blues", vmin=0.0)
        ticks = np.arange(len(self.names))
        if len(ticks) <= 40:
            self.ax_.set_xticks(ticks, self.names, rotation=90)
            self.ax_.set_yticks(ticks, self.names)
        self.figure_.colorbar(self.lines_, ax=self.ax_, label="Strength")

    def frame(self):
        """Return the edges, the strongest first.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``first``, ``second``, ``strength`` and, for binary tables,
            ``sign``.
        """
        pd = require_pandas("frame")
        i, j = np.nonzero(np.triu(self.adjacency, 1))
        table = pd.DataFrame(
            {
                "first": [self.names[k] for k in i],
                "second": [self.names[k] for k in j],
                "strength": self.strength[i, j],
            }
        )
        if self.sign is not None:
            table["sign"] = self.sign[i, j].astype(int)
        return table.sort_values(
            "strength", ascending=False, kind="stable", ignore_index=True
        )
