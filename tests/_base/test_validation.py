"""Dates are refused by the same words in whatever container they come."""

import numpy as np
import pandas as pd
import pytest

from skdiff._base.validation import refuse_dates
from skdiff.model_selection import WeightedRidge

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
