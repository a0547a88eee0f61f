"""An estimator taken apart: what comes before the last step, and after its predictions.

A search knows the training problem of the last step. Pipelines transform its rows, and
a :class:`~sklearn.compose.TransformedTargetRegressor` its targets.
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.metadata_routing import process_routing

from skdiff._base import inner
from skdiff._base.compat import routing_enabled
from skdiff._base.typing import Array

_STEP = 1e-6  # of a difference quotient, relative to the predictions


class Parts(NamedTuple):
    """Wrappers from the outside in, the last step, and the prefixes of its names.

    ``prefix`` leads to its parameters, ``fit_prefix`` to its arguments of ``fit``.
    """

    wrappers: list[Any]
    last: Any
    prefix: str
    fit_prefix: str

    @property
    def bare(self) -> bool:
        """Whether nothing comes before the last step."""
        return not any(has_steps(wrapper) for wrapper in self.wrappers)


def has_steps(wrapper: Any) -> bool:
    """Whether rows or targets reach the next step changed."""
    return not isinstance(wrapper, Pipeline) or len(wrapper.steps) > 1


def take_apart(estimator: Any) -> Parts:
    """Split pipelines and transformed targets from the step at their end."""
    wrappers: list[Any] = []
    prefix = fit_prefix = ""
    while isinstance(estimator, (Pipeline, TransformedTargetRegressor)):
        wrappers.append(estimator)
        if isinstance(estimator, TransformedTargetRegressor):
            inner = estimator.regressor
            estimator = LinearRegression() if inner is None else inner
            prefix = f"{prefix}regressor__"
            continue
        name, last = estimator.steps[-1]
        if not hasattr(last, "fit"):
            raise TypeError(
                f"The last step {name!r} of the pipeline must be an estimator with an "
                f"inner problem, got {last!r}."
            )
        estimator = last
        prefix, fit_prefix = f"{prefix}{name}__", f"{fit_prefix}{name}__"
    return Parts(wrappers, estimator, prefix, fit_prefix)


class Output:
    """From raw predictions to those of the whole estimator; here they are the same."""

    def values(self, raw: Array) -> Array:
        """Predictions of the whole estimator."""
        return raw

    def pull(self, raw: Array, gradient: Array) -> Array:
        """Gradient in the raw predictions from that in those of the estimator."""
        return gradient


class TransformedTarget(Output):
    """The inverse of what a :class:`TransformedTargetRegressor` does to its target."""

    def __init__(self, wrapper: Any, y: Array, outside: Output) -> None:
        if wrapper.transformer is not None:
            self.transformer = clone(wrapper.transformer)
        else:
            self.transformer = FunctionTransformer(
                func=wrapper.func,
                inverse_func=wrapper.inverse_func,
                validate=True,
                check_inverse=False,
            )
        self.flat, self.outside = y.ndim == 1, outside
        self.transformer.fit(self._table(y))

    def _table(self, y: Array) -> Array:
        return y.reshape(len(y), -1)

    def forward(self, y: Array) -> Array:
        """Targets that the regressor is fitted on."""
        found = np.asarray(self.transformer.transform(self._table(y)), dtype=float)
        return found[:, 0] if self.flat and found.shape[1] == 1 else found

    def _inverse(self, raw: Array) -> Array:
        found = self.transformer.inverse_transform(self._table(raw))
        found = np.asarray(found, dtype=float)
        return found[:, 0] if self.flat and found.shape[1] == 1 else found

    def values(self, raw: Array) -> Array:
        """Predictions in the units of the target."""
        return self.outside.values(self._inverse(raw))

    def pull(self, raw: Array, gradient: Array) -> Array:
        """By central differences of the inverse, row by row."""
        gradient = self._table(self.outside.pull(self._inverse(raw), gradient))
        table = self._table(raw)
        slopes = np.empty_like(table)
        for j, column in enumerate(table.T):
            step = np.zeros_like(table)
            step[:, j] = _STEP * max(1.0, float(np.abs(column).max(initial=0.0)))
            up, down = self._inverse(table + step), self._inverse(table - step)
            change = self._table(up) - self._table(down)
            slopes[:, j] = np.sum(gradient * change, axis=1) / (2 * step[:, j])
        return slopes.reshape(raw.shape)


def split_params(wrapper: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    """Fit parameters of the earlier steps, and those of the next."""
    if isinstance(wrapper, TransformedTargetRegressor):
        if not routing_enabled() or not params:
            return {}, params
        return {}, dict(process_routing(wrapper, "fit", **params).regressor.fit)
    return inner.split_params(wrapper, params)
