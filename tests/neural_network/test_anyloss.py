"""AnyLoss: gradients against finite differences, limits, equivalences, the paper."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.neural_network import AnyLossClassifier, ConfusionMetricLoss
from skdiff.neural_network._anyloss import _module as module
from skdiff.neural_network._anyloss._metrics import EPS, NAMES, binary_metric

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
COST = [[0.0, 1.0], [5.0, 0.2]]
# the same numbers by scikit-learn, on hard labels
PEERS = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": metrics.f1_score,
    "jaccard": metrics.jaccard_score,
    "mcc": metrics.matthews_corrcoef,
    "kappa": metrics.cohen_kappa_score,
    "gmean": lambda y, p: np.sqrt(np.prod(metrics.recall_score(y, p, average=None))),
}


@pytest.fixture(scope="module")
def imbalanced():
    X, y = make_classification(
        500, 6, n_informative=4, weights=[0.85], flip_y=0.05, random_state=0
    )
    return StandardScaler().fit_transform(X), y


def case(n=40, k=2, seed=0):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(n, k)))
    y = torch.from_numpy(np.r_[np.arange(k), rng.integers(0, k, n - k)])
    weight = torch.from_numpy(rng.uniform(0.2, 3, n))
    return logits, y, weight


# --- 1 gradients --------------------------------------------------------------------


def strict(tn, fp, fn, tp):
    return tp / (tp + fn + 2 * fp)


def worst(C):
    return C.diagonal().min() / C.sum()


SPECS = [*NAMES, {"f1": 0.7, "gmean": 0.3}, {"f1": 0.7, worst: 0.3}, strict, worst]


@pytest.mark.parametrize("metric", SPECS, ids=range(len(SPECS)))
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_by_finite_differences(metric, k, weighted):
    if k == 4 and callable(metric) and module.takes_four(metric):
        return
    logits, y, weight = case(k=max(k, 2))
    logits = logits[:, :k].clone().requires_grad_()
    w = weight if weighted else None
    parts = {"metric": metric, "beta": 2.0, "average": "macro"}
    measure = module.Metric(**parts)

    def loss(z):
        C = module.confusion(module.amplified(z, 10.0), y, w)
        return 1 - measure.value_and_gradient(C)[0]

    criterion = ConfusionMetricLoss(metric, beta=2.0)
    value = criterion(logits, y, w)
    value.backward()
    assert value.item() == pytest.approx(loss(logits.detach()), abs=1e-12)
    step = 1e-6
    for i, j in [(0, 0), (5, k - 1), (17, 0), (39, k - 1)]:
        up, down = logits.detach().clone(), logits.detach().clone()
        up[i, j] += step
        down[i, j] -= step
        slope = (loss(up) - loss(down)) / (2 * step)
        assert logits.grad[i, j].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
@pytest.mark.parametrize("metric", ["f1", "fbeta", "jaccard"])
def test_averages_have_the_right_gradient(metric, average):
    loss = ConfusionMetricLoss(metric, average=average, beta=0.5)
    assert torch.autograd.gradcheck(
        lambda C: loss.metric_.value(C), (torch.rand(3, 3).double().requires_grad_(),)
    )


# --- 2 limits -----------------------------------------------------------------------


@pytest.mark.parametrize("name", PEERS)
def test_a_steep_amplifier_counts(name):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    p = np.where(rng.uniform(size=80) < 0.5, 0.1, 0.9) + rng.uniform(-0.05, 0.05, 80)
    logits = torch.from_numpy(np.log(p / (1 - p)))[:, None]
    a = module.amplified(logits, 500.0)
    C = module.confusion(a, torch.from_numpy(y), None)
    got = module.Metric(name).value_and_gradient(C)[0]
    want = PEERS[name](y, (p > 0.5).astype(int))
    assert got == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "peer"),
    [
        ("f1", {"average": "macro"},
         lambda y, p: metrics.f1_score(y, p, average="macro")),
        ("f1", {"average": "micro"},
         lambda y, p: metrics.f1_score(y, p, average="micro")),
        ("fbeta", {"average": "weighted", "beta": 2.0},
         lambda y, p: metrics.fbeta_score(y, p, beta=2, average="weighted")),
        ("jaccard", {}, lambda y, p: metrics.jaccard_score(y, p, average="macro")),
        ("balanced_accuracy", {}, metrics.balanced_accuracy_score),
        ("mcc", {}, metrics.matthews_corrcoef),
        ("kappa", {}, metrics.cohen_kappa_score),
        ("quadratic_kappa", {},
         lambda y, p: metrics.cohen_kappa_score(y, p, weights="quadratic")),
        ("gmean", {},
         lambda y, p: np.prod(metrics.recall_score(y, p, average=None)) ** 0.25),
    ],
)  # fmt: skip
def test_metrics_of_many_classes_are_scikit_learns(name, options, peer):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, 200)
    p = np.where(rng.uniform(size=200) < 0.6, y, rng.integers(0, 4, 200))
    C = torch.from_numpy(metrics.confusion_matrix(y, p)).double()
    got = module.Metric(name, **options).value_and_gradient(C)[0]
    assert got == pytest.approx(peer(y, p), abs=1e-6)


def test_classes_that_do_not_occur_do_not_count():
    C = torch.tensor([[5.0, 1, 0], [2, 6, 0], [0, 0, 0]]).double()
    full = module.Metric("f1").value_and_gradient(C)[0]
    two = np.mean([2 * 5 / (6 + 7), 2 * 6 / (8 + 7)])
    assert full == pytest.approx(two)


def test_a_cost_matrix_is_the_mean_cost():
    C = torch.tensor([[50.0, 10], [4, 36]]).double()
    cost = (10 * 1 + 4 * 5 + 36 * 0.2) / 100
    assert module.Metric("f1", cost_matrix=COST).value_and_gradient(C)[
        0
    ] == pytest.approx(1 - cost)


@given(
    tp=st.floats(0.01, 40), fp=st.floats(0.01, 60), name=st.sampled_from(NAMES),
)  # fmt: skip
@settings(max_examples=80, deadline=None, derandomize=True)
def test_closed_forms_agree_with_the_matrix(tp, fp, name):
    P, N = 40.5, 61.0
    value, m_tp, m_fp = binary_metric(name, 1.5, 0.0, None)(tp, fp, P, N)
    C = torch.tensor(
        [[N - fp, fp], [P - tp, tp]], dtype=torch.float64, requires_grad=True
    )
    if name in ("f1", "fbeta", "jaccard"):
        b2 = 2.25 if name == "fbeta" else 1.0
        top = {"jaccard": C[1, 1]}.get(name, (1 + b2) * C[1, 1])
        bottom = C[1, 1] + C[0, 1] + (1.0 if name == "jaccard" else b2) * C[1, 0]
        bottom = bottom + (0.0 if name == "jaccard" else b2 * C[1, 1])
        M = top / bottom
    else:
        M = module.MULTICLASS[name](C)
    (G,) = torch.autograd.grad(M, C)
    # the two guard their roots against empty cells in different places
    guard = EPS * (P / tp + N / (N - fp))
    assert value == pytest.approx(M.item(), rel=1e-6 + guard, abs=1e-6)
    assert m_tp == pytest.approx((G[1, 1] - G[1, 0]).item(), rel=1e-5 + guard, abs=1e-6)
    assert m_fp == pytest.approx((G[0, 1] - G[0, 0]).item(), rel=1e-5 + guard, abs=1e-6)


# --- 3 two classes are a case of many -----------------------------------------------


@pytest.mark.parametrize("metric", ["f1", "mcc", "gmean"])
def test_two_logits_are_one(metric):
    logits, y, weight = case(k=2)
    two = logits.clone().requires_grad_()
    one = (logits[:, 1:] - logits[:, :1]).clone().requires_grad_()
    losses = [ConfusionMetricLoss(metric)(z, y, weight) for z in (two, one)]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-12)
    np.testing.assert_allclose(two.grad[:, 1:], one.grad, atol=1e-12)


# --- 4 weights ----------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(), (4,)])
def test_integer_weights_are_repeated_rows(imbalanced, sizes):
    X, y = imbalanced
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    model = AnyLossClassifier(hidden_layer_sizes=sizes, max_iter=150, random_state=0)
    weighted = model.fit(X, y, sample_weight=weight).decision_function(X)
    repeated = model.fit(X[rows], y[rows]).decision_function(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy", "gmean", "mcc"])
def test_the_scale_of_weights_does_not_matter(metric):
    logits, y, weight = case()
    loss = ConfusionMetricLoss(metric)
    assert loss(logits, y, weight).item() == pytest.approx(
        loss(logits, y, 7.5 * weight).item(), abs=1e-9
    )


def test_weights_of_one_change_no_bit(imbalanced):
    X, y = imbalanced
    model = AnyLossClassifier(hidden_layer_sizes=(5,), max_iter=30, random_state=0)
    plain = model.fit(X, y).predict_proba(X)
    ones = model.fit(X, y, sample_weight=np.full(len(y), 3.0)).predict_proba(X)
    np.testing.assert_array_equal(plain, ones)


# --- 5, 6 known optima --------------------------------------------------------------


def test_balanced_accuracy_of_balanced_classes_is_accuracy():
    X, y = make_classification(200, 4, weights=[0.5], flip_y=0, random_state=0)
    rows = np.r_[np.flatnonzero(y == 0)[:95], np.flatnonzero(y == 1)[:95]]
    X, y = X[rows], y[rows]
    curves = [
        AnyLossClassifier(metric, preset="paper").fit(X, y).loss_curve_
        for metric in ("accuracy", "balanced_accuracy")
    ]
    np.testing.assert_allclose(*curves, atol=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.15])
def test_the_cut_between_two_normal_classes(share):
    n, apart = 20_000, 2.0
    n1 = round(share * n)
    # quantiles instead of draws: the best cut of the table is that of the densities
    parts = [norm.ppf((np.arange(m) + 0.5) / m) for m in (n - n1, n1)]
    x = np.concatenate([parts[0], parts[1] + apart])
    y = np.repeat([0, 1], [n - n1, n1])

    def cut(metric):
        model = AnyLossClassifier(
            metric,
            amplification=30.0,
            learning_rate_init=0.1,
            alpha=0.0,
            max_iter=2000,
            tol=0.0,
            n_iter_no_change=2000,
        ).fit(x[:, None], y)
        return -model.intercept_[0] / model.coef_[0, 0]

    assert cut("balanced_accuracy") == pytest.approx(apart / 2, abs=0.05)
    best = apart / 2 + np.log((1 - share) / share) / apart
    assert cut("accuracy") == pytest.approx(best, abs=0.05)


# --- 7 exact full-batch gradients ---------------------------------------------------


@pytest.mark.parametrize("metric", ["f1", "kappa"])
@pytest.mark.parametrize("bce_weight", [0.0, 0.4])
def test_two_passes_over_chunks_are_one_step(metric, bce_weight, monkeypatch):
    X, y = make_classification(
        300,
        5,
        n_informative=4,
        n_redundant=0,
        n_classes=3,
        weights=[0.6, 0.3],
        random_state=0,
    )
    weight = np.random.default_rng(0).uniform(0.5, 2, 300)
    model = AnyLossClassifier(
        metric,
        hidden_layer_sizes=(4,),
        bce_weight=bce_weight,
        max_iter=25,
        random_state=0,
    )
    whole = model.fit(X, y, sample_weight=weight)
    want, curve = whole.decision_function(X), whole.loss_curve_
    monkeypatch.setattr(module, "CHUNK", 37)
    chunked = model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(chunked.decision_function(X), want, atol=1e-10)
    np.testing.assert_allclose(chunked.loss_curve_, curve, atol=1e-10)


class Graph(AnyLossClassifier):
    """The same without the NumPy steps."""

    def _use_linear_steps(self, net, data):
        net.linear = None


@pytest.mark.parametrize("metric", [*NAMES, {"f1": 0.5, "mcc": 0.5}], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_by_hand_are_steps_by_autograd(imbalanced, metric, weighted):
    X, y = imbalanced
    w = np.random.default_rng(0).uniform(0.5, 2, len(y)) if weighted else None
    for options in ({"max_iter": 140}, {"solver": "sgd", "max_iter": 140}):
        fast, slow = (
            cls(metric, beta=2.0, **options).fit(X, y, sample_weight=w)
            for cls in (AnyLossClassifier, Graph)
        )
        np.testing.assert_allclose(fast.coef_, slow.coef_, atol=1e-6)
        np.testing.assert_allclose(fast.loss_curve_, slow.loss_curve_, atol=1e-7)


# --- 8 the paper --------------------------------------------------------------------


def ten_fold(X, y, metric, scoring):
    model = make_pipeline(StandardScaler(), AnyLossClassifier(metric, preset="paper"))
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    return cross_val_score(model, X, y, cv=folds, scoring=scoring).mean()


def test_the_papers_recipe_on_breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    # published .971, an independent prototype .948
    assert ten_fold(X, 1 - y, "f1", "f1") == pytest.approx(0.96, abs=0.03)


def test_the_papers_recipe_on_haberman():
    folder = os.environ.get("SKDIFF_DATA")
    if (
        not folder
        or not (path := Path(folder) / "keel" / "keel_haberman.csv.gz").exists()
    ):
        pytest.skip("SKDIFF_DATA names no folder with keel/keel_haberman.csv.gz")
    pd = pytest.importorskip("pandas")
    table = pd.read_csv(path)
    y = table.pop("y")
    y = (y == y.value_counts().idxmin()).astype(int)
    # published .520 and .658
    assert ten_fold(table, y, "f1", "f1") == pytest.approx(0.51, abs=0.03)
    score = ten_fold(table, y, "balanced_accuracy", "balanced_accuracy")
    assert score == pytest.approx(0.657, abs=0.03)


def test_the_papers_network_trains(imbalanced):
    X, y = imbalanced
    model = AnyLossClassifier(preset="paper", hidden_layer_sizes=(2,), random_state=0)
    assert metrics.f1_score(y, model.fit(X, y).predict(X)) > 0.5
    assert model.n_iter_ == 100


# --- the estimator ------------------------------------------------------------------


def test_aiming_at_f1_beats_cross_entropy_at_the_plain_cut(imbalanced):
    X, y = imbalanced
    ours = AnyLossClassifier("f1", random_state=0).fit(X, y)
    plain = LogisticRegression().fit(X, y)
    assert ours.hard_metric_ == pytest.approx(metrics.f1_score(y, ours.predict(X)))
    assert ours.hard_metric_ > metrics.f1_score(y, plain.predict(X)) + 0.03
    assert abs(ours.soft_metric_ - ours.hard_metric_) < 0.15
    z = X @ ours.coef_[0] + ours.intercept_[0]
    np.testing.assert_allclose(ours.predict_proba(X)[:, 1], expit(z))


def test_plain_cross_entropy_is_logistic_regression(imbalanced):
    X, y = imbalanced
    ours = AnyLossClassifier(
        bce_weight=1.0, warmup_iter=0, solver="sgd", learning_rate_init=0.5,
        alpha=0.01, max_iter=3000, tol=1e-12, n_iter_no_change=1000,
    ).fit(X, y)  # fmt: skip
    peer = LogisticRegression(C=1 / 0.01 / len(y), tol=1e-10).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, peer.intercept_, atol=1e-4)


def test_many_classes_with_strings():
    X, y = load_digits(return_X_y=True)
    names = np.array([f"digit {k}" for k in range(10)])[y]
    model = make_pipeline(StandardScaler(), AnyLossClassifier("f1", random_state=0))
    model.fit(X[::2], names[::2])
    assert metrics.f1_score(names[1::2], model.predict(X[1::2]), average="macro") > 0.93
    assert model.predict_proba(X[:5]).shape == (5, 10)


def test_a_metric_of_ones_own_and_mixtures_are_maximised(imbalanced):
    X, y = imbalanced

    def precise(tn, fp, fn, tp):
        return tp / (tp + fn + 5 * fp)

    def precision(model):
        return metrics.precision_score(y, model.fit(X, y).predict(X))

    own = precision(AnyLossClassifier(precise, random_state=0))
    recall = {"balanced_accuracy": 1.0}
    assert own > precision(AnyLossClassifier(recall, random_state=0)) + 0.1
    costly = AnyLossClassifier(cost_matrix=[[0, 1], [50, 0]], random_state=0).fit(X, y)
    assert metrics.recall_score(y, costly.predict(X)) > 0.9


def test_small_batches_reach_the_full_batch_metric(imbalanced):
    X, y = imbalanced
    full = AnyLossClassifier("f1", random_state=0).fit(X, y)
    small = AnyLossClassifier("f1", batch_size=128, max_iter=200, random_state=0).fit(
        X, y
    )
    assert small.hard_metric_ > full.hard_metric_ - 0.05


def test_partial_fit_learns_and_survives_a_copy(imbalanced, tmp_path):
    X, y = imbalanced
    whole = AnyLossClassifier(learning_rate_init=0.05, random_state=0)
    copied = AnyLossClassifier(learning_rate_init=0.05, random_state=0)
    for epoch in range(30):
        for part in range(5):
            rows = slice(100 * part, 100 * part + 100)
            whole.partial_fit(X[rows], y[rows], classes=[0, 1])
            copied.partial_fit(X[rows], y[rows], classes=[0, 1])
        if epoch == 10:
            copied.save(tmp_path / "m.npz")
            copied = AnyLossClassifier.load(tmp_path / "m.npz")
    np.testing.assert_allclose(copied.coef_, whole.coef_, atol=1e-10)
    assert metrics.f1_score(y, whole.predict(X)) > 0.45
    with pytest.raises(ValueError, match="not the same as on the last call"):
        whole.partial_fit(X, y, classes=[0, 1, 2])
    # rows of one class alone divide nothing by zero
    whole.partial_fit(X[y == 0], y[y == 0])
    assert np.isfinite(whole.coef_).all()


def test_early_stopping_keeps_the_best_held_out_metric(imbalanced):
    X, y = imbalanced
    model = AnyLossClassifier(
        hidden_layer_sizes=(32,), early_stopping=True, validation_fraction=0.3,
        learning_rate_init=0.05, max_iter=300, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert model.stopped_ == "converged"
    assert len(model.validation_scores_) == model.n_iter_
    assert max(model.validation_scores_) > 0.5


def test_a_dead_start_is_re_centred():
    X, y = make_classification(400, 4, weights=[0.9], random_state=0)
    model = AnyLossClassifier(
        hidden_layer_sizes=(4,), amplification=73.0, bce_weight=1.0, warm_start=True,
        max_iter=300, learning_rate_init=0.05, random_state=0,
    )  # fmt: skip
    model.fit(X * 30, y)
    model.set_params(bce_weight=0.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X * 30, y)
    said = [
        str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)
    ]
    assert np.isfinite(model.loss_)
    assert model.hard_metric_ > 0.5 or any("slope" in s for s in said)


def test_it_is_searched_inside_a_pipeline():
    X, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), AnyLossClassifier(random_state=0)),
        {"anylossclassifier__metric": ["f1", "gmean"]},
        scoring="f1",
        cv=3,
        n_jobs=2,
        error_score="raise",
    ).fit(X, y)
    assert search.best_score_ > 0.96


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"metric": {"nothing": 1.0}}, "metric must be one of"),
        ({"metric": lambda C: C}, "must return one number"),
        ({"metric": lambda C: 1.0}, "must return one number"),
        ({"metric": lambda C: C.sum() * float("nan")}, "not finite"),
        ({"cost_matrix": np.ones((3, 3))}, "cost_matrix has shape"),
        ({"amplification": 0}, "amplification"),
        ({"bce_weight": 1.5}, "bce_weight"),
        ({"beta": 0}, "beta"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be > 0"),
    ],
)
def test_bad_arguments_are_named(arguments, word, imbalanced):
    with pytest.raises(ValueError, match=word):
        AnyLossClassifier(**arguments).fit(*imbalanced)


def test_the_loss_names_bad_arguments_too():
    for name, value in (("amplification", 0), ("bce_weight", 2), ("beta", -1)):
        with pytest.raises(ValueError, match=name):
            ConfusionMetricLoss(**{name: value})
    with pytest.raises(ValueError, match="metric must be one of"):
        ConfusionMetricLoss("nothing")


def test_four_cells_need_two_classes():
    X, y = make_classification(90, 4, n_informative=4, n_redundant=0, n_classes=3)
    with pytest.raises(ValueError, match="needs two classes"):
        AnyLossClassifier(lambda tn, fp, fn, tp: tp).fit(X, y)


def test_only_linear_models_have_coefficients(imbalanced):
    model = AnyLossClassifier(hidden_layer_sizes=(3,), max_iter=2).fit(*imbalanced)
    assert not hasattr(model, "coef_") and not hasattr(model, "intercept_")
    assert not hasattr(AnyLossClassifier(), "coef_")


def test_a_class_of_three_rows_is_not_predicted_by_the_dozen():
    # without the prior on the masses of the classes it is, about 190 times in 1000
    counts = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        y = rng.permutation(np.repeat([0, 1, 2], [600, 397, 3]))
        X, new = rng.normal(size=(2, 1000, 6))
        model = AnyLossClassifier(random_state=0).fit(X, y)
        counts.append((model.predict(new) == 2).sum())
    assert np.mean(counts) <= 20, counts
