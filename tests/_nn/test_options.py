"""Training options: what each does, and that it does nothing when it is off."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_diabetes, make_moons
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff._nn import _fit
from skdiff._nn._data import TensorData
from skdiff._nn._net import Criterion, Net
from skdiff._nn._optim import FlatSGD
from skdiff._nn._option_steps import MixedIterator, Mixing, OptionLoss
from skdiff.neural_network import (
    AnyLossClassifier,
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
)

PLAIN = {
    "bce_weight": 1.0,
    "warmup_iter": 0,
    "alpha": 0.0,
    "tol": 0.0,
    "random_state": 0,
}


def table(n=200):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    y = (X[:, 0] + 0.5 * X[:, 1] + 0.5 * rng.normal(size=n) > 0).astype(int)
    return X, y, (X[:, 2] > 0.5).astype(int)


def numbers():
    X, y = load_diabetes(return_X_y=True)
    return X[:150] / X.std(axis=0), y[:150]


# --- sharpness-aware steps ---------------------------------------------------------


def test_a_sharpness_aware_step_by_hand():
    # loss w'Aw/2 from w: the gradient is taken at w + rho g/|g|
    A = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    w0 = torch.tensor([[1.0], [2.0]], dtype=torch.float64)

    class Point(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(w0.clone())

        def forward(self, X):
            return X @ self.w

    def loss(output, target, weight):
        return (output * (A @ output)).sum() / 2

    net = Net(
        Point(), Criterion(loss), sam_rho=0.3, optimizer=FlatSGD, lr=0.1, batch_size=2
    ).initialize()
    data = TensorData(torch.eye(2, dtype=torch.float64), (torch.zeros(2), None))
    net.run_epoch(data)
    g = A @ w0
    expected = w0 - 0.1 * A @ (w0 + 0.3 * g / g.norm())
    torch.testing.assert_close(net.module_.w.data, expected)


def test_a_vanishing_radius_is_the_plain_step():
    X, y, _ = table()
    keywords = {**PLAIN, "hidden_layer_sizes": (6,), "max_iter": 30, "batch_size": 32}
    plain = AnyLossClassifier(**keywords).fit(X, y)
    tiny = AnyLossClassifier(sam_rho=1e-9, **keywords).fit(X, y)
    wide = AnyLossClassifier(sam_rho=0.5, **keywords).fit(X, y)
    np.testing.assert_allclose(
        tiny.decision_function(X), plain.decision_function(X), rtol=1e-5, atol=1e-6
    )
    assert np.abs(wide.decision_function(X) - plain.decision_function(X)).max() > 0.1


def test_sharpness_aware_steps_serve_the_metric_itself():
    X, y, _ = table()
    for sizes in ((), (6,)):
        model = AnyLossClassifier(
            "f1", sam_rho=0.05, hidden_layer_sizes=sizes, max_iter=150, random_state=0
        )
        assert model.fit(X, y).hard_metric_ > 0.8


# --- spectral decoupling -----------------------------------------------------------


def test_the_penalty_is_the_mean_square_of_the_logits():
    z = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    y = torch.tensor([0, 1])

    def nothing(output, target, weight):
        return output.sum() * 0

    loss = OptionLoss(nothing, spectral_decoupling=0.7)
    assert loss(z, y, None).item() == pytest.approx(0.7 * z.square().mean().item())
    aims = torch.tensor([2.5, 0.44])
    loss = OptionLoss(nothing, spectral_decoupling=0.7, spectral_targets=aims)
    expected = 0.7 * (z - aims).square().mean().item()
    assert loss(z, y, None).item() == pytest.approx(expected)


def test_the_penalty_of_weights_is_that_of_repeated_rows():
    X, y, _ = table(60)
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    keywords = {**PLAIN, "spectral_decoupling": 0.5, "max_iter": 40}
    for sizes in ((), (6,)):
        model = AnyLossClassifier(hidden_layer_sizes=sizes, **keywords)
        heavy = model.fit(X, y, sample_weight=weight).decision_function(X)
        rows = np.repeat(np.arange(len(y)), weight)
        again = model.fit(X[rows], y[rows]).decision_function(X)
        np.testing.assert_allclose(heavy, again, atol=1e-8)


def shortcut(n, margin, seed):
    """Two moons with a gap in the second feature that points at the class."""
    X, y = make_moons(n, noise=0.1, random_state=seed)
    X[:, 1] += np.where(y == 1, -margin, margin) / 2
    return X, y


def on_the_shortcut(strengths, **keywords):
    """Accuracy where the gap of the training rows is closed."""
    X, y = shortcut(300, 0.1, 0)
    X_test, y_test = shortcut(3000, -0.3, 10)
    return [
        AnyLossClassifier(
            **PLAIN, solver="sgd", spectral_decoupling=strength, **keywords
        )
        .fit(X, y)
        .score(X_test, y_test)
        for strength in strengths
    ]


def test_decoupling_unlearns_the_shortcut():
    plain, decoupled = on_the_shortcut(
        (0.0, 0.3), hidden_layer_sizes=(50,), learning_rate_init=0.02, max_iter=500
    )
    assert decoupled > plain + 0.03


@pytest.mark.slow
def test_decoupling_reproduces_the_toy():
    # the published setting: 500 units, steps of 0.01 with momentum 0.9, 1000 epochs
    none, weak, middle, strong = on_the_shortcut(
        (0.0, 0.003, 0.03, 0.3),
        hidden_layer_sizes=(500,),
        learning_rate_init=0.01,
        max_iter=1000,
        n_iter_no_change=10**6,
        standardize=False,
    )
    assert none < weak < middle < strong and strong > none + 0.08


# --- group DRO ---------------------------------------------------------------------


def test_one_group_is_the_plain_fit():
    X, y, _ = table()
    keywords = {**PLAIN, "hidden_layer_sizes": (6,), "max_iter": 40}
    plain = AnyLossClassifier(**keywords).fit(X, y)
    one = AnyLossClassifier(group_dro=True, **keywords).fit(X, y, groups=np.ones(200))
    np.testing.assert_allclose(
        one.decision_function(X), plain.decision_function(X), rtol=1e-7, atol=1e-9
    )
    np.testing.assert_allclose(one.group_weights_, [1.0])


def test_equal_losses_keep_equal_weights():
    loss = OptionLoss(
        lambda output, target, weight: output.mean(),
        group_sizes=torch.tensor([2.0, 2.0]),
        group_step_size=0.5,
    )
    z, groups = torch.tensor([[1.0], [3.0], [2.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    assert loss(z, torch.zeros(4), None, groups).item() == pytest.approx(2.0)
    torch.testing.assert_close(loss.group_weights, torch.tensor([0.5, 0.5]))
    # a costlier group gains weight by exp(step * gap), a frozen loss moves none
    z = torch.tensor([[1.0], [1.0], [2.0], [2.0]])
    loss(z, torch.zeros(4), None, groups)
    expected = torch.softmax(torch.tensor([0.5, 1.0]), 0)
    torch.testing.assert_close(loss.group_weights, expected)
    loss.frozen = True
    loss(z, torch.zeros(4), None, groups)
    torch.testing.assert_close(loss.group_weights, expected)


def test_a_small_group_is_adjusted_more():
    loss = OptionLoss(
        lambda output, target, weight: output.mean(),
        group_sizes=torch.tensor([100.0, 4.0]),
        group_step_size=1.0,
        group_adjustment=2.0,
    )
    z, groups = torch.ones(4, 1), torch.tensor([0, 0, 1, 1])
    loss(z, torch.zeros(4), None, groups)
    expected = torch.softmax(torch.tensor([0.2, 1.0]), 0)
    torch.testing.assert_close(loss.group_weights, expected)


def minority(n, share, seed):
    """The second feature decides, the first is right only in the majority."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    groups = (rng.random(n) < share).astype(int)
    side = 2 * y - 1
    X = np.column_stack(
        [
            np.where(groups == 0, side, -side) * 2 + rng.normal(size=n),
            side + rng.normal(size=n),
        ]
    )
    return X, y, groups


def test_the_worst_group_gains():
    X, y, groups = minority(1000, 0.1, 0)
    X_test, y_test, test_groups = minority(4000, 0.5, 1)
    keywords = {**PLAIN, "max_iter": 300, "alpha": 0.1}
    worst = {}
    for dro in (False, True):
        model = AnyLossClassifier(group_dro=dro, group_step_size=0.05, **keywords).fit(
            X, y, groups=groups
        )
        right = model.predict(X_test) == y_test
        worst[dro] = min(right[test_groups == g].mean() for g in (0, 1))
        assert list(model.groups_) == [0, 1] and model.group_losses_.shape == (2,)
        gaps = np.ptp(model.group_losses_)
        assert (gaps < 0.05) == dro
        assert 0 <= model.worst_group_score_ <= 1
    assert worst[True] > worst[False] + 0.2


def test_groups_are_asked_for_and_checked():
    X, y, groups = table()
    model = AnyLossClassifier(group_dro=True, max_iter=3, bce_weight=1.0)
    with pytest.raises(ValueError, match="requires groups"):
        model.fit(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y, groups=groups[:-1])
    with pytest.raises(ValueError, match="groups contains NaN"):
        model.fit(X, y, groups=np.where(groups == 1, np.nan, 0.0))
    with pytest.raises(ValueError, match="partial_fit"):
        model.partial_fit(X, y)


def test_rows_without_weight_leave_their_groups():
    X, y, groups = table()
    groups = np.array(["a", "b", "c"])[groups + (np.arange(200) < 3)]
    weight = np.where(groups == "c", 0.0, 1.0)
    keywords = {**PLAIN, "max_iter": 20, "group_dro": True, "batch_size": 64}
    model = AnyLossClassifier(**keywords).fit(X, y, weight, groups=groups)
    kept = weight > 0
    fewer = AnyLossClassifier(**keywords).fit(X[kept], y[kept], groups=groups[kept])
    assert list(model.groups_) == ["a", "b"]
    np.testing.assert_allclose(
        model.decision_function(X), fewer.decision_function(X), rtol=1e-9
    )


def test_groups_are_routed_through_a_pipeline():
    X, y, groups = table()
    with sklearn.config_context(enable_metadata_routing=True):
        model = AnyLossClassifier(**PLAIN, max_iter=20, group_dro=True)
        pipe = make_pipeline(StandardScaler(), model.set_fit_request(groups=True))
        pipe.fit(X, y, groups=groups)
    assert pipe[-1].group_weights_.shape == (2,)


def test_group_options_reach_regressors_and_held_out_rows():
    X, y = numbers()
    groups = (X[:, 1] > 0).astype(int)
    model = LipschitzMLPRegressor(
        hidden_layer_sizes=(8,),
        max_iter=30,
        group_dro=True,
        early_stopping=True,
        sam_rho=0.02,
        random_state=0,
    ).fit(X, y, groups=groups)
    assert model.group_weights_.sum() == pytest.approx(1)
    assert model.worst_group_score_ <= 1


# --- mixing ------------------------------------------------------------------------


def test_mixed_rows_lie_on_the_way_to_a_neighbour():
    X = torch.arange(6, dtype=torch.float64)[:, None] ** 2
    target, weight = 2 * X + 1, torch.arange(6, dtype=torch.float64)
    mixing = Mixing(torch.tensor([[1], [0], [1], [2], [3], [4]]), 2.0)
    for size in (6, 4):
        parts = list(
            MixedIterator(
                TensorData(X, (target, weight)), size, _fit.seeded(0), None, mixing
            )
        )
        got_X = torch.cat([x for x, _ in parts])
        got_y = torch.cat([y for _, (y, _) in parts])
        rows = torch.cat([w for _, (_, w) in parts]).long()  # the weight tells the row
        # a linear target stays linear whatever the shares: no bias
        torch.testing.assert_close(got_y, 2 * got_X + 1)
        here, there = X[rows], X[mixing.neighbours[rows, 0]]
        share = ((got_X - there) / (here - there)).ravel()
        assert (share >= 0.5).all() and (share <= 1).all() and share.std() > 0.01


def test_all_of_the_share_is_no_mixing():
    X, y = numbers()
    keywords = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}
    plain = LipschitzMLPRegressor(**keywords).fit(X, y)
    mixed = LipschitzMLPRegressor(regmix={"k": 1, "alpha": 1e-6}, **keywords).fit(X, y)
    assert mixed.regmix_k_ == 1 and plain.regmix_k_ is None
    np.testing.assert_allclose(mixed.predict(X), plain.predict(X), rtol=1e-8)


@pytest.mark.parametrize("by", ["data", "target"])
def test_mixing_learns_and_chooses(by):
    X, y = numbers()
    keywords = {"hidden_layer_sizes": (8,), "max_iter": 40, "random_state": 0}
    given = LipschitzMLPRegressor(regmix={"k": 4, "by": by}, **keywords).fit(X, y)
    assert given.regmix_k_ == 4 and given.score(X, y) > 0.4
    chosen = LipschitzMLPRegressor(regmix={"k": "auto", "by": by}, **keywords)
    assert chosen.fit(X, y).regmix_k_ in (0, *(2**e for e in range(7)))
    again = LipschitzMLPRegressor(regmix={"k": "auto", "by": by}, **keywords).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), chosen.predict(X))


@pytest.mark.parametrize(
    ("regmix", "words"),
    [
        ({"k": 0}, "int >= 1 or 'auto'"),
        ({"k": 2.5}, "int >= 1 or 'auto'"),
        ({"alpha": 0}, "number > 0"),
        ({"by": "row"}, "'data' or 'target'"),
        ({"q": 1}, "unknown keys"),
    ],
)
def test_bad_mixing_is_named(regmix, words):
    X, y = numbers()
    with pytest.raises(ValueError, match=words):
        LipschitzMLPRegressor(regmix=regmix).fit(X, y)


def test_bad_targets_of_decoupling_are_named():
    X, y, _ = table()
    model = LipschitzMLPClassifier(spectral_decoupling=0.1, spectral_targets=[1, 2, 3])
    with pytest.raises(ValueError, match="each of the network's 2 outputs"):
        model.fit(X, y)
