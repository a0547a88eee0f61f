"""CaPE: limits, stages, sources of targets, starts, the paper's acceptance."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import scale

from skdiff.calibration import CalibratedProbabilityClassifier
from skdiff.metrics import mse_p
from skdiff.neural_network import AnyLossClassifier
from tests.calibration._risk import SCENARIOS, risk_table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def model(**settings):
    defaults = {
        "hidden_layer_sizes": (16,),
        "learning_rate_init": 0.01,
        "max_iter": 60,
        "finetune_iter": 6,
        "final_platt": False,
        "random_state": 0,
    }
    return CalibratedProbabilityClassifier(**(defaults | settings))


@pytest.fixture(scope="module")
def table():
    X, y, p = risk_table("uniform", 500, 0)
    return X[:, :6], y, p


def test_zero_finetuning_is_the_early_stopped_network(table):
    X, y, _ = table
    early = model(finetune_iter=0).fit(X, y)
    assert early.best_epoch_ == -1 and early.empirical_targets_ is None
    assert set(early.stage_history_["kind"]) == {"early"}
    # the weights kept are those of the best held-out cross-entropy
    held = np.setdiff1d(np.arange(len(X)), early.train_indices_)
    kept = log_loss(y[held], early.predict_proba(X[held]))
    assert kept == pytest.approx(early.stage_history_["validation_loss"].min())
    # and a second stage that does not help leaves them
    if (spoilt := model(finetune_learning_rate=10.0).fit(X, y)).best_epoch_ == -1:
        np.testing.assert_array_equal(spoilt.predict_proba(X), early.predict_proba(X))
    assert spoilt.best_epoch_ == -1


def test_history_and_stages(table):
    X, y, _ = table
    fitted = model(discrimination_epochs=2).fit(X, y)
    history = fitted.stage_history_
    kinds = history["kind"]
    assert {len(column) for column in history.values()} == {fitted.n_iter_}
    assert list(kinds[-6:]) == ["cape", "discrimination", "discrimination"] * 2
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(fitted.validation_scores_)
    np.testing.assert_allclose(
        history["validation_loss"], -np.array(fitted.validation_scores_)
    )
    assert fitted.best_epoch_ == -1 or fitted.best_epoch_ == int(
        np.argmin(history["validation_loss"][-6:])
    )
    assert len(fitted.empirical_targets_) == len(fitted.train_indices_) == 400


# --- verification 3 -----------------------------------------------------------------


def test_one_bin_teaches_the_base_rate(table):
    X, y, _ = table
    settings = {"target_source": "train", "n_bins": 1, "discrimination_epochs": 0}
    fitted = model(**settings).fit(X, y)
    base = y[fitted.train_indices_].mean()
    np.testing.assert_allclose(fitted.empirical_targets_, base, atol=1e-12)


def test_one_bin_alone_converges_to_the_base_rate(table, monkeypatch):
    X, y, _ = table
    # keep the last weights, not the best
    monkeypatch.setattr("skdiff._nn._fit.Best.restore", lambda self: None)
    fitted = model(
        target_source="train",
        n_bins=1,
        discrimination_epochs=0,
        finetune_iter=400,
        finetune_learning_rate=0.01,
    ).fit(X, y)
    base = y[fitted.train_indices_].mean()
    p = fitted.predict_proba(X[fitted.train_indices_])[:, 1]
    assert np.abs(p - base).max() < 0.02


# --- verification 1 on a fitted model -----------------------------------------------


def test_bin_targets_of_the_network_keep_the_mean(table):
    X, y, _ = table
    fitted = model(target_source="train", finetune_iter=1).fit(X, y)
    rows = fitted.train_indices_
    assert fitted.empirical_targets_.mean() == pytest.approx(y[rows].mean(), abs=1e-12)
    # a single epoch: the targets are of the early-stopped network's forecasts
    early = model(finetune_iter=0).fit(X, y).predict_proba(X[rows])[:, 1]
    fractions, _ = calibration_curve(y[rows], early, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(
        fitted.empirical_targets_[np.argsort(early)], np.repeat(fractions, 40)
    )


# --- sources of targets, classes, weights -------------------------------------------


@pytest.mark.parametrize("target_map", ["platt", "bin", "isotonic"])
@pytest.mark.parametrize("source", ["validation", "cross_fit"])
def test_targets_of_other_rows(table, source, target_map):
    X, y, p = table
    fitted = model(target_source=source, target_map=target_map, n_folds=3).fit(X, y)
    targets = fitted.empirical_targets_
    assert ((targets > 0) & (targets < 1)).all()
    truth = p[fitted.train_indices_]
    assert np.corrcoef(targets, truth)[0, 1] > 0.5
    assert mse_p(truth, targets) < mse_p(truth, np.full_like(truth, y.mean()))


@pytest.mark.parametrize("multiclass", ["one_vs_rest", "top_label"])
@pytest.mark.parametrize("source", ["validation", "train", "cross_fit"])
def test_three_classes(multiclass, source):
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    fitted = model(
        multiclass=multiclass, target_source=source, final_platt=True, n_folds=3
    ).fit(scale(X), names)
    assert fitted.empirical_targets_.shape == (120, 3)
    np.testing.assert_allclose(fitted.empirical_targets_.sum(axis=1), 1)
    np.testing.assert_allclose(fitted.predict_proba(scale(X)).sum(axis=1), 1)
    assert fitted.score(scale(X), names) > 0.9
    assert fitted.platt_.shape == (3, 2)
    true, predicted = fitted.reliability_curve(scale(X), names, n_bins=4)
    assert len(true) == len(predicted) <= 4


def test_weights_of_one_change_nothing_and_zero_is_absence(table):
    X, y, _ = table
    plain = model().fit(X, y)
    ones = model().fit(X, y, sample_weight=np.ones(len(y)))
    np.testing.assert_array_equal(plain.predict_proba(X), ones.predict_proba(X))
    weight = (np.arange(len(y)) >= 100).astype(float)
    absent = model().fit(X[100:], y[100:])
    zero = model().fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(absent.predict_proba(X), zero.predict_proba(X))


def test_weights_enter_targets_and_choice(table):
    X, y, _ = table
    weight = np.where(y == 1, 3.0, 1.0)
    plain, heavy = model().fit(X, y), model().fit(X, y, sample_weight=weight)
    assert heavy.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()
    assert heavy.empirical_targets_.mean() > plain.empirical_targets_.mean() + 0.1


def test_final_platt_calibrates_the_held_out_rows(table):
    X, y, _ = table
    plain = model().fit(X, y)
    platt = model(final_platt=True).fit(X, y)
    slope, offset = platt.platt_[0]
    np.testing.assert_allclose(
        platt.decision_function(X), slope * plain.decision_function(X) + offset
    )
    again = pickle.loads(pickle.dumps(platt))
    np.testing.assert_array_equal(again.predict_proba(X), platt.predict_proba(X))


# --- a network to start from --------------------------------------------------------


@pytest.fixture(scope="module")
def start(table):
    X, y, _ = table
    network = AnyLossClassifier(
        bce_weight=1.0, warmup_iter=0, hidden_layer_sizes=(8,), random_state=0
    )
    return network.fit(X, y)


def test_a_fitted_network_is_taken_as_it_is(table, start, tmp_path):
    X, y, _ = table
    for given in (start, FrozenEstimator(start)):
        none = model(estimator=given, finetune_iter=0).fit(X, y)
        np.testing.assert_allclose(none.predict_proba(X), start.predict_proba(X))
    tuned = model(estimator=FrozenEstimator(start), finetune_iter=20).fit(X, y)
    history = tuned.stage_history_
    assert list(history["kind"][:2]) == ["early", "cape"]
    kept = history["validation_loss"].min()
    held = np.setdiff1d(np.arange(len(X)), tuned.train_indices_)
    assert log_loss(y[held], tuned.predict_proba(X[held])) == pytest.approx(kept)
    tuned.save(tmp_path / "model.npz")
    again = CalibratedProbabilityClassifier.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict_proba(X), tuned.predict_proba(X))


def test_an_unfitted_network_is_fitted_on_the_training_rows(table):
    X, y, _ = table
    network = AnyLossClassifier(
        bce_weight=1.0, warmup_iter=0, hidden_layer_sizes=(8,), max_iter=100
    )
    fitted = model(estimator=network, target_source="cross_fit", n_folds=3).fit(X, y)
    assert not hasattr(network, "n_iter_")
    assert fitted.score(X, y) > 0.65
    assert np.isfinite(cross_val_score(fitted, X, y, cv=2, error_score="raise")).all()


def test_networks_that_do_not_fit(table, start):
    X, y, _ = table
    with pytest.raises(ValueError, match="fitted on 6"):
        model(estimator=start).fit(X[:, :4], y)
    with pytest.raises(ValueError, match="labels"):
        model(estimator=start).fit(X, np.array(["no", "yes"])[y])
    with pytest.raises(NotFittedError):
        model(estimator=FrozenEstimator(AnyLossClassifier())).fit(X, y)
    weighted = AnyLossClassifier(class_weight="balanced", max_iter=120)
    with pytest.warns(UserWarning, match="class_weight"):
        model(estimator=weighted).fit(X, y)
    constant = AnyLossClassifier().fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match="one class"):
        model(estimator=constant).fit(X, y)


# --- training options ---------------------------------------------------------------


def test_a_vanishing_radius_is_the_plain_fit(table):
    X, y, _ = table
    plain, tiny = model().fit(X, y), model(sam_rho=1e-9).fit(X, y)
    wide = model(sam_rho=0.5).fit(X, y)
    np.testing.assert_allclose(
        tiny.predict_proba(X), plain.predict_proba(X), rtol=1e-5, atol=1e-6
    )
    assert np.abs(wide.predict_proba(X) - plain.predict_proba(X)).max() > 0.01


def test_the_second_stage_draws_decoupled_probabilities_back(table):
    X, y, p = table
    settings = {"spectral_decoupling": 3.0, "alpha": 0.0}
    plain = model(finetune_iter=0).fit(X, y).decision_function(X)
    early = model(finetune_iter=0, **settings).fit(X, y)
    assert early.decision_function(X).std() < 0.5 * plain.std()
    late = model(finetune_iter=100, finetune_learning_rate=0.003, **settings).fit(X, y)
    before, after = (mse_p(p, m.predict_proba(X)[:, 1]) for m in (early, late))
    assert after < 0.7 * before
    # labels without the penalty: a plain cross-entropy, as of the rows themselves
    assert late.stage_history_["train_loss"][-1] < early.loss_
    aims = model(finetune_iter=0, spectral_targets=[0.0, 2.0], **settings).fit(X, y)
    assert aims.predict_proba(X)[:, 1].mean() > 0.7
    with pytest.raises(ValueError, match="spectral_targets must hold"):
        model(spectral_targets=[1.0], **settings).fit(X, y)


def contrary(n, seed):
    """The first feature points the wrong way in a tenth of the rows."""
    rng = np.random.default_rng(seed)
    y, groups = rng.integers(2, size=n), (rng.random(n) < 0.1).astype(int)
    side = 2 * y - 1
    first = np.where(groups == 0, side, -side) * 2 + rng.normal(size=n)
    return np.column_stack([first, side + rng.normal(size=n)]), y, groups


def test_the_worse_group_gains_by_group_dro():
    X, y, groups = contrary(800, 0)
    settings = {"hidden_layer_sizes": (), "alpha": 0.1, "learning_rate_init": 0.05}
    settings["batch_size"] = 800  # batches of groups are stratified
    dro = {"group_dro": True, "group_step_size": 0.1}
    names = np.array(["most", "few"])[groups]
    plain = model(**settings).fit(X, y, groups=names)
    robust = model(**settings, **dro).fit(X, y, groups=names)
    np.testing.assert_array_equal(robust.groups_, ["few", "most"])
    assert plain.group_weights_ is None and robust.group_weights_.sum() == (
        pytest.approx(1)
    )
    assert robust.worst_group_score_ > plain.worst_group_score_ + 0.1
    assert robust.group_losses_.max() < plain.group_losses_.max()
    # rows of weight zero are absent, and so are their groups
    weight = (np.arange(len(y)) >= 100).astype(float)
    zero = model(**settings, **dro).fit(X, y, sample_weight=weight, groups=names)
    absent = model(**settings, **dro).fit(X[100:], y[100:], groups=names[100:])
    np.testing.assert_array_equal(zero.predict_proba(X), absent.predict_proba(X))
    one = model(**settings, **dro).fit(X, y, groups=np.zeros(len(y)))
    np.testing.assert_allclose(one.predict_proba(X), plain.predict_proba(X), rtol=1e-6)
    assert model(**settings).fit(X, y).groups_ is None


def test_a_group_that_is_held_out_has_no_say():
    X, y, groups = contrary(300, 1)
    dro = model(group_dro=True, group_adjustment=1.0).fit(X, y, groups=groups)
    held = np.setdiff1d(np.arange(len(X)), dro.train_indices_)
    groups[held[0]] = 2
    again = model(group_dro=True, group_adjustment=1.0).fit(X, y, groups=groups)
    assert np.isnan(again.group_losses_[2])
    assert np.isfinite(again.group_losses_[:2]).all()
    assert again.group_weights_.shape == (3,)
    assert np.isfinite(again.group_weights_).all()
    assert np.isfinite(again.predict_proba(X)).all()


def test_groups_reach_networks_that_are_fitted_inside():
    X, y, groups = contrary(300, 2)
    network = AnyLossClassifier(
        bce_weight=1.0, warmup_iter=0, max_iter=60, group_dro=True, random_state=0
    )
    given = model(estimator=network, target_source="cross_fit", n_folds=3)
    assert np.isfinite(given.fit(X, y, groups=groups).empirical_targets_).all()
    own = model(group_dro=True, target_source="cross_fit", n_folds=3)
    assert np.isfinite(own.fit(X, y, groups=groups).empirical_targets_).all()
    with pytest.raises(ValueError, match="requires groups"):
        given.fit(X, y)
    with pytest.raises(ValueError, match="requires groups"):
        own.fit(X, y)
    with pytest.raises(ValueError, match="partial_fit has not"):
        own.partial_fit(X, y)
    for settings in ({"group_dro": True}, {"spectral_decoupling": 0.1}):
        with pytest.raises(ValueError, match="set it on the estimator"):
            model(estimator=network, **settings).fit(X, y, groups=groups)


# --- faults and edges ---------------------------------------------------------------


def test_few_rows_are_trained_on_all(table):
    X, y, _ = table
    fitted = model().fit(X[:30], y[:30])
    assert fitted.empirical_targets_ is None and fitted.validation_scores_ is None
    assert len(fitted.train_indices_) == 30


def test_one_class_and_a_rare_one(table):
    X, _, _ = table
    constant = model().fit(X, np.full(len(X), "a"))
    assert (constant.predict(X) == "a").all() and constant.best_epoch_ == -1
    rare = np.zeros(len(X), int)
    rare[3] = 1
    for source in ("validation", "train", "cross_fit"):
        fitted = model(target_source=source, final_platt=True).fit(X, rare)
        assert np.isfinite(fitted.predict_proba(X)).all()


def test_a_diverging_second_stage_keeps_the_first(table, monkeypatch):
    X, y, _ = table
    early = model(finetune_iter=0).fit(X, y)

    def broken(proba, *_):
        return np.full_like(proba, np.nan)

    monkeypatch.setattr(
        CalibratedProbabilityClassifier, "_retarget", lambda self, held: broken
    )
    with pytest.warns(ConvergenceWarning, match="finetune_learning_rate"):
        fitted = model().fit(X, y)
    assert fitted.stopped_ == "diverged"
    np.testing.assert_array_equal(fitted.predict_proba(X), early.predict_proba(X))


def test_time_limit_and_warm_start(table):
    X, y, _ = table
    hurried = model(time_limit=1e-9).fit(X, y)
    assert hurried.stopped_ == "time" and hurried.n_iter_ == 1
    warm = model(warm_start=True).fit(X, y)
    first = warm.n_iter_
    warm.fit(X, y)
    assert warm.n_iter_ > first
    part = model().partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert part.n_iter_ == 2 and part.empirical_targets_ is None


def test_parameters_of_both_stages_are_searched(table):
    X, y, _ = table
    grid = {"target_source": ["train", "validation"], "finetune_iter": [0, 3]}
    search = GridSearchCV(model(max_iter=20), grid, cv=2, scoring="neg_log_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(search.fit(X, y).best_score_)


# --- verification 6: the acceptance -------------------------------------------------


def errors(scenario, seed, *, overfit=True):
    """Error to the truth of the early-stopped network, CaPE, and an overfit network."""
    X, y, _ = risk_table(scenario, 1875, seed)
    X_new, _, p_new = risk_table(scenario, 4000, 10_000 + seed)
    shared = {"hidden_layer_sizes": (128, 128), "random_state": seed}
    shared |= {"learning_rate_init": 1e-3, "max_iter": 300}
    networks = [model(**shared, finetune_iter=0), model(**shared, finetune_iter=50)]
    if overfit:
        settings = shared | {"learning_rate_init": 3e-3, "n_iter_no_change": 300}
        networks.append(
            AnyLossClassifier(bce_weight=1.0, warmup_iter=0, tol=0, alpha=0, **settings)
        )
    return [
        mse_p(p_new, network.fit(X, y).predict_proba(X_new)[:, 1])
        for network in networks
    ]


def test_cape_is_no_worse_than_early_stopping():
    early, cape = errors("uniform", 0, overfit=False)
    assert cape <= 1.03 * early


@pytest.mark.slow
def test_acceptance_over_seeds_and_scenarios():
    found = {}
    for scenario in SCENARIOS:
        found[scenario] = np.mean([errors(scenario, s) for s in range(5)], axis=0)
        early, cape, _ = found[scenario]
        assert cape <= 1.03 * early, found
    early, cape, overfit = np.mean(list(found.values()), axis=0)
    assert cape <= 1.03 * early, found
    assert cape <= overfit / 3, found
