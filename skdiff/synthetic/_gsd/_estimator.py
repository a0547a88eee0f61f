"""Private-GSD as an estimator."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, fit_context
from skdiff._base.parameters import COUNT, NON_NEGATIVE, POSITIVE
from skdiff._privacy._budget import LedgerEntry, PrivacyAccountant
from skdiff.synthetic._gsd import _table
from skdiff.synthetic._gsd._base import WAYS, BaseGSD
from skdiff.synthetic._gsd._report import ErrorReport, errors_of
from skdiff.synthetic._queries._families import QueryFamily
from skdiff.synthetic._schema import TableSchema

_REDRAWS = 50  # draws of a row within its bins before the middles are taken


class PrivateGSDSynthesizer(BaseGSD):
    r"""Release a synthetic table with a stated (epsilon, delta).

    Use it when a table about people is to be published, or handed to somebody who must
    not see its rows. Counts of pairs of columns are measured with noise, and a search
    finds a table that has about these counts. Only the measurement costs privacy.

    Parameters
    ----------
    schema : TableSchema, default=None
        What is declared of the columns. Columns that are not numeric have to be
        declared; the bounds of numeric ones are bought otherwise.
    epsilon : float or None, default=1.0
        Privacy budget. None adds no noise and gives no guarantee.
    delta : float, default=None
        Probability with which the guarantee may fail. None is one over the squared
        number of rows; it has to be given with ``neighbors="add-remove"``.
    rho : float or Fraction, default=None
        Budget in units of zero-concentrated differential privacy, in place of
        ``epsilon``.
    neighbors : {"replace-one", "add-remove"}, default="replace-one"
        What the guarantee compares: tables that differ in the values of one row, so
        that the number of rows is public, or tables with one row more.
    queries : str, query object or list of them, default="2-way"
        What is measured: ``"1-way"``, ``"2-way"``, ``"3-way"``, and the query classes.
        ``"2-way"`` counts numeric columns with three widths of bins.
    selection : {"auto", "one-shot", "adaptive"}, default="auto"
        ``"one-shot"`` measures everything with equal noise. ``"adaptive"`` measures the
        one-way marginals, and then chooses what the synthetic table has most wrong.
        ``"auto"`` is the first while the noise of a count in a typical table is about
        that of an average cell or smaller.
    n_rounds : int, default=50
        Largest number of adaptive rounds, each with a search.
    n_per_round : int or "auto", default="auto"
        Number of choices per round. ``"auto"`` follows the budget: so many choices in
        all that their noise is bearable, and none where the budget is too small.
    n_synthetic : int, default=None
        Number of synthetic rows; None is that of X, at most 2000.
    bounds : {"spend", "raise"}, default="spend"
        What happens to numeric columns without declared bounds: buy bounds, or refuse.
    bounds_fraction : float, default=0.1
        Fraction of the budget for all bounds together.
    n_fraction : float, default=0.02
        Fraction of the budget for the number of rows with ``neighbors="add-remove"``.
    edges : {"uniform", "quantile"} or dict, default="uniform"
        Edges of the bins of numeric columns: of equal width, of about equal mass, which
        costs a part of the budget, or given for some columns.
    depth : int, default=5
        Numeric columns have at most ``2**depth`` bins.
    denoise : bool, default=True
        Whether the search sees measured marginals that are shrunk towards independence
        as far as their noise calls for. It costs nothing.
    max_evals : int, default=None
        Largest number of candidate edits of a search. 0 stops after the measurement
        and returns independent columns.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A search ends when a sweep over all columns
        lowers the loss by less than this fraction of it.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning.
    search : {"genetic", "paper"}, default="genetic"
        ``"genetic"`` scores all values of a column at once and accepts many edits
        together; ``"paper"`` accepts one of a thousand children per generation.
    batch_size : int or "auto", default="auto"
        Rows that a generation scores; ``"auto"`` is all of them.
    noise : {"discrete", "opendp"}, default="discrete"
        Who draws the noise: the exact sampler of this package, or OpenDP where it is
        installed.
    accountant : PrivacyAccountant, default=None
        Budget that several fits share.
    target_name : str, default="target"
        Name of the column that ``y`` becomes.
    init : DataFrame or array-like, default=None
        Public rows with which the search starts.
    fixed_columns : sequence, default=()
        Columns that keep the values of ``init``.
    constraint : callable, default=None
        Takes a dict of columns and returns a bool per row. Every synthetic row
        satisfies it. It must come from knowledge of the columns.
    rows_per_user : int, default=1
        Largest number of rows of one person; the guarantee then is for persons.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It moves
        the search only. Noise comes from the operating system and has no seed, so that
        two fits differ unless ``epsilon`` is None.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing.

    Attributes
    ----------
    schema_ : TableSchema
        Levels, bounds and edges of all columns.
    queries_ : list
        What was measured, one object per table of counts.
    noisy_answers_ : list of ndarray
        Measured fractions of the rows, with noise.
    noise_scale_ : ndarray of shape (n_measured,)
        Standard deviation of the noise of a count.
    synthetic_ : ndarray of shape (n_synthetic, n_columns)
        Codes of the synthetic rows.
    selection_ : str
        ``"one-shot"``, ``"adaptive"``, or ``"1-way"`` where the budget allowed the
        one-way marginals only.
    loss_ : float
        Weighted squared distance between the measured fractions and those of the
        synthetic table.
    loss_history_ : list of float
        Loss after each sweep of the last search.
    n_evals_ : int
        Number of candidate edits, of all searches.
    n_iter_ : int
        Number of sweeps, of all searches.
    stopped_ : str
        What ended the last search: ``"converged"``, ``"max_evals"``, ``"time"``,
        ``"callback"`` or ``"interrupted"``.
    privacy_spent_ : PrivacySpent
        The guarantee, with ``rho``, ``epsilon`` and ``delta``.
    ledger_ : tuple
        One entry per measurement and choice: ``name``, ``kind``, ``sensitivity_sq``,
        ``sigma_sq`` or ``eps``, ``rho``. Exact fractions; their ``rho`` add up to
        that of ``privacy_spent_``.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    membership_report : Try to recognise members from the synthetic table.
    skdiff.density.InteractionScreening : A model of the rows without privacy.

    Notes
    -----
    For each table of counts w the noisy counts are
    :math:`c_w + N_Z(0, \sigma_w^2)` with
    :math:`\sigma_w^2 = \Delta_w^2 / (2 \rho_w)`, and the search minimises
    :math:`\sum_w \omega_w \|a_w - q_w(S)\|^2` over tables S. The guarantee is for what
    is released: ``synthetic_``, ``noisy_answers_``, samples and the pickle. It does not
    cover messages, run time (nor where ``time_limit`` ends the search, which depends on
    it), ``error_report`` and choices made by looking at the rows.

    References
    ----------
    T. Liu, J. Tang, G. Vietri and Z. S. Wu, "Generating Private Synthetic Data with
    Genetic Algorithms", ICML 2023.

    C. Canonne, G. Kamath and T. Steinke, "The Discrete Gaussian for Differential
    Privacy", NeurIPS 2020.

    R. McKenna, B. Mullins, D. Sheldon and G. Miklau, "AIM: An Adaptive and Iterative
    Mechanism for Differentially Private Synthetic Data", VLDB 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.synthetic import PrivateGSDSynthesizer, TableSchema
    >>> rng = np.random.default_rng(0)
    >>> age = rng.integers(18, 90, size=5000)
    >>> X = np.column_stack([age, rng.uniform(size=5000) < age / 100])
    >>> schema = TableSchema({0: (18, 90), 1: [0, 1]}, integer=[0])
    >>> model = PrivateGSDSynthesizer(schema, epsilon=1.0, random_state=0).fit(X)
    >>> model.sample().shape
    (2000, 2)
    >>> bool(model.privacy_spent_.epsilon <= 1.0)
    True
    """

    _parameter_constraints: dict = {
        "schema": [TableSchema, None],
        "epsilon": [Real, None],
        "delta": [Real, None],
        "rho": [Real, None],
        "neighbors": [StrOptions({"replace-one", "add-remove"})],
        "queries": [StrOptions(set(WAYS)), QueryFamily, list, tuple],
        "selection": [StrOptions({"auto", "one-shot", "adaptive"})],
        "n_rounds": COUNT,
        "n_per_round": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_synthetic": [*COUNT, None],
        "bounds": [StrOptions({"spend", "raise"})],
        "bounds_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_fraction": [Interval(Real, 0, 1, closed="neither")],
        "edges": [StrOptions({"uniform", "quantile"}), dict],
        "depth": [Interval(Integral, 1, 12, closed="both")],
        "denoise": ["boolean"],
        "max_evals": [Interval(Integral, 0, None, closed="left"), None],
        "tol": NON_NEGATIVE,
        "time_limit": [*POSITIVE, None],
        "search": [StrOptions({"genetic", "paper"})],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "noise": [StrOptions({"discrete", "opendp"})],
        "accountant": [PrivacyAccountant, None],
        "target_name": [str],
        "init": "no_validation",
        "fixed_columns": ["array-like", tuple],
        "constraint": [callable, None],
        "rows_per_user": COUNT,
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _own_parameters = {"batch_size": "rows that a generation of the search scores"}

    def __init__(
        self,
        schema=None,
        epsilon=1.0,
        delta=None,
        *,
        rho=None,
        neighbors="replace-one",
        queries="2-way",
        selection="auto",
        n_rounds=50,
        n_per_round="auto",
        n_synthetic=None,
        bounds="spend",
        bounds_fraction=0.1,
        n_fraction=0.02,
        edges="uniform",
        depth=5,
        denoise=True,
        max_evals=None,
        tol=1e-4,
        time_limit=None,
        search="genetic",
        batch_size="auto",
        noise="discrete",
        accountant=None,
        target_name="target",
        init=None,
        fixed_columns=(),
        constraint=None,
        rows_per_user=1,
        random_state=None,
        verbose=0,
    ):
        self.schema = schema
        self.epsilon = epsilon
        self.delta = delta
        self.rho = rho
        self.neighbors = neighbors
        self.queries = queries
        self.selection = selection
        self.n_rounds = n_rounds
        self.n_per_round = n_per_round
        self.n_synthetic = n_synthetic
        self.bounds = bounds
        self.bounds_fraction = bounds_fraction
        self.n_fraction = n_fraction
        self.edges = edges
        self.depth = depth
        self.denoise = denoise
        self.max_evals = max_evals
        self.tol = tol
        self.time_limit = time_limit
        self.search = search
        self.batch_size = batch_size
        self.noise = noise
        self.accountant = accountant
        self.target_name = target_name
        self.init = init
        self.fixed_columns = fixed_columns
        self.constraint = constraint
        self.rows_per_user = rows_per_user
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Measure with noise and search a table that fits the measurement.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Private rows.
        y : array-like of shape (n_samples,), default=None
            A further private column, the last one of the synthetic table.

        Returns
        -------
        self : object
            The fitted estimator. It holds no row of X.
        """
        return self._fit(X, y)

    # --- what is released -----------------------------------------------------------

    @property
    def ledger_(self):
        """What was measured and chosen, with exact costs."""
        if "_ledger" not in vars(self):
            raise AttributeError("ledger_ is set by fit.")
        return tuple(LedgerEntry(*entry) for entry in self._ledger)

    def sample(self, n=None, random_state=None):
        """Return synthetic rows.

        Parameters
        ----------
        n : int, default=None
            Number of rows, drawn with replacement; None returns each synthetic row
            once.
        random_state : int, RandomState instance or None, default=None
            Draws rows, and numbers within their bins.

        Returns
        -------
        rows : DataFrame or ndarray of shape (n, n_columns)
            Rows in the form that X had.
        """
        check_is_fitted(self)
        rng = check_random_state(random_state)
        codes = self.synthetic_
        if n is not None:
            if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
                raise ValueError(f"n must be a positive int. Got {n!r}.")
            codes = codes[rng.randint(len(codes), size=n)]
        values = self.schema_.decode(codes, rng)
        if self.constraint is not None:
            values = self._redrawn(codes, values, rng)
        return _table.written(values, _table.Form(*self._form), self.schema_)

    def _redrawn(self, codes, values, rng):
        """Draw numbers again in rows that do not satisfy the constraint."""
        for again in [rng] * _REDRAWS + [None]:
            bad = np.flatnonzero(~np.asarray(self.constraint(values), dtype=bool))
            if not len(bad):
                break
            drawn = self.schema_.decode(codes[bad], again)
            for name, column in drawn.items():
                values[name][bad] = column
        return values

    def fit_resample(self, X, y):
        """Fit to X and y, and return synthetic rows of both.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Private rows.
        y : array-like of shape (n_samples,)
            Private target.

        Returns
        -------
        X : DataFrame or ndarray of shape (n_synthetic, n_features)
            Synthetic rows.
        y : Series or ndarray of shape (n_synthetic,)
            Synthetic target.
        """
        if y is None:
            raise ValueError("fit_resample needs y.")
        self._validate_params()
        self._fit(X, y)
        rows = self.sample(random_state=self.random_state)
        if hasattr(rows, "columns"):
            target = rows[self.target_name]
            return rows.drop(columns=self.target_name), target
        *dtypes, dtype = _table.Form(*self._form).dtypes
        return rows[:, :-1].astype(_common(dtypes)), rows[:, -1].astype(dtype)

    def error_report(self, X, y=None):
        """Compare the synthetic table with a table that is passed in.

        The result depends on that table and is not private.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, the private ones for instance.
        y : array-like of shape (n_samples,), default=None
            Their target, where ``fit`` had one.

        Returns
        -------
        report : ErrorReport
            ``mean_error`` and ``max_error`` of the fractions of rows, ``frame()`` by
            table of counts, and ``private=False``.
        """
        check_is_fitted(self)
        codes = self._codes(X, y)
        return ErrorReport(
            tuple(errors_of(self.queries_, self.noisy_answers_, self.synthetic_, codes))
        )

    def _codes(self, X, y=None):
        """Codes of further rows."""
        X = _table.checked(self, X, reset=False)
        columns = _table._rows_of(X, getattr(self, "feature_names_in_", None)).columns
        if y is not None:
            columns.append(np.asarray(y))
        if len(columns) != len(self.schema_.names):
            raise ValueError(
                f"fit had {len(self.schema_.names)} columns, y included; these are "
                f"{len(columns)}."
            )
        form = _table.Form(*self._form)
        return _table.encode(_table.Rows(columns, form), self.schema_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.epsilon is not None or self.rho is not None
        tags.input_tags.allow_nan = self.schema is not None and bool(
            self.schema.missing
        )
        return tags

    def __setstate__(self, state):
        super().__setstate__(state)
        for family in vars(self).get("queries_", ()):
            family.fit_schema(self.schema_)


def _common(dtypes):
    """One dtype for columns of an array."""
    if {"str", "bytes"} & set(dtypes):
        return dtypes[0]  # of the length that the levels need
    return np.result_type(np.float64, *dtypes) if "object" not in dtypes else object
