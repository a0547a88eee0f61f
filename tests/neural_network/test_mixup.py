"""Mixup: the law of the pairs, the loss of soft targets, and what it does to a fit."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.model_selection import Continuous, GradientSearchCV
from skdiff.neural_network import AnyLossClassifier

torch = pytest.importorskip("torch")

from skdiff._nn._data import TensorData  # noqa: E402
from skdiff.neural_network._anyloss._mixup import (  # noqa: E402
    MixupIterator,
    doubled,
    pairs,
)
from skdiff.neural_network._anyloss._module import cross_entropy  # noqa: E402

PLAIN = {"bce_weight": 1.0, "warmup_iter": 0, "random_state": 0}


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_pairs_share_their_weights(n):
    partner, share = pairs(n, 0.7, np.random.default_rng(0))
    assert np.array_equal(partner[partner], np.arange(n))
    assert np.array_equal(share, share[partner])
    assert (partner == np.arange(n)).sum() == n % 2
    Y = np.eye(3)[np.arange(n) % 3]
    mixed = share[:, None] * Y + (1 - share[:, None]) * Y[partner]
    np.testing.assert_allclose(mixed.mean(axis=0), Y.mean(axis=0), atol=1e-12)


def test_partners_and_shares_have_the_law_of_mixup():
    rng = np.random.default_rng(1)
    drawn = [pairs(6, 2.0, rng) for _ in range(4000)]
    share = np.concatenate([s for _, s in drawn])
    # Beta(2, 2): mean one half, variance 1 / 20
    assert abs(share.mean() - 0.5) < 0.01 and abs(share.var() - 0.05) < 0.002
    met = np.bincount([p[0] for p, _ in drawn], minlength=6)[1:]
    assert met.sum() == 4000 and np.abs(met / 4000 - 0.2).max() < 0.03


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_loss_is_cross_entropy_with_soft_targets(weighted, n_classes):
    rng = np.random.default_rng(2)
    X = torch.from_numpy(rng.normal(size=(9, 4)))
    y = torch.from_numpy(rng.integers(n_classes, size=9))
    w = torch.from_numpy(rng.uniform(0.5, 2, 9)) if weighted else None
    n_out = 1 if n_classes == 2 else n_classes
    W = torch.from_numpy(rng.normal(size=(n_out, 4)))
    generator = torch.Generator().manual_seed(3)
    data = TensorData(X, (y, w))
    ((mixed, target),) = MixupIterator(data, 9, generator, None, 1.0)
    share, other = target[-1]
    z = mixed @ W.T
    found = cross_entropy(torch.cat([z, z]), *doubled(target))

    one_hot = torch.nn.functional.one_hot(y, n_classes).double()
    other_hot = torch.nn.functional.one_hot(other[0], n_classes).double()
    own = torch.ones(9).double() if w is None else w
    others = torch.ones(9).double() if w is None else other[1]
    soft = (share * own)[:, None] * one_hot + ((1 - share) * others)[:, None] * (
        other_hot
    )
    logits = z if n_out > 1 else torch.cat([torch.zeros_like(z), z], dim=1)
    by_hand = -(soft * torch.log_softmax(logits, dim=1)).sum() / own.sum()
    assert float(found) == pytest.approx(float(by_hand), rel=1e-12)
    # the weighted mean of the mixed targets is that of the targets
    torch.testing.assert_close(soft.sum(0), (own[:, None] * one_hot).sum(0))


def test_off_is_the_standard_fit_bit_for_bit():
    X, y = make_classification(90, random_state=0)
    before = AnyLossClassifier(**PLAIN, hidden_layer_sizes=(6,), max_iter=30).fit(X, y)
    off = AnyLossClassifier(
        **PLAIN, hidden_layer_sizes=(6,), max_iter=30, mixup=0.0
    ).fit(X, y)
    assert np.array_equal(before.predict_proba(X), off.predict_proba(X))
    # shares of zero and one only: the same rows in another order
    tiny = AnyLossClassifier(
        **PLAIN, hidden_layer_sizes=(6,), max_iter=30, mixup=1e-9
    ).fit(X, y)
    np.testing.assert_allclose(tiny.predict_proba(X), off.predict_proba(X), atol=1e-8)
    on = AnyLossClassifier(
        **PLAIN, hidden_layer_sizes=(6,), max_iter=30, mixup=1.0
    ).fit(X, y)
    assert np.abs(on.predict_proba(X) - off.predict_proba(X)).max() > 1e-3


def test_swapped_labels_mirror_the_probabilities():
    X, y = make_classification(80, random_state=1)
    one, two = (
        AnyLossClassifier(**PLAIN, max_iter=60, mixup=1.0).fit(X, labels)
        for labels in (y, 1 - y)
    )
    np.testing.assert_allclose(
        one.predict_proba(X), two.predict_proba(X)[:, ::-1], atol=1e-9
    )


def test_it_makes_a_separable_fit_less_certain():
    X, y = load_breast_cancer(return_X_y=True)
    keywords = {**PLAIN, "hidden_layer_sizes": (16,), "alpha": 0.0, "max_iter": 150}
    standard, mixed = (
        AnyLossClassifier(**keywords, mixup=a).fit(X, y) for a in (0.0, 1.0)
    )
    assert mixed.n_iter_ == 150
    certainty = [m.predict_proba(X).max(axis=1).mean() for m in (standard, mixed)]
    assert certainty[1] < certainty[0] - 0.03
    assert mixed.score(X, y) > 0.96


@pytest.mark.parametrize(
    "keywords",
    [
        {"metric": "f1"},
        {"bce_weight": 0.5, "hidden_layer_sizes": (5,), "batch_size": 32},
        {"sam_rho": 0.05, "spectral_decoupling": 0.01, "group_dro": True},
        {"early_stopping": True, "n_iter_no_change": 5},
    ],
)
def test_it_goes_with_every_other_option(keywords):
    X, y = make_classification(150, weights=[0.7], class_sep=2.0, random_state=2)
    groups = {"groups": np.arange(150) % 3} if "group_dro" in keywords else {}
    weight = np.random.default_rng(0).uniform(0, 2, 150)
    model = AnyLossClassifier(mixup=0.4, max_iter=40, random_state=0, **keywords)
    model.fit(X, y, weight, **groups)
    assert model.score(X, y) > 0.9 and np.isfinite(model.loss_curve_).all()
    again = AnyLossClassifier(mixup=0.4, max_iter=40, random_state=0, **keywords)
    again.fit(X, y, weight, **groups)
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))


def test_a_grid_search_chooses_it_and_a_gradient_search_refuses_it():
    X, y = load_breast_cancer(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), AnyLossClassifier(**PLAIN, max_iter=40))
    grid = {"anylossclassifier__mixup": [0.0, 0.5]}
    search = GridSearchCV(pipe, grid, cv=3, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.95
    model = AnyLossClassifier(**PLAIN, mixup=0.5, max_iter=5)
    with pytest.raises(TypeError, match="with mixup it trains on mixed rows"):
        GradientSearchCV(model, {"alpha": Continuous(1e-4, 1, scale="log")}).fit(X, y)
    with pytest.raises(ValueError, match="mixup"):
        AnyLossClassifier(mixup=-1.0).fit(X, y)
