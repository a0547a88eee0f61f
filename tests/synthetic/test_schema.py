"""What is declared, and how values become codes and values again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiff.synthetic import TableSchema


def test_levels_bounds_and_missing_values():
    schema = TableSchema(
        {"age": (0, 10), "sex": ["F", "M"], "n": (0, 3), "pay": (1, 100)},
        integer=["n"], log=["pay"], missing=["age", "sex"], other={}, depth=3,
    )  # fmt: skip
    assert schema.n_codes == (9, 3, 4, 8)
    frame = pd.DataFrame(
        {"age": [-5.0, 10.0, np.nan], "sex": ["M", None, "F"], "n": [0, 3, 2],
         "pay": [1.0, 10.0, 1e9]}
    )  # fmt: skip
    codes = schema.encode(frame)
    assert codes.tolist() == [[0, 1, 0, 0], [7, 2, 3, 4], [8, 0, 2, 7]]
    values = schema.decode(codes, np.random.RandomState(0))
    assert values["n"].tolist() == [0, 3, 2]
    assert np.isnan(values["age"][2]) and values["sex"].tolist() == ["M", None, "F"]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 6), st.booleans())
def test_values_drawn_in_a_bin_come_back_to_it(low, width, depth, integer):
    schema = TableSchema(
        {"x": (low, low + width + integer)}, integer=["x"] if integer else (),
        depth=depth,
    )  # fmt: skip
    codes = np.arange(schema.n_codes[0])[:, None]
    for rng in (None, np.random.RandomState(0)):
        values = schema.decode(codes, rng)["x"]
        assert np.all((values >= low) & (values <= low + width + integer))
        again = schema.encode(values[:, None])
        assert np.abs(again - codes).max() <= (0 if integer else 1)
        if integer:
            assert np.all(values == np.round(values))


def test_other_values_have_a_level():
    schema = TableSchema({"job": ["a", "b", "rest"]}, other={"job": "rest"})
    assert schema.encode([["a"], ["zzz"]]).ravel().tolist() == [0, 2]


def test_given_edges():
    schema = TableSchema({"x": (0, 10)}, edges={"x": [0, 1, 10]})
    assert schema.encode(np.array([[0.5], [1.0], [9], [99]])).ravel().tolist() == [
        0, 1, 1, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"columns": [1]}, TypeError, "columns must be a dict"),
        ({"columns": {"a": "text"}}, TypeError, "list of levels or a pair"),
        ({"columns": {"a": 3}}, TypeError, "list of levels or a pair"),
        ({"columns": {"a": (3, 3)}}, ValueError, "finite and rise"),
        ({"columns": {"a": (0, np.inf)}}, ValueError, "finite and rise"),
        ({"columns": {"a": []}}, ValueError, "at least one level"),
        ({"columns": {"a": [1, None]}}, ValueError, "none that is missing"),
        ({"columns": {"a": [1, 1]}}, ValueError, "repeated"),
        ({"columns": {"a": (0, 1)}, "log": ["a"]}, ValueError, "positive bounds"),
        ({"columns": {"a": [1]}, "edges": {"a": [0, 1]}}, ValueError, "for numbers"),
        ({"columns": {"a": (0, 1)}, "edges": {"a": [1, 0]}}, ValueError, "must rise"),
        (
            {"columns": {"a": (0, 1)}, "edges": {"a": [0, np.nan, 1]}},
            ValueError,
            "must rise",
        ),
        (
            {"columns": {"a": (0, 1)}, "edges": {"a": [0, np.inf]}},
            ValueError,
            "must be finite",
        ),
        ({"columns": {"a": (0.2, 0.8)}, "integer": ["a"]}, ValueError, "none lies"),
        (
            {"columns": {}, "edges": {"a": [0.1, 0.9]}, "integer": ["a"]},
            ValueError,
            "none lies",
        ),
        ({"columns": {"a": [1]}, "other": {"a": 2}}, ValueError, "one of its levels"),
        ({"columns": {}, "depth": 0}, ValueError, "depth must be"),
    ],
)
def test_bad_declarations(arguments, error, message):
    with pytest.raises(error, match=message):
        TableSchema(**arguments)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ({"a": ["x"]}, [["SENTINEL"]], "not among its declared levels"),
        ({"a": ["x"]}, [[{}]], "cannot be levels"),
        ({"a": (0, 1)}, [["SENTINEL"]], "not numbers"),
        ({"a": (0, 1)}, [[np.inf]], "infinity"),
        ({"a": (0, 1)}, [[np.nan]], "contains NaN"),
        ({"a": ["x"]}, [[None]], "contains NaN"),
        ({"a": (0, 1)}, [[1, 2]], "2 columns"),
    ],
)
def test_messages_name_the_column_and_no_value(columns, rows, message):
    with pytest.raises(ValueError, match=message) as error:
        TableSchema(columns).encode(np.array(rows, dtype=object))
    assert "SENTINEL" not in str(error.value)
    assert "'a'" in str(error.value) or "2 columns" in message
    assert error.value.__cause__ is None


def test_cells_of_lists_stay_what_they_are():
    schema = TableSchema({"sex": ["F", "M"], "works": [False, True], "age": (0, 64)})
    codes = schema.encode([["F", True, 10], ["M", False, 63.5]])
    assert codes.tolist() == [[0, 1, 5], [1, 0, 31]]
    with pytest.raises(ValueError, match="2D") as error:
        schema.encode([["SENTINEL", True], ["M", False, 3]])
    assert "SENTINEL" not in str(error.value)
