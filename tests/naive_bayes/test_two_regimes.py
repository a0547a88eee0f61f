"""Naive Bayes and logistic regression, combined and compared."""

import numpy as np
import pytest
import sklearn
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff._convex._power_curve import fit_power
from skdiff.naive_bayes import TiedGaussianNB, TwoRegimeClassifier, two_regimes
from skdiff.naive_bayes._two_regimes._blend import (
    blend,
    fit_correction,
    fit_exponents,
)
from skdiff.naive_bayes._two_regimes._curves import crossing


def probabilities(seed, n=80, K=3, sharp=1.0):
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(2, n, K))
    codes = rng.integers(K, size=n)
    logits[:, np.arange(n), codes] += 1.0
    return [np.log(np.exp(f) / np.exp(f).sum(1, keepdims=True)) for f in logits], codes


@pytest.mark.parametrize("seed", range(5))
def test_exponents_minimise_the_log_loss_within_their_bounds(seed):
    logs, codes = probabilities(seed, sharp=1 + seed)
    weight = np.random.default_rng(seed).uniform(0.1, 2, len(codes))
    found = fit_exponents(logs, codes, weight, np.array([0.5, 0.5]))
    rows = np.arange(len(codes))

    def loss(a):
        penalty = 0.5 * np.sum((np.asarray(a) - 0.5) ** 2) / weight.sum()
        return penalty - np.average(blend(logs, a)[rows, codes], weights=weight)

    reference = minimize(
        loss, [0.3, 0.3], method="Nelder-Mead", bounds=[(0, None)] * 2,
        options={"xatol": 1e-9, "fatol": 1e-13},
    )  # fmt: skip
    assert np.all(found.x >= 0)
    assert found.objective == pytest.approx(loss(found.x), rel=1e-12)
    assert found.objective <= reference.fun + 1e-9


def test_a_useless_classifier_gets_no_weight():
    logs, codes = probabilities(0)
    rng = np.random.default_rng(1)
    noise = np.log(rng.dirichlet(np.ones(3), len(codes)))
    wrong = noise.copy()
    wrong[np.arange(len(codes)), codes] -= 3
    found = fit_exponents(
        [logs[0], wrong], codes, np.ones(len(codes)), np.array([1.0, 0.0])
    )
    assert found.x[1] == pytest.approx(0.0, abs=1e-9)


def test_the_correction_is_logistic_regression_where_there_is_nothing_to_correct():
    X, y = load_iris(return_X_y=True)
    Z = StandardScaler().fit_transform(X)
    n = len(y)
    flat = np.full((n, 3), np.log(1 / 3))
    fit, found = fit_correction(flat, Z, y, np.ones(n), 1 / n)
    peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(Z, y)
    assert found.converged
    np.testing.assert_allclose(fit.coef.T, peer.coef_, atol=1e-5)


def test_a_large_penalty_leaves_naive_bayes():
    X, y = load_wine(return_X_y=True)
    nb = TiedGaussianNB().fit(X, y)
    Z = StandardScaler().fit_transform(X)
    logs = nb.predict_log_proba(X)
    fit, _ = fit_correction(logs, Z, y, np.ones(len(y)), 1e8)
    assert np.abs(fit.coef).max() < 1e-6


@pytest.mark.parametrize("blend_", ["stack", "select", "prior"])
def test_is_about_as_good_as_the_better_of_the_two(blend_):
    X, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    for size in (60, 200):
        ours, others = [], []
        for _ in range(8):
            rows = rng.permutation(len(y))
            train, test = rows[:size], rows[200:]
            model = TwoRegimeClassifier(blend=blend_, random_state=0)
            nb = TiedGaussianNB()
            lr = make_pipeline(StandardScaler(), LogisticRegression())
            scores = [
                log_loss(y[test], m.fit(X[train], y[train]).predict_proba(X[test]))
                for m in (model, nb, lr)
            ]
            ours.append(scores[0])
            others.append(scores[1:])
        # of log losses
        assert np.mean(ours) < 1.3 * np.mean(others, axis=0).min()


def test_reported_losses_are_those_of_cross_validation():
    X, y = load_wine(return_X_y=True)
    cv = list(KFold(4, shuffle=True, random_state=0).split(X))
    model = TwoRegimeClassifier(cv=cv).fit(X, y)
    expected = -cross_val_score(TiedGaussianNB(), X, y, cv=cv, scoring="neg_log_loss")
    sizes = [len(test) for _, test in cv]
    assert model.log_losses_["nb"] == pytest.approx(np.average(expected, weights=sizes))
    assert model.log_losses_["blend"] <= min(model.log_losses_["lr"], 1) + 1e-12


def test_models_of_the_user_are_seeded_routed_and_left_alone():
    X, y = load_iris(return_X_y=True, as_frame=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    nb, lr = GaussianNB(), make_pipeline(StandardScaler(), LogisticRegression())
    model = TwoRegimeClassifier(nb, lr, cv=3, random_state=0).fit(X, y, weight)
    assert not hasattr(nb, "classes_") and list(model.nb_.feature_names_in_) == list(X)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = TwoRegimeClassifier(
            GaussianNB().set_fit_request(sample_weight=True),
            make_pipeline(
                StandardScaler().set_fit_request(sample_weight=False),
                LogisticRegression().set_fit_request(sample_weight=True),
            ),
            cv=3,
            random_state=0,
        ).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(
        routed.predict_proba(X), model.predict_proba(X), rtol=1e-8
    )


def test_in_a_grid_search_on_string_labels():
    X, y = load_wine(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    search = GridSearchCV(
        TwoRegimeClassifier(cv=2, random_state=0),
        {"blend": ["stack", "prior"]},
        cv=2,
        n_jobs=2,
    ).fit(X, names)
    assert search.best_score_ > 0.95 and set(search.predict(X)) == {"a", "b", "c"}


def test_what_cannot_be_cross_validated_is_refused():
    X, y = load_iris(return_X_y=True)
    y = y.copy()
    y[y == 2] = 1
    y[0] = 2
    with pytest.raises(ValueError, match="only 1 member"):
        TwoRegimeClassifier().fit(X, y)
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="fold 0"):
        TwoRegimeClassifier(cv=KFold(3)).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        TwoRegimeClassifier().fit(X, np.zeros(150))


def test_crossing_of_two_curves():
    sizes = np.array([10, 100, 1000])
    assert crossing(sizes, np.array([-1.0, -1.0, 1.0])) == pytest.approx(10**2.5)
    assert crossing(sizes, np.array([1.0, 1.0, 1.0])) == 0
    assert crossing(sizes, np.array([1.0, 1.0, -0.1])) == np.inf


def gaussian_classes(n, d, rng):
    """Two classes a distance apart; half of the columns have variance d, half 1."""
    y = rng.integers(2, size=n)
    sd = np.where(np.arange(d) < d // 2, np.sqrt(d), 1.0)
    return (2.0 * y - 1)[:, None] + sd * rng.normal(size=(n, d)), y


def test_naive_bayes_leads_first_and_logistic_regression_later():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=3000)
    X = rng.normal(size=(len(y), 60)) + 0.12 * (2 * y - 1)[:, None]
    # copies of one column, which naive Bayes counts as new evidence each
    X = np.c_[X, X[:, :1] + 0.3 * rng.normal(size=(len(y), 4))]
    bare = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf, max_iter=2000))
    sizes = [60, 100, 200, 600, 1700]
    found = two_regimes(X, y, sizes, n_repeats=4, lr=bare, random_state=0)
    assert found.nb_scores[0].mean() > found.lr_scores[0].mean()
    assert 100 < found.crossing_size < 1700
    low, high = found.crossing_interval
    assert low <= found.crossing_size <= high
    assert found.asymptotes["lr"] > found.asymptotes["nb"]
    curve = fit_power(np.array(sizes, float), found.nb_scores.mean(1)[None], upper=1.0)
    assert found.asymptotes["nb"] == pytest.approx(curve.asymptote[0])
    two = two_regimes(X, y, sizes[:2], n_repeats=2, lr=bare, random_state=0)
    assert two.asymptotes["nb"] == pytest.approx(two.nb_scores[-1].mean())
    again = two_regimes(X, y, sizes, n_repeats=4, lr=bare, random_state=0)
    np.testing.assert_array_equal(found.lr_scores, again.lr_scores)
    assert list(found.frame()["train_size"]) == sizes


@pytest.mark.parametrize(
    ("sizes", "repeats", "message"),
    [
        ([1], 2, "number of classes"),
        ([149], 2, "three quarters"),
        ([0.0], 2, "Fractions"),
        ([], 2, "train_sizes"),
        ([30], 1, "n_repeats"),
    ],
)
def test_bad_sizes_are_refused(sizes, repeats, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        two_regimes(X, y, sizes, n_repeats=repeats)


@pytest.mark.slow
def test_rows_needed_by_logistic_regression_grow_with_the_columns():
    """The paper's simulation: rows until the error is within .01 of the best.

    The claim holds for columns as they are; standardised ones take it away.
    """
    rng = np.random.default_rng(0)
    bare = LogisticRegression(C=np.inf, max_iter=3000, tol=1e-6)
    models = {
        "nb": TiedGaussianNB(),
        "lr": bare,
        "lr, standardised": make_pipeline(StandardScaler(), bare),
    }
    needed = {}
    for d in (100, 400):
        X_test, y_test = gaussian_classes(2000, d, rng)
        best = norm.cdf(-np.sqrt(0.5 + 0.5 * d))  # half the distance of the classes
        for name, model in models.items():
            for n in (10, 20, 40, 80, 160, 320, 640, 1280):
                errors = []
                for _ in range(3):
                    X, y = gaussian_classes(n, d, rng)
                    errors.append(1 - model.fit(X, y).score(X_test, y_test))
                if np.mean(errors) < best + 0.01:
                    break
            needed[name, d] = n
    assert needed["lr", 100] >= 5 * needed["nb", 100]
    assert needed["lr", 400] >= 2 * needed["lr", 100]
    assert needed["nb", 400] <= 2 * needed["nb", 100]
    assert needed["lr, standardised", 400] <= 2 * needed["nb", 400]
