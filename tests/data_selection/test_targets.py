"""Selectors with a target sample: ConditionalLossSelector and DataInfluenceSelector."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import PredefinedSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skdiff.data_selection import (
    ConditionalLossSelector,
    DataInfluenceSelector,
    SelectedFit,
    influence_scores,
)

CRITERIA = ("color", "conditional", "rho", "domain")


def two_concepts(seed, shift=0.0, n_off=2400, n_on=600, m=80):
    """A pool in which one row in five follows the law of the target sample."""
    rng = np.random.RandomState(seed)
    off, on = rng.normal(size=10), rng.normal(size=10)
    centre = shift * rng.normal(size=10)

    def target(n):
        X = rng.normal(size=(n, 10)) + centre
        return X, ((X - centre) @ on + 0.5 * rng.normal(size=n) > 0).astype(int)

    X = rng.normal(size=(n_off, 10))
    y = (X @ off + 0.5 * rng.normal(size=n_off) > 0).astype(int)
    X_on, y_on = target(n_on)
    good = np.arange(n_off + n_on) >= n_off
    return np.r_[X, X_on], np.r_[y, y_on], good, target(m), target(2000)


def accuracy(rows, X, y, test):
    return LogisticRegression().fit(X[rows], y[rows]).score(*test)


def test_color_finds_the_concept_and_the_domain_finds_the_shift():
    X, y, good, goal, test = two_concepts(0)
    found = {
        name: ConditionalLossSelector(criterion=name, n_select=600, random_state=0).fit(
            X, y, X_target=goal[0], y_target=goal[1]
        )
        for name in CRITERIA
    }
    everything = accuracy(np.arange(len(y)), X, y, test)
    for name in ("color", "conditional"):
        support = found[name].support_
        assert good[support].mean() > good.mean()
        assert accuracy(support, X, y, test) > everything + 0.05
    # the rows look alike, so a domain classifier has nothing to see
    assert good[found["domain"].support_].mean() < 0.25
    X, y, good, goal, _ = two_concepts(0, shift=1.0)
    domain = ConditionalLossSelector(criterion="domain", n_select=600, random_state=0)
    domain.fit(X, y, X_target=goal[0], y_target=goal[1])
    assert good[domain.support_].mean() > 0.6


def test_auto_takes_what_is_best_on_the_target_sample():
    for shift, allowed in ((2.0, {"domain"}), (0.0, {"color", "conditional"})):
        X, y, _, goal, _ = two_concepts(1, shift=shift)
        selector = ConditionalLossSelector(n_select=600, random_state=0)
        selector.fit(X, y, X_target=goal[0], y_target=goal[1])
        assert set(selector.criterion_scores_) == set(CRITERIA)
        scores = selector.criterion_scores_
        assert selector.criterion_ == min(scores, key=scores.get)
        assert selector.criterion_ in allowed


def test_scores_keep_the_orientation_of_the_paper():
    X, y, _, goal, _ = two_concepts(2, n_off=200, n_on=100)
    for name, sign in (("color", -1), ("conditional", -1), ("rho", 1), ("domain", 1)):
        s = ConditionalLossSelector(criterion=name, random_state=0)
        s.fit(X, y, X_target=goal[0], y_target=goal[1])
        kept, left = s.scores_[s.support_], s.scores_[~s.support_]
        assert sign * kept.mean() > sign * left.mean()
        assert (sign * kept).min() >= (sign * left).max()
        assert s.criterion_scores_ == {}


def test_a_small_target_leaves_the_prior_and_permuted_rows_permute_scores():
    X, y, _, goal, _ = two_concepts(3, n_off=200, n_on=100)
    fold = np.arange(300) % 3
    order = np.random.RandomState(0).permutation(300)
    options = {"criterion": "color"}
    sample = {"X_target": goal[0], "y_target": goal[1]}
    first = ConditionalLossSelector(cv=PredefinedSplit(fold), **options)
    first.fit(X, y, **sample)
    second = ConditionalLossSelector(cv=PredefinedSplit(fold[order]), **options)
    second.fit(X[order], y[order], **sample)
    np.testing.assert_allclose(
        second.scores_, first.scores_[order], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("estimator", "fine_tune"),
    [
        (SGDClassifier(loss="log_loss"), "partial_fit"),
        (GaussianNB(), "auto"),
        (DecisionTreeClassifier(max_depth=3), "auto"),
        (LogisticRegression(), "ridge"),
        (LogisticRegression(C=np.inf), "auto"),
        (LogisticRegression(), "refit"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "auto"),
    ],
)
def test_ways_to_continue(estimator, fine_tune):
    X, y, _, goal, _ = two_concepts(4, n_off=100, n_on=100)
    selector = ConditionalLossSelector(
        estimator, "color", fine_tune, balance="class", random_state=0
    )
    selector.fit(X, y, X_target=goal[0], y_target=goal[1])
    assert np.isfinite(selector.scores_).all() and selector.n_selected_ == 100
    with pytest.raises(ValueError, match="has no partial_fit"):
        ConditionalLossSelector(LogisticRegression(), "color", "partial_fit").fit(
            X, y, X_target=goal[0], y_target=goal[1]
        )
    with pytest.raises(ValueError, match="needs Ridge"):
        ConditionalLossSelector(GaussianNB(), "color", "ridge").fit(
            X, y, X_target=goal[0], y_target=goal[1]
        )


def test_regression_string_labels_sparse_rows_and_a_presample():
    X, y = load_diabetes(return_X_y=True)
    sample = {"X_target": X[:40], "y_target": y[:40]}
    for selector in (
        ConditionalLossSelector(Ridge(0.1), random_state=0),
        DataInfluenceSelector(Ridge(0.1), n_probe=50, random_state=0),
    ):
        selector.fit(X[40:], y[40:], **sample)
        assert selector.n_selected_ == 201
    X, y, _, goal, _ = two_concepts(5, n_off=200, n_on=100)
    names = np.array(["no", "yes"])
    part = ConditionalLossSelector(
        criterion="color", tau=2, n_select=50, random_state=0
    )
    part.fit(X, names[y], X_target=goal[0], y_target=names[goal[1]])
    assert np.isnan(part.scores_).sum() == 200 and part.n_selected_ == 50
    assert not np.isnan(part.scores_[part.support_]).any()
    thin = ConditionalLossSelector(LogisticRegression(), n_select=50, random_state=0)
    thin.fit(
        sparse.csr_array(X), y, X_target=sparse.csr_array(goal[0]), y_target=goal[1]
    )
    assert np.isfinite(thin.scores_).all()


def test_a_class_of_the_target_that_the_pool_has_not():
    X, y, _, goal, _ = two_concepts(6, n_off=100, n_on=100)
    more = goal[1].copy()
    more[:10] = 2
    selector = ConditionalLossSelector(criterion="color", random_state=0)
    selector.fit(X, y, X_target=goal[0], y_target=more)
    assert np.isfinite(selector.scores_).all()


@pytest.mark.parametrize("cls", [ConditionalLossSelector, DataInfluenceSelector])
def test_target_samples_are_whole_in_selected_fit_and_not_routed(cls):
    import sklearn

    X, y, good, goal, _ = two_concepts(7, n_off=120, n_on=40)
    model = SelectedFit(cls(n_select=40, random_state=0), LogisticRegression()).fit(
        X, y, X_target=goal[0], y_target=goal[1]
    )
    assert good[model.selector_.support_].mean() > good.mean()
    direct = cls(n_select=40, random_state=0)
    direct.fit(X, y, X_target=goal[0], y_target=goal[1])
    np.testing.assert_array_equal(model.selector_.scores_, direct.scores_)
    with sklearn.config_context(enable_metadata_routing=True):
        assert not hasattr(cls(), "set_fit_request") or "X_target" not in str(
            cls().get_metadata_routing()
        )
        model.fit(X, y, X_target=goal[0], y_target=goal[1])
    X_kept, y_kept = direct.fit_resample(X, y, X_target=goal[0], y_target=goal[1])
    assert X_kept.shape == (40, 10) and len(y_kept) == 40


def test_what_is_missing_is_named():
    X, y, _, goal, _ = two_concepts(8, n_off=30, n_on=30)
    with pytest.raises(ValueError, match="requires X_target and y_target"):
        ConditionalLossSelector().fit(X, y)
    with pytest.raises(ValueError, match="requires X_target and y_target"):
        DataInfluenceSelector().fit(X, y, X_target=goal[0])
    with pytest.raises(ValueError, match="X_target has 80 rows and y_target 79"):
        ConditionalLossSelector().fit(X, y, X_target=goal[0], y_target=goal[1][1:])
    with pytest.raises(ValueError, match="features"):
        ConditionalLossSelector().fit(X, y, X_target=goal[0][:, 1:], y_target=goal[1])
    with pytest.raises(ValueError, match="Name a criterion"):
        ConditionalLossSelector().fit(X, y, X_target=goal[0][:3], y_target=goal[1][:3])
    with pytest.raises(ValueError, match="DecisionTreeClassifier has no partial_fit"):
        DataInfluenceSelector(DecisionTreeClassifier()).fit(
            X, y, X_target=goal[0], y_target=goal[1]
        )


# --- influence in rounds ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_acceptance_on_two_concepts(shift):
    chosen, random, correlations = [], [], []
    for seed in range(5):
        X, y, _, goal, test = two_concepts(seed, shift=shift)
        selector = DataInfluenceSelector(n_select=0.2, random_state=seed)
        selector.fit(X, y, X_target=goal[0], y_target=goal[1])
        chosen.append(accuracy(selector.support_, X, y, test))
        rows = np.random.RandomState(seed).permutation(len(y))[:600]
        random.append(accuracy(rows, X, y, test))
        correlations.append(selector.probe_correlation_)
    assert np.mean(correlations) >= 0.6
    assert np.mean(chosen) >= np.mean(random) + 0.10


def test_wrong_labels_are_passed_over():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1500, 6))
    right = rng.uniform(size=1500) > 0.4
    y = ((X[:, 0] > 0) == right).astype(int)
    X_target = rng.normal(size=(80, 6))
    selector = DataInfluenceSelector(n_select=0.2, random_state=0)
    selector.fit(X, y, X_target=X_target, y_target=(X_target[:, 0] > 0).astype(int))
    assert right[selector.support_].mean() > right.mean() + 0.1


def test_rounds_add_up_and_attributes_agree():
    X, y, _, goal, _ = two_concepts(0, n_off=300, n_on=100)
    selector = DataInfluenceSelector(n_select=90, rounds=4, n_probe=60, random_state=0)
    selector.fit(X, y, X_target=goal[0], y_target=goal[1])
    parts = selector.selected_per_round_
    assert [len(p) for p in parts] == [22, 23, 23, 22] or sum(map(len, parts)) == 90
    together = np.sort(np.concatenate(parts))
    np.testing.assert_array_equal(together, selector.sample_indices_)
    np.testing.assert_array_equal(selector.scores_, selector.predicted_influence_)
    assert abs(selector.scores_.mean()) < 1e-9
    assert selector.scores_.std() == pytest.approx(1)
    again = DataInfluenceSelector(n_select=90, rounds=4, n_probe=60, random_state=0)
    again.fit(X, y, X_target=goal[0], y_target=goal[1])
    np.testing.assert_array_equal(again.scores_, selector.scores_)


def test_predicted_influence_follows_the_closed_form():
    X, y, _, goal, _ = two_concepts(1, n_off=600, n_on=200)
    selector = DataInfluenceSelector(
        LogisticRegression(), RandomForestRegressor(50), rounds=1, random_state=0
    ).fit(X, y, X_target=goal[0], y_target=goal[1])
    true = -influence_scores(LogisticRegression(), X, y, *goal)
    order = [np.argsort(np.argsort(v)) for v in (true, selector.scores_)]
    assert np.corrcoef(*order)[0, 1] > 0.5


def test_one_step_influence_of_estimators_with_partial_fit():
    X, y, good, goal, _ = two_concepts(2, n_off=300, n_on=100)
    selector = DataInfluenceSelector(
        SGDClassifier(loss="log_loss", alpha=0.01),
        n_probe=80,
        n_select=0.2,
        random_state=0,
    ).fit(X, y, X_target=goal[0], y_target=goal[1])
    assert selector.probe_correlation_ > 0.3
    assert good[selector.support_].mean() > good.mean()


def test_a_fifth_of_the_rows_serves_as_target_and_temperature_zero_warns():
    X, y, *_ = two_concepts(3, n_off=200, n_on=100)
    selector = DataInfluenceSelector(n_probe=50, rounds=2, random_state=0).fit(X, y)
    assert selector.n_selected_ == 150
    with pytest.warns(UserWarning, match="temperature=0"):
        DataInfluenceSelector(temperature=0.0, n_probe=50, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="n_samples=4"):
        DataInfluenceSelector().fit(X[:4], [0, 1, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        everything = DataInfluenceSelector(n_select=1.0, n_probe=20, random_state=0)
        assert everything.fit(X, y).support_.all()


@pytest.mark.parametrize("cls", [ConditionalLossSelector, DataInfluenceSelector])
def test_weights_zero_are_absence(cls):
    X, y, _, goal, _ = two_concepts(4, n_off=200, n_on=100)
    weight = (np.arange(300) % 3 > 0).astype(float)
    kept = weight > 0
    sample = {"X_target": goal[0], "y_target": goal[1]}
    weighted = cls(random_state=0).fit(X, y, weight, **sample)
    absent = cls(random_state=0).fit(X[kept], y[kept], **sample)
    assert (
        np.isnan(weighted.scores_[~kept]).all() and not weighted.support_[~kept].any()
    )
    np.testing.assert_array_equal(
        weighted.sample_indices_, np.flatnonzero(kept)[absent.sample_indices_]
    )


def test_a_class_of_one_row():
    rng = np.random.RandomState(0)
    X, X_target = rng.normal(size=(60, 3)), rng.normal(size=(20, 3))
    y, y_target = np.full(60, "no", dtype=object), np.full(20, "no", dtype=object)
    y[7], y_target[:2] = "yes", "yes"
    sample = {"X_target": X_target, "y_target": y_target}
    options = {"balance": "class", "n_select": 20, "random_state": 0}
    with pytest.raises(ValueError, match="training fold has one class"):
        ConditionalLossSelector(criterion="color", **options).fit(X, y, **sample)
    # a domain classifier looks at no classes of the pool
    model = ConditionalLossSelector(criterion="domain", **options).fit(X, y, **sample)
    assert model.support_[7]
    for seed in range(5):
        options["random_state"] = seed
        model = DataInfluenceSelector(
            influence_model=Ridge(), n_probe=20, rounds=2, **options
        )
        assert model.fit(X, y, **sample).support_[7]
        assert model.fit(X, y).support_[7]  # a target of its own leaves it in the pool


def test_rows_in_another_order_have_their_scores():
    rng = np.random.RandomState(0)
    X, X_target = rng.normal(size=(90, 3)), rng.normal(size=(30, 3))
    y, y_target = (
        np.where(X[:, 0] > 0, "a", "b"),
        np.where(X_target[:, 0] > 0, "a", "b"),
    )
    sample = {"X_target": X_target, "y_target": y_target}
    order, fold = rng.permutation(90), np.arange(90) % 3

    def scores(rows, criterion):
        cv = [
            (np.flatnonzero(fold[rows] != k), np.flatnonzero(fold[rows] == k))
            for k in range(3)
        ]
        selector = ConditionalLossSelector(
            LogisticRegression(tol=1e-8), criterion, cv=cv, random_state=0
        )
        return selector.fit(X[rows], y[rows], **sample).scores_

    for criterion in ("color", "conditional", "rho", "domain"):
        expected = scores(np.arange(90), criterion)[order]
        np.testing.assert_allclose(scores(order, criterion), expected, atol=1e-4)
