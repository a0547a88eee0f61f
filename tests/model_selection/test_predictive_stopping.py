import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff.model_selection import (
    Incumbent,
    PredictiveStopping,
    PredictiveStoppingDisplay,
    PredictiveStoppingSearchCV,
)
from skdiff.neural_network import AnyLossClassifier

X, Y = load_iris(return_X_y=True)
X = scale(X)


def quiet(message):
    pass


class Net:
    """What a callback of skorch sees of a network."""

    class History(list):
        def record(self, name, value):
            self[-1][name] = value

        def __getitem__(self, key):
            row = key[0] if isinstance(key, tuple) else key
            found = super().__getitem__(row)
            return found[key[1]] if isinstance(key, tuple) else found

    def __init__(self, max_epochs):
        self.max_epochs, self.history = max_epochs, self.History()


def train(callback, curve, name="valid_acc"):
    """Run a training of given scores under the callback; return its epochs."""
    net = Net(len(curve))
    callback.initialize()
    callback.on_train_begin(net)
    try:
        for score in curve:
            net.history.append({name: score})
            callback.on_epoch_end(net)
    except KeyboardInterrupt:
        pass
    callback.on_train_end(net)
    return net


def curve_to(top, n=50, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.004, n)
    return np.clip(top - 0.35 / np.arange(1, n + 1) + noise, 0, 1)


# --- the callback --------------------------------------------------------------------


def test_a_hopeless_training_is_stopped_and_a_better_one_is_not():
    said, best = [], Incumbent()
    stop = PredictiveStopping(incumbent=best, sink=said.append)
    assert len(train(stop, curve_to(0.9)).history) == 50  # nothing to beat yet
    assert stop.stopped_at_ is None
    assert best.score == pytest.approx(0.9, abs=0.02)
    poor = train(stop, curve_to(0.6))
    assert 3 <= len(poor.history) < 25
    assert stop.stopped_at_ == len(stop.curve_) == len(poor.history)
    assert "probability of a score better than" in said[0]
    assert poor.history[-1]["predict_gain"] < 0.05
    assert len(train(stop, curve_to(0.95)).history) == 50
    assert best.score == pytest.approx(0.95, abs=0.02)


def test_losses_are_mirrored():
    best = Incumbent()
    stop = PredictiveStopping("valid_loss", incumbent=best, sink=quiet)
    train(stop, 2 * (1 - curve_to(0.9)), "valid_loss")
    assert best.score == pytest.approx(0.2, abs=0.05)
    assert len(train(stop, 2 * (1 - curve_to(0.5)), "valid_loss").history) < 40
    assert best.score == pytest.approx(0.2, abs=0.05)


def test_min_iter_and_check_every():
    stop = PredictiveStopping(threshold=0.99, min_iter=6, check_every=4, sink=quiet)
    train(stop, curve_to(0.3))
    assert stop.stopped_at_ in (6, 10, 14)


def test_it_is_cloned_with_its_incumbent():
    best = Incumbent(0.5)
    stop = PredictiveStopping(incumbent=best, confidence=0.9)
    assert stop.set_params(confidence=0.8).get_params()["confidence"] == 0.8
    assert clone(stop, safe=False).incumbent is not None
    with pytest.raises(ValueError, match="has no parameter 'patience'"):
        stop.set_params(patience=3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"confidence": 1.0}, "confidence must lie strictly between 0 and 1"),
        ({"min_iter": 0}, "min_iter must be at least 1"),
        ({"horizon": 1}, "horizon must be the number of iterations"),
        ({"monitor": "valid_f1"}, "no column 'valid_f1'"),
    ],
)
def test_bad_input_of_the_callback(params, message):
    with pytest.raises(ValueError, match=message):
        train(PredictiveStopping(**params), curve_to(0.5))


def test_it_stops_estimators_of_scikit_learns_protocol():
    model = AnyLossClassifier(max_iter=40, random_state=0, hidden_layer_sizes=(4,))
    stop = PredictiveStopping(threshold=0.9999, X_val=X, y_val=Y, sink=quiet)
    model.set_callbacks(stop).fit(X, Y)
    assert model.n_iter_ == stop.stopped_at_ < 40
    best = Incumbent()
    keep = PredictiveStopping(incumbent=best, X_val=X, y_val=Y, sink=quiet)
    model = AnyLossClassifier(max_iter=5, tol=0, random_state=0).set_callbacks(keep)
    model.fit(X, Y)
    assert len(keep.curve_) == model.n_iter_
    assert best.score == keep.curve_.max()


def test_scikit_learns_protocol_needs_a_validation_set():
    model = AnyLossClassifier(max_iter=3).set_callbacks(PredictiveStopping())
    with pytest.raises(ValueError, match="give X_val and y_val"):
        model.fit(X, Y)


def test_it_stops_a_skorch_network():
    skorch = pytest.importorskip("skorch")
    torch = pytest.importorskip("torch")
    stop = PredictiveStopping(threshold=0.999, sink=quiet)
    net = skorch.NeuralNetClassifier(
        torch.nn.Linear(4, 3),
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=40,
        lr=0.01,
        callbacks=[stop],
        verbose=0,
    )
    net.fit(X.astype(np.float32), Y)
    assert len(net.history) == stop.stopped_at_ < 40
    assert net.history[-1, "predict_gain"] < 0.05


# --- the search ----------------------------------------------------------------------


def search(n_iter=12, max_resource=30, **params):
    return PredictiveStoppingSearchCV(
        SGDClassifier(random_state=0),
        {"alpha": loguniform(1e-5, 30)},
        n_iter=n_iter,
        max_resource=max_resource,
        random_state=0,
        **params,
    )


def test_it_saves_most_of_the_training_at_equal_score():
    full = search(confidence=1 - 1e-12).fit(X, Y)
    ours = search().fit(X, Y)
    assert ours.resource_used_ < 0.6 * 12 * 30
    assert ours.best_score_ >= full.best_score_ - 0.04
    results = ours.cv_results_
    assert results["stopped_early"].any()
    assert np.all((results["n_resources"] < 30) == results["stopped_early"])
    assert np.all(results["n_resources"] >= 3)
    assert results["n_resources"].sum() == ours.resource_used_
    stopped = results["stopped_early"].astype(bool)
    assert np.all(np.isfinite(results["predicted_final"][stopped].astype(float)))


def test_the_scores_are_those_of_the_resource():
    found = search(4, 6).fit(X, Y)
    for k, setting in enumerate(found.cv_results_["params"]):
        train_rows, test_rows = next(found._splitter(Y).split(X, Y))
        model = SGDClassifier(random_state=0, **setting)
        for _ in range(found.cv_results_["n_resources"][k]):
            model.partial_fit(X[train_rows], Y[train_rows], classes=np.unique(Y))
        score = model.score(X[test_rows], Y[test_rows])
        assert found.cv_results_["mean_test_score"][k] == pytest.approx(score)
        assert found.curves_[k][-1] == pytest.approx(score)


def test_jobs_change_nothing():
    alone, together = search(6, 12).fit(X, Y), search(6, 12, n_jobs=2).fit(X, Y)
    assert [c.tolist() for c in alone.curves_] == [c.tolist() for c in together.curves_]
    assert alone.best_params_ == together.best_params_


def test_a_pipeline_under_a_grid_of_a_real_table():
    data, target = load_breast_cancer(return_X_y=True, as_frame=True)
    inner = PredictiveStoppingSearchCV(
        make_pipeline(StandardScaler(), SGDClassifier(random_state=0)),
        {"sgdclassifier__alpha": loguniform(1e-5, 10)},
        n_iter=4,
        max_resource=6,
        random_state=0,
    )
    grid = GridSearchCV(inner, {"confidence": [0.8, 0.99]}, cv=2, n_jobs=2)
    grid.fit(data, np.where(target, "benign", "malignant"))
    assert grid.best_score_ > 0.9
    assert set(grid.classes_) == {"benign", "malignant"}


def test_scores_without_bounds():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(200, 4))
    target = 30 * table[:, 0] + rng.normal(size=200)
    found = PredictiveStoppingSearchCV(
        SGDRegressor(random_state=0),
        {"eta0": loguniform(1e-6, 1e-1)},
        n_iter=8,
        max_resource=20,
        scoring="neg_mean_squared_error",
        random_state=0,
    ).fit(table, target)
    assert found.best_score_ > -50
    assert found.resource_used_ < 8 * 20


def test_a_failed_candidate_is_left_and_named():
    space = {"alpha": [1e-4, -1.0, 1e-2]}
    model = PredictiveStoppingSearchCV(
        SGDClassifier(random_state=0), space, n_iter=3, max_resource=5, random_state=0
    )
    with (
        pytest.warns(FitFailedWarning, match="fits failed"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        model.fit(X, Y)
    failed = [p["alpha"] < 0 for p in model.cv_results_["params"]]
    assert np.isnan(model.cv_results_["mean_test_score"][failed]).all()
    assert model.best_params_["alpha"] > 0


def test_time_limit_keeps_the_best():
    with pytest.warns(Warning, match="reached time_limit"):
        found = search(20, 400, time_limit=0.05).fit(X, Y)
    assert found.stopped_ == "time"
    assert found.resource_used_ < 20 * 400
    assert found.predict(X).shape == Y.shape


def test_bad_input_of_the_search():
    with pytest.raises(ValueError, match="LogisticRegression has none"):
        PredictiveStoppingSearchCV(LogisticRegression(), {"C": [1.0]}).fit(X, Y)
    with pytest.raises(ValueError, match="min_resource=9 is larger"):
        search(2, 5, min_resource=9).fit(X, Y)
    with pytest.raises(ValueError, match="bounds must be two numbers"):
        search(2, 5, bounds=(1, 0)).fit(X, Y)
    with pytest.raises(ValueError, match="outside bounds"):
        search(2, 5, bounds=(0, 0.1)).fit(X, Y)


def test_display():
    pytest.importorskip("matplotlib").use("Agg")
    found = search(5, 8).fit(X, Y)
    display = PredictiveStoppingDisplay.from_estimator(found).plot()
    assert len(display.lines_) == 5
    assert len(display.frame()) == sum(len(c) for c in found.curves_)
