"""Hypergradients of every inner problem against central differences."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_classification, make_regression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from sklearn.model_selection import PredefinedSplit
from sklearn.svm import LinearSVC, LinearSVR

from skdiff.linear_model import (
    WeightedElasticNet,
    WeightedLogisticRegression,
    WeightedRidge,
)
from skdiff.model_selection import Continuous, GradientSearchCV, check_hypergradient
from skdiff.model_selection._gradient._inner._network import (
    NetworkProblem,
    largest_eigenvalue,
    neumann,
)
from tests._nn._mlp import MLPClassifier, MLPRegressor

SHARE = Continuous(0, 1, scale="logit", per="sample")
HALF = PredefinedSplit(np.repeat([-1, 0], [40, 20]))


def regression(seed, n_targets=1):
    X, y = make_regression(
        60, 6, n_informative=4, n_targets=n_targets, noise=20.0, random_state=seed
    )
    return X, y / 20


def classes(seed, n_classes=2):
    return make_classification(
        60,
        6,
        n_informative=4,
        n_classes=n_classes,
        flip_y=0.2,
        random_state=seed,
    )


def several(seed):
    return regression(seed, 3)


def three(seed):
    return classes(seed, 3)


def sparse_rows(make):
    def made(seed):
        X, y = make(seed)
        X[np.abs(X) < 0.5] = 0
        return sparse.csr_array(X), y

    return made


LOG = Continuous(1e-2, 1e2)
PROBLEMS = {
    "ridge": (Ridge(), {"alpha": LOG}, regression, {}),
    "ridge, more columns than rows": (
        Ridge(),
        {"alpha": LOG},
        lambda seed: make_regression(30, 50, noise=5.0, random_state=seed),
        {},
    ),
    "ridge without intercept": (
        Ridge(fit_intercept=False),
        {"alpha": LOG},
        regression,
        {},
    ),
    "ridge, three targets": (Ridge(), {"alpha": LOG}, several, {}),
    "ridge per target": (
        Ridge(),
        {"alpha": Continuous(1e-2, 1e2, per="output")},
        several,
        {},
    ),
    "ridge, huber": (Ridge(), {"alpha": LOG}, regression, {"criterion": "huber"}),
    "sparse ridge": (Ridge(), {"alpha": LOG}, sparse_rows(regression), {}),
    "ridge, row weights": (
        Ridge(),
        {"sample_weight": SHARE, "alpha": LOG},
        regression,
        {"cv": HALF},
    ),
    "ridge per feature": (
        WeightedRidge(),
        {"alpha": Continuous(1e-2, 1e2, per="feature")},
        regression,
        {},
    ),
    "ridge per feature, dual": (
        WeightedRidge(),
        {"alpha": Continuous(1e-2, 1e2, per="feature")},
        lambda seed: make_regression(18, 30, noise=5.0, random_state=seed),
        {},
    ),
    "sparse ridge per group": (
        WeightedRidge(),
        {"alpha": Continuous(1e-2, 1e2, per="group", groups=list("aabbbc"))},
        sparse_rows(regression),
        {},
    ),
    "kernel ridge": (
        KernelRidge(kernel="rbf"),
        {"alpha": LOG, "gamma": Continuous(1e-3, 1.0)},
        regression,
        {},
    ),
    "kernel ridge per feature": (
        KernelRidge(kernel="rbf"),
        {"alpha": LOG, "gamma": Continuous(1e-3, 1.0, per="feature")},
        several,
        {},
    ),
    "sparse kernel ridge": (
        KernelRidge(kernel="rbf"),
        {"alpha": LOG, "gamma": Continuous(1e-3, 1.0)},
        sparse_rows(regression),
        {},
    ),
    "laplacian kernel ridge": (
        KernelRidge(kernel="laplacian"),
        {"gamma": Continuous(1e-3, 1.0)},
        regression,
        {},
    ),
    "polynomial kernel ridge": (
        KernelRidge(kernel="polynomial", degree=2),
        {"alpha": LOG},
        regression,
        {},
    ),
    "lasso": (Lasso(), {"alpha": Continuous(1e-2, 1.0)}, regression, {}),
    "sparse lasso": (
        Lasso(),
        {"alpha": Continuous(1e-2, 1.0)},
        sparse_rows(regression),
        {},
    ),
    "elastic net": (
        ElasticNet(),
        {
            "alpha": Continuous(1e-2, 1.0),
            "l1_ratio": Continuous(0.1, 0.95, scale="logit"),
        },
        regression,
        {},
    ),
    "elastic net per feature": (
        WeightedElasticNet(l1_ratio=0.7),
        {"alpha": Continuous(1e-2, 1.0, per="feature")},
        regression,
        {},
    ),
    "logistic": (LogisticRegression(), {"C": LOG}, classes, {}),
    "logistic, balanced": (
        LogisticRegression(class_weight="balanced"),
        {"C": LOG},
        classes,
        {},
    ),
    "liblinear": (LogisticRegression(solver="liblinear"), {"C": LOG}, classes, {}),
    "logistic, squared hinge": (
        LogisticRegression(),
        {"C": LOG},
        classes,
        {"criterion": "squared_hinge"},
    ),
    "sparse logistic": (LogisticRegression(), {"C": LOG}, sparse_rows(classes), {}),
    "multinomial": (LogisticRegression(), {"C": LOG}, three, {}),
    "sparse multinomial": (LogisticRegression(), {"C": LOG}, sparse_rows(three), {}),
    "multinomial without intercept": (
        LogisticRegression(fit_intercept=False),
        {"C": LOG},
        three,
        {},
    ),
    "logistic per feature": (
        WeightedLogisticRegression(),
        {"C": Continuous(1e-2, 1e2, per="feature")},
        classes,
        {},
    ),
    "multinomial per feature": (
        WeightedLogisticRegression(),
        {"C": Continuous(1e-2, 1e2, per="feature")},
        three,
        {},
    ),
    "multinomial per coefficient": (
        WeightedLogisticRegression(),
        {"C": Continuous(1e-2, 1e2, per="coefficient")},
        three,
        {},
    ),
    "logistic per coefficient": (
        WeightedLogisticRegression(),
        {"C": Continuous(1e-2, 1e2, per="coefficient")},
        classes,
        {},
    ),
    "logistic, row weights": (
        LogisticRegression(),
        {"sample_weight": SHARE},
        classes,
        {"cv": HALF},
    ),
    "multinomial, row weights": (
        LogisticRegression(),
        {"sample_weight": SHARE, "C": LOG},
        three,
        {"cv": HALF},
    ),
    "linear SVC": (LinearSVC(), {"C": LOG}, classes, {}),
    "linear SVC, three classes": (LinearSVC(), {"C": LOG}, three, {}),
    "linear SVR": (
        LinearSVR(loss="squared_epsilon_insensitive"),
        {"C": LOG, "epsilon": Continuous(0, 2, scale="linear")},
        regression,
        {},
    ),
}


def worst(name, seeds):
    estimator, intervals, make, options = PROBLEMS[name]
    search = GradientSearchCV(estimator, intervals, **{"cv": 3, **options})
    # iterative solves leave errors that a short step would enlarge
    eps = 1e-4 if "sparse" in name else 1e-5
    return [check_hypergradient(search, *make(seed), eps=eps) for seed in seeds]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_hypergradient_is_the_derivative(name):
    # the median: a kink of a lasso or a hinge may lie within the step of one problem
    assert np.median(worst(name, range(3))) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_on_twenty_problems(name):
    errors = np.array(worst(name, range(20)))
    assert np.mean(errors < 1e-5) >= 0.9 and np.median(errors) < 1e-6


@pytest.mark.parametrize(
    ("network", "make"), [(MLPRegressor, regression), (MLPClassifier, classes)]
)
def test_weight_decay_of_a_network(network, make):
    # tanh without a kink, trained to a stationary point, at which the implicit
    # function theorem holds
    model = network(
        hidden_layer_sizes=(3,),
        activation="tanh",
        solver="sgd",
        momentum=0.9,
        learning_rate_init=0.5,
        alpha=0.1,
        max_iter=500,
        tol=0,
        n_iter_no_change=500,
        random_state=0,
    )
    X, y = make(0)
    search = GradientSearchCV(
        model, {"alpha": Continuous(0.03, 0.3)}, cv=PredefinedSplit([-1, -1, 0] * 20)
    )
    error = check_hypergradient(search, X / X.std(axis=0), y, eps=1e-3)
    assert error < 1e-3


def test_damping_lifts_slightly_negative_curvature():
    curvature = np.array([1.0, 0.3, -0.01])
    network = SimpleNamespace(n_terms=5000)
    q = NetworkProblem._damped(network, lambda v: curvature * v, np.ones(3))
    lifted = curvature + 0.02 * 1.1  # of the largest, rounded up by a tenth
    np.testing.assert_allclose(q, 1 / lifted, rtol=1e-3)


def test_the_neumann_series_is_gradient_descent_unrolled():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(30, 6))
    H, b = A.T @ A / 30, rng.normal(size=6)
    largest = largest_eigenvalue(lambda v: H @ v, 6)
    top = np.linalg.eigvalsh(H)[-1]
    assert top <= largest <= 1.2 * top
    product = lambda v: H @ v  # noqa: E731
    exact = np.linalg.solve(H, b)
    long = neumann(product, b, largest=largest, n_terms=2000)
    np.testing.assert_allclose(long, exact, rtol=1e-8)
    # m terms from zero: m + 1 steps of descent on q'Hq/2 - b'q
    q = np.zeros(6)
    for _ in range(5):
        q = q - (H @ q - b) / largest
    np.testing.assert_allclose(
        neumann(product, b, largest=largest, n_terms=4), q, rtol=1e-10
    )
    # a step too long diverges, and is stopped
    assert np.isfinite(neumann(product, b, largest=top / 3, n_terms=5000)).all()
