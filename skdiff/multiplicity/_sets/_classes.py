"""Ranges for three classes or more: a multinomial set, or one binary set per class."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from skdiff._base.typing import Array, BoolArray
from skdiff.multiplicity._sets._fit import FittedSet, Settings
from skdiff.multiplicity._sets._multinomial import (
    largest_probabilities,
    small_probabilities,
)

LARGEST_WORK = 1e12  # operations of one query, roughly: some minutes


@dataclass(frozen=True)
class MulticlassRanges(ABC):
    """What both kinds share: K classes, and rows X as the linear model sees them."""

    K: int
    settings: Settings

    @abstractmethod
    def scores(self, X: Any) -> Array:
        """Baseline predictors (m, K)."""

    @abstractmethod
    def margins(self, X: Any) -> Array:
        """Ranges (m, K, K, 2) of ``f_k - f_j``."""

    def conflicts(self, X: Any) -> BoolArray:
        """Rows for which another class than the baseline's wins in some model."""
        winner = self.scores(X).argmax(axis=1)
        rows = np.arange(len(winner))
        over = self.margins(X)[rows, :, winner, 1]  # largest f_j - f_winner
        over[rows, winner] = -np.inf
        return np.asarray(over.max(axis=1) >= 0)


@dataclass(frozen=True)
class MultinomialRanges(MulticlassRanges):
    """Ranges over the set of a multinomial model."""

    fitted: FittedSet

    def scores(self, X: Any) -> Array:
        """Baseline predictors (m, K)."""
        V = self.fitted.scaling.directions(X)
        return np.asarray(V @ self.fitted.baseline.reshape(self.K, -1).T)

    def probabilities(self, X: Any) -> Array:
        """Baseline probabilities (m, K)."""
        return np.asarray(softmax(self.scores(X), axis=1))

    def margins(self, X: Any) -> Array:
        """Ranges (m, K, K, 2) of ``f_k - f_j``."""
        V = self.fitted.scaling.directions(X)
        bounds = np.zeros((len(V), self.K, self.K, 2))
        for k, j, D in self._pairs(V):
            found = self.fitted.range(D, self.settings)
            bounds[:, k, j], bounds[:, j, k] = found, -found[:, ::-1]
        return bounds

    def conflicts(self, X: Any) -> BoolArray:
        """Rows for which another class than the baseline's wins in some model."""
        V, winner = self.fitted.scaling.directions(X), self.scores(X).argmax(axis=1)
        self._refuse_work(len(V) * (self.K - 1))
        found = np.zeros(len(V), dtype=bool)
        for j in range(self.K):
            rows = np.flatnonzero((winner != j) & ~found)
            if len(rows):
                D = np.zeros((len(rows), self.K, V.shape[1]))
                D[:, j] = V[rows]
                D[np.arange(len(rows)), winner[rows]] = -V[rows]
                bounds = self.fitted.range(D.reshape(len(rows), -1), self.settings)
                found[rows] = bounds[:, 1] >= 0
        return found

    def _refuse_work(self, n_extremes: int) -> None:
        """Raise before work that grows with a high power of the number of classes."""
        n, size = len(self.fitted.level_set.problem.y), len(self.fitted.baseline)
        if float(n_extremes) * size**2 * (n + size) > LARGEST_WORK:
            raise ValueError(
                f"{n_extremes} margins of {self.K} classes and {size} coefficients "
                "would take very long. Pass fewer rows at a time, or use one-vs-rest "
                "(OneVsRestClassifier)."
            )

    def _margins_with_models(self, V: Array) -> tuple[Array, Array]:
        """The same, and the whitened models (m, K, K, r) that attain ``f_k - f_j``."""
        bounds = np.zeros((len(V), self.K, self.K, 2))
        models = np.zeros(
            (len(V), self.K, self.K, self.fitted.level_set.whiten.shape[1])
        )
        for k, j, D in self._pairs(V):
            found, low, high = self.fitted.extremes(
                D, self.settings, self.fitted.budget
            )
            bounds[:, k, j], bounds[:, j, k] = found, -found[:, ::-1]
            models[:, k, j], models[:, j, k] = high, low
        return bounds, models

    def _pairs(self, V: Array) -> Any:
        """Yield classes k > j and the functionals of their margins."""
        self._refuse_work(len(V) * self.K * (self.K - 1) // 2)
        for k in range(self.K):
            for j in range(k):
                D = np.zeros((len(V), self.K, V.shape[1]))
                D[:, k], D[:, j] = V, -V
                yield k, j, D.reshape(len(V), -1)

    def probability_ranges(self, X: Any) -> Array:
        """Ranges (m, K, 2); lower bounds are outer bounds."""
        return self._bounds(self.fitted.scaling.directions(X), self.margins(X))

    def inner_probabilities(self, X: Any) -> tuple[Array, Array]:
        """The same, and small probabilities (m, K) that models attain."""
        V = self.fitted.scaling.directions(X)
        margins, models = self._margins_with_models(V)
        bounds = self._bounds(V, margins)
        found = np.zeros_like(bounds[..., 0])
        bounded = np.isfinite(margins).all(axis=(1, 2, 3))
        if bounded.any():
            found[bounded] = small_probabilities(
                self.fitted.level_set,
                V[bounded],
                self.fitted.budget,
                models[bounded],
                tol=self.settings.tol,
                max_iter=self.settings.max_iter,
            )
        return bounds, np.maximum(found, bounds[..., 0])

    def _bounds(self, V: Array, margins: Array) -> Array:
        with np.errstate(over="ignore"):
            # f_k - f_j at its smallest for every j at once: an outer bound
            low = 1 / np.exp(-margins[..., 0]).sum(axis=2)
        bounded = np.isfinite(margins).all(axis=(1, 2, 3))
        high = np.ones_like(low)
        if bounded.any():
            high[bounded] = largest_probabilities(
                self.fitted.level_set,
                V[bounded],
                self.fitted.budget,
                tol=self.settings.tol,
                max_iter=self.settings.max_iter,
            )
        return np.stack([low, high], axis=-1)

    def at(self, epsilon: float) -> "MultinomialRanges":
        """The same at another tolerance of the same kind."""
        fitted = replace(self.fitted, budget=self.fitted.budget_of(epsilon))
        return replace(self, fitted=fitted)

    def columns(self, X: Any, ranges: bool = True) -> tuple[Array, Array]:
        """Prediction and range of every class: (m, K) and (m, K, 2)."""
        p = self.probabilities(X)
        return p, self.probability_ranges(X) if ranges else p

    def coefficients(self) -> Array:
        """Ranges (K, p, 2) of the coefficients around their mean over the classes."""
        base = self.fitted.scaling.coefficient_directions()
        # a constant added to all classes changes no probability: take the mean away
        gauge = np.eye(self.K) - 1.0 / self.K
        bounds = self.fitted.range(np.kron(gauge, base), self.settings)
        return bounds.reshape(self.K, len(base), 2)

    def functionals(self, V: Array) -> Array:
        """Ranges (m, 2) of functionals (m, K, p) of the coefficients."""
        base = self.fitted.scaling.coefficient_directions()
        D = (V @ base[: V.shape[2]]).reshape(len(V), -1)
        return self.fitted.range(D, self.settings)


@dataclass(frozen=True)
class OneVsRestRanges(MulticlassRanges):
    """Ranges over a product of binary sets, one per class."""

    parts: Sequence[FittedSet]
    probable: bool  # whether the models have probabilities

    def scores(self, X: Any) -> Array:
        """Baseline predictors (m, K)."""
        f = [part.scaling.directions(X) @ part.baseline for part in self.parts]
        return np.column_stack(f)

    def probabilities(self, X: Any) -> Array:
        """Baseline probabilities (m, K)."""
        P = expit(self.scores(X))
        return _proportion(P, P.sum(axis=1, keepdims=True) - P)

    def score_ranges(self, X: Any) -> Array:
        """Ranges (m, K, 2) of the predictors."""
        ranges = [
            part.range(part.scaling.directions(X), self.settings) for part in self.parts
        ]
        return np.stack(ranges, axis=1)

    def margins(self, X: Any) -> Array:
        """Ranges (m, K, K, 2) of ``f_k - f_j``."""
        f = self.score_ranges(X)
        low = f[:, :, None, 0] - f[:, None, :, 1]
        high = f[:, :, None, 1] - f[:, None, :, 0]
        bounds = np.stack([low, high], axis=-1)
        bounds[:, np.arange(self.K), np.arange(self.K)] = 0.0
        return bounds

    def probability_ranges(self, X: Any) -> Array:
        """Ranges (m, K, 2), exact."""
        f = expit(self.score_ranges(X))
        # each probability grows with its own score and falls with the others
        total = f.sum(axis=1)
        low, high = f[..., 0], f[..., 1]
        others_high = total[:, None, 1] - high
        others_low = total[:, None, 0] - low
        bounds = [_proportion(low, others_high), _proportion(high, others_low)]
        return np.stack(bounds, axis=-1)

    def inner_probabilities(self, X: Any) -> tuple[Array, Array]:
        """The same, and the smallest probabilities (m, K), which are attained."""
        bounds = self.probability_ranges(X)
        return bounds, bounds[..., 0].copy()

    def at(self, epsilon: float) -> "OneVsRestRanges":
        """The same at another tolerance of the same kind."""
        parts = [replace(p, budget=p.budget_of(epsilon)) for p in self.parts]
        return replace(self, parts=parts)

    def columns(self, X: Any, ranges: bool = True) -> tuple[Array, Array]:
        """Prediction and range of every class: (m, K) and (m, K, 2)."""
        if self.probable:
            p = self.probabilities(X)
            return p, self.probability_ranges(X) if ranges else p
        f = self.scores(X)
        return f, self.score_ranges(X) if ranges else f

    def coefficients(self) -> Array:
        """Ranges (K, p, 2) of the coefficients."""
        ranges = [
            part.range(part.scaling.coefficient_directions(), self.settings)
            for part in self.parts
        ]
        return np.stack(ranges)

    def functionals(self, V: Array) -> Array:
        """Ranges (m, 2) of functionals (m, K, p): those of the sets add up."""
        total = np.zeros((len(V), 2))
        for part, v in zip(self.parts, V.transpose(1, 0, 2), strict=True):
            base = part.scaling.coefficient_directions()
            total += part.range(v @ base[: v.shape[1]], self.settings)
        return total


def _proportion(own: Array, others: Array) -> Array:
    total = own + others
    return np.where(total > 0, own / np.where(total > 0, total, 1.0), 0.0)
