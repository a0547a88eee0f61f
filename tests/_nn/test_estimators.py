"""The shared base by its plainest children."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as SklearnMLP
from sklearn.preprocessing import scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdiff._nn import _fit
from tests._nn._mlp import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.usefixtures("untouched"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@parametrize_with_checks(
    [
        MLPClassifier(),
        MLPRegressor(),
        MLPClassifier(early_stopping=True, max_iter=60),
        MLPRegressor(early_stopping=True),
        MLPClassifier(solver="sgd", activation="tanh", max_iter=100),
    ]
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def test_it_learns_as_scikit_learns_network_does(cancer):
    X, X_test, y, y_test = train_test_split(*cancer, random_state=0)
    ours = MLPClassifier((20,), learning_rate_init=0.01, random_state=0, max_iter=200)
    peer = SklearnMLP((20,), learning_rate_init=0.01, random_state=0, batch_size=len(X))
    want = peer.fit(X, y).score(X_test, y_test)
    assert ours.fit(X, y).score(X_test, y_test) > want - 0.03


def test_a_planted_linear_map_is_found():
    X, Y, coef = make_regression(200, 4, n_targets=2, coef=True, random_state=0)
    model = MLPRegressor(
        (), alpha=0.0, max_iter=3000, tol=1e-12, n_iter_no_change=200, random_state=0
    ).fit(X, Y)
    slopes = model.predict(np.eye(4)) - model.predict(np.zeros((1, 4)))
    np.testing.assert_allclose(slopes, coef, atol=0.05)
    assert model.score(X, Y) > 0.9999 and model.n_outputs_ == 2


def test_the_penalty_is_half_alpha_times_the_squares():
    X, y = load_diabetes(return_X_y=True)
    X, z = scale(X), scale(y)
    model = MLPRegressor(
        (), alpha=0.5, max_iter=4000, tol=1e-13, n_iter_no_change=100,
        learning_rate_init=0.01, random_state=0,
    ).fit(X, y)  # fmt: skip
    want = np.linalg.solve(X.T @ X / len(X) + 0.5 * np.eye(10), X.T @ z / len(X))
    got = (model.predict(np.eye(10)) - model.predict(np.zeros((1, 10)))) / y.std()
    np.testing.assert_allclose(got, want, atol=1e-4)
    loss = np.mean((z - X @ want) ** 2) / 2 + 0.25 * want @ want
    assert model.loss_ == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "auto"])
def test_precision_follows_the_parameter(cancer, dtype):
    X, y = cancer
    model = MLPClassifier(dtype=dtype, random_state=0).fit(X.astype(np.float32), y)
    got = model.predict_proba(X.astype(np.float32)).dtype
    assert got == (np.float64 if dtype == "float64" else np.float32)


def test_early_stopping_holds_out_and_restores_the_best(cancer):
    X, y = cancer
    model = MLPClassifier(
        early_stopping=True, max_iter=200, validation_fraction=0.2, random_state=1
    ).fit(X, y)
    assert model.stopped_ == "converged"
    assert len(model.validation_scores_) == model.n_iter_ < 200
    tiny = MLPClassifier(early_stopping=True).fit(X[:30], y[:30])
    assert tiny.validation_scores_ is None  # three rows tell nothing


def test_warm_start_continues_and_a_plain_fit_begins_again(cancer):
    X, y = cancer
    model = MLPClassifier(warm_start=True, max_iter=5, tol=0, random_state=0)
    once = MLPClassifier(max_iter=10, tol=0, random_state=0).fit(X, y)
    model.fit(X, y)
    model = pickle.loads(pickle.dumps(model))  # moments travel with it
    model.fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), once.predict_proba(X), atol=1e-12
    )
    assert model.n_iter_ == 10
    model.set_params(warm_start=False).fit(X, y)
    assert model.n_iter_ == 5


@pytest.mark.parametrize("batch_size", ["auto", 50])
def test_partial_fit_after_a_load_is_uninterrupted_training(cancer, batch_size):
    X, y = cancer
    straight = MLPClassifier(batch_size=batch_size, random_state=0)
    broken = clone(straight)
    for epoch in range(6):
        straight.partial_fit(X, y)
        broken.partial_fit(X, y)
        if epoch == 2:
            broken = pickle.loads(pickle.dumps(broken))
    np.testing.assert_array_equal(straight.predict_proba(X), broken.predict_proba(X))
    assert straight.n_iter_ == 6
    with pytest.raises(ValueError, match="labels"):
        straight.partial_fit(X[:2], [0, 5])


def test_classes_may_come_later(cancer):
    X, y = cancer
    model = MLPClassifier(random_state=0).partial_fit(
        X[y == 0], y[y == 0], classes=[0, 1]
    )
    for _ in range(50):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.95


class Exploding(MLPClassifier):
    """A loss that is not a number from the third epoch on."""

    def _batch_loss(self, output, target, weight):
        self.calls = getattr(self, "calls", 0) + 1
        loss = super()._batch_loss(output, target, weight)
        return loss * float("nan") if self.calls > self.max_good_ else loss


def test_a_loss_that_explodes_leaves_the_last_good_state(cancer):
    X, y = cancer
    model = Exploding(random_state=0)
    model.max_good_ = 4
    with pytest.warns(ConvergenceWarning, match="non-finite at epoch 5"):
        model.fit(X, y)
    assert model.stopped_ == "diverged" and model.n_iter_ == 4
    want = Exploding(max_iter=4, random_state=0)
    want.max_good_ = 9
    want.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), want.predict_proba(X))
    model = Exploding(random_state=0)
    model.max_good_ = 0
    with pytest.raises(ValueError, match="not finite after the first epoch"):
        model.fit(X, y)
    assert not hasattr(model, "n_iter_")


class Interrupted(MLPClassifier):
    """A user who loses patience."""

    def _batch_loss(self, output, target, weight):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > self.max_good_:
            raise KeyboardInterrupt
        return super()._batch_loss(output, target, weight)


def test_an_interrupt_keeps_what_was_learnt(cancer):
    X, y = cancer
    model = Interrupted(random_state=0)
    model.max_good_ = 3
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert model.stopped_ == "interrupted" and model.n_iter_ == 3
    assert model.predict(X).shape == y.shape
    model = Interrupted(random_state=0)
    model.max_good_ = 0
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "n_iter_")
    # a new fit is as if nothing had happened
    again = MLPClassifier(random_state=0)
    fresh = clone(again).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(again.fit(X, y).predict_proba(X), fresh)


def test_a_time_limit_ends_the_fit(cancer):
    X, y = cancer
    model = MLPClassifier(time_limit=1e-9, max_iter=50, random_state=0).fit(X, y)
    assert model.stopped_ == "time" and model.n_iter_ == 1


def test_skorch_callbacks_stop_and_see(cancer):
    from skorch.callbacks import Callback, EarlyStopping

    class Watch(Callback):
        batches = 0

        def on_batch_end(self, net, **kwargs):
            self.batches += 1

    X, y = cancer
    watch = Watch()
    stop = EarlyStopping(
        monitor="train_loss", patience=1, threshold=1e9, sink=lambda s: 0
    )
    model = MLPClassifier(
        batch_size=100, random_state=0, net_params={"callbacks": [watch, stop]}
    ).fit(X, y)
    assert model.stopped_ == "callback" and model.n_iter_ < 5
    assert model.net_.callbacks_


def test_scikit_learns_monitor_sees_every_epoch(cancer):
    callback = pytest.importorskip("sklearn.callback", reason="came with 1.9")
    X, y = cancer
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(max_iter=6, tol=0, random_state=0).set_callbacks(monitor)
    model.fit(X, y)
    log = monitor.get_logs().data_as_pandas
    assert len(log) >= 6
    assert log["accuracy"].iloc[-1] == pytest.approx(model.score(X, y))


def test_the_net_is_a_skorch_net_that_predicts_alike(cancer):
    import skorch

    X, y = cancer
    model = MLPClassifier(random_state=0).fit(X, y)
    net = pickle.loads(pickle.dumps(model)).net_
    assert isinstance(net, skorch.NeuralNet)
    with torch.no_grad():
        z = net.module_(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(z[:, 1] - z[:, 0], model.decision_function(X))


def test_pickles_hold_arrays_only_and_load_without_torch(cancer, tmp_path):
    X, y = cancer
    model = MLPClassifier((100,), random_state=0).fit(X, y)
    data = pickle.dumps(model)
    assert len(data) < 2 * 8 * (30 * 100 + 100 + 200 + 2)
    (tmp_path / "m.pkl").write_bytes(data)
    code = (
        "import pickle, sys; m = pickle.load(open(sys.argv[1], 'rb')); "
        "assert 'torch' not in sys.modules; import numpy as np; "
        "m.predict(np.zeros((1, 30))); assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.pkl")],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def test_rows_predict_alike_in_any_company(cancer, monkeypatch):
    X, y = cancer
    model = MLPClassifier((50,), random_state=0).fit(X, y)
    whole = model.predict_proba(X)
    monkeypatch.setattr(_fit, "PREDICT_ROWS", 7)
    np.testing.assert_allclose(model.predict_proba(X), whole, rtol=1e-10)


def test_too_large_values_are_refused_before_training(cancer):
    X, y = cancer
    with pytest.raises(ValueError, match="Rescale X"):
        MLPClassifier(random_state=0).fit(X * 1e40, y)
    with pytest.raises(ValueError, match="Rescale X"):
        MLPClassifier(random_state=0).fit(X, y).predict(X * 1e40)


def test_not_converging_is_said(cancer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
            MLPClassifier(max_iter=2, random_state=0).fit(*cancer)


def test_class_weights_are_sample_weights(cancer):
    X, y = cancer
    by_class = MLPClassifier(class_weight={0: 3.0, 1: 0.5}, random_state=0).fit(X, y)
    by_row = MLPClassifier(random_state=0).fit(X, y, np.where(y == 0, 3.0, 0.5))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
