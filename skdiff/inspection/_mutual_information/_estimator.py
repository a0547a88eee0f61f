"""Mutual information of every column with a target."""

import warnings
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from skdiff._base.inner import whole_fit
from skdiff._base.parameters import EVERYWHERE
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.validation import check_levels, check_X, check_X_y, require_y
from skdiff.inspection._mutual_information._functions import SMALLEST
from skdiff.inspection._mutual_information._network import at_levels
from skdiff.inspection._mutual_information._pairs import (
    FEWEST_ROWS,
    METHODS,
    MOST_ROWS,
)
from skdiff.inspection._mutual_information._table import (
    Settings,
    discrete_mask,
    measure,
    measure_blocks,
    target_is_discrete,
)

CONSTRAINTS: dict = {
    "method": [StrOptions(set(METHODS))],
    "discrete_features": [StrOptions({"auto"}), "boolean", "array-like"],
    "discrete_target": [StrOptions({"auto"}), "boolean"],
    "max_samples": [Interval(Integral, FEWEST_ROWS, MOST_ROWS, closed="both")],
    "n_permutations": [Interval(Integral, 0, None, closed="left")],
    "n_jobs": EVERYWHERE["n_jobs"].constraint,
    "time_limit": EVERYWHERE["time_limit"].constraint,
    "verbose": EVERYWHERE["verbose"].constraint,
    "random_state": ["random_state"],
}


def measured(estimator, X, y, progress, *, n_permutations):
    """Check the rows of an estimator, and return estimates and p-values."""
    require_y(estimator, y)
    how = {
        "accept_sparse": "csc",
        "dtype": np.float64,
        "ensure_all_finite": True if sparse.issparse(X) else "allow-nan",
        "ensure_min_samples": SMALLEST,
    }
    rng = check_random_state(estimator.random_state)
    settings = Settings(
        estimator.method,
        estimator.max_samples,
        n_permutations,
        rng,
        estimator.n_jobs,
        progress,
    )
    if _width(y) > 1:
        X = check_X(estimator, X, reset=True, **how)
        y = check_array(y, dtype=np.float64, input_name="y")
        if len(y) != X.shape[0]:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[X.shape[0], len(y)]}"
            )
        if settings.method == "binned":
            raise ValueError('y has several columns, for which "binned" is unknown.')
        return measure_blocks(X, y, settings)
    X, y = check_X_y(estimator, X, y, **how)
    mask = discrete_mask(estimator.discrete_features, X.shape[1], "discrete_features")
    discrete = target_is_discrete(y, estimator.discrete_target)
    if not discrete:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    return measure(X, y, mask, discrete, settings)


def warn_of_time(progress, done, total):
    """Say what a fit has left out that ran out of time."""
    if progress.ended == "time":
        warnings.warn(
            f"time_limit ended the fit after {done} of {total}.",
            ConvergenceWarning,
            stacklevel=3,
        )


def _width(y):
    """Number of columns of a target, 1 of whatever is no table."""
    shape = np.asarray(y).shape
    return shape[1] if len(shape) == 2 else 1


class MutualInformationEstimator(CallbackSupportMixin, SaveMixin, BaseEstimator):
    """Mutual information of every column with the target, with intervals and p-values.

    Use it to see which columns carry information about the target, of whatever shape
    the relation is, where there are 20 to a few thousand rows. Columns are taken one by
    one: two that are useful together only go unseen.

    Parameters
    ----------
    method : {"learned", "ksg", "gaussian_copula", "binned"}, default="learned"
        Estimate, as in :func:`mutual_information`; only ``"learned"`` has intervals.
    quantiles : array-like of shape (n_levels,), default=(0.05, 0.5, 0.95)
        Levels of ``quantiles_``, increasing; the first and the last make the interval.
    discrete_features : {"auto"}, bool or array-like, default="auto"
        Columns of X that hold classes without order, as a mask or numbers. ``"auto"``
        takes all for ordered.
    discrete_target : {"auto"} or bool, default="auto"
        Whether y holds classes. ``"auto"`` takes text, and whole numbers with at most
        50 values and three rows per value, for classes.
    max_samples : int, default=2000
        Largest number of rows of one estimate; more are cut into disjoint parts of
        which the estimates are averaged. Tests use that many rows.
    n_permutations : int, default=200
        Number of permutations of the tests; 0 computes no p-values.
    units : {"nats", "bits"}, default="nats"
        Units of information.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. Estimates are not bounded; columns without a test have NaN for a
        p-value.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per test.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    mutual_information_ : ndarray of shape (n_features,)
        Estimates.
    interval_ : ndarray of shape (n_features, 2)
        Quantiles at the first and the last level.
    quantiles_ : ndarray of shape (n_features, n_levels)
        Quantiles at all levels.
    pvalue_ : ndarray of shape (n_features,)
        p-values of independence, from permutations; few exceedances are extrapolated.
        NaN without permutations, and where the fit ended before.
    stopped_ : str
        ``"converged"`` where nothing is left out, ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    MutualInformationSelector : Keeps columns by it.
    mutual_information : Two columns.

    Notes
    -----
    Missing cells are left out with their rows, column by column. A y of several columns
    is taken as a whole; this is experimental. Columns without ties share one set of
    permutations, because their null distribution is the same. Rows have no weights:
    ranks and neighbours know none, and repeated rows would count as ties.

    References
    ----------
    G. Gritsai, M. Richards, M. Méloux, K. Cho and M. Peyrard, "MIST: Mutual Information
    via Supervised Training", 2025, arXiv:2511.18945.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.inspection import MutualInformationEstimator
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MutualInformationEstimator(random_state=0).fit(X, y)
    >>> bool(model.interval_[1, 1] < model.interval_[2, 0])  # petals tell more
    True
    """

    _parameter_constraints: dict = {
        **CONSTRAINTS,
        "quantiles": ["array-like"],
        "units": [StrOptions({"nats", "bits"})],
    }

    def __init__(
        self,
        method="learned",
        quantiles=(0.05, 0.5, 0.95),
        *,
        discrete_features="auto",
        discrete_target="auto",
        max_samples=2000,
        n_permutations=200,
        units="nats",
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.method = method
        self.quantiles = quantiles
        self.discrete_features = discrete_features
        self.discrete_target = discrete_target
        self.max_samples = max_samples
        self.n_permutations = n_permutations
        self.units = units
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Estimate the information of every column with the target.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN where a cell is unknown.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes or numbers.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        levels = np.atleast_1d(check_levels(self.quantiles, name="quantiles"))
        if np.any(np.diff(levels) <= 0):
            raise ValueError(f"quantiles must increase. Got {self.quantiles!r}.")
        with whole_fit(self):
            with watch(self, X, y, unit="Column") as progress:
                count = self.n_permutations
                found, p = measured(self, X, y, progress, n_permutations=count)
            warn_of_time(progress, np.isfinite(p).sum(), f"{len(p)} tests")
            unit = np.log(2) if self.units == "bits" else 1.0
            quantiles = at_levels(found.quantiles, levels) / unit
            self.mutual_information_ = found.mean / unit
            self.quantiles_ = quantiles
            self.interval_ = quantiles[:, [0, -1]]
            self.pvalue_ = p if self.n_permutations else np.full(len(p), np.nan)
            self.stopped_ = progress.reason("converged")
        return self

    def frame(self):
        """Return one row per column, most informative first.

        Returns
        -------
        frame : DataFrame
            Columns ``mutual_information``, ``low``, ``high`` and ``pvalue``; the index
            holds the names of the columns of X.
        """
        from skdiff._base.plotting import require_pandas

        pd = require_pandas("frame")
        check_is_fitted(self)
        names = getattr(
            self, "feature_names_in_", [f"x{k}" for k in range(self.n_features_in_)]
        )
        frame = pd.DataFrame(
            {
                "mutual_information": self.mutual_information_,
                "low": self.interval_[:, 0],
                "high": self.interval_[:, 1],
                "pvalue": self.pvalue_,
            },
            index=names,
        )
        return frame.sort_values("mutual_information", ascending=False, kind="stable")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags
