"""Thresholdout against its definition, its guarantees, and its use in searches."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss, get_scorer, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skdiff
from skdiff.model_evaluation import (
    BudgetExhausted,
    ReusableHoldout,
    ReusableHoldoutDisplay,
    make_reusable_scorer,
)
from skdiff.model_evaluation._kept import shared_rows

ROWS = np.zeros((100, 1)), np.zeros(100)


def holdout(**parameters):
    parameters = {"random_state": 0, **parameters}
    return ReusableHoldout(**parameters).fit(*ROWS, *ROWS)


# --- the mechanism ------------------------------------------------------------------


def reference(train, hold, T, draw, units):
    """The algorithm of the paper, one line after the other."""
    noisy = T + draw(units[0])
    for t, h in zip(train, hold, strict=True):
        if abs(h - t) > noisy + draw(units[1]):
            noisy = T + draw(units[0])
            yield h + draw(units[2])
        else:
            yield t


@pytest.mark.parametrize("noise", ["gaussian", "laplace"])
def test_it_is_the_algorithm_of_the_paper(noise):
    rng = np.random.default_rng(0)
    train, hold = rng.uniform(size=(2, 300))
    model = holdout(threshold=0.3, noise_scale=0.05, noise=noise)
    source = np.random.RandomState(np.random.RandomState(0).randint(2**31 - 1))
    how = source.normal if noise == "gaussian" else source.laplace
    units = (1, 1, 1) if noise == "gaussian" else (2, 4, 1)
    expected = list(reference(train, hold, 0.3, lambda k: how() * k * 0.05, units))
    np.testing.assert_allclose(model.query(train, hold), expected, atol=1e-15)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_without_noise_the_larger_gap_decides(pairs, threshold):
    train, hold = map(np.array, zip(*pairs, strict=True))
    model = holdout(threshold=threshold, noise_scale=0)
    values, overfit = model.query(train, hold, return_overfit=True)
    gap = np.abs(hold - train) > threshold
    np.testing.assert_array_equal(overfit, gap)
    np.testing.assert_array_equal(values, np.where(gap, hold, train))
    assert model.n_overfit_ == gap.sum() and model.n_queries_ == len(pairs)


def test_queries_that_agree_return_the_training_value_bit_for_bit():
    train = np.random.default_rng(0).uniform(size=200)
    model = holdout(threshold=1.0, noise_scale=0.01, budget=5)
    np.testing.assert_array_equal(model.query(train, train[::-1]), train)
    assert model.budget_left_ == 5


def test_the_order_of_queries_and_the_seed_decide_and_calls_do_not():
    rng = np.random.default_rng(1)
    train, hold = rng.uniform(size=(2, 50))
    whole = holdout().query(train, hold)
    one, several = holdout(), holdout()
    np.testing.assert_array_equal(
        [one.query(t, h) for t, h in zip(train, hold, strict=True)], whole
    )
    several.query(train[:20], hold[:20])
    np.testing.assert_array_equal(several.query(train[20:], hold[20:]), whole[20:])
    assert not np.array_equal(holdout(random_state=1).query(train, hold), whole)


def test_the_threshold_gets_fresh_noise_only_after_overfitting():
    model = holdout(threshold=0.5, noise_scale=0.01)
    before = model._noisy_threshold
    model.query(np.full(20, 0.4), np.full(20, 0.4))
    assert model._noisy_threshold == before
    model.query(0.0, 1.0)
    assert model._noisy_threshold != before


def test_the_budget_falls_only_with_queries_that_overfit():
    model = holdout(threshold=0.5, noise_scale=0, budget=2)
    values = model.query([0.2, 0.0, 0.2, 0.0], [0.2, 1.0, 0.2, 1.0])
    np.testing.assert_array_equal(values, [0.2, 1.0, 0.2, 1.0])
    assert model.budget_left_ == 0
    with pytest.raises(BudgetExhausted, match="budget of 2 is used up after 4"):
        model.query(0.2, 0.2)
    assert model.n_queries_ == 4
    assert model.log_["budget_left"].tolist() == [2, 1, 1, 0]
    assert model.log_["overfit"].tolist() == [False, True, False, True]
    # what was within the budget is not lost
    model = holdout(threshold=0.5, noise_scale=0, budget=1)
    with pytest.raises(BudgetExhausted) as error:
        model.query([0.1, 0.0, 0.3], [0.1, 0.9, 0.3])
    np.testing.assert_array_equal(error.value.values, [0.1, 0.9])
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value) and len(again.values) == 2


def test_the_log_does_not_show_validation_values():
    model = holdout(threshold=1.0, noise_scale=0.0)
    model.query(0.25, 0.75)
    assert 0.75 not in model.log_.to_numpy()


def test_sparse_says_only_whether_a_query_overfits():
    model = holdout(threshold=0.3, noise_scale=0, mechanism="sparse", budget=3)
    assert model.query(0.5, 0.6) is False
    np.testing.assert_array_equal(model.query([0.5, 0.5], [0.9, 0.5]), [True, False])
    assert model.budget_left_ == 2 and model.log_["value"].isna().all()
    with pytest.raises(ValueError, match="returns no scores"):
        make_reusable_scorer(model)


def test_laplace_returns_every_value_with_noise_of_its_scale():
    model = holdout(mechanism="laplace", budget=4000)
    assert model.noise_scale_ == 4000 / 100
    model = holdout(mechanism="laplace", budget=4000, noise_scale=0.1)
    values = model.query(np.zeros(4000), np.full(4000, 0.5))
    assert abs(values.mean() - 0.5) < 4 * 0.1 * np.sqrt(2 / 4000)
    assert abs(np.abs(values - 0.5).mean() - 0.1) < 4 * 0.1 / np.sqrt(4000)
    assert model.budget_left_ == 0
    with pytest.raises(ValueError, match="needs a budget"):
        holdout(mechanism="laplace")


@pytest.mark.parametrize(("bounds", "unit"), [((0, 1), 1), ((-1, 1), 1), ((-5, 0), 5)])
def test_automatic_constants_are_those_of_science_at_ten_thousand_rows(bounds, unit):
    X = np.zeros((10_000, 1))
    model = ReusableHoldout(value_range=bounds).fit(X[:9], X[:9, 0], X, X[:, 0])
    assert np.isclose(model.threshold_, 0.04 * unit)
    assert np.isclose(model.noise_scale_, 0.01 * unit)


# --- the experiment -----------------------------------------------------------------


def vote_of_chosen_columns(query, X, y, k):
    """Accuracies of a vote: what the analyst sees, and on fresh rows.

    Columns are chosen whose correlation agrees on both sets; the k with the largest
    training correlation vote by their sign (Dwork et al., 2015, Science).
    """
    n = y.shape[1]
    train, hold = (np.einsum("ij,i->j", X[s], y[s]) / n for s in (0, 1))
    seen = query(train, hold)
    bound = 1 / np.sqrt(n)
    chosen = (np.sign(seen) == np.sign(train)) & (np.abs(seen) > bound)
    chosen &= np.abs(train) > bound
    order = np.argsort(-np.abs(train) * chosen)[:k]
    order = order[chosen[order]]
    right = [
        np.mean(np.where(X[s][:, order] @ np.sign(train[order]) >= 0, 1, -1) == y[s])
        for s in range(3)
    ]
    return float(np.squeeze(query(np.array([right[0]]), np.array([right[1]])))), right[
        2
    ]


def no_signal(repeats, n=1000, k=250):
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        y = rng.choice([-1.0, 1.0], size=(3, n))
        X = rng.normal(size=(3, n, n))
        guard = ReusableHoldout(value_range=(-1, 1), random_state=seed)
        guard.fit(X[0], y[0], X[1], y[1])
        plain = vote_of_chosen_columns(lambda t, h: h, X, y, k)
        safe = vote_of_chosen_columns(guard.query, X, y, k)
        found.append((*plain, *safe))
    return np.mean(found, axis=0)


def test_no_signal_looks_like_no_signal():
    ordinary, truth, protected, also_truth = no_signal(4)
    assert 0.6 < ordinary < 0.67  # of nothing
    assert abs(truth - 0.5) < 0.03 and abs(also_truth - 0.5) < 0.03
    assert protected < 0.56


# --- scores of models ---------------------------------------------------------------


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X, y.map({0: "malignant", 1: "benign"})


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "neg_brier_score"])
def test_scores_are_those_of_scikit_learn(cancer, scoring):
    X, y = cancer
    low = 0 if scoring == "accuracy" else -30
    guard = ReusableHoldout(
        threshold=0, noise_scale=0, value_range=(low, 1), random_state=0
    )
    guard.fit(X[::2], y[::2], X[1::2], y[1::2])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[::2], y[::2])
    p = model.predict_proba(X[1::2])
    expected = {
        "accuracy": np.mean(model.predict(X[1::2]) == y[1::2]),
        "neg_log_loss": -log_loss(y[1::2], p),
        "neg_brier_score": -brier_score_loss(y[1::2] == "malignant", p[:, 1]),
    }[scoring]
    assert np.isclose(guard.score(model, scoring), expected, atol=1e-12)


@pytest.mark.parametrize(
    "scoring", ["neg_mean_squared_error", "neg_mean_absolute_error"]
)
def test_errors_of_regressors_are_those_of_scikit_learn(scoring):
    X, y = load_diabetes(return_X_y=True)
    guard = ReusableHoldout(threshold=0, noise_scale=0, value_range=(-1e6, 0))
    guard.fit(X[::2], y[::2], X[1::2], y[1::2])
    model = Ridge().fit(X[::2], y[::2])
    expected = get_scorer(scoring)(model, X[1::2], y[1::2])
    assert np.isclose(guard.score(model, scoring), expected)
    with pytest.raises(ValueError, match="for classifiers"):
        guard.score(model)


def test_what_is_no_mean_over_rows_is_refused(cancer):
    X, y = cancer
    guard = ReusableHoldout().fit(X[:100], y[:100], X[100:], y[100:])
    model = LogisticRegression(max_iter=5000).fit(X[:100], y[:100])
    for scoring in ("roc_auc", "r2", None, 3):
        with pytest.raises(ValueError, match="mean over rows"):
            guard.score(model, scoring)
    with pytest.raises(ValueError, match="one value per row"):
        guard.score(model, lambda m, X, y: m.score(X, y))
    with pytest.raises(ValueError, match=r"outside value_range=\(0, 1\)"):
        guard.score(model, lambda m, X, y: np.full(len(y), -3.0))
    with pytest.raises(ValueError, match="NaN"):
        guard.score(model, lambda m, X, y: np.full(len(y), np.nan))
    assert guard.n_queries_ == 0
    per_row = guard.score(model, lambda m, X, y: m.predict(X) == y)
    assert 0.5 < per_row <= 1


def test_a_search_over_a_pipeline_shares_one_budget(cancer):
    X, y = cancer
    guard = ReusableHoldout(random_state=0, budget=50).from_split(X, y)
    rows = guard.train_indices_
    X, y = X.iloc[rows], y.iloc[rows]
    assert set(rows).isdisjoint(guard.holdout_indices_)
    scorer = make_reusable_scorer(guard)
    every = np.arange(len(y))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        {"logisticregression__C": [0.01, 1.0, 100.0]},
        scoring=scorer,
        cv=[(every, every)],
        error_score="raise",
    )
    search = clone(search).fit(X, y)
    assert guard.n_queries_ == 3 == len(guard.log_)
    assert search.best_score_ == guard.log_["value"].max()
    assert scorer.budget_left == guard.budget_left_ and "50" in repr(scorer)
    assert copy.deepcopy(scorer) is scorer is copy.copy(scorer)
    with pytest.raises(TypeError, match="n_jobs=1"):
        pickle.dumps(scorer)
    with pytest.raises(Exception, match="pickle"):
        search.set_params(n_jobs=2).fit(X, y)
    assert guard.n_queries_ == 3


def test_a_search_that_meets_the_end_of_the_budget_raises_it(cancer):
    X, y = (part[:120] for part in cancer)
    guard = ReusableHoldout(0.0, 0.0, budget=1).fit(X[:60], y[:60], X[60:], y[60:])
    search = GridSearchCV(
        LogisticRegression(max_iter=3000),
        {"C": [0.001, 0.1, 1.0]},
        scoring=make_reusable_scorer(guard),
        cv=[(np.arange(60),) * 2],
        error_score="raise",
    )
    with pytest.raises(BudgetExhausted):
        search.fit(X[:60], y[:60])


def test_threads_lose_no_query():
    from concurrent.futures import ThreadPoolExecutor

    model = holdout(budget=10_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: model.query(0.1, 0.9), range(400)))
    assert model.n_queries_ == 400 == len(model.log_)
    assert model.budget_left_ == 10_000 - model.n_overfit_


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"value_range": (1, 0)}, "below the upper"),
        ({"value_range": (0, np.inf)}, "two finite numbers"),
        ({"value_range": (0, 1, 2)}, "two finite numbers"),
        ({"budget": 0}, "budget"),
        ({"threshold": -1}, "threshold"),
        ({"noise_scale": "large"}, "noise_scale"),
        ({"mechanism": "ladder"}, "mechanism"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        holdout(**parameters)


def test_bad_queries():
    model = holdout()
    for bad in (np.nan, np.inf, "a", None, [], np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match="train"):
            model.query(bad, 0.5)
    with pytest.raises(ValueError, match="2 queries and hold 3"):
        model.query([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.warns(UserWarning, match="outside value_range"):
        model.query(1.5, 0.5)
    rows = np.array([[-3.0, 0.5], [9.0, 0.5]])  # clipped before the mean
    quiet = holdout(threshold=1.0, noise_scale=0)
    np.testing.assert_array_equal(quiet.query(rows, rows[:1]), [0.5, 0.5])
    with pytest.raises(NotFittedError):
        ReusableHoldout().query(0.5, 0.5)
    with pytest.raises(NotFittedError):
        make_reusable_scorer(ReusableHoldout())
    with pytest.raises(TypeError, match="ReusableHoldout"):
        make_reusable_scorer(Ridge())
    with pytest.raises(ValueError, match="mean over rows"):
        make_reusable_scorer(model, "roc_auc")
    X, y = np.zeros((10, 2)), np.arange(10)
    for size in (0, 1, 1.5, "half"):
        with pytest.raises(ValueError, match="holdout_size"):
            ReusableHoldout().from_split(X, y, size)
    with pytest.raises(ValueError, match="2 features"):
        ReusableHoldout().fit(X, y, X[:, :1], y)
    with pytest.raises(ValueError, match="y"):
        ReusableHoldout().fit(X, None, X, y)


@pytest.mark.parametrize("kind", ["array", "sparse", "pandas", "polars"])
def test_rows_in_both_sets_are_noticed(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 3)), rng.integers(2, size=80)
    if kind == "sparse":
        X = sparse.csr_array(np.where(X > -1, X, 0))
    elif kind != "array":
        library = pytest.importorskip(kind)
        X = library.DataFrame(dict(zip("abc", X.T, strict=True)))
    with pytest.warns(UserWarning, match="10 of 40 rows held out are training rows"):
        ReusableHoldout().fit(X[:50], y[:50], X[40:], y[40:])
    ReusableHoldout().fit(X[:40], y[:40], X[40:], y[40:])  # warnings are errors
    other = 1 - y[40:50]  # the same row with another outcome is another one
    ReusableHoldout().fit(X[:50], y[:50], X[40:50], other)


def test_rows_that_are_equal_by_chance_are_no_mistake():
    rng = np.random.default_rng(1)
    X, y = rng.integers(3, size=(400, 4)), rng.integers(2, size=400)
    for seed in range(20):
        rows = np.random.default_rng(seed).permutation(400)
        train, held = rows[:200], rows[200:]
        ReusableHoldout().fit(X[train], y[train], X[held], y[held])
    ReusableHoldout().fit(X[:50] * 0.5, y[:50], X[50:] + 9, y[50:])
    lists = np.empty((4, 1), dtype=object)
    lists[:, 0] = [[k] for k in range(4)]
    assert shared_rows((lists, y[:4]), (lists, y[:4])) == (0, 0.0)


def test_parameters_that_are_set_later_wait_for_the_next_fit():
    rng = np.random.default_rng(2)
    train, hold = rng.uniform(size=(2, 60))
    expected = holdout(threshold=0.3, budget=50).query(train, hold)
    model = holdout(threshold=0.3, budget=50)
    model.set_params(value_range=(0, 0.1), noise="laplace", mechanism="sparse")
    model.set_params(budget=1, threshold=0.0, noise_scale=1.0)
    np.testing.assert_array_equal(model.query(train, hold), expected)
    assert make_reusable_scorer(model).budget_left == model.budget_left_
    with pytest.raises(BudgetExhausted, match="budget of 50"):
        model.query(np.zeros(90), np.ones(90))
    assert model.fit(*ROWS, *ROWS).query(0.0, 0.05) in (True, False)
    assert model.budget_left_ in (0, 1)


def test_files_keep_the_budget_and_the_next_noise(tmp_path, cancer):
    X, y = cancer
    model = ReusableHoldout(budget=9, random_state=0).from_split(X, y)
    model.query([0.0, 0.5], [1.0, 0.5])
    model.save(tmp_path / "guard.npz")
    again = skdiff.load(tmp_path / "guard.npz")
    assert again.budget_left_ == model.budget_left_ < 9
    assert again.log_.equals(model.log_)
    assert again.query(0.0, 1.0) == model.query(0.0, 1.0)
    train = model.train_indices_
    tree = LogisticRegression(max_iter=5000).fit(X.iloc[train], y.iloc[train])
    assert again.score(tree) == model.score(tree)


def test_the_display_shows_queries_and_budget():
    plt = pytest.importorskip("matplotlib.pyplot")
    model = holdout(threshold=0.2, noise_scale=0, budget=3)
    model.query([0.5, 0.5], [0.5, 0.9])
    display = ReusableHoldoutDisplay.from_estimator(model).plot()
    assert display.frame()["budget_left"].tolist() == [3, 2]
    assert display.budget_ax_ is not None and len(display.lines_) == 3
    free = holdout()
    free.query(0.5, 0.5)
    assert ReusableHoldoutDisplay.from_estimator(free).plot().budget_ax_ is None
    assert ReusableHoldoutDisplay.from_estimator(holdout()).plot().frame().empty
    plt.close("all")
