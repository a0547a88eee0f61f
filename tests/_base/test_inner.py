"""One way to fit an estimator inside an estimator."""

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    BaggingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    KFold,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from skdiff._base import inner

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
y = X @ [1.0, 2.0, 0.0] + rng.normal(size=60)
z = (y > 0).astype(int)
w = rng.integers(1, 4, size=60).astype(float)


class Owner(BaseEstimator):
    """An estimator around another one."""

    def __init__(self, estimator=None):
        self.estimator = estimator

    def fit(self, X, y, **params):
        with inner.whole_fit(self):
            X = inner.check_table(self, X, [self.estimator], reset=True)
            (routed,) = inner.route(self, params, ["estimator"])
            self.early_ = True
            self.estimator_ = inner.fit_inner(self.estimator, X, y, params=routed)
        return self

    def get_metadata_routing(self):
        return MetadataRouter(owner=self).add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )


class Resampler(BaseEstimator):
    """A step that changes the rows."""

    def fit_resample(self, X, y):
        return np.r_[X, X], np.r_[y, y]

    def fit(self, X, y):
        return self


class Recorder(RegressorMixin, BaseEstimator):
    """Keeps what it was given."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.sample_weight_ = X, sample_weight
        return self

    def predict(self, X):
        return np.zeros(len(X))


class Failing(BaseEstimator):
    def fit(self, X, y):
        raise KeyboardInterrupt


# --- weights --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(),
        make_pipeline(StandardScaler(), Ridge()),
        make_pipeline(StandardScaler(), make_pipeline(Ridge())),
        GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1.0]}),
        TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge())),
        TransformedTargetRegressor(),
        VotingRegressor([("a", make_pipeline(StandardScaler(), Ridge()))]),
    ],
    ids=lambda e: str(e)[:40].replace("\n", ""),
)
@pytest.mark.parametrize("routed", [False, True])
def test_weights_reach_the_last_step_of_whatever_is_inside(estimator, routed):
    with sklearn.config_context(enable_metadata_routing=routed):
        assert inner.takes_weights(estimator)
        model = inner.fit_inner(estimator, X, y, weight=w)
    # a weight counts as that many rows, where no step learns from the rows before it
    if isinstance(estimator, TransformedTargetRegressor) and not estimator.regressor:
        expected = LinearRegression().fit(X, y, w)
    else:
        scaled = make_pipeline(StandardScaler(), Ridge())
        expected = scaled.fit(X, y, ridge__sample_weight=w)
        if not any(isinstance(e, StandardScaler) for e in inner.nested(estimator)):
            expected = Ridge().fit(X, y, w)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-12)


@pytest.mark.parametrize("routed", [False, True])
def test_ensembles_of_pipelines_get_weights_that_scikit_learn_alone_drops(routed):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    for estimator in (
        OneVsRestClassifier(pipeline),
        CalibratedClassifierCV(pipeline, cv=2),
        FixedThresholdClassifier(pipeline),
        TunedThresholdClassifierCV(pipeline, cv=2),
        VotingClassifier([("a", pipeline), ("b", LogisticRegression())], voting="soft"),
    ):
        with sklearn.config_context(enable_metadata_routing=routed):
            plain = inner.fit_inner(estimator, X, z)
            heavy = np.where(X[:, 2] > 0, 20.0, 1.0)
            weighted = inner.fit_inner(estimator, X, z, weight=heavy)
        assert not np.allclose(plain.predict_proba(X), weighted.predict_proba(X))


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsRegressor(),
        make_pipeline(StandardScaler(), KNeighborsRegressor()),
        VotingRegressor([("a", Ridge()), ("b", KNeighborsRegressor())]),
        GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [1, 2]}),
    ],
    ids=lambda e: type(e).__name__,
)
def test_weights_that_nothing_takes_are_refused(estimator, routed):
    with sklearn.config_context(enable_metadata_routing=routed):
        assert not inner.takes_weights(estimator)
        with pytest.raises(ValueError, match="no sample_weight"):
            inner.fit_inner(estimator, X, y, weight=w)


def test_weights_of_the_method_multiply_those_of_the_caller():
    pipeline = Pipeline([("scale", StandardScaler()), ("model", Recorder())])
    for name in ("sample_weight", "model__sample_weight"):
        model = inner.fit_inner(pipeline, X, y, params={name: w}, weight=w + 1)
        np.testing.assert_array_equal(model[-1].sample_weight_, w * (w + 1))


def test_the_caller_may_also_weigh_an_earlier_step():
    pipeline = make_pipeline(StandardScaler(), Ridge())
    params = {"standardscaler__sample_weight": w, "sample_weight": w}
    model = inner.fit_inner(pipeline, X, y, params=params)
    np.testing.assert_allclose(model[0].mean_, np.average(X, axis=0, weights=w))
    with sklearn.config_context(enable_metadata_routing=True):
        asked = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=True), Ridge()
        )
        model = inner.fit_inner(
            asked, X, y, params={"sample_weight": w}, weight=np.full(60, 2.0)
        )
    np.testing.assert_allclose(model[0].mean_, np.average(X, axis=0, weights=w))


# --- samplers -------------------------------------------------------------------------


def test_a_sampler_step_is_found_however_deep_and_named():
    pytest.importorskip("imblearn")
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline as with_samplers

    pipeline = with_samplers(RandomOverSampler(random_state=0), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]})
    assert inner.sampler_steps(search) == ["randomoversampler (RandomOverSampler)"]
    with pytest.raises(ValueError, match="randomoversampler"):
        inner.refuse_samplers(search, "an audit needs them as they are")
    # it runs as it runs itself, and has no use for weights of rows
    labels = (y > 2).astype(int)
    model = inner.fit_inner(pipeline, X, labels)
    expected = clone(pipeline).fit(X, labels)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    # a sampler may be the last step before the model
    np.testing.assert_array_equal(inner.transform_before(model, X), X)
    assert not inner.takes_weights(pipeline)
    with pytest.raises(ValueError, match="randomoversampler"):
        inner.fit_inner(pipeline, X, labels, weight=w)


def test_pipelines_without_samplers_are_not_refused():
    inner.refuse_samplers(make_pipeline(StandardScaler(), Ridge()), "")
    broken = Pipeline([("double", Resampler()), ("model", Ridge())])
    assert inner.sampler_steps(broken) == ["double (Resampler)"]


# --- the table ------------------------------------------------------------------------


def frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    yield frame
    yield frame.assign(c=pd.Categorical(np.where(X[:, 2] > 0, "u", "v")))
    yield frame.assign(a=frame["a"].convert_dtypes())
    try:
        import polars
    except ImportError:
        return
    yield polars.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    yield polars.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v")})


def test_frames_arrive_as_they_came():
    for frame in frames():
        model = Owner(Recorder()).fit(frame, y)
        assert model.estimator_.X_ is frame
        assert list(model.feature_names_in_) == list(frame.columns)
        with pytest.raises(ValueError, match="feature names"):
            inner.check_table(
                model, frame[list(frame.columns)[::-1]], [Recorder()], reset=False
            )


def test_cells_of_numbers_are_checked_early_and_other_cells_by_the_model():
    pd = pytest.importorskip("pandas")
    gap = pd.DataFrame(X, columns=["a", "b", "c"]).mask(X > 2)
    for table in (gap, gap.to_numpy(), gap.to_numpy().tolist()):
        with pytest.raises(ValueError, match="NaN"):
            Owner(Recorder()).fit(table, y)
    encoder = make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough")
    words = np.column_stack([np.where(X[:, 0] > 0, "u", "v").astype(object), X])
    model = Owner(make_pipeline(encoder, Ridge())).fit(words, y)
    assert model.n_features_in_ == 4
    model = Owner(VotingRegressor([("a", make_pipeline(encoder, Ridge()))]))
    assert model.fit(words, y).n_features_in_ == 4


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (X[:, 0], "Expected 2D array"),
        (X[:0], "0 sample"),
        (X[:, :0], "0 feature"),
        (X[None], "dim 3|2"),
        (X[:, 0].tolist(), "Expected 2D array"),
    ],
    ids=["1d", "rows", "columns", "3d", "list"],
)
@pytest.mark.parametrize("given", [Recorder(), make_pipeline(Recorder())])
def test_shapes_are_refused_in_scikit_learns_words(table, message, given):
    with pytest.raises(ValueError, match=message):
        inner.check_table(Owner(), table, [given], reset=True)


def test_dates_are_refused_unless_a_pipeline_reads_the_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "day": pd.date_range("2020-01-01", periods=60)})
    with pytest.raises(TypeError, match="dates"):
        Owner(Recorder()).fit(frame, y)
    first = make_column_transformer(("passthrough", ["a"]))
    assert Owner(make_pipeline(first, Ridge())).fit(frame, y).n_features_in_ == 2


def test_sparse_rows_can_be_taken():
    table = inner.check_table(
        Owner(), sparse.coo_array(X), [make_pipeline(Ridge())], reset=True
    )
    assert table.format == "csr"
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        inner.check_table(Owner(), sparse.csr_array(X), [Ridge()], reset=True)


# --- frozen, routed, seeded, whole ----------------------------------------------------


def test_frozen_models_are_used_as_they_are_and_take_no_arguments():
    model = FrozenEstimator(Ridge().fit(X, y))
    assert inner.fit_inner(model, X, y) is model and inner.is_frozen(model)
    assert inner.unfrozen(FrozenEstimator(model)) is model.estimator
    with pytest.raises(ValueError, match=r"sample_weight.*frozen"):
        inner.fit_inner(model, X, y, params={"sample_weight": w})
    with pytest.raises(NotFittedError):
        inner.fit_inner(FrozenEstimator(Ridge()), X, y)


def test_metadata_are_routed_where_routing_is_on():
    weighted = Recorder()
    model = Owner(weighted).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(model.estimator_.sample_weight_, w)
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(ValueError, match="sample_weight"):
            Owner(weighted).fit(X, y, sample_weight=w)
        asked = Recorder().set_fit_request(sample_weight=True)
        model = Owner(asked).fit(X, y, sample_weight=w)
        np.testing.assert_array_equal(model.estimator_.sample_weight_, w)
        assert Owner(Recorder()).fit(X, y).estimator_.sample_weight_ is None


def test_arguments_are_cut_to_rows():
    cut = inner.take_rows(X, {"sample_weight": w, "depth": 3}, np.arange(5))
    np.testing.assert_array_equal(cut["sample_weight"], w[:5])
    assert cut["depth"] == 3


def test_unseeded_parts_are_seeded_and_nothing_else_is_changed():
    fixed = RandomForestRegressor(random_state=7)
    frozen = FrozenEstimator(RandomForestRegressor(2).fit(X, y))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), RandomForestRegressor(3)),
        {"randomforestregressor__max_depth": [1, 2]},
        cv=KFold(3, shuffle=True),
    )
    whole = StackingRegressor(
        [("fixed", fixed), ("frozen", frozen), ("search", search)],
        final_estimator=Ridge(),
    )
    one, two = (inner.seeded(whole, np.random.RandomState(3)) for _ in range(2))
    seeds = {k: v for k, v in one.get_params().items() if k.endswith("random_state")}
    assert seeds["fixed__random_state"] == 7
    forest = "search__estimator__randomforestregressor__random_state"
    assert isinstance(seeds[forest], int) and seeds[forest] == two.get_params()[forest]
    assert one.get_params()["frozen"].estimator.random_state is None
    assert isinstance(one.get_params()["search__cv"].random_state, int)
    assert search.cv.random_state is None
    assert whole.get_params()[forest] is None
    bags = inner.seeded(BaggingRegressor(), np.random.RandomState(3))
    np.testing.assert_array_equal(
        bags.fit(X, y).predict(X), clone(bags).fit(X, y).predict(X)
    )
    assert inner.seeded(frozen, None) is frozen
    assert isinstance(
        inner.seeded(RandomForestClassifier(), np.random.RandomState(0)).random_state,
        int,
    )


def test_a_failed_or_interrupted_fit_leaves_nothing():
    model = Owner(Ridge()).fit(X, y)
    model.set_params(estimator=Failing())
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert set(vars(model)) == {"estimator"}
    model.set_params(estimator=Ridge())._private = 1  # of a subclass, say
    assert model.fit(X, y).fit(X, y)._private == 1
    model.set_params(estimator=Failing())
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert set(vars(model)) == {"estimator", "_private"}


def test_what_scikit_learn_hangs_on_an_estimator_survives_a_fit():
    class Transformer(TransformerMixin, Owner):
        def transform(self, X):
            return X

        def get_feature_names_out(self, input_features=None):
            return np.array(["a", "b", "c"])

    model = Transformer(Ridge()).set_output(transform="pandas")
    assert model.fit(X, y)._sklearn_output_config == {"transform": "pandas"}


def test_classifiers_without_weights_say_so_inside_one_against_the_rest():
    with pytest.raises(ValueError, match="no sample_weight"):
        inner.fit_inner(OneVsRestClassifier(KNeighborsClassifier()), X, z, weight=w)
