"""Saving fitted estimators in one file that cannot run code when it is read.

The file is an uncompressed ``.npz``: one member holds a JSON header, the others hold
arrays. No pickle is written and none is accepted. What may be rebuilt is decided by
the *reader*: estimators that skdiff or scikit-learn make public, plain values, arrays.
"""

import json
import math
import os
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from tokenize import TokenError

import numpy as np
import sklearn
from sklearn.base import BaseEstimator

from skdiff._base.compat import ClassPageMixin

FORMAT = "skdiff"
FORMAT_VERSION = 1
MAX_BYTES = 4 * 2**30
_HEADER = "header.npy"
_HEADER_KEYS = {"format", "format_version", "versions", "arrays", "root"}
_PLAIN_KINDS = "biufcUSmM"
# what a running fit hangs on an estimator and no file should hold
_TRANSIENT = {
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
}


class SaveMixin(ClassPageMixin):
    """Give an estimator :meth:`save` and :meth:`load`."""

    def save(self, path):
        """Save the estimator in one file without pickle.

        Parameters
        ----------
        path : str or path-like
            File to write, conventionally with the suffix ``.npz``. It is replaced as a
            whole or, when writing fails, left as it was.

        Raises
        ------
        TypeError
            If the estimator holds something the format has no form for, such as a
            function given as a parameter; the message names it.
        """
        save(self, path)

    @classmethod
    def load(cls, path):
        """Load an estimator of this class from a file written by :meth:`save`.

        Parameters
        ----------
        path : str or path-like
            File to read. Nothing in it is run.

        Returns
        -------
        estimator : instance of this class
            The estimator as it was saved.

        Raises
        ------
        ValueError
            If the file is damaged, hostile, of a newer format, or holds an estimator
            of another class.
        """
        estimator = load(path)
        if not isinstance(estimator, cls):
            raise ValueError(
                f"{path} holds a {type(estimator).__name__}, not a {cls.__name__}."
            )
        return estimator


def save(estimator, path):
    """Save an estimator in one file without pickle.

    The file holds arrays and a JSON header and can be read on another machine by
    :func:`load` without running anything. Estimators of scikit-learn inside (a pipeline
    given as ``estimator``, for instance) are saved too, as far as their state is made
    of plain values and arrays.

    Parameters
    ----------
    estimator : estimator instance
        A fitted or unfitted estimator of skdiff or scikit-learn.
    path : str or path-like
        File to write, conventionally with the suffix ``.npz``. It is replaced as a
        whole or, when writing fails, left as it was.

    Raises
    ------
    TypeError
        If the estimator holds something the format has no form for; the message names
        it. Use :mod:`pickle` or joblib then, and load such files only from people you
        trust.

    See Also
    --------
    load : Read such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import skdiff
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skdiff.save(model, os.path.join(folder, "model.npz"))
    ...     again = skdiff.load(os.path.join(folder, "model.npz"))
    >>> bool((again.predict(X) == model.predict(X)).all())
    True
    """
    arrays = {}
    root = _encode(estimator, arrays, type(estimator).__name__)
    if not isinstance(root, dict) or root.get("t") != "estimator":
        raise TypeError(f"estimator must be an estimator instance, got {estimator!r}.")
    from skdiff import __version__

    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": {
            "skdiff": __version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        "arrays": {
            name: {"dtype": a.dtype.str, "shape": list(a.shape)}
            for name, a in arrays.items()
        },
        "root": root,
    }
    text = json.dumps(header, allow_nan=False).encode()
    arrays = {"header": np.frombuffer(text, dtype=np.uint8), **arrays}
    path = Path(path)
    # a neighbour renamed into place: a full disk or an interrupt leaves the old file
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path):
    """Load an estimator from a file written by :func:`save`.

    Nothing in the file is run: only estimators that skdiff or scikit-learn make
    public are built, and their state is plain values and arrays. The whole header is
    checked before anything is built.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    estimator : estimator instance
        The estimator as it was saved.

    Raises
    ------
    ValueError
        If the file is damaged, hostile or of a newer format.

    See Also
    --------
    save : Write such a file.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            sizes = _check_members(archive, os.fstat(file.fileno()).st_size)
            header = _read_header(archive, sizes)
            _check_node(header["root"], header["arrays"])
            arrays = {
                name: _read_array(archive, sizes, f"{name}.npy", declared)
                for name, declared in header["arrays"].items()
            }
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or not a skdiff file: {error}") from error
    return _decode(header["root"], arrays)


# --- writing ----------------------------------------------------------------------


def _encode(value, arrays, where):
    """Turn a value into JSON; arrays go to ``arrays`` and leave their name behind."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"t": "float", "v": repr(value)}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        items = [_encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]
        return {"t": type(value).__name__, "v": items}
    if isinstance(value, dict):
        pairs = [
            [_encode(k, arrays, where), _encode(v, arrays, f"{where}[{k!r}]")]
            for k, v in value.items()
        ]
        return {"t": "dict", "v": pairs}
    if isinstance(value, np.ma.MaskedArray):  # parameters in a table of results
        parts = (np.asarray(value.data), np.ma.getmaskarray(value))
        return {"t": "masked", "v": [_encode_array(p, arrays, where) for p in parts]}
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, where)
    if isinstance(value, np.generic) and value.dtype.kind in _PLAIN_KINDS:
        return {"t": "scalar", "v": _store(np.asarray(value), arrays)}
    if isinstance(value, np.dtype) and value.kind in _PLAIN_KINDS:
        return {"t": "dtype", "v": value.str}
    if isinstance(value, type) and issubclass(value, np.generic):
        return {"t": "numpy type", "v": value.__name__}
    if isinstance(value, slice):
        parts = [value.start, value.stop, value.step]
        return {"t": "slice", "v": [_encode(p, arrays, where) for p in parts]}
    if isinstance(value, BaseEstimator):
        return _encode_estimator(value, arrays, where)
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a file without pickle cannot "
        "hold. Use pickle or joblib for this estimator."
    )


def _store(array, arrays):
    name = f"a{len(arrays)}"
    arrays[name] = array
    return name


def _encode_array(array, arrays, where):
    if array.dtype.kind in _PLAIN_KINDS and array.dtype.names is None:
        return {"t": "array", "v": _store(np.asarray(array), arrays)}
    if array.dtype == object:  # labels and feature names
        items = [_encode(v, arrays, where) for v in array.ravel().tolist()]
        return {"t": "objects", "shape": list(array.shape), "v": items}
    raise TypeError(f"{where} is an array of dtype {array.dtype}, which is not saved.")


def _encode_estimator(estimator, arrays, where):
    module = type(estimator).__module__.split("._")[0]
    path = f"{module}.{type(estimator).__name__}"
    try:
        public = _find_class(path)
    except ValueError:
        public = None
    if public is not type(estimator):
        raise TypeError(
            f"{where} is a {type(estimator).__name__}, and only estimators that skdiff "
            "or scikit-learn make public are saved without pickle."
        )
    state = {k: v for k, v in estimator.__getstate__().items() if k not in _TRANSIENT}
    requests = _requests(estimator) if state.pop("_metadata_request", None) else {}
    return {
        "t": "estimator",
        "class": path,
        "state": {
            key: _encode(value, arrays, f"{where}.{key}")
            for key, value in state.items()
        },
        "requests": requests,
    }


def _requests(estimator):
    """Metadata requests the user set: ``{method: {argument: bool or alias}}``."""
    routing = estimator.get_metadata_routing()
    methods = [m[4:-8] for m in dir(estimator) if m.startswith("set_")]
    return {
        m: {k: v for k, v in getattr(routing, m).requests.items() if v is not None}
        for m in methods
        if hasattr(estimator, f"set_{m}_request")
    }


# --- reading ----------------------------------------------------------------------


def _find_class(path):
    """Return the public estimator class at ``package.module.Name``."""
    package, _, rest = path.partition(".")
    module, _, name = rest.rpartition(".")
    if package == "skdiff":
        import skdiff

        public = module in skdiff._FAMILIES
    else:
        public = package == "sklearn" and module.split(".")[0] in sklearn.__all__
        public = public and not any(p.startswith("_") for p in module.split("."))
    if public:
        try:
            namespace = import_module(f"{package}.{module}")
        except ImportError as error:
            raise ValueError(f"There is no module {package}.{module}.") from error
        found = vars(namespace).get(name)
        if isinstance(found, type) and issubclass(found, BaseEstimator):
            # some of scikit-learn's public modules keep no list
            here = not name.startswith("_") and found.__module__ == namespace.__name__
            if name in getattr(namespace, "__all__", [name] if here else []):
                return found
    raise ValueError(
        f"{path} is not a public estimator of skdiff or scikit-learn; the file is not "
        "read."
    )


def _check_members(archive, file_size):
    """Return member sizes; refuse whatever could grow or repeat when read."""
    sizes = {}
    for member in archive.infolist():
        # stored members cannot inflate, and together cannot exceed the file, so an
        # archive bomb has no room
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ValueError("A skdiff file has no compressed or encrypted member.")
        if member.filename in sizes:
            raise ValueError(f"Member {member.filename} stands twice in the file.")
        sizes[member.filename] = member.file_size
    if sum(sizes.values()) > min(file_size, MAX_BYTES):
        raise ValueError("The members claim more bytes than the file has.")
    return sizes


def _read_header(archive, sizes):
    if _HEADER not in sizes:
        raise ValueError("The file has no skdiff header.")
    raw = _read_array(archive, sizes, _HEADER)
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise ValueError("The header is not a string of bytes.")
    try:
        header = json.loads(raw.tobytes().decode(), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"The header is not valid JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("The file is not a skdiff file.")
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"The file has format version {header.get('format_version')!r}; this "
            f"skdiff reads version {FORMAT_VERSION}."
        )
    if set(header) != _HEADER_KEYS:
        raise ValueError(f"The header has keys {sorted(map(str, header))}.")
    declared = header["arrays"]
    if not isinstance(declared, dict):
        raise ValueError("The header's list of arrays is not a dictionary.")
    if {f"{name}.npy" for name in declared} | {_HEADER} != set(sizes):
        raise ValueError("The header and the members of the file disagree.")
    return header


def _refuse_constant(constant):
    raise ValueError(f"The header holds {constant}, which is not JSON.")


def _read_array(archive, sizes, member, declared=None):
    """Read one member, once its own header agrees with its size and declaration."""
    formats = np.lib.format
    with archive.open(member) as file:
        version = formats.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{member} has array format {version}.")
        try:
            shape, _, dtype = formats.read_array_header_1_0(file)
        except (SyntaxError, TokenError, TypeError, MemoryError) as error:
            # numpy's parser lets what Python says of such a text through
            raise ValueError(f"{member} has an unreadable header: {error}") from error
        if dtype.kind not in _PLAIN_KINDS or dtype.names is not None:
            raise ValueError(f"{member} has dtype {dtype}, which is not accepted.")
        if any(n < 0 for n in shape):
            raise ValueError(f"{member} declares the shape {shape}.")
        if math.prod(shape) * dtype.itemsize != sizes[member] - file.tell():
            raise ValueError(f"{member} declares the shape {shape}, its size differs.")
    if declared is not None and declared != {"dtype": dtype.str, "shape": list(shape)}:
        raise ValueError(f"The header declares {declared} for {member}: not so.")
    with archive.open(member) as file:
        return formats.read_array(file, allow_pickle=False)


def _check_node(node, arrays, depth=0):
    """Walk the header before anything is built; raise on the first thing amiss."""
    if depth > 100:
        raise ValueError("The header is nested too deeply.")
    if node is None or isinstance(node, (bool, int, float, str)):
        return
    if not isinstance(node, dict) or not isinstance(node.get("t"), str):
        raise ValueError("The header holds a value of no known form.")
    kind, value = node["t"], node.get("v")
    if kind == "estimator":
        _check_estimator(node, arrays, depth)
        return
    keys = {"t", "shape", "v"} if kind == "objects" else {"t", "v"}
    if set(node) != keys:
        raise ValueError(f"The header holds a {kind} with keys {sorted(node)}.")
    if kind in ("list", "tuple", "slice", "objects"):
        if not isinstance(value, list) or (kind == "slice" and len(value) != 3):
            raise ValueError(f"The header holds a malformed {kind}.")
        for item in value:
            _check_node(item, arrays, depth + 1)
        if kind == "objects":
            _check_shape(node["shape"], len(value))
    elif kind == "dict":
        _check_pairs(value, arrays, depth)
    elif kind == "masked":
        _check_masked(value, arrays, depth)
    elif kind in ("array", "scalar"):
        if not isinstance(value, str) or value not in arrays:
            raise ValueError(f"The header names an array {value!r} it does not list.")
    elif kind == "float":
        if value not in ("nan", "inf", "-inf"):
            raise ValueError(f"The header holds the float {value!r}.")
    elif kind in ("dtype", "numpy type"):
        _decode_type(kind, value)
    else:
        raise ValueError(f"The header holds a value of unknown kind {kind!r}.")


def _check_pairs(pairs, arrays, depth):
    if not isinstance(pairs, list):
        raise ValueError("The header holds a malformed dict.")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("The header holds a malformed dict.")
        if isinstance(pair[0], dict) and pair[0].get("t") not in ("tuple", "scalar"):
            raise ValueError("The header holds a dict with a key of no known form.")
        for item in pair:
            _check_node(item, arrays, depth + 1)


def _check_masked(parts, arrays, depth):
    shapes = []
    if not isinstance(parts, list) or len(parts) != 2:
        raise ValueError("The header holds a malformed masked array.")
    for part in parts:
        _check_node(part, arrays, depth + 1)
        kind = part.get("t") if isinstance(part, dict) else None
        if kind not in ("array", "objects"):
            raise ValueError("The header holds a malformed masked array.")
        declared = part if kind == "objects" else arrays[part["v"]]
        if not isinstance(declared, dict):
            raise ValueError("The header holds a malformed masked array.")
        shapes.append(declared.get("shape"))
    if declared.get("dtype") != "|b1" or shapes[0] != shapes[1]:
        raise ValueError("The header holds a masked array whose mask does not fit.")


def _check_shape(shape, size):
    whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or math.prod(shape) != size:
        raise ValueError(f"The header declares the shape {shape} for {size} items.")


def _check_estimator(node, arrays, depth):
    if set(node) != {"t", "class", "state", "requests"}:
        raise ValueError(f"The header holds an estimator with keys {sorted(node)}.")
    if not isinstance(node["class"], str) or not isinstance(node["state"], dict):
        raise ValueError("The header holds a malformed estimator.")
    cls = _find_class(node["class"])
    parameters = set(cls._get_param_names())
    if missing := sorted(parameters - set(node["state"])):
        raise ValueError(f"The parameters {missing} of {node['class']} are missing.")
    # Lasso keeps a parameter of the elastic net it derives from
    inherited = {
        name
        for base in cls.__mro__
        if hasattr(base, "_get_param_names")
        for name in base._get_param_names()
    }
    for key, value in node["state"].items():
        private = key.startswith("_") and not key.startswith("__")
        if not (key in inherited or private or key.endswith("_")):
            raise ValueError(f"{node['class']} has no attribute {key!r} to restore.")
        if key.startswith("__") or not key.isidentifier():
            raise ValueError(f"{node['class']} has no attribute {key!r} to restore.")
        _check_node(value, arrays, depth + 1)
    _check_requests(cls, node["requests"])


def _check_requests(cls, requests):
    for method, arguments in (
        requests if isinstance(requests, dict) else {0: 0}
    ).items():
        settable = isinstance(method, str) and hasattr(cls, f"set_{method}_request")
        if not settable or not isinstance(arguments, dict):
            raise ValueError(f"The header holds malformed requests {requests!r}.")
        if not all(isinstance(v, (bool, str)) for v in arguments.values()):
            raise ValueError(f"The header holds malformed requests {requests!r}.")


def _decode_type(kind, text):
    try:
        dtype = np.dtype(text) if isinstance(text, str) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind not in _PLAIN_KINDS or dtype.names is not None:
        raise ValueError(f"The header holds the {kind} {text!r}.")
    return dtype if kind == "dtype" else dtype.type


def _decode(node, arrays):
    """Build what :func:`_check_node` has passed."""
    if not isinstance(node, dict):
        return node
    kind, value = node["t"], node.get("v")
    if kind == "estimator":
        return _decode_estimator(node, arrays)
    if kind == "array":
        return arrays[value]
    if kind == "scalar":
        return arrays[value][()]
    if kind == "float":
        return float(value)
    if kind in ("dtype", "numpy type"):
        return _decode_type(kind, value)
    if kind == "dict":
        return {_decode(k, arrays): _decode(v, arrays) for k, v in value}
    if kind == "masked":
        data, mask = (_decode(part, arrays) for part in value)
        return np.ma.MaskedArray(data, mask=mask)
    items = [_decode(item, arrays) for item in value]
    if kind == "objects":
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(node["shape"])
    return (
        slice(*items)
        if kind == "slice"
        else {"list": list, "tuple": tuple}[kind](items)
    )


def _decode_estimator(node, arrays):
    cls = _find_class(node["class"])
    estimator = cls.__new__(cls)
    state = {key: _decode(value, arrays) for key, value in node["state"].items()}
    estimator.__setstate__(state)
    with sklearn.config_context(enable_metadata_routing=True):
        for method, arguments in node["requests"].items():
            if arguments:
                try:
                    getattr(estimator, f"set_{method}_request")(**arguments)
                except TypeError as error:
                    raise ValueError(f"The header's requests: {error}") from error
    return estimator
