"""Parameters that are set after a fit change nothing until the next one."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from skdiff.neural_network import (
    AnyLossClassifier,
    LipschitzMLPClassifier,
    SelfTuningMLPClassifier,
    SparseBayesianMLPClassifier,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    "kind",
    [
        AnyLossClassifier,
        LipschitzMLPClassifier,
        SelfTuningMLPClassifier,
        SparseBayesianMLPClassifier,
    ],
)
def test_parameters_set_after_a_fit_wait_for_the_next_one(kind, tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model = kind(hidden_layer_sizes=(6, 4), activation="tanh", max_iter=5)
    model.set_params(random_state=0).fit(X, y)
    want, state = model.predict_proba(X), model.net_.module_.state_dict()
    later = pickle.loads(pickle.dumps(model))
    for one in (model, later):
        one.set_params(hidden_layer_sizes=[3], activation="relu")
    model.save(tmp_path / "model.npz")
    others = pickle.loads(pickle.dumps(model)), kind.load(tmp_path / "model.npz")
    for one in (model, later, *others):
        np.testing.assert_array_equal(one.predict_proba(X), want)
        assert one.get_params()["hidden_layer_sizes"] == [3]
        for name, tensor in one.net_.module_.state_dict().items():
            assert tensor.shape == state[name].shape
    again = clone(later).fit(X, y).net_.module_.state_dict()
    assert [t.shape for t in again.values()] != [t.shape for t in state.values()]
