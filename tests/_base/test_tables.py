"""Columns of categories: which they are, their codes, and the way back."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from skdiff._base.tables import FIRST, MISSING, UNKNOWN, TableEncoder, split_columns


def frame():
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(
        {
            "age": [1.5, 2.0, 3.0, 4.0],
            "colour": pd.Categorical(["red", "blue", None, "red"]),
            "size": [1, 2, 3, 4],
            "flag": pd.array([True, None, False, True], dtype="boolean"),
        }
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [0, 0, 0, 0]),
        ("from_dtype", [0, 1, 0, 0]),
        ([1, 3], [0, 1, 0, 1]),
        (["flag"], [0, 0, 0, 1]),
        ([False, True, True, False], [0, 1, 1, 0]),
        ([], [0, 0, 0, 0]),
    ],
)
def test_columns_are_split_as_histogram_boosting_does(wanted, expected):
    X = frame()
    assert split_columns(X, wanted).tolist() == [bool(e) for e in expected]
    if wanted not in (["flag"],):  # it takes no nullable booleans
        X = X.drop(columns="flag")
        if isinstance(wanted, list) and len(wanted) == 4:
            wanted = wanted[:3]
        elif isinstance(wanted, list):
            wanted = [w for w in wanted if w != 3]
        peer = HistGradientBoostingClassifier(
            categorical_features=wanted, max_iter=1, min_samples_leaf=1
        )
        if wanted is None or wanted == []:
            X = X.drop(columns="colour")
        peer.fit(X, [0, 1, 0, 1])
        theirs = peer.is_categorical_
        ours = split_columns(X, wanted)
        assert ours.tolist() == (
            [False] * X.shape[1] if theirs is None else theirs.tolist()
        )


def test_polars_dtypes_are_understood():
    pl = pytest.importorskip("polars")
    X = pl.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]})
    X = X.with_columns(pl.col("a").cast(pl.Categorical))
    mask = split_columns(X)
    assert mask.tolist() == [True, False]
    numeric, codes = TableEncoder(mask).fit(X).transform(X)
    assert numeric.tolist() == [[1.0], [2.0]] and codes.tolist() == [[2], [3]]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("by_name", "'from_dtype'"),
        ([0, 9], "integer indices"),
        ([-1], "integer indices"),
        ([True], "boolean mask"),
        (["nothing"], "'nothing'"),
        ([1.5], "bool, int or str"),
        ([[0]], "one-dimensional"),
    ],
)
def test_bad_columns_are_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        split_columns(frame(), wanted)


def test_names_need_names():
    with pytest.raises(ValueError, match="column names"):
        split_columns(np.zeros((2, 2)), ["a"])


def test_missing_and_unknown_have_codes_of_their_own():
    X = frame()
    encoder = TableEncoder(split_columns(X, ["colour", "flag"])).fit(X)
    numeric, codes = encoder.transform(X)
    np.testing.assert_array_equal(numeric, X[["age", "size"]])
    assert codes.tolist() == [[3, 3], [2, MISSING], [MISSING, 2], [3, 3]]
    assert encoder.cardinalities == [4, 4]
    other = X.assign(colour=["green", "red", None, "blue"])
    assert encoder.transform(other)[1][:, 0].tolist() == [UNKNOWN, 3, MISSING, FIRST]


def test_missing_numbers_pass_only_where_allowed():
    X = np.array([[np.nan, "a"], [1.0, "b"]], dtype=object)
    mask = split_columns(X, [1])
    with pytest.raises(ValueError, match="NaN"):
        TableEncoder(mask).fit(X).transform(X)
    numeric, _ = TableEncoder(mask, allow_missing=True).fit(X).transform(X)
    assert np.isnan(numeric[0, 0]) and numeric[1, 0] == 1.0


@pytest.mark.parametrize("bad", [["a", 1], [("a",), ("b",)], [[1], [2]]])
def test_values_that_are_no_labels_are_refused(bad):
    X = np.empty((2, 1), dtype=object)
    X[:, 0] = bad
    with pytest.raises(TypeError, match="Column 0"):
        TableEncoder([True]).fit(X)


def test_a_column_of_nothing_is_refused():
    X = np.full((3, 1), None, dtype=object)
    with pytest.raises(ValueError, match="nothing but missing"):
        TableEncoder([True]).fit(X)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "é", "", None]),
            st.integers(-3, 3),
            st.floats(-9, 9),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_codes_lead_back_to_the_table(rows):
    X = np.array(rows, dtype=object)
    if all(row[0] is None for row in rows):
        return
    encoder = TableEncoder([True, True, False]).fit(X)
    numeric, codes = encoder.transform(X)
    assert codes.min() >= MISSING
    assert all(codes.max(axis=0) < encoder.cardinalities)
    back = encoder.inverse(numeric, codes)
    for row, found in zip(rows, back, strict=True):
        assert found[0] == row[0] or (row[0] is None and found[0] != found[0])
        assert tuple(found[1:]) == row[1:]


def test_pandas_is_not_needed():
    code = """
import sys
import numpy as np

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ImportError(name)

sys.meta_path.insert(0, NoPandas())
from skdiff._base.tables import TableEncoder, split_columns
X = np.array([["a", 1.0], ["b", 2.0]], dtype=object)
print(TableEncoder(split_columns(X, [0])).fit(X).transform(X)[1].tolist())
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[[2], [3]]"
