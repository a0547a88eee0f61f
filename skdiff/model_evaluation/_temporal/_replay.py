"""The study as a function: every mechanism, and the oracle, on one history."""

import warnings
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from sklearn.base import clone, is_classifier

from skdiff._base.plotting import require_pandas
from skdiff._base.typing import Array, IntArray
from skdiff.model_evaluation._kept import restore
from skdiff.model_evaluation._temporal._base import Pool, score_of
from skdiff.model_evaluation._temporal._mechanisms import (
    CLASSES_ONLY,
    MECHANISMS,
    Choice,
    choose,
)
from skdiff.model_evaluation._temporal._outputs import combined, ranked, row_losses

_BEST = 3  # of the overlap


def score_combination(
    output: Array, y: Any, X: Any, classes: Any, weight: Any, scoring: Any
) -> float:
    """Score of predictions; labels that no model knows have probability zero."""
    if scoring is not None:
        try:
            return score_of(output, X, y, classes, scoring, weight)
        except ValueError as error:
            if classes is None or np.isin(y, classes).all():
                warnings.warn(
                    f"A period has no score, as its scorer failed: {error}",
                    UserWarning,
                    stacklevel=2,
                )
            return float("nan")  # scorers may refuse labels that no model knows
    target = y
    if classes is not None:
        known = np.union1d(classes, y)
        wider = np.zeros((len(output), len(known)))
        wider[:, np.searchsorted(known, classes)] = output
        output, target = wider, np.searchsorted(known, y)
    losses = row_losses(output[None], target)[0]
    return float(-np.average(losses, weights=weight))


def replay(
    owner: Any, X: Any, y: Any, periods: Any, mechanisms: Any, measure: str
) -> Any:
    """Return the table of :meth:`TemporalModelSelector.score_mechanisms`."""
    pd = require_pandas("score_mechanisms")
    owner = clone(owner)
    names = _names(owner, mechanisms)
    if measure not in ("score", "kendall", "jaccard"):
        raise ValueError(
            f"measure must be 'score', 'kendall' or 'jaccard'. Got {measure!r}."
        )
    owner._validate_params()
    blocks = owner._blocks(X, y, periods, None, reset=True)
    owner._start(blocks)
    classes = None
    if is_classifier(owner.estimator):
        classes = np.unique(np.concatenate([block["y"] for block in blocks]))
    pool = Pool(owner._settings("stationary"), None, classes)
    waiting: list[Any] = []
    lines, labels = [], []
    for block in blocks:
        if len(waiting) > owner.label_delay:
            lines.append(_line(owner, waiting[0], block, names, measure))
            labels.append(block["label"])
        evidence = pool.learn(
            block, by_folds=True, kept_periods=owner._kept_periods(distance=True)
        )
        if evidence is None:
            continue
        then = Pool(pool.settings, dict(pool.state), classes)
        waiting = [*waiting, (then, evidence)][-(owner.label_delay + 1) :]
    columns = [*names, "oracle"] if measure == "score" else names
    return pd.DataFrame(lines, index=pd.Index(labels, name="period"), columns=columns)


def _names(owner: Any, mechanisms: Any) -> list[str]:
    allowed = [
        name
        for name in MECHANISMS
        if name not in CLASSES_ONLY or is_classifier(owner.estimator)
    ]
    if isinstance(mechanisms, str) and mechanisms == "all":
        return allowed
    names = [mechanisms] if isinstance(mechanisms, str) else list(mechanisms)
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        raise ValueError(f"mechanisms must be among {allowed}. Got {mechanisms!r}.")
    return names


def _line(
    owner: Any, known: Any, block: Any, names: list[str], measure: str
) -> dict[str, float]:
    """Scores of one period, or agreements of rankings with the oracle's."""
    pool, evidence = known
    X, y = restore(block["X"]), block["y"]
    outputs = pool.outputs(X)

    def score(output: Array) -> float:
        return score_combination(output, y, X, pool.classes, None, owner.scoring)

    each = np.array([score(output) for output in outputs])
    best = ranked(each)
    line = {}
    for name in names:
        choice = choose(
            name,
            evidence,
            owner._taste(),
            lambda: outputs,
            lambda: pool.scores_on_closest(X),
        )
        if measure == "score":
            line[name] = score(combined(np.nan_to_num(outputs), choice.mix))
        else:
            line[name] = _agreement(choice, best, measure)
    line["oracle"] = float(np.nanmax(each)) if not np.isnan(each).all() else np.nan
    return line


def _agreement(choice: Choice, best: IntArray, measure: str) -> float:
    """Agreement of a ranking of all models with the true one."""
    if len(choice.ranking) != len(best) or len(best) < 2:
        return float("nan")
    if measure == "kendall":
        places = np.argsort(choice.ranking), np.argsort(best)
        return float(kendalltau(*places).statistic)
    first, second = set(choice.ranking[:_BEST]), set(best[:_BEST])
    return len(first & second) / len(first | second)
