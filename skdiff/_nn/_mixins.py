"""What classifiers and regressors add to the shared base."""

from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import fit_context


class NeuralClassifierMixin(ClassifierMixin):
    """What classifiers add: labels, class weights, probabilities."""

    _target_checks: dict[str, Any] = {}

    @fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self: Any, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Any:
        """Train one more epoch on these rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come. Needed at the first call when the first
            rows do not have them all.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        first = not hasattr(self, "_state")
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"classes={classes} is not the same as on the last call to "
                    f"partial_fit, which was {self.classes_}."
                )
        self._declared_classes = classes if first else None
        try:
            return self._partial_fit(X, y, sample_weight)
        finally:
            del self._declared_classes

    def predict(self: Any, X: Any) -> Any:
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels, of the kind given to ``fit``.
        """
        decision = self.decision_function(X)
        if decision.ndim == 1:
            codes = (decision > 0).astype(int) * (len(self.classes_) > 1)
        else:
            codes = decision.argmax(axis=1)
        return self.classes_[codes]

    def decision_function(self: Any, X: Any) -> Any:
        """Return the margin of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log odds of ``classes_[1]``, or one logit per class for three and more.
        """
        z = self._output(X)
        if len(self.classes_) > 2:
            return z
        return z[:, 0] if z.shape[1] == 1 else z[:, 1] - z[:, 0]

    def predict_proba(self: Any, X: Any) -> Any:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        decision = self.decision_function(X)
        if len(self.classes_) == 1:
            return np.ones((len(decision), 1), dtype=decision.dtype)
        if decision.ndim == 1:
            return np.column_stack([expit(-decision), expit(decision)])
        return softmax(decision, axis=1)

    def _row_loss(self: Any, output: Any, target: Any) -> Any:
        from torch.nn import functional as F

        return F.cross_entropy(output, target, reduction="none")

    # a loss whose gradient is written out in _plain; an override does not have the mark
    _row_loss.plain = "cross_entropy"  # type: ignore[attr-defined]

    def _check_y(self: Any, y: Any) -> Any:
        check_classification_targets(y)
        return column_or_1d(y, warn=True)

    def _encode(self: Any, y: Any, weight: Any, encoding: Any) -> Any:
        """Codes of the labels; ``encoding`` learns or keeps ``classes_``."""
        declared = getattr(self, "_declared_classes", None)
        if "classes_" not in encoding:
            encoding["classes_"] = np.unique(y) if declared is None else declared
        classes = encoding["classes_"]
        if unknown := sorted(
            set(np.unique(y).tolist()) - set(classes.tolist()), key=str
        ):
            raise ValueError(f"y holds labels {unknown} that are not in {classes}.")
        return np.searchsorted(classes, y).astype(np.int64)

    def _is_constant(self: Any, encoding: Any) -> Any:
        return len(encoding["classes_"]) == 1

    def _n_outputs(self: Any, encoding: Any) -> Any:
        """One logit per class."""
        return len(encoding["classes_"])

    def _class_weighted(self: Any, weight: Any, y: Any) -> Any:
        if self.class_weight is None:
            return weight
        factors = compute_sample_weight(self.class_weight, y)
        return factors if weight is None else weight * factors

    def _strata_of_split(self: Any, target: Any) -> Any:
        return target

    def _validation_score(self: Any, output: Any, target: Any, weight: Any) -> Any:
        """Accuracy on the hold-out."""
        if output.shape[1] == 1:
            predicted = (output[:, 0] > 0).astype(int)
        else:
            predicted = output.argmax(axis=1)
        return accuracy_score(target, predicted, sample_weight=weight)


class NeuralRegressorMixin(RegressorMixin):
    """What regressors add: standardised targets, one or several outputs."""

    _target_checks: dict[str, Any] = {"multi_output": True, "y_numeric": True}

    def __sklearn_tags__(self: Any) -> Any:
        """Say that several outputs are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self: Any, X: Any) -> Any:
        """Predict the value of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values in the units of the training targets.
        """
        z = self._output(X)
        scale = self._y_scale.astype(z.dtype, copy=False)
        y = z * scale + self._y_mean.astype(z.dtype, copy=False)
        return y[:, 0] if self._one_column else y

    def _row_loss(self: Any, output: Any, target: Any) -> Any:
        return ((output - target) ** 2).mean(dim=1) / 2

    _row_loss.plain = "squares"  # type: ignore[attr-defined]

    def _check_y(self: Any, y: Any) -> Any:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return np.asarray(y, dtype=np.float64)

    def _encode(self: Any, y: Any, weight: Any, encoding: Any) -> Any:
        """Targets of mean zero and variance one, by the first table seen."""
        columns = y.reshape(len(y), -1)
        if "_y_mean" not in encoding:
            largest = np.abs(columns).max(axis=0, initial=0)
            unit = np.where(largest > 0, largest, 1.0)
            mean = np.average(columns / unit, axis=0, weights=weight)
            spread = np.average((columns / unit - mean) ** 2, axis=0, weights=weight)
            spread = np.sqrt(spread)
            # a constant target has rounding for a spread
            spread = np.where(spread > 1e-12, spread, 1.0)
            encoding["_y_mean"], encoding["_y_scale"] = mean * unit, spread * unit
            encoding["n_outputs_"] = columns.shape[1]
            encoding["_one_column"] = y.ndim == 1
        return (columns - encoding["_y_mean"]) / encoding["_y_scale"]

    def _is_constant(self: Any, encoding: Any) -> Any:
        return False

    def _n_outputs(self: Any, encoding: Any) -> Any:
        return encoding["n_outputs_"]

    def _strata_of_split(self: Any, target: Any) -> Any:
        return None

    def _validation_score(self: Any, output: Any, target: Any, weight: Any) -> Any:
        """Coefficient of determination on the hold-out."""
        return r2_score(target, output, sample_weight=weight)
