"""Representations: known geometries, networks of every kind, known dimensions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import (
    RepresentationDisplay,
    SaveInitialWeights,
    feature_complexity,
    objective_intrinsic_dimension,
    representation_report,
)
from skdiff.inspection._representations._geometry import (
    effective_dimension,
    leave_one_out_r2,
    movement,
)
from skdiff.inspection._representations._layers import layers_of
from skdiff.inspection._representations._scores import weighted_score
from skdiff.inspection._representations._subspace import (
    Problem,
    make_projection,
    objective,
    start,
)
from skdiff.neural_network import AnyLossClassifier

X, y = load_digits(return_X_y=True)
X = X / 16.0


@pytest.fixture(scope="module")
def digits():
    net = MLPClassifier((24, 12), max_iter=40, tol=1e-2, random_state=0)
    return net.fit(X[:700], y[:700])


# --- geometry -------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.floats(0.1, 10))
def test_geometry_sees_neither_rotation_nor_scale(seed, p, scale):
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((30, p))
    turn = np.linalg.qr(rng.standard_normal((p, p)))[0]
    moved = movement(scale * F @ turn + 3, F)
    assert moved.procrustes < 1e-9 and moved.cka == pytest.approx(1)
    same = movement(F, F)
    assert same.displacement == 0 and same.cka == pytest.approx(1)
    first, second = effective_dimension(F), effective_dimension(scale * F @ turn + 1)
    assert first == pytest.approx(second, rel=1e-6)
    assert 1 - 1e-9 <= first.participation <= p + 1e-9
    assert first.participation <= first.entropy + 1e-9


def test_dimensions_of_known_spectra():
    rng = np.random.default_rng(0)
    line = np.outer(rng.standard_normal(50), rng.standard_normal(8))
    assert effective_dimension(line).participation == pytest.approx(1)
    for n in (50, 2000):  # 27.56 and 61.98 in the specification's experiment
        raw = np.mean(
            [
                effective_dimension(rng.standard_normal((n, 64))).participation
                for _ in range(5)
            ]
        )
        assert raw == pytest.approx(64 / (1 + 65 / (n - 1)), rel=0.02)
    few = effective_dimension(rng.standard_normal((60, 64)))
    assert abs(few.corrected - 64) < 8 < 64 - few.participation
    F = rng.standard_normal((40, 5))
    twice = effective_dimension(np.concatenate([F, F]))
    assert twice.participation == pytest.approx(effective_dimension(F).participation)
    assert effective_dimension(np.ones((9, 3))).participation == 0
    corners = effective_dimension(np.eye(9))  # as many directions as nine rows have
    assert corners.participation == pytest.approx(8) and corners.corrected > 1e6


def test_leave_one_out_equals_refits():
    rng = np.random.default_rng(0)
    H = rng.standard_normal((25, 3))
    Z = H[:, :1] ** 2 + H[:, 1:2] + 0.1 * rng.standard_normal((25, 1))
    S = (H - H.mean(axis=0)) / H.std(axis=0)
    best = np.inf
    for penalty in 25 * np.geomspace(1e-8, 1e2, 21):
        errors = []
        for i in range(25):
            rest = np.arange(25) != i
            # the columns keep the scale of all rows, as in the closed form
            model = Ridge(alpha=penalty).fit(S[rest], Z[rest])
            errors.append(float((model.predict(S[[i]]) - Z[i])[0]))
        best = min(best, np.sum(np.square(errors)))
    total = np.sum((25 / 24 * (Z - Z.mean())) ** 2)
    assert leave_one_out_r2(H, Z)[0] == pytest.approx(1 - best / total, abs=0.02)
    assert leave_one_out_r2(H, H) == pytest.approx(1, abs=1e-6)
    assert leave_one_out_r2(H, rng.standard_normal((25, 1)))[0] < 0.3


def test_weighted_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    target, scores = rng.integers(2, size=60), np.round(rng.uniform(size=60), 1)
    weight = rng.integers(0, 3, size=60).astype(float)
    ours = weighted_score("roc_auc", scores, target, 2)(weight)
    assert ours == pytest.approx(roc_auc_score(target, scores, sample_weight=weight))
    proba = rng.dirichlet(np.ones(3), 60)
    codes = rng.integers(3, size=60)
    ours = weighted_score("roc_auc", proba, codes, 3)(np.ones(60))
    assert ours == pytest.approx(roc_auc_score(codes, proba, multi_class="ovr"))


# --- networks -------------------------------------------------------------------------


def test_layers_of_every_kind_of_network_are_the_same(digits):
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    from torch import nn

    module = nn.Sequential(
        nn.Linear(64, 24),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(24, 12),
        nn.ReLU(),
        nn.Linear(12, 10),
    )
    linears = [part for part in module if isinstance(part, nn.Linear)]
    with torch.no_grad():
        for part, weight, bias in zip(
            linears, digits.coefs_, digits.intercepts_, strict=True
        ):
            part.weight.copy_(torch.as_tensor(weight.T))
            part.bias.copy_(torch.as_tensor(bias))
    module.train()
    rows = X[700:760].astype(np.float32)
    state = torch.random.get_rng_state()
    ours, theirs = layers_of(module, rows), layers_of(digits, rows)
    assert torch.equal(state, torch.random.get_rng_state())
    assert module.training and not any(p._forward_pre_hooks for p in module.modules())
    assert list(ours.values) == list(theirs.values) == ["input", "hidden_1", "hidden_2"]
    for name, value in theirs.values.items():
        assert ours.values[name] == pytest.approx(value, abs=1e-4)
    assert ours.head == pytest.approx(theirs.head, abs=1e-6)
    net = skorch.NeuralNetClassifier(
        module, criterion=nn.CrossEntropyLoss, train_split=None, verbose=0
    ).initialize()
    assert layers_of(net, rows).outputs == pytest.approx(ours.outputs, abs=1e-5)
    module[3].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layers_of(module, rows)
    assert module.training
    assert len(module[0]._forward_pre_hooks) == 0


def test_our_networks_and_pipelines():
    data, target = load_breast_cancer(return_X_y=True)
    net = AnyLossClassifier(hidden_layer_sizes=(8,), max_iter=20, random_state=0)
    model = make_pipeline(StandardScaler(), net).fit(data[:300], target[:300])
    layers = layers_of(model, data[300:])
    assert list(layers.values) == ["input", "hidden_1"]
    report = representation_report(
        FrozenEstimator(model), data[300:], target[300:], n_boot=50, random_state=0
    )
    assert report.metric_ == "roc_auc" and report.n_features_ == 8
    assert report.end_to_end_score_ == pytest.approx(
        roc_auc_score(target[300:], model.predict_proba(data[300:])[:, 1])
    )


def test_initial_weights_are_kept_and_found():
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    from torch import nn

    torch.manual_seed(0)
    net = skorch.NeuralNetClassifier(
        nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)),
        criterion=nn.CrossEntropyLoss,
        callbacks=[SaveInitialWeights()],
        max_epochs=3,
        lr=0.1,
        verbose=0,
    )
    net.fit(X[:400].astype(np.float32), y[:400])
    rows = X[700:1000].astype(np.float32)
    before = {k: v.clone() for k, v in net.module_.state_dict().items()}
    report = representation_report(net, rows, y[700:1000], n_boot=20, random_state=0)
    assert report.displacement_ > 0 and 0 < report.cka_ < 1
    for name, value in net.module_.state_dict().items():
        assert torch.equal(value, before[name])
    still = representation_report(
        net, rows, y[700:1000], reference=before, n_boot=20, random_state=0
    )
    assert still.displacement_ == 0 and still.cka_ == pytest.approx(1)
    with pytest.raises(AttributeError):
        SaveInitialWeights().nothing


# --- the report -----------------------------------------------------------------------


def test_a_scrambled_head_leaves_the_features_and_a_scrambled_layer_does_not(digits):
    from copy import deepcopy

    rng = np.random.default_rng(0)
    rows, labels = X[700:], y[700:]
    how = {"n_boot": 100, "random_state": 0}
    plain = representation_report(digits, rows, labels, reference=digits, **how)
    assert plain.displacement_ == plain.relative_displacement_ == 0
    assert abs(plain.utilization_gap_) < 0.05
    head = deepcopy(digits)
    head.coefs_[-1] = rng.permutation(head.coefs_[-1].ravel()).reshape(12, 10)
    scrambled = representation_report(head, rows, labels, reference=digits, **how)
    assert scrambled.utilization_gap_ > 0.2
    assert scrambled.gap_interval_[0] > 0.1
    assert scrambled.effective_dimension_ == plain.effective_dimension_
    assert scrambled.displacement_ == 0
    features = deepcopy(digits)
    features.coefs_[1] = features.coefs_[1] * np.eye(12)[:1]  # one unit is left
    lost = representation_report(features, rows, labels, reference=digits, **how)
    assert lost.probe_score_ < plain.probe_score_ - 0.1
    assert lost.cka_ < 0.9
    frame = plain.frame
    assert {"probe_score", "gap_low", "gap_high", "metric"} <= set(frame)
    assert "private=False" in repr(plain) and plain.private is False
    assert plain.gap_interval_[0] <= plain.utilization_gap_ <= plain.gap_interval_[1]


def test_regression_accuracy_and_own_probes(digits):
    data, target = load_diabetes(return_X_y=True)
    data = StandardScaler().fit_transform(data)
    net = MLPRegressor(hidden_layer_sizes=8, max_iter=50, tol=1.0, random_state=0).fit(
        data, target
    )
    report = representation_report(net, data, target, n_boot=20, random_state=0)
    assert report.metric_ == "r2"
    assert report.end_to_end_score_ == pytest.approx(net.score(data, target))
    accurate = representation_report(
        digits,
        X[700:],
        y[700:],
        metric="accuracy",
        n_boot=20,
        random_state=0,
        probe=LogisticRegression(max_iter=50),
        layer="hidden_1",
    )
    assert accurate.end_to_end_score_ == pytest.approx(digits.score(X[700:], y[700:]))
    assert accurate.n_features_ == 24
    names = np.array(list("abcdefghij"))
    named = MLPClassifier(8, max_iter=5, tol=1.0, random_state=0)
    named.fit(X[:500], names[y[:500]])
    found = representation_report(
        named, X[700:], names[y[700:]], n_boot=5, random_state=0
    )
    assert 0.4 < found.end_to_end_score_ <= 1


def test_constant_features_are_said():
    from copy import deepcopy

    net = MLPClassifier(4, max_iter=5, tol=1.0, random_state=0).fit(X[:300], y[:300])
    dead = deepcopy(net)
    dead.coefs_[0] *= 0
    with pytest.warns(UserWarning, match="constant"):
        report = representation_report(dead, X[:200], y[:200], n_boot=5)
    assert report.effective_dimension_ == 0
    assert report.probe_score_ == pytest.approx(0.5)


def test_display(digits):
    display = RepresentationDisplay.from_estimator(
        {"a": digits, "b": digits}, X[700:900], y[700:900], n_boot=5, random_state=0
    ).plot()
    assert display.frame().index.tolist() == ["a", "b"]
    assert display.ax_.get_xlabel() == "roc_auc"


# --- complexity -----------------------------------------------------------------------


def test_complexity_of_linear_features_and_of_parity():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(600, 3)) * 2.0 - 1
    product = bits.prod(axis=1)
    net = MLPRegressor(
        hidden_layer_sizes=(8, 2), activation="relu", max_iter=1, random_state=0
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(bits, product)
    # the number of ones s: parity is a combination of hinges of s
    s = np.ones((3, 8)) / 2
    net.coefs_ = [
        s,
        np.stack([np.array([1, -2, 2, -2, 0, 0, 0, 0.0]), np.eye(8)[4]], axis=1),
        np.ones((2, 1)),
    ]
    net.intercepts_ = [
        np.array([1.5, 0.5, -0.5, -1.5, 9.0, 9, 9, 9]),
        np.zeros(2),
        np.zeros(1),
    ]
    frame = feature_complexity(net, bits)
    assert frame["r2_input"].iloc[0] < 0.05  # parity
    assert frame["r2_input"].iloc[1] == pytest.approx(1, abs=1e-6)  # linear
    assert frame["complexity"].iloc[1] == pytest.approx(0, abs=1e-6)
    one = feature_complexity(net, bits, layer="hidden_1")
    assert one["complexity"].to_numpy() == pytest.approx(1 - one["r2_input"])
    assert one["importance"].isna().all()
    deep = MLPRegressor(hidden_layer_sizes=8, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deep.fit(bits, product)
    deep.coefs_ = [s, np.array([[1, -2, 2, -2, 0, 0, 0, 0.0]]).T]
    deep.intercepts_ = [net.intercepts_[0], np.zeros(1)]
    along = feature_complexity(deep, bits, directions=deep.coefs_[1][:, 0])
    assert along["complexity"].iloc[0] >= 0.6


def test_rotated_units_and_components(digits):
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(12)
    whole = feature_complexity(digits, X[700:], directions=direction)
    assert whole["complexity"].between(0, 1).all()
    order = rng.permutation(len(X) - 700)
    again = feature_complexity(digits, X[700:][order], directions=direction)
    assert again["complexity"].iloc[0] == pytest.approx(whole["complexity"].iloc[0])
    parts = feature_complexity(digits, X[700:], directions="pca", n_components=3)
    assert parts.index.tolist() == ["pc_0", "pc_1", "pc_2"]
    assert (parts["importance"] >= 0).all()


# --- objective dimension --------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("classes", [True, False])
def test_gradients(activation, classes):
    rng = np.random.RandomState(0)
    rows = rng.standard_normal((7, 3))
    Y = np.eye(2)[rng.randint(2, size=7)]
    problem = Problem(rows, Y, [(3, 4), (4, 2)], activation, 0.1, classes)
    theta = start(problem, rng) + 0.01
    _, gradient = objective(problem, theta)
    for k in range(len(theta)):
        step = 1e-6 * np.eye(len(theta))[k]
        slope = (
            objective(problem, theta + step)[0] - objective(problem, theta - step)[0]
        )
        assert gradient[k] == pytest.approx(slope / 2e-6, abs=1e-6)


def test_projections():
    rng = np.random.RandomState(0)
    P = make_projection("orthonormal", 60, 7, rng)
    assert pytest.approx(np.eye(7), abs=1e-6) == P.T @ P
    for kind in ("dense", "sparse"):
        P = make_projection(kind, 400, 5, rng)
        P = P.toarray() if kind == "sparse" else P
        assert np.linalg.norm(P, axis=0) == pytest.approx(1)


def test_a_linear_target_that_needs_all_coefficients():
    rng = np.random.default_rng(0)
    D = 40
    rows = rng.standard_normal((1500, D))
    target = rows @ rng.standard_normal(D)

    found = objective_intrinsic_dimension(
        MLPRegressor(hidden_layer_sizes=[]),
        rows,
        target,
        dims=[4, 20, 32, 36, 38, 41],
        n_repeats=5,
        projection="orthonormal",
        random_state=0,
    )
    curve = dict(
        zip(found.dims_.tolist(), np.median(found.scores_, axis=1), strict=True)
    )
    assert found.n_parameters_ == D + 1
    # E R^2 = d / D
    assert curve[20] == pytest.approx(0.5, abs=0.15)
    assert curve[36] == pytest.approx(0.9, abs=0.06)
    assert curve[41] == pytest.approx(found.full_score_, abs=1e-4)
    assert 30 <= found.dimension_ <= 41
    assert len(found.frame()) == 30


def test_search_by_doubling_and_the_width_hardly_matters():
    found = [
        objective_intrinsic_dimension(
            MLPClassifier(width),
            X[:500, 10:40],
            y[:500] % 3,
            n_repeats=1,
            max_iter=60,
            random_state=0,
        )
        for width in (16, 48)
    ]
    assert all(f.dimension_ < f.n_parameters_ / 3 for f in found)
    assert found[1].dimension_ < 2.5 * found[0].dimension_
    assert found[0].compression_ == pytest.approx(
        found[0].n_parameters_ / (found[0].dimension_ + 2)
    )


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: representation_report(n, X, y[:5]), ValueError, "inconsistent"),
        (lambda n: representation_report(n, X[:2], y[:2]), ValueError, "Three rows"),
        (
            lambda n: representation_report(n, X, y, layer="last"),
            ValueError,
            "input, hidden_1, hidden_2",
        ),
        (lambda n: representation_report(n, X, y, metric="r2"), ValueError, "suit"),
        (lambda n: representation_report(n, X, y, metric="f1"), ValueError, "metric"),
        (lambda n: representation_report(n, X, y, n_boot=0), ValueError, "n_boot"),
        (
            lambda n: representation_report(Ridge().fit(X, y), X, y),
            TypeError,
            "net must be",
        ),
        (
            lambda n: representation_report(n, X, y, reference={}),
            ValueError,
            "network of torch",
        ),
        (lambda n: feature_complexity(n, X, layer="input"), ValueError, "layer must"),
        (lambda n: feature_complexity(n, X, directions="ica"), ValueError, "direc"),
        (lambda n: feature_complexity(n, X, directions=[1.0]), ValueError, "shape"),
        (
            lambda n: feature_complexity(n, X, directions="pca", n_components=99),
            ValueError,
            "n_components",
        ),
        (lambda n: feature_complexity(n, X[:2]), ValueError, "Three rows"),
        (
            lambda n: objective_intrinsic_dimension(Ridge(), X, y),
            TypeError,
            "multilayer",
        ),
        (
            lambda n: objective_intrinsic_dimension(n, X, y, threshold=1),
            ValueError,
            "threshold",
        ),
        (
            lambda n: objective_intrinsic_dimension(n, X, y, dims="all"),
            ValueError,
            "dims must",
        ),
        (
            lambda n: objective_intrinsic_dimension(n, X, y, dims=[0]),
            ValueError,
            "whole numbers",
        ),
        (
            lambda n: objective_intrinsic_dimension(n, X, y, projection="svd"),
            ValueError,
            "projection",
        ),
        (
            lambda n: objective_intrinsic_dimension(n, X, y, n_repeats=0),
            ValueError,
            "n_repeats",
        ),
        (
            lambda n: objective_intrinsic_dimension(n, X, 0 * y),
            ValueError,
            "one class",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message, digits):
    with pytest.raises(error, match=message):
        call(digits)


def test_unknown_classes_and_unfitted_networks_are_refused(digits):
    iris, labels = load_iris(return_X_y=True)
    net = MLPClassifier(4, max_iter=5, tol=1.0).fit(iris, labels)
    with pytest.raises(ValueError, match="does not know"):
        representation_report(net, iris, labels + 5)
    with pytest.raises(Exception, match="not fitted"):
        representation_report(MLPClassifier(), iris, labels)


def test_single_rows_of_a_class_are_said_and_one_class_refused():
    net = MLPClassifier(8, max_iter=30, random_state=0).fit(X[:300], y[:300])
    rows = np.append(np.flatnonzero(y < 2)[:60], np.flatnonzero(y == 5)[0])
    with pytest.warns(UserWarning, match="A class has one row"):
        representation_report(net, X[rows], y[rows], n_boot=5, random_state=0)
    rows = np.flatnonzero(y == 3)[:30]
    with pytest.raises(ValueError, match="one class only"):
        representation_report(net, X[rows], y[rows], n_boot=5)


def test_several_outputs_for_one_target_are_refused():
    rows, target = load_diabetes(return_X_y=True)
    net = MLPRegressor(hidden_layer_sizes=4, max_iter=5, random_state=0)
    net.fit(rows, np.stack([target, target], axis=1))
    with pytest.raises(ValueError, match="net has 2 outputs"):
        representation_report(net, rows, target, n_boot=5)


def test_a_skorch_network_takes_rows_of_doubles():
    skorch, nn = pytest.importorskip("skorch"), pytest.importorskip("torch.nn")
    module = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10), nn.Softmax(1))
    net = skorch.NeuralNetClassifier(module, max_epochs=2, verbose=0)
    net.fit(X[:200].astype(np.float32), y[:200].astype(np.int64))
    reports = [
        representation_report(net, X[:200].astype(kind), y[:200], n_boot=5, cv=2)
        for kind in (np.float32, np.float64)
    ]
    assert reports[0].end_to_end_score_ == pytest.approx(reports[1].end_to_end_score_)
