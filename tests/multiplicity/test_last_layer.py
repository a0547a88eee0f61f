"""The last layer of a network is a linear model on learned features."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin, NeuralRegressorMixin
from skdiff.multiplicity import (
    RashomonClassifier,
    RashomonRegressor,
    last_layer_features,
    last_layer_multiplicity,
)


class Shell(BaseNeural):
    """The parameters of every network, for what is tested here."""

    def __init__(self, hidden_layer_sizes=(6,), max_iter=150, alpha=0.02, dtype="auto"):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_iter = max_iter
        self.alpha = alpha
        self.dtype = dtype
        for name, value in {
            "activation": "tanh", "solver": "adam", "batch_size": "auto",
            "learning_rate_init": 0.02, "momentum": 0.9, "tol": 0.0,
            "n_iter_no_change": 50, "early_stopping": False,
            "validation_fraction": 0.1, "time_limit": None, "warm_start": False,
            "device": "cpu", "net_params": None, "verbose": False, "random_state": 0,
            "class_weight": None, "standardize": False,
        }.items():  # fmt: skip
            setattr(self, name, value)


class Network(NeuralClassifierMixin, Shell):
    """Two logits."""


class NumberNetwork(NeuralRegressorMixin, Shell):
    """A number."""


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


def quietly(*arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return last_layer_multiplicity(*arguments, **keywords)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_features_and_last_layer_make_the_output(cancer, activation):
    X, y = cancer
    network = MLPClassifier((7, 5), activation=activation, max_iter=30, random_state=0)
    Z = last_layer_features(network.fit(X, y), X)
    f = Z @ network.coefs_[-1] + network.intercepts_[-1]
    np.testing.assert_allclose(expit(f[:, 0]), network.predict_proba(X)[:, 1])


def test_our_networks_have_features_too(cancer, diabetes):
    X, y = cancer
    network = Network((7, 5)).fit(X, y)
    Z = last_layer_features(make_pipeline(StandardScaler().fit(X), network), X)
    assert Z.shape == (569, 5) and Z.dtype == np.float64
    audit = quietly(network, X, y)
    weight, bias = (t.detach().numpy() for t in network.net_.module_.layers()[-1])
    f = Z @ (weight[1] - weight[0]) + bias[1] - bias[0]
    np.testing.assert_allclose(expit(f), network.predict_proba(X)[:, 1], rtol=1e-6)
    assert isinstance(audit, RashomonClassifier)
    assert last_layer_features(Network(dtype="float32").fit(X, y), X).dtype == float


@pytest.mark.parametrize("given", [None, 0.05])
def test_the_audit_is_a_logistic_regression_on_the_features(cancer, given):
    X, y = cancer
    network = Network().fit(X, y)
    audit = quietly(network, X, y, alpha=given, epsilon=0.05)
    # two logits: the penalty of their difference is half that of either
    alpha = 0.01 if given is None else given
    Z = last_layer_features(network, X)
    plain = RashomonClassifier(
        LogisticRegression(C=1 / alpha / 569, tol=1e-10, max_iter=10_000), epsilon=0.05
    ).fit(Z, y)
    np.testing.assert_allclose(
        audit.predict_proba_range(X), plain.predict_proba_range(Z), rtol=1e-6
    )
    assert audit.objective_ == pytest.approx(plain.objective_, rel=1e-8)


def test_a_converged_network_is_in_its_set(cancer):
    X, y = cancer
    network = MLPClassifier(
        5, solver="lbfgs", alpha=5.0, max_iter=5000, tol=1e-10, random_state=0
    ).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audit = last_layer_multiplicity(network, X, y)
    # at the optimum of all layers, the last is the best one on its features
    np.testing.assert_allclose(
        audit.predict_proba(X), network.predict_proba(X), atol=1e-3
    )
    low, high = audit.predict_proba_range(X).T
    p = network.predict_proba(X)[:, 1]
    assert ((low <= p) & (p <= high)).all()
    assert audit.sample(5)[0].shape == (5, 5)
    again = pickle.loads(pickle.dumps(audit))
    np.testing.assert_array_equal(again.decision_range(X), audit.decision_range(X))


def test_a_network_outside_its_set_is_reported(cancer):
    X, y = cancer
    network = MLPClassifier(5, max_iter=5, random_state=0).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="is not in the audited set"):
        last_layer_multiplicity(network, X, y, alpha=1e-3)


def test_regressors_are_ridges_in_the_units_of_the_target(diabetes):
    X, y = diabetes
    network = MLPRegressor(
        hidden_layer_sizes=4, solver="lbfgs", alpha=20.0, max_iter=5000, random_state=0
    ).fit(X, y)
    audit = quietly(network, X, y, epsilon=0.02)
    Z = last_layer_features(network, X)
    plain = RashomonRegressor(Ridge(20.0), epsilon=0.02).fit(Z, y)
    np.testing.assert_allclose(
        audit.predict_range(X), plain.predict_range(Z), rtol=1e-6
    )
    ours = NumberNetwork(max_iter=400, alpha=0.02).fit(X, y)
    audit = quietly(ours, X, y, epsilon=0.2)
    assert np.corrcoef(audit.predict(X), ours.predict(X))[0, 1] > 0.99
    bounds = audit.predict_range(X)
    inside = (bounds[:, 0] <= ours.predict(X)) & (ours.predict(X) <= bounds[:, 1])
    assert inside.mean() > 0.95


def test_row_weights_are_repeated_rows(cancer):
    X, y = cancer
    network = make_pipeline(StandardScaler(), MLPClassifier(4, random_state=0))
    network = FrozenEstimator(network.fit(X, y))
    weight = np.random.default_rng(0).integers(1, 3, 569)
    rows = np.repeat(np.arange(569), weight)
    weighted = quietly(network, X, y, alpha=1e-3, sample_weight=weight)
    repeated = quietly(network, X[rows], y[rows], alpha=1e-3)
    np.testing.assert_allclose(
        weighted.decision_range(X), repeated.decision_range(X), rtol=1e-5
    )


def test_what_has_no_last_layer_is_refused(cancer, diabetes):
    X, y = cancer
    with pytest.raises(ValueError, match="must be, or be a Pipeline"):
        last_layer_features(LogisticRegression().fit(X, y), X)
    with pytest.raises(NotFittedError):
        last_layer_features(MLPClassifier(), X)
    network = MLPClassifier(3, max_iter=5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="alpha must be"):
        last_layer_multiplicity(network, X, y, alpha=-1)
    with pytest.raises(ValueError, match="features"):
        last_layer_features(network, X[:, :4])
    D, t = diabetes
    several = MLPRegressor(hidden_layer_sizes=3, max_iter=5, random_state=0)
    with pytest.raises(ValueError, match="several outputs"):
        last_layer_multiplicity(several.fit(D, np.c_[t, t]), D, t)
    with pytest.raises(ValueError, match="constant"):
        last_layer_features(Network().fit(D, np.ones(442)), D)
    counts = MLPRegressor(loss="poisson", hidden_layer_sizes=3, max_iter=5)
    with pytest.raises(ValueError, match="poisson"):
        last_layer_features(counts.fit(D, t), D)


def test_modules_that_are_not_linear_at_last_are_refused(cancer):
    X, y = cancer

    class Bent(Network):
        def _module(self, n_in, n_out, generator):
            module = super()._module(n_in, n_out, generator)
            forward = type(module).forward
            twisted = type("Twisted", (type(module),), {
                "forward": lambda self, X: forward(self, X) ** 3})  # fmt: skip
            module.__class__ = twisted
            return module

    class Bare(Network):
        def _module(self, n_in, n_out, generator):
            import torch

            return torch.nn.Linear(n_in, n_out, dtype=torch.float64)

    for kind, word in ((Bent, "is not linear"), (Bare, "no last layer")):
        with pytest.raises(ValueError, match=word):
            last_layer_features(kind(max_iter=3).fit(X, y), X)
