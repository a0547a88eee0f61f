"""The lean loop against stock skorch, the optimisers against torch's."""

import numpy as np
import pytest
import skorch
import torch
from skorch.callbacks import EarlyStopping, GradientNormClipping, LRScheduler
from torch import nn
from torch.nn import functional as F

from skdiff._nn._data import TensorData, TensorIterator, as_tensor
from skdiff._nn._fit import seeded
from skdiff._nn._modules import MLP, Dropout, Embeddings
from skdiff._nn._net import Criterion, Net
from skdiff._nn._optim import FlatAdam, FlatSGD
from skdiff._nn._threads import SMALL, threads_for

pytestmark = pytest.mark.usefixtures("untouched")


def table(n=300):
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(n, 5)))
    return X, (X[:, 0] > 0).long()


def fresh():
    return MLP([5, 7, 2], "relu", seeded(3)).double()


def mean_loss(output, target, weight):
    return F.cross_entropy(output, target)


class Stock(skorch.NeuralNet):
    """skorch as it comes, but for the batches."""

    def get_dataset(self, X, y=None):
        return X

    def get_iterator(self, dataset, training=False):
        if not hasattr(self, "own_generator"):
            self.own_generator = seeded(1)
        return TensorIterator(dataset, 32, self.own_generator)


@pytest.mark.parametrize(
    "callbacks",
    [
        [],
        [
            (
                "stop",
                EarlyStopping(monitor="train_loss", patience=2, sink=lambda s: None),
            )
        ],
        [("rate", LRScheduler("StepLR", step_size=2, gamma=0.5))],
        [("rate", LRScheduler("StepLR", step_size=5, gamma=0.9, step_every="batch"))],
        [("clip", GradientNormClipping(0.05))],
    ],
    ids=["none", "stop", "rate", "rate by batch", "clip"],
)
def test_weights_are_bit_identical_to_stock_skorch(callbacks):
    X, y = table()
    data = TensorData(X, (y, torch.ones(len(y))))
    keywords = {
        "lr": 0.01,
        "optimizer": FlatAdam,
        "callbacks": callbacks,
        "batch_size": 32,
    }
    lean = Net(fresh(), Criterion(mean_loss), generator=seeded(1), **keywords)
    lean.initialize()
    lean.notify("on_train_begin", X=data, y=None)
    try:
        for _ in range(8):
            lean.run_epoch(data)
    except KeyboardInterrupt:  # how EarlyStopping stops
        pass
    stock = Stock(
        fresh(),
        Criterion(mean_loss),
        train_split=None,
        verbose=0,
        max_epochs=8,
        **keywords,
    )
    stock.set_params(callbacks__print_log=None)
    stock.fit(data, None)
    assert len(stock.history) == len(lean.history)
    for ours, theirs in zip(
        lean.module_.parameters(), stock.module_.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def losses(optimizer, module, scheduler=None):
    X, y = table(64)
    steps = scheduler(optimizer) if scheduler else None
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(module(X), y).backward()
        optimizer.step()
        if steps:
            steps.step()
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def matrices_and_biases(module, decay):
    """torch's own way to leave biases out of the penalty."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("kind", ["fused", "plain", "sgd", "momentum"])
def test_optimisers_agree_with_torchs(decay, scheduled, kind, monkeypatch):
    monkeypatch.setattr("skdiff._nn._optim.FUSED", kind == "fused")
    ours, theirs = fresh(), fresh()
    momentum = 0.9 if kind == "momentum" else 0.0
    if kind in ("sgd", "momentum"):
        mine = FlatSGD(
            ours.parameters(), lr=0.05, momentum=momentum, weight_decay=decay
        )
        peer = torch.optim.SGD(
            matrices_and_biases(theirs, decay), lr=0.05, momentum=momentum
        )
    else:
        mine = FlatAdam(ours.parameters(), lr=0.01, weight_decay=decay)
        peer = torch.optim.Adam(matrices_and_biases(theirs, decay), lr=0.01)
    schedule = (
        (lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.5)) if scheduled else None
    )
    difference = losses(mine, ours, schedule) - losses(peer, theirs, schedule)
    assert difference.abs().max() < 1e-6


def test_released_parameters_own_their_storage():
    module = fresh()
    optimizer = FlatAdam(module.parameters())
    assert module.weights[0].untyped_storage().nbytes() > 8 * 35
    optimizer.release()
    for p in module.parameters():
        assert p.untyped_storage().nbytes() == 8 * p.numel() and p.grad is None


def test_one_group_of_parameters_only():
    optimizer = FlatAdam(fresh().parameters())
    with pytest.raises(ValueError, match="one parameter group"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})


def test_an_epoch_visits_every_row_once_in_a_seeded_order():
    data = TensorData(torch.arange(50), (torch.arange(50), None))
    batches = list(TensorIterator(data, 16, seeded(0)))
    rows = torch.cat([X for X, _ in batches])
    assert sorted(rows.tolist()) == list(range(50)) and rows.tolist() != list(range(50))
    assert [len(X) for X, _ in batches] == [16, 16, 16, 2]
    again = torch.cat([X for X, _ in TensorIterator(data, 16, seeded(0))])
    assert torch.equal(rows, again)
    assert all(torch.equal(X, y) for X, (y, _) in batches)


def test_a_full_batch_copies_and_draws_nothing():
    data = TensorData(torch.arange(5), (torch.arange(5), None))
    generator = seeded(0)
    before = generator.get_state()
    ((X, _),) = TensorIterator(data, 5, generator)
    assert X is data.X and torch.equal(before, generator.get_state())


def test_stratified_batches_hold_every_class_in_proportion():
    codes = torch.tensor([0] * 90 + [1] * 10)
    data = TensorData(codes, (codes, None))
    for X, _ in TensorIterator(data, 20, seeded(0), strata=codes):
        assert X.sum() in (1, 2, 3)


def test_read_only_arrays_are_copied_without_a_warning():
    array = np.arange(4.0)
    array.flags.writeable = False
    assert torch.equal(as_tensor(array), torch.arange(4.0).double())


def test_dropout_keeps_the_mean_and_is_off_at_inference():
    drop = Dropout(0.25, seeded(0))
    X = torch.ones(300, 301)
    out = drop(X)
    assert abs(out.mean() - 1) < 0.01
    assert abs((out == 0).float().mean() - 0.25) < 0.01
    drop.eval()
    assert torch.equal(drop(X), X)


def test_embeddings_look_codes_up():
    module = Embeddings([3, 5], [2, 4], seeded(0))
    out = module(torch.tensor([[2, 4], [0, 0]]))
    assert out.shape == (2, 6)
    assert torch.equal(out[0, :2], module.tables[0][2])
    assert torch.equal(out[1, 2:], module.tables[1][0])


def test_threads_are_lowered_for_small_work_and_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(SMALL - 1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads_for(SMALL):
            assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), threads_for(1):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
