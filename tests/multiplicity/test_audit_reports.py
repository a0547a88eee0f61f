"""Group differences, leaves of ensembles, reports and suggested tolerances."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skdiff.multiplicity import (
    ModelListMultiplicity,
    RashomonClassifier,
    RashomonRegressor,
    leaf_features,
    leaf_multiplicity,
    multiplicity_report,
)

RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:, :8]
    return X, y, (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)


@pytest.fixture(scope="module")
def audit(cancer):
    return RashomonClassifier(epsilon=0.05, random_state=0).fit(*cancer[:2])


def difference(model, X, y, groups, measure):
    kept = np.ones(len(X), dtype=bool)
    if measure == "mean_prediction":
        response = model.predict_proba(X)[:, 1]
    else:
        response = model.predict(X)
    if measure in RATES[1:]:
        kept = y == (measure == RATES[1])
    means = [response[kept & (groups == g)].mean() for g in np.unique(groups)]
    return max(means) - min(means)


@pytest.mark.parametrize("measure", [*RATES, "mean_prediction"])
def test_group_differences_are_attained_and_certified(cancer, audit, measure):
    X, y, groups = cancer
    found = audit.fairness_range(X, y, groups=groups, measure=measure)
    for model, value in ((found.low_model, found.low), (found.high_model, found.high)):
        assert difference(model, X, y, groups, measure) == pytest.approx(value)
    inside = difference(audit, X, y, groups, measure)
    assert 0 <= found.outer_low <= found.low <= inside + 1e-12
    assert inside - 1e-12 <= found.high <= found.outer_high + 1e-12
    # no drawn model of the set is outside the certified bounds
    coef, intercept, _ = audit.sample(200)
    F = X @ coef.T + intercept
    p = 1 / (1 + np.exp(-F)) if measure == "mean_prediction" else F > 0
    kept = y == (measure == RATES[1]) if measure in RATES[1:] else np.full(len(y), True)
    means = np.array([p[kept & (groups == g)].mean(axis=0) for g in np.unique(groups)])
    drawn = means.max(axis=0) - means.min(axis=0)
    assert drawn.min() >= found.outer_low - 1e-12
    assert drawn.max() <= found.outer_high + 1e-12
    if measure == "mean_prediction":  # smooth: the search is no worse than the draws
        assert found.low <= drawn.min() + 1e-6 and found.high >= drawn.max() - 1e-6


@pytest.mark.parametrize("column", [1, 2])
def test_mean_predictions_of_linear_regressors_are_exact(column):
    X, y = load_diabetes(return_X_y=True)
    groups = X[:, column] > 0
    audit = RashomonRegressor(Ridge(alpha=0.1), epsilon=0.05).fit(X, y)
    found = audit.fairness_range(X, groups=groups, measure="mean_prediction")
    v = X[groups].mean(axis=0) - X[~groups].mean(axis=0)
    low, high = audit.functional_range(v[None])[0]
    want = 0.0 if low < 0 < high else min(abs(low), abs(high))
    assert found.low == pytest.approx(want, abs=1e-8)
    assert found.outer_low == pytest.approx(want, abs=1e-8)
    assert found.high == pytest.approx(max(abs(low), abs(high)), rel=1e-8)
    assert found.outer_high == pytest.approx(found.high, rel=1e-8)


def test_bad_group_differences_are_refused(cancer, audit):
    X, y, groups = cancer
    with pytest.raises(ValueError, match="measure must be one of"):
        audit.fairness_range(X, y, groups=groups, measure="odds")
    with pytest.raises(ValueError, match="needs y"):
        audit.fairness_range(X, groups=groups, measure=RATES[1])
    with pytest.raises(ValueError, match="at least two groups"):
        audit.fairness_range(X, groups=np.zeros(len(X)))
    with pytest.raises(ValueError, match="groups has 3 entries"):
        audit.fairness_range(X, groups=groups[:3])
    with pytest.raises(ValueError, match="have no row"):
        audit.fairness_range(X, y, groups=y, measure=RATES[1])
    regression = RashomonRegressor().fit(X, y.astype(float))
    with pytest.raises(ValueError, match="is for classifiers"):
        regression.fairness_range(X, y, groups=groups, measure=RATES[0])


ENSEMBLES = [
    RandomForestClassifier(8, max_depth=3, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    DecisionTreeClassifier(max_depth=3, random_state=0),
]


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda e: type(e).__name__)
def test_an_ensemble_is_linear_in_its_leaves(cancer, ensemble):
    X, y, _ = cancer
    ensemble.fit(X, y)
    L = leaf_features(ensemble, X)
    n_trees = L.sum(axis=1)
    assert L.format == "csr" and (n_trees == n_trees[0]).all()
    if hasattr(ensemble, "decision_function"):
        output = ensemble.decision_function(X)
    else:
        output = ensemble.predict_proba(X)[:, 1]
    w = np.linalg.lstsq(L.toarray(), output - output.mean(), rcond=None)[0]
    np.testing.assert_allclose(L @ w, output - output.mean(), atol=1e-5)
    audit = leaf_multiplicity(ensemble, X, y, epsilon=0.05)
    bounds = audit.predict_proba_range(X)
    p = audit.predict_proba(X)[:, 1]
    assert ((bounds[:, 0] <= p) & (p <= bounds[:, 1])).all()
    by_hand = RashomonClassifier(LogisticRegression(max_iter=1000), epsilon=0.05)
    by_hand.fit(L.toarray(), y)
    np.testing.assert_allclose(by_hand.predict_proba_range(L), bounds, atol=1e-6)


def test_leaves_with_gaps_categories_and_many_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X[:, 0] = rng.integers(0, 5, 600)
    X[rng.random((600, 4)) < 0.1] = np.nan
    y = np.nan_to_num(X[:, 1]) + (X[:, 0] == 2) + 0.1 * rng.normal(size=600)
    booster = HistGradientBoostingRegressor(
        max_iter=150, max_leaf_nodes=25, categorical_features=[0]
    ).fit(X, y)
    L = leaf_features(booster, X)
    assert L.shape[1] > 2000
    audit = leaf_multiplicity(booster, X, y, epsilon=0.05, alpha=0.01)
    assert audit.hessian_ is None  # never made dense
    low, high = audit.predict_range(X[:5]).T
    assert (low < high).all()
    trees = ExtraTreesRegressor(4, max_depth=3, random_state=0).fit(X[:, 1:], y)
    assert leaf_multiplicity(trees, X[:, 1:], y).predict(X[:2, 1:]).shape == (2,)
    with pytest.raises(ValueError, match="ensemble must be"):
        leaf_features(LogisticRegression().fit(X[:, :1] > 0, y > 0), X[:, :1] > 0)
    with pytest.raises(ValueError, match="alpha must be"):
        leaf_multiplicity(booster, X, y, alpha=0.0)


def test_reports_can_be_filed(cancer, audit, tmp_path):
    X, y, groups = cancer
    report = audit.report(X, y, groups=groups)
    text = report.to_markdown()
    assert "LogisticRegression" in text and "0.05 (relative, objective)" in text
    assert text.count("\n| 0.05 | ") == 4  # one line per group and one for all
    page = report.to_html()
    assert "<table" in page and "conflict_ratio" in page
    report.to_html(tmp_path / "audit.html")
    assert (tmp_path / "audit.html").read_text() == page
    again = pickle.loads(pickle.dumps(report))
    assert again.to_markdown() == text
    assert report[["n"]].sum().item() == 2 * len(X)


@pytest.mark.parametrize("estimator", [LogisticRegression(), RidgeClassifier()])
def test_reports_of_three_classes(estimator):
    X, y = load_iris(return_X_y=True)
    audit = RashomonClassifier(estimator).fit(X, y)
    groups = X[:, 0] > 6
    report = audit.report(X, groups=groups, epsilons=[0.01, 0.1])
    assert len(report) == 6
    columns = audit.transform(X).reshape(len(X), 3, 4)
    assert report["mean_width"][0] == pytest.approx(columns[..., 3].max(axis=1).mean())
    assert report["conflict_ratio"][0] == pytest.approx(audit.conflicts(X).mean())
    assert report["mean_width"][3] > report["mean_width"][0]
    if isinstance(estimator, LogisticRegression):
        loss = audit.report(X, y)["loss"][0]
        p = audit.predict_proba(X)[np.arange(len(y)), y]
        assert loss == pytest.approx(-np.log(p).mean())


def test_a_report_in_one_call_takes_the_audits_parameters(cancer):
    X, y, _ = cancer
    settings = {
        "epsilon": 0.05,
        "epsilon_type": "lr",
        "level": "loss",
        "threshold": 0.3,
    }
    got = multiplicity_report(LogisticRegression(), X, y, **settings)
    want = RashomonClassifier(**settings).fit(X, y).report(X, y)
    assert got.equals(want)
    with pytest.raises(ValueError, match="for classifiers"):
        multiplicity_report(Ridge(), X, y, threshold=0.3)


def test_lists_of_models_report_in_the_same_words(cancer):
    X, y, groups = cancer
    models = [LogisticRegression(C=C).fit(X, y) for C in (0.01, 0.1, 1.0)]
    seen = ModelListMultiplicity.from_models(models, X, y)
    report = seen.report(y, groups=groups)
    one = RashomonClassifier().fit(X, y).report(X, y, groups=groups)
    assert report.columns.tolist() == one.columns.tolist()[1:]
    assert report["conflict_ratio"][0] == seen.conflicts().mean()
    assert report["ambiguity_0.1"][0] == seen.ambiguity(0.1)


def test_suggested_tolerances_are_those_of_their_kind(cancer):
    X, y, _ = cancer
    audit = RashomonClassifier(random_state=0).fit(X, y)
    table = audit.suggest_epsilon().set_index("rule")
    for kind, epsilon in (("cv", 1.0), ("lr", 0.05), ("profile", 0.05)):
        other = RashomonClassifier(epsilon=epsilon, epsilon_type=kind, random_state=0)
        want = other.fit(X, y).epsilon_
        assert table["absolute"][kind] == pytest.approx(want)
    assert table["relative"]["fitted"] == pytest.approx(0.01)
    bare = RashomonClassifier(RidgeClassifier()).fit(X, y).suggest_epsilon()
    assert "cv" in bare["rule"].tolist()
