"""The one door to what scikit-learn keeps private or has only just added.

When scikit-learn moves one of these names, this file changes and no other does.
"""

import inspect
from contextlib import nullcontext
from typing import Any

import numpy as np
from sklearn.base import _fit_context as fit_context
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores as insert_error_scores,
)
from sklearn.model_selection._validation import _score as score_fitted
from sklearn.model_selection._validation import (
    _warn_or_raise_about_fit_failures as report_failed_fits,
)
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    Options,
    RealNotInt,
    StrOptions,
)
from sklearn.utils.metadata_routing import _routing_enabled as routing_enabled
from sklearn.utils.metaestimators import _safe_split as safe_split
from sklearn.utils.parallel import Parallel
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class _SilentContext:
        """A callback context that nobody listens to."""

        def subcontext(self, *args: Any, **kwargs: Any) -> Any:
            return self

        def call_on_fit_task_begin(self, *args: Any, **kwargs: Any) -> None:
            pass

        def call_on_fit_task_end(self, *args: Any, **kwargs: Any) -> bool:
            return False

        def propagate_callback_context(self, sub_estimator: Any) -> Any:
            return nullcontext()

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in for scikit-learn's mixin where there are no callbacks yet."""

        def _init_callback_context(self, *args: Any, **kwargs: Any) -> Any:
            return _SilentContext()


__all__ = [
    "BaseSearchCV",
    "CallbackSupportMixin",
    "ClassPageMixin",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "Options",
    "RealNotInt",
    "StrOptions",
    "check_feature_names_in",
    "check_method_params",
    "check_sample_weight",
    "fit_context",
    "has_callbacks",
    "insert_error_scores",
    "report_failed_fits",
    "routing_enabled",
    "safe_indexing",
    "safe_split",
    "score_fitted",
    "streaming_parallel",
]

# placeholder until the documentation has an address; the release checklist names it
DOCUMENTATION = "https://example.org/skdiff/docs"


class ClassPageMixin:
    """Link the HTML view of an estimator to its page of the API reference.

    Stands left of ``BaseEstimator``, whose own link is to scikit-learn's pages.
    """

    _doc_link_module = "skdiff"
    _doc_link_template = (
        f"{DOCUMENTATION}/api/generated/{{estimator_module}}.{{estimator_name}}.html"
    )


_WEIGHT_ARGUMENTS = inspect.signature(_check_sample_weight).parameters


def check_sample_weight(sample_weight: Any, X: Any, *, dtype: Any = np.float64) -> Any:
    """Return the weights as a non-negative float array with a positive sum.

    scikit-learn before 1.9 lets a vector of zeros pass; it is refused here on every
    version, in the words of 1.9.
    """
    # the argument that guards against negative weights was renamed in 1.8
    guard = (
        "ensure_non_negative"
        if "ensure_non_negative" in _WEIGHT_ARGUMENTS
        else "only_non_negative"
    )
    try:
        weights = _check_sample_weight(sample_weight, X, dtype=dtype, **{guard: True})
    except (TypeError, ValueError) as error:
        if "weight" in str(error).lower():
            raise
        # what cannot be read as a number at all is refused without a name
        raise type(error)(f"Invalid sample_weight: {error}") from error
    if not np.any(weights):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def streaming_parallel(n_jobs: int | None, **options: Any) -> Parallel:
    """Return joblib's ``Parallel`` that gives results as they come, where it can.

    Some backends return them all at the end, as a list.
    """
    try:
        return Parallel(n_jobs=n_jobs, return_as="generator", **options)
    except ValueError:
        return Parallel(n_jobs=n_jobs, **options)


def has_callbacks(estimator: Any) -> bool:
    """Tell whether a scikit-learn callback listens to this estimator's fit."""
    return bool(getattr(estimator, "_skl_callbacks", None))
