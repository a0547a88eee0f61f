"""Conformal selection in which every labelled row both trains and calibrates."""

from numbers import Integral

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit
from sklearn.utils import check_random_state

from skdiff._base.compat import (
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    safe_indexing,
)
from skdiff._base.inner import is_frozen, seeded, whole_fit
from skdiff.conformal._common._base import PRUNING_CONSTRAINTS, BaseSelector
from skdiff.conformal._common._batch import Scores
from skdiff.conformal._common._goal import Goal
from skdiff.conformal._common._models import (
    check_candidates,
    default_estimator,
    margin,
)
from skdiff.conformal._common._scores import labelled_scores, rounded
from skdiff.conformal._cross_fit._leave_out import (
    check_cv,
    closed_form,
    fold_predictions,
    make_folds,
    out_of_bag,
)
from skdiff.conformal._cross_fit._tables import pack, stack_rows, unpack

# what every model here is trained on: 1 for a discovery, 0 otherwise
_BINARY = Goal(0.0, True, 1)


class CrossFitConformalSelector(BaseSelector):
    """Conformal selection without a calibration part, by cross-fitting.

    Models are trained on labelled *and* new rows, the new ones imputed as no
    discoveries, and score rows they have not seen. Under the null the imputed outcome
    is the true one, so that standard Benjamini-Hochberg keeps the expected rate of
    false discoveries at ``fdr_level``, with all labelled rows used twice.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier, or regressor of the 0/1 outcome. ``None`` is a scaled logistic
        regression.
    estimators : list of estimators, default=None
        Several candidates in place of ``estimator``; each row's is then chosen as in
        :class:`OptimizedConformalSelector`.
    threshold : float, default=0.0
        An outcome above it is a discovery.
    fdr_level : float, default=0.1
        Accepted expected rate of false discoveries, in (0, 1).
    target : callable or class label, default=None
        In place of ``threshold``: a function of y that returns booleans, or the class
        that is a discovery.
    conformity_score : {"clip", "null"}, default="clip"
        Whether discoveries stay among the labelled scores, where they never compete
        (``"clip"``), or leave (``"null"``, more conservative).
    cv : int, KFold, "loo" or "oob", default=10
        Number of folds, drawn at random over all rows together. ``"loo"`` leaves one
        out, without refitting for ridge, kernel ridge and nearest neighbours;
        ``"oob"`` takes the out-of-bag predictions of a forest. Folds that depend on
        outcomes, groups or order are refused: they break the guarantee.
    class_weight : {"balanced"} or None, default="balanced"
        Weights against the imputed zeros. An estimator that takes no sample weights
        gets rows of the rarer class repeated instead.
    pruning : {"hete", "homo", "dtm"}, default="hete"
        With ``estimators``: see :class:`OptimizedConformalSelector`.
    beta : float, default=1.0
        With ``estimators``: factor in (0, 1] of the first step's bound.
    randomized : bool, default=True
        Whether ties are broken at random, by draws that belong to the row and the
        seed: rows that differ change none of them, and equal rows have independent
        draws, by their order. Otherwise ties count in full.
    larger : bool, default=True
        Whether a discovery lies above ``threshold`` (below it otherwise).
    n_repeats : int, default=1
        Number of random partitions into folds over which the scores are averaged.
        Another seed then changes the selection less, at the same guaranteed rate and
        no loss of power.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They fit through joblib.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the order of the rows, breaks ties and prunes.

    Attributes
    ----------
    n_labelled_ : int
        Number of labelled rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.
    p_values_ : ndarray of shape (n_new,)
        P-values of the last :meth:`select`.
    selected_ : ndarray of bool of shape (n_new,)
        Its result.
    aux_sizes_, chosen_, first_step_ : ndarray of shape (n_new,)
        Its auxiliary selection sizes, candidates and first step, with ``estimators``
        only.

    See Also
    --------
    ConformalSelector : One fit, a calibration part, batches at any time.
    OptimizedConformalSelector : Several models and a calibration part.

    Notes
    -----
    The method is transductive: ``fit`` only keeps the labelled rows, and every call on
    a batch trains anew on both. The paper leaves one row out at a time, which costs as
    many fits as there are rows; folds drawn at random over all rows keep the argument
    and cost ``cv`` fits. A batch that was looked at must not be selected from again
    with other settings until something is selected.

    References
    ----------
    T. Bai and Y. Jin, "Optimized Conformal Selection: Powerful Selective Inference
    After Conformity Score Optimization", 2024, arXiv 2411.17983.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.conformal import CrossFitConformalSelector
    >>> X, y = load_diabetes(return_X_y=True)
    >>> selector = CrossFitConformalSelector(
    ...     threshold=150, fdr_level=0.2, random_state=0
    ... )
    >>> selected = selector.fit_select(X[:300], y[:300], X[300:])
    >>> bool((y[300:][selected] > 150).mean() > 0.7)
    True
    """

    _own_parameters = {"class_weight": "it acts on the imputed zeros of the outcomes"}
    _parameter_constraints = {
        **BaseSelector._parameter_constraints,
        **PRUNING_CONSTRAINTS,
        "estimator": [HasMethods("fit"), None],
        "estimators": [list, None],
        "conformity_score": [StrOptions({"clip", "null"})],
        "cv": [
            Interval(Integral, 2, None, closed="left"),
            BaseCrossValidator,
            BaseShuffleSplit,
            StrOptions({"loo", "oob"}),
        ],
        "class_weight": [StrOptions({"balanced"}), None],
        "n_jobs": [Integral, None],
    }
    _needs_new_thresholds = False

    def __init__(
        self,
        estimator=None,
        *,
        estimators=None,
        threshold=0.0,
        fdr_level=0.1,
        target=None,
        conformity_score="clip",
        cv=10,
        class_weight="balanced",
        pruning="hete",
        beta=1.0,
        randomized=True,
        larger=True,
        n_repeats=1,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.estimators = estimators
        self.threshold = threshold
        self.fdr_level = fdr_level
        self.target = target
        self.conformity_score = conformity_score
        self.cv = cv
        self.class_weight = class_weight
        self.pruning = pruning
        self.beta = beta
        self.randomized = randomized
        self.larger = larger
        self.n_repeats = n_repeats
        self.n_jobs = n_jobs
        self.random_state = random_state

    @property
    def _optimizes(self):
        return self.estimators is not None

    def _given(self):
        if self.estimators is not None:
            return check_candidates(self.estimators)
        return [] if self.estimator is None else [self.estimator]

    def _candidates(self):
        return self._given() or [default_estimator()]

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, thresholds=None, groups=None):
        """Keep the labelled rows; the training happens with the rows to select from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Labelled rows, exchangeable with those to come.
        y : array-like of shape (n_samples,)
            Their outcomes.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row in place of ``threshold``.
        groups : array-like of shape (n_samples,), default=None
            Labels of groups: :meth:`select` then compares new rows with the labelled
            rows of their group.

        Returns
        -------
        self : object
            Ready to select.
        """
        with whole_fit(self):
            if self.estimator is not None and self.estimators is not None:
                raise ValueError("Give estimator or estimators, not both.")
            if any(is_frozen(e) for e in self._given()):
                raise ValueError(
                    "CrossFitConformalSelector trains on every batch and has no use "
                    "for a FrozenEstimator. ConformalSelector takes fitted models."
                )
            check_cv(self.cv)  # before any work
            checked = self._check_labelled(X, y, thresholds, groups)
            X, y, thresholds, grouped, positive = checked
            if len(y) < 2:
                raise ValueError("n_samples=1: two labelled rows are the least.")
            self._warn_if_powerless(positive)
            rng = check_random_state(self.random_state)
            self._table, self._positive = X, positive
            self._groups = None if grouped is None else tuple(grouped)
            self._per_row = thresholds is not None
            self._fitted_goal = tuple(self._goal())
            self._live = {}
            self.n_labelled_ = len(y)
            # kept, so that the same batch gives the same selection
            seeds = rng.randint(2**31 - 1, size=(self.n_repeats, 2))
            self._seeds = [tuple(map(int, pair)) for pair in seeds]
        return self

    def fit_select(
        self,
        X,
        y,
        X_new,
        *,
        fdr_level=None,
        thresholds=None,
        groups=None,
        groups_new=None,
    ):
        """Fit, and select from new rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Labelled rows.
        y : array-like of shape (n_samples,)
            Their outcomes.
        X_new : array-like of shape (n_new, n_features)
            Rows to select from.
        fdr_level : float or array-like of shape (n_levels,), default=None
            Level, or levels; ``fdr_level`` of the constructor if None.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row in place of ``threshold``.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups of the labelled rows.
        groups_new : array-like of shape (n_new,), default=None
            Labels of the groups of the new rows; see :meth:`select`.

        Returns
        -------
        selected : ndarray of bool of shape (n_new,) or (n_levels, n_new)
            Whether each new row is selected.
        """
        fitted = self.fit(X, y, thresholds=thresholds, groups=groups)
        return fitted.select(X_new, fdr_level=fdr_level, groups=groups_new)

    def _repeats(self, X, thresholds):
        """Train on both tables and score both."""
        if thresholds is not None:
            raise ValueError(
                "Give thresholds to fit: new rows are imputed as no discoveries and "
                "need none."
            )
        n, f, kept = self.n_labelled_, self._margins(X), self._positive
        V = np.column_stack(
            [
                labelled_scores(self.conformity_score, column, kept, kept * 1.0)
                for column in f[:n].T
            ]
        )
        if not len(V):
            raise ValueError(
                "conformity_score='null' needs labelled rows that are no discoveries; "
                "there are none."
            )
        codes = None
        if self._groups is not None:
            codes = self._groups[1]
            codes = codes[~kept] if self.conformity_score == "null" else codes
        return [Scores(V, -f[n:], groups=codes, seed=self._seeds[0][1])]

    def _margins(self, X):
        """Margins of labelled and new rows; those of the last batch are kept."""
        key = self._fingerprint(X)
        last = self._live.get("last")
        if last is not None and key is not None and last[0] == key:
            return last[1]
        n, m = self.n_labelled_, X.shape[0]
        whole = stack_rows(self._table, X)
        z = np.concatenate([self._positive, np.zeros(m, dtype=bool)]).astype(np.float64)
        margins = np.zeros((n + m, len(self._candidates())))
        for order_seed, _ in self._seeds:
            # in random order: no model and no fold can tell labelled from new rows
            order = np.random.RandomState(order_seed).permutation(n + m)
            f = self._unseen(safe_indexing(whole, order), z[order], order_seed)
            # a mean over orders treats all rows alike too
            margins[order] += f / len(self._seeds)
        margins = rounded(margins)
        self._live["last"] = key, margins
        return margins

    def _fingerprint(self, X):
        """A digest of the batch and of the models; None where it has none."""
        models = sorted(
            (name, repr(value))
            for name, value in self.get_params(deep=True).items()
            if name.startswith(("estimator", "cv", "class_weight"))
        )
        try:
            return joblib.hash((models, X))
        except Exception:  # whatever cannot be pickled has no digest
            return None

    def __getstate__(self):
        """Leave out what is computed again, and hold the rows as arrays."""
        state = super().__getstate__()
        state = {key: value for key, value in state.items() if key != "_live"}
        if "_table" in state:
            state["_table"] = pack(state["_table"])
        return state

    def __setstate__(self, state):
        """Take the arrays; the next batch is computed anew."""
        super().__setstate__(state)
        if "_table" in state:
            self._table, self._live = unpack(state["_table"]), {}

    def _unseen(self, X, z, seed):
        """Margins of every row by models that have not seen it."""
        cv = check_cv(self.cv)
        balanced = self.class_weight == "balanced"
        candidates = [
            seeded(e, np.random.RandomState([seed, k]))
            for k, e in enumerate(self._candidates())
        ]
        if cv == "oob":
            columns = [out_of_bag(e, X, z, balanced) for e in candidates]
            return rounded(np.column_stack(columns))
        known = {}
        if cv == "loo":
            found = [closed_form(e, X, z, balanced) for e in candidates]
            known = {k: f for k, f in enumerate(found) if f is not None}
            cv = len(z)
        rest = [k for k in range(len(candidates)) if k not in known]
        out = np.empty((len(z), len(candidates)))
        for k, f in known.items():
            out[:, k] = rounded(f)
        if rest:
            out[:, rest] = fold_predictions(
                [clone(candidates[k]) for k in rest],
                X,
                z,
                make_folds(cv, len(z)),
                balanced,
                lambda model, rows: margin(model, rows, _BINARY),
                self.n_jobs,
            )
        return out
