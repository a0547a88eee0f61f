"""A classifier between naive Bayes and logistic regression."""

import warnings
from numbers import Integral

import numpy as np
from scipy import sparse
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    StrOptions,
    check_sample_weight,
    fit_context,
    safe_indexing,
)
from skdiff._base.inner import (
    check_table,
    fit_inner,
    seeded,
    whole_fit,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.naive_bayes._tied_gaussian._estimator import TiedGaussianNB
from skdiff.naive_bayes._two_regimes._blend import (
    LOWEST,
    blend,
    fit_correction,
    fit_exponents,
    log_loss,
)

# of the correction's ridge, from practically naive Bayes down to practically none
PENALTIES = np.logspace(1, -4, 11)


def fit_model(model, X, y, weight):
    """Fit a clone of a model given by the user, or the default logistic regression."""
    if model is not None:
        return fit_inner(model, X, y, weight=weight)
    scaler = StandardScaler(with_mean=not sparse.issparse(X))
    regression = LogisticRegression(solver="newton-cg", tol=1e-9, max_iter=1000)
    weights = {} if weight is None else {"sample_weight": weight}
    # the units in which the penalty acts are those of the weighted rows
    Z = scaler.fit_transform(X, **weights)
    regression.fit(Z, y, **weights)
    return Pipeline([("scale", scaler), ("regress", regression)])


def log_probabilities(model, X, n_classes):
    """Log probabilities of a fitted model, bounded below."""
    if hasattr(model, "predict_log_proba"):
        with np.errstate(divide="ignore"):
            logs = np.asarray(model.predict_log_proba(X), dtype=np.float64)
    else:
        with np.errstate(divide="ignore"):
            logs = np.log(np.asarray(model.predict_proba(X), dtype=np.float64))
    if logs.shape[1] != n_classes:
        raise ValueError(
            f"{type(model).__name__} knows {logs.shape[1]} classes of {n_classes}."
        )
    return np.maximum(logs, LOWEST)


def _fit_fold(models, X, codes, weight, split, n_classes):
    """Fit on the training rows of a fold; log probabilities of its other rows."""
    train, test = split
    part = None if weight is None else weight[train]
    X_train, X_test = safe_indexing(X, train), safe_indexing(X, test)
    fitted = [fit_model(m, X_train, codes[train], part) for m in models]
    return [log_probabilities(m, X_test, n_classes) for m in fitted], fitted[0]


class TwoRegimeClassifier(SaveMixin, ClassifierMixin, BaseEstimator):
    """Naive Bayes and logistic regression, combined or chosen by cross-validation.

    Use it where it is not known whether the rows are few enough for naive Bayes to win:
    naive Bayes reaches its own best with a number of rows of the order of the logarithm
    of the number of columns, logistic regression has the better limit and needs more
    rows. The combination is as good as the better of the two, or slightly better.

    Parameters
    ----------
    nb : estimator, default=None
        Classifier of the first regime, with ``predict_proba``. By default a
        :class:`TiedGaussianNB`.
    lr : estimator, default=None
        Classifier of the second regime, with ``predict_proba``. By default a
        :class:`~sklearn.linear_model.LogisticRegression` on standardised columns.
        Not used by ``blend="prior"``.
    blend : {"stack", "select", "prior"}, default="stack"
        ``"stack"`` multiplies the probabilities of both, each raised to a power that
        minimises the cross-validated log loss. ``"select"`` takes the model with the
        smaller cross-validated log loss. ``"prior"`` is a logistic regression with a
        ridge penalty towards ``nb``, whose strength is found by cross-validation.
    cv : int, cross-validation splitter or iterable, default=5
        Folds. An int is the number of stratified folds, fewer where a class has fewer
        rows.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It
        shuffles the folds of an int ``cv`` and seeds unseeded inner models.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    nb_ : estimator
        Fitted classifier of the first regime.
    lr_ : estimator
        Fitted classifier of the second regime; None for ``blend="prior"``.
    weights_ : dict
        Exponents of the probabilities of ``"nb"`` and ``"lr"``.
    log_losses_ : dict
        Cross-validated log loss of ``"nb"``, of ``"lr"`` and of the ``"blend"``, the
        last at the weights that minimise it; without ``"lr"`` for ``blend="prior"``.
    penalty_ : float
        Ridge penalty of ``blend="prior"``; None otherwise.
    correction_coef_ : ndarray of shape (n_features, n_classes)
        Coefficients that ``blend="prior"`` adds to the scores of ``nb``, for
        standardised columns; None otherwise.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    two_regimes : At which number of rows logistic regression overtakes naive Bayes.
    sklearn.ensemble.StackingClassifier : Stacking of any models, with a final model.

    Notes
    -----
    The exponents solve a convex problem in two variables, with a penalty of the weight
    of one row towards logistic regression alone. An exponent of naive Bayes below 1
    takes back its over-confidence. A class needs two rows, one to train and one
    to validate.

    References
    ----------
    C. Zheng, G. Wu, F. Bao, Y. Cao, C. Li and J. Zhu, "Revisiting Discriminative vs.
    Generative Classifiers: Theory and Implications", ICML 2023, arXiv:2302.02334.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skdiff.naive_bayes import TwoRegimeClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = TwoRegimeClassifier(random_state=0).fit(X[::4], y[::4])
    >>> sorted(model.weights_)
    ['lr', 'nb']
    >>> model.log_losses_["blend"] <= min(model.log_losses_["lr"], 1.0)
    True
    """

    _parameter_constraints: dict = {
        "nb": [HasMethods(["fit", "predict_proba"]), None],
        "lr": [HasMethods(["fit", "predict_proba"]), None],
        "blend": [StrOptions({"stack", "select", "prior"})],
        "cv": ["cv_object"],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        nb=None,
        lr=None,
        *,
        blend="stack",
        cv=5,
        n_jobs=None,
        random_state=None,
    ):
        self.nb = nb
        self.lr = lr
        self.blend = blend
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def get_metadata_routing(self):
        """Return how metadata are routed: row weights go to both models.

        Returns
        -------
        routing : MetadataRouter
            The routing.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        inner = {n: m for n, m in (("nb", self.nb), ("lr", self.lr)) if m is not None}
        return router.add(method_mapping=mapping, **inner) if inner else router

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit both models and their combination.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for both models and the combination.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        require_y(self, y)
        given = [m for m in (self.nb, self.lr) if m is not None]
        with whole_fit(self):
            X = check_table(self, X, given, reset=True)
            y = column_or_1d(y, warn=True)
            check_array(y, ensure_2d=False, dtype=None, input_name="y")
            check_consistent_length(X, y)
            check_classification_targets(y)
            weight = None
            if sample_weight is not None:
                weight = check_sample_weight(sample_weight, X)
                if isinstance(self.cv, int | np.integer) and not np.all(weight > 0):
                    kept = np.flatnonzero(weight > 0)
                    X, y, weight = safe_indexing(X, kept), y[kept], weight[kept]
            self._fit_rows(X, y, weight)
        return self

    def _fit_rows(self, X, y, weight):
        classes, codes = np.unique(y, return_inverse=True)
        self._check_classes(classes, codes)
        random_state = check_random_state(self.random_state)
        nb = TiedGaussianNB() if self.nb is None else self.nb
        chosen = [None if m is None else seeded(m, random_state) for m in (nb, self.lr)]
        models = chosen[:1] if self.blend == "prior" else chosen
        splits = self._splits(X, codes, random_state)
        K, w = len(classes), np.ones(len(codes)) if weight is None else weight
        folds = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_fold)(models, X, codes, weight, split, K) for split in splits
        )
        held = np.concatenate([test for _, test in splits])
        logs = [np.vstack([f[0][m] for f in folds]) for m in range(len(models))]
        losses = [log_loss(L, codes[held], w[held]) for L in logs]
        fitted = [fit_model(m, X, codes, weight) for m in models]
        self.penalty_ = self.correction_coef_ = None
        if self.blend == "prior":
            a = self._exponents(logs, codes[held], w[held])
            best = self._fit_prior(X, codes, w, (splits, folds, fitted[0], a[0]))
            exponents = [a[0], 0.0]
        elif self.blend == "stack":
            exponents = self._exponents(logs, codes[held], w[held])
            best = log_loss(blend(logs, exponents), codes[held], w[held])
        else:
            a = self._exponents(logs[:1], codes[held], w[held])
            calibrated = log_loss(blend(logs[:1], a), codes[held], w[held])
            naive = calibrated < losses[1]
            exponents = [a[0], 0.0] if naive else [0.0, 1.0]
            best = min(calibrated, losses[1])
        self.classes_ = classes
        self.nb_, self.lr_ = fitted[0], (fitted[1] if len(fitted) == 2 else None)
        self.weights_ = dict(zip(("nb", "lr"), map(float, exponents), strict=True))
        self.log_losses_ = dict(zip(("nb", "lr"), losses, strict=False))
        self.log_losses_["blend"] = float(best)

    def _check_classes(self, classes, codes):
        if len(classes) < 2:
            raise ValueError(
                "TwoRegimeClassifier needs at least two classes; got one class: "
                f"{classes.tolist()[0]!r}."
            )
        counts = np.bincount(codes)
        if counts.min() < 2:
            raise ValueError(
                "The least populated class in y has only 1 member, which is too few "
                f"for cross-validation: {classes.tolist()[counts.argmin()]!r}."
            )

    def _splits(self, X, codes, random_state):
        """The folds, each with every class among its training rows."""
        cv, n_classes = self.cv, codes.max() + 1
        if isinstance(cv, int | np.integer):
            n_splits = int(min(cv, np.bincount(codes).min()))
            seed = int(random_state.randint(2**31 - 1))
            cv = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
        splitter = check_cv(cv, codes, classifier=True)
        splits = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(X, codes)]
        for k, (train, _) in enumerate(splits):
            if len(np.unique(codes[train])) < n_classes:
                raise ValueError(
                    f"A class is missing from the training rows of fold {k}. Use "
                    "stratified folds, or fewer of them."
                )
        return splits

    def _exponents(self, logs, codes, weight):
        # naive Bayes has to earn its exponent, logistic regression is calibrated
        found = fit_exponents(logs, codes, weight, np.array([0.0, 1.0])[: len(logs)])
        if not found.converged and found.gap > 1e-5:
            warnings.warn(
                "The exponents of the combination did not converge (projected gradient "
                f"{found.gap:.1e}).",
                ConvergenceWarning,
                stacklevel=4,
            )
        return found.x

    def _fit_prior(self, X, codes, weight, parts):
        """Choose the ridge towards naive Bayes by the folds; fit it on all rows."""
        splits, folds, model, exponent = parts
        Z = self._standardise(X, weight)
        K = codes.max() + 1
        total = np.zeros(len(PENALTIES))
        for (train, test), (logs_test, fold_model) in zip(splits, folds, strict=True):
            logs = log_probabilities(fold_model, safe_indexing(X, train), K)
            fit = None
            for i, penalty in enumerate(PENALTIES):
                fit, _ = fit_correction(
                    exponent * logs,
                    Z[train],
                    codes[train],
                    weight[train],
                    penalty,
                    fit,
                    tol=1e-4,  # a loss is right to half its square
                )
                scores = fit.scores(exponent * logs_test[0], Z[test])
                loss = log_loss(scores, codes[test], weight[test])
                total[i] += loss * weight[test].sum()
        held = sum(weight[test].sum() for _, test in splits)
        self.penalty_ = float(PENALTIES[np.argmin(total)])
        logs = exponent * log_probabilities(model, X, K)
        correction, found = fit_correction(logs, Z, codes, weight, self.penalty_)
        if not found.converged:
            warnings.warn(
                "The regression towards naive Bayes did not converge.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.correction_coef_ = correction.coef
        self._correction_intercept = correction.intercept
        return total.min() / held

    def _standardise(self, X, weight=None):
        X = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
        if weight is not None:
            self._scaler = StandardScaler(with_mean=not sparse.issparse(X))
            self._scaler.fit(X, sample_weight=weight)
        return self._scaler.transform(X)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Columns follow ``classes_``.
        """
        check_is_fitted(self)
        given = [m for m in (self.nb, self.lr) if m is not None]
        X = check_table(self, X, given, reset=False)
        K = len(self.classes_)
        pairs = [(self.nb_, self.weights_["nb"]), (self.lr_, self.weights_["lr"])]
        used = [(m, a) for m, a in pairs if m is not None and a > 0]
        logs = [log_probabilities(m, X, K) for m, _ in used]
        scores = sum(
            (a * L for (_, a), L in zip(used, logs, strict=True)),
            np.zeros((X.shape[0], K)),
        )
        if self.correction_coef_ is not None:
            Z = self._standardise(X)
            scores = scores + Z @ self.correction_coef_ + self._correction_intercept
        return log_softmax(scores, axis=1)

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        check_is_fitted(self)
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_log_proba(X).argmax(axis=1)]
