"""TELL: the layer identity, limits, k-means as the referee, streams, digits."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.cluster import TELLClustering
from skdiff.cluster._tell import _lloyd as numbers


@pytest.fixture(scope="module")
def table():
    return make_blobs(400, 6, centers=5, cluster_std=3.0, random_state=0)[0]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def accuracy(y, labels):
    """Share of rows right under the best matching of clusters and classes."""
    table = np.zeros((y.max() + 1, labels.max() + 1))
    np.add.at(table, (y, labels), 1)
    return table[linear_sum_assignment(-table)].sum() / len(y)


def network(**given):
    chosen = {"hidden_layer_sizes": (16,), "latent_dim": 4, "random_state": 0}
    chosen |= {"pretrain_iter": 10, "max_iter": 10, "learning_rate_init": 0.01}
    return TELLClustering(5, **(chosen | given))


# --- 1 the identity -----------------------------------------------------------------


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 50))
def test_scaled_distances_are_a_layer(seed, temperature):
    rng = np.random.default_rng(seed)
    X, C = rng.normal(size=(30, 4)), rng.normal(size=(3, 4))
    W, b = numbers.layer(C, temperature)
    beta = temperature * (X**2).sum(axis=1, keepdims=True)
    D = ((X[:, None] - C) ** 2).sum(axis=2)
    scale = max(temperature, 1.0)
    np.testing.assert_allclose(temperature * D, beta - X @ W.T - b, atol=1e-11 * scale)
    np.testing.assert_allclose(numbers.squared_distances(X, C), D, atol=1e-12)
    np.testing.assert_array_equal(numbers.nearest(X, C)[0], D.argmin(axis=1))


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_both_layouts_of_scores_find_the_nearest_centre(kind, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4)).astype(kind)
    C = rng.normal(size=(9, 4)).astype(kind)
    X[5:50], C[6] = C[2], C[2]  # ties, of which the first centre counts
    D = ((X[:, None].astype(np.float64) - C) ** 2).sum(axis=2)
    atol = 1e-12 if kind == np.float64 else 1e-4
    for few in (0, 32):
        for size in (700, 8192):
            monkeypatch.setattr(numbers, "FEW", few)
            monkeypatch.setattr(numbers, "CHUNK", size)
            monkeypatch.setattr(numbers, "WIDE_CHUNK", size)
            labels, near = numbers.assign(X, C, numbers.row_norms(X))
            np.testing.assert_array_equal(labels, D.argmin(axis=1))
            np.testing.assert_allclose(near, D.min(axis=1), atol=atol)


@pytest.mark.parametrize("given", [{}, {"normalize": False}, {"hidden_layer_sizes": 8}])
def test_the_torch_layer_reproduces_predict(table, given):
    given = {"max_iter": 20, "pretrain_iter": 5} | given
    model = TELLClustering(5, temperature=3.0, random_state=0, **given).fit(table)
    np.testing.assert_allclose(model.layer_weight_, 2 * 3.0 * model.latent_centers_)
    layer = model.to_torch_layer()
    out = layer(torch.from_numpy(model.encode(table))).detach()
    np.testing.assert_array_equal(out.argmax(1).numpy(), model.predict(table))
    np.testing.assert_allclose(
        torch.softmax(out, 1).numpy(), model.predict_proba(table), atol=1e-12
    )


# --- 2 soft losses ------------------------------------------------------------------


def test_soft_losses_approach_inertia_monotonically(table):
    C = table[:5]
    D = numbers.squared_distances(table, C)
    hard = numbers.loss_of(D, 1.0, "hard")
    alphas = np.geomspace(1e-4, 1e4, 40)
    expected = np.array([numbers.loss_of(D, a, "expected") for a in alphas])
    assert (expected >= hard - 1e-9).all()
    assert (np.diff(expected) <= 1e-9 * hard).all()
    assert expected[-1] == pytest.approx(hard, rel=1e-9)
    bound = np.array([numbers.loss_of(D, a, "logsumexp") for a in alphas])
    assert (bound <= hard + 1e-9).all() and bound[-1] == pytest.approx(hard, rel=1e-6)


@pytest.mark.parametrize("loss", ["hard", "expected", "logsumexp"])
def test_pulls_are_the_gradient(loss):
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(25, 3)), rng.normal(size=(4, 3))
    _, pull = numbers.pulls(numbers.squared_distances(X, C), 0.7, loss)
    gradient = 2 * (pull.sum(axis=0)[:, None] * C - pull.T @ X)
    centers = torch.tensor(C, requires_grad=True)
    D = ((torch.tensor(X)[:, None] - centers) ** 2).sum(2)
    value = {
        "hard": lambda: D.min(1).values.sum(),
        "expected": lambda: (torch.softmax(-0.7 * D, 1) * D).sum(),
        "logsumexp": lambda: -torch.logsumexp(-0.7 * D, 1).sum() / 0.7,
    }[loss]()
    value.backward()
    np.testing.assert_allclose(gradient, centers.grad.numpy(), atol=1e-10)


@pytest.mark.parametrize("loss", ["expected", "logsumexp"])
def test_soft_fits_lower_their_loss(table, loss):
    X = StandardScaler().fit_transform(table)
    model = TELLClustering(
        5, loss=loss, normalize=False, temperature=0.5, init=X[:5], max_iter=100
    ).fit(X)
    before = numbers.loss_of(numbers.squared_distances(X, X[:5]), 0.5, loss)
    after = numbers.loss_of(model.transform(X) ** 2, 0.5, loss)
    assert after < before
    if loss == "logsumexp":  # a fixed point: centres are soft means
        share = model.predict_proba(X)
        means = share.T @ X / share.sum(axis=0)[:, None]
        np.testing.assert_allclose(means, model.cluster_centers_, atol=0.05)


# --- 3 k-means ----------------------------------------------------------------------


@settings(derandomize=True, max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_lloyd_follows_k_means(seed, k):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 4)) * rng.uniform(0.1, 3, 4)
    init = X[rng.choice(200, k, replace=False)]
    if seed % 3 == 0:
        init[-1] = 100.0  # a cluster that starts empty
    ours = TELLClustering(k, normalize=False, init=init).fit(X)
    peer = KMeans(k, init=init, n_init=1, algorithm="lloyd").fit(X)
    # our own kernel, which does the other cases
    run = numbers.lloyd(
        X,
        init,
        numbers.Layer("hard", 1.0, False),
        max_iter=300,
        tol=1e-4 * X.var(axis=0).mean(),
    )
    np.testing.assert_array_equal(run.labels, peer.labels_)
    assert run.value == pytest.approx(peer.inertia_, rel=1e-6, abs=1e-9)
    assert run.n_iter == peer.n_iter_
    np.testing.assert_array_equal(ours.labels_, peer.labels_)
    assert ours.inertia_ == pytest.approx(peer.inertia_, rel=1e-6, abs=1e-9)
    assert ours.n_iter_ == peer.n_iter_
    np.testing.assert_allclose(ours.transform(X), peer.transform(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), peer.predict(X))


def test_sparse_rows_are_the_dense_ones(table):
    X = np.where(np.abs(table) > 3, table, 0) + 0.0
    X[:, 0] += 1
    for more in ({}, {"normalize": False}, {"loss": "expected", "max_iter": 5}):
        chosen = {"init": X[:4], "random_state": 0, **more}
        dense = TELLClustering(4, **chosen).fit(X)
        thin = TELLClustering(4, **chosen).fit(sparse.csr_matrix(X))
        np.testing.assert_allclose(
            thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), atol=1e-8
        )


# --- 4 directions -------------------------------------------------------------------


@settings(derandomize=True, max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_only_directions_count_with_normalize(table, seed):
    scale = np.random.default_rng(seed).uniform(0.01, 100, (len(table), 1))
    plain = TELLClustering(5, random_state=0).fit(table)
    scaled = TELLClustering(5, random_state=0).fit(table * scale)
    np.testing.assert_array_equal(plain.labels_, scaled.labels_)
    np.testing.assert_allclose(plain.cluster_centers_, scaled.cluster_centers_)
    np.testing.assert_allclose(np.linalg.norm(plain.cluster_centers_, axis=1), 1)


def plain_spherical_k_means(X, centers):
    """Every row against every centre in each step, sums made anew."""
    labels = None
    for step in range(1, 301):
        new = ((X[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
        sums = np.stack([X[new == j].sum(axis=0) for j in range(len(centers))])
        centers = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        if labels is not None and np.array_equal(new, labels):
            return new, centers, step
        labels = new


@settings(derandomize=True, max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.booleans())
def test_rows_looked_at_again_are_enough(seed, k, thin):
    rng = np.random.default_rng(seed)
    X = numbers.to_unit(rng.normal(size=(600, 5)) + 2 * rng.normal(size=5))
    labels, centers, steps = plain_spherical_k_means(X, X[:k])
    run = numbers.lloyd(
        sparse.csr_array(X) if thin else X,
        X[:k],
        numbers.Layer("hard", 1.0, True),
        max_iter=300,
        tol=-1.0,
    )
    assert run.n_iter == steps
    np.testing.assert_array_equal(run.labels, labels)
    np.testing.assert_allclose(run.centers, centers, atol=1e-12)
    near = ((X - centers[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(run.near, near, atol=1e-12)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_only_rows_in_doubt_are_looked_at_again(kind, monkeypatch):
    rng = np.random.default_rng(0)
    X = numbers.to_unit(rng.normal(size=(2000, 5)).astype(kind))
    X[:3] = 0  # no direction: always in doubt
    C = numbers.to_unit(rng.normal(size=(6, 5)).astype(kind))
    follow, looked = numbers.Followed(X, numbers.row_norms(X)), []
    nearest = numbers.nearest

    def spy(X, *given):
        looked.append(len(X))
        return nearest(X, *given)

    monkeypatch.setattr(numbers, "nearest", spy)
    for scale in (0.0, 0.01, 0.01, 0.5, 0.001, 0.001):
        C = numbers.to_unit((C + scale * rng.normal(size=C.shape)).astype(kind))
        labels, _ = follow.nearest(C, moved=0.0)
        plain, _ = nearest(X, C)
        np.testing.assert_array_equal(labels, plain)
    assert looked[0] == looked[3] == 2000  # the first, and the long step
    assert max(looked[1], looked[2], looked[4], looked[5]) < 800


def test_rows_of_zeros_warn_exactly_once(table):
    X = np.r_[np.zeros((3, 6)), table]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = TELLClustering(5, random_state=0).fit(X)
        assert np.isfinite(model.predict_proba(X)).all()
        model.partial_fit(X)
    assert [str(w.message)[:22] for w in caught] == ["X has rows of zeros (3"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TELLClustering(5, normalize=False, random_state=0).fit(X)


# --- 5 streams ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [50, 256])
def test_a_stream_does_as_well_as_mini_batch_k_means(digits, size):
    X, _ = digits
    init = X[np.random.default_rng(0).choice(len(X), 10, replace=False)]
    order = np.random.default_rng(1).permutation(len(X))
    ours = TELLClustering(10, normalize=False, init=init, random_state=0)
    peer = MiniBatchKMeans(10, init=init, n_init=1, random_state=0)
    for start in range(0, len(X), size):
        batch = X[order[start : start + size]]
        ours.partial_fit(batch)
        peer.partial_fit(batch)
    assert -ours.score(X) <= 1.03 * -peer.score(X)
    assert ours.counts_.sum() == len(X)


def test_a_stream_of_weights_is_a_stream_of_repeated_rows(table):
    weight = np.random.default_rng(0).integers(0, 4, len(table))
    init = table[:5]
    given = {"init": init, "random_state": 0, "reassignment_ratio": 0.0}
    heavy = TELLClustering(5, **given).partial_fit(table, sample_weight=weight)
    again = TELLClustering(5, **given).partial_fit(np.repeat(table, weight, axis=0))
    np.testing.assert_allclose(heavy.cluster_centers_, again.cluster_centers_)
    np.testing.assert_allclose(heavy.counts_, again.counts_)


def test_dead_centres_come_back(table):
    init = table[:5].copy()
    init[4] = 1e3
    model = TELLClustering(5, normalize=False, init=init, random_state=0)
    for _ in range(5):
        model.partial_fit(table)
    assert len(np.unique(model.predict(table))) == 5


# --- 6 blobs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [{}, {"solver": "sgd"}, {"loss": "logsumexp"}, {"loss": "expected"}],
    ids=str,
)
def test_blobs_far_apart_are_found(given):
    rng = np.random.default_rng(0)
    centers = 10 * np.linalg.qr(rng.normal(size=(10, 10)))[0][:5]
    X, y = make_blobs(500, 10, centers=centers, cluster_std=1.0, random_state=0)
    for normalize in (False, True):
        model = TELLClustering(5, normalize=normalize, random_state=0, **given)
        assert adjusted_rand_score(y, model.fit_predict(X)) == 1


# --- 7 digits -----------------------------------------------------------------------


def test_digits_without_an_encoder(digits):
    X, y = digits
    model = TELLClustering(10, n_init=10, random_state=0).fit(X)
    assert accuracy(y, model.labels_) >= 0.78
    assert normalized_mutual_info_score(y, model.labels_) >= 0.73


def digits_network(seed):
    return TELLClustering(
        10,
        hidden_layer_sizes=(64, 256, 128),
        latent_dim=10,
        pretrain_iter=100,
        max_iter=100,
        n_init=10,
        random_state=seed,
    )


@pytest.mark.slow
def test_digits_with_an_encoder(digits):
    X, y = digits
    found = []
    for seed in range(3):
        model = digits_network(seed).fit(X)
        found.append(
            (
                accuracy(y, model.labels_),
                normalized_mutual_info_score(y, model.labels_),
            )
        )
        # a decoded centre looks like the mean image of its cluster
        means = np.stack([X[model.labels_ == j].mean(axis=0) for j in range(10)])
        for center, mean in zip(model.cluster_centers_, means, strict=True):
            assert np.corrcoef(center, mean)[0, 1] > 0.9
    acc, nmi = np.mean(found, axis=0)
    assert acc >= 0.74 and nmi >= 0.73, found


# --- the network --------------------------------------------------------------------


def test_centres_are_decoded_and_the_model_travels(table, tmp_path):
    X = StandardScaler().fit_transform(table)
    model = network().fit(X)
    np.testing.assert_allclose(
        model.cluster_centers_, model.decode(model.latent_centers_)
    )
    assert model.cluster_centers_.shape == (5, 6)
    codes = model.encode(X)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-9)
    assert model.loss_curve_[9] < model.loss_curve_[0]
    assert isinstance(model.net_, torch.nn.Module)
    model.save(tmp_path / "model.npz")
    again = TELLClustering.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    before = model.encode(X)
    model.partial_fit(X[:50])
    np.testing.assert_array_equal(model.encode(X), before)  # the encoder stays


@pytest.mark.parametrize(
    "given",
    [
        {"reconstruction": "bce", "dropout": 0.2},
        {"loss": "expected"},
        {"loss": "logsumexp", "normalize": False},
        {"solver": "sgd", "temperature": 2.0},
        {"init": "random"},
        {"pretrain_iter": 0},
    ],
    ids=str,
)
def test_every_option_of_the_network(digits, given):
    X = digits[0][:300]
    model = network(**given).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert len(np.unique(model.labels_)) > 1
    if "dropout" in given:
        assert model.cluster_centers_.min() >= 0 and model.cluster_centers_.max() <= 1


def test_clustering_draws_codes_together(table):
    X = StandardScaler().fit_transform(table)
    loose = network(clustering_weight=0.0, max_iter=60).fit(X)
    tight = network(clustering_weight=0.5, max_iter=60).fit(X)
    assert tight.inertia_ < loose.inertia_


def test_a_collapsed_code_is_told(table, monkeypatch):
    X = StandardScaler().fit_transform(table)
    monkeypatch.setattr(
        "skdiff.cluster._tell._estimator.COLLAPSED", 2.0
    )  # all codes on a sphere
    with pytest.warns(ConvergenceWarning, match="collapsed"):
        network().fit(X)


# --- use and refusals ---------------------------------------------------------------


def test_in_a_pipeline_and_a_search(table):
    pipeline = make_pipeline(StandardScaler(), TELLClustering(random_state=0))
    grid = {"tellclustering__n_clusters": [2, 5]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(table)
    assert search.best_params_["tellclustering__n_clusters"] == 5
    out = pipeline.set_output(transform="pandas").fit_transform(table)
    assert list(out.columns)[:2] == ["tellclustering0", "tellclustering1"]


def test_fewer_distinct_rows_than_clusters():
    X = np.repeat(np.eye(3), 5, axis=0)
    with pytest.warns(ConvergenceWarning, match="distinct clusters"):
        model = TELLClustering(5, random_state=0).fit(X)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("given", "call", "words"),
    [
        ({}, lambda m, X: m.fit(X[:4]), "n_samples=4 should be >= n_clusters=5"),
        ({}, lambda m, X: m.partial_fit(X[:4]), "n_samples=4"),
        ({"init": np.zeros((2, 6))}, lambda m, X: m.fit(X), "init has shape"),
        (
            {"loss": "expected", "solver": "lloyd"},
            lambda m, X: m.fit(X),
            "no closed-form",
        ),
        (
            {"hidden_layer_sizes": (4,), "reconstruction": "bce"},
            lambda m, X: m.fit(X),
            "between 0 and 1",
        ),
        ({"hidden_layer_sizes": (0,)}, lambda m, X: m.fit(X), "must be > 0"),
        ({}, lambda m, X: m.fit(X * 1e200), "squares overflow"),
        ({}, lambda m, X: m.fit(X).decode(X[:, :2]), "codes has 2 columns"),
        (
            {"hidden_layer_sizes": (4,)},
            lambda m, X: m.fit(sparse.csr_matrix(X)),
            "[Ss]parse",
        ),
    ],
)
def test_what_is_refused(table, given, call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call(TELLClustering(5, **given), table)


# --- the loop guard ---------------------------------------------------------------


STARTS = [
    {"normalize": False},
    {},
    {"loss": "logsumexp"},
    {"loss": "expected"},
    {"hidden_layer_sizes": (8,), "latent_dim": 2, "pretrain_iter": 3, "max_iter": 6},
]


@pytest.mark.parametrize("options", STARTS)
def test_the_clock_and_the_keyboard_stop_a_fit(table, options, monkeypatch):
    class Hurried(numbers.Progress):
        calls = 0

        def is_over(self):
            Hurried.calls += 1
            if Hurried.calls == 3:
                self.end("time")
            return super().is_over()

    whole = TELLClustering(4, random_state=0, **options).fit(table)
    assert whole.stopped_ in ("converged", "max_iter")
    with monkeypatch.context() as patch:
        patch.setattr("skdiff._base.progress.Progress", Hurried)
        cut = TELLClustering(4, random_state=0, **options).fit(table)
    assert cut.stopped_ == "time"
    assert np.isfinite(cut.transform(table)).all()
    late = TELLClustering(4, random_state=0, time_limit=1e-9, **options).fit(table)
    assert late.stopped_ == "time" and len(np.unique(late.predict(table))) > 1

    def hurt(self, **seen):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 2:
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch:
        patch.setattr("skdiff._base.progress.Progress.step", hurt)
        model = TELLClustering(4, random_state=0, **options)
        with pytest.warns(UserWarning, match="its best state is kept"):
            model.fit(table)
    assert model.stopped_ == "interrupted"
    assert np.isfinite(model.transform(table)).all()


def test_an_interrupt_before_the_first_step_leaves_nothing(table, monkeypatch):
    def hurt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(numbers.Walk, "step", hurt)
    model = TELLClustering(4, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(table)
    with pytest.raises(NotFittedError):
        model.predict(table)


def test_callbacks_see_centres_that_predict(table):
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")

    class Watch:
        inertias: list = []

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            if fitted_estimator is not None:
                self.inertias.append(-fitted_estimator.score(X))

        def teardown(self, estimator, context):
            pass

    watch = Watch()
    model = TELLClustering(4, n_init=1, random_state=0).set_callbacks(watch).fit(table)
    assert len(watch.inertias) == model.n_iter_ > 1
    assert watch.inertias[-1] == pytest.approx(model.inertia_)
    assert (np.diff(watch.inertias) <= 1e-9).all()


@pytest.mark.parametrize("device", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_named(table, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used"):
        network(device=device).fit(table)


def test_global_switches_of_torch_do_not_matter(table):
    plain = network().fit(table)
    for switch in (torch.no_grad, torch.inference_mode):
        with switch():
            model = network().fit(table)
        np.testing.assert_array_equal(model.labels_, plain.labels_)


def test_units_of_the_columns_do_not_matter_to_an_encoder(table):
    factor, shift = np.array([1e-3, 1.0, 1e4, 7.0, 1.0, 100.0]), 5.0
    settings_ = {"hidden_layer_sizes": (16,), "latent_dim": 3, "pretrain_iter": 10}
    model = TELLClustering(5, max_iter=10, random_state=0, **settings_)
    plain = model.fit(table)
    codes, centers = plain.encode(table), plain.cluster_centers_
    rows = plain.decode(codes)
    moved = (table + shift) * factor
    model.fit(moved)
    np.testing.assert_allclose(model.encode(moved), codes, atol=1e-6)
    expected = (centers + shift) * factor
    np.testing.assert_allclose(model.cluster_centers_, expected, rtol=1e-5, atol=1e-4)
    # decoded rows are in the units of X; an array of centres is, too
    expected = (rows + shift) * factor
    np.testing.assert_allclose(model.decode(codes), expected, rtol=1e-5, atol=1e-4)
    again = TELLClustering(5, init=moved[:5], max_iter=10, random_state=0, **settings_)
    first = TELLClustering(5, init=table[:5], max_iter=10, random_state=0, **settings_)
    np.testing.assert_allclose(
        again.fit(moved).encode(moved), first.fit(table).encode(table), atol=1e-6
    )
    # without it the column in large units is all the network sees
    raw = TELLClustering(
        5, max_iter=10, standardize=False, random_state=0, **settings_
    ).fit(moved)
    assert np.abs(raw.encode(moved) - codes).max() > 1e-2
