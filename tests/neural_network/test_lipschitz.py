"""Lipschitz networks: orthogonal blocks, the bound, certificates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score, train_test_split

from skdiff._nn._data import as_tensors
from skdiff._nn._fit import Settings, build_net, seeded
from skdiff.neural_network import LipschitzMLPClassifier, LipschitzMLPRegressor
from skdiff.neural_network._lipschitz._module import (
    BoundedNet,
    LipschitzMLP,
    bounded_net_class,
    cayley,
)

QUICK = {"hidden_layer_sizes": (16, 8), "max_iter": 60, "random_state": 0}


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 10**6),
)
def test_cayley_blocks_are_orthonormal(rows, columns, scale, seed):
    W = scale * torch.randn(rows, columns, dtype=torch.float64, generator=seeded(seed))
    Q = cayley(W)
    assert Q.shape == W.shape
    gram = Q @ Q.T if columns >= rows else Q.T @ Q
    torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=1e-6)


def test_a_scalar_has_the_closed_form():
    # U is 1 x 1, hence Z = v'v: (1 - v'v) / (1 + v'v) and -2 v / (1 + v'v)
    W = torch.tensor([[0.7], [0.3], [-0.4]], dtype=torch.float64)
    expected = torch.tensor([[0.75], [-0.6], [0.8]], dtype=torch.float64) / 1.25
    torch.testing.assert_close(cayley(W), expected)


def layer_by_layer(module, X):
    """The network as the paper writes it (eq. 10)."""
    h = module.root * X
    for layer in module.layers:
        A, B = layer.orthogonal()
        if layer.last:
            return module.root * h @ B.T + layer.b
        z = 2**0.5 * torch.exp(-layer.psi) * (h @ B.T) + layer.b
        h = 2**0.5 * (torch.exp(layer.psi) * module.activation(z)) @ A
    raise AssertionError("the last layer returns")


@pytest.mark.parametrize("sizes", [[5, 3], [5, 7, 3], [4, 6, 9, 2]])
@pytest.mark.parametrize("loss", ["cross_entropy", "squares"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_by_hand_are_those_of_the_layers(sizes, loss, weighted):
    module = LipschitzMLP(sizes, "tanh", 3.0, seeded(0))
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=seeded(len(p.shape))))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, sizes[0]))
    weight = rng.uniform(0.1, 2, 20) if weighted else None
    if loss == "squares":
        target = rng.normal(size=(20, sizes[-1]))
    else:
        target = rng.integers(sizes[-1], size=20)
    net_class = bounded_net_class(module, loss)
    assert issubclass(net_class, BoundedNet)
    net = build_net(net_class, module, None, Settings(batch_size=20), seeded(0))
    data = as_tensors(X, target, weight, "cpu")
    net.gradient((data.X, data.y))
    value, output = net.gradient((data.X, data.y))  # nothing adds up
    found = {name: p.grad.clone() for name, p in module.named_parameters()}
    reference = layer_by_layer(module, data.X)
    torch.testing.assert_close(output, reference.detach())
    if loss == "squares":
        rows = (reference - data.y[0]).square().mean(dim=1) / 2
    else:
        rows = torch.nn.functional.cross_entropy(reference, data.y[0], reduction="none")
    expected = (rows if weight is None else rows * data.y[1]).mean()
    torch.testing.assert_close(value, expected.detach())
    names, parameters = zip(*module.named_parameters(), strict=True)
    by_layer = torch.autograd.grad(expected, parameters)
    for name, gradient in zip(names, by_layer, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    bound=st.floats(0.1, 50),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    activation=st.sampled_from(["identity", "logistic", "tanh", "relu", "elu"]),
    seed=st.integers(0, 10**6),
)
def test_no_weights_break_the_bound(bound, sizes, activation, seed):
    generator = seeded(seed)
    module = LipschitzMLP(sizes, activation, bound, generator).double()
    with torch.no_grad():  # any weights, not only those of a start
        for p in module.parameters():
            p.copy_(3 * torch.randn(p.shape, dtype=p.dtype, generator=generator))
        X = 3 * torch.randn(20, sizes[0], dtype=torch.float64, generator=generator)
        Y = X + torch.randn(X.shape, dtype=X.dtype, generator=generator)
        change = (module(X) - module(Y)).norm(dim=1)
        assert (change <= bound * (X - Y).norm(dim=1) * (1 + 1e-9)).all()


@pytest.mark.parametrize("bound", [1.0, 5.0])
def test_the_jacobian_of_a_fit_is_within_the_bound(cancer, bound):
    X, X_test, y, y_test = cancer
    model = LipschitzMLPClassifier(bound, **QUICK).fit(X, y)
    module = model.net_.module_
    module.eval()
    rows = torch.from_numpy((X_test[:60] - model.mean_) / model.scale_)
    norms = [
        torch.linalg.matrix_norm(
            torch.autograd.functional.jacobian(module, row[None])[0, :, 0], 2
        ).item()
        for row in rows
    ]
    assert 0.3 * bound < max(norms) <= bound * (1 + 1e-9)
    assert model.score(X_test, y_test) > 0.92


def test_no_attack_within_the_certified_radius(cancer):
    X, X_test, y, _ = cancer
    model = LipschitzMLPClassifier(5.0, **QUICK).fit(X, y)
    radius = model.certified_radius(X_test)
    assert np.median(radius) > 0.2
    scale = model.scale_
    rng = np.random.default_rng(0)
    said = model.predict(X_test)
    for _ in range(20):
        step = rng.normal(size=X_test.shape)
        step *= (radius * 0.999 / np.linalg.norm(step, axis=1))[:, None]
        np.testing.assert_array_equal(model.predict(X_test + step * scale), said)
    # and along the gradient, the worst direction there is
    module = model.net_.module_
    Z = torch.from_numpy((X_test - model.mean_) / model.scale_).requires_grad_(True)
    z = module(Z)
    (z.max(dim=1).values - z.min(dim=1).values).sum().backward()
    step = -Z.grad.numpy() / np.linalg.norm(Z.grad.numpy(), axis=1, keepdims=True)
    step *= (radius * 0.999)[:, None]
    np.testing.assert_array_equal(model.predict(X_test + step * scale), said)
    own = model.certified_radius(X_test, units="input")
    np.testing.assert_allclose(own, radius * scale.min())
    with pytest.raises(ValueError, match="units"):
        model.certified_radius(X_test, units="feet")


def test_a_smaller_bound_is_a_smoother_fit():
    X, y = load_diabetes(return_X_y=True)
    spread = [
        np.ptp(LipschitzMLPRegressor(b, **QUICK).fit(X, y).predict(X))
        for b in (0.1, 0.5, 2.0)
    ]
    assert spread[0] < spread[1] < spread[2]
    assert cross_val_score(LipschitzMLPRegressor(**QUICK), X, y, cv=3).mean() > 0.4


def test_units_of_the_columns_do_not_matter():
    X, y = load_iris(return_X_y=True)
    factor = np.array([1e-3, 1.0, 1e4, 7.0])
    model = LipschitzMLPClassifier(3.0, **QUICK)
    first = model.fit(X, y).predict_proba(X)
    again = model.fit(X * factor - 5, y).predict_proba(X * factor - 5)
    np.testing.assert_allclose(again, first, atol=1e-6)


def test_the_bound_in_the_units_of_x_and_y():
    X, y = load_diabetes(return_X_y=True)
    model = LipschitzMLPRegressor(0.7, **QUICK).fit(X, y)
    expected = 0.7 * y.std() / X.std(axis=0).min()
    assert model.input_lipschitz_bound_ == pytest.approx(expected)
    slope = np.abs(np.diff(model.predict(X))) / np.linalg.norm(
        np.diff(X, axis=0), axis=1
    )
    assert slope.max() <= model.input_lipschitz_bound_


def test_cached_blocks_follow_a_warm_start(cancer):
    X, X_test, y, _ = cancer
    model = LipschitzMLPClassifier(5.0, **{**QUICK, "max_iter": 5}, warm_start=True)
    before = model.fit(X, y).predict_proba(X_test)
    after = model.fit(X, y).predict_proba(X_test)
    assert np.abs(after - before).max() > 1e-3
    straight = LipschitzMLPClassifier(5.0, **{**QUICK, "max_iter": 10}).fit(X, y)
    np.testing.assert_allclose(straight.predict_proba(X_test), after, rtol=1e-10)


def test_the_default_bound_is_near_the_better_one():
    X, y = load_wine(return_X_y=True)
    losses = {"auto": [], 1.0: [], 5.0: []}
    for seed in range(2):
        A, B, a, b = train_test_split(X, y, stratify=y, random_state=seed)
        for bound in losses:
            model = LipschitzMLPClassifier(bound, random_state=0).fit(A, a)
            losses[bound].append(log_loss(b, model.predict_proba(B)))
    means = {bound: np.mean(values) for bound, values in losses.items()}
    assert means["auto"] <= 1.5 * min(means[1.0], means[5.0]), means


@pytest.mark.parametrize("options", [{}, {"group_dro": True}, {"batch_size": 100}])
def test_choosing_leaves_a_net_as_it_was(cancer, options):
    X, X_test, y, _ = cancer
    keywords = {"hidden_layer_sizes": (8,), "random_state": 0, **options}
    more = {"groups": (X[:, 0] > 14).astype(int)} if "group_dro" in options else {}
    chosen = LipschitzMLPClassifier(**keywords).fit(X, y, **more)
    assert chosen.stopped_ == "converged"
    assert chosen.n_iter_ < 300
    given = LipschitzMLPClassifier(
        round(chosen.lipschitz_bound_), max_iter=chosen.n_iter_, tol=0.0, **keywords
    )
    given.fit(X, y, **more)
    if "batch_size" in options:  # whose order is drawn from one generator
        assert given.n_iter_ == chosen.n_iter_
        return
    np.testing.assert_allclose(given.loss_curve_, chosen.loss_curve_, rtol=1e-9)
    expected = given.predict_proba(X_test)
    np.testing.assert_allclose(chosen.predict_proba(X_test), expected, rtol=1e-7)


def test_noisy_labels_end_a_fit_early_and_early_stopping_decides_itself():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10))
    y = (X[:, 0] + 3 * rng.logistic(size=600) > 0).astype(int)
    keywords = {"hidden_layer_sizes": (16,), "random_state": 0}
    model = LipschitzMLPClassifier(**keywords).fit(X, y)
    assert model.lipschitz_bound_ == pytest.approx(1.0)
    assert model.n_iter_ < 100
    assert model.stopped_ == "converged"
    full = LipschitzMLPClassifier(1.0, **keywords).fit(X, y)
    assert full.n_iter_ > 2 * model.n_iter_
    Z = rng.normal(size=(4000, 10))
    z = (Z[:, 0] + 3 * rng.logistic(size=4000) > 0).astype(int)
    losses = [log_loss(z, m.predict_proba(Z)) for m in (model, full)]
    assert losses[0] < losses[1] + 0.002
    held = LipschitzMLPClassifier(early_stopping=True, **keywords).fit(X, y)
    assert len(held.validation_scores_) == held.n_iter_
    few = LipschitzMLPClassifier(max_iter=7, **keywords)
    with pytest.warns(UserWarning, match="max_iter"):
        assert few.fit(X, y).n_iter_ == 7
