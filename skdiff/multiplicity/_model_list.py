"""How far the models of a list disagree."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import check_scoring
from sklearn.utils import check_array

from skdiff._base.plotting import require_pandas
from skdiff.multiplicity._rashomon._tables import (
    as_report,
    group_parts,
    mean_with_interval,
    summary,
)


class ModelListMultiplicity:
    """Measure how far the models of a list disagree about each row.

    For models of any kind: refits under other seeds, on bootstrap samples, with other
    hyperparameters. The figures are exact *for the list* and do not cover models
    that are not in it: they are inner bounds of the multiplicity of the kind of model,
    and grow as the list grows. Where the model is linear, use
    :class:`RashomonClassifier` instead, which covers all of them.

    This class is experimental: its interface may change without notice.

    Parameters
    ----------
    predictions : array-like of shape (n_models, n_samples) or (n_models, n_samples, \
n_classes)
        Values, probabilities of the second of two classes, or of each class.
    baseline : int, default=0
        Model from which changes are counted.
    classes : array-like of shape (n_classes,), default=None
        Labels, for classifiers.
    threshold : float, default=0.5
        Probability above which the second of two classes is predicted.

    Attributes
    ----------
    predictions_ : ndarray
        The predictions.
    baseline_ : int
        Row of the baseline in them.
    classes_ : ndarray or None
        Labels.
    kept_ : ndarray of int of shape (n_models,)
        Places of these models in the list given to :meth:`from_models`.

    See Also
    --------
    RashomonClassifier : All nearly optimal linear models, not a list.
    last_layer_multiplicity : All last layers of a network.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.multiplicity import ModelListMultiplicity
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> models = [
    ...     DecisionTreeClassifier(max_depth=3, max_features=5, random_state=seed)
    ...     for seed in range(10)
    ... ]
    >>> models = [model.fit(X, y) for model in models]
    >>> seen = ModelListMultiplicity.from_models(models, X, y, tolerance=0.01)
    >>> len(seen.kept_), round(seen.ambiguity(), 3)
    (7, 0.125)
    """

    def __init__(
        self,
        predictions: Any,
        *,
        baseline: int = 0,
        classes: Any = None,
        threshold: Any = 0.5,
    ) -> None:
        predictions = check_array(
            predictions, allow_nd=True, dtype=np.float64, input_name="predictions"
        )
        if predictions.ndim > 3:
            raise ValueError(f"predictions has {predictions.ndim} dimensions.")
        if not -len(predictions) <= baseline < len(predictions):
            raise ValueError(f"baseline={baseline} of {len(predictions)} models.")
        if not isinstance(threshold, Real) or not 0 < float(threshold) < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold!r}.")
        self.predictions_ = predictions
        self.baseline_ = int(baseline) % len(predictions)
        self.classes_: Any = None if classes is None else np.asarray(classes)
        self.threshold = threshold
        self.kept_ = np.arange(len(predictions))

    @classmethod
    def from_models(
        cls,
        models: Any,
        X: Any,
        y: Any = None,
        *,
        baseline: Any = None,
        scoring: Any = None,
        tolerance: Any = None,
        threshold: Any = 0.5,
    ) -> Any:
        """Predict with every model of a list.

        Parameters
        ----------
        models : sequence of estimators
            Fitted classifiers of the same classes, or fitted regressors.
        X : array-like of shape (n_samples, n_features)
            Query rows.
        y : array-like of shape (n_samples,), default=None
            Their targets, to score the models on.
        baseline : int, default=None
            Place of the model from which changes are counted; the best scored one if
            None, or the first without ``y``. It is kept whatever its score.
        scoring : str or callable, default=None
            How to score on X and y; the models' own ``score`` if None.
        tolerance : float, default=None
            Drop models that score lower than the best by more than this.
        threshold : float, default=0.5
            Probability above which the second of two classes is predicted.

        Returns
        -------
        multiplicity : ModelListMultiplicity
            The predictions of the kept models.
        """
        models = list(models)
        if not models:
            raise ValueError("models is empty.")
        if not all(map(is_classifier, models)) and not all(map(is_regressor, models)):
            raise ValueError("models must be all classifiers or all regressors.")
        if tolerance is not None and (
            not isinstance(tolerance, Real) or float(tolerance) < 0
        ):
            raise ValueError(f"tolerance must be >= 0, got {tolerance!r}.")
        if y is None and (tolerance is not None or scoring is not None):
            raise ValueError("tolerance and scoring need y.")
        if baseline is not None and not 0 <= baseline < len(models):
            raise ValueError(f"baseline={baseline} of {len(models)} models.")
        classes = (
            getattr(models[0], "classes_", None) if is_classifier(models[0]) else None
        )
        for model in models:
            if classes is not None and not np.array_equal(model.classes_, classes):
                raise ValueError("models must have the same classes_.")
        kept = np.arange(len(models))
        if y is not None:
            scores = np.array(
                [check_scoring(model, scoring)(model, X, y) for model in models]
            )
            baseline = int(scores.argmax()) if baseline is None else baseline
            if tolerance is not None:
                good = scores >= scores.max() - tolerance
                good[baseline] = True
                kept = np.flatnonzero(good)
        place = int(np.flatnonzero(kept == (baseline or 0))[0])
        predictions = [_forecasts(models[k], X, classes) for k in kept]
        found = cls(predictions, baseline=place, classes=classes, threshold=threshold)
        found.kept_ = kept
        return found

    def range(self) -> Any:
        """Return the smallest and largest prediction of each row.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2) or (n_samples, n_classes, 2)
            Bounds of the ranges over the list.
        """
        P = self.predictions_
        return np.stack([P.min(axis=0), P.max(axis=0)], axis=-1)

    def _changes(self, delta: Any) -> Any:
        """Which rows each model changes, (n_models, n_samples)."""
        P = self.predictions_
        if delta is not None:
            if not isinstance(delta, Real) or not float(delta) > 0:
                raise ValueError(f"delta must be > 0, got {delta!r}.")
            moved = np.abs(P - P[self.baseline_]) >= delta
            return moved.any(axis=2) if P.ndim == 3 else moved
        if self.classes_ is None:
            raise ValueError("delta is needed: regressors have no labels to change.")
        labels = P.argmax(axis=2) if P.ndim == 3 else self.threshold < P
        return labels != labels[self.baseline_]

    def conflicts(self) -> Any:
        """Find rows for which the models of the list predict different labels.

        Returns
        -------
        conflicts : ndarray of bool of shape (n_samples,)
            True where they do.
        """
        return self._changes(None).any(axis=0)

    def ambiguity(self, delta: Any = None) -> Any:
        """Return the proportion of rows that some model of the list changes.

        Parameters
        ----------
        delta : float, default=None
            Count rows whose prediction moves by at least this; rows whose label
            changes if None.

        Returns
        -------
        proportion : float
            Between 0 and 1.
        """
        return float(self._changes(delta).any(axis=0).mean())

    def discrepancy(self, delta: Any = None) -> Any:
        """Return the largest proportion of rows that one model of the list changes.

        Parameters
        ----------
        delta : float, default=None
            Count rows whose prediction moves by at least this; rows whose label
            changes if None.

        Returns
        -------
        proportion : float
            Between 0 and 1; a lower bound for any larger list.
        model : int
            Place of that model in the list given to :meth:`from_models`.
        """
        shares = self._changes(delta).mean(axis=1)
        return float(shares.max()), int(self.kept_[shares.argmax()])

    def report(
        self, y: Any = None, *, groups: Any = None, deltas: Any = (0.05, 0.1, 0.2)
    ) -> Any:
        """Tabulate how far the models disagree, overall and by group.

        Parameters
        ----------
        y : array-like of shape (n_samples,), default=None
            True targets of the rows; adds the loss of the baseline: log loss, or half
            the squared error.
        groups : array-like of shape (n_samples,), default=None
            Group of each row; one line per group follows the line of all rows.
        deltas : tuple of float, default=(0.05, 0.1, 0.2)
            Changes of the prediction that count as ambiguous.

        Returns
        -------
        table : pandas.DataFrame
            The columns of :meth:`RashomonClassifier.report`, without ``epsilon``.
        """
        require_pandas("report")
        P, bounds = self.predictions_[self.baseline_], self.range()
        for name, given in (("groups", groups), ("y", y)):
            if given is not None and len(given) != len(P):
                raise ValueError(f"{name} has {len(given)} entries for {len(P)} rows.")
        hits = {} if self.classes_ is None else {"conflict_ratio": self.conflicts()}
        loss = None if y is None else self._loss(P, np.asarray(y))
        lines = []
        for group, rows in group_parts(len(P), groups):
            line = {"group": group, "n": rows.sum()}
            chosen = {name: hit[rows] for name, hit in hits.items()}
            line |= summary(P[rows], bounds[rows], chosen, deltas)
            if loss is not None:
                line |= mean_with_interval(loss[rows])
            lines.append(line)
        return as_report(lines, {"Models": len(self.predictions_)})

    def _loss(self, P: Any, y: Any) -> Any:
        if self.classes_ is None:
            return (P - y) ** 2 / 2
        codes = np.searchsorted(self.classes_, y)
        if P.ndim == 1:
            P = np.column_stack([1 - P, P])
        return -np.log(np.maximum(P[np.arange(len(y)), codes], 1e-300))

    def frame(self) -> Any:
        """Return the ranges as a table.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``prediction``, ``low``, ``high``, for three and more classes with
            the class, and ``conflict`` for classifiers.
        """
        pd = require_pandas("frame")
        P, bounds = self.predictions_, self.range()
        columns = {}
        parts = (
            [("", ...)]
            if P.ndim == 2
            else [(f"_{label}", np.s_[:, k]) for k, label in enumerate(self.classes_)]
        )
        for ending, part in parts:
            columns[f"prediction{ending}"] = P[self.baseline_][part]
            columns[f"low{ending}"] = bounds[..., 0][part]
            columns[f"high{ending}"] = bounds[..., 1][part]
        if self.classes_ is not None:
            columns["conflict"] = self.conflicts()
        return pd.DataFrame(columns)


def _forecasts(model: Any, X: Any, classes: Any) -> Any:
    """Values, or probabilities (of the second class, where there are two)."""
    if classes is None:
        return np.asarray(model.predict(X), dtype=np.float64)
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{type(model).__name__} has no predict_proba. Calibrate it, for instance "
            "with CalibratedClassifierCV."
        )
    proba = np.asarray(model.predict_proba(X), dtype=np.float64)
    return proba[:, 1] if len(classes) == 2 else proba
