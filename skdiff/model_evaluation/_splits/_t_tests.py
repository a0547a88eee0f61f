"""Student's tests on differences of scores over splits.

Throughout ``d`` are the differences of the scores of two models on the same J splits,
their mean is ``d_mean`` and their variance ``s2``. Training parts overlap, so the
differences are correlated and ``s2 / J`` is too small. Nadeau and Bengio (2003) replace
it by ``(1 / J + n_test / n_train) * s2``.
"""

import warnings
from typing import Any

import numpy as np
from scipy import stats

from skdiff._base.typing import Array
from skdiff.model_evaluation._results import (
    ROUNDING,
    TestResult,
    check_inference,
    check_number,
    differences,
    magnitude,
    t_result,
)
from skdiff.model_evaluation._splits._scores import Design, SplitScores, score_splits


def corrected_scale(
    d: Array, n_train: float, n_test: float, size: float | None = None
) -> float:
    """Standard error of the mean of ``d``, with the correction.

    ``size`` is that of the scores whose differences ``d`` are: a constant difference
    varies by their rounding.
    """
    size = magnitude(d) if size is None else size
    spread = float(np.std(d / size, ddof=1))
    spread = 0.0 if spread <= ROUNDING else spread
    return size * spread * float(np.sqrt(1 / len(d) + n_test / n_train))


def given_scores(
    a: Any, b: Any, n_train: Any, n_test: Any, *, sizes: bool = True
) -> SplitScores:
    """Check scores that exist already."""
    arrays = []
    for name, values in (("a", a), ("b", b)):
        array = np.asarray(values)
        if array.dtype.kind not in "iufb" or array.ndim not in (1, 2):
            raise ValueError(
                f"{name} must hold one score per split, or be an estimator. "
                f"Got {values!r}."
            )
        array = array.astype(np.float64).ravel()
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} contains NaN or infinity.")
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(
            f"a and b have different numbers of scores: {len(arrays[0])} and "
            f"{len(arrays[1])}. Both models must be scored on the same splits."
        )
    if len(arrays[0]) < 2:
        raise ValueError("At least two splits are needed to estimate a variance.")
    if sizes and (n_train is None or n_test is None):
        raise ValueError(
            "n_train and n_test, the rows of the two parts of a split, must be given "
            "with scores."
        )
    for name, value in (("n_train", n_train), ("n_test", n_test)):
        if value is not None:
            check_number(name, value, 0, np.inf)
    return SplitScores(
        np.array(arrays),
        np.nan if n_train is None else float(n_train),
        np.nan if n_test is None else float(n_test),
    )


def scores_of(
    a: Any, b: Any, X: Any, y: Any, sizes: tuple[Any, Any] | None, design: Design
) -> SplitScores:
    """Scores of two estimators, or those given.

    ``sizes`` are ``n_train`` and ``n_test``; None where the test does not use them.
    """
    n_train, n_test = sizes or (None, None)
    if hasattr(a, "fit") or hasattr(b, "fit"):
        if n_train is not None or n_test is not None:
            raise ValueError("n_train and n_test are those of the splits of X.")
        return score_splits([a, b], X, y, design)
    if X is not None or y is not None:
        raise ValueError("X and y are for estimators; a and b are scores.")
    return given_scores(a, b, n_train, n_test, sizes=sizes is not None)


def warn_constant(scale: float, mean: float) -> None:
    """Warn where the scores of two models differ by a constant."""
    if scale == 0 and mean != 0:
        warnings.warn(
            "The scores differ by the same amount on every split, so their variance is "
            "estimated as zero and the p-value is no measure of evidence.",
            UserWarning,
            stacklevel=3,
        )


def corrected_resampled_ttest(
    a: Any,
    b: Any,
    X: Any = None,
    y: Any = None,
    *,
    n_train: float | None = None,
    n_test: float | None = None,
    cv: Any = None,
    scoring: Any = None,
    groups: Any = None,
    params: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare two models by their scores on overlapping train and test splits.

    Training parts of repeated splits overlap, and so do those of folds; a paired t-test
    of the scores rejects a true null far too often. The correction of Nadeau and Bengio
    widens the variance by the ratio of the test and training parts. It serves random
    splits, k folds and repeated k folds alike (Bouckaert and Frank, 2004).

    Parameters
    ----------
    a, b : estimator or array-like of shape (n_splits,)
        Two estimators, which are cloned and scored on the same splits of X, or their
        scores on the same splits.
    X : array-like of shape (n_samples, n_features), default=None
        Rows, with estimators.
    y : array-like of shape (n_samples,), default=None
        Their outcomes, with estimators.
    n_train, n_test : int, default=None
        Rows in the training and the test part of a split, with scores.
    cv : int, cross-validation generator or iterable, default=None
        The splits; five times five folds if None, stratified for classifiers.
    scoring : str or callable, default=None
        The scorer; the estimator's own ``score`` if None. Larger must be better.
    groups : array-like of shape (n_samples,), default=None
        Groups, for the splitter.
    params : dict, default=None
        Arguments of ``fit`` and, with metadata routing, of the scorer, as in
        :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It seeds
        the default splits and estimators that have no seed.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    confidence_level : float, default=0.95
        Level of the interval.

    Returns
    -------
    result : TestResult
        ``estimate`` is the mean score of ``a`` minus that of ``b``; ``details`` holds
        the scores, ``n_train``, ``n_test`` and the standard error ``scale``.

    Warns
    -----
    UserWarning
        If the scores differ by the same amount on every split.

    References
    ----------
    C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning
    52, 2003.

    R. R. Bouckaert and E. Frank, "Evaluating the replicability of significance tests
    for comparing learning algorithms", PAKDD 2004.

    Examples
    --------
    >>> from skdiff.model_evaluation import corrected_resampled_ttest
    >>> a = [0.81, 0.84, 0.80, 0.86, 0.83]
    >>> b = [0.80, 0.81, 0.80, 0.82, 0.81]
    >>> result = corrected_resampled_ttest(a, b, n_train=80, n_test=20)
    >>> round(result.statistic, 3), round(result.pvalue, 3)
    (1.886, 0.132)
    """
    check_inference(alternative, confidence_level)
    design = Design(cv, scoring, groups, params, n_jobs, random_state)
    found = scores_of(a, b, X, y, (n_train, n_test), design)
    result = corrected_t(found, alternative, confidence_level)
    warn_constant(result.details["scale"], result.estimate or 0.0)
    return result


def corrected_t(
    found: SplitScores,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """The corrected test on scores of shape (2, n_splits)."""
    scores, n_train, n_test = found
    d = differences(scores)
    scale = corrected_scale(d, n_train, n_test, magnitude(scores))
    mean = float(d.mean())
    return TestResult(
        **t_result(mean, scale, len(d) - 1, alternative, confidence_level),
        method="corrected resampled t",
        n=len(d),
        details={
            "scores_a": scores[0],
            "scores_b": scores[1],
            "n_train": n_train,
            "n_test": n_test,
            "scale": scale,
        },
    )


def kfold_ttest(
    a: Any,
    b: Any,
    X: Any = None,
    y: Any = None,
    *,
    cv: Any = 10,
    scoring: Any = None,
    groups: Any = None,
    params: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    alternative: str = "two-sided",
    confidence_level: float = 0.95,
) -> TestResult:
    """Compare two models by the paired t-test of their scores, without correction.

    It is here for comparison with published results, and warns: it treats the splits as
    independent, which they are not. On ten folds it rejects a true null somewhat too
    often, on repeated random splits in every second case. Use
    :func:`corrected_resampled_ttest`.

    Parameters
    ----------
    a, b : estimator or array-like of shape (n_splits,)
        Two estimators, or their scores on the same splits.
    X : array-like of shape (n_samples, n_features), default=None
        Rows, with estimators.
    y : array-like of shape (n_samples,), default=None
        Their outcomes, with estimators.
    cv : int, cross-validation generator or iterable, default=10
        The splits.
    scoring : str or callable, default=None
        The scorer; the estimator's own ``score`` if None.
    groups : array-like of shape (n_samples,), default=None
        Groups, for the splitter.
    params : dict, default=None
        Arguments of ``fit``, as in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.
    alternative : {"two-sided", "greater", "less"}, default="two-sided"
        Whether the first model differs from the second, is better or is worse.
    confidence_level : float, default=0.95
        Level of the interval, which is too narrow.

    Returns
    -------
    result : TestResult
        As :func:`scipy.stats.ttest_rel` has it.

    Warns
    -----
    UserWarning
        Always, as the splits share training rows.

    References
    ----------
    T. G. Dietterich, "Approximate statistical tests for comparing supervised
    classification learning algorithms", Neural Computation 10, 1998.

    Examples
    --------
    >>> import warnings
    >>> from skdiff.model_evaluation import kfold_ttest
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     result = kfold_ttest([0.81, 0.84, 0.80, 0.86], [0.80, 0.81, 0.80, 0.82])
    >>> round(result.pvalue, 3)
    0.116
    """
    check_inference(alternative, confidence_level)
    warnings.warn(
        "The scores of folds are treated as independent, which they are not: the "
        "p-value is too small. Use corrected_resampled_ttest.",
        UserWarning,
        stacklevel=2,
    )
    design = Design(cv, scoring, groups, params, n_jobs, random_state)
    scores = scores_of(a, b, X, y, None, design).scores
    d = differences(scores)
    scale = corrected_scale(d, 1.0, 0.0, magnitude(scores))
    return TestResult(
        **t_result(float(d.mean()), scale, len(d) - 1, alternative, confidence_level),
        method="paired t without correction",
        n=len(d),
        details={"scores_a": scores[0], "scores_b": scores[1], "scale": scale},
    )


def bayesian_correlated_ttest(
    a: Any,
    b: Any,
    X: Any = None,
    y: Any = None,
    *,
    rope: float = 0.01,
    n_train: float | None = None,
    n_test: float | None = None,
    cv: Any = None,
    scoring: Any = None,
    groups: Any = None,
    params: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    confidence_level: float = 0.95,
) -> TestResult:
    """Compute the probability that two models are practically equal.

    The posterior of the mean difference is Student's, with the variance of
    :func:`corrected_resampled_ttest`. Differences within the region of practical
    equivalence count as none.

    Parameters
    ----------
    a, b : estimator or array-like of shape (n_splits,)
        Two estimators, or their scores on the same splits.
    X : array-like of shape (n_samples, n_features), default=None
        Rows, with estimators.
    y : array-like of shape (n_samples,), default=None
        Their outcomes, with estimators.
    rope : float, default=0.01
        Half of the width of the region of practical equivalence, in units of the score.
    n_train, n_test : int, default=None
        Rows in the training and the test part of a split, with scores.
    cv : int, cross-validation generator or iterable, default=None
        The splits; five times five folds if None, stratified for classifiers.
    scoring : str or callable, default=None
        The scorer; the estimator's own ``score`` if None.
    groups : array-like of shape (n_samples,), default=None
        Groups, for the splitter.
    params : dict, default=None
        Arguments of ``fit``, as in :func:`sklearn.model_selection.cross_validate`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.
    confidence_level : float, default=0.95
        Probability of the credible interval.

    Returns
    -------
    result : TestResult
        ``details`` holds the posterior probabilities ``left`` (``b`` is practically
        better: the difference is below ``-rope``), ``rope`` and ``right`` (``a`` is
        practically better). ``ci`` is the credible interval. ``pvalue`` is that of the
        corrected test, which is twice the posterior probability of the less likely
        sign.

    Warns
    -----
    UserWarning
        If the scores differ by the same amount on every split.

    References
    ----------
    G. Corani and A. Benavoli, "A Bayesian approach for comparing cross-validated
    algorithms on multiple data sets", Machine Learning 100, 2015.

    A. Benavoli, G. Corani, J. Demsar and M. Zaffalon, "Time for a change: a tutorial
    for comparing multiple classifiers through Bayesian analysis", JMLR 18, 2017.

    Examples
    --------
    >>> from skdiff.model_evaluation import bayesian_correlated_ttest
    >>> a = [0.81, 0.84, 0.80, 0.86, 0.83]
    >>> b = [0.80, 0.81, 0.80, 0.82, 0.81]
    >>> result = bayesian_correlated_ttest(a, b, n_train=80, n_test=20)
    >>> {name: round(result.details[name], 3) for name in ("left", "rope", "right")}
    {'left': 0.024, 'rope': 0.176, 'right': 0.8}
    """
    check_inference("two-sided", confidence_level)
    check_number("rope", rope, -1e-300, np.inf)
    design = Design(cv, scoring, groups, params, n_jobs, random_state)
    found = scores_of(a, b, X, y, (n_train, n_test), design)
    result = corrected_t(found, confidence_level=confidence_level)
    warn_constant(result.details["scale"], result.estimate or 0.0)
    return with_posterior(result, rope)


def with_posterior(result: TestResult, rope: float) -> TestResult:
    """Add the three posterior probabilities to a corrected test."""
    mean, scale = float(result.estimate or 0.0), result.details["scale"]
    if scale:
        law = stats.t(result.df, mean, scale)
        left, right = float(law.cdf(-rope)), float(law.sf(rope))
    else:  # all mass in one point, which belongs to the region on its bounds
        left, right = float(mean < -rope), float(mean > rope)
    posterior = {"left": left, "rope": 1 - left - right, "right": right}
    return TestResult(
        result.statistic,
        result.pvalue,
        result.df,
        result.estimate,
        result.ci,
        "Bayesian correlated t",
        result.n,
        {**result.details, **posterior, "rope_width": rope},
    )
