"""Nested cross-validation: by hand, inside searches, under limits."""

import numpy as np
import pytest
from scipy import stats
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skdiff
from skdiff.model_evaluation import NestedCV

X, Y = load_diabetes(return_X_y=True)
SEARCH = GridSearchCV(Ridge(), {"alpha": [0.01, 1.0, 100.0]}, cv=3)


def test_the_scores_are_those_of_cross_val_score_of_the_search():
    cv = KFold(4, shuffle=True, random_state=0)
    nested = NestedCV(SEARCH, cv).fit(X, Y)
    np.testing.assert_allclose(
        nested.outer_scores_, cross_val_score(SEARCH, X, Y, cv=cv)
    )
    inner, params = [], []
    for train, _ in cv.split(X):
        search = GridSearchCV(**SEARCH.get_params(deep=False)).fit(X[train], Y[train])
        inner.append(search.best_score_)
        params.append(search.best_params_)
    np.testing.assert_allclose(nested.inner_scores_, inner)
    assert nested.best_params_per_fold_ == params
    assert nested.optimism_ == pytest.approx(np.mean(inner) - nested.score_)
    s2 = nested.outer_scores_.var(ddof=1)
    sizes = [(len(train), len(test)) for train, test in cv.split(X)]
    n_train, n_test = np.mean(sizes, axis=0)
    half = stats.t.ppf(0.975, 3) * np.sqrt((1 / 4 + n_test / n_train) * s2)
    np.testing.assert_allclose(
        nested.interval_, (nested.score_ - half, nested.score_ + half)
    )


def test_it_predicts_as_the_search_on_all_rows(tmp_path):
    nested = NestedCV(SEARCH, 3).fit(X, Y)
    search = GridSearchCV(**SEARCH.get_params(deep=False)).fit(X, Y)
    np.testing.assert_array_equal(nested.predict(X), search.predict(X))
    assert nested.score(X, Y) == search.score(X, Y)
    assert nested.refit_.best_params_ == search.best_params_
    bare = NestedCV(SEARCH, 3, refit=False).fit(X, Y)
    assert not hasattr(bare, "refit_")
    with pytest.raises(NotFittedError, match="fitted"):
        bare.predict(X)


def test_a_search_over_noise_overstates_itself():
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(60, 20)), rng.integers(0, 2, 60)
    search = GridSearchCV(
        make_pipeline(
            make_column_transformer(("passthrough", [0])), KNeighborsClassifier(3)
        ),
        {
            "columntransformer__transformers": [
                [("pick", "passthrough", [k])] for k in range(20)
            ]
        },
        cv=5,
    )
    nested = NestedCV(search, 5, random_state=0, refit=False).fit(noise, labels)
    assert nested.optimism_ > 0.05 and abs(nested.score_ - 0.5) < 0.15


def test_classes_strings_repeats_frames_and_scoring():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    y = np.array(["benign", "malignant"])[y]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        cv=2,
        scoring=["accuracy", "roc_auc"],
        refit="roc_auc",
    )
    nested = NestedCV(search, 3, n_repeats=2, random_state=0, n_jobs=2).fit(X, y)
    assert nested.outer_scores_.shape == (6,) and nested.score_ > 0.98
    assert list(nested.classes_) == ["benign", "malignant"]
    assert list(nested.feature_names_in_) == list(X.columns)
    by_name = NestedCV(search, StratifiedKFold(3), "accuracy").fit(X, y)
    assert by_name.score_ < nested.score_


def test_inside_a_pipeline_and_a_search():
    model = make_pipeline(StandardScaler(), NestedCV(SEARCH, 2))
    grid = GridSearchCV(
        model,
        {"nestedcv__search__estimator__fit_intercept": [True, False]},
        cv=2,
        n_jobs=2,
    )
    assert grid.fit(X, Y).best_params_ == {
        "nestedcv__search__estimator__fit_intercept": True
    }


def test_groups_and_weights():
    groups = np.repeat(np.arange(34), 13)
    nested = NestedCV(SEARCH, GroupKFold(3)).fit(X, Y, groups=groups)
    assert nested.outer_scores_.shape == (3,)
    weight = np.where(Y > 150, 50.0, 1.0)
    weighted = NestedCV(SEARCH, 3).fit(X, Y, sample_weight=weight)
    assert weighted.predict(X).mean() > nested.predict(X).mean()


def test_limits_lines_and_saving(capsys, tmp_path):
    with pytest.warns(Warning, match="time_limit"):
        nested = NestedCV(SEARCH, 5, time_limit=1e-9, verbose=1).fit(X, Y)
    assert nested.stopped_ == "time" and len(nested.outer_scores_) == 2
    assert capsys.readouterr().out.count("Fold") == 2
    skdiff.save(nested, tmp_path / "nested.npz")
    loaded = skdiff.load(tmp_path / "nested.npz")
    np.testing.assert_array_equal(loaded.predict(X), nested.predict(X))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n_repeats": 0}, "n_repeats"),
        ({"cv_outer": KFold(3), "n_repeats": 2}, "cv_outer to be an int"),
        ({"cv_outer": [(np.arange(9), np.arange(9, 18))]}, "two splits"),
        ({"confidence_level": 1.0}, "confidence_level"),
        ({"scoring": "no"}, "scoring"),
    ],
)
def test_bad_input(how, message):
    with pytest.raises(ValueError, match=message):
        NestedCV(SEARCH, **how).fit(X, Y)


def test_a_score_that_is_not_defined_is_refused():
    with (
        pytest.warns(UserWarning, match="less than two samples"),
        pytest.raises(ValueError, match="not finite"),
    ):
        NestedCV(SEARCH, KFold(12)).fit(X[:12], Y[:12])


def test_without_refit_it_cannot_predict():
    nested = NestedCV(SEARCH, 2, refit=False).fit(X, Y)
    with pytest.raises(NotFittedError, match="refit=False"):
        nested.predict(X)


def test_metadata_are_routed():
    weight = np.where(Y > 150, 50.0, 1.0)
    with config_context(enable_metadata_routing=True):
        inner = Ridge().set_fit_request(sample_weight=True)
        scorer = get_scorer("r2").set_score_request(sample_weight=False)
        search = GridSearchCV(inner, {"alpha": [0.01, 100.0]}, cv=3, scoring=scorer)
        routed = NestedCV(search, 3).fit(X, Y, sample_weight=weight)
    plain = GridSearchCV(Ridge(), {"alpha": [0.01, 100.0]}, cv=3, scoring="r2")
    passed = NestedCV(plain, 3).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(routed.outer_scores_, passed.outer_scores_)
    np.testing.assert_allclose(routed.predict(X), passed.predict(X))
