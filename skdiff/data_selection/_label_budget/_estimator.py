"""How many cheap labels and how many expert labels a budget should buy."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils import check_array, check_consistent_length, check_random_state

from skdiff._base.inner import fit_inner, seeded, takes_weights
from skdiff._base.plotting import require_pandas
from skdiff._base.validation import refuse_dates, require_y
from skdiff._convex._power_curve import fit_power, predict_power
from skdiff.data_selection._base import Target, read_target, splits_of, take
from skdiff.data_selection._fine_tune._base import fine_tuned, way_to_fine_tune
from skdiff.data_selection._label_budget._numbers import (
    confusion,
    draw_labels,
    judge,
    posterior,
    purchase,
    standard_error,
    weak_weight,
)
from skdiff.data_selection._models._base import probabilities, stack

STRATEGIES = ("pool", "weighted", "sequential", "correct")
_EM_STEPS = 5


@dataclass(frozen=True)
class LabelBudgetFrontier:
    """Result of :func:`label_budget_frontier`.

    Parameters
    ----------
    budgets : ndarray of shape (n_budgets,)
        Budgets, rising.
    fractions : ndarray of shape (n_fractions,)
        Fractions of the budget spent on experts.
    counts : ndarray of shape (n_budgets, n_fractions, 2)
        Numbers of weak and of expert labels.
    scores : ndarray of shape (n_budgets, n_fractions, n_repeats)
        Scores, averaged over folds.
    best_fraction_ : dict
        From a budget to the fraction of the best mean score.
    best_interval_ : dict
        From a budget to an interval of two standard errors for the lead of that
        fraction over the better of all-weak and all-expert, paired by repeats.
    regime_ : dict
        From a budget to ``"quantity"``, ``"quality"`` or ``"mixed"``.
    """

    budgets: np.ndarray
    fractions: np.ndarray
    counts: np.ndarray
    scores: np.ndarray
    best_fraction_: dict
    best_interval_: dict
    regime_: dict

    def frame(self):
        """Return one row per budget and fraction.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``budget``, ``fraction``, ``n_weak``, ``n_expert``, ``score`` and
            its standard error ``se``.
        """
        pd = require_pandas("frame")
        return pd.DataFrame(
            [
                {
                    "budget": budget,
                    "fraction": fraction,
                    "n_weak": int(self.counts[i, j, 0]),
                    "n_expert": int(self.counts[i, j, 1]),
                    "score": float(self.scores[i, j].mean()),
                    "se": standard_error(self.scores[i, j]),
                }
                for i, budget in enumerate(self.budgets.tolist())
                for j, fraction in enumerate(self.fractions.tolist())
            ]
        )

    def extrapolate(self, budget):
        """Predict the score of each fraction at another budget.

        A power law in the budget is fitted per fraction, with more weight on larger
        budgets.

        Parameters
        ----------
        budget : float
            Budget, usually larger than those tried.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``fraction`` and ``score``, the best first.
        """
        if len(self.budgets) < 3:
            raise ValueError(
                f"A curve needs three budgets; there are {len(self.budgets)}."
            )
        pd = require_pandas("extrapolate")
        means = self.scores.mean(axis=2).T
        curve = fit_power(self.budgets, means, self.budgets / self.budgets.max())
        score = predict_power(curve, np.array([float(budget)]))[:, 0]
        table = pd.DataFrame({"fraction": self.fractions, "score": score})
        return table.sort_values("score", ascending=False, ignore_index=True)


def label_budget_frontier(
    estimator,
    X,
    y_weak,
    y_expert,
    *,
    budgets,
    cost_weak=1.0,
    cost_expert=10.0,
    fractions=(0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
    strategy="pool",
    expert_mask=None,
    n_repeats=10,
    scoring=None,
    cv=5,
    random_state=None,
):
    """Study how a budget is best divided between cheap and expert labels.

    A pilot with both kinds of labels tells whether many cheap labels (quantity), a few
    expert ones (quality) or a mixture train the better classifier, at each budget.

    Parameters
    ----------
    estimator : classifier
        What is trained.
    X : array-like of shape (n_samples, n_features)
        Rows of the pilot.
    y_weak : array-like of shape (n_samples,)
        Cheap labels.
    y_expert : array-like of shape (n_samples,)
        Expert labels; scores are measured against them.
    budgets : array-like of float
        Budgets, in the unit of the costs.
    cost_weak, cost_expert : float, default=1.0, 10.0
        Costs per label.
    fractions : array-like of float, default=(0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
        Fractions of the budget that are spent on experts. 0 and 1 belong to it.
    strategy : {"pool", "weighted", "sequential", "correct"}, default="pool"
        Both kinds of labels together; weak rows weighted by ``(2 a - 1) ** 2`` with a
        the accuracy of weak labels; a fit to the weak rows continued on the expert
        rows; or weak labels corrected by their confusion matrix (the likelihood of the
        noisy labels, by five EM steps). Accuracy and matrix come from all training
        rows with both labels.
    expert_mask : array-like of bool of shape (n_samples,), default=None
        Rows that have an expert label; all if None. Values of ``y_expert`` elsewhere
        are not read, but must be labels.
    n_repeats : int, default=10
        Number of draws, each scored on all folds.
    scoring : str, callable or None, default=None
        Scorer; accuracy if None.
    cv : int or splitter, default=5
        Test folds; rows with expert labels are scored.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Returns
    -------
    frontier : LabelBudgetFrontier
        ``frame()``, ``best_fraction_``, ``best_interval_``, ``regime_``,
        ``extrapolate(budget)``.

    Notes
    -----
    The rows are first put in an order that depends on their content, so that the
    order in which they were given does not matter. Numbers of labels are rounded down
    and limited by the rows of the pilot. Cost: one fit (six with ``"correct"``) per
    budget, fraction, repeat and fold.

    References
    ----------
    A. Mallen and N. Belrose, "Balancing Label Quantity and Quality for Scalable
    Elicitation", 2024, arXiv 2410.13215.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.data_selection import label_budget_frontier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 5))
    >>> y = X[:, 0] > 0
    >>> noise = rng.random(400) < 0.5  # cheap labels are worth nothing
    >>> study = label_budget_frontier(
    ...     LogisticRegression(), X, np.where(noise, ~y, y), y, budgets=[300],
    ...     fractions=(0, 0.5, 1), n_repeats=3, random_state=0,
    ... )
    >>> study.regime_
    {300.0: 'quality'}
    """
    _check_arguments(estimator, strategy, cost_weak, cost_expert, n_repeats)
    budgets = _numbers(budgets, "budgets", 0.0, np.inf)
    fractions = _numbers(fractions, "fractions", 0.0, 1.0)
    if fractions[0] != 0 or fractions[-1] != 1:
        raise ValueError("fractions must hold 0 and 1, the two ways not to mix.")
    refuse_dates(X)
    study = _pilot(estimator, X, y_weak, y_expert, expert_mask, strategy, scoring)
    rng = check_random_state(random_state)
    scores, counts = study.run(
        budgets, fractions, (float(cost_weak), float(cost_expert)), n_repeats, cv, rng
    )
    verdicts = {
        budget: judge(fractions, scores[i]) for i, budget in enumerate(budgets.tolist())
    }
    return LabelBudgetFrontier(
        budgets,
        fractions,
        counts,
        scores,
        {b: v.fraction for b, v in verdicts.items()},
        {b: v.interval for b, v in verdicts.items()},
        {b: v.regime for b, v in verdicts.items()},
    )


def _pilot(estimator, X, y_weak, y_expert, expert_mask, strategy, scoring):
    """The checked rows with both labels, in an order that is their own."""
    for y in (y_weak, y_expert):
        require_y(estimator, y)
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None)
    weak = read_target(y_weak, estimator, name="y_weak")
    expert = read_target(y_expert, estimator, name="y_expert", classes=weak.classes)
    weak = read_target(y_weak, estimator, name="y_weak", classes=expert.classes)
    mask = _mask(expert_mask, len(expert.y))
    check_consistent_length(X, weak.y, expert.y, mask)
    order = _content_order(X, weak.values, expert.values, mask)
    return _Study(
        estimator,
        take(X, order),
        weak.take(order),
        expert.take(order),
        mask[order],
        strategy,
        check_scoring(estimator, scoring=scoring),
    )


def _mask(expert_mask, n):
    """Which rows have an expert label."""
    if expert_mask is None:
        return np.ones(n, dtype=bool)
    mask = np.asarray(expert_mask)
    if mask.dtype != bool:
        raise ValueError("expert_mask must hold booleans.")
    return mask


def _check_arguments(estimator, strategy, cost_weak, cost_expert, n_repeats):
    if not is_classifier(estimator):
        raise ValueError(
            f"label_budget_frontier needs a classifier. Got {type(estimator).__name__}."
        )
    if strategy not in STRATEGIES:
        raise ValueError(
            f"strategy must be one of {list(STRATEGIES)}. Got {strategy!r} instead."
        )
    if strategy in ("weighted", "correct") and not takes_weights(estimator):
        raise ValueError(
            f"strategy={strategy!r} weights rows, and {type(estimator).__name__} takes "
            "no sample_weight."
        )
    if not (cost_weak > 0 and cost_expert > 0):
        raise ValueError("cost_weak and cost_expert must be positive.")
    if not isinstance(n_repeats, Integral) or n_repeats < 1:
        raise ValueError(f"n_repeats must be a positive int. Got {n_repeats!r}.")


def _numbers(values, name, low, high):
    values = np.unique(check_array(values, ensure_2d=False, dtype=np.float64))
    if values.ndim != 1 or values[0] < low or values[-1] > high:
        raise ValueError(f"{name} must be a list of numbers from {low:g} to {high:g}.")
    return values


def _content_order(X, *codes):
    """An order of the rows that depends on what they hold only."""
    keys = [np.asarray(c) for c in codes]
    try:
        table = X.toarray() if hasattr(X, "toarray") else np.asarray(X)
        table = table.astype(np.float64)
    except (TypeError, ValueError):  # text: codes of the sorted values
        columns = np.asarray(X).astype(str).T
        table = np.stack(
            [np.unique(c, return_inverse=True)[1] for c in columns], axis=1
        )
    return np.lexsort([*keys, *table.T[::-1]])


class _Study:
    """The pilot, and how classifiers are trained and scored on it."""

    def __init__(self, estimator, X, weak, expert, mask, strategy, scorer):
        self.estimator, self.X, self.weak, self.expert = estimator, X, weak, expert
        self.mask, self.strategy, self.scorer = mask, strategy, scorer
        if strategy == "sequential":
            self.way = way_to_fine_tune(estimator, "auto")

    def run(self, budgets, fractions, costs, n_repeats, cv, rng):
        """Scores (budgets, fractions, repeats), and numbers of labels."""
        scores = np.zeros((len(budgets), len(fractions), n_repeats))
        counts = np.zeros((len(budgets), len(fractions), 2), dtype=np.int64)
        folds = splits_of(cv, self.X, self.expert, rng)
        folds = [(train, test[self.mask[test]]) for train, test in folds]
        folds = [(train, test) for train, test in folds if len(test)]
        for repeat in range(n_repeats):
            for train, test in folds:
                seed = int(rng.randint(2**31 - 1))
                most = int(self.mask[train].sum()), len(train)
                for i, budget in enumerate(budgets):
                    for j, fraction in enumerate(fractions):
                        bought = purchase(budget, fraction, *costs, most)
                        # one order of the rows for all cells: differences are paired
                        draw = np.random.RandomState(seed)
                        expert, weak = draw_labels(train, self.mask, bought, draw)
                        score = self._score(expert, weak, train, test, seed)
                        scores[i, j, repeat] += score / len(folds)
                        counts[i, j] = bought.n_weak, bought.n_expert
        return scores, counts

    def _score(self, expert, weak, train, test, seed):
        if not len(expert) + len(weak):
            raise ValueError("A budget is too small for a single label. Raise budgets.")
        estimator = seeded(self.estimator, np.random.RandomState(seed))
        labels = np.concatenate([self.weak.y[weak], self.expert.y[expert]])
        X_test, y_test = take(self.X, test), self.expert.y[test]
        if len(np.unique(labels)) < 2:  # what one class can tell is that class
            return float(np.mean(y_test == labels[0]))
        model = self._train(estimator, expert, weak, train, labels)
        return float(self.scorer(model, X_test, y_test))

    def _train(self, estimator, expert, weak, train, labels):
        rows = np.concatenate([weak, expert])
        pooled = self.strategy == "pool" or not len(expert) or not len(weak)
        if self.strategy == "correct" and len(weak):
            return self._corrected(estimator, expert, weak, train)
        if pooled:
            return fit_inner(estimator, take(self.X, rows), labels)
        if self.strategy == "weighted":
            both = train[self.mask[train]]
            right = np.mean(self.weak.values[both] == self.expert.values[both])
            weight = np.ones(len(rows))
            weight[: len(weak)] = max(weak_weight(right, self.expert.n_classes), 1e-6)
            return fit_inner(estimator, take(self.X, rows), labels, weight=weight)
        first = self.weak.y[weak]
        if len(np.unique(first)) < 2:
            return fit_inner(estimator, take(self.X, rows), labels)
        model = fit_inner(estimator, take(self.X, weak), first)
        second = self.expert.take(expert)
        if self.way != "ridge" and len(np.unique(second.values)) < 2:
            return model
        return fine_tuned(model, take(self.X, expert), second, self.way, estimator)

    def _corrected(self, estimator, expert, weak, train):
        """Maximise the likelihood of the noisy labels: EM over the true ones."""
        classes, K = self.expert.classes, self.expert.n_classes
        both = train[self.mask[train]]
        T = confusion(self.expert.values[both], self.weak.values[both], K)
        X_weak = take(self.X, weak)
        prior = np.bincount(self.expert.values[both], minlength=K) / len(both)
        P = np.tile(prior, (len(weak), 1))
        table = X_weak
        for _ in range(K - 1):
            table = stack(table, X_weak)
        labels = np.repeat(np.arange(K), len(weak))
        known = Target(classes[labels], labels, classes)
        y = known.y
        if len(expert):
            table = stack(table, take(self.X, expert))
            y = np.concatenate([y, self.expert.y[expert]])
        model = None
        for _ in range(_EM_STEPS):
            Q = posterior(P, T, self.weak.values[weak])
            weight = np.concatenate([Q.T.ravel(), np.ones(len(expert))])
            kept = np.flatnonzero(weight > 1e-9)
            model = fit_inner(
                estimator, take(table, kept), y[kept], weight=weight[kept]
            )
            P = probabilities(model, X_weak, classes, "strategy='correct'")
        return model
