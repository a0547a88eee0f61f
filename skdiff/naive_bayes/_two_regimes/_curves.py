"""At which number of rows logistic regression overtakes naive Bayes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import seeded
from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array, IntArray
from skdiff._base.validation import refuse_dates
from skdiff._convex._power_curve import fit_power
from skdiff.naive_bayes._tied_gaussian._estimator import TiedGaussianNB
from skdiff.naive_bayes._two_regimes._estimator import fit_model

_TEST_FRACTION = 0.25
_N_BOOTSTRAP = 1000


@dataclass(frozen=True)
class TwoRegimes:
    """Learning curves of both models, and where they cross.

    Attributes
    ----------
    train_sizes : ndarray of shape (n_sizes,)
        Numbers of training rows.
    nb_scores, lr_scores : ndarray of shape (n_sizes, n_repeats)
        Accuracies on the test rows of each repetition.
    crossing_size : float
        Number of rows from which on logistic regression has the larger mean accuracy: 0
        where it leads from the first size on, infinity where naive Bayes leads at the
        last.
    crossing_interval : tuple of float
        Interval of 90 %, by resampling the repetitions.
    asymptotes : dict
        Accuracies ``"nb"`` and ``"lr"`` that the curves tend to, by a power law.
    """

    train_sizes: IntArray
    nb_scores: Array
    lr_scores: Array
    crossing_size: float
    crossing_interval: tuple[float, float]
    asymptotes: dict[str, float]

    def frame(self) -> Any:
        """Return one row per size: means and standard deviations of both models."""
        pd = require_pandas("frame")
        return pd.DataFrame(
            {
                "train_size": self.train_sizes,
                "nb_mean": self.nb_scores.mean(axis=1),
                "nb_std": self.nb_scores.std(axis=1),
                "lr_mean": self.lr_scores.mean(axis=1),
                "lr_std": self.lr_scores.std(axis=1),
            }
        )


def two_regimes(
    X: Any,
    y: Any,
    train_sizes: Sequence[float],
    n_repeats: int = 10,
    *,
    nb: Any = None,
    lr: Any = None,
    random_state: Any = None,
) -> TwoRegimes:
    """Measure at which number of rows logistic regression overtakes naive Bayes.

    Use it to see on which side of the crossing a data set lies, and how many more
    labels would change the side.

    Parameters
    ----------
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Labels.
    train_sizes : array-like of shape (n_sizes,)
        Numbers of training rows, or fractions of the largest possible number, which is
        three quarters of the rows. Rows of smaller sizes are among those of larger
        ones.
    n_repeats : int, default=10
        Number of random splits into training and test rows, at least 2.
    nb : estimator, default=None
        Classifier of the first regime; a :class:`TiedGaussianNB` by default.
    lr : estimator, default=None
        Classifier of the second regime; by default a
        :class:`~sklearn.linear_model.LogisticRegression` on standardised columns. Its
        L2 penalty helps it with few rows and can hide the crossing; give a model
        without penalty to see the regimes of the theory.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    result : TwoRegimes
        ``train_sizes``, ``nb_scores`` and ``lr_scores`` of shape (n_sizes, n_repeats),
        ``crossing_size``, ``crossing_interval``, ``asymptotes`` and ``frame()``.

    Raises
    ------
    ValueError
        If a class has fewer than four rows, or a training size is smaller than the
        number of classes or larger than three quarters of the rows.

    References
    ----------
    C. Zheng, G. Wu, F. Bao, Y. Cao, C. Li and J. Zhu, "Revisiting Discriminative vs.
    Generative Classifiers: Theory and Implications", ICML 2023, arXiv:2302.02334.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skdiff.naive_bayes import two_regimes
    >>> X, y = load_wine(return_X_y=True)
    >>> result = two_regimes(X, y, [9, 30, 90], n_repeats=4, random_state=0)
    >>> result.nb_scores.shape
    (3, 4)
    """
    if n_repeats < 2:
        raise ValueError(f"n_repeats must be at least 2. Got {n_repeats}.")
    X, codes = _check_data(X, y)
    sizes = _check_sizes(train_sizes, codes)
    rng = check_random_state(random_state)
    models = [TiedGaussianNB() if nb is None else nb, lr]
    models = [None if m is None else seeded(m, rng) for m in models]
    scores = _accuracies(X, codes, sizes, models, n_repeats, rng)
    return _summarise(sizes, scores, rng)


def _check_data(X: Any, y: Any) -> tuple[Any, IntArray]:
    """The rows, and the labels as numbers."""
    refuse_dates(X)
    if not hasattr(X, "shape"):
        X = check_array(X)
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    if len(y) != X.shape[0]:
        raise ValueError(
            f"X and y have different numbers of rows: {X.shape[0]} and {len(y)}."
        )
    return X, np.unique(y, return_inverse=True)[1]


def _accuracies(
    X: Any, codes: IntArray, sizes: IntArray, models: Any, n_repeats: int, rng: Any
) -> Array:
    """Accuracies (n_models, n_sizes, n_repeats) on the test rows of random splits."""
    scores = np.empty((len(models), len(sizes), n_repeats))
    seed = int(rng.randint(2**31 - 1))
    outer = StratifiedShuffleSplit(
        n_repeats, test_size=_TEST_FRACTION, random_state=seed
    )
    for r, (train, test) in enumerate(outer.split(codes, codes)):
        order = _nested(codes[train], rng)
        X_test, y_test = safe_indexing(X, test), codes[test]
        for s, size in enumerate(sizes):
            rows = train[order[:size]]
            for m, model in enumerate(models):
                fitted = fit_model(model, safe_indexing(X, rows), codes[rows], None)
                scores[m, s, r] = np.mean(fitted.predict(X_test) == y_test)
    return scores


def _check_sizes(train_sizes: Any, codes: IntArray) -> IntArray:
    counts = np.bincount(codes)
    if len(counts) < 2:
        raise ValueError("two_regimes needs at least two classes; got one class.")
    if counts.min() < 4:
        raise ValueError(
            "The least populated class in y has fewer than 4 rows, too few to train "
            "and to test."
        )
    most = len(codes) - int(np.ceil(_TEST_FRACTION * len(codes)))
    sizes = np.asarray(train_sizes)
    if sizes.ndim != 1 or not len(sizes) or sizes.dtype.kind not in "iuf":
        raise ValueError(
            "train_sizes must be a list of numbers of rows, or of fractions in (0, 1]."
        )
    if sizes.dtype.kind == "f":
        if not np.all((sizes > 0) & (sizes <= 1)):
            raise ValueError(f"Fractions must lie in (0, 1]. Got {sizes.tolist()}.")
        sizes = np.maximum((sizes * most).astype(np.int64), len(counts))
    sizes = np.unique(sizes.astype(np.int64))
    if sizes[0] < len(counts) or sizes[-1] > most:
        raise ValueError(
            f"train_sizes must lie between the number of classes, {len(counts)}, and "
            f"three quarters of the rows, {most}. Got {sizes.tolist()}."
        )
    return sizes


def _nested(codes: IntArray, rng: Any) -> IntArray:
    """An order of rows whose beginnings hold each class by its frequency.

    The first rows are one of each class, so that every size has all classes.
    """
    shuffled = rng.permutation(len(codes))
    place = np.empty(len(codes))
    for k in np.unique(codes):
        own = shuffled[codes[shuffled] == k]
        place[own] = (np.arange(len(own)) + rng.uniform()) / len(own)
        place[own[0]] = -rng.uniform()
    return np.argsort(place, kind="stable")


def _summarise(sizes: IntArray, scores: Array, rng: Any) -> TwoRegimes:
    gap = scores[1] - scores[0]
    n_repeats = gap.shape[1]
    draws = rng.randint(n_repeats, size=(_N_BOOTSTRAP, n_repeats))
    resampled = [crossing(sizes, gap[:, rows].mean(axis=1)) for rows in draws]
    low, high = np.quantile(resampled, [0.05, 0.95], method="inverted_cdf")
    means = scores.mean(axis=2)
    limits = means[:, -1]  # two sizes or fewer say nothing of a limit
    if len(sizes) > 2:
        limits = fit_power(sizes.astype(np.float64), means, upper=1.0).asymptote
    return TwoRegimes(
        sizes,
        scores[0],
        scores[1],
        crossing(sizes, gap.mean(axis=1)),
        (float(low), float(high)),
        {"nb": float(limits[0]), "lr": float(limits[1])},
    )


def crossing(sizes: IntArray, gap: Array) -> float:
    """Size from which on the gap stays above zero, linear in the logarithm of the size.

    Zero where the gap is positive throughout, infinity where it ends below or at zero.
    """
    behind = np.flatnonzero(gap <= 0)
    if not len(behind):
        return 0.0
    i = behind[-1]
    if i == len(gap) - 1:
        return float("inf")
    part = gap[i] / (gap[i] - gap[i + 1])
    logs = np.log(sizes.astype(np.float64))
    return float(np.exp(logs[i] + part * (logs[i + 1] - logs[i])))
