"""Rows in, predictions out, for linear models with robust losses."""

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skdiff._base.persistence import SaveMixin
from skdiff._base.rows import checked_table
from skdiff._base.validation import check_X

RESCALE = (
    "The solution is not finite: X or y has values too large or too small for their "
    "squares. Rescale them, for instance with StandardScaler."
)


def standard_units(y, weight, centred):
    """Centre and scale of y; ones where y is constant or its square underflows."""
    share = weight / weight.sum()
    largest = float(np.abs(y).max())
    if largest == 0 or not 1e-150 < largest < 1e150:
        return 0.0, 1.0
    z = y / largest
    mean = float(share @ z) if centred else 0.0
    scale = float(np.sqrt(share @ (z - mean) ** 2))
    scale = scale * largest if scale > 1e-12 else 1.0
    return mean * largest, scale


class BaseLinear(SaveMixin, BaseEstimator):
    """A linear model of dense rows."""

    def _linear(self, X):
        check_is_fitted(self)
        X = check_X(self, X, dtype=np.float64, order="C", reset=False)
        return X @ self.coef_.T + self.intercept_

    def _design(self, X):
        """Columns of X, and one of ones for the intercept."""
        return np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X

    def _centre(self, X, weight):
        """Means of the columns, whose shift an intercept makes up for."""
        if not self.fit_intercept:
            return np.zeros(X.shape[1])
        return weight @ X / weight.sum()

    def _uncentred(self, w, centre, n_outputs=1):
        """Coefficients of the columns as given, from those of shifted ones."""
        blocks = w.reshape(n_outputs, -1).copy()
        if self.fit_intercept:
            blocks[:, -1] -= blocks[:, :-1] @ centre
        return blocks.ravel()

    def _ridge(self, n_features, n_outputs=1):
        """Penalties of the coefficients, block by block."""
        free = [0.0] if self.fit_intercept else []
        return np.tile(np.r_[np.full(n_features, float(self.alpha)), free], n_outputs)

    def _split(self, w, n_features, n_outputs=1):
        """Coefficients and intercepts."""
        if not np.all(np.isfinite(w)):
            raise ValueError(RESCALE)
        blocks = w.reshape(n_outputs, -1)
        coef = np.ascontiguousarray(blocks[:, :n_features])
        if self.fit_intercept:
            return coef, blocks[:, n_features].copy()
        return coef, np.zeros(n_outputs)


class LinearRegressor(RegressorMixin, BaseLinear):
    """Values."""

    def _table(self, X, y, sample_weight):
        X, y, weight = checked_table(self, X, y, sample_weight, y_numeric=True)
        y = np.asarray(column_or_1d(y), dtype=np.float64)
        return X, y, np.ones(len(y)) if weight is None else weight

    def _keep(self, w, n_features):
        coef, intercept = self._split(w, n_features)
        self.coef_, self.intercept_ = coef[0], float(intercept[0])

    def predict(self, X):
        """Predict the value of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Values.
        """
        return self._linear(X)


class LinearClassifier(ClassifierMixin, BaseLinear):
    """Labels by the largest output, or the sign of the only one."""

    def _table(self, X, y, sample_weight):
        X, y, weight = checked_table(self, X, y, sample_weight)
        y = column_or_1d(y)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes; got one class: "
                f"{classes.tolist()[0]!r}."
            )
        return X, codes, np.ones(len(y)) if weight is None else weight, classes

    def decision_function(self, X):
        """Return the margin of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Positive for ``classes_[1]``, or one logit per class.
        """
        z = self._linear(X)
        return z[:, 0] if len(self.classes_) == 2 else z

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        z = self.decision_function(X)
        codes = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return self.classes_[codes]

    def _proba(self, X):
        z = self.decision_function(X)
        if z.ndim == 1:
            return np.column_stack([expit(-z), expit(z)])
        return softmax(z, axis=1)

    def _log_proba(self, X):
        z = self.decision_function(X)
        if z.ndim == 1:
            return np.column_stack([log_expit(-z), log_expit(z)])
        return log_softmax(z, axis=1)
