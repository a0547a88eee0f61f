"""The audit against the published examples, by hand, and in use."""

import warnings

import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    ShuffleSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeRegressor

from benchmarks._leaks import (
    errors,
    norm_selection,
    rare_categories,
    variance_selection,
)
from skdiff.model_evaluation import PreprocessingLeakageAudit
from skdiff.model_evaluation._leakage._base import fold_scores


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X.iloc[:200, :8], y.iloc[:200].map({0: "malignant", 1: "benign"})


def audited(X, y, *steps, **parameters):
    parameters = {"random_state": 0, "n_repeats": 1, "cv": 3, **parameters}
    return PreprocessingLeakageAudit(make_pipeline(*steps), **parameters).fit(X, y)


# --- the examples of the paper ------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "n", "m", "tails", "repeats", "leaked", "true"),
    [
        (norm_selection, 20, 20, "t", 600, 110.1, 100.9),
        (norm_selection, 40, 40, "t", 800, 98.6, 99.8),
        (norm_selection, 5, 5, "normal", 1000, 64.0, 54.7),
        (variance_selection, 20, 20, "t", 400, 1140, 804),
        (variance_selection, 40, 40, "normal", 500, 413, 401),
        (rare_categories, 20, 20, None, 1000, 1.888, 1.935),
        (rare_categories, 40, 40, None, 1000, 1.644, 1.702),
        (rare_categories, 80, 80, None, 600, 1.339, 1.348),
        (rare_categories, 40, 1, None, 2000, 1.79, 1.89),
    ],
)
def test_leaked_and_true_errors_are_the_published_ones(
    example, n, m, tails, repeats, leaked, true
):
    found = errors(example, n, m, tails, repeats)
    spread = 4 * found.std(axis=0) / np.sqrt(repeats)
    assert abs(found[:, 0].mean() - leaked) < spread[0] + 0.01 * leaked
    assert abs(found[:, 1].mean() - true) < spread[1] + 0.01 * true


@pytest.mark.parametrize(
    ("example", "n", "sign"), [(norm_selection, 20, -1), (rare_categories, 80, 1)]
)
def test_the_bias_has_either_sign(example, n, sign):
    # scores are negative errors: a pessimistic bias is below zero
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        sample, steps = example(rng, "normal")
        X, y = sample(n)
        audit = PreprocessingLeakageAudit(
            make_pipeline(*steps),
            cv=ShuffleSplit(4, test_size=0.5, random_state=0),
            scoring="neg_mean_squared_error",
        )
        found.append(audit.fit(X, y).bias_)
    bias, error = np.mean(found), np.std(found) / np.sqrt(len(found))
    assert sign * bias > 2 * error


def test_single_test_rows_are_allowed():
    sample, steps = rare_categories(np.random.default_rng(0))
    X, y = sample(40)
    audit = PreprocessingLeakageAudit(
        make_pipeline(*steps), cv=LeaveOneOut(), scoring="neg_mean_squared_error"
    ).fit(X, y)
    assert len(audit.inside_scores_) == 40 and np.isfinite(audit.pvalue_)


# --- by hand ------------------------------------------------------------------------


def test_inside_is_cross_validation_and_outside_is_preparation_of_all_rows():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:120] * 10.0 ** np.arange(10), y[:120]
    folds = KFold(4, shuffle=True, random_state=0)
    scale, reduce, model = StandardScaler(), PCA(3), Ridge()
    audit = audited(X, y, scale, reduce, model, cv=folds)
    pipeline = make_pipeline(scale, reduce, model)
    inside = cross_val_score(pipeline, X, y, cv=folds)
    outside = cross_val_score(
        model, make_pipeline(scale, reduce).fit_transform(X), y, cv=folds
    )
    only_scale = cross_val_score(
        make_pipeline(reduce, model), scale.fit_transform(X), y, cv=folds
    )
    np.testing.assert_allclose(audit.inside_scores_, inside, rtol=1e-9)
    np.testing.assert_allclose(audit.outside_scores_, outside, rtol=1e-9)
    d = outside - inside
    assert np.isclose(audit.bias_, d.mean())
    assert np.isclose(
        audit.per_step_bias_["standardscaler"], (only_scale - inside).mean()
    )
    scale_of_mean = np.sqrt((1 / 4 + 30 / 90) * d.var(ddof=1))
    law = stats.t(3)
    assert np.isclose(audit.pvalue_, 2 * law.sf(abs(d.mean()) / scale_of_mean))
    half = law.ppf(0.975) * scale_of_mean
    np.testing.assert_allclose(
        audit.bias_interval_, (d.mean() - half, d.mean() + half), rtol=1e-9
    )
    np.testing.assert_allclose(audit.predict(X), pipeline.fit(X, y).predict(X))


def test_a_step_outside_sees_the_test_rows_of_what_came_before():
    X, y = load_diabetes(return_X_y=True)
    steps = [("a", StandardScaler()), ("b", PCA(2)), ("m", Ridge())]
    train, test = np.arange(60), np.arange(60, 90)
    (found,) = fold_scores(
        steps, X, y, (train, test), [frozenset(["b"])], lambda m, X, y: m.score(X, y)
    )
    scale = StandardScaler().fit(X[train])
    Z = PCA(2).fit_transform(scale.transform(X[:90]))
    expected = Ridge().fit(Z[:60], y[:60]).score(Z[60:], y[60:90])
    assert np.isclose(found, expected, rtol=1e-9)


def test_a_step_that_does_nothing_has_no_bias(cancer):
    audit = audited(*cancer, FunctionTransformer(), LogisticRegression(max_iter=5000))
    assert audit.bias_ == 0 and audit.pvalue_ == 1 and audit.bias_interval_ == (0, 0)


# --- supervised steps ---------------------------------------------------------------


class LooksAtLabels(FunctionTransformer):
    """Declares nothing, and uses y."""

    def fit_transform(self, X, y=None):
        self.fit(X)
        return X * (1.0 if y is None else np.asarray(y == y[0]).mean())


@pytest.mark.parametrize(
    "step",
    [
        SelectKBest(k=3),
        SelectFromModel(LogisticRegression(max_iter=5000)),
        TargetEncoder(),
        make_column_transformer((TargetEncoder(cv=2), [0]), remainder="passthrough"),
    ],
)
def test_supervised_steps_are_flagged(step, cancer):
    X, y = cancer
    X = X.round(2)
    audit = audited(X, y, StandardScaler(), step, LogisticRegression(max_iter=5000))
    (name,) = audit.supervised_steps_
    assert audit.steps_ == ["standardscaler"] == list(audit.per_step_bias_)
    assert list(audit.supervised_bias_) == [name]
    assert set(audit.per_step_interval_) == {"standardscaler", name}


def test_a_step_that_uses_labels_in_secret_is_found():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(3, size=60)
    audit = audited(X, y, StandardScaler(), LooksAtLabels(), LogisticRegression())
    assert audit.supervised_steps_ == ["looksatlabels"]


def test_selection_outside_makes_signal_of_noise():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 400)), np.arange(60) % 2
    steps = StandardScaler(), SelectKBest(k=10), LogisticRegression()
    audit = audited(X, y, *steps, cv=5, n_repeats=2, steps=["selectkbest"])
    assert audit.bias_ > 0.15 and audit.pvalue_ < 0.05
    assert audit.bias_ == audit.supervised_bias_["selectkbest"]
    with pytest.raises(ValueError, match="certain leaks"):
        audited(X, y, SelectKBest(k=10), LogisticRegression())


# --- in use -------------------------------------------------------------------------


def test_frames_with_text_in_a_search(cancer):
    X, y = cancer
    X = X.assign(kind=np.where(X.iloc[:, 0] > 14, "large", "small"))
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder=StandardScaler()
    )
    audit = PreprocessingLeakageAudit(
        make_pipeline(encode.set_output(transform="pandas"), LogisticRegression()),
        cv=2,
        n_repeats=1,
        random_state=0,
    )
    search = GridSearchCV(
        audit, {"pipeline__logisticregression__C": [0.1, 1.0]}, cv=2, n_jobs=2
    ).fit(X, y)
    assert search.score(X, y) > 0.8
    assert search.best_estimator_.steps_ == ["columntransformer"]
    assert list(search.best_estimator_.feature_names_in_) == list(X.columns)


def test_random_steps_have_one_seed_inside_and_outside():
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:150], y[:150]
    forest = RandomForestClassifier(5)
    one, two = (audited(X, y, FunctionTransformer(), forest) for _ in range(2))
    assert one.bias_ == 0
    np.testing.assert_array_equal(one.inside_scores_, two.inside_scores_)


def test_jobs_groups_and_sparse_steps():
    X, y = load_breast_cancer(return_X_y=True)
    X, y = np.round(X[:120, :3]), y[:120]
    groups = np.arange(120) % 6
    steps = OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    audit = PreprocessingLeakageAudit(make_pipeline(*steps), cv=GroupKFold(3))
    one = audit.fit(X, y, groups=groups).outside_scores_
    two = audit.set_params(n_jobs=2).fit(X, y, groups=groups).outside_scores_
    np.testing.assert_array_equal(one, two)


def test_arguments_of_fit_are_those_of_the_pipeline(cancer):
    X, y = cancer
    weight = np.random.default_rng(3).uniform(0, 2, len(y))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    folds = list(KFold(3).split(X))
    params = {
        "logisticregression__sample_weight": weight,
        "standardscaler__sample_weight": weight,
    }
    audit = PreprocessingLeakageAudit(pipeline, cv=folds, scoring="neg_log_loss")
    audit.fit(X, y, **params)
    inside = cross_validate(
        pipeline, X, y, cv=folds, scoring="neg_log_loss", params=params
    )["test_score"]
    np.testing.assert_allclose(audit.inside_scores_, inside, rtol=1e-12)
    np.testing.assert_allclose(
        audit.predict_proba(X), pipeline.fit(X, y, **params).predict_proba(X)
    )
    whole = StandardScaler().fit_transform(X, y, sample_weight=weight)
    outside = cross_validate(
        LogisticRegression(),
        whole,
        y,
        cv=folds,
        scoring="neg_log_loss",
        params={"sample_weight": weight},
    )["test_score"]
    np.testing.assert_allclose(audit.outside_scores_, outside, rtol=1e-6)
    short = audit.fit(X, y, sample_weight=weight).inside_scores_
    del params["standardscaler__sample_weight"]
    np.testing.assert_array_equal(short, audit.fit(X, y, **params).inside_scores_)


def test_metadata_are_routed(cancer):
    X, y = cancer
    weight = np.random.default_rng(3).uniform(0, 2, len(y))
    folds = list(KFold(3).split(X))
    with sklearn.config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        pipeline = make_pipeline(scaler, model)
        audit = PreprocessingLeakageAudit(pipeline, cv=folds, scoring=scorer)
        audit.fit(X, y, sample_weight=weight)
        inside = cross_validate(
            pipeline, X, y, cv=folds, scoring=scorer, params={"sample_weight": weight}
        )["test_score"]
        np.testing.assert_allclose(audit.inside_scores_, inside, rtol=1e-12)
        groups = np.arange(len(y)) % 4
        grouped = PreprocessingLeakageAudit(pipeline, cv=GroupKFold(4))
        assert len(grouped.fit(X, y, groups=groups).inside_scores_) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights", "accept the weights"),
        ("pca__n", "no step 'pca'"),
        ("sample_weight", "takes no sample_weight"),
    ],
)
def test_arguments_that_belong_to_no_step_are_refused(name, message, cancer):
    pipeline = make_pipeline(StandardScaler(), KNeighborsClassifier())
    audit = PreprocessingLeakageAudit(pipeline)
    with pytest.raises(ValueError, match=message):
        audit.fit(*cancer, **{name: np.ones(200)})


def test_weights_are_given_once(cancer):
    X, y = cancer
    both = {"sample_weight": np.ones(200), "logisticregression__sample_weight": y}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.raises(ValueError, match="one argument"):
        PreprocessingLeakageAudit(pipeline).fit(X, y, **both)


def test_masks_are_folds_too():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:90, :4], y[:90]
    test = [np.arange(90) % 3 == k for k in range(3)]
    rows = [(np.flatnonzero(~m), np.flatnonzero(m)) for m in test]
    masks = [(~m, m) for m in test]
    one, two = (audited(X, y, PCA(2), Ridge(), cv=folds) for folds in (rows, masks))
    assert one.bias_interval_ == two.bias_interval_


def test_a_score_that_is_not_defined_is_refused():
    X, y = load_diabetes(return_X_y=True)
    with (
        pytest.warns(UserWarning, match="less than two samples"),
        pytest.raises(ValueError, match="not finite"),
    ):
        audited(X[:20], y[:20], StandardScaler(), Ridge(), cv=LeaveOneOut())


def codes_of(frame):
    """Codes of a column of categories, which depend on its levels."""
    return frame["kind"].cat.codes.to_numpy()[:, None].astype(float)


def test_unused_levels_of_categories_are_kept():
    import pandas as pd

    rng = np.random.default_rng(2)
    kind = rng.choice(["b", "a", "c"], size=90)
    y = 1.0 * (kind == "b") + 0.1 * rng.normal(size=90)
    levels = ["b", "unused", "c", "a"]
    X = pd.DataFrame({"kind": pd.Categorical(kind, categories=levels, ordered=True)})
    audit = audited(
        X, y, FunctionTransformer(codes_of), DecisionTreeRegressor(max_depth=1)
    )
    assert audit.bias_ == 0


def test_a_time_limit_keeps_two_folds(cancer):
    with pytest.warns(ConvergenceWarning, match="after 2 of 30 folds"):
        audit = audited(
            *cancer,
            StandardScaler(),
            LogisticRegression(),
            n_repeats=10,
            time_limit=1e-9,
        )
    assert audit.stopped_ == "time" and len(audit.inside_scores_) == 2


def test_verbose_prints_one_line_per_fold(cancer, capsys):
    audited(*cancer, StandardScaler(), LogisticRegression(), verbose=1)
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pipeline": LogisticRegression()}, "must be a Pipeline"),
        ({"pipeline": make_pipeline(LogisticRegression())}, "at least one transformer"),
        (
            {
                "pipeline": make_pipeline(
                    StandardScaler(), FrozenEstimator(LogisticRegression())
                )
            },
            "frozen",
        ),
        (
            {"pipeline": make_pipeline("passthrough", LogisticRegression())},
            "no transformer",
        ),
        ({"steps": ["pca"]}, "standardscaler"),
        ({"steps": []}, "steps must name"),
        ({"cv": 1000}, "need as many rows"),
        ({"cv": [(np.arange(50), np.arange(50, 60))]}, "one fold only"),
        ({"scoring": "nonsense"}, "nonsense"),
        ({"n_repeats": 0}, "n_repeats"),
    ],
)
def test_bad_parameters(change, message, cancer):
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    audit = PreprocessingLeakageAudit(**{"pipeline": pipeline, **change})
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("ignore")
        audit.fit(*cancer)


def test_bad_targets(cancer):
    X, _ = cancer
    audit = PreprocessingLeakageAudit(make_pipeline(StandardScaler(), Ridge()))
    with pytest.raises(ValueError, match="y"):
        audit.fit(X, None)
    with pytest.raises(ValueError, match="inconsistent"):
        audit.fit(X, np.zeros(3))
    audit.set_params(pipeline=make_pipeline(StandardScaler(), LogisticRegression()))
    with pytest.raises(ValueError, match="one class"):
        audit.fit(X, np.zeros(len(X), int))
