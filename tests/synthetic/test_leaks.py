"""What a newcomer tries: odd inputs tell nothing for free, and cost what they say."""

import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skdiff.synthetic import (
    MarginalQueries,
    MarginalsDisplay,
    PrivacyAccountant,
    PrivacyBudgetError,
    PrivateGSDSynthesizer,
    TableSchema,
)
from tests.synthetic._tables import SCHEMA, everything_in, people

QUICK = {"n_synthetic": 60, "max_evals": 0, "random_state": 0}
UNIT = TableSchema({0: (0, 1), 1: (0, 1)})


def make(schema=None, **more):
    return PrivateGSDSynthesizer(schema, **{**QUICK, **more})


@pytest.mark.parametrize(
    "X",
    [
        np.array([7.123456, 1.0]),
        np.array(7.123456),
        [7.123456, 1.0],
        [{"a": "7.123456"}],
        [[7.123456], [1.0, 2.0]],
        pd.Series([7.123456]),
        [["7.123456x"], [1.0]],
    ],
    ids=["1-D", "scalar", "list", "dicts", "ragged", "series", "words"],
)
def test_no_message_quotes_a_cell(X):
    with pytest.raises((ValueError, TypeError)) as error:
        make().fit(X)
    assert "7.12" not in str(error.value)


def test_the_length_of_a_word_is_not_kept():
    """NumPy's dtype of strings is as long as the longest cell."""
    schema = TableSchema({0: ["a", "b", "rest"]}, other={0: "rest"})
    forms = [
        make(schema).fit(np.array([["a"], ["b"], [word]]))._form
        for word in ("c", "a word of many letters")
    ]
    assert forms[0] == forms[1]


def test_levels_are_written_in_full():
    X, y = np.random.default_rng(0).uniform(size=(60, 1)), np.array(["no", "yes"] * 30)
    schema = TableSchema({0: (0, 1), "target": ["no", "yes", "perhaps"]})
    levels = set()
    for _ in range(5):
        levels |= set(make(schema, epsilon=0.1).fit_resample(X, y)[1])
    assert "perhaps" in levels <= {"no", "yes", "perhaps"}
    words = np.where(X > 0.5, "yes", "no")
    schema = TableSchema({0: ["no", "yes"], "target": ["no", "yes"]})
    rows, _ = make(schema).fit_resample(words, y)
    assert set(rows.ravel()) <= {"no", "yes"}


@pytest.mark.parametrize("cell", [2.0, 2.5, True, None])
def test_no_cell_of_a_list_decides_a_dtype(cell):
    schema = TableSchema({0: (0, 9), 1: (0, 9)}, missing=True)
    rows = make(schema).fit([[1, 2], [3, 4], [5, cell]]).sample()
    assert rows.dtype == np.float64
    words = TableSchema({0: (0, 9), 1: ["u", "v"]})
    model = make(words).fit([[1, "u"], [3, "v"], [5 if cell is None else cell, "u"]])
    assert model.sample().dtype == object
    target = TableSchema({0: (0, 9), "target": ["u", "v"]})
    X_new, y_new = make(target).fit_resample([[1], [3], [2.5]], ["u", "v", "u"])
    assert X_new.dtype == np.float64 and set(y_new) <= {"u", "v"}
    _, y_new = make().fit_resample(people(50)[["pay"]], [1] * 49 + [2.5])
    assert y_new.dtype == np.float64


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "UInt8"])
def test_bought_bounds_stay_within_the_dtype(dtype):
    a = np.random.default_rng(0).integers(60, 120, size=3000)
    X = pd.DataFrame({"a": a, "b": a % 5}).astype(dtype)
    model = make(epsilon=3.0, n_synthetic=2000).fit(X)
    rows = model.sample()
    assert rows.dtypes.equals(X.dtypes)
    for name in X:
        low, high = model.schema_.columns[name]
        assert rows[name].min() >= low and rows[name].max() <= high
    poor = make(rho=1e-9, delta=1e-5).fit(X).sample()
    assert poor["a"].between(-1, 1).all()


@pytest.mark.parametrize(
    ("bought", "low", "high"),
    [((2.0**-61, 2.0**-60), 0, 1), ((-0.5, -0.25), -1, 0), ((0.5, 4.0), 1, 4)],
)
def test_bounds_bought_from_noise_alone_hold_a_whole_number(
    bought, low, high, monkeypatch
):
    monkeypatch.setattr("skdiff.synthetic._gsd._base.bounds_of", lambda *a: bought)
    X = pd.DataFrame({"a": [1, 2, 3] * 20, "b": [0, 1] * 30})
    rows = make().fit(X).sample()
    assert rows["a"].dtype == "int64" and rows["a"].between(low, high).all()


@pytest.mark.parametrize(
    "parameters",
    [
        {"queries": [MarginalQueries(columns=("zip",))]},
        {"queries": ["2-way", "4-way"]},
        {"init": np.zeros((3, 7))},
        {"init": np.zeros((0, 2))},
    ],
)
def test_a_mistake_costs_only_what_was_measured(parameters):
    X = np.random.default_rng(0).uniform(size=(50, 2))
    for schema, spent in ((UNIT, 0), (None, Fraction(1, 20))):
        budget = PrivacyAccountant(1.0)
        model = make(schema, rho=0.5, accountant=budget, **parameters)
        with pytest.raises(ValueError, match=r"zip|4-way|columns|one row"):
            model.fit(X)
        assert budget.spent == spent


def test_a_refused_fit_keeps_what_an_earlier_one_has_paid_for():
    X = np.random.default_rng(0).uniform(size=(50, 2))
    model = make(UNIT, rho=0.5, accountant=PrivacyAccountant(0.6)).fit(X)
    rows = model.sample(random_state=0)
    with pytest.raises(PrivacyBudgetError):
        model.fit(X)
    np.testing.assert_array_equal(model.sample(random_state=0), rows)


def test_a_tiny_budget_works_or_is_refused_at_no_cost():
    X = np.random.default_rng(0).uniform(size=(50, 2))
    budget = PrivacyAccountant(1.0)
    model = make(UNIT, accountant=budget, epsilon=1e-22, delta=1e-300)
    with pytest.raises(ValueError, match="too small to measure anything"):
        model.fit(X)
    shares = {"bounds_fraction": 1e-200}
    with pytest.raises(ValueError, match=r"bounds of x0.*too small"):
        make(None, accountant=budget, rho=0.5, **shares).fit(X)
    assert budget.spent == 0
    model.set_params(epsilon=1e-9, delta=1e-9).fit(X)
    assert len(model.sample()) == 60 and 0 < model.privacy_spent_.epsilon <= 1e-9
    assert budget.spent == model.privacy_spent_.rho


def test_fractions_that_leave_nothing_are_refused():
    X = np.random.default_rng(0).uniform(size=(50, 2))
    parts = {"n_fraction": 0.5, "bounds_fraction": 0.6}
    model = make(delta=1e-5, neighbors="add-remove", **parts)
    with pytest.raises(ValueError, match="leave nothing"):
        model.fit(X)
    # where no bounds are bought, theirs does not count; tiny ones are kept
    model.set_params(schema=UNIT).fit(X)
    model = make(bounds_fraction=1e-9).fit(X)
    assert sum(e.rho for e in model.ledger_) == model.privacy_spent_.rho


def test_fits_do_not_share_the_query_objects_of_the_user():
    X = np.random.default_rng(0).uniform(size=(100, 2))
    queries = [MarginalQueries(columns=("x0", "x1"))]
    first = make(UNIT, epsilon=None, queries=queries).fit(X)
    before = first.error_report(X)
    levels = TableSchema({0: [0, 1], 1: [0, 1]})
    make(levels, epsilon=None, queries=queries).fit(np.round(X))
    assert first.error_report(X) == before


def test_budgets_are_numbers_of_numpy_as_well():
    X = np.random.default_rng(0).uniform(size=(50, 2))
    budget = PrivacyAccountant(np.float32(0.5))
    make(UNIT, rho=np.float32(0.25), accountant=budget).fit(X)
    assert budget.remaining == Fraction(1, 4)
    assert PrivacyAccountant(np.int64(2)).rho_total == 2


def test_the_true_number_of_rows_is_in_no_part_of_a_release():
    """Under add-remove; its noise has a deviation of 5000 rows, and here a seed."""
    X = people(4321)[["age", "pay"]]
    model = make(rho=1e-6, delta=1e-6, neighbors="add-remove", n_synthetic=30).fit(X)
    del model.noisy_answers_  # thousands of noisy numbers, any of which may be 4321
    numbers = []
    for thing in everything_in(pickle.loads(pickle.dumps(model))).values():
        if isinstance(thing, np.ndarray):
            numbers.extend([*thing.shape, *thing.ravel().tolist()])
        elif isinstance(thing, int | float | Fraction):
            numbers.append(thing)
    assert len(numbers) > 100 and 4321 not in numbers


def test_the_figure_shows_the_errors_of_the_report():
    pytest.importorskip("matplotlib")
    X = people(300)
    y = X.pop("works")
    model = make(SCHEMA, target_name="works").fit(X, y)
    display = MarginalsDisplay.from_estimator(model, X, y).plot()
    frame = display.frame()
    error = (frame["real"] - frame["synthetic"]).abs()
    assert error.mean() == pytest.approx(model.error_report(X, y).mean_error)
    assert len(display.points_.get_offsets()) == len(frame)
    assert display.line_ in display.ax_.lines and display.figure_
    one = MarginalsDisplay.from_estimator(model, X, y, n_columns=1).frame()
    assert one.groupby("queries")["real"].sum().to_numpy() == pytest.approx(np.ones(5))
    with pytest.raises(NotFittedError):
        MarginalsDisplay.from_estimator(make(), X)
