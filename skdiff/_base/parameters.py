"""Parameters that several classes share: default, constraint and docstring text.

Signatures and docstrings of the classes stay explicit. ``tests/test_parameters.py``
asserts that a shared parameter has the shared type, default and constraint, and that
its description begins with the shared text; what is particular to a class follows.
A class that means something else declares it in ``_own_parameters``, a dict of names
and reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from skdiff._base.compat import Interval, StrOptions

#: the class chooses: a default, a type or a constraint that is not shared
VARIES: Any = object()


@dataclass(frozen=True)
class Parameter:
    """What all classes with one parameter have in common."""

    text: str
    type: Any = VARIES
    constraint: Any = VARIES
    default: Any = VARIES


POSITIVE = [Interval(Real, 0, None, closed="neither")]
NON_NEGATIVE = [Interval(Real, 0, None, closed="left")]
COUNT = [Interval(Integral, 1, None, closed="left")]
COUNT_OR_AUTO = [StrOptions({"auto"}), *COUNT]

#: whatever the family
EVERYWHERE: Mapping[str, Parameter] = {
    "max_iter": Parameter("Maximum number of iterations.", "int", COUNT),
    "tol": Parameter("Tolerance of the stopping rule.", "float"),
    "time_limit": Parameter(
        "Time limit of ``fit`` in seconds. The best state so far is kept, with a "
        "warning.",
        "float",
        [None, *POSITIVE],
        None,
    ),
    "warm_start": Parameter(
        "Whether ``fit`` continues from the result of the previous call.",
        "bool",
        ["boolean"],
        False,
    ),
    "n_jobs": Parameter(
        "Number of parallel jobs; -1 uses all processors.",
        "int",
        [None, Integral],
        None,
    ),
    "verbose": Parameter(
        "Verbosity level; 0 or False prints nothing.",
        constraint=["verbose"],
        default=0,
    ),
    "random_state": Parameter(
        "Seed or generator of random numbers; an int makes results repeatable.",
        "int, RandomState instance or None",
        ["random_state"],
        None,
    ),
    "class_weight": Parameter(
        "Weights of the classes, multiplied by ``sample_weight``.",
        'dict, "balanced" or None',
        [dict, StrOptions({"balanced"}), None],
        None,
    ),
    "hidden_layer_sizes": Parameter(
        "Number of units in each hidden layer.", "array-like of int"
    ),
    "activation": Parameter("Activation function of the hidden layers."),
    "learning_rate_init": Parameter("Step size of the optimiser.", "float", POSITIVE),
    "batch_size": Parameter("Number of rows per gradient step."),
    "early_stopping": Parameter(
        "Whether to stop by the score of a validation set and keep the best epoch.",
        "bool",
        ["boolean"],
        False,
    ),
    "validation_fraction": Parameter(
        "Fraction of the rows in the validation set.",
        "float",
        [Interval(Real, 0, 1, closed="neither")],
    ),
    "n_iter_no_change": Parameter(
        "Number of iterations without progress before training stops.", "int"
    ),
    "standardize": Parameter(
        "Whether columns are centred and scaled to unit variance inside.",
        "bool",
        ["boolean"],
        True,
    ),
    "device": Parameter(
        'Device on which torch computes, such as ``"cpu"`` or ``"cuda"``.',
        "str",
        [str],
        "cpu",
    ),
}

#: networks that are trained by gradient steps
NETWORK: Mapping[str, Parameter] = {
    "hidden_layer_sizes": Parameter(
        EVERYWHERE["hidden_layer_sizes"].text,
        "array-like of int",
        ["array-like", *COUNT],
    ),
    "activation": Parameter(EVERYWHERE["activation"].text),
    "solver": Parameter(
        "Optimiser.", '{"adam", "sgd"}', [StrOptions({"adam", "sgd"})], "adam"
    ),
    "alpha": Parameter(
        "L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the "
        "mean loss.",
        constraint=[*NON_NEGATIVE, "array-like"],
    ),
    "batch_size": Parameter(
        EVERYWHERE["batch_size"].text, 'int or "auto"', COUNT_OR_AUTO
    ),
    "learning_rate_init": EVERYWHERE["learning_rate_init"],
    "momentum": Parameter(
        'Momentum of ``solver="sgd"``.',
        "float",
        [Interval(Real, 0, 1, closed="left")],
        0.9,
    ),
    "max_iter": EVERYWHERE["max_iter"],
    "tol": Parameter(EVERYWHERE["tol"].text, "float", NON_NEGATIVE),
    "n_iter_no_change": Parameter(EVERYWHERE["n_iter_no_change"].text, "int", COUNT),
    "early_stopping": EVERYWHERE["early_stopping"],
    "validation_fraction": EVERYWHERE["validation_fraction"],
    "time_limit": EVERYWHERE["time_limit"],
    "warm_start": EVERYWHERE["warm_start"],
    "standardize": EVERYWHERE["standardize"],
    "dtype": Parameter(
        'Precision. ``"auto"`` is that of X; ``"float32"`` is faster.',
        '{"auto", "float32", "float64"}',
        [StrOptions({"auto", "float32", "float64"})],
        "auto",
    ),
    "device": EVERYWHERE["device"],
    "net_params": Parameter(
        "Further arguments of ``skorch.NeuralNet``, such as ``callbacks``.",
        "dict",
        [dict, None],
        None,
    ),
    "verbose": EVERYWHERE["verbose"],
    "random_state": EVERYWHERE["random_state"],
}

#: options of training, all off by default
TRAINING_OPTIONS: Mapping[str, Parameter] = {
    "sam_rho": Parameter(
        "Radius of sharpness-aware steps (Foret et al., 2021); 0.05 is usual. Each "
        "step costs two gradients.",
        "float",
        NON_NEGATIVE,
        0.0,
    ),
    "group_dro": Parameter(
        "Whether to minimise the loss of the worst of the ``groups`` given to ``fit`` "
        "(Sagawa et al., 2020).",
        "bool",
        ["boolean"],
        False,
    ),
    "group_step_size": Parameter(
        "Step size of the group weights.", "float", POSITIVE, 0.01
    ),
    "group_adjustment": Parameter(
        "``C`` in the adjustment ``C / sqrt(n_group)`` of each group's loss.",
        "float",
        NON_NEGATIVE,
        0.0,
    ),
}

#: options of training for classifiers
CLASSIFIER_OPTIONS: Mapping[str, Parameter] = {
    "spectral_decoupling": Parameter(
        "Penalty on the squared logits (Pezeshki et al., 2021), which keeps one easy "
        "feature from hiding the others.",
        "float",
        NON_NEGATIVE,
        0.0,
    ),
    "spectral_targets": Parameter(
        "Logits towards which ``spectral_decoupling`` pulls; zeros by default.",
        constraint=["array-like", None],
        default=None,
    ),
}


def constraints(group: Mapping[str, Parameter]) -> dict[str, list[Any]]:
    """Return the shared constraints of a group, for ``_parameter_constraints``."""
    return {
        name: list(parameter.constraint)
        for name, parameter in group.items()
        if parameter.constraint is not VARIES
    }


def shared_parameters(cls: type) -> dict[str, Parameter]:
    """Return the parameters that ``cls`` shares, the groups of its bases included."""
    shared = dict(EVERYWHERE)
    for base in reversed(cls.__mro__):
        shared |= vars(base).get("_shared_parameters", {})
    own = {
        name for base in cls.__mro__ for name in vars(base).get("_own_parameters", ())
    }
    return {name: p for name, p in shared.items() if name not in own}
