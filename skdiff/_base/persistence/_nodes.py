"""A value as a node of the header: written, checked, and built again."""

import math
import sys
from importlib import import_module
from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from skdiff._base.persistence._archive import PLAIN_KINDS
from skdiff._base.persistence._objects import (
    KINDS,
    recognise,
    requests_of,
    set_requests,
)

MOST_LEVELS = 100
# what a running fit hangs on an estimator and no file should hold
_TRANSIENT = {
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
    "_training_rows",  # rows of the user stay out of files
}
# classes that scikit-learn makes public only once they are enabled
_EXPERIMENTAL = {
    "HalvingGridSearchCV": "enable_halving_search_cv",
    "HalvingRandomSearchCV": "enable_halving_search_cv",
    "IterativeImputer": "enable_iterative_imputer",
}

Node = Any
Arrays = dict[str, Any]


# --- writing ----------------------------------------------------------------------


def encode(value: Any, arrays: Arrays, where: str) -> Node:
    """Turn a value into JSON; arrays go to ``arrays`` and leave their name behind."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"t": "float", "v": repr(value)}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        items = [encode(v, arrays, f"{where}[{i}]") for i, v in enumerate(value)]
        return {"t": type(value).__name__, "v": items}
    if isinstance(value, dict) and type(value) is not Bunch:
        pairs = [
            [encode(k, arrays, where), encode(v, arrays, f"{where}[{k!r}]")]
            for k, v in value.items()
        ]
        return {"t": "dict", "v": pairs}
    if isinstance(value, np.ma.MaskedArray):  # parameters in a table of results
        both = (np.asarray(value.data), np.ma.getmaskarray(value))
        return {"t": "masked", "v": [_encode_array(p, arrays, where) for p in both]}
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, where)
    if isinstance(value, np.generic) and value.dtype.kind in PLAIN_KINDS:
        return {"t": "scalar", "v": _store(np.asarray(value), arrays)}
    if isinstance(value, np.dtype) and value.kind in PLAIN_KINDS:
        return {"t": "dtype", "v": value.str}
    if isinstance(value, slice):
        parts = [value.start, value.stop, value.step]
        return {"t": "slice", "v": [encode(p, arrays, where) for p in parts]}
    if isinstance(value, BaseEstimator):
        return _encode_estimator(value, arrays, where)
    return _encode_object(value, arrays, where)


def _encode_object(value: Any, arrays: Arrays, where: str) -> Node:
    found = recognise(value)
    if found is None:
        try:
            type(value).__getstate__(value)  # type: ignore[call-arg]
        except TypeError as error:  # what pickle refuses says why
            raise TypeError(f"{where}: {error}") from None
        raise TypeError(
            f"{where} is a {type(value).__name__}, which a file without pickle cannot "
            "hold. Use pickle or joblib for this estimator."
        )
    kind, name = found
    parts = {
        key: encode(part, arrays, f"{where}.{key}")
        for key, part in KINDS[kind].take(value).items()
    }
    return {"t": kind, "name": name, "v": parts}


def _store(array: Any, arrays: Arrays) -> str:
    name = f"a{len(arrays)}"
    arrays[name] = array
    return name


def _encode_array(array: Any, arrays: Arrays, where: str) -> Node:
    if array.dtype.kind in PLAIN_KINDS and array.dtype.names is None:
        return {"t": "array", "v": _store(np.asarray(array), arrays)}
    if array.dtype == object:  # labels and feature names
        items = [encode(v, arrays, where) for v in array.ravel().tolist()]
        return {"t": "objects", "shape": list(array.shape), "v": items}
    raise TypeError(f"{where} is an array of dtype {array.dtype}, which is not saved.")


def _encode_estimator(estimator: Any, arrays: Arrays, where: str) -> Node:
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
    _validate(estimator)
    state = {k: v for k, v in estimator.__getstate__().items() if k not in _TRANSIENT}
    requests = requests_of(estimator)
    state.pop("_metadata_request", None)
    if defined := [key for key in state if _is_defined(type(estimator), key)]:
        raise TypeError(
            f"{where} has the attributes {defined}, which its class defines; they are "
            "not saved."
        )
    return {
        "t": "estimator",
        "class": path,
        "state": {
            key: encode(value, arrays, f"{where}.{key}") for key, value in state.items()
        },
        "requests": requests,
    }


def _validate(estimator: Any) -> None:
    """Check the parameters as ``fit`` does, where the class states what they are."""
    if hasattr(type(estimator), "_parameter_constraints"):
        estimator._validate_params()


def _is_defined(cls: type, key: str) -> bool:
    """Whether an attribute of the state would hide what the class defines."""
    return key not in _parameters(cls) and hasattr(cls, key)


def _parameters(cls: Any) -> set[str]:
    """Parameters of the class and of those it derives from.

    Lasso keeps a parameter of the elastic net that its own constructor does not have.
    """
    return {
        name
        for base in cls.__mro__
        if hasattr(base, "_get_param_names")
        for name in base._get_param_names()
    }


def _find_class(path: str) -> type[BaseEstimator]:
    """Return the public estimator class at ``package.module.Name``."""
    package, _, rest = path.partition(".")
    module, _, name = rest.rpartition(".")
    if package == "skdiff":
        public = module in sys.modules["skdiff"]._FAMILIES
    else:
        public = package == "sklearn" and module.split(".")[0] in sklearn.__all__
        public = public and not any(p.startswith("_") for p in module.split("."))
    if public:
        try:
            namespace = import_module(f"{package}.{module}")
            if package == "sklearn" and name in _EXPERIMENTAL:
                import_module(f"sklearn.experimental.{_EXPERIMENTAL[name]}")
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


# --- reading ---------------------------------------------------------------------


def check(node: Node, arrays: Arrays, depth: int = 0) -> None:
    """Walk the header before anything is built; raise on the first thing amiss."""
    if depth > MOST_LEVELS:
        raise ValueError("The header is nested too deeply.")
    if node is None or isinstance(node, (bool, int, float, str)):
        return
    if not isinstance(node, dict) or not isinstance(node.get("t"), str):
        raise ValueError("The header holds a value of no known form.")
    kind, value = node["t"], node.get("v")
    if kind == "estimator":
        _check_estimator(node, arrays, depth)
        return
    if kind in KINDS:
        _check_object(node, arrays, depth)
        return
    keys = {"t", "shape", "v"} if kind == "objects" else {"t", "v"}
    if set(node) != keys:
        raise ValueError(f"The header holds a {kind} with keys {sorted(node)}.")
    if kind in ("list", "tuple", "slice", "objects"):
        if not isinstance(value, list) or (kind == "slice" and len(value) != 3):
            raise ValueError(f"The header holds a malformed {kind}.")
        for item in value:
            check(item, arrays, depth + 1)
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
    elif kind in ("dtype", "numpy type"):  # the latter from before there was "type"
        _decode_type(kind, value)
    else:
        raise ValueError(f"The header holds a value of unknown kind {kind!r}.")


def _check_object(node: Node, arrays: Arrays, depth: int) -> None:
    """An object of the allow-list: its name and its parts, before it is built."""
    kind, parts = node["t"], node.get("v")
    if set(node) != {"t", "name", "v"} or not isinstance(parts, dict):
        raise ValueError(f"The header holds a malformed {kind}.")
    if not isinstance(node["name"], str) or node["name"] not in KINDS[kind].names():
        raise ValueError(f"The header names a {kind} {node['name']!r}: not listed.")
    for part in parts.values():
        check(part, arrays, depth + 1)


def _check_pairs(pairs: Node, arrays: Arrays, depth: int) -> None:
    if not isinstance(pairs, list):
        raise ValueError("The header holds a malformed dict.")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("The header holds a malformed dict.")
        if isinstance(pair[0], dict) and pair[0].get("t") not in ("tuple", "scalar"):
            raise ValueError("The header holds a dict with a key of no known form.")
        for item in pair:
            check(item, arrays, depth + 1)


def _check_masked(parts: Node, arrays: Arrays, depth: int) -> None:
    shapes = []
    if not isinstance(parts, list) or len(parts) != 2:
        raise ValueError("The header holds a malformed masked array.")
    for part in parts:
        check(part, arrays, depth + 1)
        kind = part.get("t") if isinstance(part, dict) else None
        if kind not in ("array", "objects"):
            raise ValueError("The header holds a malformed masked array.")
        declared = part if kind == "objects" else arrays[part["v"]]
        if not isinstance(declared, dict):
            raise ValueError("The header holds a malformed masked array.")
        shapes.append(declared.get("shape"))
    if declared.get("dtype") != "|b1" or shapes[0] != shapes[1]:
        raise ValueError("The header holds a masked array whose mask does not fit.")


def _check_shape(shape: Any, size: int) -> None:
    whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or math.prod(shape) != size:
        raise ValueError(f"The header declares the shape {shape} for {size} items.")


def _check_estimator(node: Node, arrays: Arrays, depth: int) -> None:
    if set(node) != {"t", "class", "state", "requests"}:
        raise ValueError(f"The header holds an estimator with keys {sorted(node)}.")
    if not isinstance(node["class"], str) or not isinstance(node["state"], dict):
        raise ValueError("The header holds a malformed estimator.")
    cls = _find_class(node["class"])
    parameters = set(cls._get_param_names())
    if missing := sorted(parameters - set(node["state"])):
        raise ValueError(f"The parameters {missing} of {node['class']} are missing.")
    inherited = _parameters(cls)
    for key, value in node["state"].items():
        private = key.startswith("_") and not key.startswith("__")
        if not (key in inherited or private or key.endswith("_")):
            raise ValueError(f"{node['class']} has no attribute {key!r} to restore.")
        if key.startswith("__") or not key.isidentifier() or _is_defined(cls, key):
            raise ValueError(f"{node['class']} has no attribute {key!r} to restore.")
        check(value, arrays, depth + 1)
    _check_requests(cls, node["requests"])


def _check_requests(cls: type, requests: Any) -> None:
    for method, arguments in (
        requests if isinstance(requests, dict) else {0: 0}
    ).items():
        settable = isinstance(method, str) and hasattr(cls, f"set_{method}_request")
        if not settable or not isinstance(arguments, dict):
            raise ValueError(f"The header holds malformed requests {requests!r}.")
        if not all(isinstance(v, (bool, str)) for v in arguments.values()):
            raise ValueError(f"The header holds malformed requests {requests!r}.")


def _decode_type(kind: str, text: Any) -> Any:
    try:
        dtype = np.dtype(text) if isinstance(text, str) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind not in PLAIN_KINDS or dtype.names is not None:
        raise ValueError(f"The header holds the {kind} {text!r}.")
    return dtype if kind == "dtype" else dtype.type


def decode(node: Node, arrays: Arrays) -> Any:
    """Build what :func:`check` has passed."""
    if not isinstance(node, dict):
        return node
    kind, value = node["t"], node.get("v", ())
    if kind == "estimator":
        return _decode_estimator(node, arrays)
    if kind in KINDS:
        return _decode_object(node, arrays)
    if kind == "array":
        return arrays[value]
    if kind == "scalar":
        return arrays[value][()]
    if kind == "float":
        return float(value)
    if kind in ("dtype", "numpy type"):
        return _decode_type(kind, value)
    if kind == "dict":
        return {decode(k, arrays): decode(v, arrays) for k, v in value}
    if kind == "masked":
        data, mask = (decode(part, arrays) for part in value)
        return np.ma.MaskedArray(data, mask=mask)
    items = [decode(item, arrays) for item in value]
    if kind == "objects":
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(node["shape"])
    return (
        slice(*items)
        if kind == "slice"
        else {"list": list, "tuple": tuple}[kind](items)
    )


def _decode_estimator(node: Node, arrays: Arrays) -> Any:
    cls: Any = _find_class(node["class"])
    estimator = cls.__new__(cls)
    state = {key: decode(value, arrays) for key, value in node["state"].items()}
    estimator.__setstate__(state)
    _validate(estimator)
    if hasattr(cls, "_check_loaded"):
        estimator._check_loaded()
    return set_requests(estimator, node["requests"])


def _decode_object(node: Node, arrays: Arrays) -> Any:
    parts = {key: decode(part, arrays) for key, part in node["v"].items()}
    try:
        return KINDS[node["t"]].build(node["name"], parts)
    except Exception as error:
        raise ValueError(
            f"The file's {node['name']} cannot be built: {error}"
        ) from error
