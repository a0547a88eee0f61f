"""Old models: no leak, the mechanisms by hand, and the promised behaviour."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import skdiff
from skdiff.model_evaluation import TemporalModelSelector, TemporalReuseDisplay
from skdiff.model_evaluation._kept import keep, restore, stack
from skdiff.model_evaluation._temporal._label_free import (
    abilities,
    closest,
    energy_distance,
)
from skdiff.model_evaluation._temporal._mechanisms import (
    MECHANISMS,
    Evidence,
    Taste,
    choose,
)
from skdiff.model_evaluation._temporal._outputs import (
    accuracy_weighted,
    by_likelihood,
    combined,
    ensemble_quality,
    redundant,
    row_losses,
    stacked,
)
from skdiff.model_evaluation._temporal._replay import score_combination

CLASSES = [name for name in MECHANISMS if name != "stationary"]


def regimes(n_periods=8, n=60, length=2, seed=0, n_columns=2):
    """Two concepts that alternate every ``length`` periods."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_periods * n, n_columns))
    period = np.repeat(np.arange(n_periods), n)
    concept = period // length % 2
    y = np.where(concept == 0, X[:, 0], -X[:, 0]) > 0
    return X, np.where(y, "up", "down"), period


def selector(estimator=None, **parameters):
    estimator = LogisticRegression() if estimator is None else estimator
    return TemporalModelSelector(estimator, **{"window": 1, "cv": 3, **parameters})


# --- no leak ------------------------------------------------------------------------


class Spy(ClassifierMixin, BaseEstimator):
    """Remembers which rows it was trained on, by their first column."""

    seen_together = ()

    def fit(self, X, y):
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.rows_, self.share_ = set(X[:, 0].tolist()), codes.mean()
        return self

    def predict_proba(self, X):
        p = np.full(len(X), self.share_)
        # predictions on rows of the training set stand out
        p[[value in self.rows_ for value in X[:, 0].tolist()]] = 1.0
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.mark.parametrize("window", [1, 3, None])
@pytest.mark.parametrize("extras", [None, "auto"])
def test_no_row_is_judged_by_a_model_that_was_trained_on_it(window, extras):
    rng = np.random.default_rng(0)
    X, period = np.arange(240.0)[:, None], np.repeat(np.arange(6), 40)
    y = rng.integers(2, size=240)
    seen = []

    def watch(model, X, y):
        seen.append(model.predict_proba(X)[:, 1].max())
        return 0.0

    model = selector(Spy(), window=window, retrain_window=extras, scoring=watch)
    for mechanism in MECHANISMS:
        model.set_params(mechanism=mechanism).fit(X, y, periods=period)
    model.set_params(mechanism="distance", n_select=2, combine="weighted")
    model.fit(X, y, periods=period)
    assert seen and max(seen) < 1
    # models trained on the closest period come after those that were not
    model.score_mechanisms(X, y, period, mechanisms=["distance"])
    model.set_params(mechanism="distance").fit(X, y, periods=period)
    entry = model._now()
    assert entry["rows"] is not None


def test_permuted_labels_of_the_newest_period_change_no_older_model():
    X, y, period = regimes()
    newest = period == period.max()
    other = y.copy()
    other[newest] = np.random.default_rng(1).permutation(other[newest])
    one, two = (selector(mechanism="temporal").fit(X, t, period) for t in (y, other))
    for a, b in zip(one.models_[:-1], two.models_[:-1], strict=True):
        np.testing.assert_array_equal(a.coef_, b.coef_)
    # the newest has no score of its own, and comes last
    assert np.isnan(one.validation_scores_[-1]) and one.ranking_[-1] == 7


# --- behaviour ----------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["temporal", "temporal_cv", "weighted"])
def test_after_a_switch_the_right_concept_is_chosen(mechanism):
    X, y, period = regimes(n_periods=12)
    history = selector(mechanism=mechanism).fit(X, y, period).history_
    for t, chosen in zip(history["period"], history["chosen"], strict=True):
        second = t % 2 == 1  # the labels of the first of the switch are known
        if t > 3 and second:
            assert chosen // 2 % 2 == t // 2 % 2


def test_identical_periods_leave_nothing_to_choose():
    rng = np.random.default_rng(0)
    X = np.tile(rng.normal(size=(150, 3)), (6, 1))
    y = np.tile((X[:150, 0] + rng.normal(size=150) > 0).astype(int), 6)
    period = np.repeat(np.arange(6), 150)
    table = selector().score_mechanisms(X, y, period)
    assert table.shape == (5, len(MECHANISMS) + 1)
    gaps = (table - table[["latest"]].to_numpy()).abs()
    assert gaps.drop(columns=["stacking", "oracle"]).max().max() < 1e-9
    assert gaps["stacking"].max() < 0.02


def test_reuse_beats_retraining_when_regimes_return():
    X, y, period = regimes(n_periods=14, n=80)
    table = selector(scoring="roc_auc", window=3).score_mechanisms(
        X, y, period, mechanisms=["latest", "stacking"]
    )
    mean = table.iloc[4:].mean()
    assert mean["stacking"] > mean["latest"] + 0.05
    assert (table["oracle"] >= table["latest"] - 1e-12).all()
    rank = selector().score_mechanisms(
        X, y, period, mechanisms=["temporal"], measure="kendall"
    )
    overlap = selector().score_mechanisms(
        X, y, period, mechanisms="temporal", measure="jaccard"
    )
    assert rank["temporal"].dropna().between(-1, 1).all()
    assert overlap["temporal"].dropna().between(0, 1).all()


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("delay", [0, 2])
def test_partial_fit_is_fit(mechanism, delay):
    X, y, period = regimes(n_periods=6, n=40)
    model = selector(
        mechanism=mechanism, window=2, max_models=4, label_delay=delay, random_state=0
    )
    whole = clone(model).fit(X, y, period)
    for t in range(6):
        rows = period == t
        model.partial_fit(X[rows], y[rows], period=t)
    assert model.periods_ == whole.periods_
    assert model.model_periods_ == whole.model_periods_
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))
    np.testing.assert_array_equal(model.history_["score"], whole.history_["score"])
    assert len(model.history_["period"]) == 6 - 1 - delay
    if delay:
        assert max(map(max, whole.history_["model_periods"])) == 5 - 1 - delay


def test_the_history_is_the_score_before_learning():
    X, y, period = regimes(n_periods=4)
    whole = selector(mechanism="latest").fit(X, y, period)
    before = selector(mechanism="latest").fit(X[period < 3], y[period < 3])
    part = selector(mechanism="latest").fit(
        X[period < 3], y[period < 3], period[period < 3]
    )
    rows = period == 3
    expected = -log_loss(y[rows], part.predict_proba(X[rows]), labels=["down", "up"])
    assert np.isclose(whole.history_["score"][-1], expected, rtol=1e-6)
    assert len(before.models_) == 1 and before.history_["score"] == []


# --- the mechanisms by hand ---------------------------------------------------------


def outputs(n_models=3, n=200, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(n_classes, size=n)
    scores = rng.normal(size=(n_models, n, n_classes))
    scores[:, np.arange(n), target] += np.arange(n_models)[:, None]
    p = np.exp(scores)
    return p / p.sum(axis=2, keepdims=True), target, np.ones(n)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e8])
def test_stacks_agree_with_cvxpy(penalty):
    cp = pytest.importorskip("cvxpy")
    P, target, weight = outputs()
    weight = np.linspace(0.5, 2, len(weight))
    logs = np.log(np.maximum(P, 1e-6))
    logs -= logs.mean(axis=2, keepdims=True)
    w, b = cp.Variable(3), cp.Variable(3)
    scores = sum(w[m] * logs[m] for m in range(3)) + np.ones((200, 1)) @ cp.reshape(
        b, (1, 3), order="C"
    )
    chosen = cp.sum(cp.multiply(np.eye(3)[target], scores), axis=1)
    loss = weight @ (cp.log_sum_exp(scores, axis=1) - chosen)
    ridge = 0.5 * penalty * 3 * cp.sum_squares(w - 1 / 3) + 0.5 * cp.sum_squares(b)
    cp.Problem(cp.Minimize(loss + ridge)).solve(solver="CLARABEL")
    mix = stacked(P, target, weight, penalty)
    np.testing.assert_allclose(mix.weights, w.value, atol=2e-4)
    np.testing.assert_allclose(mix.intercept, b.value, atol=2e-4)
    assert np.allclose(combined(P, mix).sum(axis=1), 1)


@pytest.mark.parametrize("penalty", [1e-6, 1.0, 1e9])
def test_stacks_of_regressors_are_ridge_regression(penalty):
    rng = np.random.default_rng(0)
    y = rng.normal(size=100) * 10
    F = y + rng.normal(size=(4, 100)) * np.array([1, 2, 3, 9])[:, None]
    weight = rng.uniform(0.5, 2, size=100)
    mix = stacked(F, y, weight, penalty)
    average = F.mean(axis=0)
    rest = y - average
    spread = np.average((rest - np.average(rest, weights=weight)) ** 2, weights=weight)
    ridge = Ridge(alpha=penalty * 4 * spread, solver="cholesky", tol=1e-12)
    ridge.fit(F.T, rest, sample_weight=weight)
    np.testing.assert_allclose(mix.weights, 0.25 + ridge.coef_, atol=1e-7)
    np.testing.assert_allclose(
        combined(F, mix), average + ridge.predict(F.T), rtol=1e-6, atol=1e-6
    )
    if penalty == 1e9:
        np.testing.assert_allclose(mix.weights, 0.25, atol=1e-6)


def test_weights_by_likelihood_and_by_error():
    P, target, weight = outputs()
    losses = row_losses(P, target)
    expected = np.exp(-losses.sum(axis=1) + losses.sum(axis=1).min())
    mix = by_likelihood(losses, weight, numbers=False)
    np.testing.assert_allclose(mix.weights, expected / expected.sum())
    mix = accuracy_weighted(P, target, weight)
    p = np.bincount(target) / len(target)
    gain = [
        max(
            np.sum(p * (1 - p) ** 2) - np.mean((1 - P[m, np.arange(200), target]) ** 2),
            0,
        )
        for m in range(3)
    ]
    np.testing.assert_allclose(mix.weights, np.array(gain) / sum(gain))
    assert accuracy_weighted(np.full((2, 200, 3), 1e-3), target, weight) is None


def test_the_quality_beside_the_vote_by_hand():
    """Street and Kim (2001): what one prediction adds, row by row."""
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), size=(6, 40))
    P[4] = np.nan
    target, weight = rng.integers(3, size=40), rng.uniform(0.5, 2, size=40)
    quality, seen = np.zeros(6), set()
    for row, true in enumerate(target):
        predicted = P[:, row].argmax(axis=1)
        votes = np.bincount(np.delete(predicted, 4), minlength=3) / 5
        second, first = np.sort(votes)[-2:]
        for model, label in enumerate(predicted):
            case = label == true, votes[true] == first
            seen.add(case)
            added = {
                (True, True): 1 - (first - second),
                (True, False): 1 - (first - votes[true]),
                (False, True): abs(votes[true] - votes[label]) - 1,
                (False, False): abs(votes[true] - votes[label]) - 1,
            }
            quality[model] += weight[row] * added[case]
    assert len(seen) == 4
    quality[4] = np.nan
    assert ensemble_quality(P, target, weight) == pytest.approx(quality, nan_ok=True)
    losses = ensemble_quality(P[:, :, 0], target, weight)
    squares = (P[:, :, 0] - target) ** 2
    assert losses == pytest.approx(-np.average(squares, 1, weight), nan_ok=True)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_independent_annotators_are_ordered_by_accuracy(n_classes):
    rng = np.random.default_rng(0)
    true = rng.integers(n_classes, size=3000)
    right = np.array([0.55, 0.65, 0.75, 0.85, 0.95])
    wrong = (true + rng.integers(1, n_classes, size=(5, 3000))) % n_classes
    votes = np.where(rng.uniform(size=(5, 3000)) < right[:, None], true, wrong)
    assert stats.kendalltau(abilities(votes, n_classes), right).statistic > 0.999
    # codes are names only
    np.testing.assert_allclose(
        abilities(n_classes - 1 - votes, n_classes), abilities(votes, n_classes)
    )
    np.testing.assert_array_equal(abilities(votes[:1].repeat(3, 0), n_classes), 1)


def test_distances_and_redundancy():
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(loc=m, size=(200, 2)) for m in (0, 0, 2))
    one = np.ones(2)
    assert energy_distance(a, b, one) < 0.05 < energy_distance(a, c, one)
    assert np.isclose(energy_distance(a, c, one), energy_distance(c, a, one))
    x, y = a[:, 0], c[:, 0]
    assert np.isclose(
        energy_distance(x[:, None], y[:, None], one[:1]),
        stats.energy_distance(x, y) ** 2,
    )
    assert closest([c, b], a) == 1
    noise = rng.normal(size=(3, 100))
    assert redundant(np.stack([noise[0], noise[1], noise[0] + 0.01, noise[2]])) == 0


def test_temporal_rev_and_average():
    X, y, period = regimes(n_periods=6, length=6)
    model = selector(mechanism="temporal_rev").fit(X, y, period)
    plain = selector(mechanism="temporal").fit(X, y, period)
    if plain.ranking_[0] == 4:
        assert model.ranking_[0] == 5
    average = selector(mechanism="average", n_select=3).fit(X, y, period)
    expected = np.mean([m.predict_proba(X) for m in average.models_[-3:]], axis=0)
    np.testing.assert_allclose(average.predict_proba(X), expected)
    np.testing.assert_allclose(average.weights_, [0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
    assert average.selected_.tolist() == [3, 4, 5]


@pytest.mark.parametrize("combine", ["best", "average", "weighted", "stacking"])
def test_several_models_of_a_ranking(combine):
    X, y, period = regimes(n_periods=6, n=80)
    model = selector(mechanism="temporal_cv", n_select=3, combine=combine)
    model.fit(X, y, period)
    assert len(model.selected_) == (1 if combine == "best" else 3)
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("eviction", ["diverse", "oldest", "worst"])
def test_eviction_keeps_the_newest(eviction):
    X, y, period = regimes(n_periods=8)
    model = selector(max_models=3, eviction=eviction).fit(X, y, period)
    assert len(model.models_) == 3 and model.model_periods_[-1] == 7
    if eviction == "oldest":
        assert model.model_periods_ == [5, 6, 7]
    first = selector(mechanism="stationary", max_models=2, eviction=eviction)
    assert first.fit(X, y, period).model_periods_ == [0, 7]


# --- odd streams --------------------------------------------------------------------


def test_periods_of_one_class_and_new_classes():
    X, y, period = regimes(n_periods=6)
    y = y.astype("<U5")
    y[period == 0] = "up"  # nothing can be trained yet
    y[period == 3] = "down"
    y[(period == 4) & (X[:, 1] > 0.5)] = "other"
    model = selector(window=2, scoring="roc_auc_ovr").fit(X, y, period)
    assert model.classes_.tolist() == ["down", "other", "up"]
    assert model.predict_proba(X).shape == (360, 3)
    assert model.periods_ == list(range(6))
    assert 0 not in model.model_periods_
    with pytest.raises(ValueError, match="one class"):
        selector().partial_fit(X[:10], ["up"] * 10)
    known = selector().partial_fit(X[:60], y[60:120], classes=["up", "down", "new"])
    assert known.predict_proba(X)[:, 1].max() == 0  # "new" has not come yet
    with pytest.raises(ValueError, match="one class"):
        selector().fit(X, np.full(len(X), "up"), period)


def test_small_periods_train_no_model():
    X, y, period = regimes(n_periods=4)
    keep = (period != 2) | (np.arange(len(y)) % 10 == 0)
    model = selector(retrain_min_samples=30).fit(X[keep], y[keep], period[keep])
    assert model.model_periods_ == [0, 1, 3]
    early = selector(retrain_min_samples=100)
    with pytest.raises(NotFittedError, match="no model yet"):
        early.partial_fit(X[:60], y[:60]).predict(X)
    with pytest.raises(ValueError, match="retrain_min_samples"):
        early.fit(X, y, period)


def test_labels_weights_and_order_of_the_rows_do_not_matter():
    X, y, period = regimes(n_periods=5)
    names = np.array([f"2020-{k + 1:02d}" for k in range(5)])[period]
    order = np.argsort(np.random.default_rng(0).uniform(size=len(y)), kind="stable")
    order = order[np.argsort(period[order], kind="stable")]
    one = selector(mechanism="latest").fit(X, y, period)
    two = selector(mechanism="latest").fit(X, y, names)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert two.periods_[0] == "2020-01"
    weight = np.where(period == 1, 0.0, 1.0)
    dropped = selector().fit(X, y, period, sample_weight=weight)
    assert dropped.periods_ == [0, 2, 3, 4]
    absent = selector().fit(X[period != 1], y[period != 1], period[period != 1])
    np.testing.assert_allclose(
        dropped.predict_proba(X), absent.predict_proba(X), rtol=1e-6
    )


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
def test_weights_count_in_scores(scoring):
    X, y, period = regimes(n_periods=5)
    twice = np.random.default_rng(4).uniform(size=len(y)) < 0.5
    weight = np.where(twice, 2.0, 1.0)
    parts = [np.concatenate([v, v[twice]]) for v in (X, y, period)]
    for mechanism in ("temporal", "awe"):
        model = selector(mechanism=mechanism, scoring=scoring, window=2)
        model.set_params(estimator=LogisticRegression(tol=1e-10))
        one = clone(model).fit(X, y, period, sample_weight=weight)
        two = clone(model).fit(*parts)
        np.testing.assert_allclose(
            one.history_["score"][:1], two.history_["score"][:1], rtol=1e-5
        )
        np.testing.assert_allclose(
            one.validation_scores_[:-1], two.validation_scores_[:-1], rtol=1e-5
        )


def test_scorers_without_weights_are_refused_with_weights():
    X, y, period = regimes(n_periods=4)
    weight = np.ones(len(y))

    def no_weights(model, X, y):
        return float(np.mean(model.predict(X) == y))

    def weights(model, X, y, sample_weight=None):
        return float(np.average(model.predict(X) == y, weights=sample_weight))

    with pytest.raises(ValueError, match="takes no sample_weight"):
        selector(scoring=no_weights).fit(X, y, period, sample_weight=weight)
    one = selector(scoring=no_weights).fit(X, y, period).history_["score"]
    model = selector(scoring=weights).fit(X, y, period, sample_weight=weight)
    np.testing.assert_allclose(model.history_["score"], one, rtol=1e-9)


def test_periods_of_ordered_categories_and_missing_ones():
    import pandas as pd

    X, y, period = regimes(n_periods=4)
    names = ["jan", "feb", "mar", "apr"]
    months = np.array(names)[period]
    ordered = pd.Series(pd.Categorical(months, categories=names, ordered=True))
    model = selector(mechanism="latest").fit(X, y, ordered)
    assert model.periods_ == names
    expected = selector(mechanism="latest").fit(X, y, period).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    some = ordered[period > 0]  # an unused level
    assert selector().fit(X[period > 0], y[period > 0], some).periods_ == names[1:]
    assert selector().fit(X, y, months).periods_ == sorted(names)
    dates = pd.Series(pd.to_datetime("2020-01-01") + pd.to_timedelta(period, unit="D"))
    dates[0] = pd.NaT
    for bad in (dates, ordered.where(period > 0), np.where(period > 0, months, None)):
        with pytest.raises(ValueError, match="periods contains"):
            selector().fit(X, y, bad)
    with pytest.raises(ValueError, match="cannot be sorted"):
        selector().fit(X, y, np.where(period > 0, months.astype(object), 1))


class Picky(LogisticRegression):
    """Cannot learn some periods."""

    refuse = False

    def fit(self, X, y):
        if Picky.refuse:
            raise RuntimeError("not this one")
        return super().fit(X, y)


def test_a_period_that_cannot_be_learned_leaves_no_trace(monkeypatch):
    X, y, period = regimes(n_periods=3)
    parts = [(X[period == k], y[period == k]) for k in range(3)]
    model, whole = (selector(Picky(), mechanism="temporal") for _ in range(2))
    monkeypatch.setattr(Picky, "refuse", True)
    with pytest.raises(RuntimeError):
        model.partial_fit(*parts[0])
    with pytest.raises(ValueError, match="one class"):
        model.partial_fit(X[:3], ["up"] * 3, classes=["up"])
    assert set(vars(model)) == set(vars(whole))
    for k in range(3):
        monkeypatch.setattr(Picky, "refuse", True)
        with pytest.raises(RuntimeError):
            model.partial_fit(*parts[k])
        monkeypatch.setattr(Picky, "refuse", False)
        model.partial_fit(*parts[k])
        whole.partial_fit(*parts[k])
    assert model.history_["period"] == whole.history_["period"] == [1, 2]
    assert model.history_["score"] == whole.history_["score"]
    np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))


@pytest.mark.parametrize("mechanism", ["confidence", "laf", "distance"])
def test_parameters_that_are_set_later_wait_for_the_next_period(mechanism):
    X, y, period = regimes(n_periods=5)
    model = selector(mechanism=mechanism, n_select=2).fit(X, y, period)
    before = model.predict_proba(X[:40])
    for other in ("distance", "laf", "stacking"):
        model.set_params(mechanism=other, n_select=1, combine="weighted")
        np.testing.assert_array_equal(model.predict_proba(X[:40]), before)


def test_history_can_be_bounded():
    X, y, period = regimes(n_periods=6)
    every = selector(mechanism="temporal").fit(X, y, period)
    model = selector(mechanism="temporal", max_history=2)
    for k in range(6):
        model.partial_fit(X[period == k], y[period == k])
    for name, values in model.history_.items():
        assert len(values) == 2
        if name != "weights":
            assert values == every.history_[name][-2:]
    with pytest.raises(ValueError, match="max_history"):
        selector(max_history=0).fit(X, y, period)


class Coded(BaseEstimator, ClassifierMixin):
    """Learns by the codes of a column of categories."""

    def fit(self, X, y):
        self.tree_ = DecisionTreeClassifier().fit(self._codes(X), y)
        self.classes_ = self.tree_.classes_
        return self

    def _codes(self, X):
        assert len(X["kind"].cat.categories) == 4
        return X["kind"].cat.codes.to_numpy()[:, None]

    def predict(self, X):
        return self.tree_.predict(self._codes(X))


def test_levels_of_categories_are_kept():
    import pandas as pd

    rng = np.random.default_rng(1)
    kind = rng.choice(["b", "a", "c"], size=120)
    levels = ["c", "unused", "a", "b"]
    X = pd.DataFrame({"kind": pd.Categorical(kind, categories=levels), "x": 1})
    model = TemporalModelSelector(Coded(), mechanism="temporal", window=2)
    model.fit(X, kind == "b", np.arange(120) // 40)
    assert model.score(X, kind == "b") == 1


@pytest.mark.parametrize(
    "estimator", [LinearSVC(), SGDClassifier(random_state=0), DecisionTreeClassifier()]
)
def test_any_classifier(estimator):
    X, y, period = regimes(n_periods=4, length=9)
    model = selector(estimator, mechanism="stacking", random_state=0)
    model.fit(X, y, period)
    assert model.score(X, y) > 0.9
    assert hasattr(model, "predict_proba") == hasattr(estimator, "predict_proba")
    assert hasattr(model, "decision_function") == hasattr(
        estimator, "decision_function"
    )
    if hasattr(model, "decision_function"):
        assert roc_auc_score(y == "up", model.decision_function(X)) > 0.95


@pytest.mark.parametrize(
    "mechanism", [m for m in MECHANISMS if m not in ("confidence", "laf")]
)
def test_regressors(mechanism):
    rng = np.random.default_rng(0)
    X, period = rng.normal(size=(300, 3)), np.repeat(np.arange(5), 60)
    y = X[:, 0] * np.where(period % 2, 3, -3) + rng.normal(size=300)
    model = selector(Ridge(), mechanism=mechanism).fit(X, y, period)
    assert np.isfinite(model.predict(X)).all()
    table = selector(Ridge()).score_mechanisms(X, y, period, mechanisms=[mechanism])
    assert (table[mechanism] <= 1e-9 + 0 * table["oracle"]).all()
    with pytest.raises(ValueError, match="for classifiers"):
        selector(Ridge(), mechanism="laf").fit(X, y, period)


# --- in use -------------------------------------------------------------------------


def test_frames_in_a_search_with_two_jobs(tmp_path):
    import pandas as pd

    X, y, period = regimes(n_periods=4)
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(
        kind=pd.Categorical(np.where(X[:, 1] > 0, "u", "v"))
    )
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder=StandardScaler()
    )
    model = selector(make_pipeline(encode, LogisticRegression()), random_state=0)
    model.set_params(mechanism="distance")
    search = GridSearchCV(
        model, {"mechanism": ["latest", "stacking", "distance"]}, cv=2, n_jobs=2
    )
    search.fit(frame, y, periods=period)
    assert np.isfinite(search.best_score_)
    best = model.fit(frame, y, period)
    assert list(best.feature_names_in_) == ["a", "b", "kind"]
    best.save(tmp_path / "model.npz")
    again = skdiff.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict_proba(frame), best.predict_proba(frame))
    new = frame.iloc[:60], y[:60]
    for one in (best, again):
        one.partial_fit(*new)
    np.testing.assert_array_equal(again.predict_proba(frame), best.predict_proba(frame))


@pytest.mark.parametrize("mechanism", ["confidence", "laf", "distance"])
def test_a_batch_decides_and_leaves_no_trace(mechanism):
    X, y, period = regimes(n_periods=6)
    model = selector(mechanism=mechanism).fit(X, y, period)
    before = model.weights_.copy()
    first = model.predict_proba(X[:50])
    np.testing.assert_array_equal(model.predict_proba(X[:50]), first)
    np.testing.assert_array_equal(model.weights_, before)
    fixed = selector(mechanism=mechanism, select_on_predict=False).fit(X, y, period)
    np.testing.assert_allclose(
        fixed.predict_proba(X[:5]), fixed.predict_proba(X)[:5], rtol=1e-12
    )


def test_limits_and_progress(capsys):
    X, y, period = regimes(n_periods=5)
    with pytest.warns(ConvergenceWarning, match="after 1 of 5 periods"):
        model = selector(time_limit=1e-9).fit(X, y, period)
    assert model.stopped_ == "time" and len(model.models_) == 1
    assert len(model.predict(X)) == len(y)
    selector(verbose=1).fit(X, y, period)
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_jobs_and_extra_models():
    X, y, period = regimes(n_periods=5)
    one = selector(window=2, retrain_window="auto").fit(X, y, period)
    two = selector(window=2, retrain_window="auto", n_jobs=2).fit(X, y, period)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    # a model per period, one of all history and one of the newest period
    assert len(one.models_) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mechanism": "best"}, "mechanism"),
        ({"window": 0}, "window"),
        ({"max_models": 0}, "max_models"),
        ({"scoring": "nonsense"}, "nonsense"),
        ({"label_delay": -1}, "label_delay"),
        ({"combine": "vote"}, "combine"),
        ({"eviction": "newest"}, "eviction"),
        ({"cv": 1}, "cv"),
        ({"stack_penalty": 0.0}, "stack_penalty"),
    ],
)
def test_bad_parameters(change, message):
    X, y, period = regimes(n_periods=3)
    with pytest.raises(ValueError, match=message):
        selector(**change).fit(X, y, period)


def test_bad_input():
    X, y, period = regimes(n_periods=3)
    with pytest.raises(ValueError, match="inconsistent"):
        selector().fit(X, y, period[:-1])
    with pytest.raises(ValueError, match="periods"):
        selector().fit(X, y, np.where(period == 1, np.nan, period))
    with pytest.raises(ValueError, match="among"):
        selector().score_mechanisms(X, y, period, mechanisms=["best"])
    with pytest.raises(ValueError, match="measure"):
        selector().score_mechanisms(X, y, period, measure="tau")
    with pytest.raises(ValueError, match="2 features"):
        selector().fit(X, y, period).partial_fit(X[:, :1], y)
    with pytest.raises(NotFittedError):
        selector().models_
    with pytest.raises(ValueError, match="no sample_weight"):
        from sklearn.neighbors import KNeighborsClassifier

        selector(KNeighborsClassifier()).fit(X, y, period, np.ones(len(y)))


def test_kept_frames_come_back():
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    days = pd.date_range("2020", periods=4)
    frame = pd.DataFrame(
        {
            "number": pd.array([1, None, 2, 3], dtype="Int64"),
            "flag": pd.array([True, None, False, True], dtype="boolean"),
            "text": pd.array(["a", None, "b", "c"], dtype="string"),
            "day": days.tz_localize("UTC"),
            "level": pd.Categorical([3, 1, 3, None], [4, 3, 1], ordered=True),
            "date": pd.Categorical(days, categories=[*days[::-1]]),
            "single": np.arange(4, dtype=np.float32),
        }
    )
    frame.columns = [*"abcde", "x", "x"]  # names need not be unique
    pd.testing.assert_frame_equal(restore(keep(frame)), frame)
    halves = [keep(frame.iloc[:2]), keep(frame.iloc[2:])]
    pd.testing.assert_frame_equal(restore(stack(halves)), frame)
    table = pl.DataFrame(
        {
            "level": pl.Series(["x", "y", None], dtype=pl.Enum(["y", "unused", "x"])),
            "text": ["a", None, "c"],
            "number": pl.Series([1, None, 3], dtype=pl.Int32),
            "flag": [True, None, False],
            "day": pl.Series([1, 2, None]).cast(pl.Date),
        }
    )
    assert restore(keep(table)).equals(table)
    assert restore(keep(table)).schema == table.schema


def test_the_display_shows_models_over_time():
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y, period = regimes(n_periods=6)
    model = selector(mechanism="temporal").fit(X, y, period)
    display = TemporalReuseDisplay.from_estimator(model).plot()
    frame = display.frame()
    assert frame["period"].tolist() == [1, 2, 3, 4, 5]
    assert (frame["model_period"] < frame["period"]).all()
    assert len(display.points_.get_offsets()) == 5
    plt.close("all")


@pytest.mark.parametrize(("spread", "first"), [(3.0, 0), (3.4, 1)])
def test_an_older_model_needs_a_gain_of_one_standard_error(spread, first):
    # squared errors of the newest are larger by .5 on average, with the standard error
    # spread / sqrt(40), which is .47 or .54
    y = np.zeros(40)
    gain = 0.5 + spread * np.where(np.arange(40) % 2, 1.0, -1.0)
    older, newest = np.full(40, 2.0), np.sqrt(4 + gain)
    evidence = Evidence(
        outputs=np.stack([older, newest]),
        target=y,
        weight=np.ones(40),
        scores=np.array([-4.0, -4.5]),
        fresh=np.array([False, True]),
    )
    found = choose("temporal_cv", evidence, Taste(None, "average", 10.0))
    assert found.ranking[0] == first


def test_a_scorer_that_fails_is_named_and_new_labels_are_not():
    def broken(model, X, y):
        raise ValueError("no such score")

    p, X, classes = np.full((4, 2), 0.5), np.zeros((4, 1)), np.array([0, 1])
    with pytest.warns(UserWarning, match="no such score"):
        found = score_combination(p, np.array([0, 1, 0, 1]), X, classes, None, broken)
    assert np.isnan(found)
    with pytest.warns(UserWarning, match="no such score"):
        assert np.isnan(score_combination(p[:, 0], p[:, 0], X, None, None, broken))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score_combination(p, np.array([0, 2, 0, 2]), X, classes, None, broken)
    assert np.isnan(found)
