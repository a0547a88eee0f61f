"""Marginals of any subset: mixtures, networks, densities, imputation, energies."""

import itertools
import os
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from skdiff import load
from skdiff.density import (
    InteractionScreening,
    LatentClassModel,
    MarginalImputer,
    MarginalizationModel,
    NeuralInteractionScreening,
)
from skdiff.density._joint._chain import chain_log_prob, conditional_chain
from skdiff.density._joint._holdout import hold_out
from skdiff.density._joint._spans import draw_in_bin, log_density_in_bin, make_spans
from skdiff.density._latent_class._em import Mixture, count_rows, step
from skdiff.density._marginalization._energy import EnergyTarget
from skdiff.density._marginalization._inference import ChainOnly, MarginalNetworks
from skdiff.density._marginalization._module import initial
from tests.density._models import all_states, ising, probabilities

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NET = {"hidden_layer_sizes": (32, 32), "max_iter": 30, "marginal_max_iter": 30}


def mixture(sizes, n_classes=3, seed=0):
    """A random mixture as tables."""
    rng = np.random.default_rng(seed)
    theta = np.concatenate([rng.dirichlet(np.ones(k), n_classes).T for k in sizes])
    return Mixture(
        np.log(rng.dirichlet(np.ones(n_classes))), np.log(theta), list(sizes)
    )


def rows_of(joint, n, seed=0):
    start = np.full((n, len(joint.sizes)), -1)
    return joint.complete(start, np.random.RandomState(seed))


def mam(**more):
    return MarginalizationModel(**{**NET, "random_state": 0, **more})


@pytest.fixture(scope="module")
def fitted():
    """Both models on rows of one mixture with columns of 2, 3 and 4 categories."""
    truth = mixture([2, 3, 4, 2])
    X = rows_of(truth, 2000)
    return truth, X, {m: m.fit(X) for m in (LatentClassModel(random_state=0), mam())}


# --- the mixture ---------------------------------------------------------------------


def test_marginals_of_a_mixture_are_the_sums_of_its_joint():
    model = mixture([2, 3, 2])
    states = all_states([2, 3, 2])
    joint = np.exp(model.log_marginal(states))
    assert joint.sum() == pytest.approx(1, abs=1e-12)
    for known in itertools.product([0, 1], repeat=3):
        codes = np.where(known, states, -1)
        for code, log in zip(codes, model.log_marginal(codes), strict=True):
            same = ((states == code) | (code == -1)).all(axis=1)
            assert np.exp(log) == pytest.approx(joint[same].sum(), abs=1e-12)
    for u in range(3):
        p = np.exp(model.log_conditional(states, u))
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)


def test_an_iteration_is_the_textbook_one_and_the_likelihood_never_falls():
    model, rng = mixture([2, 3, 2], seed=3), np.random.default_rng(0)
    codes = np.column_stack([rng.integers(-1, k, 40) for k in (2, 3, 2)])
    weight = rng.uniform(0.5, 2, 40)
    marginals = [np.full(k, 1 / k) for k in (2, 3, 2)]
    data = count_rows(codes, weight, marginals, 0.7)
    found, before = step(model, data)
    R = model.responsibilities(codes)
    np.testing.assert_allclose(np.exp(found.log_pi), weight @ R / weight.sum())
    for u, span in enumerate((slice(0, 2), slice(2, 5), slice(5, 7))):
        table = 0.7 * marginals[u][:, None] + np.stack(
            [(weight * (codes[:, u] == k)) @ R for k in range(len(marginals[u]))]
        )
        np.testing.assert_allclose(np.exp(found.log_theta[span]), table / table.sum(0))
    for _ in range(30):
        found, after = step(found, data)
        assert after >= before - 1e-12
        before = after


@st.composite
def weighted_tables(draw):
    """Rows with gaps, whose first know all categories, and weights with zeros."""
    sizes = draw(st.lists(st.integers(2, 4), min_size=2, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    first = np.arange(4)[:, None] % sizes
    more = np.column_stack([rng.integers(-1, k, 20) for k in sizes])
    weight = rng.integers(0, 3, 24) * rng.choice([1.0, 0.5], 24)
    weight[:4] = 1.0
    X = np.concatenate([first, more]).astype(float)
    X[X < 0] = np.nan
    return sizes, X, weight, rng


@given(weighted_tables(), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_fitted_classes_have_the_invariants_of_a_distribution(table, k):
    sizes, X, weight, rng = table
    p, states = len(sizes), all_states(sizes)
    model = LatentClassModel(k, random_state=0, max_iter=30)
    model.fit(X, sample_weight=weight)
    log = model.score_samples(states)
    joint = np.exp(log).reshape(sizes)
    assert joint.sum() == pytest.approx(1, abs=1e-9)
    # a marginal, a conditional and a query are sums over the rest
    kept = sorted(rng.permutation(p)[: rng.integers(1, p)].tolist())
    rest = tuple(j for j in range(p) if j not in kept)
    table = joint.sum(axis=rest, keepdims=True)
    wide = np.broadcast_to(table, sizes).ravel()
    np.testing.assert_allclose(np.exp(model.log_marginal(states, kept)), wide)
    gaps = states.astype(float)
    gaps[:, rest] = np.nan
    np.testing.assert_allclose(np.exp(model.score_samples(gaps)), wide)
    given_kept = model.conditional_log_prob(states, list(rest))
    np.testing.assert_allclose(np.exp(given_kept), joint.ravel() / wide)
    u = rest[0]
    others = tuple(j for j in rest if j != u)
    found = np.moveaxis(joint.sum(axis=others, keepdims=True) / table, u, -1)
    shape = [sizes[j] for j in range(p) if j != u] + [sizes[u]]
    wanted = np.broadcast_to(found, shape).reshape(-1, sizes[u])
    proba = model.predict_proba(gaps, u)[states[:, u] == 0]
    np.testing.assert_allclose(proba, wanted, atol=1e-9)
    # chains of a distribution are the same in every order, and so is their mean
    chains = model.score_samples(states, method="chain", n_orders=3)
    np.testing.assert_allclose(chains, log, atol=1e-9)
    # all columns together are the whole row
    np.testing.assert_allclose(model.log_marginal(states, list(range(p))), log)
    # rows that are drawn keep what is given
    fixed = {j: states[-1, j] for j in kept}
    drawn = model.sample(20, given=fixed, random_state=0)
    assert (drawn[:, kept] == states[-1, kept]).all() and np.isin(drawn, range(4)).all()
    # the order of columns only moves them
    order = rng.permutation(p)
    np.testing.assert_allclose(model.query({}, order), joint.transpose(order))
    # a row of weight zero is not there
    some = weight > 0
    again = LatentClassModel(k, random_state=0, max_iter=30)
    again.fit(X[some], sample_weight=weight[some])
    np.testing.assert_array_equal(again.score_samples(states), log)


def any_networks(sizes, hidden, smoothing, rng):
    """Networks whose weights nobody has trained, far from constant."""
    weights = [initial(sizes, hidden, n, rng) for n in (1, sum(sizes))]
    for w in weights:
        w["head"] *= 30
    weights[1]["head_bias"] = rng.normal(size=sum(sizes))
    shares = [rng.dirichlet(np.ones(k)) for k in sizes]
    return MarginalNetworks(*weights, list(sizes), shares, smoothing)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from([(5,), (6, 6, 3)]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_networks_of_any_weights_have_the_invariants_of_chains(
    sizes, hidden, smoothing, seed
):
    rng = np.random.RandomState(seed)
    networks = any_networks(sizes, hidden, smoothing, rng)
    p, states = len(sizes), all_states(sizes)
    # chains are distributions, whatever the order and whatever is given
    order = rng.permutation(p)
    orders = np.tile(order, (len(states), 1))
    log = chain_log_prob(networks, states, orders)
    assert (log <= 0).all() and np.exp(log).sum() == pytest.approx(1)
    first, last = order[: p // 2], order[p // 2 :]
    known = states.copy()
    known[:, last] = -1
    given_known = conditional_chain(networks, states, last)
    ahead = chain_log_prob(networks, known, orders)
    np.testing.assert_allclose(ahead + given_known, log, atol=1e-9)
    same = (states[:, first] == states[0, first]).all(axis=1)
    assert np.exp(given_known[same]).sum() == pytest.approx(1)
    # one column given the others: a distribution that does not see its own cell
    u = int(order[0])
    table = networks.log_conditional(states, u)
    assert np.exp(table).sum(axis=1) == pytest.approx(np.ones(len(states)))
    hidden_cell = states.copy()
    hidden_cell[:, u] = -1
    np.testing.assert_array_equal(networks.log_conditional(hidden_cell, u), table)
    # marginals: nothing is certain, and a row does not depend on its neighbours
    assert networks.log_marginal(np.full((2, p), -1)).tolist() == [0, 0]
    alone = [networks.log_marginal(row[None])[0] for row in known]
    np.testing.assert_allclose(networks.log_marginal(known), alone, atol=1e-12)
    # without f a marginal of leading columns is the sum over the others
    total = np.exp(ChainOnly(networks).log_marginal(states)).reshape(sizes)
    led = states.copy()
    led[:, 1:] = -1
    wide = np.broadcast_to(
        total.sum(axis=tuple(range(1, p)), keepdims=True), sizes
    ).ravel()
    np.testing.assert_allclose(np.exp(ChainOnly(networks).log_marginal(led)), wide)
    # draws keep what is given
    drawn = networks.complete(known, rng)
    assert (drawn >= 0).all() and (drawn < sizes).all()
    np.testing.assert_array_equal(drawn[:, first], known[:, first])


@given(weighted_tables())
@settings(max_examples=15, deadline=None)
def test_an_iteration_does_not_know_the_order_of_columns(table):
    sizes, X, weight, rng = table
    order = rng.permutation(len(sizes))
    moved = [sizes[j] for j in order]
    before = mixture(sizes)
    theta = np.split(before.log_theta, before.starts[1:-1])
    other = Mixture(before.log_pi, np.concatenate([theta[j] for j in order]), moved)
    codes, some = np.where(np.isnan(X), -1, X).astype(int), weight > 0
    even = [np.full(n, 1 / n) for n in sizes]
    one, log = step(before, count_rows(codes[some], weight[some], even, 0.5))
    even = [even[j] for j in order]
    data = count_rows(codes[some][:, order], weight[some], even, 0.5)
    two, same = step(other, data)
    assert same == pytest.approx(log)
    states = all_states(sizes)
    np.testing.assert_allclose(
        two.log_marginal(states[:, order]), one.log_marginal(states)
    )


def test_the_mixture_recovers_its_classes_and_their_number():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 4000)
    X = group[:, None] ^ (rng.uniform(size=(4000, 6)) < [0.1, 0.2, 0.1, 0.3, 0.2, 0.1])
    model = LatentClassModel(random_state=0).fit(X)
    np.testing.assert_allclose(model.weights_, 0.5, atol=0.05)
    assert model.n_components_ == 2, model.validation_scores_
    first = model.class_probabilities_[0][:, 1]
    np.testing.assert_allclose(np.sort(first), [0.1, 0.9], atol=0.05)
    said = model.class_proba(X).argmax(axis=1)
    assert max(np.mean(said == group), np.mean(said != group)) > 0.95


def test_one_class_is_independence_and_one_column_its_frequencies():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 3, 300), rng.integers(0, 2, 300)])
    model = LatentClassModel(1, smoothing=0.0).fit(X)
    expected = sum(np.log(m)[X[:, j]] for j, m in enumerate(model.marginals_))
    np.testing.assert_allclose(model.score_samples(X), expected, atol=1e-10)
    one = LatentClassModel(random_state=0).fit(X[:, :1])
    np.testing.assert_allclose(one.predict_proba(X[:1, :1], 0)[0], one.marginals_[0])


@pytest.mark.parametrize("kind", ["classes", "networks"])
def test_weights_are_repeated_rows_and_the_order_of_rows_does_not_matter(kind):
    rng = np.random.default_rng(1)
    X = rng.integers(0, 3, (60, 3)).astype(float)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    weight = rng.integers(0, 3, 60)
    small = mam(hidden_layer_sizes=(4,), max_iter=2, marginal_max_iter=2)
    model = LatentClassModel(random_state=0) if kind == "classes" else small
    one = model.fit(X, sample_weight=weight).score_samples(X)
    two = model.fit(np.repeat(X, weight, axis=0)[::-1]).score_samples(X)
    np.testing.assert_allclose(one, two, atol=1e-9)


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=30), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_held_out_weight_is_the_wanted_fraction_and_never_more_than_there_is(w, seed):
    weight = np.array(w)
    held = hold_out(weight, 0.3, np.random.RandomState(seed))
    assert ((held >= 0) & (held <= weight)).all()
    assert held.sum() <= round(0.3 * weight.sum()) + 1e-9


# --- both models ---------------------------------------------------------------------


def test_the_empty_set_has_probability_one(fitted):
    _, _, models = fitted
    for model in models:
        assert model.score_samples(np.full((2, 4), np.nan)).tolist() == [0.0, 0.0]


def test_chains_sum_to_one_in_any_order_and_marginals_nearly(fitted):
    _, _, models = fitted
    states = all_states([2, 3, 4, 2])
    for model in models:
        for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
            log = model.score_samples(states, method="chain", order=order)
            assert logsumexp(log) == pytest.approx(0, abs=1e-9)
        assert 0.95 <= np.exp(model.score_samples(states)).sum() <= 1.05
    network = next(m for m in models if isinstance(m, MarginalizationModel))
    total = np.exp(network.score_samples(states)).sum()
    assert network.total_probability() == pytest.approx(total)
    assert network.consistency_error(states) < 0.3
    assert network.consistency_error_ < 0.2


def test_scores_are_near_the_truth(fitted):
    truth, _, models = fitted
    T = rows_of(truth, 2000, seed=1)
    for model in models:
        for method in ("marginal", "chain"):
            gap = truth.log_marginal(T) - model.score_samples(T, method=method)
            assert gap.mean() < 0.05


def test_conditionals_are_ratios_of_marginals(fitted):
    _, X, models = fitted
    for model in models:
        T = X[:50]
        everything = model.log_marginal(T, [3, 0, 2, 1])
        np.testing.assert_array_equal(everything, model.score_samples(T))
        log = model.conditional_log_prob(T, [0, 2])
        rest = model.log_marginal(T, [1, 3])
        np.testing.assert_allclose(log, model.score_samples(T) - rest, atol=1e-9)
        chain = model.conditional_log_prob(T, [0, 2], method="chain")
        assert np.abs(chain - log).mean() < 0.1
        p = model.predict_proba(T, 2)
        np.testing.assert_allclose(p.sum(axis=1), 1)
        one = model.conditional_log_prob(T, 2, method="chain")
        np.testing.assert_allclose(one, np.log(p[np.arange(50), T[:, 2]]), atol=1e-9)
        assert (model.conditional_log_prob(T, [0, 2], monotone=True) <= 0).all()
        hidden = T.copy()
        hidden[:, 2] = 0
        np.testing.assert_array_equal(model.predict_proba(hidden, 2), p)


def test_monotone_marginals_are_no_larger_than_those_of_fewer_cells(fitted):
    _, X, models = fitted
    for model in models:
        T = X[:200]
        low = model.score_samples(T, monotone=True)
        assert (low <= model.score_samples(T) + 1e-12).all()
        for j in range(4):
            fewer = model.log_marginal(T, [k for k in range(4) if k != j])
            assert (low <= fewer + 1e-12).all()


def test_query_is_the_table_of_conditional_probabilities(fitted):
    _, _, models = fitted
    for model in models:
        table = model.query({0: 1}, [2, 1])
        assert table.shape == (4, 3) and table.sum() == pytest.approx(1)
        row = np.array([[1, np.nan, np.nan, np.nan]])
        p = model.predict_proba(row, 2)[0]
        np.testing.assert_allclose(table.sum(axis=1), p, atol=0.05)


def test_samples_have_the_model_as_distribution_and_keep_what_is_given(fitted):
    _, _, models = fitted
    states = all_states([2, 3, 4, 2])
    for model in models:
        p = probabilities(model.score_samples(states, method="chain"))
        for order in (None, [3, 2, 1, 0]):
            rows = model.sample(8000, order=order, random_state=0)
            place = np.ravel_multi_index(rows.T, (2, 3, 4, 2))
            found = np.bincount(place, minlength=len(p)) / 8000
            assert np.abs(found - p).sum() / 2 < 0.06
        rows = model.sample(4000, given={2: 3}, random_state=0)
        assert (rows[:, 2] == 3).all()
        shares = np.bincount(rows[:, 1], minlength=3) / 4000
        np.testing.assert_allclose(shares, model.query({2: 3}, [1]), atol=0.06)
        again = model.sample(4000, given={2: 3}, random_state=0)
        np.testing.assert_array_equal(rows, again)


def test_independent_columns_factorise():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, k, 4000) for k in (2, 3, 2)])
    model = mam(max_iter=40, marginal_max_iter=40, corruption=0.0).fit(X)
    T = all_states([2, 3, 2])
    each = sum(model.log_marginal(T, j) for j in range(3))
    # the pairs of the sample are themselves a little dependent
    empirical = np.log(np.bincount(np.ravel_multi_index(X.T, (2, 3, 2))) / 4000)
    alone = sum(np.log(m)[T[:, j]] for j, m in enumerate(model.marginals_))
    slack = np.abs(empirical - alone).max()
    assert np.abs(model.score_samples(T) - each).max() < 0.03 + slack


def test_networks_of_one_column_are_its_frequencies():
    X = np.repeat([0, 1, 2], [50, 30, 20])[:, None]
    model = mam(max_iter=60).fit(X)
    np.testing.assert_allclose(
        model.predict_proba(X[:1], 0)[0], [0.5, 0.3, 0.2], atol=0.02
    )
    log = model.score_samples([[0], [1], [2]])
    np.testing.assert_allclose(np.exp(log), [0.5, 0.3, 0.2], atol=0.02)


def test_corruption_keeps_the_mass_of_improbable_rows_near_one():
    rng = np.random.default_rng(0)
    step_of = rng.dirichlet(np.full(3, 0.3), size=3)
    X = np.zeros((2000, 5), dtype=int)
    X[:, 0] = rng.integers(0, 3, 2000)
    for j in range(1, 5):
        cut = np.cumsum(step_of[X[:, j - 1]], axis=1)
        X[:, j] = (rng.uniform(size=(2000, 1)) > cut[:, :2]).sum(axis=1)
    assert 0.9 <= mam().fit(X).total_probability() <= 1.1


def test_a_constant_column_changes_nothing(fitted):
    _, X, _ = fitted
    wide = np.column_stack([X[:300], np.full(300, 7)])
    model = LatentClassModel(2, random_state=0).fit(wide)
    assert model.log_marginal(wide[:3], 4) == pytest.approx(0, abs=1e-9)


def test_columns_are_named_and_their_order_in_a_call_does_not_matter():
    X = pd.DataFrame({"a": list("xyxyxx") * 20, "b": list("uuvvuv") * 20})
    model = LatentClassModel(2, random_state=0).fit(X)
    np.testing.assert_array_equal(
        model.log_marginal(X, ["b", "a"]), model.log_marginal(X, [0, 1])
    )
    rows = model.sample(5, given={"a": "y"})
    assert list(rows.columns) == ["a", "b"] and (rows["a"] == "y").all()


# --- numbers -------------------------------------------------------------------------


@given(
    st.lists(st.integers(-20, 20), min_size=12, max_size=60),
    st.booleans(),
    st.integers(0, 50),
)
@settings(max_examples=40, deadline=None)
def test_densities_integrate_to_one(values, whole, seed):
    from skdiff.density._coding import learn_coding

    values = np.array(values, dtype=float)
    if not whole:
        values += np.random.default_rng(seed).uniform(size=len(values))
    X, weight = values[:, None], np.ones(len(values))
    coding = learn_coding(X, weight, [False], ["x"], max_categories=2, n_bins=4)
    if coding.limits[0] is None:
        return
    cuts = coding.edges[0]
    codes = np.searchsorted(cuts, values)
    counts = np.bincount(codes, minlength=len(cuts) + 1)
    spans = make_spans(cuts, coding.limits[0], counts)
    assert spans.whole == bool(np.all(values == np.floor(values)))
    mass = counts / counts.sum()
    width = spans.edges[-1] - spans.edges[0] + 1
    low, high = spans.edges[0] - 30 * width, spans.edges[-1] + 30 * width
    if spans.whole:
        x = np.arange(np.floor(low), np.ceil(high) + 1)
        unit = 1.0
    else:
        n = 400_000
        x = low + (np.arange(n) + 0.5) * (high - low) / n
        unit = (high - low) / n
    place = np.searchsorted(cuts, x)
    density = mass[place] * np.exp(log_density_in_bin(spans, x, place))
    atom = mass[0] if spans.edges[1] == spans.edges[0] else 0.0
    # exponential tails of whole numbers are sums, not integrals, of their density
    slack = 0.01 + (spans.below + spans.above if spans.whole or atom else 0.0)
    assert density.sum() * unit + (atom if not spans.whole else 0) == pytest.approx(
        1, abs=slack
    )
    drawn = draw_in_bin(spans, codes, np.random.RandomState(0))
    assert (np.searchsorted(cuts, drawn) == codes).all()
    assert (drawn >= values.min()).all() and (drawn <= values.max()).all()


def test_scores_of_numbers_are_densities_in_their_unit():
    X, _ = load_wine(return_X_y=True)
    X = X[:, :4]
    model = LatentClassModel(2, random_state=0).fit(X)
    metres = LatentClassModel(2, random_state=0).fit(3.7 * X)
    shift = 4 * np.log(3.7)
    np.testing.assert_allclose(
        metres.score_samples(3.7 * X), model.score_samples(X) - shift
    )
    far = X[:1] + 1e4  # beyond anything seen: small, and finite
    assert np.isfinite(model.score_samples(far)).all()
    assert model.score_samples(far) < model.score_samples(X[:1]) - 10
    drawn = model.sample(200, random_state=0)
    assert len(np.unique(drawn[:, 0])) > 150
    assert (drawn.min(0) >= X.min(0)).all() and (drawn.max(0) <= X.max(0)).all()


# --- cells that are missing or unknown -----------------------------------------------


def test_imputation_beats_the_most_frequent_value_and_keeps_frames():
    X = pd.DataFrame(
        load_iris().data > load_iris().data.mean(axis=0), columns=list("abcd")
    )
    X = X.map(lambda v: "high" if v else "low").astype(object)
    holes = np.random.default_rng(0).uniform(size=X.shape) < 0.2
    broken = X.mask(holes)
    frequent = (X.to_numpy() == X.mode().to_numpy())[holes].mean()
    for model in (None, mam()):
        imputer = MarginalImputer(model, random_state=0).fit(broken)
        filled = imputer.transform(broken)
        assert isinstance(filled, pd.DataFrame)
        found = (filled.to_numpy() == X.to_numpy())[holes].mean()
        assert found > frequent + 0.2
        assert (filled.to_numpy() == X.to_numpy())[~holes].all()
    assert list(imputer.get_feature_names_out()) == list("abcd")


def test_means_and_draws_of_numbers():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=800), rng.integers(0, 2, 800)])
    X[:, 0] += 4 * X[:, 1]
    model = LatentClassModel(random_state=0).fit(X)
    gaps = np.array([[np.nan, 0], [np.nan, 1]])
    np.testing.assert_allclose(
        model.impute(gaps, strategy="mean")[:, 0], [0, 4], atol=0.5
    )
    many = model.impute(np.repeat(gaps, 500, axis=0), strategy="sample", random_state=0)
    assert abs(many[:500, 0].mean()) < 0.5 and abs(many[500:, 0].mean() - 4) < 0.5
    assert len(np.unique(many[:, 0])) > 500


def test_unknown_categories_have_probability_zero_or_are_left_out_or_refused():
    X = np.array([["a", "x"], ["b", "y"]] * 30, dtype=object)
    new = np.array([["c", "x"]], dtype=object)
    model = LatentClassModel(2, random_state=0).fit(X)
    with pytest.warns(UserWarning, match="probability zero"):
        assert model.score_samples(new)[0] == -np.inf
    with pytest.warns(UserWarning, match="probability zero"):
        assert np.isfinite(model.log_marginal(new, 1))[0]
    model.set_params(handle_unknown="missing")
    assert model.score_samples(new) == pytest.approx(model.log_marginal(new, 1))
    model.set_params(handle_unknown="error")
    with pytest.raises(ValueError, match="not seen in fit"):
        model.score_samples(new)


def test_rows_without_any_known_cell_are_allowed_in_fit():
    X = np.array([[0, 1], [np.nan, np.nan], [1, 0], [1, np.nan]] * 10)
    for model in (LatentClassModel(2), mam(max_iter=2, marginal_max_iter=2)):
        assert np.isfinite(model.fit(X).score_samples(X)).all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda m, X: m.score_samples(X, method="both"), "method must be"),
        (
            lambda m, X: m.score_samples(X, method="chain", order=[0, 1]),
            "all 4 columns",
        ),
        (lambda m, X: m.score_samples(X, method="chain", n_orders=0), "n_orders"),
        (lambda m, X: m.log_marginal(X, [0, 0]), "columns once"),
        (lambda m, X: m.log_marginal(X, "nobody"), "node must be"),
        (lambda m, X: m.sample(0), "n_samples"),
        (lambda m, X: m.sample(1, given={0: 9}), "one of its categories"),
        (lambda m, X: m.query({0: 1}, [0, 1]), "evidence holds"),
        (lambda m, X: m.impute(X, strategy="median"), "strategy must be"),
    ],
)
def test_bad_queries_are_refused(fitted, call, match):
    _, X, models = fitted
    for model in models:
        with pytest.raises(ValueError, match=match):
            call(model, X[:5])


# --- energies ------------------------------------------------------------------------


def test_a_column_that_is_given_twice_is_refused():
    X = pd.DataFrame(
        np.random.default_rng(0).integers(0, 2, (40, 2)), columns=["a", "b"]
    )
    model = LatentClassModel(1).fit(X)
    with pytest.raises(ValueError, match="Column a is given more than once"):
        model.sample(2, given={0: 0, "a": 1})
    with pytest.raises(ValueError, match="Column b is given more than once"):
        model.query({"b": 0, -1: 0}, "a")


def test_networks_of_a_small_table_end_where_the_loss_stands_still():
    rng = np.random.default_rng(5)
    X = rng.integers(0, 3, (90, 2))
    model = MarginalizationModel((16,), time_limit=600, random_state=0).fit(X)
    assert model.stopped_ == "converged"
    assert (
        len(model.log_likelihood_curve_) < 60 and len(model.marginal_loss_curve_) < 60
    )
    assert model.consistency_error_ < 0.05
    assert model.total_probability() == pytest.approx(1, abs=0.02)
    table = np.bincount(3 * X[:, 0] + X[:, 1], minlength=9) / 90
    found = np.exp(model.score_samples(all_states([3, 3]), method="chain"))
    np.testing.assert_allclose(found, table, atol=0.04)


def test_an_energy_is_learned_without_rows():
    J, h, S, p = ising(5, seed=1, scale=0.5)
    energy = S @ h + np.einsum("ij,ij->i", S @ J, S) / 2

    def fn(X):
        spins = 2 * X - 1
        return spins @ h + np.einsum("ij,ij->i", spins @ J, spins) / 2

    model = MarginalizationModel((32, 32), batch_size=256, random_state=0)
    model.fit_energy(fn, n_steps=500, categories=[2] * 5)
    states = (S + 1) // 2
    for method in ("marginal", "chain"):
        log = model.score_samples(states, method=method)
        assert p @ (np.log(p) - log) < 0.1
    assert model.log_normalizer_ == pytest.approx(logsumexp(energy), abs=0.1)
    assert model.n_iter_ == len(model.log_likelihood_curve_) == 500
    up = np.array([p[states[:, j] == 1].sum() for j in range(5)])
    ours = [np.exp(model.log_marginal(np.ones((1, 5)), j))[0] for j in range(5)]
    np.testing.assert_allclose(ours, up, atol=0.05)


def test_the_normaliser_is_right_when_the_conditionals_contradict_each_other():
    def fn(X):
        return 1.5 * (X[:, 0] == X[:, 1]) - 0.8 * X[:, 2]

    model = MarginalizationModel((8,), batch_size=16, random_state=0)
    model.fit_energy(fn, n_steps=1, categories=[2, 2, 2])
    # conditionals that are those of no joint distribution
    g = model._weights[0]
    g["head"] = 3.0 * np.random.default_rng(0).normal(size=g["head"].shape)
    states = all_states([2, 2, 2])
    orders = ([0, 1, 2], [2, 1, 0])
    logs = [model.score_samples(states, method="chain", order=o) for o in orders]
    assert np.abs(logs[0] - logs[1]).max() > 0.5
    target = EnergyTarget(fn, model.categories_, None)
    for seed in range(3):
        model._finish_energy(target, np.random.RandomState(seed))
        assert model.log_normalizer_ == pytest.approx(logsumexp(fn(states)), abs=0.08)
    with pytest.raises(ValueError, match="n_steps"):
        model.fit_energy(fn, n_steps=0, categories=[2, 2, 2])


def test_energies_of_named_columns_come_as_frames_and_bad_ones_are_refused():
    seen = []

    def fn(X):
        seen.append(X)
        return (X["colour"] == "red").to_numpy() * 1.0

    model = MarginalizationModel((4,), batch_size=16, random_state=0)
    levels = {"colour": ["red", "blue"], "size": [1, 2, 5]}
    model.fit_energy(fn, n_steps=3, categories=levels)
    assert list(seen[0].columns) == ["colour", "size"]
    rows = model.sample(10, given={"colour": "red"})
    assert set(rows["size"]) <= {1, 2, 5} and (rows["colour"] == "red").all()
    for bad, match in (
        (lambda X: np.full(len(X), np.nan), "NaN"),
        (lambda X: np.zeros(3), "one number per row"),
    ):
        with pytest.raises(ValueError, match=match):
            model.fit_energy(bad, n_steps=2, categories=levels)
    with pytest.raises(ValueError, match="distinct"):
        model.fit_energy(fn, categories=[["a", "a"]])


# --- training, files, the family -----------------------------------------------------


def test_a_time_limit_keeps_what_there_is():
    X = np.random.default_rng(0).integers(0, 3, (500, 4))
    model = mam(max_iter=10_000, time_limit=0.5)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model.fit(X)
    assert model.stopped_ == "time" and np.isfinite(model.score_samples(X)).all()
    assert model.marginal_loss_curve_  # the marginals had time of their own


def test_without_marginals_chains_take_their_place():
    X = np.random.default_rng(0).integers(0, 2, (200, 3))
    model = mam(max_iter=3, marginal_max_iter=0).fit(X)
    np.testing.assert_allclose(
        model.score_samples(X), model.score_samples(X, method="chain")
    )
    assert model.total_probability() == pytest.approx(1)


def test_files_hold_both_models(fitted, tmp_path):
    _, X, models = fitted
    for model in models:
        model.save(tmp_path / "model.npz")
        again = load(tmp_path / "model.npz")
        np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))


def test_an_imputer_is_tuned_in_a_pipeline():
    wine = load_wine(as_frame=True)
    X = pd.DataFrame(
        {name: pd.qcut(wine.data[name], 4, labels=list("abcd")) for name in wine.data},
    ).astype(object)
    X = X.mask(np.random.default_rng(0).uniform(size=X.shape) < 0.1)
    encode = OneHotEncoder(handle_unknown="ignore")
    pipeline = Pipeline(
        [
            ("impute", MarginalImputer(LatentClassModel(4), random_state=0)),
            ("encode", ColumnTransformer([("all", encode, list(X.columns))])),
            ("model", LogisticRegression()),
        ]
    )
    grid = {"impute__estimator__n_components": [1, 4]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, wine.target)
    assert search.best_score_ > 0.85


def test_interaction_models_answer_the_same_calls():
    _, _, S, p = ising(4, seed=2, scale=0.5)
    X = ((S + 1) // 2)[np.random.default_rng(0).choice(len(S), 4000, p=p)]
    states = (S + 1) // 2
    models = [
        InteractionScreening(alpha=0.1).fit(X),
        NeuralInteractionScreening((6,), variant="energy", random_state=0).fit(X),
    ]
    for model in models:
        joint = model.log_marginal(states, range(4))
        assert logsumexp(joint) == pytest.approx(0, abs=1e-9)
        chain = model.score_samples(states, method="chain")
        np.testing.assert_allclose(chain, joint, atol=1e-6)
        assert p @ (np.log(p) - joint) < 0.02
        two = model.conditional_log_prob(states, [0, 1])
        rest = model.log_marginal(states, [2, 3])
        np.testing.assert_allclose(two, joint - rest, atol=1e-6)
        rows = model.sample(2000, given={0: 1}, random_state=0)
        assert (rows[:, 0] == 1).all()
        share = (rows[:, 1] == 1).mean()
        assert share == pytest.approx(model.query({0: 1}, [1])[1], abs=0.05)
        one = np.array([[1.0, np.nan, 0, np.nan]])
        assert model.impute(one, strategy="sample").shape == (1, 4)
    conditional = NeuralInteractionScreening((3,), max_iter=3, random_state=0).fit(X)
    assert not hasattr(conditional, "log_marginal")
    assert np.isfinite(conditional.conditional_log_prob(states, [0, 1])).all()


# --- the paper's comparison ----------------------------------------------------------


@pytest.mark.slow
def test_acceptance_on_a_random_pairwise_model():
    rng = np.random.default_rng(0)
    J, h = (
        np.triu(rng.normal(scale=0.7, size=(10, 10)), 1),
        rng.normal(scale=0.3, size=10),
    )
    S = 2 * all_states([2] * 10) - 1
    p = probabilities(S @ h + np.einsum("ij,ij->i", S @ J, S))
    states = (S + 1) // 2
    X = states[rng.choice(len(S), 5000, p=p)]
    T = rng.choice(len(S), 5000, p=p)
    model = MarginalizationModel(random_state=0).fit(X)
    truth = np.log(p[T]).mean()
    assert truth - model.score(states[T]) < 0.15
    assert truth - model.score_samples(states[T], method="chain").mean() < 0.08
    assert 0.95 <= model.total_probability() <= 1.05
    errors = []
    for _ in range(200):
        columns = rng.permutation(10)[: rng.integers(1, 11)].tolist()
        row = states[rng.choice(len(S), p=p)]
        same = (states[:, columns] == row[columns]).all(axis=1)
        errors.append(model.log_marginal(row[None], columns)[0] - np.log(p[same].sum()))
    assert np.sqrt(np.mean(np.square(errors))) < 0.3
    single = [
        np.exp(model.log_marginal(np.ones((1, 10)), j))[0] - p[states[:, j] == 1].sum()
        for j in range(10)
    ]
    assert np.abs(single).max() <= 0.03


def test_a_failed_fit_leaves_the_imputer_unfitted():
    class Refusing(LatentClassModel):
        def fit(self, X, y=None, sample_weight=None):
            raise ValueError("refused")

    X = load_iris().data
    model = MarginalImputer(Refusing())
    with pytest.raises(ValueError, match="refused"):
        model.fit(X)
    with pytest.raises(NotFittedError):
        model.transform(X)
    with pytest.raises(ValueError, match="impute"):  # a pipeline fills no cells
        MarginalImputer(Pipeline([("model", LatentClassModel())])).fit(X)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mushroom", "adult_discrete"])
def test_latent_classes_beat_independence_on_real_tables(name):
    folder = os.environ.get("SKDIFF_DATA")
    if not folder:
        pytest.skip("SKDIFF_DATA names no folder of tables")
    table = pd.read_csv(
        f"{folder}/{name}.csv.gz", keep_default_na=False, na_values=[""]
    )
    train, test = table.iloc[:4000], table.iloc[4000:6000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, one = (
            LatentClassModel(k, random_state=0, handle_unknown="missing").fit(train)
            for k in (16, 1)
        )
        assert model.score(test) > one.score(test) + 1
