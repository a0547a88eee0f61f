"""The network with a dial: its surrogate, its players, and what the dial does."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.fairness import DistractionClassifier
from skdiff.fairness._distraction._module import (
    DistractedMLP,
    FairNet,
    Rule,
    smooth_gap,
)
from skdiff.fairness._distraction._plain import PlainFairNet

PARITY = Rule("demographic_parity", 2)


def table(n=600, seed=0):
    """Two groups, whose first column differs."""
    rng = np.random.default_rng(seed)
    g = rng.integers(2, size=n)
    X = rng.normal(size=(n, 4))
    X[:, 0] += 1.2 * g
    y = (X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=n) > 0.6).astype(int)
    return X, y, np.array(["a", "b"])[g]


def quick(**changes):
    settings = {"max_iter": 80, "learning_rate_init": 0.01, "random_state": 0}
    return DistractionClassifier((16,), **(settings | changes))


def difference(model, X, g):
    p = model.predict_proba(X)[:, 1]
    return abs(p[g == "a"].mean() - p[g == "b"].mean())


# --- the surrogate ------------------------------------------------------------------


def test_the_gap_of_all_rows_is_the_difference_of_mean_probabilities():
    rng = np.random.default_rng(0)
    z, g, y = (
        rng.normal(size=(50, 2)),
        rng.integers(2, size=50),
        rng.integers(2, size=50),
    )
    w = rng.uniform(0.5, 2, 50)
    p = 1 / (1 + np.exp(z[:, 0] - z[:, 1]))
    tensors = [torch.from_numpy(a) for a in (z, y, w, g)]

    def means(mask):
        parts = [
            np.average(p[mask & (g == k)], weights=w[mask & (g == k)]) for k in (0, 1)
        ]
        return abs(parts[0] - parts[1])

    whole = np.ones(50, bool)
    for constraint, expected in (
        ("demographic_parity", means(whole)),
        ("equal_opportunity", means(y == 1)),
        ("equalized_odds", means(y == 1) + means(y == 0)),
    ):
        found = smooth_gap(*tensors, Rule(constraint, 2))
        assert float(found) == pytest.approx(expected)
        # names of groups do not matter
        swapped = [*tensors[:3], 1 - tensors[3]]
        assert float(smooth_gap(*swapped, Rule(constraint, 2))) == pytest.approx(
            expected
        )


def test_groups_that_are_alike_have_no_gradient():
    rng = np.random.default_rng(0)
    z = torch.from_numpy(np.tile(rng.normal(size=(20, 2)), (2, 1))).requires_grad_(True)
    y = torch.from_numpy(np.tile(rng.integers(2, size=20), 2))
    g = torch.from_numpy(np.repeat([0, 1], 20))
    gap = smooth_gap(z, y, None, g, PARITY)
    gap.backward()
    assert float(gap.detach()) == 0 and float(z.grad.abs().max()) == 0


def test_a_group_without_rows_in_a_batch_is_left_out():
    z = torch.zeros(4, 2, dtype=torch.float64)
    codes = torch.zeros(4, dtype=torch.int64)
    assert float(smooth_gap(z, codes, None, codes, Rule("equalized_odds", 3))) == 0


def test_three_classes_sum_their_gaps():
    z = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    y, g = torch.arange(30) % 3, torch.arange(30) % 2
    p = torch.softmax(z, dim=1)
    expected = (p[g == 0].mean(dim=0) - p[g == 1].mean(dim=0)).abs().sum()
    torch.testing.assert_close(smooth_gap(z, y, None, g, PARITY), expected)


# --- the players --------------------------------------------------------------------


def test_the_layer_is_the_identity_at_the_start_and_belongs_to_one_player():
    generator = torch.Generator().manual_seed(0)
    module = DistractedMLP([4, 8, 6, 2], "relu", generator, -1).double()
    X = torch.randn(5, 4, dtype=torch.float64)
    before = module(X)
    h = torch.relu(X @ module.weights[0].T + module.biases[0])
    h = torch.relu(h @ module.weights[1].T + module.biases[1])
    expected = h @ module.weights[2].T + module.biases[2]
    torch.testing.assert_close(before, expected, rtol=0, atol=1e-14)
    assert module.position == 1 and module.turn.shape == (6, 6)
    assert {"turn", "shift"} <= set(module.state_dict())
    assert not {"turn", "shift"} & {name for name, _ in module.named_parameters()}


MODES = ["distraction", "penalty", "adversarial"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "constraint", ["demographic_parity", "equalized_odds", "equal_opportunity"]
)
@pytest.mark.parametrize(("n_classes", "place"), [(2, 0), (2, -1), (3, 1)])
def test_gradients_by_hand_are_those_of_autograd(
    mode, constraint, n_classes, place, monkeypatch
):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 4)), rng.integers(n_classes, size=150)
    g, w = rng.integers(3, size=150), rng.integers(1, 4, size=150)
    X[:, 0] += g
    found = []
    for net_class in (PlainFairNet, FairNet):
        monkeypatch.setattr(
            DistractionClassifier, "_stepper", lambda s, m, c=net_class: c
        )
        model = DistractionClassifier(
            (5, 4, 3),
            mode=mode,
            constraint=constraint,
            position=place,
            activation="tanh",
            fairness_weight=2.0,
            batch_size=50,
            learning_rate_init=0.05,
            max_iter=4,
            random_state=0,
        )
        model.fit(X, y, sensitive_features=g, sample_weight=w)
        assert type(model.net_) is net_class
        found.append([*model._state["arrays"].values(), model.gaps_, model.loss_curve_])
    for hand, auto in zip(*found, strict=True):
        np.testing.assert_allclose(hand, auto, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_row_of_weight_two_is_the_row_twice(mode, activation):
    X, y, g = table(120)
    weight = np.where(np.arange(120) % 3 == 0, 2, 1)
    # all rows in a batch: the order of the rows is then no matter
    model = quick(
        mode=mode, activation=activation, max_iter=20, tol=0.0, batch_size=1000
    )
    twice = np.repeat(np.arange(120), weight)
    p = model.fit(X, y, sensitive_features=g, sample_weight=weight).predict_proba(X)
    model.fit(X[twice], y[twice], sensitive_features=g[twice])
    np.testing.assert_allclose(model.predict_proba(X), p, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_weight_zero_is_the_standard_network_bit_for_bit(mode):
    X, y, g = table(300)
    fits = [
        quick(mode=m, fairness_weight=0.0, max_iter=15, batch_size=64).fit(
            X, y, sensitive_features=g
        )
        for m in (mode, "penalty")
    ]
    p = [model.predict_proba(X) for model in fits]
    np.testing.assert_array_equal(p[0], p[1])
    assert fits[0].gaps_ == []


def test_the_gradient_of_the_gap_reaches_the_layer_only():
    """The first step of trunk and head is that of the network without a gap."""
    X, y, g = table(200)
    one, other = (
        quick(fairness_weight=w, max_iter=1, solver="sgd", momentum=0.0).fit(
            X, y, sensitive_features=g
        )
        for w in (0.5, 50.0)
    )
    first, second = one._state["arrays"], other._state["arrays"]
    for name in first:
        if name not in ("turn", "shift"):
            np.testing.assert_array_equal(first[name], second[name])
    assert np.abs(first["turn"]).max() > 0


@pytest.mark.parametrize(
    ("mode", "weight"), [("distraction", 30.0), ("penalty", 2.0), ("adversarial", 2.0)]
)
def test_the_dial_lowers_the_difference(mode, weight):
    X, y, g = table()
    free = quick(fairness_weight=0.0).fit(X, y, sensitive_features=g)
    fair = quick(mode=mode, fairness_weight=weight).fit(X, y, sensitive_features=g)
    assert difference(fair, X, g) < difference(free, X, g) - 0.03
    assert len(fair.gaps_) == fair.n_iter_
    assert fair.score(X, y) > 0.6


def test_the_last_gap_is_that_of_the_model_before_the_last_step():
    X, y, g = table(300)
    model = quick(mode="penalty", max_iter=30, learning_rate_init=1e-4)
    model.fit(X, y, sensitive_features=g)
    assert model.gaps_[-1] == pytest.approx(difference(model, X, g), abs=0.01)


def test_equal_opportunity_looks_at_the_positive_label():
    X, y, g = table()
    found = []
    for weight in (0.0, 3.0):
        model = quick(
            mode="penalty", constraint="equal_opportunity", fairness_weight=weight
        )
        model.fit(X, y, sensitive_features=g)
        found.append(difference(model, X[y == 1], g[y == 1]))
    assert found[1] < found[0] / 2


# --- in the hands of scikit-learn ---------------------------------------------------


def test_groups_names_weights_and_three_classes():
    X, y = load_iris(return_X_y=True)
    g = np.array([("x", 1), ("y", 2), ("z", 3)], dtype=object)
    labels = [tuple(g[k % 3]) for k in range(150)]
    model = quick(mode="distraction", max_iter=40).fit(X, y, sensitive_features=labels)
    assert model.groups_.tolist() == [("x", 1), ("y", 2), ("z", 3)]
    assert model.predict_proba(X).shape == (150, 3)
    weight = np.r_[np.zeros(50), np.ones(100)]
    kept = quick(max_iter=10).fit(X[50:], y[50:], sensitive_features=labels[50:])
    weighted = quick(max_iter=10).fit(
        X, y, sensitive_features=labels, sample_weight=weight
    )
    np.testing.assert_allclose(
        kept.predict_proba(X), weighted.predict_proba(X), atol=1e-10
    )


def test_batches_hold_eight_rows_of_every_group():
    X, y, g = table(800)
    g = np.where(np.arange(800) % 40 == 0, "rare", g)
    model = quick(batch_size=32, max_iter=2).fit(X, y, sensitive_features=g)
    assert model.net_.batch_size >= 8 * 800 / 20 - 1


def test_early_stopping_and_warm_start_keep_rows_and_groups_together():
    X, y, g = table(400)
    model = quick(early_stopping=True, max_iter=30, warm_start=True)
    model.fit(X, y, sensitive_features=g)
    assert model.validation_scores_ is not None
    model.fit(X, y, sensitive_features=g)
    model.partial_fit(X, y, sensitive_features=g)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_continued_fit_meets_other_groups_and_constraints(mode):
    X, y, g = table(200)
    three = np.where(X[:, 2] > 0, "c", g)
    model = quick(mode=mode, max_iter=3, warm_start=True)
    model.fit(X, y, sensitive_features=g)
    model.set_params(constraint="equalized_odds").fit(X, y, sensitive_features=g)
    model.fit(X, y, sensitive_features=three)
    assert model.groups_.tolist() == ["a", "b", "c"]
    assert model.n_iter_ == 9 and np.isfinite(model.predict_proba(X)).all()


def test_it_is_searched_with_routing():
    X, y = load_breast_cancer(return_X_y=True)
    X, g = X[:, 1:5], X[:, 0] > 13
    with sklearn.config_context(enable_metadata_routing=True):
        model = quick(max_iter=10).set_fit_request(sensitive_features=True)
        search = GridSearchCV(
            make_pipeline(StandardScaler(), model),
            {"distractionclassifier__fairness_weight": [0.0, 1.0]},
            cv=2,
        )
        search.fit(X, y, sensitive_features=g)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_bad_input_is_named():
    X, y, g = table(60)
    with pytest.raises(ValueError, match="requires sensitive_features"):
        quick().fit(X, y)
    with pytest.raises(ValueError, match="one group only, 'a'"):
        quick().fit(X, y, sensitive_features=["a"] * 60)
    with pytest.raises(ValueError, match="59 entries for 60 rows"):
        quick().fit(X, y, sensitive_features=g[1:])
    with pytest.raises(ValueError, match="missing values"):
        quick().fit(X, y, sensitive_features=[None, *g[1:]])
    with pytest.raises(ValueError, match=r"Group 'b' .* label 1"):
        y0 = np.where(g == "b", 0, y)
        quick(constraint="equalized_odds").fit(X, y0, sensitive_features=g)
    with pytest.raises(ValueError, match="names no hidden layer"):
        quick(position=1).fit(X, y, sensitive_features=g)
    with pytest.raises(ValueError, match="names no hidden layer"):
        DistractionClassifier(()).fit(X, y, sensitive_features=g)
    assert not hasattr(quick(), "_given_groups")
