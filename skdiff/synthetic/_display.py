"""Figure: the marginals of a synthetic table against those of a real one."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import COLORS, get_axes, require_pandas
from skdiff.synthetic._cells import counts_of
from skdiff.synthetic._gsd._measure import label
from skdiff.synthetic._queries._marginals import MarginalQueries


class MarginalsDisplay:
    """Show the fractions of synthetic rows against those of real ones, cell by cell.

    The figure depends on the real rows and is not private.

    Parameters
    ----------
    queries : sequence of str of length n_cells
        Table of counts of each cell.
    real : array-like of shape (n_cells,)
        Fractions of the real rows.
    synthetic : array-like of shape (n_cells,)
        Fractions of the synthetic rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Its figure.
    points_ : matplotlib PathCollection
        One point per cell.
    line_ : matplotlib Line2D
        Where both are equal.

    See Also
    --------
    PrivateGSDSynthesizer : What makes the synthetic rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.synthetic import MarginalsDisplay, PrivateGSDSynthesizer
    >>> from skdiff.synthetic import TableSchema
    >>> X = np.random.default_rng(0).integers(0, 4, size=(600, 3))
    >>> schema = TableSchema({j: [0, 1, 2, 3] for j in range(3)})
    >>> model = PrivateGSDSynthesizer(schema, random_state=0).fit(X)
    >>> MarginalsDisplay.from_estimator(model, X, n_columns=2).frame().shape
    (48, 3)
    """

    def __init__(self, queries, real, synthetic):
        self.queries = list(queries)
        self.real = np.asarray(real, dtype=np.float64)
        self.synthetic = np.asarray(synthetic, dtype=np.float64)

    @classmethod
    def from_estimator(cls, synthesizer, X, y=None, *, n_columns=None):
        """Count the synthetic rows and those that are passed in.

        Parameters
        ----------
        synthesizer : PrivateGSDSynthesizer
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Real rows, the private ones or others of the same kind.
        y : array-like of shape (n_samples,), default=None
            Their target, where ``fit`` had one.
        n_columns : int, default=None
            Number of columns of the marginals: all choices of so many. None shows what
            was measured.

        Returns
        -------
        display : MarginalsDisplay
            Not drawn yet.
        """
        check_is_fitted(synthesizer)
        families = synthesizer.queries_
        if n_columns is not None:
            families = [MarginalQueries(n_columns).fit_schema(synthesizer.schema_)]
        tables = [synthesizer._codes(X, y), synthesizer.synthetic_]
        names, shares = [], []
        for family in families:
            for part, cells in family._parts:
                names += [label(part)] * cells.n_cells
                shares.append(
                    [counts_of(cells, codes) / len(codes) for codes in tables]
                )
        return cls(names, *np.concatenate(shares, axis=1))

    def plot(self, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; new axes if None.

        Returns
        -------
        display : MarginalsDisplay
            This display.
        """
        self.figure_, self.ax_ = get_axes(ax)
        most = max(self.real.max(), self.synthetic.max())
        (self.line_,) = self.ax_.plot(
            [0, most], [0, most], color=COLORS["neutral"], lw=1
        )
        self.points_ = self.ax_.scatter(
            self.real, self.synthetic, s=9, alpha=0.5, color=COLORS["main"], lw=0
        )
        self.ax_.set(
            xlabel="fraction of real rows", ylabel="fraction of synthetic rows"
        )
        return self

    def frame(self):
        """Return what is drawn, one row per cell.

        Returns
        -------
        frame : DataFrame
            Columns ``queries``, ``real``, ``synthetic``.
        """
        pd = require_pandas("frame")
        return pd.DataFrame(
            {"queries": self.queries, "real": self.real, "synthetic": self.synthetic}
        )
