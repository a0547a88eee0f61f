"""Self-tuning networks: interrupts, bounds, columns, and the display."""

import copy
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning

from skdiff.neural_network import (
    SelfTuningDisplay,
    SelfTuningMLPClassifier,
    SelfTuningMLPRegressor,
)

torch = pytest.importorskip("torch")

from skdiff._nn._modules import MLP  # noqa: E402
from skdiff.neural_network._self_tuning import _tuner  # noqa: E402
from skdiff.neural_network._self_tuning._base import BaseSelfTuning  # noqa: E402
from skdiff.neural_network._self_tuning._plan import make_plan  # noqa: E402
from skdiff.neural_network._self_tuning._tuner import (  # noqa: E402
    Network,
    Rules,
    Tuner,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


def small(**how):
    settings = {"max_iter": 8, "random_state": 0} | how
    return SelfTuningMLPClassifier((6,), **settings)


@pytest.fixture(scope="module")
def tuned(wine):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return small().fit(*wine)


# --- a perturbation that vanishes ---------------------------------------------------


@pytest.mark.parametrize("response", ["structured", "hypernetwork"])
def test_without_a_perturbation_training_is_that_of_a_standard_network(
    response, monkeypatch
):
    """search 6: h at sigma -> 0 equals a plain MLP, step by step."""
    monkeypatch.setattr(_tuner, "NARROWEST", 0.0)
    draw = torch.Generator().manual_seed(0)
    module, decay = MLP([5, 7, 3], "relu", draw), 0.03
    twin = [p.detach().clone().requires_grad_() for p in module.parameters()]
    starts = {"dropout": (0.0,), "input_noise": (0.0,), "weight_decay": (decay,) * 2}
    plan = make_plan(["weight_decay"], starts, True)

    def row_loss(output, target):
        return torch.nn.functional.cross_entropy(output, target, reduction="none")

    network = Network(plan, module.activation, row_loss, draw)
    rules = Rules(response, 1e-12, 0.0, 2, 1, 0.03, "sgd", {"lr": 0.1})
    tuner = Tuner(network, module.layers(), plan.start, rules)
    X = torch.randn(40, 5, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (40,), generator=draw)
    optimizer = torch.optim.SGD(twin, lr=0.1)
    for _ in range(50):
        tuner.train_step((X, (y, None)))
        first, second, b, c = twin
        output = torch.relu(X @ first.T + b) @ second.T + c
        penalty = first.square().sum() + second.square().sum()
        loss = row_loss(output, y).mean() + decay / 2 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for (weight, bias), w, b in zip(tuner.layers(), twin[:2], twin[2:], strict=True):
        torch.testing.assert_close(weight, w, atol=1e-9, rtol=0)
        torch.testing.assert_close(bias, b, atol=1e-9, rtol=0)
    assert (twin[0] - module.weights[0]).abs().max() > 0.01


@pytest.mark.parametrize("step", ["train_step", "valid_step"])
def test_a_row_of_weight_two_is_the_row_twice_in_both_steps(step, monkeypatch):
    monkeypatch.setattr(_tuner, "NARROWEST", 0.0)
    starts = {"dropout": (0.0,), "input_noise": (0.0,), "weight_decay": (0.03,) * 2}
    plan = make_plan(["weight_decay"], starts, True)
    X = torch.randn(9, 5, generator=torch.Generator().manual_seed(1)).double()
    y = torch.arange(9) % 3
    weight = torch.tensor([1.0, 2, 1, 1, 3, 1, 1, 2, 1]).double()
    twice = torch.repeat_interleave(torch.arange(9), weight.long())

    def row_loss(output, target):
        return torch.nn.functional.cross_entropy(output, target, reduction="none")

    def moved(batch):
        draw = torch.Generator().manual_seed(0)
        module = MLP([5, 7, 3], "tanh", draw)
        network = Network(plan, module.activation, row_loss, draw)
        rules = Rules("structured", 1e-13, 0.0, 2, 1, 0.03, "sgd", {"lr": 0.1})
        tuner = Tuner(network, module.layers(), plan.start, rules)
        for _ in range(4):
            getattr(tuner, step)(batch)
        own = {"train_step": tuner.response.parameters(), "valid_step": [tuner.h]}
        return torch.cat([p.detach().flatten() for p in own[step]])

    weighted = moved((X, (y, weight / weight.mean())))
    torch.testing.assert_close(
        weighted, moved((X[twice], (y[twice], None))), atol=1e-8, rtol=0
    )
    assert (weighted - moved((X, (y, None)))).abs().max() > 1e-6


# --- Ctrl-C and time ----------------------------------------------------------------


def interrupting(monkeypatch, name, after):
    """Raise at a later call of a method of the shell; return a count of its calls."""
    original, count = getattr(BaseSelfTuning, name), SimpleNamespace(calls=0)

    def method(self, *arguments):
        count.calls += 1
        if count.calls > after:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(BaseSelfTuning, name, method)
    return count


def test_an_interrupt_while_tuning_keeps_the_tuned_network(wine, monkeypatch):
    X, y = wine
    interrupting(monkeypatch, "_held_losses", 4)
    with pytest.warns(UserWarning, match="interrupted"):
        model = small(warmup_epochs=0).fit(X, y)
    assert model.stopped_ == "interrupted" and model.refit_score_ is None
    assert model.search_score_ > -np.inf and model.predict(X).shape == y.shape
    assert model.validation_curve("input_noise", [0.1]).shape == (1,)


def test_an_interrupt_before_the_first_epoch_leaves_nothing(wine, monkeypatch):
    X, y = wine
    step = _tuner.TuningNet.train_step

    def interrupted(self, batch, **params):
        raise KeyboardInterrupt

    monkeypatch.setattr(_tuner.TuningNet, "train_step", interrupted)
    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "hyperparameters_") and not hasattr(model, "_fitting")
    monkeypatch.setattr(_tuner.TuningNet, "train_step", step)
    fresh = small().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), fresh)


def test_an_interrupted_continuation_leaves_the_fit_before_it(wine, monkeypatch):
    X, y = wine
    model = small(warm_start=True).fit(X, y)
    before = model.predict_proba(X)
    step = Tuner.train_step

    def interrupted(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Tuner, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    # the next epoch is one of the network, not of the response that was given up
    model.partial_fit(X, y)
    monkeypatch.setattr(Tuner, "train_step", step)
    assert np.abs(model.predict_proba(X) - before).max() > 1e-6


@pytest.mark.parametrize("reason", ["interrupted", "time"])
def test_a_retraining_cut_off_leaves_the_tuned_network(wine, monkeypatch, reason):
    X, y = wine
    tuned = small(refit=False).fit(X, y).predict_proba(X)
    original = BaseSelfTuning._anew

    def cut(self, net, data, n_epochs, progress, first):
        if reason == "interrupted":
            raise KeyboardInterrupt
        progress.end("time")
        return original(self, net, data, n_epochs, progress, first)

    monkeypatch.setattr(BaseSelfTuning, "_anew", cut)
    with pytest.warns(UserWarning, match="interrupted|Time limit"):
        model = small().fit(X, y)
    assert model.stopped_ == reason and model.refit_score_ is None
    np.testing.assert_array_equal(model.predict_proba(X), tuned)


def test_the_fresh_network_sees_the_training_part_and_then_all_rows(wine, monkeypatch):
    seen, original = [], BaseSelfTuning._anew

    def watched(self, net, data, n_epochs, progress, first):
        seen.append((len(data), n_epochs))
        return original(self, net, data, n_epochs, progress, first)

    monkeypatch.setattr(BaseSelfTuning, "_anew", watched)
    model = small().fit(*wine)
    n_held = len(model._curve["held"][0])
    rows = len(wine[1])
    epochs = model.n_tuned_iter_
    assert seen == [(rows - n_held, epochs), (rows, epochs)] and n_held >= 30


@pytest.mark.parametrize(
    ("errors", "warned"), [(-3.0, False), (1.9, False), (2.1, True)]
)
def test_a_fresh_network_is_worse_beyond_two_standard_errors(errors, warned):
    searched = np.tile([0.0, 2.0], 50)  # a standard error of a tenth
    model = small()
    model._fitting = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model._compare(searched, searched + 0.1 * errors)
    assert bool(caught) == warned
    assert model._fitting["refit_score"] == pytest.approx(-1 - 0.1 * errors)


# --- bounds and columns -------------------------------------------------------------


@pytest.mark.parametrize("response", ["structured", "global_hypernetwork"])
def test_values_stay_within_their_bounds(wine, response):
    bounds = {"input_noise": (0.05, 0.2), "weight_decay": (1e-3, 2e-3)}
    model = small(
        tune=["input_noise", "weight_decay"],
        bounds=bounds,
        response=response,
        hyper_learning_rate=1.0,
        warmup_epochs=0,
    ).fit(*wine)
    for name, values in model.hyperparameter_history_.items():
        low, high = bounds["input_noise" if "noise" in name else "weight_decay"]
        assert values.min() >= low * (1 - 1e-6) and values.max() <= high * (1 + 1e-6)
        assert np.ptp(values) > 0


def test_each_column_has_a_decay(wine):
    model = small(tune=["weight_decay"], per_column=True, response="hypernetwork")
    names = [f"weight_decay_0_{j}" for j in range(13)]
    model.fit(*wine)
    assert list(model.hyperparameters_) == [*names, "weight_decay_1"]
    ends = [model.hyperparameter_history_[name][-1] for name in names]
    assert len(set(ends)) == 13
    # without a decay of their own for each layer, the others share one
    model.set_params(per_layer=False).fit(*wine)
    assert list(model.hyperparameters_) == [*names, "weight_decay"]
    linear = SelfTuningMLPRegressor((), per_column=True, per_layer=False, max_iter=6)
    linear.fit(*wine)
    assert list(linear.hyperparameters_) == ["input_noise", *names]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bounds": {"width": (1, 2)}}, "bounds names 'width'"),
        ({"bounds": {"dropout": (0.1, 1.5)}}, "two rising numbers above 0 and below 1"),
        ({"bounds": {"weight_decay": (1e-3, 1e-4)}}, "two rising numbers"),
        ({"bounds": {"weight_decay": 1e-3}}, "two rising numbers"),
        ({"bounds": {"weight_decay": (1e-3, "high")}}, "two rising numbers"),
        ({"bounds": {"weight_decay": (1e-3, 1e-2, 1e-1)}}, "two rising numbers"),
        ({"bounds": {"input_noise": (0.2, 0.3)}}, "must lie within the bounds"),
        ({"response": "global"}, "response"),
    ],
)
def test_bounds_that_are_none_are_refused(wine, arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments).fit(*wine)


@pytest.mark.parametrize(
    ("how", "sizes"),
    [
        ({"response": "global_hypernetwork"}, (2_801,)),
        ({"response": "hypernetwork", "per_column": True}, (3_922,)),
    ],
)
def test_hypernetworks_of_a_million_numbers_are_refused(wine, how, sizes):
    """second_wave 6: weights times outputs; just below, the limit lets them pass."""
    X, y = wine
    how = how | {"tune": ["weight_decay"], "max_iter": 1, "refit": False}
    with pytest.raises(ValueError, match="response='structured'"):
        SelfTuningMLPClassifier(sizes, **how).fit(X, y)
    model = SelfTuningMLPClassifier((20,), **how).fit(X, y)
    assert model.n_iter_ == 1


# --- parameters at their edges, and changed between calls ---------------------------


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        {"activation": "tanh"},
        {"hidden_layer_sizes": (3, 3)},
        {"response": "hypernetwork"},
    ],
)
def test_a_curve_is_that_of_the_fit_whatever_is_set_later(wine, tuned, how, pickled):
    values = [0.05, 0.1, 0.4]
    before = tuned.validation_curve("input_noise", values)
    later = pickle.loads(pickle.dumps(tuned)) if pickled else copy.copy(tuned)
    later.set_params(**how)
    np.testing.assert_array_equal(later.validation_curve("input_noise", values), before)


def test_bounds_narrowed_after_a_fit_hold_in_its_continuation(wine):
    model = small(warm_start=True, max_iter=12, hyper_learning_rate=0.1).fit(*wine)
    assert abs(np.log(model.hyperparameters_["input_noise"] / 0.1)) > 0.1
    bounds = {"input_noise": (0.095, 0.105)}
    values = model.set_params(bounds=bounds).fit(*wine).hyperparameter_history_
    assert values["input_noise"].min() >= 0.095 * (1 - 1e-6)
    assert values["input_noise"].max() <= 0.105 * (1 + 1e-6)


@pytest.mark.parametrize("how", [{"warmup_epochs": 8}, {"tol": 10, "patience": 3}])
def test_a_training_that_ends_in_the_warm_up_says_so(wine, how):
    how = {"n_iter_no_change": how.pop("patience", 50)} | how
    with pytest.warns(ConvergenceWarning, match="nothing was tuned"):
        model = small(**how).fit(*wine)
    assert model.hyperparameters_["input_noise"] == pytest.approx(0.1)


def test_one_epoch_after_the_warm_up_tunes(wine):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = small(warmup_epochs=7).fit(*wine)
    assert not [w for w in caught if "nothing was tuned" in str(w.message)]
    assert model.hyperparameters_["input_noise"] != pytest.approx(0.1)


def test_the_best_epoch_after_the_warm_up_is_kept(wine):
    """Not the last, nor one of the warm-up, in which nothing has been tuned."""
    model = small(learning_rate_init=0.1, max_iter=30, warmup_epochs=12, refit=False)
    model.fit(*wine)
    scores = np.array(model.validation_scores_)
    best = 12 + int(np.argmax(scores[12:]))
    assert model.n_tuned_iter_ == best + 1 < model.n_iter_
    assert model.search_score_ == scores[best] < scores[:12].max()
    for name, values in model.hyperparameter_history_.items():
        assert model.hyperparameters_[name] == pytest.approx(values[best + 1])


def test_a_divergence_in_the_warm_up_leaves_the_epoch_before_it(wine, monkeypatch):
    """From the fourth epoch on the loss is not finite; the third is kept."""
    steps = SimpleNamespace(n=0)
    original = Tuner.train_step

    def broken(self, batch):
        loss, output = original(self, batch)
        steps.n += 1
        return (loss * np.nan if steps.n > 27 else loss), output

    monkeypatch.setattr(Tuner, "train_step", broken)
    X, y = wine
    with pytest.warns(ConvergenceWarning, match="non-finite at epoch 4"):
        model = small(refit=False).fit(X, y)
    assert model.stopped_ == "diverged" and model.n_tuned_iter_ == model.n_iter_ == 3
    assert model.search_score_ == model.validation_scores_[-1]
    assert len(model.hyperparameter_history_["input_noise"]) == 4
    monkeypatch.undo()
    short = small(refit=False, max_iter=3).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), short.predict_proba(X))


def test_a_wide_perturbation_does_not_overflow(wine):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = small(perturb_scale=1000.0).fit(*wine)
    # no wider than the response can follow
    assert set(model.perturb_scales_.values()) == {_tuner.WIDEST}


@pytest.mark.parametrize("name", ["optimizer", "optimizer__weight_decay"])
def test_another_optimiser_is_refused(wine, name):
    with pytest.raises(ValueError, match="solver decides it"):
        small(net_params={name: 0.1}).fit(*wine)


def test_a_small_fraction_is_named_where_rows_are_not_few(wine):
    with pytest.warns(
        ConvergenceWarning, match=r"validation_fraction=0.01 of 178 rows"
    ):
        small(validation_fraction=0.01).fit(*wine)


# --- the display --------------------------------------------------------------------


def test_the_display_shows_the_history_and_the_curves(tuned):
    import matplotlib.pyplot as plt

    display = SelfTuningDisplay.from_estimator(tuned, n_points=7).plot()
    names = list(tuned.hyperparameters_)
    assert [text.get_text() for text in display.ax_.get_legend().texts] == names
    line = display.ax_.lines[names.index("input_noise")]
    np.testing.assert_allclose(
        line.get_ydata(), tuned.hyperparameter_history_["input_noise"]
    )
    assert display.ax_.lines[-1].get_xdata()[0] == tuned.n_tuned_iter_
    display.plot_curve("input_noise")
    assert display.figure_ is display.ax_.figure
    curve, mark = display.ax_.lines
    np.testing.assert_allclose(
        curve.get_ydata(), tuned.validation_curve("input_noise", curve.get_xdata())
    )
    found = tuned.hyperparameters_["input_noise"]
    assert mark.get_xdata()[0] == pytest.approx(found)
    # within three learned scales of the value found
    reach = np.log(curve.get_xdata() / found)
    assert np.abs(reach).max() <= 3 * tuned.perturb_scales_["input_noise"] * (1 + 1e-6)
    history = display.frame()
    assert len(history) == len(names) * (tuned.n_iter_ + 1)
    curves = display.frame("curves")
    assert len(curves) == 7 * len(names)
    assert set(curves["found"]) == {tuned.hyperparameters_[name] for name in names}
    one = SelfTuningDisplay.from_estimator(tuned, names=["dropout_0"], n_points=3)
    assert list(one.curves) == list(one.history) == ["dropout_0"]
    plt.close("all")


def test_a_global_curve_spans_the_bounds(wine):
    bounds = {"weight_decay": (1e-4, 10.0)}
    model = small(
        tune=["weight_decay"],
        per_layer=False,
        response="global_hypernetwork",
        bounds=bounds,
    ).fit(*wine)
    values, losses = SelfTuningDisplay.from_estimator(model).curves["weight_decay"]
    np.testing.assert_allclose(values[[0, -1]], bounds["weight_decay"])
    assert np.isfinite(losses).all()


def test_a_global_value_is_the_bottom_of_its_curve():
    """To a hundredth of its logarithm, however short the training."""
    X, y = load_diabetes(return_X_y=True)
    model = SelfTuningMLPRegressor(
        (),
        tune=["weight_decay"],
        response="global_hypernetwork",
        bounds={"weight_decay": (1e-4, 1e2)},
        learning_rate_init=0.05,
        max_iter=30,
        warmup_epochs=28,
        refit=False,
        random_state=0,
    ).fit(X, y)
    found = model.hyperparameters_["weight_decay_0"]
    around = found * np.exp(np.linspace(-0.1, 0.1, 21))
    losses = model.validation_curve("weight_decay_0", around)
    assert np.argmin(losses) == 10
    whole = model.validation_curve("weight_decay_0", np.geomspace(1e-4, 1e2, 50))
    assert losses[10] <= whole.min() * (1 + 1e-6)


def test_the_display_refuses_what_it_does_not_have(tuned, wine):
    display = SelfTuningDisplay.from_estimator(tuned, n_points=2)
    with pytest.raises(ValueError, match="name must be one of"):
        display.plot_curve("width")
    with pytest.raises(ValueError, match="kind must be"):
        display.frame("losses")
    with pytest.raises(ValueError, match="names holds"):
        SelfTuningDisplay.from_estimator(tuned, names=["width"])
    with pytest.raises(ValueError, match="two points, got n_points=1"):
        SelfTuningDisplay.from_estimator(tuned, n_points=1)
    one = SelfTuningDisplay.from_estimator(tuned, names="input_noise", n_points=2)
    assert list(one.history) == ["input_noise"]
    X, y = wine
    untuned = small(max_iter=2).fit(X[::6], y[::6])
    bare = SelfTuningDisplay.from_estimator(untuned)
    assert bare.frame("curves").empty
    with pytest.raises(ValueError, match="Nothing was tuned"):
        bare.plot_curve("input_noise")


def test_curves_of_a_regressor_are_squared_errors():
    X, y = load_diabetes(return_X_y=True)
    model = SelfTuningMLPRegressor((4,), max_iter=7, random_state=0).fit(X, y)
    display = SelfTuningDisplay.from_estimator(model, n_points=2)
    assert display.loss_name == "mean squared error"
    assert display.frame("curves")["loss"].max() < 2 * y.var()
