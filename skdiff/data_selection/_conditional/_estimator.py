"""CoLoR-Filter and its neighbours: rows by their loss before and after a target."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import refuse_samplers, whole_fit
from skdiff.data_selection._base import (
    BaseSampleSelector,
    Target,
    read_target,
    require_classes,
    require_classes_in_fold,
    splits_of,
    take,
)
from skdiff.data_selection._choice import choose, number_to_keep
from skdiff.data_selection._fine_tune._base import WAYS, fine_tuned, way_to_fine_tune
from skdiff.data_selection._models._base import (
    default_linear,
    fit_model,
    probabilities,
    row_losses,
    stack,
)

CRITERIA = ("color", "conditional", "rho", "domain")
# the paper's orientation: whether large scores are kept
_LARGE = {"color": False, "conditional": False, "rho": True, "domain": True}


class ConditionalLossSelector(BaseSampleSelector):
    """Select the rows of a pool that a small target sample makes more likely.

    A prior model is trained on the pool and continued on the target sample. Rows whose
    loss falls (CoLoR-Filter) follow the target's law. Use it where the pool looks like
    the target but its labels mean something else; where the rows themselves differ, a
    domain classifier is better, and ``criterion="auto"`` finds out by cross-validation
    on the target sample.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with ``predict_proba``, or a regressor. None is a scaled logistic, or
        ridge, regression.
    criterion : {"auto", "color", "conditional", "rho", "domain"}, default="auto"
        ``"color"`` keeps the smallest loss after minus loss before, ``"conditional"``
        the smallest loss after, ``"rho"`` the largest loss before minus loss under a
        model of the target sample alone, ``"domain"`` the largest probability of
        belonging to the target sample by X. ``"auto"`` compares them.
    fine_tune : {"auto", "ridge", "partial_fit", "refit"}, default="auto"
        How the prior is continued: a linear model by its own penalty centred at the
        prior's coefficients, others by ten calls of ``partial_fit``, or by a fit to the
        target sample alone. ``"auto"`` takes the first that the estimator allows.
    tau : float, default=None
        Score only ``tau * n_select`` random rows of the pool; all of them if None. Rows
        without a score have NaN.
    cv : int, splitter, iterable or None, default=5
        Folds: rows of the pool are scored by priors that have not seen them, and
        ``"auto"`` cross-validates on the target sample (in 5 folds where ``cv`` is an
        iterable of splits of the pool). None is 5.
    n_select : int or float, default=0.5
        Number of rows to select, or their fraction.
    balance : {"class"} or None, default=None
        ``"class"`` keeps the proportions of the classes, at least one row per class.
        With None a selection that loses a class raises.
    strategy : {"top", "sample"}, default="top"
        Whether the first rows by score are selected, or a sample without replacement
        in which one standard deviation of the score multiplies the weight by e.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Scores of ``criterion_``, in its own orientation.
    criterion_ : str
        The criterion.
    criterion_scores_ : dict
        With ``criterion="auto"``: the cross-validated log loss (mean squared error of a
        regressor) on the target sample of models trained on each criterion's rows; the
        least wins. Empty otherwise.
    support_ : ndarray of bool of shape (n_samples,)
        Which rows are selected.
    sample_indices_ : ndarray of shape (n_selected,)
        Their row numbers, sorted.
    n_selected_ : int
        How many.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    DataInfluenceSelector : By predicted influence on the loss of the target sample.
    SelectedFit : Select, then fit.

    Notes
    -----
    The published score is that of rows the prior was trained on. Here the prior is
    fitted to the other folds, which costs ``cv`` fits and keeps a flexible prior from
    memorising the pool. ``"auto"`` adds one fit per criterion and fold of the target
    sample, and ``cv`` times the continuations.

    References
    ----------
    D. Brandfonbrener, H. Zhang, A. Kirsch, J. R. Schwarz and S. Kakade, "CoLoR-Filter:
    Conditional Loss Reduction Filtering for Targeted Language Model Pre-training",
    2024, arXiv 2406.10670.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.data_selection import ConditionalLossSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> good = np.arange(300) < 150
    >>> y = (X[:, 0] > 0) == good  # half of the labels are turned round
    >>> X_target = rng.normal(size=(40, 2))
    >>> selector = ConditionalLossSelector(criterion="color", n_select=0.4)
    >>> selector = selector.fit(X, y, X_target=X_target, y_target=X_target[:, 0] > 0)
    >>> bool(good[selector.support_].mean() > 0.9)
    True
    """

    _parameter_constraints = {
        **BaseSampleSelector._parameter_constraints,
        "estimator": [HasMethods("fit"), None],
        "criterion": [StrOptions({"auto", *CRITERIA})],
        "fine_tune": [StrOptions({"auto", *WAYS})],
        "tau": [Interval(Real, 1, None, closed="left"), None],
        "cv": ["cv_object"],
    }

    # samples of other rows: a search must not cut them by its folds
    __metadata_request__fit = {"X_target": UNUSED, "y_target": UNUSED}

    def __init__(
        self,
        estimator=None,
        criterion="auto",
        fine_tune="auto",
        tau=None,
        cv=5,
        *,
        n_select=0.5,
        balance=None,
        strategy="top",
        random_state=None,
    ):
        self.estimator = estimator
        self.criterion = criterion
        self.fine_tune = fine_tune
        self.tau = tau
        self.cv = cv
        self.n_select = n_select
        self.balance = balance
        self.strategy = strategy
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, X_target=None, y_target=None):
        """Score the rows of the pool and select some.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The pool.
        y : array-like of shape (n_samples,)
            Its outcomes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of the pool in training. A row of weight zero is absent:
            its score is NaN, and it is never selected.
        X_target, y_target : array-like of shape (n_target, n_features), (n_target,)
            A small sample of what the model is for, and its outcomes. Required.

        Returns
        -------
        self : object
            Fitted selector.
        """
        with whole_fit(self):
            X, target, weight = self._check(X, y, sample_weight)
            X_target, goal = self._check_sample(
                X_target, y_target, self.estimator, target.classes
            )
            if goal.classes is not None and goal.n_classes > target.n_classes:
                target = read_target(y, self.estimator, classes=goal.classes)
            require_classes(target)
            n_samples = len(target.values)
            X, target, weight, kept = self._present(X, target, weight)
            cv = self._folds(kept)
            rng = check_random_state(self.random_state)
            estimator = self.estimator
            if estimator is None:
                estimator = default_linear(target.classes)
            for e in self._given():
                refuse_samplers(e, "the losses belong to the rows of the pool")
            n = number_to_keep(self.n_select, len(target.values))
            rows = self._candidates(len(target.values), n, rng)
            pool = _Pool(
                estimator,
                take(X, rows),
                target.take(rows),
                None if weight is None else weight[rows],
                5 if cv is None else cv,
                way_to_fine_tune(estimator, self.fine_tune),
                rng,
            )
            criterion, compared = self.criterion, {}
            if criterion == "auto":
                compared = self._compare(pool, X_target, goal, n, rng)
                criterion = min(compared, key=compared.get)
            scores = np.full(len(target.values), np.nan)
            scores[rows] = pool.scores(X_target, goal, [criterion])[criterion]
            values = scores if _LARGE[criterion] else -scores
            values = np.where(np.isnan(values), -np.inf, values)
            self._select(scores, values, target, rng, n)
            self._restore(kept, n_samples)
            self.criterion_, self.criterion_scores_ = criterion, compared
        return self

    def _worst_are_large(self):
        return not _LARGE[self.criterion_]

    def _candidates(self, n_samples, n, rng):
        rows = np.arange(n_samples)
        if self.tau is None:
            return rows
        m = min(len(rows), int(np.ceil(self.tau * n)))
        return np.sort(rng.choice(rows, size=m, replace=False))

    def _compare(self, pool, X_target, goal, n, rng):
        """Cross-validated loss on the target sample of each criterion's selection."""
        if len(goal.values) < 4:
            raise ValueError(
                "criterion='auto' cross-validates on the target sample, which has "
                f"{len(goal.values)} rows. Name a criterion."
            )
        total = dict.fromkeys(CRITERIA, 0.0)
        own = isinstance(self.cv, Integral) or hasattr(self.cv, "split")
        for train, test in splits_of(self.cv if own else 5, X_target, goal, rng):
            found = pool.scores(take(X_target, train), goal.take(train), CRITERIA)
            for name, scores in found.items():
                values = scores if _LARGE[name] else -scores
                lost = pool.loss_of(
                    values, n, self.balance, take(X_target, test), goal.take(test)
                )
                total[name] += lost
        return {name: value / len(goal.values) for name, value in total.items()}


class _Pool:
    """The rows of the pool with their out-of-fold priors."""

    def __init__(self, estimator, X, target, weight, cv, way, rng):
        self.estimator, self.X, self.target, self.weight = estimator, X, target, weight
        self.way, self.rng = way, rng
        self.folds = splits_of(cv, X, target, rng)
        self.priors: list = []
        self.before = np.empty(len(target.values))

    def _fit_priors(self):
        """Fit each fold's prior, once; a domain classifier needs none of them."""
        if self.priors:
            return
        for train, test in self.folds:
            known = self.target.take(train)
            require_classes_in_fold(known)
            prior = fit_model(
                self.estimator,
                take(self.X, train),
                known,
                weight=None if self.weight is None else self.weight[train],
                rng=self.rng,
            )
            X_test, test_target = take(self.X, test), self.target.take(test)
            self.before[test] = row_losses(prior, X_test, test_target)
            self.priors.append(prior)

    def scores(self, X_target, goal, criteria):
        """Scores of the rows by the criteria, in the paper's orientation."""
        found = {}
        if set(criteria) != {"domain"}:
            self._fit_priors()
        if {"color", "conditional"} & set(criteria):
            after = self._after(X_target, goal)
            found = {"color": after - self.before, "conditional": after}
        if "rho" in criteria:
            found["rho"] = self.before - self._under_target_model(X_target, goal)
        if "domain" in criteria:
            found["domain"] = self._domain(X_target)
        return {name: found[name] for name in criteria}

    def _after(self, X_target, goal):
        after = np.empty(len(self.before))
        for (_, test), prior in zip(self.folds, self.priors, strict=True):
            model = fine_tuned(
                prior, X_target, goal, self.way, self.estimator, self.rng
            )
            after[test] = row_losses(model, take(self.X, test), self.target.take(test))
        return after

    def _under_target_model(self, X_target, goal):
        if goal.classes is not None and len(np.unique(goal.values)) < 2:
            # no classifier can be fitted to one class; its frequency is known
            return np.where(self.target.values == goal.values[0], 0.0, -np.log(1e-15))
        model = fit_model(self.estimator, X_target, goal, rng=self.rng)
        return row_losses(model, self.X, self.target)

    def _domain(self, X_target):
        """Probability of belonging to the target sample, out of fold."""
        estimator = self.estimator
        if not is_classifier(estimator):
            estimator = default_linear([0, 1], centre=not issparse(self.X))
        p = np.empty(len(self.before))
        m = X_target.shape[0]
        for train, test in self.folds:
            codes = np.repeat([0, 1], [len(train), m])
            both = stack(take(self.X, train), X_target)
            labels = Target(codes, codes, np.array([0, 1]))
            model = fit_model(estimator, both, labels, rng=self.rng)
            p[test] = probabilities(
                model, take(self.X, test), labels.classes, "criterion='domain'"
            )[:, 1]
        return p

    def loss_of(self, values, n, balance, X_test, test):
        """Summed loss of test rows under a model of the selected rows."""
        groups = self.target.values if balance == "class" else None
        rows = choose(values, n, groups=groups, n_groups=self.target.n_classes)
        chosen = self.target.take(rows)
        if chosen.classes is not None and len(np.unique(chosen.values)) < 2:
            return np.inf
        model = fit_model(
            self.estimator,
            take(self.X, rows),
            chosen,
            weight=None if self.weight is None else self.weight[rows],
            rng=self.rng,
        )
        return float(row_losses(model, X_test, test).sum())
