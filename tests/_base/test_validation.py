"""What comes in is refused by the same words in whatever container it comes."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator

from skdiff._base.validation import (
    binary_codes,
    check_X,
    check_X_y,
    refuse_dates,
    require_y,
    split_validation,
)
from skdiff.linear_model import WeightedRidge

DAYS = pd.Series(pd.date_range("2020-01-01", periods=5))
DATES = {
    "array": DAYS.to_numpy(),
    "index": pd.DatetimeIndex(DAYS),
    "Series": DAYS,
    "Series of time spans": DAYS - DAYS[0],
    "Series with a time zone": DAYS.dt.tz_localize("UTC"),
    "DataFrame": pd.DataFrame({"a": range(5), "day": DAYS}),
    "DataFrame with a column called dtype": pd.DataFrame({"dtype": DAYS}),
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_refused(kind):
    with pytest.raises(TypeError, match="X has columns of dates or time spans"):
        refuse_dates(DATES[kind])


NUMBERS = {
    "list": [1.0, 2.0],
    "array": np.arange(3),
    "Series": pd.Series([1.0, 2.0]),
    "Series of categories": pd.Series(["a", "b"], dtype="category"),
    "DataFrame": pd.DataFrame({"a": [1.0], "b": ["x"]}),
    "DataFrame with a column called dtype": pd.DataFrame({"dtype": [1.0]}),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_others_pass(kind):
    assert refuse_dates(NUMBERS[kind]) is None


def test_an_estimator_says_what_is_wrong_with_a_series():
    y = np.arange(5.0)
    with pytest.raises(TypeError, match="dates or time spans"):
        WeightedRidge().fit(DAYS, y)
    with pytest.raises(ValueError, match="2-dimensional"):
        WeightedRidge().fit(pd.Series(y), y)


class Plain(BaseEstimator):
    """An estimator with nothing but a name."""


FRAME = pd.DataFrame({"a": [1.0, 2, 3], "b": ["x", "y", "x"]})


def test_a_missing_target_is_refused_in_scikit_learns_words():
    words = "This Plain estimator requires y to be passed, but the target y is None."
    for refused in (
        lambda: require_y(Plain(), None),
        lambda: check_X_y(Plain(), [[1.0]], None),
        lambda: check_X_y(Plain(), FRAME, None, skip_check_array=True),
    ):
        with pytest.raises(ValueError, match=words):
            refused()
    assert require_y(Plain(), [0]) is None


def test_numbers_come_back_as_arrays():
    model = Plain()
    X, y = check_X_y(model, [[1, 2], [3, 4]], [1, 0], dtype=np.float64)
    assert X.dtype == np.float64 and y.tolist() == [1, 0]
    assert model.n_features_in_ == 2
    with pytest.raises(ValueError, match="expecting 2 features"):
        check_X(model, [[1.0]], reset=False)


@pytest.mark.parametrize("kind", ["frame", "polars"])
def test_a_table_for_a_pipeline_stays_what_it_is(kind):
    table = FRAME
    if kind == "polars":
        table = pytest.importorskip("polars").DataFrame(FRAME.to_dict("list"))
    model = Plain()
    X, y = check_X_y(model, table, [1, 0, 1], skip_check_array=True)
    assert X is table and y.tolist() == [1, 0, 1]
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
        check_X_y(model, table, [1, 0], skip_check_array=True)
    with pytest.raises(ValueError, match="feature names"):
        check_X(model, table[["b", "a"]], reset=False, skip_check_array=True)


def test_a_pipeline_may_take_the_dates_of_a_frame():
    frame, array = DATES["DataFrame"], DATES["array"][:, None]
    assert check_X(Plain(), frame, reset=True, skip_check_array=True) is frame
    for X, how in ((frame, {}), (array, {"skip_check_array": True})):
        with pytest.raises(TypeError, match="dates or time spans"):
            check_X(Plain(), X, reset=True, **how)


def test_lists_for_a_pipeline_become_arrays():
    X = check_X(Plain(), [[1, "x"], [2, "y"]], reset=True, skip_check_array=True)
    assert isinstance(X, np.ndarray) and X.shape == (2, 2)


def test_dates_of_polars_are_refused():
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match="dates or time spans"):
        refuse_dates(polars.DataFrame({"a": [1, 2], "day": DAYS[:2].to_list()}))
    assert refuse_dates(polars.DataFrame({"a": [1, 2], "b": ["x", "y"]})) is None


def test_two_classes_have_codes():
    codes, classes = binary_codes(["yes", "no", "yes"])
    assert codes.tolist() == [1, 0, 1] and classes.tolist() == ["no", "yes"]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([0, 1, 2], "Only binary classification is supported.*multiclass"),
        (["a", "a"], "treatment has one class only, 'a'; two are needed"),
        ([0.5, 1.5], "Unknown label type"),
        ([0.0, np.nan], "Input treatment contains NaN"),
    ],
)
def test_other_targets_have_none(y, words):
    with pytest.raises(ValueError, match=words):
        binary_codes(y, "treatment")


def test_a_validation_set_is_stratified_where_it_can_be():
    strata = np.repeat([0, 1], [90, 10])
    train, held = split_validation(100, 0.2, 0, strata=strata)
    assert np.bincount(strata[held]).tolist() == [18, 2]
    assert sorted([*train, *held]) == list(range(100))
    again = split_validation(100, 0.2, 0, strata=strata)
    np.testing.assert_array_equal(held, again[1])


@pytest.mark.parametrize("strata", [np.arange(20), np.repeat([0, 1], [19, 1])])
def test_a_rare_stratum_does_not_forbid_a_validation_set(strata):
    train, held = split_validation(20, 0.25, 0, strata=strata)
    assert len(train) == 15 and len(held) == 5


@pytest.mark.parametrize(("n", "fraction"), [(10, 0.05), (10, 0.9), (1, 0.5)])
def test_too_few_rows_have_no_validation_set(n, fraction):
    assert split_validation(n, fraction, 0) is None


@pytest.mark.parametrize("which", ["X", "y"])
def test_arrays_of_other_libraries_are_named_under_dispatch(which, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    torch = pytest.importorskip("torch")
    given = {"X": np.eye(4), "y": np.arange(4.0)}
    given[which] = torch.from_numpy(given[which])
    model = WeightedRidge()
    with (
        config_context(array_api_dispatch=True),
        pytest.raises(TypeError, match=f"{which} is an array of torch"),
    ):
        model.fit(**given)
    assert model.fit(**given).coef_.shape == (4,)  # without dispatch it is converted
