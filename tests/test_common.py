"""What every public estimator promises, whichever method it holds.

First scikit-learn's own checks, those it runs on everybody's estimators and those it
defines but runs on its own only; then ours.
"""

import copy
import inspect
import io
import pickle
import warnings
from unittest import SkipTest

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.parallel import Parallel, delayed

import skdiff
from skdiff._base.compat import has_callbacks
from tests._common import (
    answers,
    as_predictor,
    assert_same,
    every_instance,
    quietly,
    said,
    seeded,
    table_for,
)
from tests._discovery import all_estimators, classes, default_instance
from tests._instances import EXPECTED_FAILURES, SKIPPED
from tests._versions import own_weighted_scorer

pytestmark = pytest.mark.usefixtures("untouched")


def for_check(estimator, check):
    """The estimator as a check can take it.

    The sparse checks read classifier tags of whatever has ``predict_proba``, which a
    clusterer has not; our battery asks it for probabilities of sparse rows instead.
    """
    classifier = is_classifier(estimator)
    if classifier or "sparse" not in check or not hasattr(estimator, "predict_proba"):
        return estimator

    def hidden(self):
        raise AttributeError("predict_proba")

    cls = type(estimator)
    plain = type(cls.__name__, (cls,), {"predict_proba": property(hidden)})
    return plain(**estimator.get_params(deep=False))


def run_checks(estimator):
    """Run every check of scikit-learn; raise all that failed together."""
    expected = EXPECTED_FAILURES.get(type(estimator).__name__, {})
    allowed = SKIPPED.get(type(estimator).__name__, {})
    failed = []
    for candidate, check in estimator_checks_generator(estimator):
        name = getattr(check, "func", check).__name__
        try:
            check(for_check(candidate, name))
        except SkipTest as skipped:
            assert name in allowed, f"{name} was skipped: {skipped}"
        except Exception as error:
            if name not in expected:
                error.add_note(f"in {name}")
                failed.append(error)
        else:
            if name in expected:
                failed.append(AssertionError(f"{name} passes: remove its excuse"))
    if failed:
        raise ExceptionGroup(f"{estimator!r} fails {len(failed)} checks", failed)


@every_instance
def test_scikit_learn_checks(estimator):
    run_checks(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("cls", all_estimators(), ids=lambda cls: cls.__name__)
def test_scikit_learn_checks_with_defaults(cls):
    run_checks(default_instance(cls))


UNYIELDED = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
]
UNYIELDED_TRANSFORMER = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_get_feature_names_out_error",
]


@every_instance
def test_checks_that_scikit_learn_runs_on_its_own(estimator):
    checks = UNYIELDED
    if hasattr(estimator, "transform"):
        checks = UNYIELDED + UNYIELDED_TRANSFORMER
    else:
        assert not hasattr(type(estimator), "get_feature_names_out")
    allowed = SKIPPED.get(type(estimator).__name__, {})
    failed = []
    for name in checks:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(estimator_checks, name)(
                    type(estimator).__name__, clone(estimator)
                )
        except SkipTest as skipped:
            assert name in allowed, f"{name} was skipped: {skipped}"
        except Exception as error:
            error.add_note(f"in {name}")
            failed.append(error)
    if failed:
        raise ExceptionGroup(f"{estimator!r} fails {len(failed)} checks", failed)


@every_instance
def test_same_seed_same_answer_and_inputs_left_alone(estimator):
    X, y = table_for(estimator)
    X_before, y_before = X.copy(), y.copy()
    first = quietly(seeded(estimator).fit, X, y)
    second = quietly(seeded(estimator).fit, X, y)
    assert_same(answers(first, X), answers(second, X))
    assert X.equals(X_before) and y.equals(y_before)


@every_instance
def test_another_process_gives_the_same_answer(estimator, child):
    # through pickle here too: the memory layout decides the last bit of a product
    X, y = pickle.loads(pickle.dumps(table_for(estimator)))
    here = said(quietly(seeded(estimator).fit, X, y), X)
    (there,) = child.run("tests._common:fit_and_say", seeded(estimator), X, y)
    np.testing.assert_array_equal(there, here)


def through_joblib(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib")


def through_file(model, tmp_path):
    model.save(tmp_path / "model.npz")
    return type(model).load(tmp_path / "model.npz")


@every_instance
@pytest.mark.parametrize(
    "copied",
    [
        lambda model, folder: pickle.loads(pickle.dumps(model)),
        lambda model, folder: copy.deepcopy(model),
        through_joblib,
        through_file,
    ],
    ids=["pickle", "deepcopy", "joblib", "file"],
)
def test_a_copy_answers_bit_for_bit(estimator, copied, tmp_path):
    X, y = table_for(estimator)
    model = quietly(seeded(estimator).fit, X, y)
    expected = answers(model, X)
    again = copied(model, tmp_path)
    assert_same(answers(again, X), expected)
    assert again.get_params().keys() == model.get_params().keys()
    assert not hasattr(clone(again), "n_features_in_")
    # and it still learns
    assert_same(answers(quietly(again.fit, X, y), X), expected)


@every_instance
def test_unfitted_models_survive_a_file(estimator, tmp_path):
    estimator = clone(estimator)
    estimator.save(tmp_path / "model.npz")
    assert repr(skdiff.load(tmp_path / "model.npz")) == repr(estimator)
    other = next(c for c in classes().values() if c is not type(estimator))
    with pytest.raises(ValueError, match=f"not a {other.__name__}"):
        other.load(tmp_path / "model.npz")


@every_instance
def test_grid_search_inside_a_pipeline_in_another_process(estimator, child):
    X, y = table_for(estimator)
    pipeline = as_predictor(
        [("scale", StandardScaler()), ("method", seeded(estimator))]
    )
    method = clone(pipeline.named_steps["method"])
    grid = {"method": [method], "scale__with_mean": [True, False]}

    def searched(n_jobs):
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise")
        # a pool of joblib's own would import everything once more
        with joblib.parallel_config(backend="child"):
            return quietly(search.fit, X, y)

    one, two = searched(1), searched(2)
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    assert np.isfinite(two.best_score_)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


def fit_and_predict(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return said(estimator.fit(X, y), X)


@every_instance
def test_threads_give_the_serial_answer(estimator):
    X, y = table_for(estimator)
    serial = fit_and_predict(seeded(estimator), X, y)
    # the filters are process-wide state, which threads would race to restore
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parallel = Parallel(n_jobs=4, backend="threading")(
            delayed(seeded(estimator).fit)(X, y) for _ in range(4)
        )
        predicted = Parallel(n_jobs=8, backend="threading")(
            delayed(said)(parallel[0], X) for _ in range(8)
        )
    for model in parallel:
        np.testing.assert_array_equal(said(model, X), serial)
    for other in predicted:
        np.testing.assert_array_equal(other, serial)


@every_instance
def test_sample_weight_is_routed_through_a_pipeline(estimator):
    if "sample_weight" not in inspect.signature(estimator.fit).parameters:
        request = getattr(estimator, "set_fit_request", None)
        assert "sample_weight" not in inspect.signature(request or len).parameters
        return
    if hasattr(estimator, "fit_resample"):
        return  # its rows reach a model through SelectedFit, which has tests of its own
    X, y = table_for(estimator)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        method = seeded(estimator).set_fit_request(sample_weight=True)
        if hasattr(method, "predict"):
            method.set_score_request(sample_weight=True)
        pipeline = as_predictor([("scale", StandardScaler()), ("method", method)])
        if "linear" in pipeline.named_steps:
            linear = Ridge().set_fit_request(sample_weight=True)
            pipeline.set_params(linear=linear.set_score_request(sample_weight=True))
        pipeline.set_params(scale=StandardScaler().set_fit_request(sample_weight=False))
        quietly(pipeline.fit, X, y, sample_weight=weight)
        results = quietly(
            cross_validate,
            pipeline,
            X,
            y,
            cv=2,
            params={"sample_weight": weight},
            scoring=own_weighted_scorer(pipeline),
            error_score="raise",
        )
    scaled = StandardScaler().fit_transform(X)
    direct = quietly(seeded(estimator).fit, scaled, y, sample_weight=weight)
    if "linear" in pipeline.named_steps:
        pipeline = pipeline[:-1]
    np.testing.assert_array_equal(
        np.asarray(said(direct, scaled)), np.asarray(said(pipeline, X))
    )
    assert np.isfinite(results["test_score"]).all()


@every_instance
def test_string_labels_and_codes_are_one_problem(estimator):
    if not is_classifier(estimator):
        return
    X, y = table_for(estimator)
    codes = (y == "malignant").to_numpy().astype(int)  # the order of the sorted names
    words = quietly(seeded(estimator).fit, X, y)
    numbers = quietly(seeded(estimator).fit, X, codes)
    assert list(words.classes_) == ["benign", "malignant"]
    np.testing.assert_array_equal(words.predict(X) == "malignant", numbers.predict(X))
    if hasattr(words, "predict_proba"):
        np.testing.assert_array_equal(words.predict_proba(X), numbers.predict_proba(X))


@every_instance
def test_a_frame_and_its_array_are_one_table(estimator):
    X, y = table_for(estimator)
    framed = quietly(seeded(estimator).fit, X, y)
    plain = quietly(seeded(estimator).fit, X.to_numpy(), y.to_numpy())
    assert list(framed.feature_names_in_) == list(X.columns)
    assert_same(answers(framed, X), answers(plain, X.to_numpy()))
    if hasattr(framed, "fit_resample"):
        return
    with pytest.raises(ValueError, match="feature names"):
        said(framed, X[X.columns[::-1]])


@every_instance
def test_a_second_fit_forgets_the_first(estimator):
    X, y = table_for(estimator)
    model = quietly(seeded(estimator).fit, X.iloc[::-1, :3], y)
    quietly(model.fit, X, y)
    assert_same(answers(model, X), answers(quietly(seeded(estimator).fit, X, y), X))


@every_instance
def test_every_public_method_asks_for_a_fit_first(estimator):
    X, _ = table_for(estimator)
    for name, method in inspect.getmembers(clone(estimator), inspect.ismethod):
        needed = [
            p
            for p in inspect.signature(method).parameters.values()
            if p.default is p.empty
        ]
        required = [p for p in needed if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = {p.name: X.iloc[:, 0] for p in needed if p.kind is p.KEYWORD_ONLY}
        inference = [p.name for p in required] in (["X"], ["V"], [])
        ours = method.__func__.__module__.startswith("skdiff.")
        private = name.startswith("_")
        fits = name in ("fit", "fit_resample", "partial_fit", "get_params")
        if ours and inference and not private and not fits:
            if name in (
                "get_metadata_routing",
                "get_feature_names_out",
                "get_schedule",  # a plan, which parameters alone may settle
            ):
                continue
            with pytest.raises(NotFittedError):
                method(*[X] * len(required), **keywords)


@every_instance
def test_silence(estimator, capfd):
    X, y = table_for(estimator)
    said(quietly(seeded(estimator).fit, X, y), X)
    assert capfd.readouterr() == ("", "")


@every_instance
def test_verbose_shows_progress(estimator, capfd):
    if "verbose" not in estimator.get_params():
        return
    X, y = table_for(estimator)
    quietly(seeded(estimator).set_params(verbose=1).fit, X, y)
    out, err = capfd.readouterr()
    assert out and not err


class Recorder:
    """A scikit-learn callback that counts tasks and may ask to stop."""

    def __init__(self, stop=False):
        self.stop, self.begun, self.ended, self.torn_down = stop, 0, 0, 0

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **data):
        self.begun += 1

    def on_fit_task_end(self, estimator, context, **data):
        self.ended += 1
        return self.stop

    def teardown(self, estimator, context):
        self.torn_down += 1


@every_instance
def test_callbacks_reach_the_fit_and_can_stop_it(estimator):
    pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")
    if not hasattr(estimator, "set_callbacks"):
        return
    X, y = table_for(estimator)
    watched, stopped = Recorder(), Recorder(stop=True)
    model = seeded(estimator).set_callbacks(watched)
    assert has_callbacks(model)
    quietly(model.fit, X, y)
    assert watched.begun >= 1 and watched.ended >= 1 and watched.torn_down == 1
    assert_same(answers(model, X), answers(quietly(seeded(estimator).fit, X, y), X))
    if watched.ended > 2:
        said(quietly(seeded(estimator).set_callbacks(stopped).fit, X, y), X)
        assert stopped.ended < watched.ended
    buffer = io.BytesIO(pickle.dumps(model))
    assert_same(answers(pickle.load(buffer), X), answers(model, X))
