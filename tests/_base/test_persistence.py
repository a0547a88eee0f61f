"""Files without pickle: round trips, and strictness on what is not ours."""

import io
import json
import zipfile

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import skdiff


@pytest.fixture(scope="module")
def table():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X.iloc[:, :8], y.map({0: "malignant", 1: "benign"}).to_numpy()


@pytest.fixture(scope="module")
def model(table):
    columns = ColumnTransformer(
        [("scale", StandardScaler(), slice(0, 6)), ("code", OneHotEncoder(), [6])],
        sparse_threshold=0.0,
    )
    return make_pipeline(columns, LogisticRegression(class_weight={"benign": 2.0})).fit(
        *table
    )


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.npz"
    skdiff.save(model, path)
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def edit(path, change):
    """Rewrite a file with its header changed, everything else kept consistent."""
    parts = members(path)
    header = json.loads(np.load(io.BytesIO(parts["header.npy"])).tobytes())
    change(header)
    parts["header.npy"] = npy(np.frombuffer(json.dumps(header).encode(), np.uint8))
    write(path, parts)


def test_round_trip_keeps_every_prediction(model, saved, table):
    again = skdiff.load(saved)
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.predict(table[0]), model.predict(table[0]))
    np.testing.assert_array_equal(
        again.predict_proba(table[0]), model.predict_proba(table[0])
    )
    assert repr(again) == repr(model)


def test_unfitted_frozen_and_requested_metadata_survive(tmp_path, table):
    path = tmp_path / "m.npz"
    frozen = FrozenEstimator(Ridge(alpha=np.float32(2), solver="svd"))
    skdiff.save(frozen, path)
    again = skdiff.load(path).estimator.alpha
    assert again == np.float32(2) and type(again) is np.float32
    with sklearn.config_context(enable_metadata_routing=True):
        skdiff.save(Ridge().set_fit_request(sample_weight="w"), path)
        again = skdiff.load(path)
        assert again.get_metadata_routing().fit.requests == {"sample_weight": "w"}


def through_file(values, path):
    """A dictionary, saved as a parameter that may hold anything, and loaded again."""
    skdiff.save(FunctionTransformer(kw_args=values), path)
    return skdiff.load(path).kw_args


def test_values_keep_their_types(tmp_path):
    values = {
        "a": (1, 2.5, [None, True]),
        3: float("nan"),
        ("t", 1): np.dtype("<f4"),
        "kind": np.float32,
        "slice": slice(None, 4),
        "labels": np.array([["x", None], [1, "y"]], dtype=object),
        "i": np.int64(7),
        "when": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "none": np.empty((0, 3)),
        "inf": -float("inf"),
    }
    path = tmp_path / "values.npz"
    again = through_file(values, path)
    assert list(again) == list(values)
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(again[key], value)
            assert again[key].dtype == value.dtype and again[key].shape == value.shape
        elif key == 3:
            assert np.isnan(again[key])
        else:
            assert again[key] == value and type(again[key]) is type(value)


def test_masks_survive(tmp_path):
    words = np.ma.MaskedArray(
        np.array(["a", None, 3], dtype=object), mask=[False, True, False]
    )
    values = {"n": np.ma.MaskedArray([1.0, 2.0], mask=[True, False]), "w": words}
    again = through_file(values, tmp_path / "masked.npz")
    for name, value in values.items():
        assert isinstance(again[name], np.ma.MaskedArray)
        np.testing.assert_array_equal(again[name].mask, value.mask)
        np.testing.assert_array_equal(again[name].compressed(), value.compressed())


@pytest.mark.parametrize(
    ("estimator", "word"),
    [
        (FunctionTransformer(func=len), r"FunctionTransformer\.func is a builtin_func"),
        (FunctionTransformer(func=npy), r"FunctionTransformer\.func is a function"),
        (type("Homemade", (BaseEstimator,), {})(), "only estimators that"),
        ({"not": "an estimator"}, "must be an estimator instance"),
    ],
)
def test_what_has_no_form_is_named_and_leaves_no_file(estimator, word, tmp_path):
    with pytest.raises(TypeError, match=word):
        skdiff.save(estimator, tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_compiled_state_is_refused(tmp_path, table):
    forest = RandomForestClassifier(n_estimators=2).fit(*table)
    with pytest.raises(TypeError, match="pickle or joblib"):
        skdiff.save(forest, tmp_path / "m.npz")


def test_a_failed_write_leaves_the_old_file(saved, model, table, monkeypatch):
    before = saved.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        skdiff.save(model, saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("mutations", [500, pytest.param(3000, marks=pytest.mark.slow)])
def test_mutations_are_refused_or_harmless(saved, model, table, mutations):
    good = saved.read_bytes()
    expected = model.predict_proba(table[0])
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(mutations):
        data = bytearray(good)
        kind = rng.integers(4)
        # the directory at the end of the file is where a reader trusts most
        low = 0 if rng.uniform() < 0.7 else len(data) - 2000
        at = int(rng.integers(low, len(data)))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data[at] = int(rng.choice([0, 1, 127, 128, 255]))
        else:
            end = min(len(data), at + 16)
            data[at:end] = rng.bytes(end - at)
        saved.write_bytes(bytes(data))
        try:
            again = skdiff.load(saved)
        except ValueError:
            refused += 1
        else:  # a byte the archive format does not use
            np.testing.assert_array_equal(again.predict_proba(table[0]), expected)
    assert refused > 0.7 * mutations


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.print",
        "sklearn.base.clone",
        "sklearn.x.Y",
        "sklearn.linear_model.nothing",
        "sklearn.tests.test_base.MyEstimator",
        "sklearn.utils._mocking.CheckingClassifier",
        "skdiff._base.persistence.SaveMixin",
        "",
    ],
)
def test_classes_outside_the_public_estimators_are_refused(path, saved):
    edit(saved, lambda header: header["root"].update({"class": path}))
    with pytest.raises(ValueError, match=r"not a public estimator|no module"):
        skdiff.load(saved)


def deep(header):
    node = None
    for _ in range(150):
        node = {"t": "list", "v": [node]}
    header["root"]["state"]["steps"] = node


FIRST = {"t": "array", "v": "a0"}


def put(header, node):
    header["root"]["state"].update(a_=node)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda h: h.update(format_version=2), "format version 2"),
        (lambda h: h.update(extra=1), "has keys"),
        (lambda h: h.update(format="other"), "not a skdiff file"),
        (lambda h: h["arrays"].popitem(), "disagree"),
        (lambda h: h["arrays"].update(a0={"dtype": "<f8", "shape": [9]}), "not so"),
        (lambda h: h["root"]["state"].update(__class__="x"), "no attribute"),
        (lambda h: h["root"]["state"].update(fit="x"), "no attribute"),
        (lambda h: h["root"]["state"].pop("steps"), "missing"),
        (lambda h: h["root"]["state"].update(steps={"t": "call", "v": "x"}), "unknown"),
        (lambda h: h["root"]["state"].update(steps=[1]), "no known form"),
        (lambda h: h["root"]["state"].update(a_={"t": "array", "v": "z"}), "not list"),
        (lambda h: h["root"]["state"].update(a_={"t": "dtype", "v": "O"}), "dtype"),
        (lambda h: h["root"]["state"].update(a_={"t": "float", "v": "1"}), "float"),
        (lambda h: put(h, {"t": "masked", "v": [1]}), "malformed masked"),
        (lambda h: put(h, {"t": "masked", "v": [1, 2]}), "malformed masked"),
        (lambda h: put(h, {"t": "masked", "v": 2 * [FIRST]}), "does not fit"),
        (lambda h: h["root"].update(requests={"fit": {"w": 3}}), "requests"),
        (lambda h: h["root"].update(requests={"predict": {"w": True}}), "requests"),
        (deep, "deeply"),
    ],
)
def test_hostile_headers_are_refused(change, word, saved):
    edit(saved, change)
    with pytest.raises(ValueError, match=word):
        skdiff.load(saved)


def test_object_arrays_and_false_sizes_are_refused(saved):
    parts = members(saved)
    name = next(n for n in parts if n != "header.npy")
    pickled = npy(np.array([{"a": 1}], dtype=object))
    write(saved, {**parts, name: pickled})
    with pytest.raises(ValueError, match="dtype"):
        skdiff.load(saved)
    small = bytearray(npy(np.zeros(3)))
    write(saved, {**parts, name: bytes(small).replace(b"(3,)", b"(9,)")})
    with pytest.raises(ValueError, match="size differs"):
        skdiff.load(saved)


@pytest.mark.parametrize(
    "text",
    ["{'descr': '<f8', 'shape': (", "{[]: 1}", "-" * 9000 + "1", "  {}\n {}", "'\0'"],
    ids=["open", "unhashable", "deep", "indented", "null"],
)
def test_unreadable_array_headers_are_refused(text, saved):
    """NumPy's own parser answers these with what Python's compiler raised."""
    parts = members(saved)
    name = next(n for n in parts if n != "header.npy")
    size = len(text).to_bytes(2, "little")
    write(saved, {**parts, name: np.lib.format.magic(1, 0) + size + text.encode()})
    with pytest.raises(ValueError, match="header"):
        skdiff.load(saved)


def test_compressed_members_have_no_room(saved):
    write(saved, members(saved), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        skdiff.load(saved)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18])
def test_other_files_are_refused(data, tmp_path):
    path = tmp_path / "other.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="skdiff"):
        skdiff.load(path)


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        skdiff.load(tmp_path / "nothing.npz")
