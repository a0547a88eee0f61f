"""ReusableHoldout: a validation set that can be used adaptively."""

import math
import threading
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import (
    assert_all_finite,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, fit_context, safe_indexing
from skdiff._base.inner import check_table, whole_fit
from skdiff._base.parameters import EVERYWHERE
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.validation import require_y, split_validation
from skdiff.model_evaluation._holdout._mechanism import (
    Rule,
    automatic,
    fresh_threshold,
    reply,
    scale_of_values,
)
from skdiff.model_evaluation._holdout._scores import check_scoring_of_rows, row_values
from skdiff.model_evaluation._kept import keep, restore, shared_rows

# queries of several threads take their turns; a lock per object could not be copied
_TURN = threading.RLock()


class BudgetExhausted(ValueError):
    """Raised where a query would exceed the budget of a holdout set.

    Parameters
    ----------
    message : str
        What happened.
    values : array-like of shape (n_answered,), default=()
        Values of the queries of the same call that were within the budget.

    See Also
    --------
    ReusableHoldout : What raises it.

    Examples
    --------
    >>> from skdiff.model_evaluation import BudgetExhausted
    >>> BudgetExhausted("The budget is used up.", [0.5]).values
    array([0.5])
    """

    def __init__(self, message, values=()):
        super().__init__(message, values)
        self.values = np.asarray(values)

    def __str__(self):
        """Return the message."""
        return str(self.args[0])


class ReusableHoldout(SaveMixin, BaseEstimator):
    """Keep a validation set honest while choices are made by its scores.

    Every comparison by a validation set moves the next model a little towards its
    noise, until its score is no longer that of new rows. Thresholdout returns the
    training value of a query as long as the validation set agrees within noise, and a
    noisy validation value where it does not, which is what costs budget. Hundreds of
    adaptive queries, such as chosen features or hyperparameters, then stay close to
    the truth.

    Parameters
    ----------
    threshold : "auto" or float, default="auto"
        Difference of the training and the validation value from which on a query
        overfits, in units of the values. ``"auto"`` is ``4 u / sqrt(n)`` with ``n``
        rows held out and ``u`` the larger of the absolute bounds of ``value_range``.
    noise_scale : "auto" or float, default="auto"
        Scale of the noise, in units of the values. Laplace noise of the threshold is
        twice as large and that of a comparison four times. ``"auto"`` is
        ``u / sqrt(n)``; with ``mechanism="laplace"`` it is ``budget u / n``, which is
        that of a privacy level of one. Zero adds no noise and guarantees nothing.
    budget : int, default=None
        Number of queries that may overfit before :class:`BudgetExhausted` is raised;
        with ``mechanism="laplace"`` the number of all queries. None sets no limit.
    noise : {"gaussian", "laplace"}, default="gaussian"
        Distribution of the noise. The proofs are for ``"laplace"``; the published
        experiments have ``"gaussian"`` noise of one scale, which costs far less
        budget.
    value_range : tuple of float, default=(0, 1)
        Lower and upper bound of the values of single rows. What lies outside is
        clipped.
    mechanism : {"thresholdout", "sparse", "laplace"}, default="thresholdout"
        ``"sparse"`` (SparseValidate) returns only whether a query overfits;
        ``"laplace"`` returns every validation value with Laplace noise, for reference.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. The noise
        is not meant to withstand an attacker who knows the seed.

    Attributes
    ----------
    n_queries_ : int
        Queries so far.
    n_overfit_ : int
        How many of them overfitted.
    budget_left_ : float
        Budget that is left; infinity without a limit.
    threshold_ : float
        Threshold in use.
    noise_scale_ : float
        Noise scale in use.
    log_ : DataFrame
        One row per query: ``query``, ``train``, ``value``, ``overfit`` and
        ``budget_left``. Validation values are not in it: reading them would undo the
        protection.
    train_indices_ : ndarray of shape (n_train,) or None
        Rows of X to train on, after :meth:`from_split`; None after :meth:`fit`.
    holdout_indices_ : ndarray of shape (n_holdout,) or None
        Rows of X held out, likewise.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    make_reusable_scorer : A scorer for searches that goes through it.
    ReusableHoldoutDisplay : Budget over queries.

    Notes
    -----
    Training values must come from the rows that were given to ``fit`` as training
    rows. ``fit`` begins with the whole budget, so fitting again on the same validation
    set undoes the protection; so does a copy, and loading a file that was saved before
    queries. The values depend on ``random_state`` and on the order of the queries.
    With threads the order is that of their arrival.

    References
    ----------
    C. Dwork, V. Feldman, M. Hardt, T. Pitassi, O. Reingold and A. Roth, "The reusable
    holdout: Preserving validity in adaptive data analysis", Science 349, 2015;
    "Generalization in Adaptive Data Analysis and Holdout Reuse", NeurIPS 2015,
    arXiv:1506.02629.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import ReusableHoldout
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> holdout = ReusableHoldout(budget=20, random_state=0).from_split(X, y)
    >>> train = holdout.train_indices_
    >>> tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    >>> score = holdout.score(tree.fit(X[train], y[train]))
    >>> holdout.n_queries_, holdout.budget_left_
    (1, 20.0)
    """

    _parameter_constraints: dict = {
        "threshold": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "noise_scale": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "budget": [Interval(Integral, 1, None, closed="left"), None],
        "noise": [StrOptions({"gaussian", "laplace"})],
        "value_range": ["array-like"],
        "mechanism": [StrOptions({"thresholdout", "sparse", "laplace"})],
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        threshold="auto",
        noise_scale="auto",
        budget=None,
        noise="gaussian",
        value_range=(0, 1),
        *,
        mechanism="thresholdout",
        random_state=None,
    ):
        self.threshold = threshold
        self.noise_scale = noise_scale
        self.budget = budget
        self.noise = noise
        self.value_range = value_range
        self.mechanism = mechanism
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Any table that an estimator could read."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X_train, y_train, X_holdout, y_holdout):
        """Take the two sets of rows and begin with the whole budget.

        Parameters
        ----------
        X_train : array-like of shape (n_train, n_features)
            Rows that models are trained on.
        y_train : array-like of shape (n_train,)
            Their outcomes.
        X_holdout : array-like of shape (n_holdout, n_features)
            Rows held out, which no model has seen.
        y_holdout : array-like of shape (n_holdout,)
            Their outcomes.

        Returns
        -------
        self : object
            Ready for queries.

        Warns
        -----
        UserWarning
            If more rows held out are training rows too than the repeated rows of the
            training set make likely.
        """
        with whole_fit(self):
            train = self._rows(X_train, y_train, reset=True)
            held = self._rows(X_holdout, y_holdout, reset=False)
            self._begin(train, held)
            self._warn_of_shared_rows()
            self.train_indices_ = self.holdout_indices_ = None
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def from_split(self, X, y, holdout_size=0.5):
        """Split the rows at random, and go on as :meth:`fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their outcomes.
        holdout_size : float, default=0.5
            Fraction of the rows to hold out. The split keeps the proportions of
            classes that are no floats.

        Returns
        -------
        self : object
            Ready for queries, with ``train_indices_`` and ``holdout_indices_``.
        """
        if not (isinstance(holdout_size, Real) and 0 < holdout_size < 1):
            raise ValueError(
                "holdout_size must be a fraction between 0 and 1. Got "
                f"{holdout_size!r}."
            )
        with whole_fit(self):
            X, y = self._rows(X, y, reset=True)
            strata = None
            if y.dtype.kind != "f":
                strata = np.unique(y, return_inverse=True)[1]
            rng = check_random_state(self.random_state)
            parts = split_validation(len(y), holdout_size, rng, strata=strata)
            if parts is None:
                raise ValueError(
                    f"X with {len(y)} rows cannot be split by holdout_size="
                    f"{holdout_size}: 2 training rows and 1 row held out are needed."
                )
            sets = [(safe_indexing(X, rows), y[rows]) for rows in parts]
            self._begin(*sets, random_state=rng)
            self.train_indices_, self.holdout_indices_ = parts
        return self

    def _rows(self, X, y, *, reset):
        """Check a set of rows."""
        require_y(self, y)
        X = check_table(self, X, [], reset=reset)
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "c":
            raise ValueError("Complex data not supported: y must be real.")
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
        return X, y

    def _begin(self, train, held, random_state=None):
        """Set constants, budget and the first noisy threshold."""
        low, high = self._range()
        n, unit = len(held[1]), scale_of_values(low, high)
        budget = np.inf if self.budget is None else float(self.budget)
        laplace = self.mechanism == "laplace"
        if laplace and self.noise_scale == "auto" and self.budget is None:
            raise ValueError(
                "mechanism='laplace' needs a budget: with noise_scale='auto' the noise "
                "grows with the number of queries."
            )
        threshold, scale = self.threshold, self.noise_scale
        if threshold == "auto":
            threshold = automatic("threshold", n, budget, unit)
        if scale == "auto":
            scale = automatic("laplace" if laplace else "scale", n, budget, unit)
        rng = check_random_state(
            self.random_state if random_state is None else random_state
        )
        # numbers of its own, which copies and files hold
        self._random_state = np.random.RandomState(rng.randint(2**31 - 1))
        self._train = keep(train[0]), train[1]
        self._held = keep(held[0]), held[1]
        self.threshold_, self.noise_scale_ = float(threshold), float(scale)
        # a guard stays what it was when parameters are set anew
        self._in_use = {
            "mechanism": self.mechanism,
            "noise": "laplace" if laplace else self.noise,
            "range": (low, high),
            "budget": self.budget,
        }
        self._noisy_threshold = fresh_threshold(self._rule(), self._random_state)
        self.budget_left_, self.n_queries_, self.n_overfit_ = budget, 0, 0
        self._log = []

    def _warn_of_shared_rows(self):
        shared, expected = shared_rows(self._train, self._held)
        # repeated rows of a discrete table are in both sets by chance
        if shared > expected + 1 + 5 * math.sqrt(2 * expected):
            warnings.warn(
                f"{shared} of {len(self._held[1])} rows held out are training rows too,"
                " which hides that a query overfits. Hold out other rows.",
                UserWarning,
                stacklevel=4,
            )

    def _range(self):
        bounds = np.asarray(self.value_range, dtype=np.float64)
        if bounds.shape != (2,) or not np.isfinite(bounds).all():
            raise ValueError(
                "value_range must be two finite numbers, the lower and the upper "
                f"bound. Got {self.value_range!r}."
            )
        if not bounds[0] < bounds[1]:
            raise ValueError(
                "The lower bound of value_range must be below the upper bound. Got "
                f"{self.value_range!r}."
            )
        return float(bounds[0]), float(bounds[1])

    def _rule(self):
        mechanism, noise = self._in_use["mechanism"], self._in_use["noise"]
        return Rule(mechanism, self.threshold_, self.noise_scale_, noise)

    def query(self, train, hold, *, return_overfit=False):
        """Return the protected values of queries, one after the other.

        Parameters
        ----------
        train : float or array-like of shape (n_queries,) or (n_train, n_queries)
            Mean of each query over the training rows, or its values on single rows,
            which are clipped to ``value_range`` and averaged.
        hold : float or array-like of shape (n_queries,) or (n_holdout, n_queries)
            The same on the rows held out.
        return_overfit : bool, default=False
            Whether to return also which queries overfit. A value of a query that does
            not is the *training* value.

        Returns
        -------
        value : float or ndarray of shape (n_queries,)
            Protected values; with ``mechanism="sparse"`` whether each query overfits.
        overfit : bool or ndarray of shape (n_queries,)
            Which queries overfit; only where ``return_overfit``.

        Raises
        ------
        BudgetExhausted
            Where the budget is used up. Its ``values`` are those of the queries before.
        """
        check_is_fitted(self, "budget_left_")
        train, one = self._means(train, "train")
        hold, _ = self._means(hold, "hold")
        if train.shape != hold.shape:
            raise ValueError(
                f"train holds {len(train)} queries and hold {len(hold)}. Pass one "
                "value per query, or two-dimensional values of single rows with one "
                "column per query."
            )
        sparse = self._in_use["mechanism"] == "sparse"
        values, overfit = [], []
        with _TURN:
            for t, h in zip(train.tolist(), hold.tolist(), strict=True):
                self._require_budget(values)
                found = self._reply(t, h)
                values.append(found.overfit if sparse else found.value)
                overfit.append(found.overfit)
        if one:
            return (values[0], overfit[0]) if return_overfit else values[0]
        values, overfit = np.asarray(values), np.asarray(overfit)
        return (values, overfit) if return_overfit else values

    def _means(self, values, name):
        """Means of queries as a vector, and whether it was a single number."""
        found = np.asarray(values)
        if found.dtype.kind not in "biuf" or found.ndim > 2 or found.size == 0:
            raise ValueError(
                f"{name} must be a number, one number per query, or a two-dimensional "
                f"array of the values of single rows. Got {values!r}."
            )
        found = found.astype(np.float64)
        if not np.isfinite(found).all():
            raise ValueError(f"{name} contains NaN or infinity.")
        low, high = self._in_use["range"]
        inside = np.clip(found, low, high)
        if found.ndim == 2:
            return inside.mean(axis=0), False
        if np.any(inside != found):
            warnings.warn(
                f"{name} has means outside value_range=({low:g}, {high:g}), which are "
                "clipped. Values of single rows have to be clipped before the mean.",
                UserWarning,
                stacklevel=3,
            )
        return np.atleast_1d(inside), found.ndim == 0

    def _require_budget(self, values):
        if self.budget_left_ < 1:
            raise BudgetExhausted(
                f"The budget of {self._in_use['budget']} is used up after "
                f"{self.n_queries_} queries: the validation set gives no further "
                "value. Take fresh rows.",
                values,
            )

    def _reply(self, train, hold):
        """Answer one query and note it."""
        found = reply(
            train, hold, self._noisy_threshold, self._rule(), self._random_state
        )
        self._noisy_threshold = found.noisy_threshold
        self.budget_left_ -= float(found.spent)
        self.n_queries_ += 1
        self.n_overfit_ += int(found.overfit)
        self._log.append((train, found.value, found.overfit, self.budget_left_))
        return found

    def score(self, estimator, scoring="accuracy", *, return_overfit=False):
        """Return the protected score of a fitted model: one query.

        Parameters
        ----------
        estimator : estimator
            Fitted to the training rows or some of them.
        scoring : str or callable, default="accuracy"
            ``"accuracy"``, ``"neg_brier_score"``, ``"neg_log_loss"``,
            ``"neg_mean_absolute_error"``, ``"neg_mean_squared_error"``, or a callable
            ``(estimator, X, y)`` that returns one value per row. Scores that are no
            mean over rows, such as the area under a ROC curve or R2, are refused.
        return_overfit : bool, default=False
            Whether to return also whether the query overfits. A score that does not is
            the *training* score.

        Returns
        -------
        score : float
            Protected score; with ``mechanism="sparse"`` whether it overfits.
        overfit : bool
            Whether it overfits; only where ``return_overfit``.
        """
        check_is_fitted(self, "budget_left_")
        check_scoring_of_rows(scoring)
        self._require_budget(())
        bounds = self._in_use["range"]
        means = [
            float(row_values(scoring, estimator, restore(X), y, bounds).mean())
            for X, y in (self._train, self._held)
        ]
        return self.query(*means, return_overfit=return_overfit)

    @property
    def log_(self):
        """One row per query."""
        check_is_fitted(self, "budget_left_")
        pd = require_pandas("log_")
        columns = ["train", "value", "overfit", "budget_left"]
        frame = pd.DataFrame(self._log, columns=columns)
        frame.insert(0, "query", np.arange(1, len(frame) + 1))
        return frame


class ReusableScorer:
    """A scorer ``(estimator, X, y)`` that goes through a holdout set.

    X and y are not used. It is neither copied nor pickled, so that all fits of a search
    share one budget.
    """

    def __init__(self, holdout, scoring):
        self.holdout = holdout
        self.scoring = scoring

    @property
    def budget_left(self):
        """Budget that is left."""
        return self.holdout.budget_left_

    def __call__(self, estimator, X=None, y=None):
        """Return the protected score of a fitted estimator."""
        return self.holdout.score(estimator, self.scoring)

    def __repr__(self):
        """Show the budget."""
        return (
            f"make_reusable_scorer({self.scoring!r}, budget_left={self.budget_left:g})"
        )

    def __copy__(self):
        """Return itself: a copy would have a budget too."""
        return self

    def __deepcopy__(self, memo):
        """Return itself, as cloning a search copies its scorer."""
        return self

    def __reduce__(self):
        """Refuse to be pickled."""
        raise TypeError(
            "The scorer of a ReusableHoldout cannot be pickled: every process would "
            "have a budget. Run the search with n_jobs=1, or with threads."
        )


def make_reusable_scorer(holdout, scoring="accuracy"):
    """Make a scorer for searches out of a reusable holdout set.

    Use it as ``scoring`` of :class:`~sklearn.model_selection.GridSearchCV` and the
    like, with ``n_jobs=1`` and the training rows as the only fold:
    ``cv=[(rows, rows)]`` with ``rows = np.arange(len(X_train))``. The test fold of the
    search is not looked at.

    Parameters
    ----------
    holdout : ReusableHoldout
        Fitted; it keeps the budget, the log and the number of queries.
    scoring : str or callable, default="accuracy"
        As in :meth:`ReusableHoldout.score`.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``. It refuses to be pickled, and a copy of it is
        itself, so that a budget is never doubled.

    See Also
    --------
    ReusableHoldout : What it goes through.

    Notes
    -----
    A search that meets a used-up budget records its ``error_score``; with
    ``error_score="raise"`` it raises :class:`BudgetExhausted`. Leave
    ``return_train_score`` off: each train score would be a query too.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import ReusableHoldout, make_reusable_scorer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> holdout = ReusableHoldout(random_state=0).from_split(X, y)
    >>> rows = holdout.train_indices_
    >>> search = GridSearchCV(
    ...     DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 4]},
    ...     scoring=make_reusable_scorer(holdout), cv=[(np.arange(len(rows)),) * 2],
    ... ).fit(X[rows], y[rows])
    >>> holdout.n_queries_
    3
    """
    if not isinstance(holdout, ReusableHoldout):
        raise TypeError(
            "holdout must be a fitted ReusableHoldout. Got "
            f"{type(holdout).__name__} instead."
        )
    check_is_fitted(holdout, "budget_left_")
    if holdout._in_use["mechanism"] == "sparse":
        raise ValueError(
            "mechanism='sparse' returns no scores, which a search needs. Use "
            "mechanism='thresholdout'."
        )
    check_scoring_of_rows(scoring)
    return ReusableScorer(holdout, scoring)
