"""The study: train with and without mixup, scale, compare."""

from numbers import Real

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skdiff._base.inner import is_frozen
from skdiff._base.plotting import require_pandas
from skdiff.calibration._temperature import _study as study
from skdiff.calibration._temperature._newton import fit_temperature, log_softmax

SMALLEST = 1e-300  # of a probability before its logarithm


def temperature_scaling_study(
    estimator, X, y, *, X_cal, y_cal, X_test, y_test, mixup=(0.0, 1.0), proba=None
):
    """Measure whether one temperature can calibrate a model, and what mixup changes.

    The classifier is trained once for each value of ``mixup``; one temperature is
    fitted on the rows for calibration; log loss, calibration error and, where the true
    posterior is known, the squared error to it are taken on the test rows before and
    after. Where classes overlap and a network fits every training label, its certainty
    at a row tells which label that row's neighbour happened to have: no temperature
    repairs that (Chidambaram and Ge, 2024).

    Parameters
    ----------
    estimator : classifier
        Classifier with ``predict_proba`` and, for values of ``mixup`` other than zero,
        the parameter ``mixup``, itself or in a step of a pipeline, such as
        :class:`~skdiff.neural_network.AnyLossClassifier` with ``bce_weight=1``.
    X, y : array-like
        Training rows and their labels.
    X_cal, y_cal : array-like
        Rows and labels for the temperature.
    X_test, y_test : array-like
        Rows and labels on which the forecasts are judged.
    mixup : sequence of float, default=(0.0, 1.0)
        Values of the training option; 0 is standard training.
    proba : array-like of shape (n_test, n_classes), default=None
        True probabilities of the test rows, classes sorted; simulations know them.

    Returns
    -------
    table : pandas.DataFrame
        One row per value of ``mixup``, with the columns ``mixup``, ``temperature``;
        ``log_loss_before``, ``log_loss_after``; ``ece_before``, ``ece_after`` (top
        class, 15 bins of equal weight); ``mse_to_truth_before``, ``mse_to_truth_after``
        (summed over classes; NaN without ``proba``); and ``pvalue_before``,
        ``pvalue_after``: of the hypothesis that the certainty of the top class is
        calibrated, by outcomes drawn from the forecasts. A small ``pvalue_after`` means
        that the temperature has not calibrated the model. A large one does not mean
        that the forecasts are good: a calibrated one may be far from the truth.

    Raises
    ------
    ValueError
        If the estimator has no parameter ``mixup`` and one is needed, if a set
        holds labels that the training rows lack, or if ``proba`` has the wrong shape.

    References
    ----------
    M. Chidambaram and R. Ge, "On the Limitations of Temperature Scaling for
    Distributions with Overlaps", ICLR 2024, arXiv 2306.00740.

    J. Bröcker and L. A. Smith, "Increasing the Reliability of Reliability Diagrams",
    Weather and Forecasting 22, 2007.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skdiff.calibration import temperature_scaling_study
    >>> from skdiff.neural_network import AnyLossClassifier
    >>> X, y = make_classification(900, flip_y=0.4, random_state=0)
    >>> network = AnyLossClassifier(
    ...     bce_weight=1, hidden_layer_sizes=(32,), alpha=0, random_state=0
    ... )
    >>> table = temperature_scaling_study(
    ...     network, X[:200], y[:200], X_cal=X[200:500], y_cal=y[200:500],
    ...     X_test=X[500:], y_test=y[500:],
    ... )
    >>> bool(table["ece_before"][0] > 2 * table["ece_after"][0])
    True
    """
    pd = require_pandas("temperature_scaling_study")
    if not is_classifier(estimator):
        raise ValueError(
            f"estimator must be a classifier, got {type(estimator).__name__}."
        )
    values = _check_mixup(mixup)
    name = _mixup_parameter(estimator, values)
    classes = np.unique(column_or_1d(y))
    check_consistent_length(X, y)
    codes_cal = _codes(classes, X_cal, y_cal, "y_cal")
    codes_test = _codes(classes, X_test, y_test, "y_test")
    truth = _check_truth(proba, len(codes_test), len(classes))
    rows = []
    for value in values:
        model = estimator
        if not is_frozen(estimator):
            model = clone(estimator)
            if name is not None:
                model.set_params(**{name: value})
            model.fit(X, y)
        logits = [_logits(model, rows_of, classes) for rows_of in (X_cal, X_test)]
        temperature = fit_temperature(logits[0], codes_cal, None).temperature
        row = {"mixup": value, "temperature": temperature}
        for when, t in (("before", 1.0), ("after", temperature)):
            forecast = log_softmax(logits[1], t)
            found = study.quality(forecast, codes_test, truth)
            row |= {f"{k}_{when}": v for k, v in found._asdict().items()}
            rng = np.random.default_rng(0)
            row[f"pvalue_{when}"] = study.consistency(forecast, codes_test, rng)
        rows.append(row)
    pairs = ("log_loss", "ece", "mse_to_truth", "pvalue")
    columns = [f"{name}_{when}" for name in pairs for when in ("before", "after")]
    return pd.DataFrame(rows, columns=["mixup", "temperature", *columns])


def _check_mixup(mixup):
    values = [mixup] if isinstance(mixup, Real) else list(mixup)
    for value in values:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0 <= value < np.inf:
            raise ValueError(f"mixup must hold numbers >= 0, got {mixup!r}.")
    if not values:
        raise ValueError("mixup holds no value.")
    return [float(value) for value in values]


def _mixup_parameter(estimator, values):
    """Name of the parameter, None where there is none and none is needed."""
    if not is_frozen(estimator):
        for name in sorted(estimator.get_params(deep=True), key=len):
            if name.rpartition("__")[2] == "mixup":
                return name
    if any(values):
        raise ValueError(
            f"{type(estimator).__name__} has no parameter mixup to be set: give "
            "mixup=(0.0,), or a network such as AnyLossClassifier."
        )
    return None


def _codes(classes, X, y, name):
    y = column_or_1d(y)
    check_consistent_length(X, y)
    unknown = sorted(set(y.tolist()) - set(classes.tolist()), key=repr)
    if unknown:
        raise ValueError(f"{name} holds labels {unknown} that y lacks.")
    return np.searchsorted(classes, y)


def _check_truth(proba, n, n_classes):
    if proba is None:
        return None
    truth = check_array(proba, dtype=np.float64, input_name="proba")
    if truth.shape != (n, n_classes):
        raise ValueError(
            f"proba has shape {truth.shape}; ({n}, {n_classes}) is needed, one row per "
            "row of X_test and one column per class."
        )
    if truth.min() < 0 or np.abs(truth.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError("The rows of proba must be probabilities that sum to one.")
    return truth


def _logits(model, X, classes):
    """Log probabilities, columns sorted by class."""
    P = np.asarray(model.predict_proba(X), dtype=np.float64)
    if not np.array_equal(model.classes_, classes):
        raise ValueError(f"The classifier knows {model.classes_}, y holds {classes}.")
    return np.log(np.maximum(P, SMALLEST))
