"""One temperature: against a grid, scikit-learn, and where it cannot be enough."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skdiff.calibration import TemperatureScaler, temperature_scaling_study
from skdiff.metrics import expected_calibration_error
from tests.calibration._overlap import overlapping


def drawn(n=800, k=4, sharp=2.5, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, k))
    y = (Z + rng.gumbel(size=(n, k))).argmax(axis=1)
    return sharp * Z, y


def loss(Z, y, t, weight=None):
    z = Z / t
    z = z - z.max(axis=1, keepdims=True)
    rows = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
    return np.average(rows, weights=weight)


@pytest.mark.parametrize("sharp", [1e-3, 0.3, 2.5, 1e4])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_minimum(sharp, weighted):
    Z, y = drawn(sharp=sharp)
    w = np.random.default_rng(1).uniform(0, 3, len(y)) if weighted else None
    found = TemperatureScaler().fit(Z, y, w).temperature_
    grid = minimize_scalar(
        lambda u: loss(Z, y, np.exp(u), w),
        bounds=(np.log(sharp) - 2, np.log(sharp) + 2),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert found == pytest.approx(np.exp(grid.x), rel=1e-6)
    # the slope in 1 / T vanishes, which a grid only sees to the root of rounding
    h = 1e-4
    slope = loss(Z, y, found * (1 + h), w) - loss(Z, y, found * (1 - h), w)
    assert abs(slope) < 1e-9


def test_scaled_shifted_and_weighted_logits():
    Z, y = drawn()
    base = TemperatureScaler().fit(Z, y).temperature_
    for c in (1e-6, 7.0, 1e9):
        assert TemperatureScaler().fit(c * Z, y).temperature_ == (
            pytest.approx(c * base, rel=1e-10)
        )
    shift = np.random.default_rng(2).normal(size=(len(y), 1))
    shifted = TemperatureScaler().fit(Z + 50 * shift, y)
    assert shifted.temperature_ == pytest.approx(base, rel=1e-9)
    twice = np.r_[np.arange(len(y)), np.arange(100)]
    weight = np.r_[np.full(100, 2.0), np.ones(len(y) - 100)]
    once = TemperatureScaler().fit(Z, y, weight).temperature_
    assert TemperatureScaler().fit(Z[twice], y[twice]).temperature_ == (
        pytest.approx(once, rel=1e-10)
    )


def test_it_equals_scikit_learn():
    X, y = load_wine(return_X_y=True)
    model = GaussianNB().fit(X[::2], y[::2])
    peer = CalibratedClassifierCV(FrozenEstimator(model), method="temperature", cv=2)
    peer.fit(X[1::2], y[1::2])
    logits = np.log(np.clip(model.predict_proba(X), 1e-300, None))
    scaler = TemperatureScaler().fit(logits[1::2], y[1::2])
    ours, theirs = (
        log_loss(y[1::2], p)
        for p in (scaler.predict_proba(logits[1::2]), peer.predict_proba(X[1::2]))
    )
    assert ours <= theirs + 1e-9
    assert np.array_equal(scaler.predict(logits), model.predict(X))


def test_two_classes_in_one_column_or_two():
    Z, y = drawn(k=2)
    log_odds = Z[:, 1] - Z[:, 0]
    names = np.array(["no", "yes"])[y]
    three = [
        TemperatureScaler().fit(X, names) for X in (Z, log_odds, log_odds[:, None])
    ]
    assert len({round(m.temperature_, 10) for m in three}) == 1
    inputs = (Z, log_odds, log_odds[:, None])
    P = [m.predict_proba(X) for m, X in zip(three, inputs, strict=True)]
    np.testing.assert_allclose(P[0], P[1], rtol=1e-9)
    np.testing.assert_allclose(P[0], P[2], rtol=1e-9)


def test_the_edges():
    Z, y = drawn(n=60, k=3)
    with pytest.warns(ConvergenceWarning, match="temperature is zero"):
        sure = TemperatureScaler().fit(Z, Z.argmax(axis=1))
    assert 0 < sure.temperature_ < 1e-3
    with pytest.warns(ConvergenceWarning, match="temperature is infinite"):
        wrong = TemperatureScaler().fit(Z, Z.argmin(axis=1))
    np.testing.assert_allclose(wrong.predict_proba(Z), 1 / 3, atol=1e-3)
    assert TemperatureScaler().fit(np.zeros((60, 3)), y).temperature_ == 1.0
    with pytest.warns(UserWarning, match="look like probabilities"):
        TemperatureScaler().fit(np.exp(Z) / np.exp(Z).sum(1, keepdims=True), y)
    part = TemperatureScaler(classes=[0, 1, 2]).fit(Z[y < 2], y[y < 2])
    assert part.predict_proba(Z).shape == (60, 3)
    assert np.isfinite(part.predict_log_proba(1e6 * Z)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[0.0, 1.0], [1.0, 0.0]], [0, 0]), "one class"),
        (([[0.0, 1.0], [1.0, np.inf]], [0, 1]), "infinity"),
        (([[0.0, 1.0, 3.0], [1.0, 2.0, 0.0]], [0, 1]), "3 columns of logits for 2"),
        (([[0.0, 1.0], [1.0, 0.0]], [0.2, 0.7]), "Unknown label type"),
    ],
)
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        TemperatureScaler().fit(*arguments)


def test_labels_outside_classes_are_named():
    Z, y = drawn(n=20, k=3)
    with pytest.raises(ValueError, match=r"labels \[2\] that are not in classes"):
        TemperatureScaler(classes=[0, 1, 9]).fit(Z, y)
    with pytest.raises(ValueError, match="a label twice"):
        TemperatureScaler(classes=[0, 1, 1]).fit(Z, y)


def test_a_pipeline_of_log_probabilities_in_a_search():
    X, y = load_breast_cancer(return_X_y=True)
    P = GaussianNB().fit(X[:200], y[:200]).predict_log_proba(X[200:])
    pipe = make_pipeline(FunctionTransformer(), TemperatureScaler())
    grid = {"functiontransformer__kw_args": [None]}
    search = GridSearchCV(pipe, grid, cv=3, scoring="neg_log_loss", n_jobs=2)
    search.fit(P, y[200:])
    assert search.best_score_ > -log_loss(y[200:], np.exp(P))


# --- the study ------------------------------------------------------------------------


def network(seed, max_iter=300):
    pytest.importorskip("torch")
    from skdiff.neural_network import AnyLossClassifier

    return AnyLossClassifier(
        bce_weight=1,
        warmup_iter=0,
        hidden_layer_sizes=(128,),
        alpha=0.0,
        learning_rate_init=0.01,
        max_iter=max_iter,
        tol=0,
        n_iter_no_change=1000,
        random_state=seed,
    )


def study(seed, noise, max_iter=300, mixup=(0.0, 1.0), n_test=2000):
    rng = np.random.default_rng(seed)
    sets = [overlapping(n, rng, noise=noise) for n in (600, 400, n_test)]
    (X, y, _), (X_cal, y_cal, _), (X_test, y_test, truth) = sets
    cal = {"X_cal": X_cal, "y_cal": y_cal}
    test = {"X_test": X_test, "y_test": y_test, "proba": truth}
    return temperature_scaling_study(
        network(seed, max_iter), X, y, **cal, **test, mixup=mixup
    )


@pytest.mark.filterwarnings("ignore:Maximum iterations")
def test_overlap_defeats_one_temperature_and_mixup_helps():
    """The paper's claim, and that a short fit does better still."""
    table = sum(study(seed, 0.5) for seed in range(5)) / 5
    standard, mixed = table.loc[0], table.loc[1]
    # learnt by heart: far too certain, and far from the truth after scaling too
    assert standard["temperature"] > 2 * mixed["temperature"] > 2
    assert standard["ece_before"] >= 1.8 * mixed["ece_before"]
    assert standard["mse_to_truth_after"] >= 1.15 * mixed["mse_to_truth_after"]
    assert standard["log_loss_after"] > mixed["log_loss_after"]
    assert standard["pvalue_after"] < 0.05
    short = study(0, 0.5, max_iter=20, mixup=0.0).loc[0]
    assert short["mse_to_truth_after"] < 0.8 * mixed["mse_to_truth_after"]


def test_the_study_measures_what_it_says():
    X, y = load_wine(return_X_y=True)
    y = np.array(["a", "b", "c"])[y]
    X_train, X, y_train, y = train_test_split(X, y, test_size=0.7, random_state=0)
    X_cal, X_test, y_cal, y_test = train_test_split(X, y, test_size=0.6, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    sets = {"X_cal": X_cal, "y_cal": y_cal, "X_test": X_test, "y_test": y_test}
    table = temperature_scaling_study(model, X_train, y_train, **sets, mixup=0.0)
    row = table.loc[0]
    P = model.fit(X_train, y_train).predict_proba(X_test)
    assert row["log_loss_before"] == pytest.approx(log_loss(y_test, P))
    scaler = TemperatureScaler().fit(model.predict_log_proba(X_cal), y_cal)
    assert row["temperature"] == pytest.approx(scaler.temperature_)
    P = scaler.predict_proba(model.predict_log_proba(X_test))
    assert row["log_loss_after"] == pytest.approx(log_loss(y_test, P))
    right = y_test == model.classes_[P.argmax(axis=1)]
    assert row["ece_after"] == pytest.approx(
        expected_calibration_error(right, P.max(axis=1))
    )
    assert np.isnan(row["mse_to_truth_after"])
    with pytest.raises(ValueError, match="no parameter mixup"):
        temperature_scaling_study(model, X_train, y_train, **sets)
    with pytest.raises(ValueError, match="y_test holds labels"):
        odd = np.where(y_test == "a", "z", y_test)
        temperature_scaling_study(
            model, X_train, y_train, **{**sets, "y_test": odd}, mixup=0.0
        )
    with pytest.raises(ValueError, match="proba has shape"):
        temperature_scaling_study(
            model, X_train, y_train, **sets, mixup=0.0, proba=P[:, :2]
        )


def test_the_p_value_keeps_its_level():
    """Perfect forecasts are rejected as often as the level says, false ones always."""
    from skdiff.calibration._temperature._study import consistency

    rng = np.random.default_rng(0)
    perfect, wrong = [], []
    for _ in range(120):
        Z, y = drawn(n=250, k=3, sharp=1.0, seed=rng.integers(2**31))
        log_proba = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        perfect.append(consistency(log_proba, y, rng))
        Z = 3 * Z
        log_proba = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        wrong.append(consistency(log_proba, y, rng))
    # binomial: 12 +- 3.3 of 120 at a level of a tenth
    assert (np.array(perfect) <= 0.1).sum() <= 23
    assert (np.array(perfect) <= 0.5).mean() > 0.3
    assert max(wrong) < 0.05


def test_nothing_warns_where_nothing_is_wrong():
    Z, y = drawn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TemperatureScaler().fit(Z, y).predict_proba(Z)
