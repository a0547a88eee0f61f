"""Selectors around the models and tables that users bring."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler

from skdiff.conformal import (
    ConformalSelectionDisplay,
    ConformalSelector,
    CrossFitConformalSelector,
    OptimizedConformalSelector,
    e_benjamini_hochberg,
)

KINDS = [ConformalSelector, OptimizedConformalSelector, CrossFitConformalSelector]
every_kind = pytest.mark.parametrize("kind", KINDS)
few_rows = pytest.mark.filterwarnings("ignore:.*the best rank there is")


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


def around(kind, estimator, **options):
    """A selector of a kind around one estimator."""
    options = {"threshold": 150, "fdr_level": 0.3, "random_state": 0, **options}
    if kind is OptimizedConformalSelector:
        return kind([estimator, clone(estimator)], **options)
    if kind is CrossFitConformalSelector:
        options["cv"] = 3
    return kind(estimator, **options)


def finds(selector, X, y, least=0.55):
    """Whether a selector that is fitted on 300 rows finds discoveries."""
    selected = selector.fit(X[:300], y[:300]).select(X[300:])
    return selected.any() and (y[300:][selected] > 150).mean() > least


# --- tables ---------------------------------------------------------------------------


def tables(X):
    pd = pytest.importorskip("pandas")
    kind = np.where(X[:, 1] > 0, "f", "m")
    frame = pd.DataFrame(X[:, 2:9], columns=list("abcdefg"))
    yield frame.assign(kind=pd.Categorical(kind, categories=["f", "m", "x"]))
    yield frame.convert_dtypes().assign(kind=kind)
    polars = pytest.importorskip("polars")
    yield polars.DataFrame(frame.to_dict("list")).with_columns(
        kind=polars.Series(kind.tolist())
    )


def encoding_pipeline():
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["kind"]), remainder="passthrough"
    )
    return make_pipeline(encode, LogisticRegression(C=100, max_iter=1000))


@every_kind
def test_frames_reach_ensembles_of_pipelines_as_they_came(kind, diabetes):
    X, y = diabetes
    pipeline = encoding_pipeline()
    for table in tables(X):
        for estimator in (
            pipeline,
            VotingClassifier([("a", pipeline)], voting="soft"),
            StackingClassifier([("a", pipeline)], cv=2),
        ):
            selector = around(kind, estimator)
            assert finds(selector, table, y)
            assert list(selector.feature_names_in_) == [*"abcdefg", "kind"]
            with pytest.raises(ValueError, match="feature names"):
                selector.select(table[300:][["kind", *"abcdefg"]])


@every_kind
def test_category_columns_reach_boosted_trees(kind, diabetes):
    X, y = diabetes
    trees = HistGradientBoostingClassifier(
        max_iter=20, categorical_features="from_dtype", random_state=0
    )
    frame = next(tables(X))
    selector = around(kind, trees)
    assert finds(selector, frame, y)
    again = pickle.loads(pickle.dumps(selector))
    np.testing.assert_array_equal(
        again.p_values(frame[300:]), selector.p_values(frame[300:])
    )


def test_new_rows_may_have_other_categories(diabetes):
    pd = pytest.importorskip("pandas")
    X, y = diabetes
    frame = next(tables(X))
    new = frame[300:].copy()
    new["kind"] = pd.Categorical(["z", *frame.kind[301:]], categories=["z", "m", "f"])
    selector = around(CrossFitConformalSelector, encoding_pipeline())
    selected = selector.fit(frame[:300], y[:300]).select(new)
    assert (y[300:][selected] > 150).mean() > 0.55


@every_kind
def test_a_frame_that_is_kept_survives_a_file(kind, diabetes, tmp_path):
    X, y = diabetes
    for table in tables(X):
        pipeline = encoding_pipeline()
        selector = around(kind, pipeline).fit(table[:300], y[:300])
        if kind is CrossFitConformalSelector:
            selector.save(tmp_path / "model.npz")
            again = kind.load(tmp_path / "model.npz")
            assert type(again._table) is type(selector._table)
            np.testing.assert_array_equal(
                again.p_values(table[300:]), selector.p_values(table[300:])
            )


def test_a_fitted_model_of_a_frame_refuses_other_columns(diabetes):
    pd = pytest.importorskip("pandas")
    X, y = diabetes
    frame = pd.DataFrame(X, columns=list("abcdefghij"))
    frozen = FrozenEstimator(Ridge().fit(frame[:200], y[:200]))
    selector = ConformalSelector(frozen, threshold=150)
    with pytest.raises(ValueError, match="feature names"):
        selector.fit(frame[frame.columns[::-1]], y)
    assert finds(ConformalSelector(frozen, threshold=150, fdr_level=0.3), frame, y)


# --- pipelines that resample, weights, routing ----------------------------------------


@every_kind
def test_samplers_inside_run_as_their_pipeline_runs_them(kind, diabetes):
    pytest.importorskip("imblearn")
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline as with_samplers

    X, y = diabetes
    pipeline = with_samplers(
        StandardScaler(), RandomOverSampler(), LogisticRegression(max_iter=500)
    )
    selector = around(kind, pipeline)
    assert finds(selector, X, y)
    if kind is not CrossFitConformalSelector:
        with pytest.raises(ValueError, match="randomoversampler"):
            selector.fit(X, y, sample_weight=np.ones(len(y)))


@few_rows
@pytest.mark.parametrize("routed", [False, True])
@every_kind
def test_the_defaults_work_with_routing_and_with_weights(kind, routed, diabetes):
    X, y = diabetes
    weight = np.where(X[:, 2] > 0, 5.0, 0.1)
    with sklearn.config_context(enable_metadata_routing=routed):
        selector = kind(threshold=150, fdr_level=0.3, random_state=0)
        plain = selector.fit(X[:300], y[:300]).p_values(X[300:])
        if kind is CrossFitConformalSelector:
            return
        selector.fit(X[:300], y[:300], sample_weight=weight[:300])
        assert not np.array_equal(selector.p_values(X[300:]), plain)
        with pytest.raises(ValueError, match=r"inconsistent|sample_weight"):
            selector.fit(X[:300], y[:300], sample_weight=weight[:30])
        selector.fit(X[:300], y[:300], sample_weight=weight[:300])
        pipeline = Pipeline([("select", clone(selector))])
        if routed:
            pipeline.fit(X[:300], y[:300], sample_weight=weight[:300])
        else:
            pipeline.fit(X[:300], y[:300], select__sample_weight=weight[:300])
        np.testing.assert_array_equal(
            pipeline.decision_function(X[300:]), -selector.p_values(X[300:])
        )


def test_weights_also_reach_the_model_of_the_errors_or_are_refused(diabetes):
    X, y = diabetes
    weight = np.where(X[:, 2] > 0, 5.0, 0.1)
    options = {"threshold": 150, "random_state": 0}
    selector = ConformalSelector(Ridge(), scale_estimator=Ridge(), **options)
    plain = selector.fit(X, y)._runs[0]["scales"][0].coef_
    weighted = selector.fit(X, y, sample_weight=weight)._runs[0]["scales"][0].coef_
    assert not np.allclose(plain, weighted)
    for model, scale in (
        (KNeighborsClassifier(), None),
        (Ridge(), make_pipeline(StandardScaler(), KNeighborsRegressorLike())),
    ):
        with pytest.raises(ValueError, match="no sample_weight"):
            ConformalSelector(model, scale_estimator=scale, **options).fit(
                X, y, sample_weight=weight
            )


class KNeighborsRegressorLike(BaseEstimator):
    """A regressor without weights."""

    def fit(self, X, y):
        self.mean_ = y.mean()
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


class Weighed(LogisticRegression):
    """Counts its fits with weights."""

    seen: list = []

    def fit(self, X, y, sample_weight=None):
        self.seen.append(sample_weight is not None)
        return super().fit(X, y, sample_weight)


@few_rows
@pytest.mark.parametrize("routed", [False, True])
def test_balanced_weights_reach_whatever_is_inside(routed, diabetes):
    X, y = diabetes
    for inner in (
        GridSearchCV(Weighed(), {"C": [1.0, 2.0]}, cv=2),
        make_pipeline(StandardScaler(), Weighed()),
        VotingClassifier([("a", make_pipeline(Weighed()))], voting="soft"),
    ):
        Weighed.seen.clear()
        with sklearn.config_context(enable_metadata_routing=routed):
            around(CrossFitConformalSelector, inner).fit(X[:80], y[:80]).select(X[80:])
        assert Weighed.seen and all(Weighed.seen)


@every_kind
def test_a_failed_inner_fit_leaves_nothing_fitted(kind, diabetes):
    X, y = diabetes
    refuses = make_pipeline(PowerTransformer("box-cox"), LogisticRegression())
    selector = around(kind, Ridge()).fit(X, y)
    selector.set_params(
        **{"estimators": [refuses]}
        if kind is OptimizedConformalSelector
        else {"estimator": refuses}
    )
    if kind is CrossFitConformalSelector:
        with pytest.raises(ValueError, match="positive"):
            selector.fit(X, y).select(X)
        return
    with pytest.raises(ValueError, match="positive"):
        selector.fit(X, y)
    with pytest.raises(NotFittedError):
        selector.select(X)
    assert not hasattr(selector, "n_features_in_")


# --- the same answer twice ------------------------------------------------------------


@few_rows
@every_kind
def test_unseeded_models_inside_are_seeded(kind, diabetes):
    X, y = diabetes
    forest = RandomForestClassifier(10)
    found = []
    for _ in range(2):
        selector = around(kind, forest).fit(X[:300], y[:300])
        found += [selector.p_values(X[300:]), selector.p_values(X[300:])]
    for p in found[1:]:
        np.testing.assert_array_equal(p, found[0])
    assert forest.random_state is None


class Counted(LogisticRegression):
    fits = 0

    def fit(self, X, y, sample_weight=None):
        type(self).fits += 1
        return super().fit(X, y, sample_weight)


@few_rows
def test_the_scores_of_the_last_batch_are_kept(diabetes):
    X, y = diabetes
    selector = around(CrossFitConformalSelector, Counted()).fit(X[:300], y[:300])
    Counted.fits = 0
    p = selector.p_values(X[300:])
    selector.select(X[300:].copy(), fdr_level=[0.1, 0.2])
    assert Counted.fits == 3
    selector.select(X[300:400])
    assert Counted.fits == 6
    selector.set_params(estimator__C=0.01)  # another model
    assert not np.array_equal(selector.p_values(X[300:]), p)
    copied = pickle.loads(pickle.dumps(selector))
    np.testing.assert_array_equal(copied.p_values(X[300:]), selector.p_values(X[300:]))


# --- what was accepted in silence -----------------------------------------------------


@every_kind
@pytest.mark.parametrize("missing", [np.nan, None, "NA"])
def test_missing_outcomes_are_refused(kind, missing, diabetes):
    pd = pytest.importorskip("pandas")
    X, y = diabetes
    labels = np.where(y > 150, "high", "low").astype(object)
    labels[::10] = pd.NA if missing == "NA" else missing
    selector = around(kind, LogisticRegression(), target="high")
    with pytest.raises(ValueError, match="missing outcomes"):
        selector.fit(X, labels)
    selector.fit(X, np.where(y > 150, "high", "low"))
    with pytest.raises(ValueError, match="missing outcomes"):
        selector.score(X, labels)


def test_scaled_scores_need_a_scale(diabetes):
    X, y = diabetes
    model = Ridge().fit(X[:200], y[:200])
    for given in (
        {"estimator": FrozenEstimator(model)},
        {"estimator": model, "prefit": True},
    ):
        with pytest.raises(ValueError, match="scale_estimator"):
            ConformalSelector(conformity_score="scaled", threshold=150, **given).fit(
                X[200:], y[200:]
            )
    mixed = OptimizedConformalSelector(
        [FrozenEstimator(model), Ridge()], conformity_score="scaled", threshold=150
    )
    with pytest.raises(ValueError, match="scale_estimator"):
        mixed.fit(X[200:], y[200:])


def test_a_fitted_classifier_of_discoveries_is_not_turned_round(diabetes):
    X, y = diabetes
    y = (y - 150) / 100
    for labels in ([0, 1], [False, True], ["no", "yes"], [-1, 1]):
        is_one = np.array(labels)[(y < 0.5).astype(int)]
        frozen = FrozenEstimator(LogisticRegression().fit(X[:200], is_one[:200]))
        selector = ConformalSelector(
            frozen, threshold=0.5, larger=False, random_state=0
        ).fit(X[200:], y[200:])
        p = selector.p_values(X[:200])
        assert np.corrcoef(p, frozen.predict_proba(X[:200])[:, 1])[0, 1] < -0.5
    # one that knows the outcomes themselves is read by their labels
    zero = (y > 0.5).astype(int)
    frozen = FrozenEstimator(LogisticRegression().fit(X[:200], zero[:200]))
    selector = ConformalSelector(frozen, threshold=0.5, larger=False, random_state=0)
    p = selector.fit(X[200:], zero[200:]).p_values(X[:200])
    assert np.corrcoef(p, frozen.predict_proba(X[:200])[:, 0])[0, 1] < -0.5


def test_arguments_that_nobody_takes_are_refused(diabetes):
    X, y = diabetes
    model = Ridge().fit(X[:200], y[:200])
    for name in ("sample_weight", "colour"):
        for selector in (
            ConformalSelector(FrozenEstimator(model), threshold=150),
            ConformalSelector(model, prefit=True, threshold=150),
            OptimizedConformalSelector([FrozenEstimator(model)], threshold=150),
        ):
            with pytest.raises(ValueError, match=name):
                selector.fit(X, y, **{name: np.ones(len(y))})
    with pytest.raises(ValueError, match="larger"):
        ConformalSelector(target=1, larger=False).fit(X, (y > 150).astype(int))


def test_the_threshold_is_that_of_the_fit(diabetes):
    X, y = diabetes
    selector = around(ConformalSelector, Ridge()).fit(X, y)
    before = selector.p_values(X)
    selector.set_params(threshold=300)
    np.testing.assert_array_equal(selector.p_values(X), before)


# --- thresholds and groups, repeats ---------------------------------------------------


@few_rows
@every_kind
def test_thresholds_go_everywhere(kind, diabetes):
    X, y = diabetes
    c = 120.0 + 60 * (np.arange(len(y)) % 2)
    selector = around(kind, Ridge(), threshold=0.0)
    selector.fit(X[:300], y[:300], thresholds=c[:300])
    new = {} if kind is CrossFitConformalSelector else {"thresholds": c[300:]}
    selected = selector.predict(X[300:], **new) == 1
    np.testing.assert_array_equal(selected, selector.select(X[300:], **new))
    np.testing.assert_array_equal(
        selector.decision_function(X[300:], **new), -selector.p_values(X[300:], **new)
    )
    positive = y[300:] > c[300:]
    power = selector.score(X[300:], y[300:], thresholds=c[300:])
    assert power == pytest.approx(selected[positive].mean())
    with pytest.raises(ValueError, match="thresholds"):
        selector.score(X[300:], y[300:])
    display = ConformalSelectionDisplay.from_estimator(
        selector, X[300:], y[300:], levels=[0.3], thresholds=c[300:]
    )
    assert display.power[0] == pytest.approx(power)


@few_rows
def test_thresholds_are_routed(diabetes):
    X, y = diabetes
    c = 120.0 + 60 * (np.arange(len(y)) % 2)
    with sklearn.config_context(enable_metadata_routing=True):
        selector = around(ConformalSelector, Ridge(), threshold=0.0)
        selector.set_fit_request(thresholds=True).set_predict_request(thresholds=True)
        selector.set_score_request(thresholds=True)
        pipeline = make_pipeline(StandardScaler(), selector)
        pipeline.fit(X[:300], y[:300], thresholds=c[:300])
        assert pipeline.predict(X[300:], thresholds=c[300:]).any()
        found = cross_validate(
            pipeline, X, y, params={"thresholds": c}, cv=3, error_score="raise"
        )
    assert found["test_score"].mean() > 0.05


@few_rows
def test_groups_of_equal_labels_are_selections_of_their_own(diabetes):
    X, y = diabetes
    groups = np.where(X[:, 1] > 0, "f", "m")
    selector = around(ConformalSelector, Ridge(), randomized=False)
    selector.fit(X[:300], y[:300], groups=groups[:300])
    selected = selector.select(X[300:], groups=groups[300:])
    assert selected.any()
    V, codes = selector.calibration_scores_, selector._runs[0]["groups"]
    for code, label in enumerate(["f", "m"]):
        rows = groups[300:] == label
        T = -selector.estimator_.predict(X[300:][rows]) + 150
        ranks = (1 + (V[codes == code, 0] <= T[:, None]).sum(axis=1)) / (
            1 + (codes == code).sum()
        )
        np.testing.assert_allclose(
            selector.p_values(X[300:], groups=groups[300:])[rows], ranks
        )
    with pytest.raises(ValueError, match="groups"):
        selector.select(X[300:])
    with pytest.raises(ValueError, match="entries"):
        selector.select(X[300:], groups=groups[:5])
    with pytest.warns(UserWarning, match="'x' has no labelled rows"):
        other = selector.select(X[300:], groups=np.where(rows, "x", "f"))
    assert not other[rows].any()
    # one group is the plain selection, whether the labelled rows know it or not
    plain = around(ConformalSelector, Ridge()).fit(X[:300], y[:300])
    one = np.zeros(len(X), dtype=int)
    expected = plain.select(X[300:])
    np.testing.assert_array_equal(plain.select(X[300:], groups=one[300:]), expected)
    plain.fit(X[:300], y[:300], groups=one[:300])
    np.testing.assert_array_equal(plain.select(X[300:], groups=one[300:]), expected)


def test_groups_reach_a_search_that_splits_by_them(diabetes):
    X, y = diabetes
    groups = np.arange(len(y)) % 6
    for routed in (False, True):
        with sklearn.config_context(enable_metadata_routing=routed):
            search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=GroupKFold(3))
            selector = around(ConformalSelector, search)
            selector.fit(X, y, groups=groups)
            assert selector.estimator_.n_splits_ == 3


@few_rows
def test_repeats_average_e_values(diabetes):
    X, y = diabetes
    options = {"threshold": 150, "fdr_level": 0.3, "n_repeats": 5}
    for selector in (
        ConformalSelector(Ridge(0.1), random_state=0, **options),
        OptimizedConformalSelector([Ridge(0.1), Ridge(10)], random_state=2, **options),
    ):
        selected = selector.fit(X[:300], y[:300]).select(X[300:])
        assert selected.any() and (y[300:][selected] > 150).mean() > 0.7
        np.testing.assert_array_equal(
            selected, e_benjamini_hochberg(selector.e_values_, 0.3)
        )
        assert selector.e_values_.mean() < 142 / 5 and len(selector._runs) == 5
        several = selector.select(X[300:], fdr_level=[0.2, 0.3])
        np.testing.assert_array_equal(several[1], selected)
        assert selector.e_values_.shape == (2, 142)
        path = selector.selection_path(X[300:], levels=[0.2, 0.3])
        np.testing.assert_array_equal(path == 0.2, several[0])
    single = ConformalSelector(Ridge(0.1), threshold=150, random_state=0)
    single.fit(X[:300], y[:300]).select(X[300:])
    assert not hasattr(single, "e_values_")


def agreement(kind, n_repeats, noise, **options):
    """Mean overlap of the selections of four seeds, over several tables."""
    found = []
    for table in range(6):
        rng = np.random.default_rng(table)
        X = rng.normal(size=(400, 5))
        y = X[:, 0] + X[:, 1] / 2 + noise * rng.normal(size=400)
        sets = [
            kind(
                Ridge(),
                threshold=0.5,
                fdr_level=0.1,
                n_repeats=n_repeats,
                random_state=seed,
                **options,
            )
            .fit(X[:300], y[:300])
            .select(X[300:])
            for seed in range(4)
        ]
        pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
        found += [(a & b).sum() / (a | b).sum() for a, b in pairs if (a | b).any()]
    return np.mean(found)


@few_rows
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        # averaged e-values need a clear signal
        (ConformalSelector, {"noise": 0.3}),
        (CrossFitConformalSelector, {"cv": 3, "noise": 0.7}),
    ],
    ids=["split", "cross-fit"],
)
def test_repeats_make_seeds_agree(kind, options):
    once, often = (agreement(kind, n, **options) for n in (1, 10))
    assert often > once + 0.05


def test_power_may_be_weighted(diabetes):
    X, y = diabetes
    selector = around(ConformalSelector, Ridge()).fit(X[:300], y[:300])
    weight = np.arange(142.0)
    selected, positive = selector.select(X[300:]), y[300:] > 150
    power = selector.score(X[300:], y[300:], sample_weight=weight)
    assert power == pytest.approx(np.average(selected, weights=weight * positive))


@every_kind
def test_requests_of_the_selector_survive_a_file(kind, diabetes, tmp_path):
    X, y = diabetes
    with sklearn.config_context(enable_metadata_routing=True):
        selector = around(kind, Ridge()).set_fit_request(thresholds=True)
        selector.fit(X, y).save(tmp_path / "model.npz")
        again = kind.load(tmp_path / "model.npz")
        pipeline = make_pipeline(StandardScaler(), clone(again))
        pipeline.fit(X, y, thresholds=np.full(len(y), 150.0))
        assert pipeline[-1]._per_row


def test_columns_of_text_beside_numbers_in_a_list(diabetes):
    X, y = diabetes
    rows = [["f" if a > 0 else "m", b] for a, b in X[:, 1:3].tolist()]
    encode = make_column_transformer(
        (OneHotEncoder(), [0]), (StandardScaler(), [1]), remainder="drop"
    )
    selector = around(ConformalSelector, make_pipeline(encode, LogisticRegression()))
    assert finds(selector, rows, y)


def test_private_state_of_a_subclass_survives_a_fit(diabetes):
    class Own(ConformalSelector):
        def __init__(self, estimator=None, threshold=0.0):
            super().__init__(estimator, threshold=threshold)
            self._helper = 3

    selector = Own(Ridge(), 150).fit(*diabetes)
    assert selector.fit(*diabetes)._helper == 3
