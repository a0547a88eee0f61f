"""MATES: influence probed on a few rows, predicted for all, and sampled in rounds."""

import copy
import warnings
from numbers import Integral, Real

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import UNUSED

from skdiff._base.compat import HasMethods, Interval, fit_context
from skdiff._base.inner import fit_inner, refuse_samplers, seeded, unfrozen, whole_fit
from skdiff.data_selection._base import (
    BaseSampleSelector,
    read_target,
    require_classes,
    take,
)
from skdiff.data_selection._choice import (
    class_quotas,
    largest,
    number_to_keep,
    standardised,
)
from skdiff.data_selection._influence._estimator import derivatives, is_supported
from skdiff.data_selection._models._base import (
    default_linear,
    fit_model,
    partial_fit,
    residuals,
    row_losses,
    split_pipeline,
)


class DataInfluenceSelector(BaseSampleSelector):
    """Select the rows that lower the loss of a target sample, in rounds.

    Each round trains a model on what is chosen so far, filled up with random rows;
    the influence of a few hundred probed rows on the target loss is computed; a
    second model predicts it for all rows; and the next part of the selection is drawn.
    Use it where a small clean or representative sample exists beside a large mixed
    pool. Where the target differs by its columns alone, a domain classifier
    (:class:`ConditionalLossSelector`) is simpler and better.

    Parameters
    ----------
    estimator : estimator, default=None
        ``Ridge``, ``LinearRegression`` or ``LogisticRegression``, alone or at the end
        of a pipeline, whose influences are known in closed form; or an estimator with
        ``partial_fit``, whose influence is the change of the target loss by one call
        on one row. None is a scaled logistic, or ridge, regression.
    influence_model : regressor, default=None
        Predicts influence from columns, outcome, loss and error of a row. None is
        ``HistGradientBoostingRegressor``.
    n_probe : int, default=300
        Number of random rows whose influence is computed per round.
    rounds : int, default=4
        Number of rounds; each adds its part of the selection.
    temperature : float, default=0.5
        Rows are drawn with weights ``exp(score / temperature)`` of the standardised
        score. 0 takes the highest scores and warns: published selections became
        narrow that way. In the design of the user guide it was no worse.
    explore : float, default=0.2
        Fraction of each round's rows that is drawn uniformly.
    n_select : int or float, default=0.5
        Number of rows to select, or their fraction.
    balance : {"class"} or None, default=None
        ``"class"`` keeps the proportions of the classes, at least one row per class.
        With None a selection that loses a class raises.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Predicted influence, standardised, averaged over the rounds; larger is kept.
    predicted_influence_ : ndarray of shape (n_samples,)
        The same.
    probe_correlation_ : float
        Rank correlation of predicted and computed influence, on probed rows which the
        influence model has not seen (five folds), averaged over the rounds.
    selected_per_round_ : list of ndarray
        Row numbers that each round added.
    support_ : ndarray of bool of shape (n_samples,)
        Which rows are selected.
    sample_indices_ : ndarray of shape (n_selected,)
        Their row numbers, sorted.
    n_selected_ : int
        How many.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    influence_scores : The influence of all rows on one fitted model.
    ConditionalLossSelector : By the loss before and after the target sample is seen.

    Notes
    -----
    The published method chooses all rows anew in each round, and adds Gumbel noise to a
    quantity that it then minimises. Here rounds add up and the largest of value plus
    noise win, which is sampling without replacement. Without a target sample a random
    fifth of the rows serves as one; those rows train no base model.

    References
    ----------
    Z. Yu, S. Das and C. Xiong, "MATES: Model-Aware Data Selection for Efficient
    Pretraining with Data Influence Models", NeurIPS 2024, arXiv 2406.06046.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.data_selection import DataInfluenceSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(800, 3))
    >>> right = X[:, 2] > 0  # labels are wrong where the last column is negative
    >>> y = (X[:, 0] > 0) == right
    >>> X_target = rng.normal(size=(60, 3))
    >>> selector = DataInfluenceSelector(n_select=200, random_state=0)
    >>> selector = selector.fit(X, y, X_target=X_target, y_target=X_target[:, 0] > 0)
    >>> bool(right[selector.support_].mean() > 0.6)
    True
    """

    _parameter_constraints = {
        **BaseSampleSelector._parameter_constraints,
        "estimator": [HasMethods("fit"), None],
        "influence_model": [HasMethods(["fit", "predict"]), None],
        "n_probe": [Interval(Integral, 10, None, closed="left")],
        "rounds": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="left")],
        "explore": [Interval(Real, 0, 1, closed="both")],
    }
    del _parameter_constraints["strategy"]  # the temperature says it

    # samples of other rows: a search must not cut them by its folds
    __metadata_request__fit = {"X_target": UNUSED, "y_target": UNUSED}

    def __init__(
        self,
        estimator=None,
        influence_model=None,
        n_probe=300,
        rounds=4,
        temperature=0.5,
        explore=0.2,
        *,
        n_select=0.5,
        balance=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.influence_model = influence_model
        self.n_probe = n_probe
        self.rounds = rounds
        self.temperature = temperature
        self.explore = explore
        self.n_select = n_select
        self.balance = balance
        self.random_state = random_state

    def _check_rows(self, X, *, reset=True):
        """Double precision throughout: trees on influences magnify rounding."""
        X = super()._check_rows(X, reset=reset)
        if isinstance(X, np.ndarray) and X.dtype.kind == "f":
            return X.astype(np.float64, copy=False)
        return X

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, X_target=None, y_target=None):
        """Select rows in rounds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to choose from.
        y : array-like of shape (n_samples,)
            Their outcomes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in training. A row of weight zero is absent: its score
            is NaN, and it is never selected.
        X_target, y_target : array-like, default=None
            Rows like those the model is for, and their outcomes. A random fifth of the
            rows if None.

        Returns
        -------
        self : object
            Fitted selector.
        """
        with whole_fit(self):
            X, target, weight = self._check(X, y, sample_weight)
            rng = check_random_state(self.random_state)
            n, own = len(target.values), X_target is None and y_target is None
            if not own:
                X_goal, goal = self._check_sample(
                    X_target, y_target, self.estimator, target.classes
                )
                if goal.n_classes > target.n_classes:
                    target = read_target(y, self.estimator, classes=goal.classes)
            require_classes(target)
            X, target, weight, kept = self._present(X, target, weight)
            trainable = np.ones(len(target.values), dtype=bool)
            if own:
                held = self._own_target(target, rng)
                X_goal, goal = take(X, held), target.take(held)
                trainable[held] = False
            estimator = self._checked_estimator(target)
            if self.temperature == 0:
                warnings.warn(
                    "temperature=0 takes the rows of the highest predicted influence, "
                    "which can make the selection narrow. Compare with 0.5.",
                    UserWarning,
                    stacklevel=3,
                )
            task = _Task(estimator, X, target, weight, X_goal, goal)
            self._run(task, trainable, rng)
            self._restore(kept, n)
        return self

    def _own_target(self, target, rng):
        """A random fifth of the rows, which serves as target sample.

        One row of each class stays behind, so that a model can be fitted to the others.
        """
        n = len(target.values)
        if n < 5:
            raise ValueError(
                "Without X_target a fifth of the rows serves as one, and "
                f"n_samples={n} is too few. Pass X_target and y_target."
            )
        order = rng.permutation(n)
        if target.classes is not None:
            first = np.unique(target.values[order], return_index=True)[1]
            if len(first) + n // 5 <= n:
                order = np.delete(order, first)
        return np.sort(order[: n // 5])

    def _restore(self, kept, n_samples):
        super()._restore(kept, n_samples)
        self.predicted_influence_ = self.scores_
        if kept is not None:
            self.selected_per_round_ = [kept[r] for r in self.selected_per_round_]

    def _checked_estimator(self, target):
        estimator = self.estimator
        if estimator is None:
            return default_linear(target.classes)
        refuse_samplers(estimator, "the influences belong to the rows of X")
        if not is_supported(estimator) and not hasattr(
            unfrozen(estimator), "partial_fit"
        ):
            raise ValueError(
                f"{type(estimator).__name__} has no partial_fit, and no influence in "
                "closed form. Use Ridge, LinearRegression or LogisticRegression, or an "
                "estimator with partial_fit."
            )
        return estimator

    def _run(self, task, trainable, rng):
        n = number_to_keep(self.n_select, len(trainable))
        chosen = np.zeros(len(trainable), dtype=bool)
        quotas = self._quotas(task.target, n)
        rounds = min(self.rounds, n)
        total, correlations, added = np.zeros(len(trainable)), [], []
        for k in range(rounds):
            rows = self._training_rows(task.target, chosen, trainable, n, rng)
            model = task.fit(rows, rng)
            probe = self._probe(chosen, trainable, rng)
            predicted, correlation = self._predict(task, model, probe, rng)
            total += predicted
            correlations.append(correlation)
            new = self._draw(
                predicted,
                task.target,
                ~chosen,
                quotas,
                (k + 1) / rounds,
                chosen,
                rng,
            )
            chosen[new] = True
            added.append(new)
        scores = standardised(total)
        self._keep(scores, np.flatnonzero(chosen), task.target)
        self.probe_correlation_ = float(np.mean(correlations))
        self.selected_per_round_ = added

    def _quotas(self, target, n):
        """Rows to select in the end: per class, or one number for all."""
        if self.balance == "class":
            if target.classes is None:
                raise ValueError("balance='class' needs a target of classes.")
            return class_quotas(target.values, n, target.n_classes)
        return np.array([n])

    def _training_rows(self, target, chosen, trainable, n, rng):
        """What is chosen, filled up with random rows to the size of the selection.

        With ``balance="class"`` a class that the draw missed adds one of its rows.
        """
        rows = np.flatnonzero(chosen & trainable)
        rest = np.flatnonzero(trainable & ~chosen)
        missing = max(n, min(50, int(trainable.sum()))) - len(rows)
        fill = rng.choice(rest, size=max(0, min(missing, len(rest))), replace=False)
        rows = np.append(rows, fill)
        if self.balance == "class":
            for code in np.setdiff1d(target.values[trainable], target.values[rows]):
                missed = np.flatnonzero(trainable & (target.values == code))
                rows = np.append(rows, rng.choice(missed))
        return np.sort(rows)

    def _probe(self, chosen, trainable, rng):
        rest = np.flatnonzero(trainable & ~chosen)
        if len(rest) < 10:
            rest = np.flatnonzero(trainable)
        return np.sort(
            rng.choice(rest, size=min(self.n_probe, len(rest)), replace=False)
        )

    def _predict(self, task, model, probe, rng):
        """Predicted influence of all rows, standardised, and its rank correlation."""
        features = task.features(model)
        known = standardised(-task.influences(model, probe))
        learner = self.influence_model
        if learner is None:
            learner = HistGradientBoostingRegressor(
                max_iter=60, min_samples_leaf=min(20, max(2, len(probe) // 10))
            )
        learner = seeded(learner, rng)
        unseen = np.empty(len(probe))
        folds = KFold(min(5, len(probe)), shuffle=True, random_state=rng.randint(2**31))
        for train, test in folds.split(probe):
            fitted = fit_inner(learner, features[probe[train]], known[train])
            unseen[test] = fitted.predict(features[probe[test]])
        fitted = fit_inner(learner, features[probe], known)
        predicted = np.asarray(fitted.predict(features), dtype=np.float64).ravel()
        return standardised(predicted), rank_correlation(unseen, known)

    def _draw(self, predicted, target, free, quotas, part, chosen, rng):
        """Rows that a round adds: some uniformly, the others by predicted influence."""
        new = []
        for code, quota in enumerate(quotas):
            group = np.ones(len(free), dtype=bool)
            if self.balance == "class":
                group = target.values == code
            rows = np.flatnonzero(free & group)
            n = round(part * quota) - int(np.sum(chosen & group))
            n = max(0, min(n, len(rows)))
            by_chance = round(self.explore * n)
            # exploring first leaves the draw by influence without replacement
            picked = rng.choice(rows, size=by_chance, replace=False)
            rest = np.setdiff1d(rows, picked)
            values = predicted[rest]
            if self.temperature > 0:
                values = values / self.temperature + rng.gumbel(size=len(rest))
            new += [picked, rest[largest(values, n - by_chance)]]
        return np.sort(np.concatenate(new))


class _Task:
    """The pool, the target sample, and what is asked of a model in each round."""

    def __init__(self, estimator, X, target, weight, X_goal, goal):
        self.estimator, self.X, self.target = estimator, X, target
        self.weight, self.X_goal, self.goal = weight, X_goal, goal
        self.closed = is_supported(estimator)

    def fit(self, rows, rng):
        """The base model on some rows; their number must not lose a class."""
        target = self.target.take(rows)
        if target.classes is not None and len(np.unique(target.values)) < 2:
            raise ValueError(
                "The rows of a round have one class only. Raise n_select, or pass "
                "balance='class'."
            )
        weight = None if self.weight is None else self.weight[rows]
        self.rows, self.row_weight = rows, weight
        passes = None if self.closed else 10
        return fit_model(
            self.estimator,
            take(self.X, rows),
            target,
            weight=weight,
            n_passes=passes,
            rng=rng,
        )

    def influences(self, model, probe):
        """Change of the target loss by more weight on each probed row."""
        if not self.closed:
            return self._one_step(model, probe)
        known = probe
        if self.target.classes is not None:
            seen = split_pipeline(model, take(self.X, probe[:1]))[0].classes_
            known = probe[np.isin(self.target.y[probe], seen)]
        # probed rows enter the system with weight zero: their derivative is the same
        rows = np.concatenate([self.rows, known])
        weight = np.ones(len(self.rows)) if self.row_weight is None else self.row_weight
        weight = np.concatenate([weight, np.zeros(len(known))])
        goal = np.arange(len(self.goal.y))
        if self.target.classes is not None:
            goal = np.flatnonzero(np.isin(self.goal.y, seen))
        if not len(goal) or not len(known):  # nothing the model could be judged by
            return np.zeros(len(probe))
        found = derivatives(
            model,
            take(self.X, rows),
            self.target.y[rows],
            take(self.X_goal, goal),
            self.goal.y[goal],
            weight,
        ).scores[len(self.rows) :]
        if len(known) == len(probe):
            return found
        # a class the model does not know: as helpful as the best row there is
        influence = np.full(len(probe), found.min(initial=0.0))
        influence[np.isin(probe, known)] = found
        return influence

    def _one_step(self, model, probe):
        before = row_losses(model, self.X_goal, self.goal).mean()
        change = np.empty(len(probe))
        for k, row in enumerate(probe):
            moved = copy.deepcopy(model)
            partial_fit(moved, take(self.X, [row]), self.target.take([row]))
            change[k] = row_losses(moved, self.X_goal, self.goal).mean() - before
        return change

    def features(self, model):
        """Columns as the last step sees them, times the error too; outcome and loss.

        The gradient of a linear model's row is its error times its columns.
        """
        _, Z = split_pipeline(model, self.X)
        Z = Z.toarray() if hasattr(Z, "toarray") else Z
        Z = check_array(Z, dtype=np.float64, ensure_all_finite="allow-nan")
        R = residuals(model, self.X, self.target, "DataInfluenceSelector")
        losses = row_losses(model, self.X, self.target)
        y = self.target.values.astype(np.float64)[:, None]
        if self.target.n_classes > 2:
            y = np.eye(self.target.n_classes)[self.target.values]
        return np.column_stack([Z, R[:, -1:] * Z, y, R, losses])


def rank_correlation(a, b):
    """Return Spearman's correlation, zero where one of the two is constant."""
    a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0
