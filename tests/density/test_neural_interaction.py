"""Networks by interaction screening: the loss, known models, a chain of order six."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from sklearn.exceptions import ConvergenceWarning

from skdiff import load
from skdiff._nn import _modules
from skdiff.density import (
    InteractionGraphDisplay,
    InteractionScreening,
    NeuralInteractionScreening,
)
from skdiff.density._features import Energy, features, layout
from skdiff.density._neural_interaction._inference import (
    ACTIVATIONS,
    Network,
    conditional_energies,
    expand,
    influence,
    joint_energies,
    shapes_of,
    unpack,
)
from skdiff.density._neural_interaction._module import Screening, initial, make_table
from tests.density._models import (
    all_states,
    chain,
    conditional_variation,
    ising,
    probabilities,
)

both_variants = pytest.mark.parametrize("variant", ["conditional", "energy"])
SIZES = [2, 3, 1, 4]


def objective(variant, activation="silu", alpha=0.0, l1_input=0.0, hidden=(4, 3)):
    where = layout(SIZES)
    shapes = shapes_of(where, hidden, variant)
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, q, 30) for q in SIZES])
    weight = rng.uniform(0.5, 2, 30)
    network = Network(where, tuple(hidden), variant, activation)
    assert network.shapes == shapes
    screening = Screening(network, alpha=alpha, l1_input=l1_input, device="cpu")
    flat = initial(shapes, rng, zero_input=False)
    return screening, flat, codes, weight, where, shapes


@both_variants
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_loss_is_the_screening_objective_of_the_numpy_energies(variant, activation):
    screening, flat, codes, weight, where, shapes = objective(variant, activation)
    table = make_table(codes, weight, where, "cpu")
    layers, F = unpack(flat, shapes), features(codes, where)
    said = conditional_energies if variant == "conditional" else joint_energies
    expected = 0.0
    for u in range(len(SIZES)):
        E = said(F, u, layers, activation, where)
        margin = E[np.arange(30), codes[:, u]] - E.mean(axis=1)
        expected += weight / weight.sum() @ np.exp(-margin)
    got = screening.value(torch.as_tensor(flat), table)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    screening.rows = 7  # in chunks
    assert len(screening.chunks(30)) == 5
    np.testing.assert_allclose(screening.value(torch.as_tensor(flat), table), got)


@both_variants
def test_the_gradient_agrees_with_finite_differences(variant):
    screening, flat, codes, weight, where, _ = objective(
        variant, alpha=0.1, l1_input=0.05
    )
    table = make_table(codes, weight, where, "cpu")

    def value(x):
        x = torch.as_tensor(x)
        return float(screening.data_loss(x, table, slice(None)) + screening.penalty(x))

    whole = torch.as_tensor(flat).requires_grad_(True)
    total = screening.data_loss(whole, table, slice(None)) + screening.penalty(whole)
    total.backward()
    np.testing.assert_allclose(
        whole.grad.numpy(), approx_fprime(flat, value, 1e-7), atol=2e-5
    )


def test_activations_are_those_of_the_engine():
    z = np.linspace(-4, 4, 33)
    assert set(ACTIVATIONS) == set(_modules.ACTIVATIONS)
    for name, function in ACTIVATIONS.items():
        want = _modules.ACTIVATIONS[name](torch.as_tensor(z)).numpy()
        np.testing.assert_allclose(function(z), want, atol=1e-12, err_msg=name)


def test_strengths_and_expansions_of_a_polynomial_are_its_coefficients():
    sizes = [2, 3, 2, 2]
    where = layout(sizes)
    rng = np.random.default_rng(0)
    A = np.triu(rng.normal(size=(where.width,) * 2))
    for span in where.spans:
        A[span, span] = 0
    triple = rng.normal(size=(1, 2, 1))
    pairwise = Energy(rng.normal(size=where.width), A + A.T, {})
    model = Energy(pairwise.field, pairwise.pairs, {(0, 1, 3): triple})
    F = features(all_states(sizes), where)

    directed = influence(lambda F, u: pairwise.at_node(F, u, where), F, where)
    np.testing.assert_allclose(directed, directed.T, atol=1e-12)
    for i, j in [(0, 1), (1, 2), (2, 3)]:
        block = pairwise.pairs[where.spans[i], where.spans[j]]
        np.testing.assert_allclose(directed[i, j], np.linalg.norm(block))
    for u, neighbours in [(0, [3, 1, 2]), (1, [0, 2, 3]), (3, [1, 0])]:
        found = expand(lambda F, u: model.at_node(F, u, where), u, neighbours, F, where)
        np.testing.assert_allclose(found[0, 1, 3], triple, atol=1e-12)
        for v in neighbours:
            i, j = sorted((u, v))
            block = model.pairs[where.spans[i], where.spans[j]]
            np.testing.assert_allclose(found[i, j], block, atol=1e-12)
        np.testing.assert_allclose(found[(u,)], model.field[where.spans[u]], atol=1e-12)
        assert all(
            np.abs(b).max() < 1e-12
            for T, b in found.items()
            if len(T) > 2 and T != (0, 1, 3)
        )


@both_variants
def test_the_exact_distribution_gives_the_exact_conditionals(variant):
    J, _, S, _ = ising(4, scale=0.3)
    energy = np.einsum("ij,ij->i", S @ J, S) / 2 + 0.7 * S[:, 0] * S[:, 1] * S[:, 3]
    P = probabilities(energy)
    model = NeuralInteractionScreening(
        (8,), variant=variant, alpha=0, max_iter=400, random_state=0
    ).fit(S, sample_weight=P * 1e4)
    assert conditional_variation(model, S, P) < 2e-3
    frame = model.interactions_.set_index("columns")
    assert abs(frame.loc[[(0, 1, 3)], "coefficient"].iloc[0] - 0.7) < 0.02
    pairs = InteractionScreening(alpha=0).fit(S, sample_weight=P)
    assert conditional_variation(pairs, S, P) > 0.1
    if variant == "energy":  # the joint distribution, and symmetric interactions
        joint = probabilities(model.score_samples(S))
        np.testing.assert_allclose(joint, P, atol=2e-3)
        assert model.asymmetry_.max() < 0.02
    else:
        assert not hasattr(model, "score_samples")


@both_variants
def test_both_solvers_and_partial_fit_find_the_same_model(variant):
    _, _, S, P = ising(4)
    counts = np.random.default_rng(0).multinomial(20_000, P)
    arguments = {"variant": variant, "random_state": 0, "alpha": 1e-3}
    arguments["learning_rate_init"] = 0.03
    full = NeuralInteractionScreening((6,), max_iter=200, **arguments)
    full.fit(S, sample_weight=counts)
    adam = NeuralInteractionScreening(
        (6,), solver="adam", batch_size=16, max_iter=250, tol=0, **arguments
    ).fit(S, sample_weight=counts)
    np.testing.assert_allclose(adam.predict_proba(S), full.predict_proba(S), atol=0.03)
    stream = NeuralInteractionScreening((6,), batch_size=16, **arguments)
    for _ in range(150):
        stream.partial_fit(S, sample_weight=counts)
    assert stream.n_iter_ == len(stream.loss_curve_) == 150
    assert stream.loss_curve_[-1] < stream.loss_curve_[0]
    np.testing.assert_allclose(
        stream.predict_proba(S), full.predict_proba(S), atol=0.06
    )
    with pytest.raises(ValueError, match="features"):
        stream.partial_fit(S[:, :3])


def test_partial_fit_takes_incomplete_rows():
    _, _, S, P = ising(4)
    rows = S[np.random.default_rng(0).choice(len(S), 500, p=P)].astype(float)
    rows[::7, 1] = np.nan
    model = NeuralInteractionScreening((4,), random_state=0)
    for part in np.split(rows, 5):
        model.partial_fit(part)
    assert np.isfinite(model.predict_proba(S)).all() and model.n_iter_ == 5


def test_inputs_that_do_not_pay_stay_out():
    S = 2 * all_states([2] * 7) - 1
    energy = 0.4 * S[:, 0] * S[:, 1] + 0.4 * S[:, 1] * S[:, 2] + 0.5 * S[:, 3] * S[:, 4]
    P = probabilities(energy + 0.5 * S[:, 0] * S[:, 1] * S[:, 2])
    counts = np.random.default_rng(0).multinomial(20_000, P)
    truth = np.zeros((7, 7), dtype=bool)
    for i, j in [(0, 1), (0, 2), (1, 2), (3, 4)]:
        truth[i, j] = truth[j, i] = True
    model = NeuralInteractionScreening(
        (8,), l1_input=0.01, max_iter=300, random_state=0
    ).fit(S, sample_weight=counts)
    np.testing.assert_array_equal(model.adjacency_, truth)
    assert (model.input_norm_[~truth] == 0).mean() > 0.5  # zero, not small
    assert (0, 1, 2) in set(model.interactions_["columns"][:4])
    assert len(InteractionGraphDisplay.from_estimator(model).frame()) == 4


@both_variants
def test_a_table_of_words_and_gaps(variant, tmp_path):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, 800)
    b = np.where(rng.uniform(size=800) < 0.8, a, rng.integers(0, 3, 800))
    table = pd.DataFrame(
        {
            "a": np.array(["x", "y", "z"])[a],
            "b": np.array(["u", "v", "w"])[b],
            "c": rng.normal(size=800),
        }
    )
    table["a"] = table["a"].astype(object)
    table.loc[::9, "a"] = None
    model = NeuralInteractionScreening(
        (5,), variant=variant, max_iter=60, alpha=1e-3, random_state=0
    ).fit(table)
    p = model.predict_proba(table, "b")
    assert p.shape == (800, 3) and np.allclose(p.sum(axis=1), 1)
    filled = model.impute(table)
    hidden = table["a"].isna().to_numpy()
    truth = np.array(["x", "y", "z"])[a]
    assert (filled["a"].to_numpy() == truth)[hidden].mean() > 0.6
    assert model.adjacency_[0, 1] and model.adjacency_.sum() == 2
    assert set(model.sample(20, random_state=0)["b"]) <= {"u", "v", "w"}
    model.save(tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.transform(table), model.transform(table))
    assert again.interactions_.equals(model.interactions_)


@given(seed=st.integers(0, 20))
@settings(max_examples=5, deadline=None, derandomize=True)
def test_weights_are_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, (40, 3))
    times = rng.integers(0, 4, 40)
    arguments = {"hidden_layer_sizes": (3,), "max_iter": 10, "random_state": 0}
    weighted = NeuralInteractionScreening(**arguments).fit(codes, sample_weight=times)
    repeated = NeuralInteractionScreening(**arguments).fit(
        np.repeat(codes, times, axis=0)[::-1]
    )
    np.testing.assert_allclose(
        weighted.predict_proba(codes), repeated.predict_proba(codes), atol=1e-8
    )


def test_early_stopping_keeps_the_best_held_out_state():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (150, 8))  # nothing to learn, much to remember
    held = NeuralInteractionScreening(
        early_stopping=True, n_iter_no_change=5, alpha=0, random_state=0
    ).fit(X)
    free = NeuralInteractionScreening(alpha=0, max_iter=60, random_state=0).fit(X)
    assert held.stopped_ == "converged"
    assert len(held.validation_scores_) == held.n_iter_ < 60
    fresh = rng.integers(0, 2, (500, 8))
    assert held.score(fresh) > free.score(fresh) + 0.5


def test_limits_are_told(monkeypatch):
    X = np.random.default_rng(0).integers(0, 2, (200, 5))
    with pytest.warns(ConvergenceWarning, match="without converging"):
        model = NeuralInteractionScreening(max_iter=2, random_state=0).fit(X)
    assert model.n_iter_ == 2 and model.stopped_ == "max_iter"
    with pytest.warns(ConvergenceWarning):
        model = NeuralInteractionScreening(time_limit=1e-9, random_state=0).fit(X)
    assert model.stopped_ == "time" and model.n_iter_ == 1
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        NeuralInteractionScreening((5, 0)).fit(X)
    calls = []
    data_loss = Screening.data_loss

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return data_loss(self, *arguments)

    monkeypatch.setattr(Screening, "data_loss", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = NeuralInteractionScreening(random_state=0).fit(X)
    assert model.stopped_ == "interrupted" and model.n_iter_ > 1
    assert np.isfinite(model.predict_proba(X)).all()
    calls[:] = [1] * 11
    model = NeuralInteractionScreening(random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not hasattr(model, "categories_")


def test_no_hidden_layer_is_a_pairwise_model():
    J, _, S, P = ising(4)
    model = NeuralInteractionScreening((), alpha=0, random_state=0)
    model.fit(S, sample_weight=1e4 * P)
    np.testing.assert_allclose(model.strength_, np.abs(J), atol=1e-3)


@pytest.mark.parametrize(
    ("n", "variant", "most"),
    [
        (20_000, "conditional", 0.06),
        pytest.param(200_000, "conditional", 0.015, marks=pytest.mark.slow),
        pytest.param(200_000, "energy", 0.02, marks=pytest.mark.slow),
    ],
)
def test_the_chain_of_order_six_beats_low_orders(n, variant, most):
    S, P = chain(10)
    counts = np.random.default_rng(0).multinomial(n, P)
    seen = counts > 0
    table = {"X": S[seen], "sample_weight": counts[seen]}
    model = NeuralInteractionScreening(
        variant=variant, max_iter=500 if n > 20_000 else 150, random_state=0
    ).fit(**table)
    said = conditional_variation(model, S, P)
    assert said <= most
    for order in (2, 3):
        low = InteractionScreening(order=order).fit(**table)
        assert conditional_variation(low, S, P) > 0.1 > said
