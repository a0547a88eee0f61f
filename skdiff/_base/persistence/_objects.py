"""Everyday objects beside estimators that a file may hold: the allow-list.

A kind says which values it holds (by exact type), takes one apart into named parts, and
builds it again from checked parts by its public constructor. The guide prints the list
from ``describe``.
"""

import builtins
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from fractions import Fraction
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import sklearn
from scipy import sparse
from sklearn import metrics, model_selection
from sklearn.compose import make_column_selector
from sklearn.dummy import DummyRegressor
from sklearn.metrics import check_scoring, make_scorer
from sklearn.utils import Bunch

Parts = dict[str, Any]

SPLITTERS = (
    "GroupKFold",
    "GroupShuffleSplit",
    "KFold",
    "LeaveOneGroupOut",
    "LeaveOneOut",
    "LeavePGroupsOut",
    "LeavePOut",
    "PredefinedSplit",
    "RepeatedKFold",
    "RepeatedStratifiedKFold",
    "ShuffleSplit",
    "StratifiedGroupKFold",
    "StratifiedKFold",
    "StratifiedShuffleSplit",
    "TimeSeriesSplit",
)
FEATURE_SCORES = (
    "chi2",
    "f_classif",
    "f_regression",
    "mutual_info_classif",
    "mutual_info_regression",
    "r_regression",
)
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
SPARSE = ("csc_array", "csc_matrix", "csr_array", "csr_matrix")
TYPES = ("bool", "float", "int", "object", "str")
_MT19937_WORDS = 624


class Kind(NamedTuple):
    """One kind of object, by functions.

    ``name_of(value)`` is the name under which a value is listed, or None where it is
    of another kind; ``take(value)`` are its parts; ``build(name, parts)`` raises on
    anything that does not belong there.
    """

    text: str
    names: Callable[[], tuple[str, ...]]
    name_of: Callable[[Any], str | None]
    take: Callable[[Any], Parts]
    build: Callable[[str, Parts], Any]


# --- metadata requests --------------------------------------------------------------


def requests_of(thing: Any) -> dict[str, dict[str, bool | str]]:
    """Metadata requests the user set: ``{method: {argument: bool or alias}}``."""
    if not vars(thing).get("_metadata_request"):
        return {}
    routing = thing.get_metadata_routing()
    # what an estimator around others requests itself, beside what it hands on
    routing = getattr(routing, "_self_request", None) or routing
    methods = [m[4:-8] for m in dir(thing) if m.startswith("set_")]
    return {
        m: {k: v for k, v in getattr(routing, m).requests.items() if v is not None}
        for m in methods
        if hasattr(thing, f"set_{m}_request")
    }


def set_requests(thing: Any, requests: Mapping[str, Mapping[str, bool | str]]) -> Any:
    """Set the requests again."""
    with sklearn.config_context(enable_metadata_routing=True):
        for method, arguments in requests.items():
            if arguments:
                getattr(thing, f"set_{method}_request")(**arguments)
    return thing


# --- functions ----------------------------------------------------------------------


def _functions() -> dict[str, Any]:
    """``{path: function}`` of what may be given as a metric, a score or a step."""
    from skdiff import metrics as own

    found = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in (metrics, own)
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    }
    chosen = import_module("sklearn.feature_selection")
    found |= {
        f"{chosen.__name__}.{name}": getattr(chosen, name) for name in FEATURE_SCORES
    }
    found |= {
        f"numpy.{name}": value
        for name, value in vars(np).items()
        if isinstance(value, np.ufunc) and not name.startswith("_")
    }
    return found


def _function_name(value: Any) -> str | None:
    if not (inspect.isfunction(value) or isinstance(value, np.ufunc)):
        return None
    return next((p for p, function in _functions().items() if function is value), None)


def _build_function(name: str, parts: Parts) -> Any:
    _no_parts(parts)
    return _functions()[name]


# --- splitters, scorers, selectors of columns ---------------------------------------


def _named(module: Any, names: tuple[str, ...]) -> Callable[[Any], str | None]:
    """Recognise instances of exactly the listed classes of a module."""

    def name_of(value: Any) -> str | None:
        name = type(value).__name__
        same = name in names and type(value) is getattr(module, name, None)
        return name if same else None

    return name_of


def _take_splitter(value: Any) -> Parts:
    parameters = [
        name
        for name, p in inspect.signature(type(value).__init__).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != "self"
    ]
    # repeated splitters keep those of the one they repeat in cvargs
    inner = getattr(value, "cvargs", {})
    parts = {n: vars(value)[n] if n in vars(value) else inner[n] for n in parameters}
    return {"parameters": parts, "requests": requests_of(value)}


def _build_splitter(name: str, parts: Parts) -> Any:
    parameters, requests = _exactly(parts, "parameters", "requests")
    return set_requests(getattr(model_selection, name)(**parameters), requests)


def _scorer_name(value: Any) -> str | None:
    return "scorer" if type(value) is type(make_scorer(metrics.r2_score)) else None


def _take_scorer(value: Any) -> Parts:
    return {
        "function": value._score_func,
        "greater_is_better": value._sign > 0,
        "response_method": value._response_method,
        "arguments": value._kwargs,
        "requests": requests_of(value),
    }


def _build_scorer(name: str, parts: Parts) -> Any:
    function, greater, method, arguments, requests = _exactly(
        parts,
        "function",
        "greater_is_better",
        "response_method",
        "arguments",
        "requests",
    )
    if not inspect.isfunction(function) or type(greater) is not bool:
        raise ValueError("a scorer needs a metric and the sign of it")
    names = [method] if isinstance(method, str) else method
    known = {"predict", "predict_proba", "decision_function"}
    if not isinstance(names, list | tuple) or not known.issuperset(names):
        raise ValueError(f"a scorer has no response method {method!r}")
    scorer = make_scorer(
        function, response_method=method, greater_is_better=greater, **arguments
    )
    return set_requests(scorer, requests)


def _own_score(value: Any) -> str | None:
    # the class is private; an instance tells it
    kind = type(check_scoring(DummyRegressor(), None))
    return "own score" if type(value) is kind else None


def _build_own_score(name: str, parts: Parts) -> Any:
    (estimator,) = _exactly(parts, "estimator")
    return check_scoring(estimator, None)


def _build_selector(name: str, parts: Parts) -> Any:
    pattern, *dtypes = _exactly(parts, "pattern", "dtype_include", "dtype_exclude")
    if not (pattern is None or isinstance(pattern, str)):
        raise ValueError("the pattern of make_column_selector is no text")
    return make_column_selector(
        pattern, dtype_include=dtypes[0], dtype_exclude=dtypes[1]
    )


# --- kernels ------------------------------------------------------------------------


def _kernels() -> tuple[str, ...]:
    module = import_module("sklearn.gaussian_process.kernels")
    return tuple(
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, module.Kernel)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
    )


def _kernel_name(value: Any) -> str | None:
    # scikit-learn's Gaussian processes are not imported to look at another value
    if type(value).__module__ != "sklearn.gaussian_process.kernels":
        return None
    name = type(value).__name__
    return name if name in _kernels() else None


def _build_kernel(name: str, parts: Parts) -> Any:
    (parameters,) = _exactly(parts, "parameters")
    kernel = getattr(import_module("sklearn.gaussian_process.kernels"), name)
    return kernel(**parameters)


# --- randomness ---------------------------------------------------------------------


def _distributions() -> tuple[str, ...]:
    stats = import_module("scipy.stats")
    kinds = (stats.rv_continuous, stats.rv_discrete)
    return tuple(
        name
        for name, value in vars(stats).items()
        if isinstance(value, kinds) and not name.startswith("_")
    )


def _distribution_name(value: Any) -> str | None:
    stats = import_module("scipy.stats")
    # the classes are private; instances tell them
    if type(value) not in (type(stats.norm()), type(stats.bernoulli(0.5))):
        return None
    name = str(value.dist.name)
    same = type(getattr(stats, name, None)) is type(value.dist)
    return name if same and name in _distributions() else None


def _take_distribution(value: Any) -> Parts:
    own = value.random_state is not np.random.mtrand._rand
    return {
        "args": value.args,
        "kwds": value.kwds,
        "random_state": value.random_state if own else None,
    }


def _build_distribution(name: str, parts: Parts) -> Any:
    args, kwds, random_state = _exactly(parts, "args", "kwds", "random_state")
    frozen = getattr(import_module("scipy.stats"), name)(*args, **kwds)
    if random_state is not None:
        frozen.random_state = random_state
    return frozen


def _build_random_state(name: str, parts: Parts) -> Any:
    (state,) = _exactly(parts, "state")
    _check_mersenne(state)
    random_state = np.random.RandomState()
    random_state.set_state(state)
    return random_state


def _build_generator(name: str, parts: Parts) -> Any:
    (state,) = _exactly(parts, "state")
    if name == "MT19937":
        _check_mersenne(state)
    if name == "Philox" and not 0 <= int(state["buffer_pos"]) <= 4:
        raise ValueError("the state of a Philox generator is out of bounds")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)


def _check_mersenne(state: Any) -> None:
    """NumPy does not check the position, from which it reads memory."""
    if state["bit_generator"] != "MT19937":
        raise ValueError("the state is not one of MT19937")
    key, position = np.asarray(state["state"]["key"]), state["state"]["pos"]
    fits = key.shape == (_MT19937_WORDS,) and key.dtype == np.uint32
    if not fits or type(position) is not int or not 0 <= position <= _MT19937_WORDS:
        raise ValueError("the state of the random numbers is out of bounds")


# --- containers ---------------------------------------------------------------------


def _take_sparse(value: Any) -> Parts:
    return {
        "data": value.data,
        "indices": value.indices,
        "indptr": value.indptr,
        "shape": tuple(map(int, value.shape)),
    }


def _build_sparse(name: str, parts: Parts) -> Any:
    data, indices, indptr, shape = _exactly(parts, "data", "indices", "indptr", "shape")
    table = getattr(sparse, name)((data, indices, indptr), shape=shape)
    table.check_format(full_check=True)  # every index within the shape
    return table


def _build_range(name: str, parts: Parts) -> Any:
    return range(*_exactly(parts, "start", "stop", "step"))


def _build_bunch(name: str, parts: Parts) -> Any:
    return Bunch(**parts)


def _records() -> dict[str, type]:
    """Public frozen dataclasses of skdiff, such as intervals of a search."""
    import skdiff

    return {
        f"{family}.{name}": thing
        for family in skdiff._FAMILIES
        for name, thing in _public(family).items()
        if isinstance(thing, type)
        and dataclasses.is_dataclass(thing)
        and thing.__dataclass_params__.frozen  # type: ignore[attr-defined]
    }


def _public(family: str) -> dict[str, Any]:
    module = import_module(f"skdiff.{family}")
    return {name: getattr(module, name) for name in module.__all__}


def _record_name(value: Any) -> str | None:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return None
    return next((n for n, cls in _records().items() if cls is type(value)), None)


def _take_record(value: Any) -> Parts:
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}


def _build_record(name: str, parts: Parts) -> Any:
    return _records()[name](**parts)


def _type_name(value: Any) -> str | None:
    if not isinstance(value, type):
        return None
    name = value.__name__
    if name in TYPES and value is getattr(builtins, name):
        return name
    same = issubclass(value, np.generic) and getattr(np, name, None) is value
    return f"numpy.{name}" if same else None


def _types() -> tuple[str, ...]:
    scalars = {
        f"numpy.{name}"
        for name, value in vars(np).items()
        if isinstance(value, type) and issubclass(value, np.generic)
    }
    return (*TYPES, *sorted(scalars))


def _build_type(name: str, parts: Parts) -> Any:
    _no_parts(parts)
    module, _, short = name.rpartition(".")
    return getattr(np if module else builtins, short)


# --- helpers ------------------------------------------------------------------------


def _exactly(parts: Parts, *names: str) -> list[Any]:
    if set(parts) != set(names):
        raise ValueError(f"the parts are {sorted(parts)}, not {sorted(names)}")
    return [parts[name] for name in names]


def _no_parts(parts: Parts) -> None:
    _exactly(parts)


def _one(name: str) -> Callable[[], tuple[str, ...]]:
    return lambda: (name,)


def _exact(cls: type, name: str) -> Callable[[Any], str | None]:
    return lambda value: name if type(value) is cls else None


KINDS: dict[str, Kind] = {
    "splitter": Kind(
        "splitters of ``sklearn.model_selection``",
        lambda: SPLITTERS,
        _named(model_selection, SPLITTERS),
        _take_splitter,
        _build_splitter,
    ),
    "scorer": Kind(
        "scorers of ``make_scorer`` and ``get_scorer`` around a listed function",
        _one("scorer"),
        _scorer_name,
        _take_scorer,
        _build_scorer,
    ),
    "own score": Kind(
        "the scorer that calls an estimator's own ``score``",
        _one("own score"),
        _own_score,
        lambda value: {"estimator": value._estimator},
        _build_own_score,
    ),
    "function": Kind(
        "functions: those of ``sklearn.metrics`` and ``skdiff.metrics``, the scores of "
        "``sklearn.feature_selection``, the universal functions of NumPy",
        lambda: tuple(_functions()),
        _function_name,
        lambda value: {},
        _build_function,
    ),
    "kernel": Kind(
        "kernels of ``sklearn.gaussian_process`` and their sums and products",
        _kernels,
        _kernel_name,
        lambda value: {"parameters": value.get_params(deep=False)},
        _build_kernel,
    ),
    "column selector": Kind(
        "``make_column_selector``",
        _one("make_column_selector"),
        _exact(make_column_selector, "make_column_selector"),
        lambda value: {
            "pattern": value.pattern,
            "dtype_include": value.dtype_include,
            "dtype_exclude": value.dtype_exclude,
        },
        _build_selector,
    ),
    "distribution": Kind(
        "frozen distributions of ``scipy.stats``",
        _distributions,
        _distribution_name,
        _take_distribution,
        _build_distribution,
    ),
    "random state": Kind(
        "``numpy.random.RandomState``",
        _one("RandomState"),
        _exact(np.random.RandomState, "RandomState"),
        lambda value: {"state": value.get_state(legacy=False)},
        _build_random_state,
    ),
    "generator": Kind(
        "``numpy.random.Generator``",
        lambda: BIT_GENERATORS,
        lambda value: (
            _named(np.random, BIT_GENERATORS)(value.bit_generator)
            if type(value) is np.random.Generator
            else None
        ),
        lambda value: {"state": value.bit_generator.state},
        _build_generator,
    ),
    "sparse": Kind(
        "sparse matrices and arrays of SciPy by rows and by columns",
        lambda: SPARSE,
        _named(sparse, SPARSE),
        _take_sparse,
        _build_sparse,
    ),
    "range": Kind(
        "``range``",
        _one("range"),
        _exact(range, "range"),
        lambda value: {"start": value.start, "stop": value.stop, "step": value.step},
        _build_range,
    ),
    "bunch": Kind(
        "``sklearn.utils.Bunch``",
        _one("Bunch"),
        _exact(Bunch, "Bunch"),
        dict,
        _build_bunch,
    ),
    "fraction": Kind(
        "``fractions.Fraction``",
        _one("Fraction"),
        _exact(Fraction, "Fraction"),
        lambda value: {"numerator": value.numerator, "denominator": value.denominator},
        lambda name, parts: Fraction(*_exactly(parts, "numerator", "denominator")),
    ),
    "record": Kind(
        "settings of skdiff that are no estimators, such as ``Continuous``",
        lambda: tuple(_records()),
        _record_name,
        _take_record,
        _build_record,
    ),
    "type": Kind(
        "``bool``, ``float``, ``int``, ``object``, ``str`` and the types of NumPy",
        _types,
        _type_name,
        lambda value: {},
        _build_type,
    ),
}


def recognise(value: Any) -> tuple[str, str] | None:
    """Return the kind of a value and its name in the list, or None."""
    for kind, entry in KINDS.items():
        name = entry.name_of(value)
        if name is not None:
            return kind, name
    return None


def describe() -> list[str]:
    """Say what a file may hold beside estimators, for the guide."""
    return [entry.text for entry in KINDS.values()]
