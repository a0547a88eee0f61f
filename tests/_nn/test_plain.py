"""The gradient by hand against autograd's."""

import numpy as np
import pytest
import torch

from skdiff._nn import _fit
from skdiff._nn._modules import MLP
from skdiff._nn._net import Net
from skdiff._nn._plain import BACKWARD, PlainNet, plain_net_class
from tests._nn._mlp import MLPClassifier, MLPRegressor


def table(n=60, d=5):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] - X[:, 1] + 0.3 * rng.normal(size=n), rng.uniform(0.2, 3, n)


class ByAutograd:
    """The same estimator, its loss written again so that it has no mark."""

    def _row_loss(self, output, target):
        return super()._row_loss(output, target)


class AutogradClassifier(ByAutograd, MLPClassifier):
    __init__ = MLPClassifier.__init__


class AutogradRegressor(ByAutograd, MLPRegressor):
    __init__ = MLPRegressor.__init__


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
@pytest.mark.parametrize("sizes", [(), (6,), (7, 4)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["two", "three", "number", "numbers"])
def test_a_fit_by_hand_is_the_fit_by_autograd(task, weighted, sizes, activation):
    X, t, weight = table()
    y = {
        "two": (t > 0).astype(int),
        "three": np.digitize(t, [-0.5, 0.5]),
        "number": t,
        "numbers": np.column_stack([t, t**2]),
    }[task]
    classes = task in ("two", "three")
    by_hand, by_autograd = (
        (MLPClassifier, AutogradClassifier)
        if classes
        else (MLPRegressor, AutogradRegressor)
    )
    keywords = {
        "hidden_layer_sizes": sizes,
        "activation": activation,
        "batch_size": 16,
        "max_iter": 5,
        "tol": 0.0,
        "random_state": 0,
    }
    weight = weight if weighted else None
    ours = by_hand(**keywords).fit(X, y, weight)
    theirs = by_autograd(**keywords).fit(X, y, weight)
    assert isinstance(ours.net_, PlainNet) and type(theirs.net_) is Net
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-10)
    for name, array in ours._state["arrays"].items():
        expected = theirs._state["arrays"][name]
        np.testing.assert_allclose(array, expected, rtol=1e-8, atol=1e-10)


def test_anything_else_takes_the_way_of_autograd():
    generator = _fit.seeded(0)
    smooth = MLP([3, 4, 2], "gelu", generator)
    plain = MLP([3, 4, 2], "relu", generator)
    assert plain_net_class(smooth, "cross_entropy") is Net
    assert plain_net_class(torch.nn.Linear(3, 2), "cross_entropy") is Net
    assert plain_net_class(plain, None) is Net
    assert issubclass(plain_net_class(plain, "squares"), PlainNet)
    assert len(BACKWARD) == 4
    X, t, _ = table()
    stock = MLPClassifier(net_params={"optimizer": torch.optim.SGD}, max_iter=3)
    assert type(stock.fit(X, t > 0).net_) is Net


def test_gradient_clipping_still_sees_gradients():
    from skorch.callbacks import GradientNormClipping

    X, t, _ = table()
    norms = {}

    class Watch(GradientNormClipping):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            named = list(named_parameters)
            super().on_grad_computed(net, named, **kwargs)
            norms["last"] = torch.cat([p.grad.reshape(-1) for _, p in named]).norm()

    clip = Watch(gradient_clip_value=0.01)
    MLPClassifier(max_iter=3, net_params={"callbacks": [("clip", clip)]}).fit(X, t > 0)
    assert 0 < norms["last"] <= 0.01 * (1 + 1e-5)
