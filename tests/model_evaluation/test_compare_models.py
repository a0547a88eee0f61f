"""The report: what it takes, that it agrees with the single tests, its figures."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from skdiff.model_evaluation import (
    ModelComparison,
    ModelComparisonDisplay,
    adjust_pvalues,
    cochran_q_test,
    compare_models,
    corrected_resampled_ttest,
    friedman_test,
    ftest_5x2cv,
    mcnemar_test,
    nemenyi_test,
    paired_permutation_test,
    pairwise_wilcoxon,
    score_interval,
)

X, Y = load_breast_cancer(return_X_y=True)
MODELS = {
    "bayes": GaussianNB(),
    "stump": DecisionTreeClassifier(max_depth=1, random_state=0),
    "tree": DecisionTreeClassifier(max_depth=3, random_state=0),
}
TABLE = np.random.default_rng(0).normal([0.1, 0.05, 0], 0.05, size=(12, 3))


def test_estimators_get_the_corrected_test_and_holm():
    report = compare_models(MODELS, X, Y, cv=4)
    pairs = [("bayes", "stump"), ("bayes", "tree"), ("stump", "tree")]
    raw = [
        corrected_resampled_ttest(MODELS[a], MODELS[b], X, Y, cv=4) for a, b in pairs
    ]
    frame = report.pairwise_
    assert list(zip(frame.model_a, frame.model_b, strict=True)) == pairs
    np.testing.assert_allclose(frame.pvalue_unadjusted, [r.pvalue for r in raw])
    np.testing.assert_allclose(frame.pvalue, adjust_pvalues(frame.pvalue_unadjusted))
    np.testing.assert_allclose(frame.difference, [r.estimate for r in raw])
    np.testing.assert_allclose(frame[["ci_low", "ci_high"]], [r.ci for r in raw])
    assert np.all(frame.win + frame.tie + frame.loss == 4)
    bare = compare_models(MODELS, X, Y, cv=4, adjust=None).pairwise_
    np.testing.assert_allclose(bare.pvalue, frame.pvalue_unadjusted)
    assert np.all(bare.pvalue <= frame.pvalue)
    assert set(report.summary_.index) == set(MODELS)
    assert report.summary_["mean"].is_monotonic_decreasing
    assert "bayes - tree" in str(report) and isinstance(report, ModelComparison)


def test_other_tests_on_estimators():
    two = {name: MODELS[name] for name in ("bayes", "stump")}
    report = compare_models(two, X, Y, tests="5x2cv_f", random_state=0)
    single = ftest_5x2cv(*two.values(), X, Y, random_state=0)
    np.testing.assert_allclose(tuple(report.tests_.results[0]), tuple(single))
    report = compare_models(two, X, Y, cv=3, tests="bayesian", rope=0.02)
    assert report.pairwise_[["left", "rope", "right"]].sum(axis=1)[0] == pytest.approx(
        1
    )
    assert compare_models(two, X, Y, tests="5x2cv_t", random_state=0).kind == "splits"
    report = compare_models(MODELS, X, Y, cv=3, reference="tree")
    assert report.pairwise_.model_b.tolist() == ["tree", "tree"]
    search = GridSearchCV(MODELS["tree"], {"max_depth": [1, 2]}, cv=2)
    found = compare_models({"search": search, **two}, X, Y, cv=2)
    assert "nested" in found.recommendation_


def test_predictions_of_rows():
    predictions = {n: m.fit(X[::2], Y[::2]).predict(X[1::2]) for n, m in MODELS.items()}
    report = compare_models(predictions, y=Y[1::2])
    single = mcnemar_test(Y[1::2], predictions["bayes"], predictions["stump"])
    assert report.kind == "rows"
    np.testing.assert_allclose(tuple(report.tests_.results[0]), tuple(single))
    overall = cochran_q_test(Y[1::2], *predictions.values())
    np.testing.assert_allclose(tuple(report.omnibus_), tuple(overall))
    bounds = score_interval(overall.details["accuracy"], len(Y[1::2]))
    np.testing.assert_allclose(report.intervals_, np.transpose(bounds))
    exact = compare_models(predictions, y=Y[1::2], tests="permutation")
    theirs = paired_permutation_test(
        Y[1::2], predictions["bayes"], predictions["stump"]
    )
    assert exact.tests_.results[0].pvalue == pytest.approx(theirs.pvalue)


def test_predictions_of_numbers():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(90, 2))
    y = Z @ [1.0, 2.0] + rng.normal(size=90)
    first = LinearRegression().fit(Z[:45], y[:45]).predict(Z[45:])
    second = LinearRegression().fit(Z[:45, :1], y[:45]).predict(Z[45:, :1])
    report = compare_models({"both": first, "one": second}, y=y[45:], random_state=0)
    assert report.omnibus_ is None and report.pairwise_.pvalue[0] < 0.05
    scores = -np.stack([(y[45:] - first) ** 2, (y[45:] - second) ** 2])
    np.testing.assert_allclose(report.means_, scores.mean(axis=1))
    law = stats.norm(scores.mean(axis=1), scores.std(axis=1) / np.sqrt(45))
    np.testing.assert_allclose(report.intervals_, np.transpose(law.interval(0.95)))
    gap = scores[0] - scores[1]
    expected = stats.norm(gap.mean(), gap.std() / np.sqrt(45)).interval(0.95)
    np.testing.assert_allclose(report.tests_.results[0].ci, expected)


def test_scores_of_splits_and_of_data_sets():
    scores = dict(zip("abc", TABLE.T, strict=True))
    report = compare_models(scores, n_train=90, n_test=10)
    single = corrected_resampled_ttest(TABLE[:, 0], TABLE[:, 1], n_train=90, n_test=10)
    np.testing.assert_allclose(tuple(report.tests_.results[0]), tuple(single))
    spread = TABLE.std(axis=0, ddof=1)
    law = stats.t(11, TABLE.mean(axis=0), spread * np.sqrt(1 / 12 + 10 / 90))
    np.testing.assert_allclose(report.intervals_, np.transpose(law.interval(0.95)))
    report = compare_models(scores)
    law = stats.t(11, TABLE.mean(axis=0), spread / np.sqrt(12))
    np.testing.assert_allclose(report.intervals_, np.transpose(law.interval(0.95)))
    assert report.kind == "data sets"
    np.testing.assert_allclose(tuple(report.omnibus_), tuple(friedman_test(TABLE)))
    np.testing.assert_allclose(report.tests_.pvalue, pairwise_wilcoxon(TABLE).pvalue)
    report = compare_models(scores, tests="nemenyi")
    np.testing.assert_allclose(report.tests_.pvalue, nemenyi_test(TABLE).pvalue)
    assert report.summary_.mean_rank.is_monotonic_increasing


def test_estimators_on_several_data_sets():
    data = {
        "cancer": (X, Y),
        "iris": load_iris(return_X_y=True),
        "wine": load_wine(return_X_y=True),
    }
    report = compare_models(MODELS, data, cv=3)
    assert report.scores_.shape == (3, 3) and "too few" in report.recommendation_


def test_equal_models_are_no_evidence():
    report = compare_models({"a": GaussianNB(), "b": GaussianNB()}, X, Y, cv=3)
    frame = report.pairwise_
    assert frame.pvalue[0] == 1.0 and frame.effect[0] == 0 and frame.tie[0] == 3
    assert not frame.isna().any().any()


@pytest.mark.parametrize("test", ["corrected_t", "bayesian"])
def test_a_constant_difference_is_no_evidence(test):
    scores = {"a": np.array([0.8, 0.7, 0.9]), "b": np.array([0.7, 0.6, 0.8])}
    with pytest.warns(UserWarning, match="'a' and 'b' differ by the same amount"):
        report = compare_models(scores, n_train=80, n_test=20, tests=test)
    assert not report.pairwise_.isna().any().any()


def test_one_line_per_model_and_data_set(capsys):
    report = compare_models(MODELS, X, Y, cv=3, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{name}: mean score {mean:.6f}"
        for name, mean in zip(report.names, report.means_, strict=True)
    ]
    compare_models(MODELS, {"one": (X, Y), "two": (X[:300], Y[:300])}, cv=2, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[-1].startswith("tree on two: mean score")
    compare_models(MODELS, X, Y, cv=2)
    assert capsys.readouterr().out == ""


def test_frames_with_numbers_as_names():
    pd = pytest.importorskip("pandas")
    report = compare_models(pd.DataFrame(TABLE), reference=0)
    assert report.reference == "0" and report.pairwise_.model_b.tolist() == ["0", "0"]
    with pytest.raises(ValueError, match="different names"):
        compare_models(pd.DataFrame(TABLE, columns=list("aab")))


@pytest.mark.parametrize("kind", ["auto", "intervals", "differences"])
def test_figures(kind):
    plt = pytest.importorskip("matplotlib.pyplot")
    report = compare_models(MODELS, X, Y, cv=3)
    display = ModelComparisonDisplay.from_report(report).plot(kind=kind)
    assert len(display.bars_) == 3 and display.figure_ is display.ax_.figure
    assert display.frame().equals(report.pairwise_)
    with pytest.raises(ValueError, match="several data sets"):
        display.plot(kind="critical_difference")
    with pytest.raises(ValueError, match="kind must be"):
        display.plot(kind="box")
    plt.close("all")


def test_the_critical_difference_joins_what_is_not_significant():
    plt = pytest.importorskip("matplotlib.pyplot")
    report = compare_models(dict(zip("abc", TABLE.T, strict=True)), tests="nemenyi")
    display = ModelComparisonDisplay(report).plot()
    ranks = np.sort(report.details["mean_ranks"])
    joined = {tuple(np.round(bar.get_xdata(), 6)) for bar in display.bars_}
    for p, (i, j) in zip(report.tests_.pvalue, report.tests_.pairs, strict=True):
        pair = np.sort(report.details["mean_ranks"][[i, j]])
        inside = any(a - 1e-6 <= pair[0] and pair[1] <= b + 1e-6 for a, b in joined)
        assert inside == (p > 0.05)
    assert ranks[0] >= 1
    plt.close("all")


@pytest.mark.parametrize(
    ("args", "how", "message"),
    [
        (({"a": GaussianNB()}, X, Y), {}, "two models"),
        ((MODELS, X, Y), {"tests": "t"}, "tests"),
        ((MODELS, X, Y), {"tests": "mcnemar"}, "does not apply"),
        ((MODELS, X, Y), {"tests": "5x2cv_f", "cv": 3}, "leave out cv"),
        ((MODELS, X, Y), {"reference": "forest"}, "reference"),
        ((MODELS, X, Y), {"adjust": "tukey"}, "adjust"),
        ((MODELS, X, Y), {"n_train": 3}, "those of the splits"),
        ((MODELS,), {}, "X and y must be given"),
        ((MODELS, {"a": X}), {}, "pair"),
        (({"a": Y, "b": Y}, X, Y), {}, "X is for estimators"),
        (({"a": [1.0, 2], "b": [1.0, np.nan]},), {}, "NaN"),
        (({"a": [1.0, 2], "b": [1.0, 2]},), {"n_train": 3}, "n_test"),
        (({"a": [1.0, 2], "b": ["x", "y"]},), {}, "list of numbers"),
        (({"a": [1.0, 2], "b": [1.0]},), {}, "different numbers"),
        (({1: [1.0, 2], "1": [1.0, 2]},), {}, "different names"),
        (({"a": TABLE[:, :2], "b": TABLE[:, :2]},), {"y": TABLE[:, 0]}, "per row"),
        (
            ({"a": TABLE[:, 0], "b": TABLE[:, 1]},),
            {"tests": "5x2cv_f"},
            "does not apply",
        ),
    ],
)
def test_bad_input(args, how, message):
    with pytest.raises(ValueError, match=message):
        compare_models(*args, **how)


def test_a_list_of_models_is_refused():
    with pytest.raises(TypeError, match="dict or DataFrame"):
        compare_models(list(MODELS.values()), X, Y)
