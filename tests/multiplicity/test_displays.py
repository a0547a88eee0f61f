"""Pictures show the numbers they are made of."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skdiff.multiplicity import (
    CoefficientRangeDisplay,
    RashomonClassifier,
    RashomonRangeDisplay,
    RashomonRegressor,
    ToleranceProfileDisplay,
)

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def audited():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    return RashomonClassifier(pipeline, epsilon=0.05).fit(X, y), X, y


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("n", [30, 569, 5690])
def test_ranges_read_with_few_and_with_many_rows(audited, n):
    model, X, _ = audited
    X = X.iloc[np.arange(n) % 569]
    display = RashomonRangeDisplay.from_estimator(model, X).plot()
    conflicts = model.conflicts(X).sum()
    legend = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert f"decision arbitrary ({conflicts} of {n})" in legend
    np.testing.assert_array_equal(
        display.line_.get_ydata(), np.sort(model.predict_proba(X)[:, 1])
    )
    # many rows are summed up: the file of the picture does not grow with them
    drawn = sum(len(path.vertices) for c in display.ax_.collections
                for path in c.get_paths())  # fmt: skip
    assert drawn < 6 * 2000
    display.figure_.canvas.draw()


def test_summed_up_bands_hold_every_row():
    rng = np.random.default_rng(0)
    middle = np.sort(rng.uniform(size=9000))
    low, high = middle - rng.uniform(size=9000), middle + rng.uniform(size=9000)
    display = RashomonRangeDisplay(middle, low, high, threshold=0.5).plot()
    widest = display.ax_.collections[0].get_paths()[0].vertices[:, 1]
    assert widest.min() == low.min() and widest.max() == high.max()
    strip = display.ax_.child_axes[0]
    assert strip.get_ylim() == (0, 1)


def test_regressions_have_no_decisions_to_show():
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor().fit(X, y)
    for n in (40, 442):
        display = RashomonRangeDisplay.from_estimator(model, X[:n]).plot()
        legend = [t.get_text() for t in display.ax_.get_legend().get_texts()]
        assert sorted(legend) == ["baseline", "range"]
    profile = ToleranceProfileDisplay.from_estimator(model, X, [0.01, 0.04]).plot()
    assert profile.conflicts is None
    assert "conflict_ratio" not in profile.frame()
    np.testing.assert_allclose(*(profile.widths * [[2], [1]]))


def test_profiles_are_the_reports_of_each_tolerance(audited):
    model, X, _ = audited
    groups = np.where(X["mean radius"] > 14, "large", "small")
    display = ToleranceProfileDisplay.from_estimator(
        model, X, [0.1, 0.02], groups=groups
    )
    table = display.plot().frame().set_index(["epsilon", "group"])
    report = model.report(X, groups=groups, epsilons=[0.02, 0.1])
    for _, row in report[report["group"] != "all"].iterrows():
        line = table.loc[(row["epsilon"], row["group"])]
        for name in ("mean_width", "median_width", "conflict_ratio"):
            assert line[name] == pytest.approx(row[name], rel=1e-9)
    assert len(display.lines_) == 2
    np.testing.assert_allclose(
        display.lines_[0].get_ydata(), table.xs("large", level="group")["mean_width"]
    )
    plain = ToleranceProfileDisplay.from_estimator(model, X.iloc[:20])
    assert len(plain.epsilons) == 15 and plain.chosen == 0.05
    many = ToleranceProfileDisplay.from_estimator(
        model, X, [0.1, 0.2], groups=np.arange(569) % 5
    ).plot()
    assert len({line.get_color() for line in many.lines_}) == 5
    with pytest.raises(ValueError, match="groups has 3 entries"):
        ToleranceProfileDisplay.from_estimator(model, X, groups=["a"] * 3)


def test_profiles_of_confidence_levels_stay_below_one():
    X, y = load_diabetes(return_X_y=True)
    model = RashomonRegressor(epsilon=0.3, epsilon_type="lr").fit(X, y)
    display = ToleranceProfileDisplay.from_estimator(model, X[:5])
    assert display.epsilons.max() < 1


def test_coefficients_are_in_the_units_asked_for(audited):
    model, X, _ = audited
    table = CoefficientRangeDisplay.from_estimator(model).plot().frame()
    assert table["feature"].tolist() == list(X.columns)
    bounds = model.coef_range()[:30]
    np.testing.assert_allclose(table[["low", "high"]], bounds, rtol=1e-9)
    certain = (bounds > 0).all(axis=1) | (bounds < 0).all(axis=1)
    np.testing.assert_array_equal(table["sign_is_certain"], certain)
    X, y = load_diabetes(return_X_y=True)
    ridge = RashomonRegressor().fit(X, y)
    plain = CoefficientRangeDisplay.from_estimator(
        ridge, standardize=False, max_features=4
    ).plot()
    np.testing.assert_allclose(plain.coef, ridge.coef_)
    scaled = CoefficientRangeDisplay.from_estimator(ridge)
    np.testing.assert_allclose(scaled.coef, ridge.coef_ * X.std(axis=0), rtol=1e-6)
    shown = [t.get_text() for t in plain.ax_.get_yticklabels()]
    order = np.argsort(-np.abs(ridge.coef_))[:4]
    assert shown == [f"x{k}" for k in order]
    assert "4 largest of 10" in plain.ax_.get_xlabel()


def test_columns_of_a_pipeline_have_names_where_it_gives_them(audited):
    _, X, y = audited
    X = X.iloc[:, :3]
    named = make_column_transformer((StandardScaler(), list(X.columns)))
    for steps, want in ((named, f"standardscaler__{X.columns[0]}"),
                        (FunctionTransformer(np.sqrt), "x0")):  # fmt: skip
        model = RashomonClassifier(make_pipeline(steps, LogisticRegression()))
        display = CoefficientRangeDisplay.from_estimator(model.fit(X, y))
        assert display.names[0] == want
