"""Temperature scaling of logits."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight, fit_context
from skdiff._base.inner import whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, require_y
from skdiff.calibration._temperature._newton import fit_temperature, log_softmax


class TemperatureScaler(ClassifierMixin, SaveMixin, BaseEstimator):
    """Divide the logits of a classifier by one temperature.

    The temperature with the lowest log loss on rows that the classifier was not trained
    on: predicted classes stay, certainty changes for all rows alike. Use it for logits
    that come from elsewhere, such as a network in service; for a scikit-learn
    classifier ``CalibratedClassifierCV(method="temperature")`` does the same. Where
    classes overlap and a network has learnt its training labels by heart, one
    temperature is not enough; :func:`temperature_scaling_study` measures by how much.

    Parameters
    ----------
    classes : array-like of shape (n_classes,), default=None
        Labels in the order of the columns, where the rows of ``fit`` may lack one. The
        sorted labels of ``y`` if None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in the order of the columns.
    temperature_ : float
        What logits are divided by. Above one, the classifier was too certain.
    n_iter_ : int
        Newton steps taken.
    n_features_in_ : int
        Number of columns of the logits.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the columns, when there were names.

    See Also
    --------
    temperature_scaling_study : Whether one temperature can calibrate a model.
    sklearn.calibration.CalibratedClassifierCV : Calibrate a classifier by folds.
    OnlinePlattCalibrator : The same task for a stream of two classes.

    Notes
    -----
    The mean log loss is convex in one over the temperature; Newton steps within a
    bracket find its minimum to rounding. Logits times ``c`` give ``c`` times the
    temperature. Where every row of ``fit`` has its own class on top the minimum is at
    temperature zero, and where the logits prefer wrong classes it is infinite: a bound
    is then returned, with a warning.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural
    Networks", ICML 2017, arXiv 1706.04599.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.calibration import TemperatureScaler
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(5000, 3))
    >>> y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    >>> scaler = TemperatureScaler().fit(4 * logits, y)  # four times too certain
    >>> bool(abs(scaler.temperature_ - 4) < 0.3)
    True
    """

    _parameter_constraints: dict = {"classes": ["array-like", None]}

    def __init__(self, *, classes=None):
        self.classes = classes

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Find the temperature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_classes) or (n_samples,)
            Logits, or log probabilities, one column per class. For two classes one
            column, the log odds of the second, will do.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted scaler.
        """
        with whole_fit(self):
            require_y(self, y)
            y = column_or_1d(y, warn=True)
            y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
            check_classification_targets(y)
            classes = self._labels(y)
            logits = self._logits(X, len(classes), reset=True)
            check_consistent_length(logits, y)
            codes = np.searchsorted(classes, y)
            if self.classes is not None:
                codes = _positions(classes, y)
            weight = None
            if sample_weight is not None:
                weight = check_sample_weight(sample_weight, logits)
            _warn_of_probabilities(logits)
            found = fit_temperature(logits, codes, weight)
            if found.bound is not None:
                _warn_of_bound(found)
            self.classes_ = classes
            self.temperature_, self.n_iter_ = found.temperature, found.n_iter
        return self

    def _labels(self, y):
        if self.classes is None:
            classes = np.unique(y)
        else:
            classes = column_or_1d(self.classes)
            if len(np.unique(classes)) < len(classes):
                raise ValueError(f"classes holds a label twice: {classes.tolist()}.")
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class, {classes.tolist()[0]!r}; two are needed. Give all "
                "labels in classes."
            )
        return classes

    def _logits(self, X, n_classes, *, reset):
        """One column per class, as floats."""
        if n_classes == 2 and _is_flat(X):
            X = np.asarray(X).reshape(-1, 1)
        X = check_X(self, X, dtype=np.float64, reset=reset)
        if X.shape[1] == 1 and n_classes == 2:
            return np.column_stack([np.zeros(len(X)), X[:, 0]])
        if n_classes is not None and X.shape[1] != n_classes:
            raise ValueError(
                f"X has {X.shape[1]} columns of logits for {n_classes} classes. Give "
                "one per class; the labels in classes, where y lacks one."
            )
        return X

    def predict_proba(self, X):
        """Return probabilities at the fitted temperature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_classes) or (n_samples,)
            Logits, as in ``fit``.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X):
        """Return the logarithm of the probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_classes) or (n_samples,)
            Logits, as in ``fit``.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Finite where a probability is too small for a float.
        """
        check_is_fitted(self)
        logits = self._logits(X, len(self.classes_), reset=False)
        return log_softmax(logits, self.temperature_)

    def predict(self, X):
        """Return the class with the largest logit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_classes) or (n_samples,)
            Logits, as in ``fit``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels. No temperature changes them.
        """
        check_is_fitted(self)
        logits = self._logits(X, len(self.classes_), reset=False)
        return self.classes_[logits.argmax(axis=1)]


def _is_flat(X):
    """Tell whether X is one-dimensional, before anything is known of it."""
    if hasattr(X, "ndim"):
        return X.ndim == 1
    return isinstance(X, list | tuple) and not any(np.ndim(v) for v in X)


def _positions(classes, y):
    """The column of each row's class."""
    place = {label: k for k, label in enumerate(classes.tolist())}
    unknown = sorted(set(y.tolist()) - set(place), key=repr)
    if unknown:
        raise ValueError(f"y holds labels {unknown} that are not in classes.")
    return np.array([place[label] for label in y.tolist()], dtype=np.int64)


def _warn_of_probabilities(logits):
    inside = logits.min() >= 0 and logits.max() <= 1
    if inside and len(logits) > 1 and np.abs(logits.sum(axis=1) - 1).max() < 1e-6:
        warnings.warn(
            "The rows of X sum to one: they look like probabilities. Pass logits, or "
            "the logarithm of the probabilities.",
            UserWarning,
            stacklevel=3,
        )


def _warn_of_bound(found):
    what = (
        "Every row has its own class on top, so that the best temperature is zero"
        if found.bound == "low"
        else "The logits prefer wrong classes, so that the best temperature is infinite"
    )
    warnings.warn(
        f"{what}; {found.temperature:.3g} is used. Calibrate on rows that the "
        "classifier was not trained on.",
        ConvergenceWarning,
        stacklevel=3,
    )
