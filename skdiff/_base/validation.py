"""Checks of what comes in, in scikit-learn's words.

Every estimator reads its rows through :func:`check_X` or :func:`check_X_y`, so that
dates, a missing target and unequal lengths are refused alike everywhere.
"""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import validate_data

from skdiff._base.typing import IntArray

# array libraries that scikit-learn dispatches to, and NumPy code cannot take
FOREIGN = ("array_api_strict", "cupy", "dpnp", "jax", "jaxlib", "torch")


def refuse_dates(X: Any, name: str = "X") -> None:
    """Refuse dates and time spans, which numpy would turn into numbers in silence."""
    dtypes = [X.dtype] if hasattr(X, "dtype") else []
    if hasattr(X, "columns"):  # a DataFrame
        dtypes = list(X.dtypes)
    elif hasattr(X, "iloc"):  # a Series, which has one dtype
        dtypes = [X.dtypes]
    if any(_is_time(dtype) for dtype in dtypes):
        raise TypeError(
            f"{name} has columns of dates or time spans. Turn them into numbers first, "
            "for instance days since a fixed date."
        )


def refuse_foreign_arrays(X: Any, name: str) -> None:
    """Refuse arrays of other libraries where scikit-learn would hand them through."""
    module = type(X).__module__.split(".")[0]
    if get_config()["array_api_dispatch"] and module in FOREIGN:
        raise TypeError(
            f"{name} is an array of {module}, and array_api_dispatch is on. skdiff "
            f"computes with NumPy: pass a NumPy array, or switch the dispatch off."
        )


def _is_time(dtype: Any) -> bool:
    kind = getattr(dtype, "kind", None)
    if kind is not None:
        return kind in "mM"
    # a dtype of polars
    return getattr(dtype, "is_temporal", lambda: False)() is True


def require_y(estimator: Any, y: Any) -> None:
    """Refuse a missing target."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but "
            "the target y is None."
        )


def check_X(estimator: Any, X: Any, *, reset: bool, **how: Any) -> Any:
    """Return X as an array the estimator can compute with.

    ``reset`` is True in ``fit``, where the columns are learned, and False elsewhere,
    where they must be the same. ``how`` goes to scikit-learn's ``validate_data``. With
    ``skip_check_array=True`` a table stays what it is (a DataFrame, say, for a pipeline
    that picks columns by name), and only lists become arrays.
    """
    refuse_foreign_arrays(X, "X")
    as_it_came = how.get("skip_check_array")
    # a pipeline may turn the dates of a frame into numbers
    if not (as_it_came and hasattr(X, "columns")):
        refuse_dates(X)
    X = validate_data(estimator, X, reset=reset, **how)
    return np.asarray(X) if as_it_came and not hasattr(X, "shape") else X


def check_X_y(
    estimator: Any, X: Any, y: Any, *, reset: bool = True, **how: Any
) -> tuple[Any, Any]:
    """Return X as :func:`check_X` does, and a target of as many rows.

    With ``skip_check_array=True`` the target is one-dimensional and otherwise as the
    user gave it.
    """
    require_y(estimator, y)
    refuse_foreign_arrays(X, "X")
    refuse_foreign_arrays(y, "y")
    if how.get("skip_check_array"):
        X = check_X(estimator, X, reset=reset, **how)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        return X, y
    refuse_dates(X)
    X, y = validate_data(estimator, X, y, reset=reset, **how)
    return X, y


class BinaryCodes(NamedTuple):
    """A target of two classes: ``classes[codes]`` is what the user gave."""

    codes: IntArray
    classes: Any


def binary_codes(y: Any, name: str = "y") -> BinaryCodes:
    """Return the codes 0 and 1 of a target with exactly two classes.

    ``name`` is what messages call it. For whatever needs exactly two classes: outcomes
    of a fairness constraint, or a treatment.
    """
    y = column_or_1d(y, warn=True)
    y = check_array(y, ensure_2d=False, dtype=None, input_name=name)
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) > 2:
        raise ValueError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(y, input_name=name)}."
        )
    if len(classes) < 2:
        raise ValueError(
            f"{name} has one class only, {classes.tolist()[0]!r}; two are needed."
        )
    return BinaryCodes(codes.astype(np.int64), classes)


def split_validation(
    n_samples: int,
    validation_fraction: float,
    random_state: Any,
    *,
    strata: IntArray | None = None,
    fewest: int = 1,
) -> tuple[IntArray, IntArray] | None:
    """Return the rows to train on and the rows of the validation set.

    The split is stratified by ``strata`` where every stratum has two rows and the
    validation set one row per stratum. None says that the validation set would have
    fewer than ``fewest`` rows, or the training set fewer than two.
    """
    n_held = round(validation_fraction * n_samples)
    if n_held < fewest or n_samples - n_held < 2:
        return None
    if strata is not None:
        counts = np.unique(strata, return_counts=True)[1]
        if counts.min() < 2 or min(n_held, n_samples - n_held) < len(counts):
            strata = None
    train, held = train_test_split(
        np.arange(n_samples),
        test_size=n_held,
        stratify=strata,
        random_state=random_state,
    )
    return train, held


def is_real(value: Any) -> bool:
    """Tell whether a value is one real number; truth values are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_levels(level: Any, *, name: str) -> Any:
    """Return one level as a float, or several as an array, all within (0, 1)."""
    levels = np.asarray(level)
    fine = levels.ndim <= 1 and levels.size and levels.dtype.kind in "iuf"
    if not fine or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(
            f"{name} must be a number in the open interval (0, 1), or a list of such "
            f"numbers. Got {level!r} instead."
        )
    levels = levels.astype(np.float64)
    return float(levels) if levels.ndim == 0 else levels
