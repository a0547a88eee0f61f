"""Training on the size of smoothed sets: its derivative, its reach, its effect."""

import warnings

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff.conformal import RobustConformalClassifier
from skdiff.conformal._robust import _smoothing as smooth

torch = pytest.importorskip("torch")
training = pytest.importorskip("skdiff.conformal._robust._training")

IRIS = load_iris(return_X_y=True)


def quiet(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


def robust(estimator, **changed):
    keywords = {
        "method": "smoothing",
        "radius": 0.1,
        "n_draws": 64,
        "conformal_training": True,
        "random_state": 0,
    }
    return RobustConformalClassifier(estimator, **{**keywords, **changed})


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(training, "STEPS", 20)


def test_the_derivative_of_the_quantile():
    z = np.sort(np.random.default_rng(0).standard_normal(4000))
    theta = torch.tensor([2.0, 0.5], dtype=torch.float64, requires_grad=True)
    values = theta[0] * torch.tensor(z) + theta[1]
    for level in (0.3, 0.9):
        q = training.soft_quantile(values, level)
        assert q.item() == pytest.approx(np.quantile(2 * z + 0.5, level), abs=5e-3)
        (slope,) = torch.autograd.grad(q, theta, retain_graph=True)
        # q = theta_0 z_q + theta_1
        assert slope[0].item() == pytest.approx(np.quantile(z, level), abs=0.06)
        assert slope[1].item() == pytest.approx(1.0, abs=1e-9)


def test_the_loss_by_hand_and_its_direction():
    goal = training.Goal(0.5, 1.0, 0.25)
    S = np.random.default_rng(0).uniform(0.05, 0.95, (12, 3))
    codes = np.random.default_rng(1).integers(3, size=12)
    found = training.size_loss(torch.tensor(S), torch.tensor(codes), goal).item()
    u = norm.ppf(S)
    q = np.quantile(u[np.arange(6), codes[:6]], 0.5, method="higher")
    inside = expit((q + 0.25 - u[6:]) / training.TEMPERATURE)
    missed = 1 - inside[np.arange(6), codes[6:]]
    excess = np.maximum(inside.sum(axis=1) - 1, 0)
    assert found == pytest.approx(np.log(missed.mean() + excess.mean() + 1e-6))
    # wrong labels of the second half that fit less make the loss smaller
    better = S.copy()
    better[6:] = np.where(np.eye(3)[codes[6:]] == 1, S[6:], 0.97)
    assert training.size_loss(torch.tensor(better), torch.tensor(codes), goal) < found


def test_scores_are_those_of_the_sets():
    P = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    P[:3] = 0.25
    for name, function in smooth.SCORES.items():
        found = training.scores(torch.tensor(P), name).numpy()
        np.testing.assert_allclose(found, function(P), atol=1e-12)


@pytest.mark.parametrize("two", [True, False])
def test_layers_are_read_and_written(two):
    X, y = IRIS[0][: 100 if two else None], IRIS[1][: 100 if two else None]
    models = [LogisticRegression(max_iter=500)]
    models += [
        MLPClassifier((5, 4), activation=a, max_iter=20, random_state=0)
        for a in training.ACTIVATIONS
    ]
    for model in models:
        quiet(model.fit, X, y)
        layers = training.read_layers(model)
        assert training.agrees(layers, X, model.predict_proba(X))
        changed = training.Layers(
            [1.5 * W for W in layers.weights], layers.biases, layers.activation
        )
        expected = training.proba(changed, X)
        assert not training.agrees(changed, X, model.predict_proba(X))
        training.write_layers(model, changed)
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-9)


def test_what_cannot_be_trained_is_named(few_steps):
    X, y = IRIS
    with pytest.raises(ValueError, match="GaussianNB is none"):
        robust(GaussianNB()).fit(X, y)
    one_against_rest = LogisticRegression(solver="liblinear")
    with pytest.raises(ValueError, match="frozen"):
        robust(FrozenEstimator(one_against_rest.fit(X, y > 0))).fit(X, y > 0)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        robust(LogisticRegression()).fit(X, y, sample_weight=np.ones(150))


def test_calibration_rows_do_not_train(few_steps):
    X, y = scale(IRIS[0]), IRIS[1]
    model = robust(LogisticRegression(), transformation=None, n_draws=16).fit(X, y)
    other = y.copy()
    other[model.calibration_indices_] = 0
    again = robust(LogisticRegression(), transformation=None, n_draws=16).fit(X, other)
    np.testing.assert_array_equal(model.estimator_.coef_, again.estimator_.coef_)
    assert model.threshold_ != again.threshold_
    copies = robust(LogisticRegression(), conformal_training=False).fit(X, y)
    assert not np.allclose(model.estimator_.coef_, copies.estimator_.coef_)


def test_in_a_pipeline_on_frames_with_names_of_classes(few_steps):
    pd = pytest.importorskip("pandas")
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    names = pd.Series(np.where(y == 1, "benign", "malignant"))
    X, names = X[:200], names[:200]
    network = MLPClassifier((8,), solver="lbfgs", max_iter=60, random_state=0)
    inner = make_pipeline(StandardScaler(), "passthrough", network)
    outer = robust(inner, radius=0.3, n_draws=16, conformity_score="aps")
    model = quiet(outer.fit, X, names)
    coefs = [W.copy() for W in model.estimator_[-1].coefs_]
    assert model.score(X, names) > 0.85
    assert model.predict_set(X[:20]).shape == (20, 2)
    for old, new in zip(
        coefs, quiet(outer.fit, X, names).estimator_[-1].coefs_, strict=True
    ):
        np.testing.assert_array_equal(old, new)
    # a radius of zero has no noise to train on, and still sets to make small
    still = quiet(robust(inner, radius=0.0).fit, X, names)
    assert still.report_["guaranteed_size"] < 1.3


def test_sets_of_digits_become_smaller(monkeypatch):
    monkeypatch.setattr(training, "STEPS", 200)
    X, y = load_digits(return_X_y=True)
    X = X / 16
    sizes = {}
    for trained in (False, True):
        model = robust(
            LogisticRegression(max_iter=60),
            radius=0.25,
            n_draws=200,
            failure=0.02,
            calibration=250,
            transformation=None,
            conformal_training=trained,
        ).fit(X[:800], y[:800])
        sets = model.predict_set(X[900:1000])
        assert sets[np.arange(100), y[900:1000]].mean() > 0.9
        sizes[trained] = model.report_["guaranteed_size"]
    assert sizes[True] < 0.9 * sizes[False]


def test_the_training_can_be_limited_and_watched(few_steps, capsys):
    X, y = scale(IRIS[0]), IRIS[1]
    whole = robust(LogisticRegression(), verbose=1).fit(X, y)
    assert whole.stopped_ == "converged"
    assert capsys.readouterr().out.count("Step") == 20
    short = robust(LogisticRegression(), time_limit=1e-6)
    with pytest.warns(ConvergenceWarning, match="Time limit"):
        short.fit(X, y)
    assert short.stopped_ == "time"
    one, all_steps = short.estimator_.coef_, whole.estimator_.coef_
    plain = robust(LogisticRegression(), conformal_training=False).fit(X, y)
    before = plain.estimator_.coef_
    assert 0 < np.abs(one - before).max() < np.abs(all_steps - before).max()
    assert plain.stopped_ == "converged"
    assert capsys.readouterr().out == ""
    held = short.calibration_indices_
    own = short.predict_set(X[held])[np.arange(len(held)), y[held]]
    assert own.mean() >= 0.9
