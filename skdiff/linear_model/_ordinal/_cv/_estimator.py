"""PRESTO with a cross-validated penalty."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.compat import Interval, StrOptions, check_sample_weight, fit_context
from skdiff.linear_model._ordinal._base import BaseOrdinal, make_rows
from skdiff.linear_model._ordinal._cv._folds import (
    Settings,
    fold_scores,
    stratified_folds,
)
from skdiff.linear_model._ordinal._estimator import CONSTRAINTS
from skdiff.linear_model._ordinal._solver import largest_alpha

_SMALLEST = 0.01  # of the largest penalty


class PRESTOClassifierCV(BaseOrdinal):
    """Ordered classes with the penalty of PRESTO chosen by cross-validation.

    Parameters
    ----------
    alphas : int or array-like of shape (n_alphas,), default=20
        Penalties to try, or how many: from the smallest that leaves no coefficient but
        zeros down to a hundredth of it.
    l1_ratio : float, default=1.0
        As in :class:`PRESTOClassifier`.
    penalize_base : bool, default=True
        As in :class:`PRESTOClassifier`.
    scoring : {"brier", "log_loss", "rare_brier"}, default="brier"
        Loss on the held rows: squared error of the probabilities of all classes, log
        loss, or squared error of the probability of the last class alone. Of penalties
        that tie, the largest is taken.
    cv : int, splitter or iterable of splits, default=5
        Number of folds, over which every class is spread evenly in the order of the
        rows, or anything that scikit-learn takes and that needs no groups; with groups
        give its splits as a list. Folds whose training rows lack a class are left out
        with a warning.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. As in
        :class:`PRESTOClassifier`, on each fold anew.
    categories : array-like of shape (n_categories,), default=None
        As in :class:`PRESTOClassifier`.
    decision : {"argmax", "median"}, default="argmax"
        As in :class:`PRESTOClassifier`.
    monotone : {"clip", "rearrange"}, default="clip"
        As in :class:`PRESTOClassifier`.
    solver : {"auto", "cvxpy"}, default="auto"
        As in :class:`PRESTOClassifier`; for the last fit on all rows.
    tol : float, default=1e-7
        Tolerance of the stopping rule. It is relative to the gradient of the model
        without features.
    max_iter : int, default=100
        Maximum number of iterations. It holds for each penalty.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.

    Attributes
    ----------
    alpha_ : float
        The chosen penalty.
    alphas_ : ndarray of shape (n_alphas,)
        The penalties that were tried, the largest first.
    cv_scores_ : ndarray of shape (n_alphas, n_folds)
        Mean loss on the held rows of each fold that was used.
    classes_ : ndarray of shape (n_classes,)
        Labels in their order.
    coef_ : ndarray of shape (n_classes - 1, n_features)
        Coefficients of each threshold, fitted to all rows.
    coef_diff_ : ndarray of shape (n_classes - 1, n_features)
        The first row is that of ``coef_``, later rows are differences of its rows.
    intercept_ : ndarray of shape (n_classes - 1,)
        Thresholds.
    n_iter_ : int
        Newton steps of the last fit.
    objective_ : float
        Weighted mean loss plus penalty.
    dual_gap_ : float
        Upper bound of how far ``objective_`` is from its minimum.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    PRESTOClassifier : One penalty.

    Notes
    -----
    Losses are averaged over all held rows, with their weights. Each fit of the path
    starts from the one before.

    References
    ----------
    G. Faletto and J. Bien, "Predicting Rare Events by Shrinking Towards Proportional
    Odds", ICML 2023, arXiv:2305.18700.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import PRESTOClassifierCV
    >>> X, target = load_diabetes(return_X_y=True)
    >>> y = np.digitize(target, [100, 200, 300])
    >>> model = PRESTOClassifierCV().fit(X, y)
    >>> round(model.alpha_, 3), model.cv_scores_.shape
    (0.034, (20, 5))
    """

    _parameter_constraints: dict = {
        **{
            k: v
            for k, v in CONSTRAINTS.items()
            if k not in ("alpha", "fit_intercept", "warm_start")
        },
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "scoring": [StrOptions({"brier", "log_loss", "rare_brier"})],
        "cv": ["cv_object"],
        "n_jobs": [None, Integral],
    }
    fit_intercept = True

    def __init__(
        self,
        alphas=20,
        l1_ratio=1.0,
        *,
        penalize_base=True,
        scoring="brier",
        cv=5,
        standardize=True,
        categories=None,
        decision="argmax",
        monotone="clip",
        solver="auto",
        tol=1e-7,
        max_iter=100,
        class_weight=None,
        n_jobs=None,
    ):
        self.alphas = alphas
        self.l1_ratio = l1_ratio
        self.penalize_base = penalize_base
        self.scoring = scoring
        self.cv = cv
        self.standardize = standardize
        self.categories = categories
        self.decision = decision
        self.monotone = monotone
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.n_jobs = n_jobs

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Choose the penalty and fit the model to all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels; an ordered Categorical brings its order.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If no fold has all classes among its training rows, or as in
            :class:`PRESTOClassifier`.
        """
        table = self._table(X, y, sample_weight)
        alphas = self._grid(table)
        splits = self._usable(self._splits(X, table, sample_weight), table)
        how = Settings(
            self._penalty(0.0),
            alphas,
            self.standardize,
            self.monotone,
            self.scoring,
            self.tol,
            self.max_iter,
        )
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(fold_scores)(table.X, table.codes, table.weight, split, how)
            for split in splits
        )
        sums = np.column_stack([part for part, _ in found])
        masses = np.array([mass for _, mass in found])
        best = int(np.argmin(sums.sum(axis=1)))
        self._learn(table, alphas[best])
        self.alpha_, self.alphas_ = float(alphas[best]), alphas
        self.cv_scores_ = sums / masses
        return self

    def _grid(self, table):
        if not isinstance(self.alphas, Integral):
            alphas = np.sort(np.asarray(self.alphas, dtype=np.float64).ravel())[::-1]
            if not len(alphas) or not np.all((alphas >= 0) & np.isfinite(alphas)):
                raise ValueError(
                    "alphas must be a number of penalties or a list of finite "
                    f"penalties that are not negative. Got {self.alphas!r}."
                )
            return alphas.copy()
        rows, _ = make_rows(table, self.standardize)
        with np.errstate(all="ignore"):
            largest = largest_alpha(rows, self._penalty(0.0), self.tol)
        if not np.isfinite(largest):
            raise ValueError("X has values too large for their squares. Rescale X.")
        largest = max(largest, 1e-10)
        return np.geomspace(largest, _SMALLEST * largest, self.alphas)

    def _splits(self, X, table, sample_weight):
        """Splits in the numbers of the rows that count."""
        if isinstance(self.cv, Integral) or self.cv is None:
            n_folds = 5 if self.cv is None else self.cv
            if n_folds < 2:
                raise ValueError(f"cv must be at least 2, got {n_folds}.")
            return stratified_folds(table.codes, n_folds)
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        kept = np.ones(n, dtype=bool)
        if sample_weight is not None:
            kept = check_sample_weight(sample_weight, np.empty((n, 1))) > 0
        if kept.sum() != len(table.codes):
            raise ValueError(
                "class_weight is zero for a class, and cv splits all rows. Leave out "
                "its rows instead."
            )
        place = np.cumsum(kept) - 1
        labels = np.zeros(n, dtype=np.int64)
        labels[kept] = table.codes
        splitter = check_cv(self.cv, labels, classifier=True)
        return [
            tuple(place[r][kept[r]] for r in (np.arange(n)[train], np.arange(n)[test]))
            for train, test in splitter.split(np.empty((n, 1)), labels)
        ]

    def _usable(self, splits, table):
        """Splits with every class to train on, and rows to judge by."""
        K = len(table.classes)
        fine = [
            split
            for split in splits
            if len(np.unique(table.codes[split[0]])) == K and len(split[1])
        ]
        left = len(splits) - len(fine)
        if not fine:
            counts = np.bincount(table.codes)
            rarest = table.classes.tolist()[int(counts.argmin())]
            raise ValueError(
                f"No fold has all classes among its training rows. The class "
                f"{rarest!r} has {counts.min()} samples; use PRESTOClassifier, or give "
                "cv other splits."
            )
        if left:
            warnings.warn(
                f"{left} of {len(splits)} folds were left out: their training rows "
                "lack a class.",
                UserWarning,
                stacklevel=3,
            )
        return fine
