"""Supernets and networks: one form of the other, and what selection reads from them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skdiff._base.progress import Progress
from skdiff._nn._data import TensorData
from skdiff.architecture_search import Architecture, rarts_step
from skdiff.architecture_search._cells import _networks, _operations, _space, _supernet
from skdiff.architecture_search._cells._cell import CellSpace
from skdiff.architecture_search._cells._find import by_removal
from skdiff.architecture_search._cells._hypercuboid import HypercuboidSpace
from skdiff.architecture_search._cells._inputs import Sizes
from skdiff.architecture_search._cells._networks import CellNetworks, build
from skdiff.architecture_search._cells._operations import OPERATIONS
from skdiff.architecture_search._cells._race import Bench, race, rungs, trial
from skdiff.architecture_search._cells._selection import (
    Projection,
    draws,
    log_weights,
    project,
)
from skdiff.architecture_search._cells._supernet import Search, Supernet
from skdiff.architecture_search._cells._training import (
    Training,
    evaluate,
    losses,
    train,
)

ALL = ("zero", "skip", "relu", "tanh", "silu", "glu", "residual_relu")
SMOOTH = ("zero", "skip", "tanh", "silu", "glu")
NUMBERS = Sizes(4, 2)
MIXED = Sizes(5, 3, (1, 4), (6, 4))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_for(sizes, n=40, seed=0):
    generator = seeded(seed)
    X = torch.randn(n, sizes.n_in, generator=generator, dtype=torch.float64)
    for j, size in zip(sizes.categorical, sizes.cardinalities, strict=True):
        X[:, j] = torch.randint(1, size, (n,), generator=generator)
    return X


def table(sizes, n=60, seed=0, weighted=False):
    generator = seeded(seed + 100)
    X = rows_for(sizes, n, seed)
    y = torch.randn(n, sizes.n_out, generator=generator, dtype=torch.float64)
    y = y + X[:, :1] ** 2
    weight = torch.rand(n, generator=generator, dtype=torch.float64)
    return TensorData(X, (y, weight / weight.mean() if weighted else None))


def row_loss(output, target):
    return ((output - target) ** 2).mean(dim=1) / 2


EVERY_SPACE = pytest.mark.parametrize(
    "space",
    [
        CellSpace(MIXED, ALL, 6, 3, 2),
        CellSpace(NUMBERS, ALL, 5, 2, 2, n_cells=2),
        HypercuboidSpace(MIXED, ALL, 8, 3),
    ],
    ids=["cell", "two cells", "hypercuboid"],
)


def random_scores(space, seed):
    shape = (len(space.edges), len(space.names))
    return np.random.RandomState(seed).gumbel(size=shape)


def one_hot(space, architecture):
    """Mixing weights that are one on the edges of an architecture."""
    weights = torch.zeros(1, len(space.edges), len(space.names), dtype=torch.float64)
    for n, node in enumerate(architecture.nodes, start=1):
        for source, operation in node:
            o = space.names.index(operation)
            if isinstance(space, CellSpace):
                e = space.place[source, n]
            else:
                i, o_width = (
                    space.widths.index(architecture.widths[k]) for k in (n - 1, n)
                )
                e = space._edge(n - 1, i, o_width)
            weights[0, e, o] = 1.0
    return weights


def copied(space, parameters, architecture):
    """The network of an architecture with the weights of a supernet."""
    network = CellNetworks([architecture], space.sizes, seeded(9)).double()
    into = iter(network.weights)
    cell = isinstance(space, CellSpace)
    starts = np.cumsum([0, *(OPERATIONS[name].pieces for name in space.names)])
    k = space.n_stem
    first = 0 if cell else k * space.widths.index(architecture.widths[0])
    for source in parameters[first : first + k]:
        next(into).data.copy_(source)
    left = list(parameters[k if cell else k * len(space.widths) :])
    step = 4 if space.seconds else 2
    n_sources = space.n_nodes if cell else len(space.widths)
    for block in range(space.n_cells if cell else 1):
        if block:
            for _ in range(2):
                next(into).data.copy_(left.pop(0))
        layers = n_sources if cell else n_sources * space.n_layers
        sources = [left[step * j : step * j + step] for j in range(layers)]
        left = left[step * layers :]
        for n, node in enumerate(architecture.nodes, start=1):
            W, b, W2, b2 = (next(into).data for _ in range(4))
            at = second = 0
            for name in OPERATIONS:
                edges = [source for source, chosen in node if chosen == name]
                for piece in range(OPERATIONS[name].pieces):
                    for source in edges:
                        nth = starts[space.names.index(name)] + piece
                        if cell:
                            maps, t = sources[source], n - 1 - source
                            width = space.width
                            place = (t * space.pieces + nth) * width
                        else:
                            i = space.widths.index(architecture.widths[n - 1])
                            o = space.widths.index(architecture.widths[n])
                            maps = sources[(n - 1) * n_sources + i]
                            width = space.widths[o]
                            place = nth * sum(space.widths) + sum(space.widths[:o])
                        W[at].copy_(maps[0][0, :, place : place + width])
                        b.view(len(W), -1)[at].copy_(maps[1][place : place + width])
                        if OPERATIONS[name].second:
                            W2[second].copy_(maps[2][0, t] if cell else maps[2][0])
                            bias = maps[3].view(-1, width)[t if cell else 0]
                            b2.view(len(W2), -1)[second].copy_(bias)
                            second += 1
                        at += 1
    W, b = left
    if not cell:
        o = space.widths.index(architecture.widths[-1])
        start = sum(space.widths[:o])
        W = W[:, start : start + space.widths[o]]
    next(into).data.copy_(W)
    next(into).data.copy_(b)
    return network


@EVERY_SPACE
@pytest.mark.parametrize("seed", range(3))
def test_a_one_hot_supernet_is_the_network(space, seed):
    parameters = space.parameters(1, seeded(seed))
    architecture = space.discretise(random_scores(space, seed))
    X = rows_for(space.sizes)
    with torch.no_grad():
        mixture = space.forward(
            parameters, X, space.split(one_hot(space, architecture))
        )
        network = copied(space, parameters, architecture)(X)
    # equal to the last bit but for the order in which a product adds up
    torch.testing.assert_close(mixture, network, rtol=1e-13, atol=1e-14)


def by_loops(space, parameters, X, weights):
    """The hypercuboid of one network, entry by entry from its definition."""

    def norm(x):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    k, size, total = space.n_stem, len(space.widths), sum(space.widths)
    states = [
        norm(space.stem(X, parameters[i * k : (i + 1) * k])[0]) for i in range(size)
    ]
    left = iter(parameters[size * k :])
    for layer in range(space.n_layers):
        sums = [0.0] * size
        for i, h in enumerate(states):
            W, b = next(left)[0], next(left)
            second = (next(left)[0], next(left)) if space.seconds else None
            for o, width in enumerate(space.widths):
                columns = sum(space.widths[:o]) + np.arange(width)
                for name, weight in zip(
                    space.names, weights[space._edge(layer, i, o)], strict=True
                ):
                    operation, z = OPERATIONS[name], []
                    for _ in range(operation.pieces):
                        z.append(h @ W[:, columns] + b[columns])
                        columns = columns + total
                    if name == "zero" or (operation.square and i != o):
                        continue
                    out = operation.function(h, z)
                    if operation.second:
                        out = h + out @ second[0] + second[1]
                    sums[o] = sums[o] + weight * norm(out)
        states = [norm(s) for s in sums]
    return torch.cat(states, dim=1) @ next(left)[0] + next(left)


@pytest.mark.parametrize("names", [ALL, SMOOTH, ("skip", "residual_relu")])
def test_a_hypercuboid_is_the_sum_over_all_its_entries(names):
    space = HypercuboidSpace(MIXED, names, 16, 2)
    parameters = space.parameters(1, seeded())
    for p in parameters:  # biases too
        p.data.add_(0.1 * torch.randn(p.shape, generator=seeded(1)))
    alpha = torch.nn.Parameter(space.start(1, seeded(2)).detach() / _space.START)
    X = rows_for(MIXED)
    found = space.forward(parameters, X, space.mix(alpha))[0]
    expected = by_loops(space, parameters, X, space.weights(alpha)[0])
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    everything = [*parameters, alpha]
    mine, loops = (
        torch.autograd.grad(
            y.tanh().sum(), everything, allow_unused=True, materialize_grads=True
        )
        for y in (found, expected)
    )
    for one, other in zip(mine, loops, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@EVERY_SPACE
def test_networks_of_a_supernet_do_not_see_each_other(space):
    parameters = space.parameters(2, seeded())
    alpha = space.start(2, seeded(1))
    X = rows_for(space.sizes)
    both = space.forward(parameters, X, space.mix(alpha))
    for k in range(2):
        alone = [p.view(2, -1)[k] if p.ndim == 1 else p[k : k + 1] for p in parameters]
        one = space.forward(alone, X, space.mix(alpha[k : k + 1]))
        torch.testing.assert_close(both[k], one[0], rtol=1e-12, atol=1e-13)


@EVERY_SPACE
def test_several_mixtures_on_the_same_weights(space):
    parameters = space.parameters(1, seeded())
    weights = space.weights(space.start(3, seeded(1)))
    X = rows_for(space.sizes)
    together = space.forward(parameters, X, space.split(weights))
    for k in range(3):
        one = space.forward(parameters, X, space.split(weights[k : k + 1]))
        torch.testing.assert_close(together[k], one[0], rtol=1e-12, atol=1e-13)


@EVERY_SPACE
def test_weights_are_a_softmax_within_each_contest(space):
    alpha = 3 * space.start(2, seeded()) / _space.START
    weights = space.weights(alpha)
    assert (weights[:, ~torch.from_numpy(space.allowed())] == 0).all()
    sums = space.contest(weights).sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    lead = space.contest(space.weights(alpha, "max_w"))
    torch.testing.assert_close(lead.amax(-1), torch.ones_like(sums))
    certain = torch.where(alpha == space.contest(alpha).amax(-1).max(), 1e4, alpha)
    for weighting in ("softmax", "max_w"):
        found = space.weights(certain, weighting)
        assert found[certain == 1e4].tolist() == [1.0]


def test_the_leader_of_max_w_has_no_gradient_through_its_lead():
    space = CellSpace(NUMBERS, SMOOTH, 4, 1, 1)
    alpha = torch.tensor([[[0.0, 2.0, 1.0, -1.0, 0.5]]], requires_grad=True)
    weight = space.weights(alpha.double(), "max_w")[0, 0]
    (slope,) = torch.autograd.grad(weight[1], alpha, retain_graph=True)
    assert (slope == 0).all()
    (slope,) = torch.autograd.grad(weight[2], alpha)
    assert slope[0, 0, 1] < 0 < slope[0, 0, 2]


# --- networks side by side ------------------------------------------------------------


def random_networks(n=4, sizes=MIXED, n_cells=1):
    space = CellSpace(sizes, ALL, 6, 3, 2, n_cells)
    return [space.discretise(random_scores(space, k)) for k in range(n)]


@pytest.mark.parametrize("n_cells", [1, 2])
def test_networks_side_by_side_train_as_if_alone(n_cells):
    data = table(MIXED, weighted=True)
    how = Training(row_loss, 0.01, 2.0, 16, alpha=0.01)
    together = CellNetworks(random_networks(n_cells=n_cells), MIXED, seeded())
    alone = [together.keep([k]) for k in range(4)]
    curve = train(together, data, 2, how, seeded(1), Progress(), data)
    for k, network in enumerate(alone):
        one = train(network, data, 2, how, seeded(1), Progress(), data)
        np.testing.assert_allclose(curve[:, k], one[:, 0], rtol=1e-9)
    kept = together.keep([1, 3])
    X = data.X
    torch.testing.assert_close(kept(X), together(X)[[1, 3]], rtol=1e-12, atol=1e-13)


def chains(n, sizes=MIXED):
    space = HypercuboidSpace(sizes, ALL, 16, 3)
    return [space.discretise(random_scores(space, k)) for k in range(n)]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_chains_of_different_widths_train_as_if_alone(solver):
    data = table(MIXED, weighted=True)
    how = Training(row_loss, 0.01, 2.0, 16, solver, alpha=0.01)
    some = chains(6)
    assert all(len({a.widths[k] for a in some}) > 1 for k in range(4))
    together = CellNetworks.alike(some, MIXED, 3).double()
    alone = [build(one, MIXED, seeded(3)).double() for one in some]
    curve = train(together, data, 3, how, seeded(1), Progress(), data)
    for k, network in enumerate(alone):
        one = train(network, data, 3, how, seeded(1), Progress(), data)
        np.testing.assert_allclose(curve[:, k], one[:, 0], rtol=1e-10)
        torch.testing.assert_close(together(data.X)[k], network(data.X))
    for members in ([1, 3], [4], [0, 2, 5]):
        kept = together.keep(members)
        found = kept(data.X)
        torch.testing.assert_close(found, together(data.X)[members])
        fewest = sum(p.numel() for p in together.parameters()) * len(members) / 6
        assert sum(p.numel() for p in kept.parameters()) <= fewest
    # and they go on alike
    more = train(kept, data, 2, how, seeded(2), Progress(), data)
    for column, k in zip(more.T, members, strict=True):
        one = train(alone[k], data, 2, how, seeded(2), Progress(), data)
        np.testing.assert_allclose(column, one[:, 0], rtol=1e-9)


def test_padding_stays_zero():
    data = table(NUMBERS)
    how = Training(row_loss, 0.05, None, 16, alpha=0.01)
    some = chains(5, NUMBERS)
    networks = CellNetworks.alike(some, NUMBERS, 0).double()
    before = [p == 0 for p in networks.weights]
    train(networks, data, 2, how, seeded(), Progress())
    alive = sum(int((p != 0).sum()) for p in networks.weights)
    alone = [build(one, NUMBERS, seeded()) for one in some]
    assert alive <= sum(p.numel() for one in alone for p in one.parameters())
    # matrices of real units start and end without zeros
    for p, zero in zip(networks.weights, before, strict=True):
        if p.ndim == 3:
            assert ((p == 0) == zero).all()


def test_normalisation_passes_padding_over():
    mask = _networks._mask([2, 5, 3])
    x = torch.randn(3, 4, 5, generator=seeded(), dtype=torch.float64)
    found = _networks._normalised(x * mask, mask)
    for own, row, width in zip(found, x, (2, 5, 3), strict=True):
        torch.testing.assert_close(
            own[:, :width], _operations.normalised(row[:, :width])
        )
        assert (own[:, width:] == 0).all()
    assert _networks._mask([5, 5]) is None
    assert torch.autograd.gradcheck(
        lambda x: _networks._normalised(x * mask, mask), x.requires_grad_()
    )


def test_the_loss_of_a_batch_is_a_weighted_mean_per_network():
    output = torch.randn(3, 5, 2, generator=seeded())
    y, weight = torch.randn(5, 2, generator=seeded(1)), torch.rand(5)
    found = losses(row_loss, output, (y, weight))
    for k in range(3):
        expected = (row_loss(output[k], y) * weight).mean()
        torch.testing.assert_close(found[k], expected)
    assert losses(row_loss, output[0], (y, None)).shape == (1,)


def test_the_loss_of_a_table_does_not_depend_on_its_chunks():
    data = table(NUMBERS, 50, weighted=True)
    module = build(random_networks(1, NUMBERS)[0], NUMBERS, seeded())
    whole = evaluate(module, data, row_loss)
    found = evaluate(module, data, row_loss, at_once=7)
    np.testing.assert_allclose(found, whole, rtol=1e-12)


def test_unknown_categories_add_nothing():
    X = rows_for(MIXED)
    X[:, [1, 4]] = 0
    numbers = Sizes(3, 3)
    for architecture in (random_networks(1)[0], Architecture.mlp((6, 6))):
        module = build(architecture, MIXED, seeded()).double()
        with torch.no_grad():
            found = module(X)
        plain = build(architecture, numbers, seeded()).double()
        if architecture.space == "mlp":
            mine = dict(module.mlp.named_parameters())
            mine["weights.0"] = mine["weights.0"][:, :3]
            pairs = [(mine[name], p) for name, p in plain.named_parameters()]
        else:  # the third parameter is the table of the categories
            mine = [w for k, w in enumerate(module.networks.weights) if k != 2]
            pairs = zip(mine, plain.networks.weights, strict=True)
        for source, p in pairs:
            p.data.copy_(source.data)
        torch.testing.assert_close(plain(X[:, [0, 2, 3]]), found)


def test_a_perceptron_is_one_on_one_hot_columns():
    X = rows_for(MIXED)
    module = build(Architecture.mlp((6, 4)), MIXED, seeded()).double()
    levels = [
        torch.nn.functional.one_hot(X[:, j].long(), size).double()
        for j, size in zip(MIXED.categorical, MIXED.cardinalities, strict=True)
    ]
    wide = torch.cat([X[:, [0, 2, 3]], *levels], dim=1)
    torch.testing.assert_close(module(X), module.mlp(wide))


# --- architectures from scores --------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
def test_cells_keep_the_best_operations_and_edges(seed, n_nodes, n_inputs):
    space = CellSpace(NUMBERS, ALL, 4, n_nodes, min(n_inputs, n_nodes))
    scores = random_scores(space, seed)
    found = space.discretise(scores)
    best = scores[:, 1:].max(axis=1)
    for n, node in enumerate(found.nodes, start=1):
        assert len(node) == min(space.n_inputs, n)
        kept = {source for source, _ in node}
        for source, operation in node:
            e = space.place[source, n]
            assert scores[e, ALL.index(operation)] == best[e]
        dropped = [best[space.place[j, n]] for j in range(n) if j not in kept]
        assert min(best[space.place[j, n]] for j in kept) >= max(dropped, default=-99)


@pytest.mark.parametrize("seed", range(5))
def test_the_path_through_the_grid_is_the_best_of_all(seed):
    space = HypercuboidSpace(NUMBERS, ("zero", "skip", "relu", "glu"), 8, 3)
    scores = random_scores(space, seed)
    allowed = space.allowed()

    def value(path, operations):
        total = 0.0
        for layer, o in enumerate(operations):
            e = space._edge(layer, path[layer], path[layer + 1])
            total += scores[e, o] if allowed[e, o] else -np.inf
        return total

    paths = itertools.product(range(4), repeat=4)
    choices = list(itertools.product(range(1, 4), repeat=3))
    best = max((value(p, c), p, c) for p in paths for c in choices)
    found = space.discretise(scores)
    assert found.widths == tuple(space.widths[i] for i in best[1])
    assert found.operations() == [space.names[k] for k in best[2]]


def test_draws_follow_the_mixture():
    space = CellSpace(NUMBERS, ("zero", "skip", "relu"), 4, 1, 1)
    logs = np.log([[0.1, 0.2, 0.7]])
    rng = np.random.RandomState(0)
    found = [
        draws(space, [logs], 1.0, 1, [], rng)[0].operations()[0] for _ in range(800)
    ]
    # zero is never drawn: the others keep their odds
    assert found.count("relu") / 800 == pytest.approx(7 / 9, abs=0.05)
    both = draws(space, [logs], 1.0, 5, [], rng)
    assert len(both) == 2  # all that there are
    assert draws(space, [logs], 1.0, 5, both, rng) == []


def test_log_weights_are_those_of_the_softmax():
    space = HypercuboidSpace(NUMBERS, ALL, 8, 2)
    alpha = np.random.RandomState(0).normal(size=(32, 7))
    logs = log_weights(space, alpha)
    assert (np.isneginf(logs) == ~space.allowed()).all()
    sums = np.exp(logs).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(sums, 1)


# --- the search -----------------------------------------------------------------------


def supernet(strategy="darts", order=1, names=SMOOTH, n=1, **how):
    space = CellSpace(NUMBERS, names, 5, 2, 2)
    how = Search(row_loss, strategy, order, batch_size=20, **how)
    return Supernet(space, how, n).start(seeded(), torch.empty(0, dtype=torch.float64))


def batch(seed):
    data = table(NUMBERS, 20, seed)
    return data.X, data.y


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("weighting", ["softmax", "max_w"])
def test_order_two_is_the_gradient_through_one_step(n, weighting):
    nets = supernet(order=2, n=n, weighting=weighting)
    one, other = batch(0), batch(1)
    for _ in range(2):  # so that there is momentum
        nets.step(one, other, moves=True)
    rate = nets.optimizer.param_groups[0]["lr"] = 0.3
    leaves = [p.detach().clone().requires_grad_() for p in nets.w]
    alpha = nets.alpha.detach().clone().requires_grad_()
    loss = nets.losses(leaves, alpha, one).sum()
    slope = torch.autograd.grad(loss, leaves, create_graph=True)
    velocity = nets.optimizer.memory["velocity"].split([p.numel() for p in leaves])
    ahead = [
        p
        - rate
        * (
            _supernet.MOMENTUM * v.view(p.shape)
            + g
            + (_supernet.DECAY * p.detach() if p.ndim > 1 else 0)
        )
        for p, g, v in zip(leaves, slope, velocity, strict=True)
    ]
    (expected,) = torch.autograd.grad(nets.losses(ahead, alpha, other).sum(), alpha)
    found = nets.architecture_gradient(one, other)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    first = supernet(order=1, n=n, weighting=weighting)
    plain = first.architecture_gradient(one, other)
    assert not torch.allclose(found, plain, rtol=1e-3)


def test_order_two_without_a_step_is_order_one():
    nets = supernet(order=2)
    nets.optimizer.param_groups[0]["lr"] = 0.0
    one, other = batch(0), batch(1)
    first = supernet(order=1).architecture_gradient(one, other)
    torch.testing.assert_close(nets.architecture_gradient(one, other), first)


def test_rarts_moves_the_weights_by_its_rule(monkeypatch):
    monkeypatch.setattr(_supernet, "MOMENTUM", 0.0)
    monkeypatch.setattr(_supernet, "DECAY", 0.0)
    monkeypatch.setattr(_supernet, "LARGEST_GRADIENT", np.inf)
    nets = supernet("rarts", train_weight=4.0, penalty=3.0)
    nets.w[0].data.add_(0.1)  # so that the two differ
    w, v = ([p.detach().clone() for p in ps] for ps in (nets.w, nets.v))
    one, other = batch(0), batch(1)
    rate = nets.optimizer.param_groups[0]["lr"]
    expected_w, expected_v, expected_a = rarts_step(
        w,
        v,
        nets.alpha.detach(),
        lambda w, a: nets.losses(w, a, one).sum(),
        lambda v, a: nets.losses(v, a, other).sum(),
        step_w=rate / 4.0,
        step_v=rate / 3.0,
        step_a=1.0,
        train_weight=4.0,
        penalty=3.0,
    )
    slopes = []
    monkeypatch.setattr(nets, "_move", slopes.append)
    nets.step(one, other, moves=True)
    for found, expected in ((nets.w, expected_w), (nets.v, expected_v)):
        for p, q in zip(found, expected, strict=True):
            torch.testing.assert_close(p.detach(), q, rtol=1e-10, atol=1e-12)
    # the architecture moves after both, by the gradient of both losses
    slope = nets.alpha.detach() - expected_a
    torch.testing.assert_close(slopes[0], slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strategy", ["darts", "rarts", "joint"])
def test_a_search_learns_and_keeps_its_history(strategy):
    nets = supernet(strategy, max_iter=7, n=2)
    one, other = table(NUMBERS, 80, 0), table(NUMBERS, 80, 1)
    before = nets.evaluate(other).min()
    history = nets.run(one, other, seeded(3), Progress()).arrays()
    assert {len(values) for values in history.values()} == {7}
    assert history["validation_loss"][-1] < before
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert (nets.alpha == 0).all() == (strategy == "joint")
    assert (history["entropy"] <= 1 + 1e-12).all()


def test_each_half_of_the_rows_has_its_part_and_both_weights_one_rate(monkeypatch):
    nets = supernet("rarts", max_iter=4)
    one, other = table(NUMBERS, 60, 0), table(NUMBERS, 60, 1)
    seen, step = [], Supernet.step

    def watched(self, train, held, moves):
        for rows, batch in ((one, train), (other, held)):
            assert {*map(tuple, batch[0].tolist())} <= {*map(tuple, rows.X.tolist())}
        seen.append([o.param_groups[0]["lr"] for o in (self.optimizer, self.second)])
        return step(self, train, held, moves)

    monkeypatch.setattr(Supernet, "step", watched)
    nets.run(one, other, seeded(), Progress())
    expected = [nets.how.rate(epoch) for epoch in range(4) for _ in range(3)]
    assert seen == [[rate, rate] for rate in expected] and len({*expected}) == 4


@pytest.mark.parametrize(("max_iter", "rests"), [(9, 3), (18, 5)])
def test_the_architecture_rests_at_first(max_iter, rests):
    nets = supernet(max_iter=max_iter)
    start = nets.alpha.detach().clone()
    seen = []

    class Watching(Progress):
        def step(self, **how):
            seen.append(bool((nets.alpha == start).all()))
            return super().step(**how)

    nets.run(table(NUMBERS), table(NUMBERS, seed=1), seeded(), Watching())
    assert seen == [True] * rests + [False] * (max_iter - rests)


def test_gradients_are_cut_for_each_network_alone():
    parameters = [
        torch.nn.Parameter(torch.zeros(2, 3, 2)),
        torch.nn.Parameter(torch.zeros(4)),
    ]
    for p, g in zip(parameters, (torch.ones(2, 3, 2), torch.ones(4)), strict=True):
        p.grad = g.clone()
    parameters[0].grad[1] *= 100
    _supernet.clip(parameters, 2)
    assert (parameters[0].grad[0] == 1).all()
    length = torch.cat([parameters[0].grad[1].ravel(), parameters[1].grad[2:]]).norm()
    assert length == pytest.approx(_supernet.LARGEST_GRADIENT, rel=1e-5)


# --- selection by removal -------------------------------------------------------------


def projection(names=ALL, seed=0):
    nets = supernet(names=names, max_iter=6)
    one, other = table(NUMBERS, 60, seed), table(NUMBERS, 60, seed + 1)
    nets.run(one, other, seeded(seed), Progress())
    weights = nets.space.weights(nets.alpha.detach())
    return Projection(nets.space, nets.alone(0), weights, other, nets.how), one


def test_scores_are_what_a_removal_costs():
    found, _ = projection()
    scores = found.scores()
    assert (scores[:, 0] == 0).all()  # zero does nothing
    base = evaluate(
        lambda X: found.space.forward(found.w, X, found.space.split(found.weights)),
        found.held,
        row_loss,
    )[0]
    for e in range(3):
        for o in range(1, len(ALL)):
            changed = found.weights.clone()
            changed[0, e, o] = 0.0
            mix = found.space.split(changed)
            loss = evaluate(
                lambda X, mix=mix: found.space.forward(found.w, X, mix),
                found.held,
                row_loss,
            )[0]
            assert scores[e, o] == pytest.approx(loss - base, abs=1e-12)


def test_scores_of_a_grid_are_what_each_removal_costs():
    space = HypercuboidSpace(NUMBERS, SMOOTH, 8, 2)
    nets = Supernet(space, Search(row_loss), 1)
    nets.start(seeded(), torch.empty(0, dtype=torch.float64))
    weights, held = space.weights(1e3 * nets.alpha.detach()), table(NUMBERS)
    found = Projection(space, nets.alone(0), weights, held, nets.how)
    scores = found.scores()

    def loss(weights):
        mix = space.split(weights)
        return evaluate(lambda X: space.forward(found.w, X, mix), held, row_loss)[0]

    for e, o in [(0, 1), (3, 2), (9, 4), (17, 3), (26, 1), (31, 4)]:
        changed = weights.clone()
        changed[0, e, o] = 0.0
        expected = loss(changed) - loss(weights)
        assert scores[e, o] == pytest.approx(expected, abs=1e-12)
    assert np.abs(scores[~space.allowed()]).max() < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_an_operation_that_does_nothing_is_never_selected(seed, monkeypatch):
    void = _operations.Operation(0, lambda h, z: torch.zeros_like(h))
    monkeypatch.setitem(OPERATIONS, "void", void)
    monkeypatch.setattr(
        "skdiff.architecture_search._cells._architecture.NAMES", (*ALL, "void")
    )
    found, train_rows = projection(("zero", "void", "skip", "tanh"), seed)
    cell, scores = project(found, train_rows, seeded(), np.random.RandomState(seed))
    assert "void" not in cell.operations()
    assert (scores[:, 1] == 0).all()
    assert scores.shape == (3, 4)
    # what is left is one-hot
    kept = found.weights[0].sum(1)
    assert sorted(kept.tolist()) == [1.0, 1.0, 1.0]


def test_a_projection_keeps_n_inputs_edges(monkeypatch):
    nets = Supernet(CellSpace(NUMBERS, SMOOTH, 5, 3, 1), Search(row_loss), 1)
    nets.start(seeded(), torch.empty(0, dtype=torch.float64))
    weights = nets.space.weights(nets.alpha.detach())
    held = table(NUMBERS)
    found = Projection(nets.space, nets.alone(0), weights, held, nets.how)
    tuned, fine_tune = [], Projection.fine_tune

    def noted(self, *rest):
        before = [p.detach().clone() for p in self.w]
        fine_tune(self, *rest)
        same = [torch.equal(p, q) for p, q in zip(before, self.w, strict=True)]
        tuned.append(not all(same))

    monkeypatch.setattr(Projection, "fine_tune", noted)
    cell, _ = project(found, held, seeded(), np.random.RandomState(0))
    assert [len(node) for node in cell.nodes] == [1, 1, 1]
    # after each edge, and after each node that has lost some
    assert tuned == [True] * (6 + 2)


def test_a_projection_visits_edges_in_the_order_drawn(monkeypatch):
    found, train_rows = projection(SMOOTH)
    visited, removal = [], Projection.removal

    def noted(self, *edges):
        visited.extend(edges)
        return removal(self, *edges)

    monkeypatch.setattr(Projection, "removal", noted)
    for seed in (0, 1):
        visited.clear()
        project(found, train_rows, seeded(), np.random.RandomState(seed))
        assert visited == np.random.RandomState(seed).permutation(3).tolist()


class Over(Progress):
    """Ends the fit after some questions."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def is_over(self):
        self.left -= 1
        if self.left < 0:
            self.end("time")
        return super().is_over()


@pytest.mark.parametrize("after", [0, 1, 5, 7])
def test_a_projection_ends_with_the_fit(after):
    found, train_rows = projection(SMOOTH)
    space = CellSpace(NUMBERS, SMOOTH, 5, 3, 1)
    nets = Supernet(space, found.how, 1)
    nets.start(seeded(), torch.empty(0, dtype=torch.float64))
    weights = space.weights(nets.alpha.detach())
    found = Projection(
        space, nets.alone(0), weights, found.held, found.how, Over(after)
    )
    cell, scores = project(found, train_rows, seeded(), np.random.RandomState(0))
    visited = np.isfinite(scores[:, 1:]).all(axis=1)
    assert visited.sum() == min(after, 6)
    assert np.isnan(scores[~visited, 1:]).all() and (scores[:, 0] == 0).all()
    one_hot = found.weights[0].amax(dim=1).numpy() == 1
    assert (one_hot == visited).all() or after > 6
    if after == 0:
        assert cell == space.discretise(weights[0].numpy())


def test_scores_end_with_the_fit():
    found, _ = projection(SMOOTH)
    found.progress = Over(1)
    scores = found.scores()
    assert np.isnan(scores[:, 1:]).all(axis=1).tolist() == [False, True, True]
    space = HypercuboidSpace(NUMBERS, SMOOTH, 8, 2)
    nets = Supernet(space, Search(row_loss), 1)
    nets.start(seeded(), torch.empty(0, dtype=torch.float64))
    weights = space.weights(1e3 * nets.alpha.detach())
    grid = Projection(space, nets.alone(0), weights, table(NUMBERS), nets.how, Over(3))
    chain, scores = by_removal(grid, None, None, None)
    assert np.isnan(scores[:, 1:]).any() and np.isfinite(scores[:, 1:]).any()
    assert chain == space.discretise(
        log_weights(space, 1e3 * nets.alpha[0].detach().numpy())
    )


# --- the race -------------------------------------------------------------------------


def test_rungs_end_at_a_quarter_of_the_training():
    assert rungs(8, 64) == [16]
    assert rungs(4, 64) == []
    assert rungs(16, 64) == [8, 8]
    assert rungs(9, 64) == [8, 8]
    assert all(e > 0 for n in range(2, 40) for e in rungs(n, 4))


@pytest.mark.parametrize("chains", [False, True])
def test_the_worse_half_leaves(chains):
    data, held = table(NUMBERS, 80), table(NUMBERS, 80, 1)
    how = Training(row_loss, 0.02, 2.0, 20)
    space = HypercuboidSpace(NUMBERS, ALL, 8, 2)
    cells = (
        [space.discretise(random_scores(space, k)) for k in range(9)]
        if chains
        else random_networks(9, NUMBERS)
    )
    bench = Bench(NUMBERS, data, held, how, Progress())
    found = race(cells, bench, 8, 5)
    assert found.losses.shape == (9, 3)
    assert (~np.isnan(found.losses)).sum(axis=0).tolist() == [9, 5, 3]
    for rung, count in enumerate((5, 3)):
        alive = np.flatnonzero(~np.isnan(found.losses[:, rung]))
        best = alive[np.argsort(found.losses[alive, rung])[:count]]
        after = np.flatnonzero(~np.isnan(found.losses[:, rung + 1]))
        assert set(after) == set(best)
    assert found.winner == np.nanargmin(found.losses[:, -1])
    assert sorted(found.n_iter) == [1] * 4 + [2] * 2 + [10] * 3
    # the final is what each would do alone
    alone = trial(cells[found.winner], bench, 8, 5)
    np.testing.assert_allclose(found.trial.curve, alone.curve, rtol=1e-9)
    assert found.trial.loss == found.losses[found.winner, -1]


def test_those_left_in_a_race_train_on(monkeypatch):
    held, how = table(NUMBERS, 80, 1), Training(row_loss, 0.02, 2.0, 20)
    bench = Bench(NUMBERS, table(NUMBERS, 80), held, how, Progress())
    before, train_on = [], Bench.train_on

    def watched(self, module, epochs, seed):
        before.append(evaluate(module, held, row_loss))
        return train_on(self, module, epochs, seed)

    monkeypatch.setattr(Bench, "train_on", watched)
    found = race(random_networks(9, NUMBERS), bench, 8, 5)
    left = ~np.isnan(found.losses[:, 1])
    np.testing.assert_allclose(before[1], found.losses[left, 0], rtol=1e-12)
    last = ~np.isnan(found.losses[:, 2])  # the final starts from new weights
    assert not np.isclose(before[2], found.losses[last, 1]).any()


def test_a_race_that_has_no_time_ends():
    progress = Progress()
    progress.end("time")
    how = Training(row_loss, 0.01, None, 20)
    bench = Bench(NUMBERS, table(NUMBERS), table(NUMBERS), how, progress)
    for n in (3, 6):
        found = race(random_networks(n, NUMBERS), bench, 16, 0)
        assert found.winner == 0 and np.isnan(found.losses).all()
        assert found.trial.n_iter == 0 and found.trial.loss == np.inf
