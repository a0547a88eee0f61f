"""Selectors inside pipelines, searches and other packages; displays."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.data_selection import (
    EL2NSelector,
    RowScoresDisplay,
    SelectedFit,
    SelectionCurveDisplay,
    SurrogateSubsampler,
)


@pytest.fixture
def table():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = (X - X.mean()) / X.std()
    X.index = [f"row {k}" for k in range(len(X))]
    return X, y.map({0: "malignant", 1: "benign"}).set_axis(X.index)


def easy(**how):
    options = {
        "n_models": 1,
        "cv": 3,
        "keep": "easy",
        "balance": "class",
        "random_state": 0,
        "n_select": 0.8,
    }
    return EL2NSelector(LogisticRegression(), **{**options, **how})


def test_select_then_fit(table):
    X, y = table
    model = SelectedFit(easy(), LogisticRegression()).fit(X, y)
    rows = model.selector_.sample_indices_
    direct = LogisticRegression().fit(X.iloc[rows], y.iloc[rows])
    np.testing.assert_array_equal(model.predict_proba(X), direct.predict_proba(X))
    assert list(model.classes_) == ["benign", "malignant"]
    assert model.score(X, y) == direct.score(X, y)
    A, b = easy().fit_resample(X, y)
    assert A.index.equals(X.index[rows]) and b.index.equals(A.index)
    assert A.dtypes.equals(X.dtypes)


def test_polars_frames_come_out_as_such(table):
    pl = pytest.importorskip("polars")
    X, y = table
    A, _ = easy().fit_resample(pl.DataFrame(X.to_dict("list")), y.to_numpy())
    assert isinstance(A, pl.DataFrame) and len(A) == 455


def test_a_search_sets_both(table):
    X, y = table
    pipeline = make_pipeline(
        StandardScaler(), SelectedFit(easy(), LogisticRegression())
    )
    grid = {
        "selectedfit__selector__n_select": [0.3, 0.8],
        "selectedfit__estimator__C": [0.1, 1.0],
    }
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2, error_score="raise")
    search.fit(X, y)
    assert search.best_score_ > 0.9
    alone = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert alone.best_params_ == search.best_params_


def test_weights_reach_the_selector_and_the_estimator(table):
    X, y = table
    weight = np.random.RandomState(0).uniform(0.5, 2, len(y))
    model = SelectedFit(easy(), LogisticRegression())
    fitted = clone(model).fit(X, y, sample_weight=weight)
    selector = easy().fit(X, y, weight)
    np.testing.assert_array_equal(fitted.selector_.scores_, selector.scores_)
    rows = selector.sample_indices_
    direct = LogisticRegression().fit(X.iloc[rows], y.iloc[rows], weight[rows])
    np.testing.assert_allclose(fitted.estimator_.coef_, direct.coef_)
    with pytest.raises(ValueError, match="no sample_weight"):
        SelectedFit(easy(), KNeighborsClassifier()).fit(X, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = SelectedFit(
            easy().set_fit_request(sample_weight=False),
            LogisticRegression().set_fit_request(sample_weight=True),
        ).fit(X, y, sample_weight=weight)
    plain = easy().fit(X, y)
    np.testing.assert_array_equal(routed.selector_.scores_, plain.scores_)
    rows = plain.sample_indices_
    direct = LogisticRegression().fit(X.iloc[rows], y.iloc[rows], weight[rows])
    np.testing.assert_allclose(routed.estimator_.coef_, direct.coef_)


def test_samples_that_the_selector_does_not_take_are_named(table):
    X, y = table
    with pytest.raises(ValueError, match="X_target, which EL2NSelector does not take"):
        SelectedFit(easy(), LogisticRegression()).fit(X, y, X_target=X, y_target=y)
    with pytest.raises(ValueError, match="balance='class'"):
        SelectedFit(easy(balance=None, n_select=5), LogisticRegression()).fit(X, y)


def test_a_failed_fit_leaves_nothing(table):
    X, y = table
    model = SelectedFit(easy(), LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="n_select=9999"):
        model.set_params(selector__n_select=9999).fit(X, y)
    assert not hasattr(model, "estimator_") and not hasattr(model, "n_features_in_")


def test_inside_the_pipeline_of_imbalanced_learn(table):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, y = table
    pipeline = imblearn.make_pipeline(StandardScaler(), easy(), LogisticRegression())
    pipeline.fit(X.to_numpy(), y.to_numpy())
    ours = make_pipeline(
        StandardScaler(), SelectedFit(easy(), LogisticRegression())
    ).fit(X.to_numpy(), y.to_numpy())
    np.testing.assert_array_equal(
        pipeline.predict_proba(X.to_numpy()), ours.predict_proba(X.to_numpy())
    )
    from imblearn.under_sampling import RandomUnderSampler

    other = SelectedFit(RandomUnderSampler(random_state=0), LogisticRegression())
    assert other.fit(X, y).selector_.sample_indices_.shape == (424,)


def test_displays(table):
    pytest.importorskip("matplotlib")
    X, y = table
    display = SelectionCurveDisplay.from_estimator(
        SurrogateSubsampler(),
        LogisticRegression(),
        X[:400],
        y[:400],
        X_test=X[400:],
        y_test=y[400:],
        n_select=[0.2, 0.5],
        n_repeats=2,
        random_state=0,
    ).plot()
    frame = display.frame()
    assert frame["n_selected"].tolist() == [80, 200] and len(display.lines_) == 3
    assert (
        frame["selected"].between(0.8, 1).all() and display.ax_.get_xlabel() == "Rows"
    )
    selector = easy().fit(X, y)
    scores = RowScoresDisplay.from_estimator(selector, X, y).plot()
    worst = scores.frame(5)
    assert worst["score"].is_monotonic_decreasing
    assert worst["score"].iloc[0] == selector.scores_.max()
    assert worst.index[0] == X.index[np.argmax(selector.scores_)]
    assert list(worst.columns[:4]) == ["row", "score", "selected", "target"]
    helpful = RowScoresDisplay(selector.scores_, largest_first=False).frame(2)
    assert helpful["score"].iloc[0] == selector.scores_.min()
    import matplotlib.pyplot as plt

    plt.close("all")
