"""Selection of columns by mutual information with the target."""

import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from skdiff._base.inner import whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.validation import check_X
from skdiff.inspection._mutual_information._estimator import (
    CONSTRAINTS,
    measured,
    warn_of_time,
)
from skdiff.inspection._mutual_information._network import at_levels
from skdiff.inspection._mutual_information._pairs import column, estimate_pairs
from skdiff.inspection._mutual_information._ranks import soft_bins
from skdiff.inspection._mutual_information._statistics import binned_information
from skdiff.inspection._mutual_information._table import (
    discrete_mask,
    feature,
    rejected,
    target_is_discrete,
)

_BINS = 4  # of each column in the joint information of two columns and the target


def learned_mutual_info(
    X, y, *, discrete_features="auto", discrete_target="auto", random_state=None
):
    """Return the learned mutual information of every column with the target.

    A score function for :class:`~sklearn.feature_selection.SelectKBest`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows; NaN where a cell is unknown.
    y : array-like of shape (n_samples,)
        Classes or numbers.
    discrete_features : {"auto"}, bool or array-like, default="auto"
        Columns of X that hold classes, as in :class:`MutualInformationEstimator`.
    discrete_target : {"auto"} or bool, default="auto"
        Whether y holds classes.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. Used
        beyond 2000 rows.

    Returns
    -------
    scores : ndarray of shape (n_features,)
        Estimates in nats.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.feature_selection import SelectKBest
    >>> from skdiff.inspection import learned_mutual_info
    >>> X, y = load_iris(return_X_y=True)
    >>> SelectKBest(learned_mutual_info, k=2).fit(X, y).get_support().tolist()
    [False, False, True, True]
    """
    from skdiff.inspection._mutual_information._estimator import (
        MutualInformationEstimator,
    )

    model = MutualInformationEstimator(
        discrete_features=discrete_features,
        discrete_target=discrete_target,
        n_permutations=0,
        random_state=random_state,
    )
    return model.fit(X, y).mutual_information_


class MutualInformationSelector(
    CallbackSupportMixin, SaveMixin, SelectorMixin, BaseEstimator
):
    """Keep columns that carry information about the target.

    Use it before a model that suffers from useless columns. With ``k="auto"`` the
    number of columns follows from a rate of false discoveries; with a number the best
    are kept, less what they repeat of each other if wanted.

    Parameters
    ----------
    k : {"auto"} or int, default="auto"
        Number of columns that are kept. ``"auto"`` keeps those whose p-value passes the
        procedure of Benjamini and Hochberg and whose 5 % quantile is positive.
    threshold : float, default=None
        Least information, in nats, of a column that is kept.
    redundancy : {"mrmr", "jmi"}, default=None
        With a number ``k``: columns are added one by one, by their information minus
        the mean with those chosen (``"mrmr"``), or by the mean information of the pairs
        that they make with those chosen (``"jmi"``).
    method : {"learned", "ksg", "gaussian_copula", "binned"}, default="learned"
        Estimate, as in :func:`mutual_information`.
    level : float, default=0.05
        Rate of false discoveries, with ``k="auto"``.
    discrete_features : {"auto"}, bool or array-like, default="auto"
        Columns of X that hold classes, as in :class:`MutualInformationEstimator`.
    discrete_target : {"auto"} or bool, default="auto"
        Whether y holds classes.
    max_samples : int, default=2000
        Largest number of rows of one estimate.
    n_permutations : int, default=200
        Number of permutations of the tests, with ``k="auto"``.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. Estimates are not bounded; columns without a test are not kept, and
        with ``redundancy`` fewer than ``k`` columns may be.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per test, or per
        column that ``redundancy`` adds.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    scores_ : ndarray of shape (n_features,)
        Estimates in nats.
    pvalues_ : ndarray of shape (n_features,)
        p-values; NaN where ``k`` is a number, and where the fit ended before.
    ranking_ : ndarray of shape (n_selected,)
        Numbers of the columns that are kept, in the order in which they were chosen.
    stopped_ : str
        ``"converged"`` where nothing is left out, ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    MutualInformationEstimator : The estimates with intervals.
    learned_mutual_info : Score function for ``SelectKBest``.

    Notes
    -----
    Where nothing passes, the best column is kept with a warning, so that a pipeline
    goes on. ``"jmi"`` bins every column in four and takes the plug-in estimate less its
    first-order bias. Rows have no weights: ranks and neighbours know none, and repeated
    rows would count as ties.

    References
    ----------
    H. Peng, F. Long and C. Ding, "Feature Selection Based on Mutual Information", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 27, 2005. G. Brown,
    A. Pocock, M.-J. Zhao and M. Luján, "Conditional Likelihood Maximisation", Journal
    of Machine Learning Research 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.inspection import MutualInformationSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 6))
    >>> y = X[:, 0] + X[:, 1] ** 2
    >>> selector = MutualInformationSelector(random_state=0).fit(X, y)
    >>> selector.get_support(indices=True).tolist()
    [0, 1]
    """

    _parameter_constraints: dict = {
        **CONSTRAINTS,
        "k": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "threshold": [None, Interval(Real, 0, None, closed="left")],
        "redundancy": [None, StrOptions({"mrmr", "jmi"})],
        "level": [Interval(Real, 0, 1, closed="neither")],
        "n_permutations": [Interval(Integral, 20, None, closed="left")],
    }

    def __init__(
        self,
        k="auto",
        threshold=None,
        redundancy=None,
        method="learned",
        level=0.05,
        *,
        discrete_features="auto",
        discrete_target="auto",
        max_samples=2000,
        n_permutations=200,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.k = k
        self.threshold = threshold
        self.redundancy = redundancy
        self.method = method
        self.level = level
        self.discrete_features = discrete_features
        self.discrete_target = discrete_target
        self.max_samples = max_samples
        self.n_permutations = n_permutations
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Estimate the information of every column, and choose.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN where a cell is unknown.
        y : array-like of shape (n_samples,)
            Classes or numbers.

        Returns
        -------
        self : object
            Fitted selector.
        """
        with whole_fit(self):
            auto = self.k == "auto"
            if auto and self.redundancy is not None:
                raise ValueError("redundancy needs a number k.")
            count = self.n_permutations if auto else 0
            with watch(self, X, y, unit="Column") as progress:
                found, p = measured(self, X, y, progress, n_permutations=count)
                ranking = self._choose(X, y, found, p, progress)
            done = np.isfinite(p).sum() if auto else len(ranking)
            total = f"{len(p)} tests" if auto else f"{self.k} columns"
            warn_of_time(progress, done, total)
            self.scores_ = found.mean
            self.pvalues_ = p if auto else np.full(len(p), np.nan)
            self.ranking_ = ranking
            self.stopped_ = progress.reason("converged")
        return self

    def _choose(self, X, y, found, p, progress):
        order = np.argsort(-found.mean, kind="stable")
        if self.k == "auto":
            kept = rejected(p, self.level)
            if self.method == "learned":
                kept &= at_levels(found.quantiles, np.array([0.05]))[:, 0] > 0
            order = order[kept[order]]
        elif self.k > len(order):
            raise ValueError(f"k={self.k} is more than the {len(order)} columns of X.")
        elif self.redundancy is not None:
            order = self._greedy(X, y, found.mean, progress)
        else:
            order = order[: self.k]
        if self.threshold is not None:
            order = order[found.mean[order] >= self.threshold]
        if len(order) == 0:
            warnings.warn(
                "No column passes; the most informative one is kept.",
                UserWarning,
                stacklevel=4,
            )
            order = np.argsort(-found.mean, kind="stable")[:1]
        return order

    def _greedy(self, X, y, scores, progress):
        """Add columns one by one; each needs its row of the pairwise matrix only."""
        columns, y = self._columns(X), np.asarray(y)
        if self.redundancy == "mrmr":
            base, sign = scores, -1.0
            pairwise = partial(self._repeated, columns, len(y))
        else:
            base, sign = np.zeros(len(scores)), 1.0
            bins = [_binned(c) for c in columns]
            pairwise = partial(_joint, bins, self._binned_target(y))
        chosen, total = [int(np.argmax(scores))], np.zeros(len(scores))
        with progress.interruptible(lambda: True):
            while len(chosen) < self.k and not progress.is_over():
                total += pairwise(chosen[-1])
                gain = base + sign * total / len(chosen)
                gain[chosen] = -np.inf
                chosen.append(int(np.argmax(gain)))
                progress.write(f"Column {chosen[-1]} is added.")
                progress.step()
        return np.array(chosen)

    def _columns(self, X):
        # from csc on, columns are cheap to take
        X = X.tocsc() if hasattr(X, "tocsc") else np.asarray(X, dtype=np.float64)
        mask = discrete_mask(self.discrete_features, X.shape[1], "discrete_features")
        found = []
        for k in range(X.shape[1]):
            values, known = feature(X, k)
            if not known.all():
                raise ValueError("X has NaN, which redundancy excludes.")
            found.append(column(values, bool(mask[k])))
        return found

    def _repeated(self, columns, n, last):
        """Information of each column with one of them."""
        pairs = [(columns[last], c) for c in columns]
        rng = check_random_state(self.random_state)
        how = self.method, self.max_samples, rng, self.n_jobs
        return estimate_pairs(pairs, n, *how).mean

    def _binned_target(self, y):
        return _binned(column(y, target_is_discrete(y, self.discrete_target)))

    def transform(self, X):
        """Keep the chosen columns.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; NaN where a cell is unknown.

        Returns
        -------
        X_kept : {array-like, sparse matrix} of shape (n_samples, n_selected)
            The chosen columns.
        """
        check_is_fitted(self)
        check_X(
            self,
            X,
            reset=False,
            accept_sparse=True,
            ensure_all_finite=True if sparse.issparse(X) else "allow-nan",
        )
        return super().transform(X)

    def _get_support_mask(self):
        check_is_fitted(self)
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[self.ranking_] = True
        return mask

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.redundancy is None  # pairs need whole rows
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags


def _joint(bins, target, last):
    """Information of each pair of columns with the target."""
    n, found = len(target), []
    for other in bins:
        cells = (bins[last][:, :, None] * other[:, None, :]).reshape(n, -1)
        joint = cells.T @ target
        seen = (joint.sum(axis=1) > 1e-9).sum()
        bias = (seen - 1) * (target.shape[1] - 1) / (2 * n)
        found.append(max(binned_information(joint) - bias, 0.0))
    return np.array(found)


def _binned(one):
    """Indicators of classes, or of bins of ranks."""
    if one.codes is not None:
        return np.eye(one.codes.max() + 1)[one.codes]
    return soft_bins(one.ranks, _BINS)
