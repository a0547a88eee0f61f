"""What classifiers and regressors add to the shared base."""

from copy import copy
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import fit_context
from skdiff._base.rows import Columns, class_factors, column_statistics


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
        return self.classes_[self._codes(decision)]

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
        return self._decision(self._output(X))

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
        return self._probabilities(self.decision_function(X))

    def _decision(self: Any, output: Any) -> Any:
        """Margins, from outputs of the network."""
        if len(self.classes_) > 2:
            return output
        return output[:, 0] if output.shape[1] == 1 else output[:, 1] - output[:, 0]

    def _codes(self: Any, decision: Any) -> Any:
        """Positions in ``classes_``."""
        if decision.ndim == 1:
            return (decision > 0).astype(int) * (len(self.classes_) > 1)
        return decision.argmax(axis=1)

    def _probabilities(self: Any, decision: Any) -> Any:
        if len(self.classes_) == 1:
            return np.ones((len(decision), 1), dtype=decision.dtype)
        if decision.ndim == 1:
            return np.column_stack([expit(-decision), expit(decision)])
        return softmax(decision, axis=1)

    def _reading(self: Any, encoding: Any) -> Any:
        """How a net of skorch reads its outputs: codes and probabilities."""
        from skdiff._nn._net import Reading

        shell = copy(self)
        shell.__dict__ = {**self.get_params(deep=False), **encoding}

        def decision(output: Any) -> Any:
            return shell._decision(shell._read(output))

        return Reading(
            inputs=shell._inputs,
            predict=lambda output: shell._codes(decision(output)),
            predict_proba=lambda output: shell._probabilities(decision(output)),
            target=lambda target: target,
        )

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
        factors = class_factors(y, weight, self.class_weight)
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
        return self._values(self._output(X))

    def _values(self: Any, output: Any) -> Any:
        """Values in the units of the targets, from outputs of the network."""
        scale = self._y_scale.astype(output.dtype, copy=False)
        y = output * scale + self._y_mean.astype(output.dtype, copy=False)
        return y[:, 0] if self._one_column else y

    def _reading(self: Any, encoding: Any) -> Any:
        """How a net of skorch reads its outputs: values in the units of y."""
        from skdiff._nn._net import Reading

        shell = copy(self)
        shell.__dict__ = {**self.get_params(deep=False), **encoding}

        def values(output: Any) -> Any:
            return shell._values(shell._read(output))

        def shown(target: Any) -> Any:
            scale, mean = (
                target.new_tensor(encoding[k]) for k in ("_y_scale", "_y_mean")
            )
            y = target * scale + mean
            return y[:, 0] if encoding["_one_column"] else y

        return Reading(
            inputs=shell._inputs, predict=values, predict_proba=values, target=shown
        )

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
        if not encoding.get("_y_scale", np.zeros(1)).all():
            share = np.ones(len(y)) if weight is None else weight
            found = column_statistics(columns, share / share.sum())
            if "_y_mean" not in encoding:
                encoding["_y_mean"], encoding["_y_scale"] = found
                encoding["n_outputs_"] = columns.shape[1]
                encoding["_one_column"] = y.ndim == 1
            else:  # an output that was constant so far has its first spread
                mean, scale = encoding["_y_mean"], encoding["_y_scale"]
                distance = np.hypot(found.mean - mean, found.scale)
                encoding["_y_scale"] = np.where(scale > 0, scale, distance)
        # a constant output is predicted exactly: its scale is zero
        return Columns(encoding["_y_mean"], encoding["_y_scale"]).standardised(columns)

    def _is_constant(self: Any, encoding: Any) -> Any:
        return not encoding["_y_scale"].any()

    def _n_outputs(self: Any, encoding: Any) -> Any:
        return encoding["n_outputs_"]

    def _strata_of_split(self: Any, target: Any) -> Any:
        return None

    def _validation_score(self: Any, output: Any, target: Any, weight: Any) -> Any:
        """Coefficient of determination on the hold-out."""
        return r2_score(target, output, sample_weight=weight)
