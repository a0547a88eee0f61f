"""Ridge over folds of one row, against the folds one by one."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold, LeaveOneOut, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import Continuous, GradientSearchCV, check_hypergradient
from skdiff.model_selection._gradient._evaluate import Evaluator
from skdiff.model_selection._gradient._leave_one_out import LeaveOneOutEvaluator

ALPHA = {"alpha": Continuous(1e-2, 1e4)}


def table(n=40, d=6, seed=0, n_targets=1):
    return make_regression(
        n, d, n_targets=n_targets, noise=30.0, bias=5.0, random_state=seed
    )


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "d", "n_targets"), [(40, 6, 1), (12, 30, 1), (30, 4, 3)])
def test_it_is_the_search_over_the_folds(monkeypatch, intercept, n, d, n_targets):
    X, y = table(n, d, n_targets=n_targets)
    search = GradientSearchCV(
        Ridge(fit_intercept=intercept), ALPHA, cv=LeaveOneOut(), tol=1e-6
    )
    assert isinstance(search._prepare(X, y, None).evaluator, LeaveOneOutEvaluator)
    fast = clone(search).fit(X, y)
    assert check_hypergradient(search, X, y) < 1e-6
    monkeypatch.setattr(
        "skdiff.model_selection._gradient._combination.leave_one_out",
        lambda *args: None,
    )
    slow = clone(search).fit(X, y)
    np.testing.assert_allclose(
        fast.best_params_["alpha"], slow.best_params_["alpha"], rtol=1e-5
    )
    assert set(fast.cv_results_) == set(slow.cv_results_)
    for k in range(n):
        key = f"split{k}_test_score"
        np.testing.assert_allclose(
            fast.cv_results_[key][0], slow.cv_results_[key][0], rtol=1e-8, atol=1e-10
        )


def test_it_agrees_with_ridge_cv():
    X, y = table()
    search = GradientSearchCV(Ridge(), ALPHA, cv=LeaveOneOut()).fit(X, y)
    found = search.best_params_["alpha"]
    near = RidgeCV(found * np.array([0.9, 1.0, 1.1])).fit(X, y)
    assert near.alpha_ == found
    np.testing.assert_allclose(near.best_score_, search.best_score_, rtol=1e-8)


def test_rows_may_be_left_out_in_any_order():
    X, y = table()
    order = np.random.default_rng(0).permutation(len(y))
    search = GradientSearchCV(Ridge(), ALPHA, cv=PredefinedSplit(order)).fit(X, y)
    plain = GradientSearchCV(Ridge(), ALPHA, cv=LeaveOneOut()).fit(X, y)
    np.testing.assert_allclose(
        [search.cv_results_[f"split{k}_test_score"][0] for k in order],
        [plain.cv_results_[f"split{k}_test_score"][0] for k in range(len(y))],
    )


@pytest.mark.parametrize(
    "change",
    [
        {"cv": KFold(5)},
        {"scoring": "neg_mean_absolute_error"},
        {"criterion": "huber"},
        {"solver": "maid"},
        {"param_distributions": {"alpha": Continuous(1e-12, 1.0)}},
        {"cv": [(np.arange(40), np.array([i])) for i in range(40)]},
    ],
    ids=["folds", "scoring", "criterion", "solver", "alpha", "rows"],
)
def test_other_searches_go_fold_by_fold(change):
    X, y = table()
    options = {"param_distributions": ALPHA, "cv": LeaveOneOut(), **change}
    search = GradientSearchCV(Ridge(), **options)
    assert type(search._prepare(X, y, None).evaluator) is Evaluator


def test_steps_and_weights_go_fold_by_fold():
    X, y = table()
    pipeline = make_pipeline(StandardScaler(), Ridge())
    inside = {"ridge__alpha": ALPHA["alpha"]}
    search = GradientSearchCV(pipeline, inside, cv=LeaveOneOut())
    assert type(search._prepare(X, y, None).evaluator) is Evaluator
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    search = GradientSearchCV(Ridge(), ALPHA, cv=LeaveOneOut())
    weighted = clone(search).fit(X, y, sample_weight=weight)
    assert weighted.best_score_ != search.fit(X, y).best_score_
