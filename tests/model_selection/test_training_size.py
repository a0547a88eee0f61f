"""TrainingSizeEstimator: plans, stops, decisions, and what reaches the estimator."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_score,
    learning_curve,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import ScoreCurve, TrainingSizeEstimator
from skdiff.model_selection._training_size._plan import (
    geometric_sizes,
    given_sizes,
    stratified_order,
)


class Follows(ClassifierMixin, BaseEstimator):
    """Its score is a power law of the rows it saw."""

    def __init__(self, top=0.9):
        self.top = top

    def fit(self, X, y, sample_weight=None):
        self.classes_, self.n_ = np.unique(y), len(X)
        self.weight_ = sample_weight
        self.rows_ = set(np.asarray(X)[:, 0].astype(int).tolist())
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def score(self, X, y, sample_weight=None):
        return self.top - 2.0 * self.n_**-0.5


def rows(n=600):
    rng = np.random.RandomState(0)
    return np.c_[np.arange(n), rng.normal(size=n)], np.arange(n) % 3


def test_a_power_law_is_found_and_evaluations_end():
    X, y = rows()
    model = TrainingSizeEstimator(Follows(), random_state=0).fit(X, y)
    assert model.curve_.asymptote_ == pytest.approx(0.9, abs=1e-6)
    assert model.stopped_ == "proximity" and len(model.train_sizes_) == 4
    assert model.n_fits_ == 4 * 5 + 1 and model.estimator_.n_ == 600
    assert model.predict_score(10_000) == pytest.approx(0.88)
    assert model.predicted_score_[1200] == pytest.approx(0.9 - 2 * 1200**-0.5)
    assert model.required_samples(0.88) == pytest.approx(10_000, rel=1e-4)
    assert model.required_samples(0.88, 0.9) >= model.required_samples(0.88, 0.1)
    assert model.decision_ is None and model.required_samples_ is None
    every = TrainingSizeEstimator(Follows(), stop="none", random_state=0).fit(X, y)
    assert every.stopped_ == "sizes" and every.train_sizes_[-1] == 480
    ratio = every.train_sizes_[1:] / every.train_sizes_[:-1]
    assert np.all(np.abs(ratio - np.sqrt(2)) < 0.03)


def test_decisions():
    X, y = rows()
    for target, size, decision in (
        (0.7, None, "reached"),
        (0.97, None, "out of reach"),
        (0.89, 10**6, "reached"),
        (0.95, 10**9, "out of reach"),
    ):
        model = TrainingSizeEstimator(
            Follows(), target=target, target_size=size, random_state=0
        ).fit(X, y)
        assert model.decision_ == decision and model.stopped_ == "target"
        assert model.required_samples_ == model.required_samples(target)
    X, y = load_breast_cancer(return_X_y=True)
    model = TrainingSizeEstimator(
        GaussianNB(), target=0.94, stop="none", random_state=0
    ).fit(X, y)
    assert model.decision_ == "open"


def test_subsamples_are_nested_stratified_and_test_rows_fixed():
    X, y = rows(90)
    y = np.where(np.arange(90) < 12, "rare", "common")
    cv = KFold(3, shuffle=True, random_state=0)
    model = TrainingSizeEstimator(Follows(), cv=cv, random_state=0)
    rng = np.random.RandomState(0)
    plan = model._plan(X, y, {}, rng)
    folds = [test for _, test in cv.split(X)]
    for small, large in zip(plan.splits[:-1], plan.splits[1:], strict=True):
        for (a, test_a), (b, test_b), test in zip(small, large, folds, strict=True):
            assert set(a) < set(b)
            np.testing.assert_array_equal(test_a, test)
            np.testing.assert_array_equal(test_b, test)
            assert not set(b) & set(test)
    for size, splits in zip(plan.sizes, plan.splits, strict=True):
        for (train, _), full in zip(splits, plan.splits[-1], strict=True):
            assert len(train) == size
            share = np.mean(y[full[0]] == "rare")
            assert abs(np.sum(y[train] == "rare") - share * size) <= 1.5
    apart = model.set_params(nested=False)._plan(X, y, {}, rng)
    assert any(
        not set(a) < set(b)
        for (a, _), (b, _) in zip(apart.splits[0], apart.splits[-1], strict=True)
    ) or any(
        not set(a) < set(b)
        for (a, _), (b, _) in zip(apart.splits[0], apart.splits[1], strict=True)
    )


def test_orders_and_sizes():
    rng = np.random.RandomState(0)
    codes = np.repeat([0, 1, 2], [50, 30, 20])
    order = stratified_order(codes, 100, rng)
    assert sorted(order) == list(range(100))
    for size in (10, 20, 50):
        counts = np.bincount(codes[order[:size]], minlength=3)
        assert np.all(np.abs(counts - size * np.array([0.5, 0.3, 0.2])) <= 1)
    assert geometric_sizes(12_800, 8, 2).tolist() == [
        100,
        200,
        400,
        800,
        1600,
        3200,
        6400,
        12_800,
    ]
    assert geometric_sizes(100, 8, 30).tolist() == [35, 50, 71, 100]
    assert geometric_sizes(5, 4, 3).tolist() == [3, 4, 5]
    assert given_sizes(np.array([0.1, 0.5, 1.0]), 50).tolist() == [5, 25, 50]


def test_the_scores_are_those_of_cross_validation():
    X, y = load_breast_cancer(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    cv = KFold(3, shuffle=True, random_state=0)
    model = TrainingSizeEstimator(
        pipe, cv=cv, stop="none", scoring="neg_log_loss", n_sizes=4, random_state=0
    ).fit(X, y)
    expected = cross_val_score(pipe, X, y, cv=cv, scoring="neg_log_loss")
    np.testing.assert_allclose(model.test_scores_[-1], expected, atol=0.01)
    assert model.curve_.upper == 0.0
    np.testing.assert_array_equal(
        model.predict_proba(X), pipe.fit(X, y).predict_proba(X)
    )
    assert model.score(X, y) == pipe.score(X, y)
    assert model.classes_.tolist() == [0, 1]
    sizes, _, scores = learning_curve(
        pipe, X, y, cv=cv, train_sizes=model.train_sizes_, scoring="neg_log_loss"
    )
    curve = ScoreCurve(upper=0.0, random_state=0).fit(sizes, scores)
    assert curve.predict([2000])[0] == pytest.approx(
        model.predict_score(2000), abs=0.05
    )


def test_comparison_of_two():
    X, y = rows()
    slow = TrainingSizeEstimator(Follows(0.9), random_state=0).fit(X, y)

    class Fast(Follows):
        def score(self, X, y, sample_weight=None):
            return 0.8 - 0.5 * self.n_**-0.5

    fast = TrainingSizeEstimator(Fast(), random_state=0).fit(X, y)
    found = fast.compare(slow)
    assert found.crossing_size == pytest.approx(225, rel=0.02)
    assert found.probability > 0.7 > 0.3 > slow.compare(fast).probability
    assert fast.compare(slow, 100).probability < 0.1
    assert slow.compare(slow).crossing_size == np.inf


def test_weights_groups_and_routing():
    X, y = rows(120)
    weight = np.where(np.arange(120) < 30, 0.0, 2.0)
    model = TrainingSizeEstimator(Follows(), cv=3, random_state=0)
    model.fit(X, y, sample_weight=weight)
    assert min(model.estimator_.rows_) == 30 and len(model.estimator_.weight_) == 90
    clean = TrainingSizeEstimator(Follows(), cv=3, random_state=0).fit(
        X[30:], y[30:], sample_weight=weight[30:]
    )
    np.testing.assert_array_equal(model.test_scores_, clean.test_scores_)
    groups = np.arange(120) // 10
    model = TrainingSizeEstimator(Follows(), cv=GroupKFold(3), random_state=0)
    model.fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="groups"):
        TrainingSizeEstimator(Follows(), cv=GroupKFold(3)).fit(X, y)
    with sklearn.config_context(enable_metadata_routing=True):
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        inner.set_score_request(sample_weight=True)
        routed = TrainingSizeEstimator(inner, cv=GroupKFold(3), random_state=0)
        routed.fit(X, y, groups=groups, sample_weight=np.ones(120))
        refused = TrainingSizeEstimator(LogisticRegression(), cv=3)
        with pytest.raises(ValueError, match="sample_weight"):
            refused.fit(X, y, sample_weight=np.ones(120))


class Fails(Follows):
    """Some fits fail."""

    def fit(self, X, y, sample_weight=None):
        if len(X) < 60:
            raise RuntimeError("too few rows")
        return super().fit(X, y)


def test_failing_fits():
    X, y = rows()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = TrainingSizeEstimator(Fails(), random_state=0).fit(X, y)
    assert any("no numbers" in str(w.message) for w in caught)
    assert model.curve_.asymptote_ == pytest.approx(0.9, abs=1e-6)
    assert np.isnan(model.test_scores_[0]).all()
    with pytest.raises(RuntimeError, match="too few rows"):
        TrainingSizeEstimator(Fails(), error_score="raise").fit(X, y)
    model = TrainingSizeEstimator(Fails(), random_state=0)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="Only 0 of"):
        warnings.simplefilter("ignore")
        model.fit(X[:60], y[:60])
    assert not [name for name in vars(model) if name.endswith("_")]


def test_limits_and_bad_input():
    X, y = rows()
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="time_limit"):
        model = TrainingSizeEstimator(Follows(), time_limit=1e-9, random_state=0).fit(
            X, y
        )
    assert model.stopped_ == "time" and len(model.train_sizes_) == 3
    rare = np.where(np.arange(600) < 10, 1, 0)
    with pytest.warns(UserWarning, match="smallest size is raised"):
        TrainingSizeEstimator(Follows(), min_size=3, random_state=0).fit(X, rare)
    for options, message in (
        ({"train_sizes": [0.5, 1.0]}, "3 training sizes"),
        ({"train_sizes": [10, 20, 900]}, "between 1 and 480"),
        ({"train_sizes": [0.1, 0.5, 1.5]}, "Fractions"),
        ({"train_sizes": ["a", "b"]}, "train_sizes must be"),
        ({"min_size": 479}, "3 training sizes"),
        ({"stop": "never"}, "stop"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainingSizeEstimator(Follows(), **options).fit(X, y)
    with pytest.raises(ValueError, match="frozen"):
        TrainingSizeEstimator(FrozenEstimator(Follows().fit(X, y))).fit(X, y)
    with pytest.raises(ValueError, match="confidence"):
        model.required_samples(0.8, 1.0)
    with pytest.raises(AttributeError):
        model.predict_proba(X)


def test_in_a_search_on_a_real_table():
    X, y = load_digits(return_X_y=True)
    model = TrainingSizeEstimator(GaussianNB(), cv=3, n_sizes=5, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model),
        {"trainingsizeestimator__estimator__var_smoothing": [1e-9, 1e-2]},
        cv=2,
        n_jobs=2,
    ).fit(X, np.array([f"digit {k}" for k in y]))
    assert search.best_estimator_[-1].estimator_.var_smoothing == 1e-2
    numbers = TrainingSizeEstimator(Ridge(), cv=3, random_state=0).fit(X, y)
    assert numbers.curve_.upper == 1.0 and numbers.predict(X).shape == (1797,)


@pytest.mark.parametrize(
    ("y", "weight", "message"),
    [
        (np.ones(40), None, "only one class"),
        (np.arange(40) % 2, np.arange(40) % 2, "sample_weight"),
        (np.linspace(0, 1, 40), None, "continuous"),
    ],
)
def test_targets_that_are_no_classes(y, weight, message):
    X = np.random.default_rng(0).normal(size=(40, 2))
    given = {} if weight is None else {"sample_weight": weight}
    with pytest.raises(ValueError, match=message):
        TrainingSizeEstimator(LogisticRegression()).fit(X, y, **given)
