"""A new network class is cheap: its mathematics, and what the shared base asks for.

A focal-loss classifier (Lin et al., 2017) is derived here as a method of the package
would be. Besides its signature, its assignments and its docstring it may take at most
thirty lines.
"""

import ast
import inspect
import pickle
import warnings
from numbers import Real

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils import estimator_checks as checks

from skdiff._base.compat import Interval, StrOptions
from skdiff._base.parameters import shared_parameters
from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin

pytestmark = pytest.mark.usefixtures("untouched")
MOST_LINES = 30


class FocalClassifier(NeuralClassifierMixin, BaseNeural):
    """Classify by a network trained on the focal loss, which favours hard rows.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(50,)
        Number of units in each hidden layer.
    gamma : float, default=2.0
        Exponent of the factor ``(1 - p)`` of each row's log loss; 0 is the log loss.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.

    All others are those of the other networks.
    """

    _parameter_constraints = {
        **BaseNeural._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(50,),
        *,
        gamma=2.0,
        activation="relu",
        solver="adam",
        alpha=1e-4,
        batch_size="auto",
        learning_rate_init=0.02,
        momentum=0.9,
        max_iter=60,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        time_limit=None,
        warm_start=False,
        class_weight=None,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.gamma = gamma
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    def _row_loss(self, output, target):
        import torch

        log_p = torch.log_softmax(output, dim=1).gather(1, target[:, None])[:, 0]
        return -((1 - log_p.exp()) ** self.gamma) * log_p


def lines_of(cls):
    """Lines of a class besides its signature, its assignments and its docstring."""
    source = inspect.getsource(cls)
    (tree,) = ast.parse(source).body
    kept = {k for k, line in enumerate(source.splitlines(), 1) if line.strip()}
    for node in tree.body:
        is_docstring = isinstance(node, ast.Expr)
        if is_docstring or getattr(node, "name", "") == "__init__":
            kept -= set(range(node.lineno, node.end_lineno + 1))
    return len(kept)


def test_a_new_method_takes_few_lines():
    assert lines_of(FocalClassifier) <= MOST_LINES


def test_it_has_every_shared_parameter():
    own = set(inspect.signature(FocalClassifier).parameters)
    needed = set(vars(BaseNeural)["_shared_parameters"])
    assert needed <= own
    assert "gamma" not in shared_parameters(FocalClassifier)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_classifiers_train,
        checks.check_classifiers_classes,
        checks.check_estimators_dtypes,
        checks.check_estimators_nan_inf,
        checks.check_estimators_pickle,
        checks.check_fit_idempotent,
        checks.check_parameters_default_constructible,
        checks.check_class_weight_classifiers,
        checks.check_dict_unchanged,
    ],
    ids=lambda c: c.__name__,
)
def test_the_essential_checks_pass(check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check("FocalClassifier", FocalClassifier(random_state=0))


def test_it_learns_pickles_and_is_searched():
    X, y = load_breast_cancer(return_X_y=True)
    labels = np.where(y == 1, "benign", "malignant")
    pipe = make_pipeline(StandardScaler(), FocalClassifier(max_iter=20, random_state=0))
    grid = {"focalclassifier__gamma": [0.0, 2.0]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, labels)
    assert search.best_score_ > 0.94
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_its_loss_is_the_focal_loss():
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    model = FocalClassifier(gamma=1.5, alpha=0.0, max_iter=5, tol=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = clone(model).fit(X, y)
        model.set_params(max_iter=6).fit(X, y)
    p = before.predict_proba(X)[np.arange(len(y)), y]
    # a full batch reports the loss at the weights it started from
    want = np.mean(-((1 - p) ** 1.5) * np.log(p))
    assert model.loss_curve_[-1] == pytest.approx(want, rel=1e-6)
