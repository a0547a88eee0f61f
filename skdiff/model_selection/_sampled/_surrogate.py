"""A conformalised quantile model of scores over settings, and proposals from it.

Salinas, Golebiowski, Klein, Seeger and Archambeau (2023), arXiv 2305.03623.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils import check_random_state

from skdiff.model_selection._sampled._sampling import (
    Setting,
    SettingSampler,
    is_number,
    value_key,
)

Floats = NDArray[np.float64]

HELD_OUT = 0.1
# histograms are the faster booster even for fifty points: the plain one spends its time
# on the quantiles of leaves
BOOSTING = {
    "max_iter": 50,
    "learning_rate": 0.2,
    "max_depth": 3,
    "min_samples_leaf": 5,
    "early_stopping": False,
}


class SettingEncoder:
    """Settings as rows of numbers.

    A parameter gives one column for its numbers, in logarithms where it is log-uniform
    or lists positive values over two decades, and one column for each value that is no
    number (words, ``None``, estimators, a parameter that a setting does not have).
    """

    def __init__(self, spaces: Sequence[Mapping[str, Any]]) -> None:
        self.names = sorted({name for one in spaces for name in one})
        self.numeric: dict[str, bool] = {}
        self.log: dict[str, bool] = {}
        self.words: dict[str, list[Any]] = {}
        for name in self.names:
            given = [one[name] for one in spaces if name in one]
            listed = [v for g in given if not hasattr(g, "rvs") for v in g]
            numbers = np.array([float(v) for v in listed if is_number(v)])
            wide = bool(
                len(numbers)
                and numbers.min() > 0
                and numbers.max() >= 100 * numbers.min()
            )
            drawn = [is_log_uniform(g) for g in given if hasattr(g, "rvs")]
            self.numeric[name] = bool(drawn) or len(numbers) > 0
            self.log[name] = all(drawn) if drawn else wide
            words = [value_key(v) for v in listed if not is_number(v)]
            absent = len(given) < len(spaces)
            self.words[name] = [*dict.fromkeys(words), *([None] if absent else [])]

    def encode(self, settings: Sequence[Setting]) -> Floats:
        """Return one row a setting."""
        columns = []
        for name in self.names:
            values = [s.get(name, _ABSENT) for s in settings]
            numbers = np.array([float(v) if is_number(v) else np.nan for v in values])
            if self.log[name]:
                with np.errstate(divide="ignore", invalid="ignore"):
                    numbers = np.log(numbers)
            if self.numeric[name]:
                columns.append(numbers)
            if self.words[name]:
                keys = [None if v is _ABSENT else value_key(v) for v in values]
                columns += [
                    np.array([key == word for key in keys], dtype=np.float64)
                    for word in self.words[name]
                ]
        return np.column_stack(columns) if columns else np.zeros((len(settings), 1))


_ABSENT = object()


def is_log_uniform(distribution: Any) -> bool:
    """Tell whether a distribution of scipy is uniform in the logarithm."""
    name = getattr(getattr(distribution, "dist", None), "name", "")
    return name in ("loguniform", "reciprocal")


def quantile_levels(m: int) -> Floats:
    """Levels j / (m + 1), j = 1..m."""
    return np.arange(1, m + 1) / (m + 1)


def conformal_quantile(errors: Floats, coverage: float) -> float:
    """Smallest error that covers a new one with at least this probability.

    The ceil((n + 1) coverage)-th of n held-out errors, or the largest where n is too
    small for that (the level of the quantile never exceeds one).
    """
    n = len(errors)
    place = min(int(np.ceil((n + 1) * coverage - 1e-12)), n)
    return float(np.sort(errors)[place - 1])


class NormalScores:
    """Scores to normal quantiles of their ranks, and back.

    Only the order of scores enters the model, so that any increasing change of the
    scoring leaves every proposal as it was.
    """

    def __init__(self, scores: Floats) -> None:
        self.sorted = np.sort(scores)
        self.knots, first = np.unique(self.sorted, return_index=True)
        last = np.append(first[1:], len(self.sorted)) - 1
        self.heights = self._height(first, last + 1)

    def _height(self, below: NDArray[np.intp], upto: NDArray[np.intp]) -> Floats:
        n = len(self.sorted)
        return np.asarray(ndtri((0.5 * (below + upto) + 0.5) / (n + 1)))

    def forward(self, scores: Floats) -> Floats:
        """Return normal scores, by the number of scores below (ties: half)."""
        below = np.searchsorted(self.sorted, scores, side="left")
        upto = np.searchsorted(self.sorted, scores, side="right")
        return self._height(below, upto)

    def back(self, heights: Floats) -> Floats:
        """Return scores, straight lines between and beyond those seen."""
        knots, z = self.knots, self.heights
        scores = np.interp(heights, z, knots)
        if len(z) > 1:
            slope = (knots[-1] - knots[0]) / (z[-1] - z[0])
            scores = scores + slope * (
                np.maximum(heights - z[-1], 0) + np.minimum(heights - z[0], 0)
            )
        return np.asarray(scores)


class QuantileSurrogate:
    """Boosted quantile regressions of scores, corrected on held-out settings.

    Parameters
    ----------
    n_quantiles
        Number of levels j / (n_quantiles + 1).
    min_conformal
        Up to this many observations all are trained on and none corrects.
    seed
        Draws the held-out tenth and seeds the boosters.
    """

    def __init__(self, n_quantiles: int, min_conformal: int, seed: int) -> None:
        self.levels = quantile_levels(n_quantiles)
        self.min_conformal = min_conformal
        self.seed = seed

    def fit(self, X: Floats, scores: Floats) -> "QuantileSurrogate":
        """Fit on encoded settings and their scores, all finite."""
        rng = check_random_state(self.seed)
        held = np.zeros(len(scores), dtype=bool)
        if len(scores) > self.min_conformal:
            size = max(1, round(HELD_OUT * len(scores)))
            held[rng.permutation(len(scores))[:size]] = True
        self.n_held_out = int(held.sum())
        known = np.isfinite(X)
        total = np.where(known, X, 0.0).sum(axis=0)
        self.centre = total / np.maximum(known.sum(axis=0), 1)
        self.spread = np.std(self._filled(X), axis=0)
        self.spread[self.spread == 0] = 1.0
        self.scale = NormalScores(scores[~held])
        Z, z = self._standard(X), self.scale.forward(scores)
        self.models = [
            HistGradientBoostingRegressor(
                loss="quantile", quantile=level, random_state=self.seed, **BOOSTING
            ).fit(Z[~held], z[~held])
            for level in self.levels
        ]
        self.corrections = np.zeros(len(self.levels))
        if self.n_held_out:
            raw = self._raw(Z[held])
            for low in range(len(self.levels) // 2):
                high = len(self.levels) - 1 - low
                miss = np.maximum(raw[:, low] - z[held], z[held] - raw[:, high])
                coverage = 1 - 2 * self.levels[low]
                correction = conformal_quantile(miss, coverage)
                self.corrections[low] = -correction
                self.corrections[high] = correction
        return self

    def _filled(self, X: Floats) -> Floats:
        return np.where(np.isfinite(X), X, self.centre)

    def _standard(self, X: Floats) -> Floats:
        return np.asarray((self._filled(X) - self.centre) / self.spread)

    def _raw(self, Z: Floats) -> Floats:
        """Quantiles without crossings: sorted for every row."""
        return np.sort(np.column_stack([m.predict(Z) for m in self.models]), axis=1)

    def predict(self, X: Floats) -> Floats:
        """Quantiles of the normal score, one column a level."""
        raw = self._raw(self._standard(X)) + self.corrections
        return np.asarray(np.sort(raw, axis=1))

    def predict_score(self, X: Floats, levels: Floats) -> Floats:
        """Quantiles in score units, straight lines between the levels that exist."""
        known = self.scale.back(self.predict(X))
        return np.column_stack(
            [
                [np.interp(level, self.levels, row) for row in known]
                for level in np.atleast_1d(levels)
            ]
        )


def propose(
    surrogate: QuantileSurrogate,
    encoder: SettingEncoder,
    sampler: SettingSampler,
    n: int,
    n_candidates: int,
    rng: np.random.RandomState,
) -> list[Setting]:
    """Settings that win independent draws from the predicted quantiles.

    For each candidate one level is drawn at random, and the candidate with the best
    quantile at its level wins: Thompson sampling with a quantile model.
    """
    candidates = sampler.draw(n_candidates)
    if len(candidates) <= n:
        return candidates
    quantiles = surrogate.predict(encoder.encode(candidates))
    rows = np.arange(len(candidates))
    free = np.ones(len(candidates), dtype=bool)
    chosen = []
    for _ in range(n):
        drawn = quantiles[rows, rng.randint(quantiles.shape[1], size=len(rows))]
        winner = int(np.argmax(np.where(free, drawn, -np.inf)))
        free[winner] = False
        chosen.append(candidates[winner])
    return chosen
