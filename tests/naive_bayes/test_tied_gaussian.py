"""Gaussian naive Bayes with one variance per column."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from skdiff.naive_bayes import TiedGaussianNB


def blobs(seed, n=60, p=4, K=3):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(K), rng.integers(K, size=n - K)]
    X = rng.normal(size=(n, p)) * rng.uniform(0.5, 3, p) + rng.normal(size=(K, p))[y]
    return X, y


def test_parameters_are_the_maximum_likelihood_estimates():
    X, y = load_iris(return_X_y=True)
    model = TiedGaussianNB(var_smoothing=0).fit(X, y)
    means = np.stack([X[y == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(model.theta_, means, rtol=1e-14)
    np.testing.assert_allclose(model.var_, ((X - means[y]) ** 2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(model.class_prior_, 1 / 3)


def test_probabilities_are_bayes_rule_with_normal_densities():
    X, y = blobs(0)
    model = TiedGaussianNB().fit(X, y)
    density = norm(model.theta_[None], np.sqrt(model.var_)).pdf(X[:, None]).prod(2)
    joint = density * model.class_prior_
    np.testing.assert_allclose(
        model.predict_proba(X), joint / joint.sum(1, keepdims=True), rtol=1e-9
    )


def test_equals_linear_discriminants_where_the_covariance_is_diagonal():
    X, y = blobs(1, n=300)
    means = np.stack([X[y == k].mean(0) for k in range(3)])
    # columns made uncorrelated within the classes: the pooled covariance is diagonal
    _, vectors = np.linalg.eigh(np.cov((X - means[y]).T))
    Z = X @ vectors
    ours = TiedGaussianNB(var_smoothing=0).fit(Z, y)
    lda = LinearDiscriminantAnalysis(solver="lsqr").fit(Z, y)
    scores, theirs = ours.decision_function(Z), lda.decision_function(Z)
    # their covariance is the same average of classes, so scores agree up to a constant
    scores = scores - scores[:, :1]
    np.testing.assert_allclose(scores, theirs - theirs[:, :1], rtol=1e-6, atol=1e-8)


def test_differs_from_a_variance_per_class_and_is_better_with_few_rows():
    X, y = load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(10):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(y == k), 3, replace=False) for k in range(3)]
        )
        ours = TiedGaussianNB().fit(X[rows], y[rows]).score(X, y)
        gains.append(ours - GaussianNB().fit(X[rows], y[rows]).score(X, y))
    assert np.mean(gains) > 0.05


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 59), max_size=5))
def test_any_blocks_give_the_model_of_one_fit(seed, cuts):
    X, y = blobs(seed)
    weight = np.random.default_rng(seed).integers(0, 3, len(y)).astype(float)
    weight[:3] = 1
    whole = TiedGaussianNB(shrinkage="auto").fit(X, y, weight)
    parts = TiedGaussianNB(shrinkage="auto")
    edges = [0, *sorted(set(cuts)), len(y)]
    for a, b in pairwise(edges):
        if weight[a:b].any():
            parts.partial_fit(X[a:b], y[a:b], np.arange(3), weight[a:b])
    for name in ("theta_", "var_", "coef_", "intercept_", "class_count_"):
        np.testing.assert_allclose(
            getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-11
        )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(-8, 8), st.sampled_from([None, "auto"]))
def test_units_and_origins_of_columns_change_nothing(seed, power, shrinkage):
    X, y = blobs(seed)
    scale = 10.0 ** np.array([power, 0, -power, 1])
    moved = X * scale + 10 * scale
    plain = TiedGaussianNB(var_smoothing=0, shrinkage=shrinkage).fit(X, y)
    other = TiedGaussianNB(var_smoothing=0, shrinkage=shrinkage).fit(moved, y)
    np.testing.assert_allclose(
        other.predict_log_proba(moved), plain.predict_log_proba(X), rtol=1e-6, atol=1e-8
    )


def test_a_far_origin_costs_no_digits():
    X, y = blobs(2)
    far = TiedGaussianNB(var_smoothing=0).fit(X + 1e7, y)
    near = TiedGaussianNB(var_smoothing=0).fit(X, y)
    np.testing.assert_allclose(
        far.predict_proba(X + 1e7), near.predict_proba(X), atol=1e-6
    )


def test_sparse_rows_with_repeated_cells_equal_dense_ones():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6)) * (rng.random((50, 6)) < 0.3)
    y, weight = np.r_[np.zeros(25), np.ones(25)], rng.uniform(0, 2, 50)
    coo = sparse.coo_array(X)
    twice = sparse.coo_array(
        (
            np.r_[coo.data / 2, coo.data / 2],
            (np.r_[coo.row, coo.row], np.r_[coo.col, coo.col]),
        ),
        shape=X.shape,
    )
    dense = TiedGaussianNB().fit(X, y, weight)
    thin = TiedGaussianNB().fit(twice, y, weight)
    np.testing.assert_allclose(thin.var_, dense.var_, rtol=1e-12)
    np.testing.assert_allclose(
        thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), rtol=1e-9
    )


def test_shrinkage_is_zero_one_or_between():
    X, y = blobs(3)
    none, full = TiedGaussianNB().fit(X, y), TiedGaussianNB(shrinkage=1.0).fit(X, y)
    auto = TiedGaussianNB(shrinkage="auto").fit(X, y)
    assert none.shrinkage_ == 0 and full.shrinkage_ == 1 and 0 < auto.shrinkage_ <= 1
    ratios = full.var_ / X.var(0)
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


def test_a_class_that_has_not_come_yet_has_no_probability():
    X, y = blobs(4)
    model = TiedGaussianNB().partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    proba = model.predict_proba(X)
    assert np.isfinite(proba).all() and np.all(proba[:, 2] == 0)
    two = TiedGaussianNB().partial_fit(X[y == 1], y[y == 1], classes=[1, 2])
    assert np.all(two.predict(X) == 1)


def test_priors_move_the_intercept_only():
    X, y = blobs(5)
    flat = TiedGaussianNB(priors=[0.2, 0.3, 0.5]).fit(X, y)
    given_ = TiedGaussianNB().fit(X, y)
    np.testing.assert_allclose(flat.coef_, given_.coef_)
    shift = np.log([0.2, 0.3, 0.5]) - np.log(given_.class_prior_)
    np.testing.assert_allclose(flat.intercept_ - given_.intercept_, shift, rtol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"priors": [0.5, 0.5]}, "number of classes"),
        ({"priors": [-0.5, 0.5, 1.0]}, "non-negative"),
        ({"priors": [0.5, 0.4, 0.3]}, "sum of the priors"),
    ],
)
def test_bad_priors_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        TiedGaussianNB(**parameters).fit(*blobs(0))


def test_partial_fit_asks_for_classes_and_keeps_them():
    X, y = blobs(0)
    with pytest.raises(ValueError, match="classes must be passed"):
        TiedGaussianNB().partial_fit(X, y)
    model = TiedGaussianNB().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"\[7\]"):
        model.partial_fit(X[:1], [7])
    with pytest.raises(ValueError, match="one class"):
        TiedGaussianNB().fit(X, np.zeros(len(y)))


def test_in_a_pipeline_under_a_grid_search_and_a_selector():
    X, y = load_digits(return_X_y=True, as_frame=True)
    X, y = X.iloc[:600], y.iloc[:600].astype(str)
    pipeline = make_pipeline(PCA(20, random_state=0), TiedGaussianNB())
    grid = {"tiedgaussiannb__shrinkage": [None, "auto"]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.8
    X, y = load_breast_cancer(return_X_y=True)
    kept = SelectFromModel(TiedGaussianNB(), max_features=5).fit(X / X.std(0), y)
    assert kept.get_support().sum() <= 5
