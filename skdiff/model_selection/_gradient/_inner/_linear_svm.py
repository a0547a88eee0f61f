"""Inner problems of linear support vector machines with squared losses."""

from typing import Any

import numpy as np

from skdiff._convex._inner._linear import SmoothLinear
from skdiff._convex._inner._problem import Values
from skdiff._convex._losses import SquaredEpsilonInsensitive, SquaredHinge


class LinearSVCProblem(SmoothLinear):
    """Squared hinge, one class against the rest; liblinear's penalised intercept."""

    parameters = {"C": (None,), "sample_weight": ("sample", "group")}
    per_row = ("sample_weight",)
    weighted = True
    simplest_end = {"C": "low"}
    penalised_intercept = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        if estimator.loss != "squared_hinge" or estimator.penalty != "l2":
            raise ValueError(
                'The inner problem of LinearSVC needs loss="squared_hinge" and '
                f'penalty="l2". Got loss={estimator.loss!r}, '
                f"penalty={estimator.penalty!r}."
            )
        if estimator.multi_class != "ovr":
            raise ValueError('The inner problem of LinearSVC needs multi_class="ovr".')
        self.intercept_scale = float(estimator.intercept_scaling)

    def _loss(self, theta: Values) -> Any:
        return SquaredHinge()

    def _targets(self) -> Any:
        if len(self.classes) == 2:
            return (2.0 * self.y - 1.0)[:, None]
        return np.where(self._own(), 1.0, -1.0)

    def _own(self) -> Any:
        return self.y[:, None] == np.arange(len(self.classes))

    def _rest_is_plain(self) -> Any:
        """Whether liblinear weighs a class in its own margin alone."""
        return len(self.classes) > 2 and self.estimator.class_weight is not None

    def weights(self, theta: Values) -> Any:
        """Weights of the rows, by margin where they differ."""
        s = super().weights(theta)
        if not self._rest_is_plain():
            return s
        return np.where(self._own(), s[:, None], self._unbalanced(theta)[:, None])

    def _pull_weights(self, theta: Values, slopes: Any) -> Any:
        """Both kinds of margins."""
        if not self._rest_is_plain():
            return super()._pull_weights(theta, slopes)
        own = self._own()
        given = 1.0 if self.sample_weight is None else self.sample_weight
        rest = np.sum(np.where(own, 0.0, slopes), axis=1)
        return super()._pull_weights(theta, np.where(own, slopes, 0.0)) + given * rest


class LinearSVRProblem(SmoothLinear):
    """Squared epsilon-insensitive loss; liblinear's penalised intercept."""

    parameters = {
        "C": (None,),
        "epsilon": (None,),
        "sample_weight": ("sample", "group"),
    }
    per_row = ("sample_weight",)
    weighted = True
    simplest_end = {"C": "low"}
    penalised_intercept = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        if estimator.loss != "squared_epsilon_insensitive":
            raise ValueError(
                "The inner problem of LinearSVR needs a smooth loss, "
                f'loss="squared_epsilon_insensitive". Got loss={estimator.loss!r}.'
            )
        self.intercept_scale = float(estimator.intercept_scaling)

    def _loss(self, theta: Values) -> Any:
        return SquaredEpsilonInsensitive(float(self.value(theta, "epsilon")))

    def _targets(self) -> Any:
        return self.y.astype(float)[:, None]

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Add the width of the tube."""
        out = super().cross(w, theta, q)
        if "epsilon" in theta:
            r = self.A @ w - self.T
            active = np.abs(r) > theta["epsilon"]
            # d/d epsilon of 2 sign(r) (|r| - epsilon) is -2 sign(r) on active rows
            slope = -2.0 * self.weights(theta)[:, None] * np.sign(r) * active
            out["epsilon"] = float(np.sum(slope * (self.A @ q)))
        return out
