"""The search: exact counts, exact gains, and what can be reproduced without noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiff._base.progress import Progress
from skdiff.synthetic import (
    HalfspaceQueries,
    MarginalQueries,
    PredicateQueries,
    PrefixQueries,
    PrivateGSDSynthesizer,
    TableSchema,
)
from skdiff.synthetic._cells import counts_of
from skdiff.synthetic._gsd import _state
from skdiff.synthetic._gsd._measure import Measured
from skdiff.synthetic._gsd._paper import paper_search
from skdiff.synthetic._gsd._search import Limits, search
from skdiff.synthetic._gsd._shrink import shrunk
from skdiff.synthetic._gsd._state import State, Target
from skdiff.synthetic._queries._marginals import Ways

SCHEMA = TableSchema(
    {"a": (0, 1), "b": (0, 1), "c": ["x", "y", "z"], "d": [0, 1]},
    depth=3, missing=["b"],
)  # fmt: skip


def state(n_rows=60, seed=0, shares=None):
    rng = np.random.default_rng(seed)
    families = [
        Ways(2),
        Ways(3, levels=1),
        PrefixQueries(n_boxes=4),
        HalfspaceQueries(n_halfspaces=4),
        PredicateQueries([{"a": (0, 0.5), "c": ["x"]}]),
    ]
    parts = [c for f in families for _, c in f.fit_schema(SCHEMA)._parts]
    draw = lambda: np.column_stack(  # noqa: E731
        [rng.integers(0, k, n_rows) for k in SCHEMA.n_codes]
    )
    truth = draw()
    targets = [
        Target(c, counts_of(c, truth) / n_rows, rng.uniform(0.5, 2)) for c in parts
    ]
    return State(draw(), targets), rng


def fresh_loss(codes, targets):
    return State(codes, targets).loss()


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 3))
def test_predicted_gains_are_the_recomputed_changes(seed, column):
    found, rng = state(20, seed)
    rows = rng.permutation(20)[:3]
    gains = found.gains(column, rows)
    before = found.loss()
    for k, row in enumerate(rows):
        for code in range(SCHEMA.n_codes[column]):
            codes = found.codes.copy()
            codes[row, column] = code
            change = fresh_loss(codes, found.targets) - before
            assert gains[k, code] == pytest.approx(change, abs=1e-12)
            alone = found.edit_gains(column, rows[[k]], np.array([code]))[0]
            assert alone == pytest.approx(change, abs=1e-12)


def test_targets_too_large_for_a_look_up_have_the_same_gains(monkeypatch):
    found, _ = state(30, 1)
    rows = np.arange(30)
    expected = [found.gains(j, rows) for j in range(4)]
    monkeypatch.setattr(_state, "LARGEST_GRID", 4)
    again = State(found.codes, found.targets)
    for j in range(4):
        np.testing.assert_allclose(again.gains(j, rows), expected[j], atol=1e-14)


def test_counts_stay_exact_over_many_edits():
    found, rng = state(80, 2)
    for _ in range(600):
        column = rng.integers(4)
        rows = rng.permutation(80)[: rng.integers(1, 40)]
        new = rng.integers(0, SCHEMA.n_codes[column], len(rows))
        before = found.loss()
        change = found.try_edit(int(column), rows, new, most=np.inf)
        assert found.loss() - before == pytest.approx(change, abs=1e-11)
        if rng.uniform() < 0.3:
            row = rng.integers(0, SCHEMA.n_codes)
            at = rng.integers(80, size=1)
            expected = found.replaced(at, row[None])[0]
            before = found.loss()
            change = found.try_rows(at, row[None], most=np.inf)
            assert change == pytest.approx(expected, abs=1e-11)
            assert found.loss() - before == pytest.approx(expected, abs=1e-11)
    again = State(found.codes, found.targets)
    for w in range(len(found.targets)):
        np.testing.assert_array_equal(again.counts[w], found.counts[w])
        np.testing.assert_array_equal(again.sums[w], found.sums[w])
        np.testing.assert_allclose(again.slopes[w], found.slopes[w], rtol=1e-12)


def test_an_edit_that_does_not_help_is_not_made():
    found, _ = state(30, 3)
    before, codes = found.loss(), found.codes.copy()
    gains = found.gains(2, np.arange(30))
    row, code = np.unravel_index(np.argmax(gains), gains.shape)
    assert found.try_edit(2, np.array([row]), np.array([code])) is None
    assert found.loss() == before
    np.testing.assert_array_equal(found.codes, codes)


@pytest.mark.parametrize("run", [search, paper_search])
def test_the_loss_falls_and_is_what_the_counts_give(run):
    found, _ = state(100, 4)
    before = found.loss()
    limits = Limits(1e-3, 40_000, None, np.arange(4))
    how = run(found, limits, np.random.RandomState(0), Progress())
    assert how.loss < 0.6 * before
    assert how.loss == pytest.approx(fresh_loss(found.codes, found.targets), rel=1e-9)
    assert all(np.diff(how.history) <= 1e-12)


def test_fixed_columns_and_constraints_are_kept():
    found, _ = state(100, 5)
    codes = found.codes.copy()
    allowed = lambda rows: (rows[:, 2] != 1) | (codes[0, 0] >= 0)  # noqa: E731
    limits = Limits(1e-3, 20_000, 30, np.array([1, 3]), allowed)
    search(found, limits, np.random.RandomState(0), Progress())
    np.testing.assert_array_equal(found.codes[:, [0, 2]], codes[:, [0, 2]])


def table(n=400, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return np.column_stack(
        [z + rng.normal(size=n) > 0, z > 0.5, z + rng.normal(size=n) > 1]
    ).astype(float)


BINARY = TableSchema({j: [0, 1] for j in range(3)})


@pytest.mark.parametrize("queries", ["1-way", "3-way"])
def test_without_noise_small_tables_are_reproduced_exactly(queries):
    X = table()
    model = PrivateGSDSynthesizer(
        BINARY, None, queries=queries, n_synthetic=len(X), random_state=0, tol=0
    ).fit(X)
    assert model.loss_ == 0
    assert model.error_report(X).max_error == 0


def test_rows_columns_and_labels_may_come_in_any_order():
    X = table()

    def answers(X, schema=BINARY):
        model = PrivateGSDSynthesizer(schema, None, max_evals=0, random_state=0)
        return model.fit(X).noisy_answers_

    first = answers(X)
    for a, b in zip(first, answers(X[::-1]), strict=True):
        np.testing.assert_array_equal(a, b)
    relabelled = answers(
        np.where(X == 1, 5.0, 9.0), TableSchema({j: [9, 5] for j in range(3)})
    )
    for a, b in zip(first, relabelled, strict=True):
        np.testing.assert_array_equal(a, b)
    turned = answers(X[:, ::-1])
    assert sorted(np.sort(a).tolist() for a in first) == sorted(
        np.sort(a).tolist() for a in turned
    )


def test_both_searches_on_one_problem():
    X = table(300, 1)
    losses = {}
    for kind in ("genetic", "paper"):
        model = PrivateGSDSynthesizer(
            BINARY, None, search=kind, n_synthetic=100, random_state=0
        ).fit(X)
        losses[kind] = model.loss_
    assert losses["genetic"] <= losses["paper"] + 1e-4


# --- shrinking -----------------------------------------------------------------------


def noisy_marginal(dependent, sigma, seed=0):
    rng = np.random.default_rng(seed)
    schema = TableSchema({"a": list(range(12)), "b": list(range(12))})
    family = MarginalQueries(columns=("a", "b")).fit_schema(schema)
    ((_, cells),) = family._parts
    p = np.full((12, 12), 1 / 144)
    if dependent:
        p = p * 0.2 + 0.8 * np.eye(12) / 12
    noisy = p.ravel() + rng.normal(scale=sigma, size=144) / 1000
    one = [
        (f, c)
        for f, c in MarginalQueries(1).fit_schema(schema)._parts
    ]  # fmt: skip
    measured = [Measured(family, cells, noisy, sigma)]
    measured += [Measured(f, c, np.full(12, 1 / 12), sigma) for f, c in one]
    return p.ravel(), measured


@pytest.mark.parametrize("sigma", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("dependent", [False, True])
def test_shrinking_removes_noise_and_keeps_dependence(sigma, dependent):
    before = after = 0.0
    for seed in range(5):
        truth, measured = noisy_marginal(dependent, sigma, seed)
        found = shrunk(measured, (12, 12), 1000)
        before += ((measured[0].shares - truth) ** 2).sum()
        after += ((found[0].shares - truth) ** 2).sum()
        moved = np.abs(found[0].shares - measured[0].shares).max()
        assert moved <= 1.5 * sigma / 1000 + 1e-12
        assert found[1] is measured[1]
    assert after < (0.5 if sigma == 50 and not dependent else 1.02) * before


def test_without_noise_nothing_is_shrunk():
    _, measured = noisy_marginal(True, 0.0)
    assert shrunk(measured, (12, 12), 1000)[0] is measured[0]


def test_of_a_dependence_the_factor_of_james_and_stein_is_kept():
    schema = TableSchema({"a": [0, 1], "b": [0, 1]})
    alone = [np.array([0.3, 0.7]), np.array([0.6, 0.4])]
    measured = [
        Measured(*part, share, 1e-6)
        for part, share in zip(
            MarginalQueries(1).fit_schema(schema)._parts, alone, strict=True
        )
    ]
    product, stands_out = np.outer(*alone).ravel(), 0.02 * np.array([1, -1, -1, 1])
    (pair,) = MarginalQueries(2).fit_schema(schema)._parts
    measured.append(Measured(*pair, product + stands_out, 10.0))
    # noise of .01 in each of four cells, of which half as much as stands out
    found = shrunk(measured, (2, 2), 1000)[-1].shares
    np.testing.assert_allclose(found, product + 0.75 * stands_out, atol=1e-8)
