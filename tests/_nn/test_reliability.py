"""What every network promises: units, constants, modes of torch, devices, skorch."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import log_loss
from sklearn.preprocessing import scale

from skdiff.calibration import CalibratedProbabilityClassifier
from skdiff.neural_network import (
    AnyLossClassifier,
    GBNNRegressor,
    GRBFRegressor,
    LipschitzMLPClassifier,
    LipschitzMLPRegressor,
    SparseBayesianMLPClassifier,
    SparseBayesianMLPRegressor,
)

pytestmark = [
    pytest.mark.usefixtures("untouched"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0}
NETWORKS = [
    AnyLossClassifier(**QUICK),
    AnyLossClassifier(max_iter=60, random_state=0),
    CalibratedProbabilityClassifier(**QUICK, finetune_iter=2),
    LipschitzMLPClassifier(**QUICK),
    LipschitzMLPRegressor(**QUICK),
    SparseBayesianMLPClassifier(**QUICK, density=0.5),
    SparseBayesianMLPRegressor(**QUICK, density=0.5),
]
REGRESSORS = [
    LipschitzMLPRegressor(**QUICK),
    SparseBayesianMLPRegressor(**QUICK),
    SparseBayesianMLPRegressor(**QUICK, noise="heteroscedastic"),
    GRBFRegressor(max_iter=10, random_state=0),
    GBNNRegressor(n_hidden=5, random_state=0),
]
name_of = {"ids": lambda e: repr(e)[:40].replace("\n", "")}


@pytest.fixture(scope="module")
def tables():
    X, y = load_breast_cancer(return_X_y=True)
    D, t = load_diabetes(return_X_y=True)
    return {True: (X[:200], y[:200]), False: (1e3 * D[:200] + 5.0, t[:200])}


# --- units ----------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS, **name_of)
def test_units_of_the_columns_do_not_matter(network, tables):
    X, y = tables[is_classifier(network)]
    units = 2.0 ** np.arange(-X.shape[1] // 2, -X.shape[1] // 2 + X.shape[1])
    first = clone(network).fit(X, y)
    other = clone(network).fit(X * units, y)
    np.testing.assert_allclose(
        other.predict(X * units), first.predict(X), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(other.scale_, first.scale_ * units)
    bare = clone(network).set_params(standardize=False).fit(scale(X), y)
    np.testing.assert_array_equal(bare.mean_, 0.0)
    np.testing.assert_array_equal(bare.scale_, 1.0)


def test_raw_columns_are_learned_from(tables):
    X, y = load_breast_cancer(return_X_y=True)
    model = AnyLossClassifier(hidden_layer_sizes=(20,), random_state=0)
    assert model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.93


def test_coefficients_are_in_the_units_of_x(tables):
    X, y = tables[True]
    model = AnyLossClassifier(max_iter=60, random_state=0).fit(X, y)
    margin = X @ model.coef_[0] + model.intercept_[0]
    np.testing.assert_allclose(margin, model.decision_function(X), rtol=1e-7)


def test_a_rare_category_is_not_blown_up():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=2000), np.arange(2000) < 2])
    model = LipschitzMLPRegressor(**QUICK).fit(X, X[:, 0])
    assert abs((1 - model.mean_[1]) / model.scale_[1]) <= 4.0
    assert model.scale_[0] == pytest.approx(X[:, 0].std())


def test_a_column_that_begins_to_vary_gets_its_scale():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=100), np.full(100, 1e6)])
    later = X + np.column_stack([np.zeros(100), 50 * rng.normal(size=100)])
    y = X[:, 0] + later[:, 1] - 1e6
    model = LipschitzMLPRegressor(**QUICK).partial_fit(X, y)
    before = model.predict(X)
    mean = model.mean_.copy()
    model.partial_fit(later, y)
    np.testing.assert_array_equal(model.mean_, mean)
    assert model.scale_[1] == pytest.approx(50, rel=0.3)
    assert np.isfinite(before).all() and np.isfinite(model.predict(later)).all()


# --- constant targets -----------------------------------------------------------------


@pytest.mark.parametrize("value", [100.0, 0.1, -1e9, 0.0])
@pytest.mark.parametrize("model", REGRESSORS, **name_of)
def test_a_constant_is_predicted_exactly(model, value):
    X = np.random.default_rng(0).normal(size=(60, 3))
    fitted = clone(model).fit(X, np.full(60, value))
    np.testing.assert_array_equal(fitted.predict(X), value)
    if hasattr(fitted, "predict_distribution"):
        _, std = fitted.predict(X, return_std=True)
        np.testing.assert_array_equal(std, 0.0)
        np.testing.assert_array_equal(fitted.predict_interval(X), value)
    pair = np.column_stack([np.full(60, value), X[:, 0]])
    both = clone(model).fit(X, pair).predict(X)
    np.testing.assert_array_equal(both[:, 0], value)
    assert both[:, 1].std() > 0


def test_a_target_that_begins_to_vary_is_learned():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    model = LipschitzMLPRegressor(hidden_layer_sizes=(8,), random_state=0)
    model.partial_fit(X, np.full(200, 3.0))
    np.testing.assert_array_equal(model.predict(X), 3.0)
    y = 3.0 + 10 * X[:, 0]
    for _ in range(150):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.5


# --- switches of torch ----------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("network", NETWORKS, **name_of)
def test_fits_do_not_depend_on_the_mode_around_them(network, mode, tables):
    X, y = tables[is_classifier(network)]
    want = clone(network).fit(X, y).predict(X)
    with mode():
        model = clone(network).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), want)
        again = pickle.loads(pickle.dumps(model))
        again.net_.predict(X)
        assert not torch.is_grad_enabled()
    model.partial_fit(X, y)
    again.set_params(warm_start=True).fit(X, y)


@pytest.mark.parametrize("device", ["cuda:93", "nonsense", "meta"])
@pytest.mark.parametrize("network", NETWORKS[:3], **name_of)
def test_a_device_is_refused_by_name(network, device, tables):
    with pytest.raises(ValueError, match="device="):
        clone(network).set_params(device=device).fit(*tables[True])


# --- skorch ---------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS, **name_of)
def test_the_net_predicts_for_arrays_and_has_a_history(network, tables):
    X, y = tables[is_classifier(network)]
    model = clone(network).fit(X, y)
    for fitted in (model, pickle.loads(pickle.dumps(model))):
        net = fitted.net_
        assert net.forward(X[:3]).shape[0] == 3
        use_mean = {"use_mean": True} if hasattr(model, "elbo_curve_") else {}
        if is_classifier(network):
            np.testing.assert_allclose(
                net.predict_proba(X), fitted.predict_proba(X, **use_mean), rtol=1e-6
            )
        np.testing.assert_allclose(
            net.predict(X), fitted.predict(X, **use_mean), rtol=1e-6
        )
        losses = [row["train_loss"] for row in net.history]
        assert len(losses) == fitted.n_iter_ and np.isfinite(losses).all()


@pytest.mark.parametrize("kind", [AnyLossClassifier, LipschitzMLPRegressor])
def test_callbacks_of_skorch_see_the_validation_set(kind, tables):
    from skorch.callbacks import EarlyStopping, EpochScoring

    X, y = tables[kind is AnyLossClassifier]
    scoring = "accuracy" if kind is AnyLossClassifier else "neg_mean_squared_error"
    callbacks = [
        ("score", EpochScoring(scoring, name="held", lower_is_better=False)),
        ("train", EpochScoring(scoring, name="own", on_train=True, use_caching=False)),
        ("stop", EarlyStopping(patience=3, threshold=1e9, sink=lambda text: None)),
    ]
    model = kind(
        **(QUICK | {"max_iter": 40}),
        early_stopping=True,
        net_params={"callbacks": callbacks},
    ).fit(X, y)
    assert model.stopped_ == "callback" and model.n_iter_ <= 5
    held = [row["held"] for row in model.net_.history]
    assert len(held) == model.n_iter_ and np.isfinite(held).all()
    assert all("valid_loss" in row for row in model.net_.history)
    if kind is LipschitzMLPRegressor:  # in the units of y
        assert max(held) < -0.2 * y.var()


@pytest.mark.parametrize(
    "argument", ["train_split", "iterator_train__num_workers", "max_epochs", "lr"]
)
def test_arguments_of_skorch_without_effect_are_refused(argument, tables):
    model = AnyLossClassifier(**QUICK, net_params={argument: 1})
    with pytest.raises(ValueError, match=f"net_params cannot set '{argument}'"):
        model.fit(*tables[True])


# --- state that survives a call -------------------------------------------------------


def test_masks_move_in_small_calls_as_in_one(tables):
    X, y = tables[True]
    settings = {
        "hidden_layer_sizes": (12,),
        "density": 0.3,
        "update_every": 5,
        "batch_size": 50,
        "max_iter": 20,
        "random_state": 0,
    }
    whole = SparseBayesianMLPClassifier(**settings).fit(X, y)
    steps = SparseBayesianMLPClassifier(**settings)
    masks = []
    for k in range(20):
        steps.partial_fit(X, y)
        masks.append(steps.masks_[0].copy())
        if k == 9:
            steps = pickle.loads(pickle.dumps(steps))
    assert len(steps.mask_overlap_) == len(whole.mask_overlap_) > 5
    assert (masks[0] != masks[12]).any()
    np.testing.assert_array_equal(masks[-1], whole.masks_[0])
    np.testing.assert_allclose(steps.predict_proba(X), whole.predict_proba(X))
    warm = SparseBayesianMLPClassifier(**settings | {"max_iter": 1}, warm_start=True)
    seen = [warm.fit(X, y).masks_[0].copy() for _ in range(6)]
    assert (seen[0] != seen[-1]).any()


def test_a_warm_start_ends_no_worse_than_it_began(tables):
    X, y = load_breast_cancer(return_X_y=True)
    settings = {"early_stopping": True, "warm_start": True, "random_state": 0}
    model = LipschitzMLPClassifier(hidden_layer_sizes=(8,), **settings).fit(X, y)
    best = max(model.validation_scores_)
    model.set_params(learning_rate_init=1.0, max_iter=3).fit(X, y)
    held = model._split(y, np.random.RandomState(0).randint(2**31 - 1))[1]
    assert model.score(X[held], y[held]) == pytest.approx(max(best, 0))


def test_dead_gradients_and_a_single_class_are_noticed():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5))
    y = (X[:, 0] + 0.5 * rng.normal(size=2000) > 2.6).astype(int)
    model = AnyLossClassifier(
        bce_weight=1.0, warmup_iter=0, warm_start=True, alpha=0.1, random_state=0
    )
    with pytest.warns(UserWarning, match="predicts one class for all"):
        model.fit(X, y)
    model.set_params(amplification=73.0, bce_weight=0.0).fit(X, y)
    assert model.hard_metric_ > 0.3


@pytest.mark.parametrize("sizes", [(), (6,)])
def test_one_validation_score_per_iteration(sizes, tables):
    model = AnyLossClassifier(
        hidden_layer_sizes=sizes,
        early_stopping=True,
        class_weight="balanced",
        random_state=0,
    ).fit(*tables[True])
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_


def test_rare_events_are_no_worse_than_the_base_rate():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(3):
        X, Z = rng.normal(size=(1000, 10)), rng.normal(size=(4000, 10))
        p, q = (1 / (1 + np.exp(5.6 - T[:, 0] - 0.8 * T[:, 1])) for T in (X, Z))
        y, t = rng.random(1000) < p, rng.random(4000) < q
        model = CalibratedProbabilityClassifier(random_state=0).fit(X, y)
        base = np.full(4000, y.mean())
        ratios.append(log_loss(t, model.predict_proba(Z)[:, 1]) / log_loss(t, base))
    assert np.mean(ratios) < 1.0


def test_not_converged_warns_of_calibration(tables):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = CalibratedProbabilityClassifier(max_iter=2, random_state=0)
        with pytest.raises(UserWarning, match="may not be calibrated"):
            model.fit(*tables[True])


def test_a_class_of_three_rows_is_not_predicted_everywhere():
    predicted = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(3000, 8))
        y = (X[:, :3] + rng.normal(size=(3000, 3))).argmax(axis=1)
        others, few = np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:3]
        kept = np.r_[others[:800], few]
        model = AnyLossClassifier(random_state=0).fit(X[kept], y[kept])
        predicted.append(np.mean(model.predict(X[others[800:]]) == 2))
    assert np.mean(predicted) < 0.02
