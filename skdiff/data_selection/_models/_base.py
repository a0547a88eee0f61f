"""Fitting the models inside selectors, and reading predictions from them."""

import inspect
import warnings

import numpy as np
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from skdiff._base.inner import fit_inner, is_frozen, seeded, unfrozen
from skdiff.data_selection._base import take


def default_linear(classes, *, centre=True):
    """A scaled logistic regression, or a scaled ridge regression for numbers."""
    last = Ridge() if classes is None else LogisticRegression(max_iter=1000)
    return make_pipeline(StandardScaler(with_mean=centre), last)


def default_network(classes, n_passes, n_samples):
    """A scaled network with one small hidden layer, trained for some passes."""
    cls = MLPRegressor if classes is None else MLPClassifier
    network = cls(
        hidden_layer_sizes=(64,),
        batch_size=max(1, min(32, n_samples // 2)),
        max_iter=n_passes,
        tol=0.0,
        n_iter_no_change=n_passes,
    )
    return make_pipeline(StandardScaler(), network)


def fit_model(estimator, X, target, *, weight=None, n_passes=None, rng=None):
    """Fit a clone: passes of ``partial_fit`` where there is one, otherwise ``fit``.

    ``n_passes`` None, or an estimator without ``partial_fit``, means one ``fit``. A
    frozen estimator is returned as it is.
    """
    if is_frozen(estimator):
        return fit_inner(estimator, X, target.y)
    if rng is not None:
        estimator = seeded(estimator, rng)
    with warnings.catch_warnings():
        if n_passes is not None:  # stopping early is the point
            warnings.simplefilter("ignore", ConvergenceWarning)
        if n_passes is None or not hasattr(estimator, "partial_fit"):
            return fit_inner(estimator, X, target.y, weight=weight)
        model = clone(estimator)
        for _ in range(n_passes):
            partial_fit(model, X, target, weight)
    return model


def partial_fit(model, X, target, weight=None):
    """One pass of ``partial_fit``, with classes and weights where they belong."""
    extra = {} if target.classes is None else {"classes": target.classes}
    if weight is not None:
        if not has_fit_parameter_of(model.partial_fit):
            raise ValueError(
                f"{type(model).__name__}.partial_fit takes no sample_weight."
            )
        extra["sample_weight"] = weight
    return model.partial_fit(X, target.y, **extra)


def has_fit_parameter_of(method):
    """Tell whether a method takes ``sample_weight``."""
    return "sample_weight" in inspect.signature(method).parameters


def takes_weight(estimator):
    """Tell whether ``fit`` of a single estimator takes ``sample_weight``."""
    return has_fit_parameter(estimator, "sample_weight")


def probabilities(model, X, classes, need):
    """Return ``predict_proba`` in the columns of ``classes``; zero for unseen ones.

    ``need`` says, for the message, what needs the probabilities.
    """
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{type(unfrozen(model)).__name__} has no predict_proba, which {need} "
            "needs. Use a classifier with probabilities, or wrap it in "
            "CalibratedClassifierCV."
        )
    P = np.asarray(model.predict_proba(X), dtype=np.float64)
    seen = np.asarray(model.classes_)
    if len(seen) == len(classes) and np.array_equal(seen, classes):
        return P
    place = np.searchsorted(classes, seen)
    known = np.isin(seen, classes)
    found = np.zeros((len(P), len(classes)))
    found[:, place[known]] = P[:, known]
    return found


def residuals(model, X, target, need):
    """Return prediction minus outcome: (n, K) for classes, (n, 1) for numbers."""
    if target.classes is None:
        if not hasattr(model, "predict"):
            raise ValueError(
                f"{type(unfrozen(model)).__name__} has no predict, which {need} needs."
            )
        f = np.asarray(model.predict(X), dtype=np.float64).reshape(-1)
        return (f - target.values)[:, None]
    P = probabilities(model, X, target.classes, need)
    P = P.copy()
    P[np.arange(len(P)), target.values] -= 1.0
    return P


def row_losses(model, X, target, need="the loss of a row"):
    """Return the log loss, or the squared error, of each row."""
    r = residuals(model, X, target, need)
    if target.classes is None:
        with np.errstate(over="ignore"):
            return r[:, 0] ** 2
    p = 1.0 + r[np.arange(len(r)), target.values]
    return -np.log(np.clip(p, 1e-15, 1.0))


def split_pipeline(model, X):
    """Return the last step of a fitted model and the rows as that step sees them."""
    model = unfrozen(model)
    while isinstance(model, Pipeline):
        if len(model.steps) > 1:
            for _, step in model.steps[:-1]:
                if (
                    step is None
                    or step == "passthrough"
                    or hasattr(step, "fit_resample")
                ):
                    continue
                X = step.transform(X)
        model = unfrozen(model.steps[-1][1])
    return model, X


def last_step(estimator):
    """Return the estimator at the end of a pipeline, frozen wrappers removed."""
    estimator = unfrozen(estimator)
    while isinstance(estimator, Pipeline):
        estimator = unfrozen(estimator.steps[-1][1])
    return estimator


def is_predictor(estimator):
    """Tell whether something is a classifier or a regressor."""
    return is_classifier(estimator) or is_regressor(estimator)


def rows_of(X, rows):
    """Rows of X, or X itself where ``rows`` is None."""
    return X if rows is None else take(X, rows)


def stack(first, second):
    """Put the rows of two tables of the same columns under each other."""
    if sparse.issparse(first) or sparse.issparse(second):
        return sparse.vstack([first, second], format="csr")
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    if hasattr(first, "columns"):
        return first.vstack(second)
    return np.vstack([first, second])
