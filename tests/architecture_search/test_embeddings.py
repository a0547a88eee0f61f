"""Embeddings of learned sizes: blocks, identities, pruning, the search, the tools."""

import itertools
import warnings
from copy import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

import skdiff
from skdiff._base.progress import Progress
from skdiff.architecture_search import (
    MixedEmbeddingClassifier,
    MixedEmbeddingEncoder,
    MixedEmbeddingRegressor,
    _net,
)
from skdiff.architecture_search._embeddings import _blocks, _search
from skdiff.architecture_search._embeddings._module import (
    Design,
    Layout,
    MixedNet,
    pairwise_products,
)

INTERACTIONS = ["mlp", "fm", "deepfm", "wide_deep", "mf", "neumf"]
FAST = {
    "max_iter": 4,
    "search_max_iter": 2,
    "max_embedding_dim": 4,
    "hidden_layer_sizes": (8,),
    "keep_fraction": 0.3,
    "random_state": 0,
}


def classifier(**how):
    return MixedEmbeddingClassifier(**{**FAST, **how})


def regressor(**how):
    return MixedEmbeddingRegressor(**{**FAST, **how})


def table(n=500, seed=0):
    rng = np.random.default_rng(seed)
    user = rng.choice(80, n, p=np.arange(80, 0, -1) / 3240)
    shop = rng.integers(0, 6, n)
    X = pd.DataFrame(
        {
            "user": pd.Categorical([f"u{u:02d}" for u in user]),
            "x": rng.normal(size=n),
            "shop": pd.Categorical(np.array(list("abcdef"))[shop]),
        }
    )
    return X, np.sin(user) + 0.5 * shop + X["x"].to_numpy() + rng.normal(size=n) / 5


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture(scope="module")
def fitted(rows):
    return regressor().fit(*rows)


def network(interaction="mlp", n_out=1, seed=0, **how):
    """A small net on two columns of 6 and 5 codes and one number, in float64."""
    layout = Layout(3, n_out, (0, 1), (0, 6, 11), (3, 3))
    design = Design(interaction, (5,), "tanh", unknown_rate=0.0, **how)
    mask = torch.ones(11, 3, dtype=torch.float64)
    block = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    generator = torch.Generator().manual_seed(seed)
    return MixedNet(layout, design, mask, block, generator)


def batch(n=40, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [rng.integers(0, 6, n), rng.integers(0, 5, n), rng.normal(size=n)]
    )
    return torch.tensor(X), (torch.tensor(rng.normal(size=(n, 1))), None)


def settings_of(**how):
    values = {
        "row_loss": lambda output, target: ((output - target) ** 2).mean(1) / 2,
        "batch_size": 16,
        "learning_rate": 0.1,
        "max_iter": 2,
        "tol": 0.0,
        "n_iter_no_change": 5,
        "progress": Progress(),
        "generator": torch.Generator().manual_seed(0),
    }
    return _search.Training(**{**values, **how})


# --- blocks ---------------------------------------------------------------------------


def test_blocks_follow_frequency_and_ties_the_order_of_categories():
    n = 60
    counts = np.r_[np.full(30, 5), np.full(30, 9)]
    codes = np.repeat(np.arange(n), counts)[:, None] + 2
    shares = _blocks.shares_of(5, None)
    found = _blocks.frequency_blocks(codes, None, [n + 2], shares, 16)
    block = found.block[2:]
    sizes = np.bincount(block)
    assert sizes.tolist() == [6, 12, 12, 12, 18]
    # the frequent ones come first, in their own order
    order = np.r_[np.arange(30, 60), np.arange(30)]
    assert (np.diff(block[order]) >= 0).all()
    assert (found.block[:2] == 4).all() and found.n_blocks == 5
    weighted = _blocks.frequency_blocks(
        np.arange(n)[:, None] + 2, counts / 7, [n + 2], shares, 16
    )
    np.testing.assert_array_equal(weighted.block, found.block)


def test_missing_values_have_a_frequency_like_a_category():
    often = np.r_[np.full(99, 1), np.arange(2, 62)][:, None]
    shares = _blocks.shares_of(5, None)
    found = _blocks.frequency_blocks(often, None, [62], shares, 16)
    assert found.block[1] == 0 and found.block[0] == 4
    never = _blocks.frequency_blocks(often[99:], None, [62], shares, 16)
    assert never.block[:2].tolist() == [4, 4]


def test_a_small_column_is_one_block_and_has_fewer_dimensions():
    codes = np.array([[2, 2], [3, 51], [4, 3]])
    found = _blocks.frequency_blocks(codes, None, [5, 52], np.ones(1), 16)
    assert found.per_column.tolist() == [1, 1] and found.dims.tolist() == [2, 16]
    assert found.allowed.sum() == 5 * 2 + 52 * 16


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 1.0))
def test_a_fraction_is_never_exceeded(seed, fraction):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 90, 3)
    codes = np.column_stack([rng.integers(2, s, 200) for s in sizes])
    blocks = _blocks.frequency_blocks(codes, None, sizes, np.full(4, 0.25), 6)
    folded = rng.normal(size=(sizes.sum(), 6))
    most = fraction * blocks.allowed.sum()
    entries = _blocks.keep_entries(folded, blocks, fraction)
    assert entries.sum() == np.floor(most + 1e-9)
    assert not (entries & ~blocks.allowed).any()
    whole = _blocks.keep_dimensions(folded, blocks, fraction)
    assert whole.sum() <= most + 1e-9 and not (whole & ~blocks.allowed).any()
    # nothing that is left out would still fit
    rows = np.bincount(blocks.block)
    left = most - whole.sum()
    for b in range(blocks.n_blocks):
        inside = blocks.block == b
        assert (whole[inside] == whole[inside][0]).all()
        free = (blocks.allowed[inside][0] & ~whole[inside][0]).any()
        assert not free or rows[b] > left - 1e-6


def test_the_largest_entries_stay():
    blocks = _blocks.frequency_blocks(np.array([[2], [3]]), None, [6], np.ones(1), 9)
    folded = np.arange(18.0).reshape(6, 3)
    mask = _blocks.keep_entries(folded, blocks, 1 / 3)
    assert folded[mask].min() > folded[~mask].max() and mask.sum() == 6
    whole = _blocks.keep_dimensions(folded, blocks, 1 / 3)
    np.testing.assert_array_equal(whole, np.arange(3) == 2 + np.zeros((6, 1)))


def test_dimensions_are_ranked_by_their_mean_square():
    blocks = _blocks.Blocks(
        np.array([0, 4, 14]), np.repeat([0, 1], [4, 10]), np.ones(2, int), np.ones(2)
    )
    folded = np.repeat([1.0, 0.9], [4, 10])[:, None]
    mask = _blocks.keep_dimensions(folded, blocks, 10 / 14)
    assert mask[:4].all() and not mask[4:].any()


# --- network --------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_products_of_all_pairs_are_the_double_sum(seed, n_fields):
    vectors = torch.tensor(np.random.default_rng(seed).normal(size=(7, n_fields, 4)))
    expected = torch.zeros(7, 4, dtype=torch.float64)
    for i, j in itertools.combinations(range(n_fields), 2):
        expected += vectors[:, i] * vectors[:, j]
    torch.testing.assert_close(
        pairwise_products(vectors), expected, rtol=1e-10, atol=1e-12
    )


def test_a_factorisation_machine_by_hand():
    net = network("fm", numeric="embedding").eval()
    with torch.no_grad():
        for p in (net.first, net.slopes, net.bias):
            p.normal_(generator=torch.Generator().manual_seed(1))
    X, _ = batch(9)
    found = net(X)[:, 0].detach().numpy()
    E, v, w = (p.detach().numpy() for p in (net.table, net.numbers, net.first))
    for row, value in zip(X.numpy(), found, strict=True):
        a, b = int(row[0]), 6 + int(row[1])
        fields = [E[a], E[b], row[2] * v[0]]
        pairs = sum(s @ t for s, t in itertools.combinations(fields, 2)) / 3
        linear = w[a, 0] + w[b, 0] + row[2] * net.slopes.item() + net.bias.item()
        np.testing.assert_allclose(value, linear + pairs, rtol=1e-12)


def test_matrix_factorisation_is_biases_and_a_dot_product():
    net = network("mf").eval()
    X, _ = batch(9)
    a, b = X[:, 0].long(), X[:, 1].long() + 6
    product = (net.table[a] * net.table[b]).sum(1)
    torch.testing.assert_close(net(X)[:, 0], product, rtol=1e-12, atol=0)


@pytest.mark.parametrize("interaction", INTERACTIONS)
@pytest.mark.parametrize("n_out", [1, 3])
def test_a_selection_of_ones_changes_nothing_and_zeros_remove(interaction, n_out):
    net = network(interaction, n_out).eval()
    X, _ = batch()
    plain = net(X)
    net.selection = torch.ones(3, 3, dtype=torch.float64)
    assert torch.equal(net(X), plain)
    net.selection[1] = 0.0
    gone = net(X)
    net.selection = None
    with torch.no_grad():
        net.table[3:6] = 0.0
    torch.testing.assert_close(gone, net(X), rtol=0, atol=0)
    # what the removed block had held no longer matters
    other = network(interaction, n_out).eval()
    with torch.no_grad():
        other.mask[3:6] = 0.0
        other.table[3:6] = 99.0
    torch.testing.assert_close(other(X), gone, rtol=0, atol=0)


@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_second_order_is_one_unrolled_step(interaction):
    net = network(interaction).eval()
    alpha = torch.full((3, 3), 0.8, dtype=torch.float64, requires_grad=True)
    net.selection = alpha
    how = settings_of()
    train, held = batch(30, 1), batch(30, 2)
    found = _search.selection_gradient(net, (train, held), how, 2)

    def after(value):
        """Validation loss after a step that starts from a selection."""
        copy = network(interaction).eval()
        copy.selection = value
        steps = torch.autograd.grad(
            how.loss(copy, train), copy.searched(), allow_unused=True
        )
        with torch.no_grad():
            for w, g in zip(copy.searched(), steps, strict=True):
                if g is not None:
                    w.sub_(0.1 * g)
            return float(how.loss(copy, held))

    base = alpha.detach()
    for place in [(0, 0), (1, 2), (2, 1)]:
        step = torch.zeros_like(base)
        step[place] = 1e-5
        slope = (after(base + step) - after(base - step)) / 2e-5
        np.testing.assert_allclose(float(found[place]), slope, rtol=1e-4, atol=1e-9)
    first = _search.selection_gradient(net, (train, held), how, 1)
    assert not torch.allclose(first, found)


def test_the_gradient_of_each_block_has_mean_one():
    raw = torch.tensor(np.random.default_rng(0).normal(size=(4, 6)))
    raw *= torch.tensor([[1.0], [1e-3], [1e3], [1.0]])
    found = _search.normalised_rows(raw).abs().mean(1)
    np.testing.assert_allclose(found, 1, atol=1e-4)


def test_the_search_moves_vectors_and_selection_only():
    net = network("deepfm")
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    X, y = batch(64)
    data = _search.TensorData(X, y)
    choice = _search.Selection(max_iter=1)
    _search.search(net, data, data, settings_of(), choice, lambda *_: None)
    moved = {n for n, p in net.named_parameters() if not torch.equal(p, before[n])}
    assert "table" in moved and not any(n.startswith("deep") for n in moved)
    assert net.selection.min() >= 0 and net.selection.max() <= 1
    assert (net.selection < 1).any()


def test_losses_of_the_stages_are_weighted():
    net, how = network().eval(), settings_of()
    X, (y, _) = batch()
    weight = torch.tensor(np.random.default_rng(0).uniform(0, 2, len(X)))
    each = weight * (net(X) - y).detach()[:, 0] ** 2 / 2
    found = how.loss(net, (X, (y, weight))).item()
    np.testing.assert_allclose(found, each.mean(), rtol=1e-12)
    held = _search.TensorData(X, (y, weight))
    found = _search.mean_loss(net, held, how.row_loss)
    np.testing.assert_allclose(found, each.sum() / weight.sum(), rtol=1e-12)


def test_the_selection_follows_normalised_gradients_of_validation_rows(monkeypatch):
    gradient = torch.tensor([[1.0, 2.0, 3.0], [1e-4, 2e-4, 3e-4], [-1.0, 0.0, 1.0]])
    held = []

    def noted(module, pair, how, order):
        held.append(pair[1][0])
        return gradient.double()

    monkeypatch.setattr(_search, "selection_gradient", noted)
    net, how = network(), settings_of(batch_size=40)
    train, validation = (_search.TensorData(*batch(40, seed)) for seed in (1, 2))
    choice = _search.Selection(max_iter=1, l1=0.0)
    _search.search(net, train, validation, how, choice, lambda *_: None)
    expected = np.array([[0.995, 0.99, 0.985], [0.995, 0.99, 0.985], [1.0, 1.0, 0.985]])
    np.testing.assert_allclose(net.selection.detach(), expected, atol=1e-5)
    assert len(held) == 1 and torch.equal(held[0], validation.X)


def test_one_code_in_a_hundred_is_unknown_while_training():
    net = MixedNet(
        network().layout,
        Design(),
        torch.ones(11, 3, dtype=torch.float64),
        torch.zeros(11, dtype=torch.int64),
        torch.Generator().manual_seed(0),
    )
    X = torch.full((20_000, 3), 3.0)
    share = (net._codes(X) == torch.tensor([0, 6])).double().mean(0)
    np.testing.assert_allclose(share, 0.01, atol=0.003)
    assert (net.eval()._codes(X) == torch.tensor([3, 9])).all()


def test_the_penalty_pulls_the_selection_to_zero():
    net = network()
    rows = _search.TensorData(*batch(16))
    choice = _search.Selection(max_iter=1, l1=1e3)
    _search.search(net, rows, rows, settings_of(), choice, lambda *_: None)
    assert (net.selection == 0).all()


def test_the_best_epoch_of_the_search_stays(monkeypatch):
    rows = _search.TensorData(*batch(64))
    found = []
    for losses in ([2.0, 3.0, 4.0], [2.0]):
        left, net = list(losses), network()
        monkeypatch.setattr(_search, "mean_loss", lambda *_, left=left: left.pop(0))
        choice = _search.Selection(max_iter=len(losses))
        _search.search(net, rows, rows, settings_of(), choice, lambda *_: None)
        found.append((net.table.detach().clone(), net.selection.detach().clone()))
    assert all(map(torch.equal, *found))


def test_step_sizes_are_halved_and_the_best_epoch_stays(monkeypatch):
    rows = _search.TensorData(*batch(64))
    found = []
    for losses in ([5.0, 4.0, 6.0, 3.0, 7.0], [5.0, 4.0, 6.0, 3.0], [1.0, 2.0, 3.0]):
        left, net = list(losses), network()
        monkeypatch.setattr(_search, "mean_loss", lambda *_, left=left: left.pop(0))
        how = settings_of(max_iter=len(losses) - 1)
        best = _search.descend(net, rows, rows, how, lambda *_: None)
        found.append((best.epoch, best.loss, best.rates, net.table.detach().clone()))
    assert found[0][:3] == found[1][:3] == (3, 3.0, [0.1, 0.1, 0.05])
    assert torch.equal(found[0][3], found[1][3])
    # one epoch at least is trained on all rows
    assert found[2][:3] == (0, 1.0, [0.1])
    assert torch.equal(found[2][3], network().table)


def test_the_final_training_takes_the_step_sizes_of_the_trial(rows, monkeypatch):
    taken = []

    def noted(net, data):
        net._rate = [0.03, 0.02, *[0.01] * 99].__getitem__
        loss = run_epoch(net, data)
        taken.append(net.optimizer_.param_groups[0]["lr"])
        return loss

    run_epoch = _net.Rated.run_epoch
    monkeypatch.setattr(_net.Rated, "run_epoch", noted)
    regressor(n_iter_no_change=9, tol=0.0).fit(*rows)
    assert taken[:2] == [0.03, 0.02]


def test_what_is_kept_is_trained_from_where_training_began():
    net = network("deepfm")
    first = {name: t.detach().clone() for name, t in net.state_dict().items()}
    X, y = batch(64)
    rows = _search.TensorData(X, y)
    blocks = _blocks.Blocks(
        np.array([0, 6, 11]), net.block.numpy(), np.array([2, 1]), np.array([3, 3])
    )
    choice = _search.Selection(keep_fraction=0.4, max_iter=2)
    found = _search.find(
        net, rows, rows, settings_of(), choice, blocks, _search.History()
    )
    assert 0 < found.mask.sum() <= 0.4 * 33 and list(found.state) == list(first)
    for name, array in found.state.items():
        expected = first[name].numpy()
        if name == "table":
            expected = expected * found.mask
        np.testing.assert_array_equal(array, expected)


def test_a_loss_is_a_quarter_of_a_standard_error_above_the_lowest():
    lowest = torch.zeros(100, dtype=torch.float64)
    spread = torch.tensor([1.0, -1.0] * 50, dtype=torch.float64)  # error of .1
    assert not _search._loses(lowest - 1, lowest)
    assert not _search._loses(lowest + spread + 0.0249, lowest)
    assert _search._loses(lowest + spread + 0.0251, lowest)
    assert _search._loses(lowest + np.nan, lowest)


@pytest.mark.parametrize(("lowest", "epochs"), [(-1.0, 2), (100.0, 4)])
def test_a_trial_far_behind_is_given_up(lowest, epochs):
    net = network()
    X, y = batch(64)
    rows = _search.TensorData(X, y)
    blocks = _blocks.Blocks(
        np.array([0, 6, 11]), net.block.numpy(), np.array([2, 1]), np.array([3, 3])
    )
    history, first = _search.History(), net.state_dict()
    how, choice = settings_of(max_iter=4), _search.Selection()
    stages = _search.Stages(net, rows, rows, how, choice, blocks, history, first)
    whole = _search.Found(blocks.allowed, np.ones((3, 3)), {}, [], 1.0, {})
    warm = _search.Best(net)
    warm.n_epochs = 2
    losses = torch.full((64,), lowest, dtype=torch.float64)
    found, _ = _search.smallest(stages, whole, warm, losses, net.fold())
    assert history.stage.count("keep 0.5") == epochs
    assert (found.keep_fraction == 1) == (epochs == 2)


# --- estimators -----------------------------------------------------------------------


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_the_fraction_is_honoured(rows, fraction, structured):
    model = regressor(keep_fraction=fraction, structured=structured).fit(*rows)
    assert model.n_embedding_params_ <= fraction * model.n_embedding_params_full_
    assert model.n_embedding_params_ == model.mask_.sum()
    table = model.net_.module_.table.detach().numpy()
    assert (table[~model.mask_] == 0).all()
    assert model._state["arrays"]["table"].shape == (model.n_embedding_params_,)
    sizes = model.embedding_sizes_
    assert list(sizes) == ["user", "shop"]
    assert len(sizes["user"]) == 5 and len(sizes["shop"]) == 1
    assert (sizes["user"].dtype.kind == "i") == structured


def test_the_evidence_is_there(fitted):
    assert fitted.selection_.shape == (6, 4) and fitted.block_.max() == 5
    history = fitted.search_history_
    assert set(history["stage"]) == {"warm start", "search", "keep 0.3"}
    assert len(set(map(len, history.values()))) == 1
    assert fitted.keep_fraction_ == 0.3 and list(fitted.keep_losses_) == [0.3]
    vectors = fitted.embedding("user")
    n_user = len(fitted.categories_["user"])
    kept = fitted.mask_[2 : n_user + 2].any(axis=0)
    assert vectors.shape == (n_user, kept.sum())
    assert fitted.stopped_ == "schedule" and fitted.loss_ == fitted.loss_curve_[-1]
    with pytest.raises(ValueError, match="column must be one of"):
        fitted.embedding("x")


def test_the_uniform_model_searches_nothing(rows):
    model = regressor(n_frequency_blocks=1, keep_fraction=1.0).fit(*rows)
    assert model.n_embedding_params_ == model.n_embedding_params_full_
    assert {k: v.tolist() for k, v in model.embedding_sizes_.items()} == {
        "user": [4],
        "shop": [4],
    }
    assert (model.selection_ == 1).all()
    assert set(model.search_history_["stage"]) == {"warm start"}


def test_auto_takes_the_smallest_table_that_is_as_good(rows):
    X, y = rows
    model = regressor(keep_fraction="auto", max_iter=10).fit(X, y)
    tried = model.keep_losses_
    assert list(tried) == [0.5, 0.25, 0.125][: len(tried)]
    kept = model.keep_fraction_
    assert kept == 1.0 or kept in tried
    # the target needs no vectors at all
    noise = regressor(keep_fraction="auto").fit(
        X, np.random.default_rng(0).normal(size=len(y))
    )
    assert (
        noise.n_embedding_params_
        <= noise.keep_fraction_ * noise.n_embedding_params_full_
    )


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ((1.0, 0.8, 0.7, 0.6), 0.125),
        ((1.0, 0.8, 0.9, 0.6), 0.5),  # better than the whole table, but not the best
        ((1.0, 1.1, 0.7, 0.6), 1.0),
        ((1.0, 1.0, 1.0, 1.0), 0.125),
    ],
)
def test_auto_compares_with_the_lowest_loss_so_far(rows, losses, kept, monkeypatch):
    left = list(losses)
    monkeypatch.setattr(
        _search,
        "row_losses",
        lambda module, data, row_loss: torch.full((50,), left.pop(0)),
    )
    monkeypatch.setattr(_search, "mean_loss", lambda *_: 1.0)
    model = regressor(keep_fraction="auto").fit(*rows)
    assert model.keep_fraction_ == kept
    assert model.n_embedding_params_ <= kept * model.n_embedding_params_full_


@pytest.mark.parametrize("interaction", INTERACTIONS)
@pytest.mark.parametrize("numeric", ["passthrough", "embedding"])
def test_every_interaction_learns(interaction, numeric):
    X, y = table(700)
    how = {"interaction": interaction, "numeric": numeric, "keep_fraction": 0.5}
    how |= {"max_iter": 15, "learning_rate_init": 0.02, "batch_size": 64}
    assert regressor(**how).fit(X[:500], y[:500]).score(X[500:], y[500:]) > 0.5
    labels = np.array(["low", "mid", "top"])[np.digitize(y, [0.7, 2.0])]
    model = classifier(**how).fit(X[:500], labels[:500])
    assert model.score(X[500:], labels[500:]) > 0.5
    proba = model.predict_proba(X[500:])
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-9)


def test_neither_order_repetition_nor_names_matter(rows):
    X, y = (part[:150] for part in rows)
    X = X.reset_index(drop=True)
    how = {"keep_fraction": 0.5}
    expected = regressor(**how).fit(X, y, 1 + (np.arange(150) < 40)).predict(X)
    order = np.random.RandomState(0).permutation(150)
    found = regressor(**how).fit(X.iloc[order], y[order], 1 + (order < 40)).predict(X)
    np.testing.assert_array_equal(found, expected)
    X2, y2 = pd.concat([X, X[:40]]), np.concatenate([y, y[:40]])
    found = regressor(**how).fit(X2, y2).predict(X)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    names = {u: f"name {u}" for u in X["user"].cat.categories}
    renamed = X.assign(user=X["user"].cat.rename_categories(names))
    found = regressor(**how).fit(renamed, y, 1 + (np.arange(150) < 40)).predict(renamed)
    np.testing.assert_array_equal(found, expected)
    # a row of weight zero brings no category along
    extra = X.iloc[[0]].assign(user=pd.Categorical(["new"]))
    X3 = pd.concat([X, extra]).astype({"user": "category", "shop": "category"})
    weight = np.r_[1 + (np.arange(150) < 40), 0]
    found = regressor(**how).fit(X3, np.r_[y, 9.0], weight).predict(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("levels", [5, 60])
def test_few_distinct_rows_are_learned_from(levels):
    rng = np.random.default_rng(1)
    kind = rng.integers(0, levels, 5000)
    share = 1 / (1 + np.exp(-1.5 * rng.normal(size=levels)))[kind]
    y = (rng.random(5000) < share).astype(int)
    X = pd.DataFrame({"kind": pd.Categorical(kind)})
    model = MixedEmbeddingClassifier(keep_fraction=1.0, random_state=0)
    found = model.fit(X[:2500], y[:2500]).predict_proba(X[2500:])
    rates = pd.Series(y[:2500]).groupby(kind[:2500]).mean()[kind[2500:]]
    assert log_loss(y[2500:], found) < log_loss(y[2500:], rates) + 0.01


def test_weights_that_are_no_counts_split_no_row(rows):
    X, y = (part[:60] for part in rows)
    for weight in (np.full(60, 0.5), np.full(60, 11.0)):
        found = regressor().fit(X, y, weight).predict(X)
        np.testing.assert_array_equal(found, regressor().fit(X, y).predict(X))
    twice = regressor().fit(X, y, np.full(60, 2.0)).predict(X)
    X2, y2 = pd.concat([X, X]), np.concatenate([y, y])
    np.testing.assert_array_equal(twice, regressor().fit(X2, y2).predict(X))


def test_missing_and_unseen_categories(rows, fitted):
    X, y = rows
    other = X[:3].assign(user=pd.Categorical(["new", None, "other"]))
    found = fitted.predict(other.assign(x=0.0, shop=pd.Categorical(["a"] * 3)))
    # without missing values in fit they are as unknown as a new category
    assert np.isfinite(found).all() and found[0] == found[1] == found[2]
    holes = X.assign(user=X["user"].where(np.arange(len(X)) % 4 > 0))
    shifted = y + 5.0 * (np.arange(len(X)) % 4 == 0)
    model = regressor(max_iter=20, learning_rate_init=0.02).fit(holes, shifted)
    gap = model.predict(X[:80].assign(user=pd.Categorical([None] * 80)))
    new = model.predict(X[:80].assign(user=pd.Categorical(["new"] * 80)))
    assert gap.mean() > new.mean() + 1
    # a row of weight zero brings no missing value along
    weight = (np.arange(len(X)) % 4 > 0).astype(float)
    model = regressor(keep_fraction=1.0).fit(holes, shifted, weight)
    gap = model.predict(X[:80].assign(user=pd.Categorical([None] * 80)))
    new = model.predict(X[:80].assign(user=pd.Categorical(["new"] * 80)))
    np.testing.assert_array_equal(gap, new)


def test_columns_are_named_by_position_without_a_frame():
    X, y = table(200)
    codes = np.column_stack([X["user"].cat.codes, X["x"], X["shop"].cat.codes])
    model = regressor(categorical_features=[0, 2]).fit(codes, y)
    assert list(model.embedding_sizes_) == list(model.categories_) == [0, 2]
    by_mask = regressor(categorical_features=[True, False, True]).fit(codes, y)
    np.testing.assert_array_equal(by_mask.predict(codes), model.predict(codes))
    by_name = regressor(categorical_features=["user", "shop"]).fit(X, y)
    np.testing.assert_array_equal(by_name.predict(X), regressor().fit(X, y).predict(X))


def test_predictions_stay_within_the_range(rows):
    X, y = rows
    model = regressor(learning_rate_init=0.05).fit(X, y)
    assert y.min() <= model.predict(X).min() and model.predict(X).max() <= y.max()
    narrow = regressor(y_range=(0.0, 1.0)).fit(X, y)
    assert narrow.y_range_ == (0.0, 1.0) and np.ptp(narrow.predict(X)) <= 1.0
    assert regressor(y_range=None).fit(X, y).y_range_ is None


def test_several_targets_and_class_weights(rows):
    X, y = rows
    Y = np.column_stack([y, -y])
    model = regressor(interaction="deepfm").fit(X, Y)
    assert model.predict(X).shape == Y.shape and model.n_outputs_ == 2
    labels = np.where(y > np.quantile(y, 0.9), "rare", "usual")
    balanced = classifier(class_weight="balanced").fit(X, labels).predict_proba(X)
    weight = compute_sample_weight("balanced", labels)
    weighted = classifier().fit(X, labels, weight).predict_proba(X)
    np.testing.assert_array_equal(balanced, weighted)
    often = np.arange(len(X)) % 3
    repeated = np.repeat(np.arange(len(X)), often)
    by_weight = classifier(class_weight="balanced").fit(X, labels, often)
    model = classifier(class_weight="balanced")
    model.fit(X.iloc[repeated], labels[repeated])
    np.testing.assert_allclose(
        by_weight.predict_proba(X), model.predict_proba(X), rtol=1e-9
    )
    plain = classifier().fit(X, labels).predict_proba(X)
    assert balanced[:, 0].mean() > plain[:, 0].mean()


def test_one_target_value_needs_no_network(rows):
    X, _ = rows
    model = regressor().fit(X, np.ones(len(X)))
    assert model.n_embedding_params_ == 0 and (model.predict(X) == 1).all()
    assert model.embedding("user").shape[1] == 0


def test_files_keep_what_is_kept(fitted, rows, tmp_path):
    X, _ = rows
    fitted.save(tmp_path / "model.npz")
    again = skdiff.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(again.embedding("user"), fitted.embedding("user"))
    mask, columns, state = again.mask_, again._categories, again._state
    flags = columns["categorical"]
    for name, wrong in [
        ("mask_", np.zeros_like(mask)),
        ("mask_", mask[mask.any(axis=1)]),
        ("mask_", mask.astype(np.int64)),
        ("block_", again.block_[:3]),
        ("_state", {**state, "parameters": {"max_embedding_dim": 10**9}}),
        ("_categories", {**columns, "has_missing": flags}),
        ("_categories", {**columns, "has_missing": np.array([5, 9])}),
        ("_categories", {**columns, "categorical": ~flags}),
        ("_categories", {**columns, "categorical": flags[:2]}),
    ]:
        damaged = copy(again)
        setattr(damaged, name, wrong)
        with pytest.raises(ValueError, match="do not belong"):
            damaged._check_loaded()


def test_a_time_limit_leaves_time_to_train(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = regressor(time_limit=1e-6).fit(*rows)
        assert model.stopped_ == "time"
        model = regressor(time_limit=2.0, search_max_iter=10**5, tol=0.0).fit(*rows)
    assert np.isfinite(model.predict(rows[0])).all()
    assert model.n_embedding_params_ <= 0.3 * model.n_embedding_params_full_


@pytest.mark.parametrize("stage", ["warm start", "search", "keep 0.3"])
def test_an_interrupt_before_the_final_training_leaves_all_as_it_was(
    rows, stage, monkeypatch
):
    X, y = rows
    model = regressor()
    encoder = MixedEmbeddingEncoder(**FAST)
    expected = clone(model).fit(X, y).predict(X)
    used = clone(model).fit(X, y), clone(encoder).fit(X, y)
    vectors = used[1].transform(X)

    def impatient(history, at, loss, module):
        if at == stage:
            raise KeyboardInterrupt

    wider = X.assign(more=pd.Categorical(np.arange(len(X)) % 3))
    with monkeypatch.context() as patch:
        patch.setattr(_search.History, "note", impatient)
        for one in (model, encoder, *used):
            with pytest.raises(KeyboardInterrupt):
                one.fit(wider, y)
    for fresh in (model, encoder):
        assert not [name for name in vars(fresh) if name.endswith("_")]
        with pytest.raises(NotFittedError):
            check_is_fitted(fresh)
    assert used[0].n_features_in_ == 3
    np.testing.assert_array_equal(used[0].predict(X), expected)
    np.testing.assert_array_equal(used[1].transform(X), vectors)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), expected)


def test_an_interrupt_of_the_final_training_keeps_what_was_learnt(rows, monkeypatch):
    done = []

    def impatient(net, data):
        done.append(run_epoch(net, data))
        if len(done) == 3:
            raise KeyboardInterrupt
        return done[-1]

    run_epoch = _net.Rated.run_epoch
    monkeypatch.setattr(_net.Rated, "run_epoch", impatient)
    model = regressor(max_iter=8)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*rows)
    assert model.stopped_ == "interrupted" and model.n_iter_ == 2
    assert np.isfinite(model.predict(rows[0])).all()


def test_columns_of_one_category_and_of_a_category_a_row(rows):
    X, y = rows
    odd = X.assign(one="a", id=[f"row {k}" for k in range(len(X))])
    odd = odd.astype({"one": "category", "id": "category"})
    how = {"keep_fraction": 0.5, "max_iter": 15, "learning_rate_init": 0.02}
    model = regressor(**how).fit(odd[:400], y[:400])
    assert model.embedding("one").shape[0] == 1
    new = odd[400:].assign(one="b").astype({"one": "category"})
    assert model.score(new, y[400:]) > 0.5
    alone = regressor(keep_fraction=1.0).fit(odd[["one"]], y)
    assert np.ptp(alone.predict(odd[["one"]])) == 0


def test_tables_of_pandas_dtypes_say_the_same(rows):
    X, y = rows
    expected = regressor().fit(X, y).predict(X)
    shop = pd.Categorical(X["shop"].astype(str), categories=list("zfedcbaq"))
    texts = X["user"].astype("string")
    other = X.assign(
        x=X["x"].astype("Float64"), shop=shop, user=texts.astype("category")
    )
    model = regressor().fit(other, y)
    assert list(model.categories_["shop"]) == list("abcdef")
    np.testing.assert_array_equal(model.predict(other), expected)
    named = regressor(categorical_features=["user", "shop"])
    named.fit(other.assign(user=texts), y)
    np.testing.assert_array_equal(named.predict(other.assign(user=texts)), expected)


@pytest.mark.parametrize("last", [4, 12, 17, 20])
def test_a_fit_that_is_ended_early_has_learned_something(rows, last, monkeypatch):
    step = Progress.step

    def counted(progress, **how):
        over = step(progress, **how)
        if progress.n_iter == last:
            progress.end("callback")
        return over or progress.ended is not None

    monkeypatch.setattr(Progress, "step", counted)
    how = {"max_iter": 10, "tol": 0.0, "n_iter_no_change": 10}
    how |= {"learning_rate_init": 0.02, "keep_fraction": 0.5}
    model = regressor(**how, search_max_iter=6).fit(*rows)
    stages = model.search_history_["stage"]
    assert len(stages) == last and model.stopped_ == "callback"
    assert model.n_embedding_params_ <= 0.5 * model.n_embedding_params_full_
    assert model.score(*rows) > 0.5
    auto = regressor(**how | {"keep_fraction": "auto"}, search_max_iter=6).fit(*rows)
    assert auto.stopped_ == "callback" and auto.score(*rows) > 0.5
    assert len(auto.search_history_["stage"]) == last


# --- encoder --------------------------------------------------------------------------


def test_the_encoder_hands_over_numbers_and_vectors(rows):
    X, y = rows
    encoder = MixedEmbeddingEncoder(**FAST).fit(X, y)
    assert encoder.task_ == "regression"
    names = encoder.get_feature_names_out()
    found = encoder.transform(X)
    assert found.shape == (len(X), len(names)) and names[0] == "x"
    assert all("_emb" in name for name in names[1:])
    np.testing.assert_array_equal(found[:, 0], X["x"])
    user = encoder.estimator_.embedding("user")
    places = [k for k, name in enumerate(names) if name.startswith("user_emb")]
    np.testing.assert_array_equal(found[:, places], user[X["user"].cat.codes])
    model = regressor().fit(X, y)
    np.testing.assert_array_equal(model.embedding("user"), user)
    framed = encoder.set_output(transform="pandas").transform(X)
    assert list(framed.columns) == list(names) and (framed.index == X.index).all()


def test_the_task_follows_the_target(rows):
    X, y = rows
    assert MixedEmbeddingEncoder(**FAST).fit(X, y > 0).task_ == "classification"
    counts = np.round(y).astype(int)
    encoder = MixedEmbeddingEncoder(task="regression", **FAST).fit(X, counts)
    assert isinstance(encoder.estimator_, MixedEmbeddingRegressor)


def test_the_encoder_within_a_grid_search(rows):
    X, y = rows
    columns = make_column_transformer(
        (MixedEmbeddingEncoder(**FAST), ["user", "shop"]),
        remainder=StandardScaler(),
    )
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=10))
    grid = {"columntransformer__mixedembeddingencoder__keep_fraction": [0.25, 1.0]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X, y > y.mean())
    assert search.best_score_ > 0.6
    names = search.best_estimator_[0].get_feature_names_out()
    assert any("_emb" in name for name in names)


# --- the acceptance experiment --------------------------------------------------------


def made_ratings(seed):
    """Ratings whose popular users and items have more dimensions."""
    rng = np.random.default_rng(seed)
    sides = []
    for n, power, spread in ((800, 0.8, 0.3), (500, 1.0, 0.4)):
        dims = np.repeat([12, 3, 0], [n // 10, n // 2 - n // 10, n - n // 2])
        factors = rng.normal(0, 0.55, (n, 12)) * (np.arange(12) < dims[:, None])
        share = np.arange(1, n + 1.0) ** -power
        codes = rng.choice(n, 40_000, p=share / share.sum())
        sides.append((codes, factors[codes], rng.normal(0, spread, n)[codes]))
    (u, U, a), (i, V, b) = sides
    y = 3.5 + a + b + (U * V).sum(axis=1) + rng.normal(0, 0.7, 40_000)
    return pd.DataFrame({"user": pd.Categorical(u), "item": pd.Categorical(i)}), y


def test_sizes_follow_the_true_ranks():
    X, y = made_ratings(0)
    how = {"interaction": "mf", "random_state": 0}
    uniform = {**how, "n_frequency_blocks": 1, "keep_fraction": 1.0}
    errors = []
    for more in (
        {**how, "keep_fraction": 0.25},
        {**uniform, "max_embedding_dim": 4},
        uniform,
    ):
        model = MixedEmbeddingRegressor(**more).fit(X[:32_000], y[:32_000])
        errors.append(np.sqrt(np.mean((model.predict(X[32_000:]) - y[32_000:]) ** 2)))
        if "keep_fraction" in more and more["keep_fraction"] == 0.25:
            assert model.n_embedding_params_ <= 0.25 * model.n_embedding_params_full_
            for sizes in model.embedding_sizes_.values():
                assert sizes[0] > sizes[2] >= sizes[-1] == 0
    assert errors[0] < 0.96 * errors[1]
    assert errors[0] < 1.015 * errors[2]


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"keep_fraction": 0.0}, "'keep_fraction' parameter"),
        ({"keep_fraction": 1.5}, "'keep_fraction' parameter"),
        ({"interaction": "sum"}, "'interaction' parameter"),
        ({"order": 3}, "'order' parameter"),
        ({"block_shares": [0.5, 0.5]}, "n_frequency_blocks=5 numbers"),
        ({"block_shares": [0.5] * 5}, "with sum 1"),
        ({"categorical_features": [7]}, r"in \[0, 2\]"),
        ({"categorical_features": ["city"]}, "'city' which is not among"),
        ({"categorical_features": ["user"], "interaction": "mf"}, "exactly two"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"y_range": (2.0, 1.0)}, "the lower first"),
        ({"alpha": (0.1,)}, "one alpha"),
    ],
)
def test_bad_parameters_are_named_before_any_work(rows, how, message):
    X, y = rows
    if how.get("categorical_features") == ["user"]:
        X = X.drop(columns="shop")
    model = regressor(**how)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "mask_") and not hasattr(model, "_fitting")


def test_columns_of_strings_are_named(rows):
    X, y = rows
    for texts in (X.astype({"user": object}), X.astype({"user": "string"})):
        with pytest.raises(ValueError, match=r"hold strings: \['user'\]. Convert"):
            regressor().fit(texts, y)
    with pytest.raises(ValueError, match=r"hold strings: \[0, 2\]"):
        MixedEmbeddingEncoder(**FAST).fit(X.to_numpy(dtype=object), y)
    with pytest.raises(ValueError, match=r"hold strings: \[2\]"):
        regressor(categorical_features=[0]).fit(X.to_numpy(dtype=object), y)


def test_negative_weights_are_refused_by_name(rows):
    X, y = rows
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        regressor().fit(X, y, -np.ones(len(X)))


def test_a_fraction_may_keep_nothing(rows):
    X, y = rows
    model = regressor(keep_fraction=0.001).fit(X, y)
    assert model.n_embedding_params_ == 0
    alike = X.assign(user=X["user"].iloc[0], shop=X["shop"].iloc[0])
    np.testing.assert_array_equal(model.predict(X), model.predict(alike))


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_table_of_numbers_is_refused(make):
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ValueError, match="no categorical column"):
        make().fit(X, (X[:, 0] > 0).astype(int))
    with pytest.raises(ValueError, match="no categorical column"):
        MixedEmbeddingEncoder().fit(X, X[:, 0])
    assert not hasattr(make(), "partial_fit")
