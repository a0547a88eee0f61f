"""Sensitivities by enumeration, counts by hand, and the form of a file."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skdiff
from skdiff.synthetic import (
    HalfspaceQueries,
    MarginalQueries,
    PredicateQueries,
    PrefixQueries,
    PrivateGSDSynthesizer,
    RangeQueries,
    TableSchema,
)

SCHEMA = TableSchema(
    {"age": (0, 8), "sex": ["F", "M"], "pay": (1, 9), "job": [1, 2, 3]},
    missing=["pay"],
    depth=1,
)
FAMILIES = {
    "marginals": MarginalQueries(2),
    "one marginal": MarginalQueries(columns=("sex", "job", "age")),
    "ranges": RangeQueries(2, depths=(1, 2)),
    "prefixes": PrefixQueries(n_boxes=6),
    "prefix without category": PrefixQueries(k_cat=0, n_boxes=3),
    "half-spaces": HalfspaceQueries(n_halfspaces=6),
    "half-space without category": HalfspaceQueries(k_cat=0, n_halfspaces=3),
    "predicates": PredicateQueries(
        [{"sex": ["F"], "age": (0, 4)}, {"job": [1, 3]}, {"pay": (2, 5)}]
    ),
}
FAMILY = pytest.mark.parametrize("name", FAMILIES)


def fitted(name, schema=SCHEMA):
    return copy_of(FAMILIES[name]).fit_schema(schema)


def copy_of(family):
    return pickle.loads(pickle.dumps(family))


def domain(schema):
    return np.array(list(itertools.product(*map(range, schema.n_codes))))


def one_hot(family, rows):
    return np.stack([family.counts(row[None]) for row in rows])


@FAMILY
def test_no_pair_of_rows_exceeds_the_sensitivity(name):
    family = fitted(name)
    phi = one_hot(family, domain(SCHEMA))
    distance = ((phi[:, None] - phi[None]) ** 2).sum(axis=2)
    assert distance.max() <= family.sensitivity_sq("replace-one")
    assert (phi**2).sum(axis=1).max() <= family.sensitivity_sq("add-remove")
    if name in ("marginals", "one marginal", "ranges"):  # partitions: no smaller bound
        assert distance.max() == family.sensitivity_sq("replace-one")
        assert (phi**2).sum(axis=1).min() == family.sensitivity_sq("add-remove")


columns = st.one_of(
    st.integers(1, 3).map(lambda k: list(range(k))),
    st.tuples(st.integers(-3, 2), st.integers(3, 9)),
)


@settings(max_examples=150)
@given(
    st.lists(columns, min_size=1, max_size=3),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_sensitivities_of_any_schema(kinds, depth, missing, seed):
    schema = TableSchema(
        {f"c{j}": kind for j, kind in enumerate(kinds)}, missing=missing, depth=depth
    )
    rows = domain(schema)
    families = [MarginalQueries(2), RangeQueries(1, depths=(1, 2)), MarginalQueries(3)]
    if any(isinstance(kind, tuple) for kind in kinds):
        families += [
            PrefixQueries(n_boxes=3, random_state=seed),
            HalfspaceQueries(n_halfspaces=3, random_state=seed),
        ]
    else:
        families = [families[0], families[2]]
    for family in families:
        phi = one_hot(family.fit_schema(schema), rows)
        distance = ((phi[:, None] - phi[None]) ** 2).sum(axis=2)
        assert distance.max() <= family.sensitivity_sq("replace-one")
        assert (phi**2).sum(axis=1).max() <= family.sensitivity_sq("add-remove")


@FAMILY
def test_counts_add_up_over_rows_and_follow_the_cells(name):
    family, rows = fitted(name), domain(SCHEMA)[::3]
    counts = family.counts(rows)
    assert counts.dtype == np.int64 and len(counts) == family.n_queries
    np.testing.assert_array_equal(counts, one_hot(family, rows).sum(axis=0))
    cells = family.cells(rows).reshape(len(rows), -1)
    for k, part in enumerate(family.parts()):
        found = np.bincount(cells[:, k], minlength=part.n_queries + 1)[:-1]
        np.testing.assert_array_equal(found, part.counts(rows))


@FAMILY
@given(st.integers(0, 3), st.data())
def test_delta_is_the_change_of_the_counts(name, column, data):
    family, rows = fitted(name), domain(SCHEMA)[::5]
    where = data.draw(
        st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5, unique=True)
    )
    new = data.draw(
        st.lists(
            st.integers(0, SCHEMA.n_codes[column] - 1),
            min_size=len(where),
            max_size=len(where),
        )
    )
    moved = rows.copy()
    moved[where, column] = new
    np.testing.assert_array_equal(
        family.delta(rows, where, column, new),
        family.counts(moved) - family.counts(rows),
    )


@FAMILY
def test_text_pickle_file_and_equality(name, tmp_path):
    family = fitted(name)
    again = type(family).from_json(family.to_json())
    assert copy_of(family) == family and dataclasses.replace(family) == family
    if name != "predicates":  # JSON has no tuples of bounds
        assert again == family and repr(again) == repr(family)
    rows = domain(SCHEMA)
    model = PrivateGSDSynthesizer(queries=[family])
    model.save(tmp_path / "m.npz")
    (loaded,) = skdiff.load(tmp_path / "m.npz").queries
    for other in (loaded, copy_of(family), *([again] if name != "predicates" else [])):
        np.testing.assert_array_equal(
            other.fit_schema(SCHEMA).counts(rows), family.counts(rows)
        )


def test_boxes_and_half_spaces_by_hand():
    schema = TableSchema({"a": (0, 32), "b": (0, 32), "c": ["x", "y"]})
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, 32, (200, 2)), rng.integers(0, 2, 200)])
    box = PrefixQueries(columns=("b", "a", "c"), thresholds=(10, 20))
    inside = (codes[:, 1] < 10) & (codes[:, 0] < 20)
    expected = [np.sum(inside & (codes[:, 2] == k)) for k in (0, 1)]
    assert box.fit_schema(schema).counts(codes).tolist() == expected
    half = HalfspaceQueries(
        columns=("a", "b", "c"), direction=(1.0, -0.5), offset=0.2001
    )
    at = (codes[:, :2] + 0.5) / 32 @ [1.0, -0.5] <= 0.2001
    expected = [np.sum(at & (codes[:, 2] == k)) for k in (0, 1)]
    assert half.fit_schema(schema).counts(codes).tolist() == expected


def test_missing_numbers_are_in_no_box_and_in_no_half_space():
    schema = TableSchema({"a": (0, 8), "b": (0, 8)}, missing=True, depth=2)
    row = np.array([[4, 0]])  # a is missing
    boxes = PrefixQueries(n_boxes=5).fit_schema(schema)
    spaces = HalfspaceQueries(n_halfspaces=5).fit_schema(schema)
    assert not boxes.counts(row).any() and not spaces.counts(row).any()


def test_nested_ranges_add_up():
    schema = TableSchema({"a": (0, 11)}, integer=["a"], depth=5)  # twelve bins
    codes = np.arange(12)[:, None]
    parts = RangeQueries(1, depths=(2, 3, 4)).fit_schema(schema).parts()
    fine, middle, coarse = (part.counts(codes) for part in parts)
    assert fine.sum() == middle.sum() == coarse.sum() == 12  # the tail is kept
    np.testing.assert_array_equal(fine.reshape(-1, 2).sum(axis=1), middle)
    np.testing.assert_array_equal(middle.reshape(-1, 2).sum(axis=1), coarse)


def test_a_function_is_called_on_the_domain_only():
    seen = []

    def predicate(values):
        seen.append(len(values["age"]))
        return values["age"] > 4

    family = PredicateQueries([(predicate, ["age"])]).fit_schema(SCHEMA)
    assert family.counts(domain(SCHEMA)).tolist() == [len(domain(SCHEMA)) // 2]
    assert set(seen) == {SCHEMA.n_codes[0]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarginalQueries(0), "k must be"),
        (lambda: MarginalQueries(2.0), "k must be"),
        (lambda: RangeQueries(1, depths=(0,)), "each depth"),
        (lambda: PrefixQueries(columns=("a",)), "come together"),
        (lambda: HalfspaceQueries(offset=1.0), "come together"),
        (lambda: RangeQueries(1, depths=()), "at least one depth"),
        (lambda: PrefixQueries(n_boxes=0), "n_boxes must be"),
        (lambda: PrefixQueries(k_real=0), "k_real must be"),
        (lambda: PrefixQueries(k_cat=-1), "k_cat must be"),
        (lambda: PrefixQueries(columns=("a",), thresholds=(1, 2)), "from 1 to 1"),
        (lambda: HalfspaceQueries(n_halfspaces=0), "n_halfspaces must be"),
        (lambda: HalfspaceQueries(k_cat=-1), "k_cat must be"),
        (
            lambda: HalfspaceQueries(columns=("a",), direction=(), offset=0.0),
            "direction must hold",
        ),
        (
            lambda: HalfspaceQueries(columns=("a",), direction=(np.nan,), offset=0.0),
            "direction must be finite",
        ),
        (
            lambda: HalfspaceQueries(columns=("a",), direction=(1,), offset=np.inf),
            "offset must be finite",
        ),
        (lambda: PredicateQueries([]), "at least one"),
        (lambda: MarginalQueries(columns=("zip",)).fit_schema(SCHEMA), "no column"),
        (lambda: PredicateQueries([{"sex": ["X"]}]).fit_schema(SCHEMA), "has not"),
        (
            lambda: PrefixQueries(columns=("sex",), thresholds=(1,)).fit_schema(SCHEMA),
            "no order",
        ),
        (
            lambda: PredicateQueries([(lambda v: 1, ["sex"])]).fit_schema(SCHEMA),
            "one bool",
        ),
        (
            lambda: HalfspaceQueries().fit_schema(TableSchema({"a": [1]})),
            "needs a numeric column",
        ),
        (
            lambda: RangeQueries().fit_schema(TableSchema({"a": [1]})),
            "needs a numeric column",
        ),
        (lambda: MarginalQueries(2).n_queries, "fit_schema first"),
        (lambda: fitted("marginals").sensitivity_sq("both"), "neighbors must be"),
        (lambda: MarginalQueries.from_json('{"kind": "os"}'), "does not describe"),
    ],
)
def test_bad_queries(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_predicates():
    with pytest.raises(TypeError, match="list of predicates"):
        PredicateQueries({"a": [1]})
    with pytest.raises(TypeError, match="dict of columns"):
        PredicateQueries([("a", "b")])
    family = PredicateQueries([(len, ["a"])])
    with pytest.raises(TypeError, match="functions"):
        family.to_json()
