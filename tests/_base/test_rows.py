"""Rows that are equal, in the forms that fits use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.linear_model import Ridge

from skdiff._base.rows import (
    checked_table,
    class_weighted,
    column_statistics,
    distinct_rows,
    merge_rows,
)

TABLES = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.sampled_from([-1.0, -0.0, 0.0, 1e-300, 2.0]),
)


@given(TABLES)
def test_distinct_rows_are_those_of_numpy(X):
    found = distinct_rows(X)
    np.testing.assert_array_equal(X[found.first][found.place], X)
    rows, counts = np.unique(X + 0.0, axis=0, return_counts=True)
    assert len(found.first) == len(rows)
    assert sorted(found.gathered()) == sorted(counts)
    assert np.all(np.diff(found.first) > 0)
    assert all(
        found.first[k] == np.flatnonzero(found.place == k)[0] for k in range(len(rows))
    )


def test_a_table_of_no_columns_has_one_distinct_row():
    found = distinct_rows(np.empty((3, 0)))
    assert found.first.tolist() == [0] and found.gathered().tolist() == [3.0]
    assert distinct_rows(np.empty((0, 0))).first.tolist() == []


@given(TABLES, st.integers(0, 2**20))
def test_merged_rows_do_not_depend_on_the_order(X, seed):
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 4, len(X)).astype(float)
    if not weight.any():
        weight[0] = 1.0
    y = X[:, :1] * 3
    rows, targets, merged = merge_rows(X, y, weight)
    expected = np.unique(X[weight > 0] + 0.0, axis=0)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(targets, 3 * rows[:, :1])
    assert merged.sum() == pytest.approx(1)
    order = rng.permutation(len(X))
    again = merge_rows(X[order], y[order], weight[order])
    repeated = np.repeat(np.arange(len(X)), weight.astype(int))
    twice = merge_rows(X[repeated], y[repeated], None)
    for other in (again, twice):
        for a, b in zip(other, (rows, targets, merged), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("unit", [1e-150, 1.0, 1e150])
def test_columns_of_any_size_are_standardised(unit):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(3, 2, 50), np.full(50, 0.1)]) * unit
    columns = column_statistics(X, np.full(50, 0.02))
    np.testing.assert_allclose(columns.mean, X.mean(axis=0))
    np.testing.assert_allclose(columns.scale, [X[:, 0].std(), 0])
    Z = columns.standardised(X)
    np.testing.assert_allclose(Z[:, 0].std(), 1)
    assert np.all(Z[:, 1] == 0)


def test_rows_without_weight_are_gone():
    X, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 1])
    X, y, weight = checked_table(Ridge(), X, y, [1.0, 0.0, 2.0])
    assert X.tolist() == [[0, 1], [4, 5]] and weight.tolist() == [1, 2]
    balanced = class_weighted(X, y, weight, "balanced")[2]
    assert balanced.tolist() == [1.5, 1.5]
    assert class_weighted(X, y, weight, {0: 0.0, 1: 3.0})[2].tolist() == [6.0]
