"""The guarantees of the synthesizer: what it demands, spends, keeps and refuses."""

import io
import logging
import math
import pickle
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import skdiff
from skdiff._privacy import _release
from skdiff._privacy._budget import PrivacyLeakWarning
from skdiff.synthetic import (
    HalfspaceQueries,
    MarginalQueries,
    PredicateQueries,
    PrefixQueries,
    PrivacyAccountant,
    PrivacyBudgetError,
    PrivateGSDSynthesizer,
    RangeQueries,
    TableSchema,
)
from skdiff.synthetic._cells import Cells
from skdiff.synthetic._gsd import _search
from skdiff.synthetic._gsd._state import State
from tests.synthetic._tables import SCHEMA, SeededSource, everything_in, people

QUICK = {"n_synthetic": 100, "depth": 3, "tol": 0.05, "random_state": 0}


def make(schema=SCHEMA, epsilon=1.0, **more):
    return PrivateGSDSynthesizer(schema, epsilon, **{**QUICK, **more})


class Explosive:
    """A table that must not be touched."""

    def __getattribute__(self, name):
        raise AssertionError("X was read")

    def __len__(self):
        raise AssertionError("X was read")


# --- what comes out ------------------------------------------------------------------


def test_a_frame_comes_back_as_a_frame_of_the_same_form():
    X = people()
    rows = make().fit(X).sample(250, random_state=0)
    assert list(rows.columns) == list(X.columns) and len(rows) == 250
    assert rows.dtypes.equals(X.dtypes)
    assert list(rows["sex"].cat.categories) == ["M", "F"]
    assert rows["age"].between(18, 90).all() and rows["pay"].between(100, 50_000).all()
    assert set(rows["job"]) <= {"clerk", "cook", "nurse"}


def test_polars_nullable_columns_and_arrays():
    polars = pytest.importorskip("polars")
    X = people()
    plain = X.astype({"sex": str, "job": str})
    table = polars.DataFrame({c: plain[c].tolist() for c in plain})
    rows = make().fit(table).sample()
    assert rows.schema == table.schema
    nullable = X.astype({"age": "Int64", "works": "boolean", "pay": "Float64"})
    assert make().fit(nullable).sample().dtypes.equals(nullable.dtypes)
    array = X.astype(object).to_numpy()
    assert make().fit(array).sample().shape == (100, 5)
    numbers = X[["age", "pay"]].to_numpy(dtype=float)
    rows = make(TableSchema({"x0": (18, 90), 1: (100, 50_000)})).fit(numbers).sample()
    assert rows.dtype == np.float64


def test_missing_values_are_values():
    X = people()
    X.loc[::3, "pay"] = np.nan
    X.loc[::4, "job"] = None
    schema = SCHEMA._with(missing=["pay", "job"])
    rows = make(schema, 9.0, n_synthetic=300).fit(X).sample()
    assert 0.2 < rows["pay"].isna().mean() < 0.5
    assert 0.1 < rows["job"].isna().mean() < 0.4
    # a dtype that cannot miss a value has no code for it
    rows = make(SCHEMA._with(missing=True), 0.1).fit(people()).sample()
    assert rows["age"].dtype == "int64" and rows["works"].dtype == bool


def test_y_becomes_a_column_and_comes_back():
    X = people()
    y = X.pop("job")
    model = make(target_name="job")
    X_new, y_new = model.fit_resample(X, y)
    assert list(X_new.columns) == list(X.columns) and set(y_new) <= set(
        SCHEMA.columns["job"]
    )
    assert model.n_features_in_ == 4 and len(model.schema_.names) == 5
    assert model.error_report(X, y).max_error < 0.5
    with pytest.raises(ValueError, match="y included"):
        model.error_report(X)
    A, b = X[["age", "pay"]].to_numpy(float), X["works"].to_numpy(float)
    schema = TableSchema({0: (18, 90), 1: (100, 50_000), "target": [0, 1]})
    X_new, y_new = make(schema).fit_resample(A, b)
    assert X_new.shape == (100, 2) and set(y_new) <= {0, 1}
    with pytest.raises(ValueError, match="needs y"):
        make().fit_resample(X, None)
    with pytest.raises(ValueError, match="different numbers of rows"):
        make().fit(X, y[:-1])
    with pytest.raises(ValueError, match="set target_name"):
        make(target_name="age").fit(X, y)
    with pytest.raises(ValueError, match="one column"):
        make().fit(X, np.zeros((len(X), 2)))


def test_sampling():
    model = make().fit(people())
    first = model.sample(50, random_state=3)
    assert first.equals(model.sample(50, random_state=3))
    assert not first.equals(model.sample(50, random_state=4))
    assert len(model.sample()) == 100
    for n in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="n must be"):
            model.sample(n)
    with pytest.raises(NotFittedError):
        make().sample()
    with pytest.raises(AttributeError):
        make().ledger_


# --- section 1.4: what is demanded, and paid for -------------------------------------


@pytest.mark.parametrize("column", ["sex", "works", "job"])
def test_columns_that_are_no_numbers_must_be_declared(column):
    columns = {k: v for k, v in SCHEMA.columns.items() if k != column}
    with pytest.raises(ValueError, match=f"'{column}'.*TableSchema"):
        make(TableSchema(columns)).fit(people())
    with pytest.raises(ValueError, match="TableSchema"):
        make(None).fit(np.array([["SENTINEL"], ["b"]], dtype=object))
    with pytest.raises(ValueError, match="TableSchema"):
        make(None).fit(np.array([[True], [False]]))


def test_undeclared_values_stop_the_fit_before_any_measurement():
    X = people()
    X.loc[5, "job"] = "SENTINEL"
    budget = PrivacyAccountant(1.0)
    model = make(epsilon=1.0, rho=0.5, accountant=budget)
    with pytest.raises(ValueError, match="'job'") as error:
        model.fit(X)
    assert "SENTINEL" not in str(error.value)
    assert budget.remaining == 1  # nothing was measured
    other = TableSchema({**SCHEMA.columns, "job": ["clerk", "cook", "nurse", "other"]},
                        other={"job": "other"}, log=["pay"])  # fmt: skip
    assert "SENTINEL" not in set(make(other).fit(X).sample()["job"])


def test_values_beyond_declared_bounds_are_clamped_in_silence():
    X = people()
    X.loc[0, "pay"] = 1e12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = make().fit(X).sample()
    assert rows["pay"].max() <= 50_000


def test_bounds_that_are_not_declared_are_bought_or_refused():
    X = people(4000)[["age", "pay"]]
    with pytest.raises(ValueError, match=r"'age'.*bounds"):
        make(None, bounds="raise").fit(X)
    model = make(None).fit(X)
    bought = [e for e in model.ledger_ if "bound" in e.name]
    assert [e.name for e in bought] == ["bounds of age", "bounds of pay"]
    # a row that is replaced leaves one cell and enters another
    assert {e.sensitivity_sq for e in model.ledger_} == {2}
    assert sum(e.rho for e in bought) <= model.privacy_spent_.rho / 10
    assert model.schema_.columns["age"] == (16.0, 128.0)
    low, high = model.schema_.columns["pay"]
    assert low in (64, 128, 256, 512) and high in (2**k for k in range(12, 17))
    # with hardly any budget no count stands out, and a fixed interval is taken
    poor = make(None, 1.0, rho=1e-9).fit(X)
    assert poor.schema_.columns["pay"] == (-1.0, 1.0)


def test_missing_numbers_must_be_declared():
    X = people()[["age", "pay"]].astype(float)
    X.iloc[3, 0] = np.nan
    for schema in (None, TableSchema({"age": (0, 99)})):
        with pytest.raises(ValueError, match="'age' of X contains NaN"):
            make(schema).fit(X)
    make(TableSchema({}, missing=True)).fit(X)
    X.iloc[3, 0] = np.inf
    with pytest.raises(ValueError, match="'age' of X contains infinity"):
        make(None).fit(X)


def test_the_number_of_rows_is_private_under_add_remove():
    X = people(500)
    with pytest.raises(ValueError, match="delta must be given"):
        make(neighbors="add-remove").fit(Explosive())
    sizes, names = set(), set()
    for _ in range(6):
        model = make(neighbors="add-remove", delta=1e-6, epsilon=0.5,
                     n_synthetic=None, max_evals=0).fit(X)  # fmt: skip
        sizes.add(len(model.synthetic_))
        names |= {e.name for e in model.ledger_}
        assert model.privacy_spent_.delta == 1e-6
        assert {e.sensitivity_sq for e in model.ledger_ if e.kind == "gaussian"} == {1}
    assert "number of rows" in names and len(sizes) > 1


def test_true_errors_are_reported_on_request_only():
    X = people()
    model = make().fit(X)
    assert not any("error" in name for name in vars(model))
    report = model.error_report(X)
    assert report.private is False and "private=False" in repr(report)
    assert 0 < report.mean_error <= report.max_error
    frame = report.frame()
    assert len(frame) == len(model.queries_)
    assert frame["n_queries"].sum() == sum(len(a) for a in model.noisy_answers_)


# --- section 1.5: bad input ----------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epsilon": 0.0}, "epsilon must be positive"),
        ({"epsilon": -1.0}, "epsilon must be positive"),
        ({"epsilon": math.inf}, "epsilon must be positive"),
        ({"epsilon": math.nan}, "epsilon must be positive"),
        ({"rho": 0.0}, "rho must be positive"),
        ({"rho": 1e-45}, "at least 8.3e-25. Got 1e-45"),
        ({"rho": 1e-310}, "too small"),
        ({"rho": 1e-20, "rows_per_user": 10**4}, "times the squared rows_per_user"),
        ({"epsilon": 2.0, "rho": 0.1}, "pass one"),
        ({"delta": 0.0}, "delta must be"),
        ({"delta": 1.0}, "delta must be"),
        ({"epsilon": None, "accountant": PrivacyAccountant(1.0)}, "accountant needs"),
        ({"n_rounds": 0}, "n_rounds"),
        ({"queries": "4-way"}, "queries"),
        ({"schema": {"a": [1]}}, "schema"),
        ({"bounds_fraction": 1.0}, "bounds_fraction"),
        ({"noise": "normal"}, "noise"),
    ],
)
def test_bad_parameters_are_refused_before_X_is_read(parameters, message):
    with pytest.raises(ValueError, match=message):
        make(**parameters).fit(Explosive())


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"queries": []}, ValueError, "must not be empty"),
        ({"queries": ["2-way", "x"]}, ValueError, "known are"),
        ({"queries": [3]}, TypeError, "query objects"),
        ({"fixed_columns": ["zip"]}, ValueError, "'zip'"),
        ({"fixed_columns": ["age"]}, ValueError, "needs init"),
        ({"schema": TableSchema({"zip": [1]})}, ValueError, "'zip'"),
    ],
)
def test_parameters_that_do_not_fit_the_columns(parameters, error, message):
    with pytest.raises(error, match=message):
        make(**parameters).fit(people(50))


@pytest.mark.parametrize(
    "X",
    [np.zeros((0, 2)), np.zeros(3), np.zeros((2, 2)) + 1j, [[1, 2], [3]], None, 3.0,
     pd.DataFrame({"a": []}), pd.DataFrame([[1, 2]], columns=["a", "a"])],
    ids=["rows", "1-D", "complex", "ragged", "None", "scalar", "frame", "names"],
)  # fmt: skip
def test_bad_tables(X):
    with pytest.raises((ValueError, TypeError)):
        make(None).fit(X)


def test_weak_guarantees_warn():
    X = people(100)
    with pytest.warns(UserWarning, match="more than one over"):
        make(delta=0.05, max_evals=0).fit(X)
    with pytest.warns(UserWarning, match="weak guarantee"):
        make(epsilon=11.0, max_evals=0).fit(X)


# --- the budget ----------------------------------------------------------------------

families = st.sampled_from(
    ["1-way", "2-way", "3-way", RangeQueries(2), PrefixQueries(n_boxes=5),
     HalfspaceQueries(n_halfspaces=5), MarginalQueries(columns=("sex", "job")),
     PredicateQueries([{"sex": ["F"]}, {"job": ["cook"], "age": (20, 30)}])]
)  # fmt: skip


@settings(max_examples=25)
@given(st.data())
def test_the_ledger_adds_up_exactly_and_stays_within_the_budget(data):
    draw = data.draw
    rho = draw(st.fractions(Fraction(1, 50), 10))
    declared = draw(st.sets(st.sampled_from(["age", "pay"])))
    columns = {k: v for k, v in SCHEMA.columns.items()
               if k not in ("age", "pay") or k in declared}  # fmt: skip
    model = make(
        TableSchema(columns),
        rho=rho,
        delta=1e-4,
        neighbors=draw(st.sampled_from(["replace-one", "add-remove"])),
        queries=draw(st.lists(families, min_size=1, max_size=2)),
        selection=draw(st.sampled_from(["auto", "one-shot", "adaptive"])),
        n_per_round=draw(st.sampled_from(["auto", 2])),
        n_rounds=3,
        edges=draw(st.sampled_from(["uniform", "quantile"])),
        rows_per_user=draw(st.sampled_from([1, 3])),
        bounds_fraction=draw(st.floats(0.01, 0.5)),
        max_evals=0,
        n_synthetic=20,
    ).fit(TABLE)
    spent = model.privacy_spent_
    assert sum(e.rho for e in model.ledger_) == spent.rho == rho
    for entry in model.ledger_:
        if entry.kind == "gaussian":
            assert entry.sigma_sq >= entry.sensitivity_sq / (2 * entry.rho)
        else:
            assert entry.eps**2 / 8 <= entry.rho
    assert spent.epsilon == pytest.approx(spent.epsilon_at(1e-4))


TABLE = people(200, 5)


def test_epsilon_is_kept():
    model = make(epsilon=0.7, max_evals=0).fit(people(300))
    spent = model.privacy_spent_
    assert spent.delta == 1 / 300**2 and spent.unit == "row" and spent.valid
    assert 0.7 * (1 - 1e-9) < spent.epsilon <= 0.7
    free = make(epsilon=None).fit(people(300))
    assert free.privacy_spent_.epsilon == math.inf and free.ledger_ == ()


def test_fits_share_an_accountant_and_are_refused_before_X_is_read():
    budget = PrivacyAccountant(Fraction(1, 2))
    model = make(rho=Fraction(1, 4), accountant=budget, max_evals=0)
    model.fit(people(100)).fit(people(100))
    assert budget.remaining == 0
    with pytest.raises(PrivacyBudgetError):
        model.fit(Explosive())
    part = make(rho=0.2, accountant=PrivacyAccountant(0.1), delta=1e-6)
    with pytest.raises(PrivacyBudgetError):
        part.fit(Explosive())


def test_a_search_over_parameters_spends_once_per_fold():
    imblearn = pytest.importorskip("imblearn.pipeline")
    X = people(300)
    y = X.pop("works").to_numpy()
    A = X[["age", "pay"]].to_numpy()
    schema = TableSchema({0: (18, 90), 1: (100, 50_000), "target": [False, True]})
    budget = PrivacyAccountant(1.0)
    model = imblearn.Pipeline(
        [
            ("rows", make(schema, rho=0.1, delta=1e-5, accountant=budget)),
            ("model", LogisticRegression()),
        ]
    )
    search = GridSearchCV(model, {"rows__depth": [2, 3]}, cv=2, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence of unscaled columns
        search.fit(A, y.astype(str) == "True")
    assert budget.spent == 4 * Fraction(0.1)


def test_several_rows_per_person_need_more_noise():
    one, three = (
        make(rho=0.1, rows_per_user=k, queries="1-way", max_evals=0).fit(people(100))
        for k in (1, 3)
    )
    assert three.privacy_spent_.unit == "user of 3 rows"
    assert three.privacy_spent_.rho == one.privacy_spent_.rho
    np.testing.assert_allclose(three.noise_scale_, 3 * one.noise_scale_, rtol=1e-8)


def test_choices_protect_all_rows_of_a_person(monkeypatch):
    real, seen = _release.select, []

    def select(scores, eps, sensitivity, source):
        seen.append(sensitivity)
        return real(scores, eps, sensitivity, source)

    monkeypatch.setattr(_release, "select", select)
    parameters = {"selection": "adaptive", "n_rounds": 2, "max_evals": 0}
    model = make(rho=0.05, rows_per_user=3, **parameters).fit(people(2000))
    chosen = [e for e in model.ledger_ if e.kind == "exponential"]
    assert len(chosen) == len(seen) > 0
    assert set(seen) == {6} and {e.sensitivity_sq for e in chosen} == {36}


# --- what the model holds ------------------------------------------------------------

SENTINELS = (0.1234567890123, 7777.123456789, "SENTINEL-7f3a")


def holding_sentinels():
    X = people(150)
    X["pay"] = np.where(np.arange(150) % 2, X["pay"], SENTINELS[1])
    X.loc[3, "pay"] = SENTINELS[0]  # below the bounds
    X["job"] = X["job"].astype(object)
    X.loc[4, "job"] = SENTINELS[2]
    X["job"] = X["job"].astype("category")  # whose levels pandas remembers
    columns = {**SCHEMA.columns, "job": ["clerk", "cook", "nurse", "rest"]}
    return X, TableSchema(columns, other={"job": "rest"}, log=["pay"])


def test_nothing_of_the_rows_is_kept(capfd, caplog):
    X, schema = holding_sentinels()
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        model = make(schema, verbose=1).fit(X)
    out, err = capfd.readouterr()
    texts = [repr(model), out, err, caplog.text, *(str(w.message) for w in seen)]
    texts.append(str(model.privacy_spent_) + str(model.ledger_))
    data = pickle.dumps(model)
    for value in SENTINELS:
        assert not any(str(value) in text for text in texts)
        raw = value.encode() if isinstance(value, str) else np.float64(value).tobytes()
        assert raw not in data and raw[::-1] not in data
    for thing in everything_in(model).values():
        shape = np.shape(thing) if isinstance(thing, np.ndarray) else ()
        assert 150 not in shape
        declared = isinstance(thing, TableSchema | MarginalQueries | Cells)
        assert not hasattr(thing, "columns") or declared
    assert SENTINELS[2] not in set(model.sample()["job"].cat.categories)


def test_files_hold_the_release_and_no_row(tmp_path):
    X, schema = holding_sentinels()
    model = make(schema).fit(X)
    model.save(tmp_path / "m.npz")
    data = (tmp_path / "m.npz").read_bytes()
    assert SENTINELS[2].encode() not in data
    again = skdiff.load(tmp_path / "m.npz")
    assert again.privacy_spent_ == model.privacy_spent_
    assert again.ledger_ == model.ledger_ and again.queries_ == model.queries_
    assert again.sample(20, random_state=0).equals(model.sample(20, random_state=0))
    assert again.error_report(X).mean_error == model.error_report(X).mean_error


def test_equal_counts_and_equal_noise_give_equal_releases():
    X = people(150)
    order = np.random.default_rng(0).permutation(150)
    dumps = []
    for table in (X, X.iloc[order]):
        model = make(rho=0.1)
        model._noise_source = SeededSource(1)
        with pytest.warns(PrivacyLeakWarning, match="no guarantee"):
            model.fit(table)
        assert model.privacy_spent_.valid is False
        del model._noise_source
        buffer = io.BytesIO()
        pickle.dump(model, buffer)
        dumps.append(buffer.getvalue())
    assert dumps[0] == dumps[1]


def test_the_seed_does_not_move_the_noise():
    X = people(150)
    first, second = (make(random_state=0, max_evals=0).fit(X) for _ in range(2))
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(first.noisy_answers_, second.noisy_answers_, strict=True)
    )


# --- the search inside a fit ---------------------------------------------------------


def test_an_interrupted_search_keeps_the_spend_and_the_table(monkeypatch):
    calls = []
    gains = State.gains

    def interrupting(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return gains(self, *arguments)

    monkeypatch.setattr(State, "gains", interrupting)
    budget = PrivacyAccountant(1.0)
    with pytest.warns(UserWarning, match="interrupted"):
        model = make(rho=0.3, accountant=budget).fit(people(200))
    assert model.stopped_ == "interrupted"
    assert budget.spent == model.privacy_spent_.rho == Fraction(0.3)
    assert len(model.sample()) == 100


def test_an_interrupt_while_measuring_spends_what_was_begun(monkeypatch):
    real, calls = _release.draw, []

    def interrupting(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(_release, "draw", interrupting)
    budget = PrivacyAccountant(1.0)
    queries = [MarginalQueries(columns=(c,)) for c in ("age", "sex", "works", "job")]
    model = make(rho=0.25, accountant=budget, queries=queries)
    with pytest.raises(KeyboardInterrupt):
        model.fit(people(200))
    assert budget.spent == 2 * Fraction(1, 16)
    assert not hasattr(model, "synthetic_")


def test_limits_of_the_search():
    X = people(200)
    model = make(max_evals=0).fit(X)
    assert model.stopped_ == "max_evals" and model.n_evals_ == 0
    model = make(max_evals=2000, tol=0.0).fit(X)
    assert model.stopped_ == "max_evals" and 2000 <= model.n_evals_ < 50_000
    assert make(batch_size=10, epsilon=None).fit(X).stopped_ == "converged"


def test_public_rows_to_start_from_and_columns_that_stay():
    X, public = people(300), people(80, seed=9)
    model = make(init=public, fixed_columns=["age", "sex"], n_synthetic=80).fit(X)
    rows = model.sample(random_state=0)
    codes = model.schema_.encode(public)[:, :2]
    assert sorted(map(tuple, codes)) == sorted(map(tuple, model.synthetic_[:, :2]))
    assert rows["sex"].value_counts().equals(public["sex"].value_counts())


@pytest.mark.parametrize("search", ["genetic", "paper"])
def test_every_row_satisfies_the_constraint(search):
    def young_do_not_cook(rows):
        return (rows["age"] > 40) | (rows["job"] != "cook")

    model = make(
        constraint=young_do_not_cook, epsilon=None, search=search, max_evals=30_000
    ).fit(people(300))
    for n in (None, 500):
        rows = model.sample(n, random_state=0)
        assert ((rows["age"] > 40) | (rows["job"] != "cook")).all()
    with pytest.raises(ValueError, match="satisfies the constraint"):
        make(constraint=lambda rows: rows["age"] > 1000).fit(people(50))


def test_three_columns_and_mixed_families():
    X = people(400)
    model = make(
        epsilon=None,
        queries=["1-way", MarginalQueries(columns=("sex", "job", "works")),
                 PredicateQueries([(lambda v: v["age"] > 65, ["age"])])],
    ).fit(X)  # fmt: skip
    report = model.error_report(X)
    assert report.max_error < 0.02
    assert "PredicateQueries(age)" in set(report.frame()["queries"])


def test_quantile_edges_follow_the_mass():
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(4000, 2)))
    schema = TableSchema({0: (0, 100), 1: (0, 100)})
    plain = make(schema, 4.0).fit(X)
    bought = make(schema, 4.0, edges="quantile").fit(X)
    assert sum("edges" in e.name for e in bought.ledger_) == 2
    assert {e.sensitivity_sq for e in bought.ledger_} == {2}
    assert bought.privacy_spent_.epsilon <= 4.0

    def wrong(model):
        rows = model.sample(4000, random_state=0)
        return abs(np.median(rows[:, 0]) - np.median(X[:, 0]))

    assert wrong(bought) < wrong(plain)
    given = make(schema, 4.0, edges={"x0": [0, 1, 2, 100]}).fit(X)
    assert given.schema_.n_codes[0] == 3


def test_little_budget_calls_for_little():
    X = people(300)
    kinds = [
        make(rho=rho, delta=1e-5, max_evals=0).fit(X).selection_
        for rho in (10.0, 0.002, 1e-5)
    ]
    assert kinds == ["one-shot", "adaptive", "1-way"]


def test_adaptive_selection_measures_one_way_marginals_first():
    X = people(2000)
    model = make(rho=0.02, selection="adaptive", n_per_round=2, n_rounds=2).fit(X)
    first = [q for q in model.queries_ if len(q.columns) == 1]
    assert model.queries_[: len(first)] == first and len(first) == 5
    kinds = [e.kind for e in model.ledger_]
    assert kinds[:5] == ["gaussian"] * 5 and kinds[5] == "exponential"
    assert len(model.queries_) <= 9


def test_exponents_of_a_search_without_columns_to_edit():
    X = people(50)
    model = make(init=X.iloc[:20], fixed_columns=list(X.columns), n_synthetic=20)
    assert model.fit(X).stopped_ == "converged"


def test_progress_is_watched_without_the_rows():
    assert _search.search.__doc__
    pytest.importorskip("sklearn.callback")
    heard = []

    class Listener:
        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, X=None, y=None, **data):
            heard.append((X, y))

        def on_fit_task_end(self, estimator, context, **data):
            return False

        def teardown(self, estimator, context):
            pass

    make().set_callbacks(Listener()).fit(people(100))
    assert heard and all(X is None and y is None for X, y in heard)


def test_opendp_as_the_source_of_noise():
    X = people(100)
    try:
        import opendp  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="skdiff\\[privacy\\]"):
            make(noise="opendp").fit(X)
        return
    model = make(noise="opendp", max_evals=0).fit(X)
    assert model.privacy_spent_.valid
