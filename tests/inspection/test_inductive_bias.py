"""Information of a space of hypotheses: closed forms, simulation, the paper's trend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, logsumexp
from scipy.stats import chi2
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skdiff.inspection import (
    InductiveBiasDisplay,
    InductiveBiasEstimator,
    generalization_difficulty,
    intrinsic_dimension,
    label_sharpness,
)
from skdiff.inspection._geometry._difficulty import extreme_quantile
from skdiff.inspection._inductive_bias._posterior import condition, draw, error_form
from skdiff.inspection._inductive_bias._quadratic import QuadraticForm
from skdiff.inspection._inductive_bias._tails import TAILS, fit_tail


def log_noncentral(x, df, delta):
    """Series of the noncentral chi square; all terms are positive."""
    j = np.arange(int(delta) + 400)
    weight = j * np.log(delta / 2) - delta / 2 - gammaln(j + 1)
    return logsumexp(weight + [log_chi2(x, df + 2 * k) for k in j])


def log_chi2(x, df):
    if chi2.cdf(x, df) > 1e-200:
        return chi2.logcdf(x, df)
    k = np.arange(400)  # series of the incomplete gamma function
    a = df / 2
    terms = k * np.log(x / 2) - gammaln(a + k + 1)
    return a * np.log(x / 2) - x / 2 + logsumexp(terms)


@pytest.mark.parametrize("n", [1, 2, 8, 50])
@pytest.mark.parametrize("part", [1e-4, 0.05, 0.5, 0.97, 1.0, 1.03, 2.0])
def test_equal_weights_are_chi_squares(n, part):
    form = QuadraticForm(np.full(n, 0.7), np.zeros(n), 0.2)
    x = 0.2 + part * (form.mean() - 0.2)
    expected = log_chi2(part * n, n)
    assert form.logcdf(x) == pytest.approx(expected, abs=2e-6, rel=1e-9)


@pytest.mark.parametrize("delta", [0.5, 30.0, 300.0])
@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 1.0, 1.1])
def test_noncentral_chi_squares(delta, part):
    form = QuadraticForm(np.full(3, 0.5), np.full(3, delta), 0.0)
    x = part * form.mean()
    expected = log_noncentral(x / 0.5, 3, 3 * delta)
    assert form.logcdf(x) == pytest.approx(expected, abs=2e-6, rel=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(1e-3, 10), min_size=1, max_size=12),
    st.floats(0, 100),
    st.floats(1e-3, 0.999),
)
def test_quantiles_invert_and_probabilities_rise(weights, delta, q):
    form = QuadraticForm(np.array(weights), np.full(len(weights), delta), 1.0)
    x = form.ppf(q)
    # x itself is rounded, relative to the floor of 1
    assert form.logcdf(x) == pytest.approx(np.log(q), abs=1e-3)
    assert form.logcdf(x * 1.1) >= form.logcdf(x) >= form.logcdf(1 + (x - 1) * 0.9)
    assert form.cdf(1.0) == 0 and form.cdf(np.inf) == 1
    assert form.ppf(0) == 1 and form.ppf(1) == np.inf


def gaussian_task(d, n=8, n_test=6, seed=0):
    rng = np.random.RandomState(seed)
    X, X_test = rng.standard_normal((n, d)), rng.standard_normal((n_test, d))
    f = GaussianProcessRegressor(RBF(2.0)).sample_y(
        np.concatenate([X, X_test]), random_state=seed
    )
    return X, f[:n], X_test, f[n:]


@pytest.mark.parametrize("d", [1, 2, 4, 8])
def test_the_law_is_that_of_draws_to_five_hundredths_of_a_nat(d):
    X, Y, X_test, Y_test = gaussian_task(d)
    posterior = condition(RBF(2.0), X, Y, X_test, 1e-6)
    form = error_form(posterior, Y_test)
    values = draw(posterior, 200_000, np.random.RandomState(1))
    errors = ((values - Y_test) ** 2).mean(axis=(1, 2))
    assert form.mean() == pytest.approx(errors.mean(), rel=0.02)
    for q in (0.5, 0.1, 0.01, 0.001):
        # 200 draws below the last quantile: a standard error of .07 nats there
        reach = 0.05 if q > 0.001 else 0.2
        assert form.logcdf(np.quantile(errors, q)) == pytest.approx(
            np.log(q), abs=reach
        )


def test_more_dimensions_need_more_information():
    found = []
    for d in (1, 2, 4, 8):
        values = []
        for seed in range(5):
            X, Y, X_test, Y_test = gaussian_task(d, 20, 20, seed)
            model = InductiveBiasEstimator(RBF(2.0), 0.05)
            values.append(model.fit(X, Y[:, 0], X_test, Y_test[:, 0]).information_)
        found.append(np.mean(values))
    assert np.all(np.diff(found) > 0)


def test_curve_and_median_and_units():
    X, y = load_diabetes(return_X_y=True)
    model = InductiveBiasEstimator(random_state=0).fit(X[:150], y[:150])
    eps = np.geomspace(0.1, 10, 12) * model.mean_error_
    nats = model.curve(eps)
    assert np.all(np.diff(nats) <= 1e-9) and nats[-1] < 1e-6
    assert model.curve(model.mean_error_) == pytest.approx(np.log(2), abs=0.1)
    bits = InductiveBiasEstimator(units="bits", random_state=0).fit(X[:150], y[:150])
    assert bits.curve(eps) == pytest.approx(nats / np.log(2))
    assert np.isnan(model.information_) and model.exact_
    again = InductiveBiasEstimator(target_error=eps[2], random_state=0).fit(
        X[:150], y[:150]
    )
    assert again.information_ == pytest.approx(nats[2])
    assert again.information_interval_ == (again.information_,) * 2
    assert model.loss_distribution_.floor < model.errors_.min()


def test_rotations_and_units_of_y_change_nothing():
    rng = np.random.RandomState(0)
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:120], y[:120]
    turn = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    first = InductiveBiasEstimator(random_state=0).fit(X, y)
    other = InductiveBiasEstimator(random_state=0).fit(X @ turn, 3 * y + 7)
    assert other.mean_error_ == pytest.approx(9 * first.mean_error_, rel=1e-6)
    eps = np.array([0.5, 1.0]) * first.mean_error_
    assert other.curve(9 * eps) == pytest.approx(first.curve(eps), abs=1e-4)


def test_more_training_rows_lower_the_error():
    """Of a target without noise, which is what the hypotheses interpolate."""
    X = np.random.default_rng(0).standard_normal((340, 3))
    y = np.sin(X).sum(axis=1)
    errors = [
        InductiveBiasEstimator().fit(X[:n], y[:n], X[300:], y[300:]).mean_error_
        for n in (20, 60, 250)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_linear_spaces_and_the_floor():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 3))
    y = X @ [1, 2, 3] + 5 + rng.standard_normal(60) * 0.1
    model = InductiveBiasEstimator("linear", target_error=1e-9, noise=1e-3)
    with pytest.warns(UserWarning, match="No hypothesis reaches"):
        model.fit(X[:40], y[:40], X[40:], y[40:])
    assert model.information_ == np.inf
    # three weights and the intercept are all that is random
    assert len(model.loss_distribution_.weights) == 4
    assert 0.002 < model.loss_distribution_.floor < 0.05


def test_classification_errors_and_string_labels():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    plain = InductiveBiasEstimator(target_error=0.05, random_state=0).fit(X, y)
    strings = InductiveBiasEstimator(target_error=0.05, random_state=0).fit(X, names)
    assert strings.information_ == pytest.approx(plain.information_)
    assert strings.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    rate = InductiveBiasEstimator(
        target_error=0.1, metric="error", random_state=0, n_hypotheses=300
    ).fit(X, y)
    assert not rate.exact_ and 0 <= rate.mean_error_ < 0.3
    assert rate.information_interval_[0] <= rate.information_interval_[1]


@pytest.mark.parametrize("tail", TAILS)
def test_black_box_tails_reach_the_known_law(tail):
    """Errors that are gamma distributed with shape 4."""
    rng = np.random.RandomState(0)
    errors = rng.gamma(4.0, 0.1, size=400)
    law = fit_tail(errors, tail)
    truth = QuadraticForm(np.full(8, 0.05), np.zeros(8), 0.0)
    for q in (0.5, 0.1, 0.02):
        x = truth.ppf(q)
        assert law.logcdf(x) == pytest.approx(np.log(q), abs=0.35)
        assert law.cdf(law.ppf(q)) == pytest.approx(q, abs=0.02)
    assert law.mean() == pytest.approx(0.4, rel=0.1) and law.var() > 0
    far = law.logcdf(truth.ppf(1e-6))
    if tail == "empirical":
        assert far == -np.inf
    else:
        assert -40 < far < -5
    assert law.logcdf(0.0) == -np.inf


def test_networks_from_many_seeds():
    X, y = load_iris(return_X_y=True)
    net = MLPClassifier(4, max_iter=40, tol=1.0, random_state=7)
    model = InductiveBiasEstimator(
        make_pipeline(StandardScaler(), net),
        target_error=1e-6,
        n_hypotheses=6,
        random_state=0,
    )
    model.fit(X, y)
    assert len(np.unique(model.errors_)) == 6  # the seed of the network is opened
    assert model.extrapolated_
    parallel = model.set_params(n_jobs=2).fit(X, y)
    assert np.array_equal(parallel.errors_, model.errors_)


def test_hypotheses_that_do_not_fit_are_left_out():
    X, y = load_iris(return_X_y=True)
    tree = DecisionTreeClassifier(max_depth=2, splitter="random")
    how = {"n_hypotheses": 40, "random_state": 0, "metric": "error"}
    every = InductiveBiasEstimator(tree, **how).fit(X, y)
    fitting = InductiveBiasEstimator(tree, max_train_error=0.1, **how).fit(X, y)
    assert 5 <= len(fitting.errors_) < len(every.errors_) == 40
    assert fitting.mean_error_ < every.mean_error_
    with pytest.raises(ValueError, match="five are needed"):
        InductiveBiasEstimator(tree, max_train_error=0.0, **how).fit(X, y)


def test_spaces_are_compared_on_one_split():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:200]
    model = InductiveBiasEstimator(target_error=0.05, random_state=0)
    spaces = {"rbf": "rbf", "narrow": RBF(1.0), "linear": "linear"}
    frame = model.compare(spaces, X, y[:200])
    assert frame.index.tolist() == list(spaces)
    assert frame["difference"].min() == 0
    alone = model.set_params(hypotheses=RBF(1.0))
    listed = alone.compare(["rbf", "linear"], X, y[:200])
    assert listed["information"]["rbf"] == frame["information"]["rbf"]
    assert np.isfinite(frame["information"]["narrow"])


def test_works_as_a_step_of_a_search():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), InductiveBiasEstimator())
    grid = {"inductivebiasestimator__hypotheses": ["rbf", "linear"]}
    search = GridSearchCV(
        pipeline,
        grid,
        scoring=lambda model, X, y: -model[-1].mean_error_,
        n_jobs=2,
        cv=2,
        error_score="raise",
    ).fit(X[:120], y[:120])
    assert search.best_score_ < 0
    assert search.best_estimator_[-1].n_features_in_ == 10


def test_display_has_curves_and_a_frame():
    X, y = load_iris(return_X_y=True)
    kernel = InductiveBiasEstimator(random_state=0).fit(X, y)
    trees = InductiveBiasEstimator(
        DecisionTreeClassifier(max_depth=2, splitter="random"),
        n_hypotheses=10,
        random_state=0,
    ).fit(X, y)
    display = InductiveBiasDisplay.from_estimator({"kernel": kernel, "trees": trees})
    display.plot()
    assert len(display.lines_) == 2
    frame = display.frame()
    assert len(frame) == 80 and not frame["extrapolated"][:40].any()
    single = InductiveBiasDisplay.from_estimator(kernel, eps=[0.01, 0.1]).plot()
    assert single.ax_.get_ylabel() == "information (nats)"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"hypotheses": Ridge()}, "hypothesis, not a space|is no classifier"),
        ({"hypotheses": LogisticRegression(), "n_hypotheses": 2}, "n_hypotheses"),
        ({"hypotheses": lambda A, B: A}, "one number per pair"),
        ({"hypotheses": lambda A, B: np.full((len(A), len(B)), np.nan)}, "NaN"),
        ({"hypotheses": lambda A, B: np.zeros((len(A), len(B)))}, "is zero"),
        ({"hypotheses": lambda A, B: -(A @ B.T) + 9}, "positive definite|zero"),
        ({"hypotheses": "poly"}, "hypotheses"),
        ({"target_error": 0.0}, "target_error"),
        ({"test_size": 1.0}, "test_size"),
        ({"task": "regression", "metric": "error"}, "needs classes"),
    ],
)
def test_bad_parameters_are_refused(how, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        InductiveBiasEstimator(**how).fit(X, y)


def test_bad_rows_are_refused():
    X, y = load_iris(return_X_y=True)
    model = InductiveBiasEstimator()
    with pytest.raises(ValueError, match="together"):
        model.fit(X, y, X)
    with pytest.raises(ValueError, match="classes that y has not"):
        model.fit(X[:100], y[:100], X[100:], y[100:])
    with pytest.raises(ValueError, match="one class only"):
        model.fit(X[:50], y[:50])
    with pytest.raises(ValueError, match="target_error"):
        model.compare(["rbf"], X, y)
    with pytest.raises(ValueError, match="must hold numbers"):
        names = np.array(["a", "b", "c"])[y]
        InductiveBiasEstimator(task="regression").fit(X, names)


# --- geometry -----------------------------------------------------------------------

PUBLISHED = {
    "MNIST": (0.001, 14, 2.3987084824335305, 17.179045827183984, 60_000, 10, 1.485e16),
    "SVHN": (0.01, 19, 1.5766998174969105, 53.86932485133339, 73_257, 10, 1.213e31),
    "CIFAR": (0.01, 27, 2.7506414616587023, 54.9156786783691, 50_000, 10, 3.438e32),
    "ImageNet": (0.1, 48, 65, 943.5923, 1_280_901, 1000, 3.583e41),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_difficulties(name):
    error, m, delta, radius, n, classes, bits = PUBLISHED[name]
    found = generalization_difficulty(
        target_error=error,
        intrinsic_dim=m,
        delta=delta,
        radius=radius,
        n_samples=n,
        n_classes=classes,
    )
    assert found.bits == pytest.approx(bits, rel=1e-3)
    assert found.log10_bits == pytest.approx(np.log10(bits), abs=1e-3)
    assert found.frame()["n_samples"][0] == n


def test_difficulty_of_data_and_its_trend():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2))
    y = (X[:, 0] > 0).astype(int)
    gap = X + 0.3 * (2 * y[:, None] - 1) * [1, 0]
    hard = generalization_difficulty(X, y, 0.1)
    easy = generalization_difficulty(gap, y, 0.1)
    assert easy.delta > 0.6 > hard.delta and hard.log10_bits > easy.log10_bits
    finer = generalization_difficulty(X, y, 0.01, n_samples=300)
    assert finer.log10_bits > hard.log10_bits
    many = generalization_difficulty(gap, y, 0.1, n_samples=10**9)
    assert many.bits == 0 and many.log10_bits == -np.inf
    assert generalization_difficulty(X, X[:, 0], 0.1).n_classes == 0


def test_extreme_quantiles_of_a_pareto_tail():
    rng = np.random.default_rng(0)
    values = rng.pareto(2.0, size=200_000) + 1
    assert extreme_quantile(values, 1e-7, 2000) == pytest.approx(1e-7**-0.5, rel=0.5)
    bounded = rng.uniform(size=200_000)
    assert extreme_quantile(bounded, 1e-7, 2000) == pytest.approx(1.0, abs=0.01)


def test_distance_by_extrapolation_is_near_the_exact_one(monkeypatch):
    from skdiff.inspection._geometry import _difficulty

    rng = np.random.default_rng(0)
    X = rng.standard_normal((800, 4))
    y = (X[:, 0] > 0).astype(int)
    exact = generalization_difficulty(X, y, 0.1, delta="sample").delta
    monkeypatch.setattr(_difficulty, "_MOST_EXACT", 100)
    monkeypatch.setattr(_difficulty, "_PAIRS", 20_000)
    near = generalization_difficulty(X, y, 0.1, random_state=0).delta
    assert exact / 3 < near < 3 * exact
    number = generalization_difficulty(X, X[:, 0], 0.1, random_state=0)
    assert number.delta > 0


def test_dimensions_of_known_manifolds():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 3)) @ rng.standard_normal((3, 20))
    for estimator in ("mle", "twonn"):
        assert intrinsic_dimension(X, estimator=estimator) == pytest.approx(3, abs=0.2)
    value, std, local = intrinsic_dimension(X, return_std=True, return_local=True)
    assert 0 < std < 0.2 and local.shape == (1500,)
    assert intrinsic_dimension(7 * X[::-1]) == pytest.approx(value, rel=1e-9)
    circle = np.stack([np.cos(X[:, 0]), np.sin(X[:, 0])], axis=1)
    assert intrinsic_dimension(circle) == pytest.approx(1, abs=0.1)
    repeated = np.concatenate([X, X])
    assert intrinsic_dimension(repeated) == pytest.approx(value, rel=1e-9)
    assert intrinsic_dimension(X, max_samples=500, random_state=0) > 2.5
    trimmed = intrinsic_dimension(X, estimator="twonn", trim=0.1)
    assert trimmed == pytest.approx(3, abs=0.3)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(8, 40),
    st.sampled_from(["mle", "twonn"]),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_the_dimension_sees_neither_place_nor_units_nor_order(seed, n, estimator, trim):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    how = {"estimator": estimator, "trim": trim, "return_std": True}
    found = intrinsic_dimension(X, **how)
    value, std = found
    assert value > 0 and std >= 0
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    for other in (X[::-1], X @ turn, X + 5, 1e-3 * X, np.repeat(X, 2, axis=0)):
        assert intrinsic_dimension(other, **how) == pytest.approx(found, rel=1e-6)
    wide = np.hstack([X, np.zeros((n, 2))])  # columns that say nothing
    assert intrinsic_dimension(wide, **how) == pytest.approx(found, rel=1e-9)
    local = intrinsic_dimension(X, estimator=estimator, return_local=True)[1]
    assert local.shape == (n,) and (local > 0).all()
    if estimator == "twonn":
        # exponential ratios of which the largest are known to be large only
        kept = n - int(trim * n)
        assert std == pytest.approx(value / np.sqrt(kept))
        ratios = np.sort(1 / local)
        total = np.minimum(ratios, ratios[kept - 1]).sum()
        assert value == pytest.approx(kept / total)
    else:
        assert value == pytest.approx(1 / np.mean(1 / local))
        spread = value * value * np.std(1 / local, ddof=1) / np.sqrt(n)
        assert std == pytest.approx(spread)


def test_sharpness_of_known_tasks():
    two = np.array([[0.0], [0.2], [1.2], [1.7]])
    y = np.array([0, 0, 1, 1])
    assert label_sharpness(two, y, standardize=False) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(1200, 1))
    slope = label_sharpness(x, -3.5 * x[:, 0], standardize=False)
    assert slope == pytest.approx(3.5)
    scaled = label_sharpness(2 * x, -3.5 * x[:, 0], standardize=False)
    assert scaled == pytest.approx(3.5 / 2)
    X = rng.standard_normal((200, 3))
    codes = rng.integers(3, size=200)
    distance = np.linalg.norm(X[:, None] - X, axis=2)
    brute = 1 / distance[codes[:, None] != codes].min()
    assert label_sharpness(X, codes, standardize=False) == pytest.approx(brute)
    value, local = label_sharpness(X, codes, return_local=True)
    assert local.max() == value and local.shape == (200,)
    assert label_sharpness(X, codes, quantile=0.5) == np.median(local)
    with pytest.warns(UserWarning, match="2 rows equal"):
        label_sharpness([[0.0], [0.0], [1.0], [2.0]], [0, 1, 0, 1])
    with pytest.warns(UserWarning, match="2 rows equal"):
        label_sharpness([[0.0], [0.0], [1.0]], [0.5, 1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: generalization_difficulty(), "Pass X and y, or all"),
        (lambda X, y: generalization_difficulty(X, y, -1), "target_error"),
        (lambda X, y: generalization_difficulty(X, y, delta="best"), "delta must"),
        (lambda X, y: generalization_difficulty(X, y, intrinsic_dim=0.5), "at least 1"),
        (lambda X, y: generalization_difficulty(X, 0 * y), "nothing to learn"),
        (lambda X, y: generalization_difficulty(0 * X, y), "distinct rows"),
        (
            lambda X, y: generalization_difficulty(0 * X, y, intrinsic_dim=2),
            "equal and have different labels",
        ),
        (lambda X, y: generalization_difficulty(X), "y"),
        (lambda X, y: intrinsic_dimension(X, k=1), "k must"),
        (lambda X, y: intrinsic_dimension(X, estimator="pca"), "estimator must"),
        (lambda X, y: intrinsic_dimension(X, trim=1), "trim must"),
        (lambda X, y: intrinsic_dimension(X, trim=None), "trim must"),
        (lambda X, y: intrinsic_dimension(X[:3]), "distinct rows"),
        (lambda X, y: intrinsic_dimension(X * np.nan), "NaN"),
        (lambda X, y: label_sharpness(X, y[:3]), "inconsistent"),
        (lambda X, y: label_sharpness(X, 0 * y), "one class only"),
        (lambda X, y: label_sharpness(X, y, quantile=2), "quantile must"),
        (lambda X, y: label_sharpness(X, y, quantile=None), "quantile must"),
        (lambda X, y: label_sharpness(X, y, task="ranking"), "task must"),
        (lambda X, y: label_sharpness(X, None), "requires y"),
    ],
)
def test_bad_geometry_is_refused(call, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)), rng.integers(2, size=20))


GRID = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: generalization_difficulty(X, np.full(60, 0.5)), "nothing to"),
        (lambda X, y: generalization_difficulty(X, y, None), "target_error must"),
        (lambda X, y: generalization_difficulty(X, y, delta=None), "delta must"),
        (lambda X, y: generalization_difficulty(X, y, n_classes=-3), "n_classes must"),
        (lambda X, y: generalization_difficulty(X, y, n_classes=2.5), "n_classes must"),
        (
            lambda X, y: generalization_difficulty(
                X, X[:, 0], regression_resolution=-1.0
            ),
            "regression_resolution must",
        ),
        (lambda X, y: intrinsic_dimension(GRID, estimator="twonn"), "as on a grid"),
    ],
)
def test_input_without_a_value_is_refused(call, message):
    X = np.random.default_rng(0).standard_normal((60, 3))
    with pytest.raises(ValueError, match=message):
        call(X, (X[:, 0] > 0) * 1)


def test_the_dimension_has_no_units():
    X = np.random.default_rng(1).standard_normal((60, 3))
    for estimator in ("mle", "twonn"):
        once = intrinsic_dimension(X, estimator=estimator)
        for unit in (2.0**-600, 2.0**600):
            assert intrinsic_dimension(X * unit, estimator=estimator) == once
