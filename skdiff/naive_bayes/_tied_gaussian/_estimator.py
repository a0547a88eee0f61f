"""Gaussian naive Bayes with one variance per column."""

from numbers import Real

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, check_X_y
from skdiff.naive_bayes._tied_gaussian._statistics import (
    Moments,
    discriminant,
    merge,
    moments,
    variances,
)


class TiedGaussianNB(SaveMixin, ClassifierMixin, BaseEstimator):
    """Gaussian naive Bayes whose classes share one variance per column.

    Use it as a first classifier for very few rows per class on columns that are nearly
    independent, such as principal components or embeddings: it needs a number of rows
    that grows with the logarithm of the number of columns, where logistic regression
    needs a number that grows with the columns themselves. With more rows, or columns
    that depend on each other, logistic regression is better; :func:`two_regimes`
    measures where that begins, and :class:`TwoRegimeClassifier` combines the two.
    :class:`~sklearn.naive_bayes.GaussianNB` has a variance per class and column.

    Parameters
    ----------
    var_smoothing : float, default=1e-9
        Portion of the largest variance of all columns that is added to every variance.
    shrinkage : "auto", float or None, default=None
        How far each column's ratio of the variance within classes to the total
        variance is pulled towards the mean ratio of all columns: 0 or None is not at
        all, 1 is entirely. ``"auto"`` estimates it from the rows; with two rows per
        class it won on two data sets of five and lost on two (user guide). A change of
        the unit of a column changes nothing.
    priors : array-like of shape (n_classes,), default=None
        Prior probabilities of the classes, in the order of ``classes_``. By default the
        frequencies in the training rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    theta_ : ndarray of shape (n_classes, n_features)
        Mean of each column in each class.
    var_ : ndarray of shape (n_features,)
        Variance of each column within the classes, by maximum likelihood, after
        shrinkage and smoothing.
    class_prior_ : ndarray of shape (n_classes,)
        Probability of each class.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the weights of the rows of each class.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the log odds of ``classes_[1]``, or of the score of each class.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    shrinkage_ : float
        Shrinkage that was used.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    TwoRegimeClassifier : Combines it with logistic regression.
    two_regimes : At which number of rows logistic regression overtakes it.
    sklearn.naive_bayes.GaussianNB : A variance per class and column.
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : A full covariance.

    Notes
    -----
    The score of class k is ``log(prior_k) - sum_j (x_j - theta_kj)^2 / (2 var_j)``,
    which is linear in x up to a term that all classes share. Probabilities are
    over-confident where columns depend on each other; calibrate them, or use
    :class:`TwoRegimeClassifier`. A row of weight 2 counts as two rows.

    References
    ----------
    C. Zheng, G. Wu, F. Bao, Y. Cao, C. Li and J. Zhu, "Revisiting Discriminative vs.
    Generative Classifiers: Theory and Implications", ICML 2023, arXiv:2302.02334.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.naive_bayes import TiedGaussianNB
    >>> X, y = load_iris(return_X_y=True)
    >>> round(TiedGaussianNB().fit(X[::10], y[::10]).score(X, y), 2)
    0.94
    """

    _parameter_constraints: dict = {
        "var_smoothing": [Interval(Real, 0, None, closed="left")],
        "shrinkage": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both"), None],
        "priors": ["array-like", None],
    }

    def __init__(self, *, var_smoothing=1e-9, shrinkage=None, priors=None):
        self.var_smoothing = var_smoothing
        self.shrinkage = shrinkage
        self.priors = priors

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a weight of 2 counts as two rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = self._check_rows(X, y, sample_weight, reset=True)
        return self._learn(X, y, weight, np.unique(y), None)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add rows to the model; any split into blocks gives the model of one ``fit``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        first = not hasattr(self, "_moments")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        X, y, weight = self._check_rows(X, y, sample_weight, reset=first)
        if classes is not None:
            classes = unique_labels(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to "
                    f"partial_fit, was: {self.classes_!r}"
                )
        seen = None if first else self._moments
        return self._learn(X, y, weight, classes if first else self.classes_, seen)

    def _check_rows(self, X, y, sample_weight, *, reset):
        """Check; drop rows of weight zero."""
        X, y = check_X_y(self, X, y, reset=reset, accept_sparse="csr", dtype=np.float64)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        weight = check_sample_weight(sample_weight, X)
        kept = weight > 0
        if not kept.all():
            X, y, weight = X[kept], y[kept], weight[kept]
        return X, y, weight

    def _learn(self, X, y, weight, classes, seen):
        if len(classes) < 2:
            raise ValueError(
                "TiedGaussianNB needs at least two classes; got one class: "
                f"{classes.tolist()[0]!r}."
            )
        unknown = np.setdiff1d(y, classes)
        if len(unknown):
            raise ValueError(
                f"The target label(s) {unknown.tolist()} in y do not exist in the "
                f"initial classes {classes.tolist()}."
            )
        codes = np.searchsorted(classes, y)
        with np.errstate(over="ignore", invalid="ignore"):
            found = moments(X, codes, weight, len(classes))
            if seen is not None:
                found = merge(Moments(**seen), found)
            how = {"auto": None, None: 0.0}.get(self.shrinkage, self.shrinkage)
            var, used = variances(found, how, self.var_smoothing)
        if not (np.all(np.isfinite(var)) and np.all(np.isfinite(found.means))):
            raise ValueError(
                "The variances of X are not finite: X has values too large for their "
                "squares. Rescale X, for instance with StandardScaler."
            )
        prior = self._class_prior(found.counts)
        with np.errstate(divide="ignore"):
            scores = discriminant(found, var, np.log(prior))
        self.classes_, self._moments = classes, found._asdict()
        self.class_count_, self.theta_ = found.counts, found.means
        self.var_, self.shrinkage_, self.class_prior_ = var, used, prior
        self.coef_, self.intercept_ = scores.coef, scores.intercept
        if len(classes) == 2:
            with np.errstate(invalid="ignore"):
                self.coef_ = scores.coef[1:] - scores.coef[:1]
                self.intercept_ = scores.intercept[1:] - scores.intercept[:1]
        return self

    def _class_prior(self, counts):
        if self.priors is None:
            return counts / counts.sum()
        priors = np.asarray(self.priors, dtype=np.float64)
        if priors.shape != counts.shape:
            raise ValueError(
                f"Number of priors must match number of classes. Got {priors.shape} "
                f"for {len(counts)} classes."
            )
        if not np.all(priors >= 0):
            raise ValueError("Priors must be non-negative.")
        if not np.isclose(priors.sum(), 1.0):
            raise ValueError("The sum of the priors should be 1.")
        return priors

    def decision_function(self, X):
        """Return the linear scores of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log odds of ``classes_[1]``, or the score of each class, which is its log
            probability up to a constant of the row.
        """
        check_is_fitted(self)
        X = check_X(self, X, reset=False, accept_sparse="csr", dtype=np.float64)
        scores = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        scores = self.decision_function(X)
        binary = scores.ndim == 1
        return self.classes_[(scores > 0).astype(int) if binary else scores.argmax(1)]

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Columns follow ``classes_``.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        return log_softmax(scores, axis=1)

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        check_is_fitted(self)
        return np.exp(self.predict_log_proba(X))
