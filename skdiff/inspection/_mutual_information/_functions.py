"""Mutual information of two columns or blocks, as functions."""

import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_random_state

from skdiff._base.typing import Array
from skdiff._base.validation import check_levels, refuse_dates
from skdiff.inspection._mutual_information._network import at_levels
from skdiff.inspection._mutual_information._pairs import (
    FEWEST_ROWS,
    METHODS,
    MOST_CLASSES,
    MOST_ROWS,
    Column,
    column,
    estimate_blocks,
    estimate_pairs,
)

SMALLEST = 4  # rows below which nothing is estimated


def is_discrete(values: Any, given: Any, name: str) -> bool:
    """Tell whether a column holds classes; in doubt only text and booleans do."""
    if not (isinstance(given, str) and given == "auto"):
        if not isinstance(given, bool | np.bool_):
            raise ValueError(f'{name} must be "auto" or a bool. Got {given!r}.')
        return bool(given)
    return np.asarray(values).dtype.kind not in "iuf"


def read_column(values: Any, given: Any, name: str) -> Any:
    """Return a clean column and whether it holds classes."""
    refuse_dates(values, name)
    values = np.asarray(values)
    discrete = is_discrete(values, given, f"discrete_{name}")
    dtype = None if discrete else np.float64
    if values.dtype.kind == "O" and any(v is None or v != v for v in values.flat):
        raise ValueError(f"Input {name} contains unknown values (None or NaN).")
    values = check_array(values, ensure_2d=False, dtype=dtype, input_name=name)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and discrete:
        raise ValueError(f"{name} holds classes, and several columns of them.")
    return values, discrete


def warn_about_size(n: int, x: Column | None = None, y: Column | None = None) -> None:
    """Warn outside of what the networks were trained on."""
    if n < FEWEST_ROWS:
        warnings.warn(
            f"{n} rows are fewer than the {FEWEST_ROWS} that the networks were trained "
            "on; intervals are widened.",
            UserWarning,
            stacklevel=4,
        )
    for part in (x, y):
        most = 0 if part is None or part.codes is None else int(part.codes.max()) + 1
        if most > MOST_CLASSES:
            warnings.warn(
                f"{most} classes are more than the {MOST_CLASSES} that the networks "
                'were trained on. method="ksg" does not depend on it.',
                UserWarning,
                stacklevel=4,
            )


def check_settings(method: str, max_samples: int) -> None:
    """Refuse unknown methods and sizes."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Got {method!r}.")
    whole = isinstance(max_samples, int | np.integer)
    if not whole or not FEWEST_ROWS <= max_samples <= MOST_ROWS:
        raise ValueError(
            f"max_samples must be an int from {FEWEST_ROWS} to {MOST_ROWS}. "
            f"Got {max_samples!r}."
        )


def mutual_information(
    x: Any,
    y: Any,
    *,
    method: str = "learned",
    quantiles: Any = None,
    discrete_x: Any = "auto",
    discrete_y: Any = "auto",
    max_samples: int = 2000,
    random_state: Any = None,
) -> Any:
    """Estimate the mutual information of two columns, with quantiles if wanted.

    The estimate is that of a small network that was trained on distributions with known
    mutual information, and reads ranks: no increasing or decreasing map of a column
    changes it, nor does swapping the columns or renaming classes.

    Parameters
    ----------
    x : array-like of shape (n_samples,) or (n_samples, n_x)
        Numbers or classes. Several columns are experimental.
    y : array-like of shape (n_samples,) or (n_samples, n_y)
        Numbers or classes.
    method : {"learned", "ksg", "gaussian_copula", "binned"}, default="learned"
        ``"ksg"`` is the estimate of Kraskov et al. (of Ross between numbers and
        classes) from three neighbours on normal scores, ``"gaussian_copula"`` that of
        normal variables with the same correlation of normal scores, ``"binned"`` the
        plug-in estimate of 16 bins of ranks.
    quantiles : float or array-like of shape (n_levels,), default=None
        Levels at which the uncertainty of the estimate is returned instead of the
        estimate: 0.05 and 0.95 make a 90 % interval. Only ``"learned"`` has one.
    discrete_x : "auto" or bool, default="auto"
        Whether x holds classes without order. ``"auto"``: text and booleans do.
    discrete_y : "auto" or bool, default="auto"
        Whether y holds classes without order.
    max_samples : int, default=2000
        Largest number of rows of one estimate; more are cut into disjoint parts of
        which the estimates are averaged.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. Used
        where there are more rows than ``max_samples``.

    Returns
    -------
    information : float or ndarray of shape (n_levels,)
        Mutual information in nats, at least 0 and at most the entropy of the classes.

    See Also
    --------
    MutualInformationEstimator : All columns of X with a target.
    sklearn.feature_selection.mutual_info_regression : Point estimates.

    Notes
    -----
    Between 20 and 2000 rows and up to 12 classes the estimate interpolates what was
    trained; outside it warns. A relation without noise has infinite information: the
    estimate then grows with the number of rows.

    References
    ----------
    G. Gritsai, M. Richards, M. Méloux, K. Cho and M. Peyrard, "MIST: Mutual Information
    via Supervised Training", 2025, arXiv:2511.18945. A. Kraskov, H. Stögbauer and
    P. Grassberger, "Estimating Mutual Information", Physical Review E 69, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.inspection import mutual_information
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal(200)
    >>> y = np.exp(x + rng.standard_normal(200))  # the truth is ln(2) / 2 = 0.35
    >>> low, high = mutual_information(x, y, quantiles=[0.05, 0.95])
    >>> bool(low < 0.35 < high)
    True
    """
    check_settings(method, max_samples)
    x, x_discrete = read_column(x, discrete_x, "x")
    y, y_discrete = read_column(y, discrete_y, "y")
    check_consistent_length(x, y)
    if len(x) < SMALLEST:
        raise ValueError(f"{SMALLEST} rows are needed. Got {len(x)}.")
    if quantiles is not None:
        levels = np.atleast_1d(check_levels(quantiles, name="quantiles"))
        if method != "learned":
            raise ValueError(f'quantiles need method="learned". Got {method!r}.')
    rng = check_random_state(random_state)
    if x.ndim == 2 or y.ndim == 2:
        found = _blocks(x, y, method, (x_discrete, y_discrete), max_samples, rng)
    else:
        pair = column(x, x_discrete), column(y, y_discrete)
        if method == "learned":
            warn_about_size(len(x), *pair)
        found = estimate_pairs([pair], len(x), method, max_samples, rng)
    if quantiles is None:
        return float(found.mean[0])
    values: Array = at_levels(found.quantiles, levels)[0]
    return float(values[0]) if np.ndim(quantiles) == 0 else values


def _blocks(
    x: Array, y: Array, method: str, discrete: Any, max_samples: int, rng: Any
) -> Any:
    if any(discrete) or method == "binned":
        raise ValueError(
            "Several columns must hold numbers, and have no binned estimate."
        )
    if method == "learned":
        warn_about_size(len(x))
    rows: Any = slice(None)
    if len(x) > max_samples:
        rows = rng.permutation(len(x))[:max_samples]
    X, Y = (z.reshape(len(z), -1)[rows] for z in (x, y))
    return estimate_blocks(X, Y, method)
