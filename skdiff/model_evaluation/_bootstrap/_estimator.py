"""The .632+ bootstrap of any estimator."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import delayed

from skdiff._base.compat import safe_indexing
from skdiff._base.inner import fit_inner, seeded, take_rows
from skdiff._base.progress import Progress
from skdiff.model_evaluation._bootstrap._numbers import (
    ROW_LOSSES,
    Combined,
    Tally,
    combine,
    draw,
    influence_of_rows,
    sampling_noise,
    standard_error,
)
from skdiff.model_evaluation._results import check_choice, check_number
from skdiff.model_evaluation._splits._scores import check_data, check_models
from skdiff.model_evaluation._streaming import streamed

METHODS = ("632+", "632", "oob", "bc")
_N_PERMUTATIONS = 20
_MOST_REDRAWS = 1000


@dataclass(frozen=True)
class BootstrapScore:
    """Result of :func:`bootstrap_632_score`; every score is larger when better.

    Attributes
    ----------
    score : float
        The estimate.
    standard_error : float
        Its standard error, from the influence of each row; NaN for ``"bc"`` and for
        scores that are no mean over rows.
    ci : tuple of float
        Normal interval.
    method : str
        ``"632+"``, ``"632"``, ``"oob"`` or ``"bc"``.
    oob_score : float
        Mean score of the rows outside the bootstrap samples.
    train_score : float
        Score of the model of all rows on these rows.
    no_information_score : float
        Score if predictions and outcomes were independent.
    overfitting : float
        Relative overfitting rate between 0 and 1, for ``"632+"``.
    weight : float
        Weight of ``oob_score`` in ``score``.
    n_bootstrap : int
        Number of bootstrap samples.
    details : dict
        ``row_scores`` where the score is a mean over rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skdiff.model_evaluation import bootstrap_632_score
    >>> X, y = load_iris(return_X_y=True)
    >>> found = bootstrap_632_score(
    ...     DecisionTreeClassifier(), X, y, n_bootstrap=50, random_state=0
    ... )
    >>> found.oob_score < found.score < found.train_score
    True
    """

    score: float
    standard_error: float
    ci: tuple[float, float]
    method: str
    oob_score: float
    train_score: float
    no_information_score: float
    overfitting: float
    weight: float
    n_bootstrap: int
    details: dict[str, Any] = field(default_factory=dict)


class Job(NamedTuple):
    """What every bootstrap sample shares."""

    X: Any
    y: Any
    params: Any
    scorer: Any
    row_loss: Any
    optimism: bool
    offset: float  # of the score plus the error


def bootstrap_632_score(
    estimator,
    X,
    y,
    *,
    method="632+",
    n_bootstrap=200,
    scoring=None,
    groups=None,
    stratify=False,
    params=None,
    confidence_level=0.95,
    n_jobs=None,
    time_limit=None,
    verbose=0,
    random_state=None,
):
    """Estimate the score on new rows by the .632+ bootstrap.

    The model is fitted to bootstrap samples and scored on the rows outside each. That
    score is too low, as a sample holds 63 % of the rows; the score on the training rows
    is too high. Their combination weighs the first the more, the more the model
    overfits. It varies less than cross-validation on a few dozen rows.

    Parameters
    ----------
    estimator : estimator
        Classifier or regressor; it is cloned.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Their outcomes.
    method : {"632+", "632", "oob", "bc"}, default="632+"
        The .632+ estimate; the fixed weights .632 and .368, which are optimistic for
        models that learn their rows by heart; the score outside the samples alone; or
        the training score corrected by the mean optimism of the bootstrap models.
    n_bootstrap : int, default=200
        Number of bootstrap samples.
    scoring : str or callable, default=None
        ``"accuracy"``, ``"neg_mean_squared_error"`` and ``"neg_mean_absolute_error"``
        are averaged over rows; any other scorer is computed outside each sample. None
        is the accuracy of classifiers and the negative mean squared error of
        regressors.
    groups : array-like of shape (n_samples,), default=None
        Groups, which are then drawn in place of rows.
    stratify : bool, default=False
        Whether each class keeps its number of rows in every sample.
    params : dict, default=None
        Arguments of ``fit``, cut to the rows of the samples.
    confidence_level : float, default=0.95
        Level of the interval.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Seconds after which no further sample is drawn.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    result : BootstrapScore
        The estimate with its standard error and parts.

    Notes
    -----
    The standard error is that of the infinitesimal jackknife, with the noise of few
    samples subtracted; the weight is treated as fixed. There is none for ``"bc"`` and
    for scorers that are no mean over rows. A sample in which a classifier
    would see one class only, or which leaves no row outside, is drawn again.

    References
    ----------
    B. Efron and R. Tibshirani, "Improvements on cross-validation: the .632+ bootstrap
    method", Journal of the American Statistical Association 92, 1997.

    S. Wager, T. Hastie and B. Efron, "Confidence intervals for random forests: the
    jackknife and the infinitesimal jackknife", JMLR 15, 2014, for the noise.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skdiff.model_evaluation import bootstrap_632_score
    >>> X, y = load_iris(return_X_y=True)
    >>> found = bootstrap_632_score(
    ...     KNeighborsClassifier(1), X, y, n_bootstrap=50, random_state=0
    ... )
    >>> 0.9 < found.score < 1.0
    True
    """
    check_choice("method", method, METHODS)
    check_number("n_bootstrap", n_bootstrap, 1, np.inf, integer=True)
    check_number("confidence_level", confidence_level, 0, 1)
    check_models([estimator])
    X, y, groups = check_data(X, y, groups)
    y, unit_of_row, strata = _units(estimator, y, groups, stratify)
    rng = check_random_state(random_state)
    estimator = seeded(estimator, rng)
    job = _job(estimator, X, y, params, scoring, method)
    fitted = fit_inner(estimator, X, y, params=job.params)
    progress = Progress(time_limit=time_limit, verbose=bool(verbose), unit="Sample")
    samples = _samples(y, unit_of_row, strata, is_classifier(estimator), rng)
    tally, optimism = _run(
        estimator, job, samples, unit_of_row, (int(n_bootstrap), n_jobs), progress
    )
    parts = _parts(fitted, job, rng)
    return _result(
        method,
        tally,
        optimism,
        parts,
        (unit_of_row, strata),
        job.offset,
        confidence_level,
    )


def _units(estimator, y, groups, stratify):
    """Outcomes, the unit of each row, and the strata of the units."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y must be one-dimensional. Got shape {y.shape}.")
    if is_classifier(estimator):
        check_classification_targets(y)
        if len(np.unique(y)) < 2:
            raise ValueError("y has one class only; two are needed.")
    if stratify and not is_classifier(estimator):
        raise ValueError("stratify=True is for classifiers.")
    if groups is None:
        units, strata = np.arange(len(y)), None
        if stratify:
            strata = np.unique(y, return_inverse=True)[1]
    else:
        if stratify:
            raise ValueError("stratify=True cannot be combined with groups.")
        units, strata = np.unique(np.asarray(groups), return_inverse=True)[1], None
    if units.max() < 2:
        raise ValueError(
            f"The bootstrap needs at least 3 rows or groups, got {units.max() + 1}."
        )
    return y, units, strata


def _job(estimator, X, y, params, scoring, method):
    default = "accuracy" if is_classifier(estimator) else "neg_mean_squared_error"
    name = default if scoring is None else scoring
    row_loss = ROW_LOSSES.get(name) if isinstance(name, str) else None
    if row_loss is not None and name != "accuracy" and y.dtype.kind not in "biuf":
        raise ValueError(f"scoring={name!r} needs outcomes that are numbers.")
    scorer = None if row_loss else check_scoring(estimator, scoring=scoring)
    offset = float(name == "accuracy") if row_loss else 0.0
    return Job(X, y, dict(params or {}), scorer, row_loss, method == "bc", offset)


def _varies(labels):
    return bool(np.any(labels != labels[0]))


def _samples(y, unit_of_row, strata, classifier, rng):
    """Counts of the units in one usable sample after the other."""
    n_units = int(unit_of_row.max()) + 1
    while True:
        for _ in range(_MOST_REDRAWS):
            counts = draw(n_units, strata, rng)
            held = counts[unit_of_row] > 0
            if not held.all() and (not classifier or _varies(y[held])):
                break
        else:
            raise ValueError(
                "No bootstrap sample holds two classes and leaves rows outside; use "
                "stratify=True, or more rows."
            )
        yield counts


def _one(estimator, job, rows, out):
    """Errors outside one sample, and the optimism of its model."""
    X, y = safe_indexing(job.X, rows), job.y[rows]
    model = fit_inner(estimator, X, y, params=take_rows(job.X, job.params, rows))
    errors = _errors(model, job, safe_indexing(job.X, out), job.y[out])
    optimism = 0.0
    if job.optimism:
        whole = np.mean(_errors(model, job, job.X, job.y))
        optimism = float(whole - np.mean(_errors(model, job, X, y)))
    return errors, optimism


def _errors(model, job, X, y):
    """One error per row, or one for all."""
    if job.row_loss is not None:
        return job.row_loss.loss(y, model.predict(X))
    return -float(job.scorer(model, X, y))


def _run(estimator, job, samples, unit_of_row, effort, progress):
    """Fit and score the samples, in parallel where asked."""
    n_bootstrap, n_jobs = effort
    tally, optimism = Tally(len(unit_of_row), int(unit_of_row.max()) + 1), []
    drawn = [next(samples).astype(np.int16) for _ in range(n_bootstrap)]
    tasks = (
        delayed(_one)(
            estimator,
            job,
            np.repeat(np.arange(len(unit_of_row)), counts[unit_of_row]),
            np.flatnonzero(counts[unit_of_row] == 0),
        )
        for counts in drawn
    )
    with streamed(n_jobs, tasks) as found:
        for errors, excess in found:
            if np.any(~np.isfinite(errors)):
                raise ValueError("A score outside a bootstrap sample is not finite.")
            counts = drawn[tally.n_samples]
            tally.add(counts, counts[unit_of_row] == 0, errors)
            optimism.append(excess)
            if progress.step(loss=float(np.mean(errors))) and tally.n_samples > 1:
                break
    return tally, float(np.mean(optimism))


def _parts(fitted, job, rng):
    """Training errors and the error without information."""
    train = _errors(fitted, job, job.X, job.y)
    if job.row_loss is not None:
        return train, job.row_loss.no_information(job.y, fitted.predict(job.X))
    permuted = [
        -float(job.scorer(fitted, job.X, job.y[rng.permutation(len(job.y))]))
        for _ in range(_N_PERMUTATIONS)
    ]
    return train, float(np.mean(permuted))


def _result(method, tally, optimism, parts, design, offset, confidence_level):
    """Put the parts together."""
    train, gamma = parts
    by_row = np.ndim(train) > 0
    out = float(np.nanmean(tally.row_errors())) if by_row else float(np.mean(tally.q))
    err_train = float(np.mean(train))
    if method == "bc":
        found = Combined(err_train + optimism, np.nan, np.nan)
    else:
        found = combine(method, out, err_train, gamma)
    se = np.nan
    if by_row and method != "bc":
        se = _standard_error(tally, train, found.weight, *design)
    half = float(stats.norm.ppf((1 + confidence_level) / 2)) * se
    score = float(offset - found.error)
    return BootstrapScore(
        score=score,
        standard_error=se,
        ci=(score - half, score + half),
        method=method,
        oob_score=offset - out,
        train_score=offset - err_train,
        no_information_score=offset - gamma,
        overfitting=found.overfitting,
        weight=found.weight,
        n_bootstrap=tally.n_samples,
        details={"row_scores": offset - tally.row_errors()} if by_row else {},
    )


def _standard_error(tally, train, weight, unit_of_row, strata):
    """Of the weighted sum of both errors, by the influence of each unit."""
    m = tally.n_units
    gaps = np.bincount(unit_of_row, weights=train - np.mean(train), minlength=m)
    influence = weight * influence_of_rows(tally, unit_of_row)
    influence = influence + (1 - weight) * gaps / tally.n_rows
    noise = sampling_noise(tally, weight * (1 - 1 / m) ** -m)
    return standard_error(influence, noise, strata)
