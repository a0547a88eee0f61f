"""EL2N and GraNd."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, PredefinedSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skdiff.data_selection import EL2NSelector, GraNdSelector, gradient_norms

torch = pytest.importorskip("torch")
BOTH = pytest.mark.parametrize("cls", [EL2NSelector, GraNdSelector])


def flipped_digits():
    X, y = load_digits(return_X_y=True)
    rng = np.random.RandomState(0)
    flip = rng.uniform(size=len(y)) < 0.2
    noisy = y.copy()
    noisy[flip] = (y[flip] + rng.randint(1, 10, flip.sum())) % 10
    return X, noisy, flip


def logistic():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def test_wrong_labels_are_found_and_long_training_hides_them():
    X, y, flip = flipped_digits()
    found = EL2NSelector(n_models=1, random_state=0).fit(X, y)
    assert roc_auc_score(flip, found.scores_) >= 0.99
    auc = {}
    for passes in (10, 80):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            selector = EL2NSelector(
                max_iter=passes, n_models=1, cv=None, random_state=0
            ).fit(X, y)
        auc[passes] = roc_auc_score(flip, selector.scores_)
    assert auc[80] < auc[10] - 0.02


def test_scores_are_norms_of_errors_out_of_fold():
    X, y = load_iris(return_X_y=True)
    selector = EL2NSelector(
        logistic(), n_models=1, cv=KFold(5, shuffle=True, random_state=0)
    ).fit(X, y)
    expected = np.empty(len(y))
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        P = logistic().fit(X[train], y[train]).predict_proba(X[test])
        expected[test] = np.linalg.norm(P - np.eye(3)[y[test]], axis=1)
    np.testing.assert_allclose(selector.scores_, expected)
    kept = np.argsort(-expected, kind="stable")[:75]
    np.testing.assert_array_equal(selector.sample_indices_, np.sort(kept))


def test_gradients_of_a_linear_classifier():
    X, y = load_iris(return_X_y=True)
    for classes in (2, 3):
        rows = y < classes
        A, b = X[rows], y[rows]
        model = LogisticRegression(max_iter=1000).fit(A, b)
        selector = GraNdSelector(FrozenEstimator(model), balance="class").fit(A, b)
        P = model.predict_proba(A)
        error = np.linalg.norm(P - np.eye(classes)[b], axis=1)
        if classes == 2:
            error = np.abs(P[:, 1] - b)
        np.testing.assert_allclose(
            selector.scores_, error * np.sqrt((A**2).sum(axis=1) + 1)
        )


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("classes", [2, 3])
def test_gradients_of_a_network_agree_with_autograd(activation, classes):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < classes], y[y < classes]
    model = MLPClassifier((5, 4), activation=activation, max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    ours = GraNdSelector(FrozenEstimator(model), balance="class").fit(X, y).scores_
    functions = {
        "relu": torch.nn.ReLU,
        "tanh": torch.nn.Tanh,
        "logistic": torch.nn.Sigmoid,
        "identity": torch.nn.Identity,
    }
    layers = []
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        layer = torch.nn.Linear(*W.shape).double()
        layer.weight.data, layer.bias.data = torch.tensor(W.T), torch.tensor(b)
        layers += [layer, functions[activation]()]
    module = torch.nn.Sequential(*layers[:-1])
    np.testing.assert_allclose(ours, gradient_norms(module, X, y), rtol=1e-8)
    # and both with a backward pass per row
    for i in (0, 60, len(y) - 1):
        module.zero_grad()
        out = module(torch.tensor(X[i : i + 1]))
        target = torch.tensor(y[i : i + 1])
        loss = (
            torch.nn.functional.cross_entropy(out, target)
            if classes > 2
            else torch.nn.functional.binary_cross_entropy_with_logits(
                out[:, 0], target.double()
            )
        )
        loss.backward()
        squares = sum(float((p.grad**2).sum()) for p in module.parameters())
        assert ours[i] == pytest.approx(np.sqrt(squares), rel=1e-8)


def test_gradient_norms_leave_the_module_as_it_was_and_refuse_what_is_not_linear():
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2)
    )
    module[1].train()
    module[0].eval()
    before = [m.training for m in module.modules()]
    X, y = np.ones((6, 3)), np.arange(6) % 2
    first = gradient_norms(module, X, y)
    np.testing.assert_array_equal(first, gradient_norms(module, X, y))
    assert [m.training for m in module.modules()] == before
    assert all(p.grad is None for p in module.parameters())
    with pytest.raises(ValueError, match=r"belong to nn\.Linear"):
        gradient_norms(torch.nn.Sequential(module, torch.nn.BatchNorm1d(2)), X, y)
    twice = torch.nn.Linear(3, 3)
    with pytest.raises(ValueError, match="used twice"):
        gradient_norms(torch.nn.Sequential(twice, torch.nn.ReLU(), twice), X, y)
    with pytest.raises(ValueError, match="6 codes"):
        gradient_norms(module, X, y[:5])


@BOTH
def test_permuting_rows_permutes_scores(cls):
    X, y = load_iris(return_X_y=True)
    fold = np.arange(len(y)) % 5
    order = np.random.RandomState(0).permutation(len(y))
    options = {"n_models": 1, "balance": "class"}
    first = cls(logistic(), cv=PredefinedSplit(fold), **options).fit(X, y)
    second = cls(logistic(), cv=PredefinedSplit(fold[order]), **options)
    second.fit(X[order], y[order])
    np.testing.assert_allclose(second.scores_, first.scores_[order], rtol=1e-6)


@BOTH
def test_in_sample_scores_warn(cls):
    X, y = load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match="memorised"):
        cls(logistic(), cv=None, n_models=1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls(FrozenEstimator(logistic().fit(X, y)), cv=None).fit(X, y)


@BOTH
def test_a_selection_that_loses_a_class_raises_or_keeps_one_row(cls):
    X, y = make_classification(
        300, weights=[0.95], random_state=0, n_clusters_per_class=1
    )
    easy = cls(logistic(), n_select=10, keep="easy", n_models=1, random_state=0)
    with pytest.raises(ValueError, match="loses the class 1"):
        easy.fit(X, y)
    assert set(y[easy.set_params(balance="class").fit(X, y).support_]) == {0, 1}
    with pytest.raises(ValueError, match="n_select=301"):
        clone(easy).set_params(n_select=301).fit(X, y)


def test_partial_fit_goes_over_the_rows_max_iter_times():
    calls = []

    class Counted(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            raise AssertionError("partial_fit is there")

        def partial_fit(self, X, y, classes=None):
            calls.append(len(y))
            self.classes_ = classes
            return self

        def predict_proba(self, X):
            return np.full((len(X), 3), 1 / 3)

    X, y = load_iris(return_X_y=True)
    EL2NSelector(Counted(), max_iter=4, n_models=2, cv=3, balance="class").fit(X, y)
    assert calls == [100] * 24


def test_what_a_model_lacks_is_named():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="LinearSVC has no predict_proba, which EL2N"):
        EL2NSelector(LinearSVC()).fit(X, y)
    from sklearn.tree import DecisionTreeClassifier

    with pytest.raises(ValueError, match="no gradient of DecisionTreeClassifier"):
        GraNdSelector(DecisionTreeClassifier()).fit(X, y)
    from sklearn.neighbors import KNeighborsClassifier

    with pytest.raises(ValueError, match="sample_weight"):
        EL2NSelector(KNeighborsClassifier()).fit(X, y, sample_weight=np.arange(150.0))


@BOTH
def test_weights_zero_are_absence(cls):
    X, y = load_iris(return_X_y=True)
    weight = np.where(np.arange(150) % 3 == 0, 0.0, 1.0)
    kept = weight > 0
    options = {"n_models": 2, "cv": 3, "random_state": 0, "n_select": 0.4}
    weighted = cls(logistic(), **options, balance="class").fit(X, y, weight)
    absent = cls(logistic(), **options, balance="class").fit(X[kept], y[kept])
    assert np.isnan(weighted.scores_[~kept]).all()
    np.testing.assert_allclose(weighted.scores_[kept], absent.scores_, rtol=1e-6)
    rows = np.flatnonzero(kept)[absent.sample_indices_]
    np.testing.assert_array_equal(weighted.sample_indices_, rows)


@BOTH
def test_weights_change_what_is_learned(cls):
    X, y = load_iris(return_X_y=True)
    selector = cls(
        SGDClassifier(loss="log_loss", random_state=0),
        n_models=1,
        cv=3,
        random_state=0,
        balance="class",
    )
    weight = np.where(y == 0, 10.0, 0.1)
    scaled = StandardScaler().fit_transform(X)
    plain = clone(selector).fit(scaled, y).scores_
    assert not np.allclose(clone(selector).fit(scaled, y, weight).scores_, plain)


def test_sparse_strings_and_regression():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    options = {"n_models": 1, "cv": 3, "random_state": 0, "balance": "class"}
    model = LogisticRegression(max_iter=1000)
    dense = EL2NSelector(model, **options).fit(X, y)
    rough = EL2NSelector(model, **options).fit(sparse.coo_array(X), names)
    np.testing.assert_allclose(rough.scores_, dense.scores_, atol=2e-3)
    A, b = EL2NSelector(model, **options).fit_resample(sparse.csr_array(X), names)
    assert sparse.issparse(A) and A.shape == (75, 4) and len(b) == 75
    numbers = GraNdSelector(Ridge(), n_models=1, cv=3, random_state=0).fit(X, X[:, 0])
    assert numbers.n_selected_ == 75 and np.all(numbers.scores_ >= 0)


def test_sampling_prefers_high_scores_and_repeats_with_the_seed():
    X, y = load_iris(return_X_y=True)
    selector = EL2NSelector(
        logistic(),
        n_models=1,
        strategy="sample",
        random_state=0,
        balance="class",
        n_select=0.3,
    )
    first = selector.fit(X, y)
    rows, scores = first.sample_indices_, first.scores_
    assert scores[rows].mean() > scores.mean()
    np.testing.assert_array_equal(clone(selector).fit(X, y).sample_indices_, rows)
    assert first.get_support(indices=True) is rows
