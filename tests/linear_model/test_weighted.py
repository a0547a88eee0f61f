"""Penalties per feature: scikit-learn's models where they are equal, and columns."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.preprocessing import scale

from skdiff.linear_model import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


def pairs():
    X, y = load_diabetes(return_X_y=True)
    X = scale(X)
    weight = np.linspace(0.5, 2.0, len(y))
    Z, labels = load_iris(return_X_y=True)
    return {
        "ridge": (WeightedRidge(np.full(10, 3.0)), Ridge(3.0), X, y, weight),
        "net": (
            WeightedElasticNet(np.full(10, 0.5), 0.7),
            ElasticNet(0.5, l1_ratio=0.7, tol=1e-12, max_iter=100_000),
            X, y, weight,
        ),
        "logistic": (
            WeightedLogisticRegression(np.full(4, 2.0)),
            LogisticRegression(C=2.0, tol=1e-9, max_iter=10_000),
            scale(Z), labels, weight[:150],
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ridge", "net", "logistic"])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_penalties_are_scikit_learns_model(name, weighted):
    ours, theirs, X, y, weight = pairs()[name]
    weight = weight if weighted else None
    ours.fit(X, y, sample_weight=weight)
    theirs.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-5 * np.abs(y).max())
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4)


@pytest.mark.parametrize("model", [WeightedRidge, WeightedElasticNet])
def test_scaling_a_column_scales_its_penalty(model, diabetes):
    X, y = diabetes
    power = 2 if model is WeightedRidge else 1
    factor = np.geomspace(0.1, 10, 10)
    alpha = np.linspace(0.5, 2, 10)
    one = model(alpha).fit(X, y)
    other = model(alpha * factor**power).fit(X * factor, y)
    np.testing.assert_allclose(one.coef_, other.coef_ * factor, atol=1e-7)


def test_sparse_and_dense_rows_agree(diabetes):
    X, y = diabetes
    X = np.where(np.abs(X) > 0.5, X, 0.0)
    alpha = np.geomspace(0.1, 100, 10)
    dense = WeightedRidge(alpha).fit(X, y)
    thin = WeightedRidge(alpha, tol=1e-12).fit(sparse.csc_matrix(X), y)
    np.testing.assert_allclose(dense.coef_, thin.coef_, rtol=1e-6)


def test_an_estimator_does_not_import_the_search():
    code = (
        "import sys; import skdiff.linear_model; "
        "sys.exit('skdiff.model_selection' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
