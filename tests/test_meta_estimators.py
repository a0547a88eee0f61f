"""What every estimator around an estimator promises, whichever it is given.

Classes with a parameter ``estimator`` or ``estimators`` are found by themselves; each
is given pipelines around the models of its first quick configuration.
"""

import inspect
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from tests._common import quietly, said, seeded, table_for
from tests._discovery import all_estimators, instance

#: classes whose ``estimator`` cannot be a pipeline that is fitted here, and why
OTHERS = {
    "CalibratedProbabilityClassifier": "takes networks only",
    "ActiveSubspaceTransformer": "takes networks of its own room only",
    "OnlinePlattCalibrator": "takes a fitted classifier",
    "MarginalImputer": "takes models of a whole table, with a method ``impute``",
}
NAMES = [
    cls.__name__
    for cls in all_estimators()
    if {"estimator", "estimators"} & set(inspect.signature(cls).parameters)
    and cls.__name__ not in OTHERS
]
every_meta_estimator = pytest.mark.parametrize("name", NAMES)
pytestmark = pytest.mark.usefixtures("untouched")


class Refusing(TransformerMixin, BaseEstimator):
    """A step that fails to fit."""

    def fit(self, X, y=None):
        raise ValueError("refused")

    def transform(self, X):
        return X


def around(name, *steps, pipeline=make_pipeline):
    """The estimator with steps put before each model inside."""
    meta = seeded(instance(name))
    default = LogisticRegression() if is_classifier(meta) else Ridge()
    if "estimators" in meta.get_params(deep=False) and meta.estimators is not None:
        return meta.set_params(
            estimators=[pipeline(*map(clone, steps), e) for e in meta.estimators]
        )
    inner = default if meta.estimator is None else meta.estimator
    changed = {"estimator": pipeline(*map(clone, steps), inner)}
    if hasattr(getattr(meta, "selector", None), "estimator"):  # it reads the rows, too
        judge = pipeline(*map(clone, steps), meta.selector.estimator)
        changed["selector"] = clone(meta.selector).set_params(estimator=judge)
    prefix = changed["estimator"].steps[-1][0] + "__"
    for key, value in meta.get_params(deep=False).items():
        if isinstance(value, dict) and key.startswith("param"):
            changed[key] = {prefix + k: v for k, v in value.items()}
    return meta.set_params(**changed)


@every_meta_estimator
def test_a_failed_inner_fit_leaves_it_unfitted(name):
    meta = around(name, Refusing())
    X, y = table_for(meta)
    try:
        quietly(meta.fit, X, y)
        # it trains with the rows to predict
        with pytest.raises(ValueError, match="refused"):
            quietly(said, meta, X)
    except ValueError:
        # a method says NotFittedError, which is one; an attribute is not there
        with pytest.raises(AttributeError):
            said(meta, X)


def frames(X):
    """Frames with text, categories, nullable numbers, and one of polars."""
    kind = np.where(X.iloc[:, 0] > 0, "u", "v")
    X = X.drop(columns=X.columns[0])
    yield X.assign(kind=kind)
    yield X.assign(kind=kind).astype({"kind": "category"})
    yield X.convert_dtypes().assign(kind=kind)
    try:
        import polars
    except ImportError:
        return
    yield polars.DataFrame({**X.to_dict("list"), "kind": kind.tolist()})


@every_meta_estimator
def test_frames_of_every_kind_reach_the_models(name):
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"
    )
    found = []
    for X in frames(table_for(instance(name))[0]):
        meta = around(name, encode)
        _, y = table_for(meta)
        quietly(meta.fit, X, y)
        found.append(quietly(said, meta, X))
        assert list(meta.feature_names_in_) == list(X.columns)
        # columns in another order are refused, or picked by their names
        try:
            turned = quietly(said, meta, X[list(X.columns)[::-1]])
        except ValueError as error:
            assert "feature names" in str(error)
        else:
            np.testing.assert_array_equal(turned, found[-1])
    for one in found[1:]:
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, found[0], rtol=1e-6, atol=1e-6)
        else:
            assert np.mean(one == found[0]) > 0.99


@every_meta_estimator
def test_metadata_routing_changes_nothing(name):
    off = around(name, StandardScaler())
    X, y = table_for(off)
    quietly(off.fit, X, y)
    expected = quietly(said, off, X)
    with sklearn.config_context(enable_metadata_routing=True):
        on = around(name, StandardScaler())
        quietly(on.fit, X, y)
        np.testing.assert_array_equal(quietly(said, on, X), expected)


@every_meta_estimator
def test_samplers_run_as_their_pipeline_runs_them_or_are_refused(name):
    imblearn = pytest.importorskip("imblearn")
    from imblearn.pipeline import make_pipeline as with_samplers

    half = imblearn.FunctionSampler(func=lambda X, y: (X[::2], y[::2]), validate=False)
    meta = around(name, StandardScaler(), half, pipeline=with_samplers)
    X, y = table_for(meta)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            meta.fit(X, y)
        except (ValueError, TypeError) as error:
            assert "functionsampler" in str(error)
            return
        assert len(said(meta, X)) == len(X)


@every_meta_estimator
def test_the_same_call_gives_the_same_answer(name):
    # a step without a seed; some train with the rows to predict
    state = np.random.get_state()
    meta = around(name, GaussianRandomProjection(3))
    X, y = table_for(meta)
    quietly(meta.fit, X, y)
    first = quietly(said, meta, X)
    np.testing.assert_array_equal(quietly(said, meta, X), first)
    np.random.set_state(state)
