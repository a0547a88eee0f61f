"""Randomised smoothing of a score, with the error of the draws paid for (RSCP+).

``S(x, y)`` in [0, 1] is large where ``y`` does not fit ``x``; smoothed it is ``E S(x +
v, y)`` with ``v ~ N(0, sigma^2 I)``, and ``Phi^-1`` of that changes by at most ``d /
sigma`` along a move of length ``d``. With ``N`` draws the mean is off by ``b`` at most,
but for a probability ``beta``. A set holds with probability ``1 - alpha`` when the
threshold is the quantile of the *drawn* scores at ``1 - alpha + 2 beta`` and both
errors are granted (Yan, Romano and Weng, 2024, section 3).
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from skdiff._base.typing import Array, BoolArray
from skdiff.conformal._robust._rows import Rows

SHARPNESS = 400.0  # of the sigmoid behind the ranks, as in the authors' code


def lac_scores(P: Array) -> Array:
    """One minus the probability of the label (Sadinle, Lei and Wasserman, 2019)."""
    scores: Array = 1.0 - P
    return scores


def aps_scores(P: Array) -> Array:
    """Mass of the labels at least as likely (Romano, Sesia and Candes, 2020)."""
    order = np.argsort(-P, axis=1, kind="stable")
    ranked = np.take_along_axis(P, order, axis=1)
    mass = np.cumsum(ranked, axis=1)
    # equal probabilities get the mass of the last of them
    tied = ranked[:, :-1] == ranked[:, 1:]
    for k in range(P.shape[1] - 2, -1, -1):
        mass[:, k] = np.where(tied[:, k], mass[:, k + 1], mass[:, k])
    scores = np.empty_like(P)
    np.put_along_axis(scores, order, np.minimum(mass, 1.0), axis=1)
    return scores


SCORES: dict[str, Callable[[Array], Array]] = {"lac": lac_scores, "aps": aps_scores}


class Ranks(NamedTuple):
    """The transformation of scores by their ranks among held-out ones (PTT)."""

    held_out: Array  # sorted
    level: float

    def __call__(self, scores: Array) -> Array:
        """Send scores below the level's quantile to zero, those above to one."""
        rank = self.held_out.searchsorted(scores, side="right") / len(self.held_out)
        found: Array = expit(SHARPNESS * (rank - self.level))
        return found


def noise(row: Array, n_draws: int, sigma: float, key: bytes) -> Array:
    """Draws around a row that depend on the row and the key, and on nothing else."""
    data = np.ascontiguousarray(row + 0.0)  # 0.0 and -0.0 are equal
    digest = hashlib.blake2b(data.tobytes(), key=key, digest_size=16).digest()
    rng = np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))
    return rng.standard_normal((n_draws, len(row))) * sigma


class Drawn(NamedTuple):
    """Means and variances of the scores of rows over the draws, (rows, classes)."""

    mean: Array
    variance: Array


class Noise(NamedTuple):
    """How many draws, their standard deviation, and the key that seeds them."""

    n_draws: int
    sigma: float
    seed: int

    def around(self, row: Array) -> Array:
        """Copies of a row, moved."""
        key = self.seed.to_bytes(8, "little")
        return row + noise(row, self.n_draws, self.sigma, key)


def smoothed(
    rows: Rows, scores_of: Callable[[Any], Array], draws: Noise
) -> tuple[Array, Array]:
    """Means and variances of the scores of rows over the draws, (rows, classes).

    The model sees the draws of one row at a time: what it returns for a row can depend,
    in its last bits, on how many rows come with it.
    """
    means, variances = [], []
    for i, row in enumerate(rows.numbers):
        same = np.full(draws.n_draws, i)
        S = scores_of(rows.moved(same, draws.around(row)))
        means.append(S.mean(axis=0))
        variances.append(S.var(axis=0, ddof=1))
    return np.array(means), np.array(variances)


def hoeffding(n_draws: int, beta: float) -> float:
    """How far the mean of draws in [0, 1] lies below its expectation at most."""
    return float(np.sqrt(np.log(1 / beta) / (2 * n_draws)))


def bernstein(variance: Array, n_draws: int, beta: float) -> Array:
    """The same from the variance of the draws (Maurer and Pontil, 2009)."""
    log = np.log(2 / beta)
    bound: Array = np.sqrt(2 * variance * log / n_draws) + 7 * log / (3 * (n_draws - 1))
    return bound


class Setting(NamedTuple):
    """What a smoothed set depends on besides the scores."""

    ratio: float  # radius over the standard deviation of the noise
    n_draws: int
    beta: float
    bound: str


def inside(drawn: Drawn, threshold: float, setting: Setting) -> BoolArray:
    """Which labels are in the sets.

    ``Phi^-1(S - b) - d / sigma <= Phi^-1(threshold + b_H)``: eq. 9 of the paper.
    """
    b = hoeffding(setting.n_draws, setting.beta)
    own: Any = b
    if setting.bound == "bernstein":
        own = bernstein(drawn.variance, setting.n_draws, setting.beta)
    low = norm.ppf(np.clip(drawn.mean - own, 0.0, 1.0)) - setting.ratio
    # where both are infinite nothing is known of the label, and it stays
    found: BoolArray = low <= norm.ppf(min(threshold + b, 1.0))
    return found


def rows_needed(level: float) -> int:
    """Fewest calibration rows of which the quantile at a level is one."""
    n = max(int(np.ceil(level / (1 - level) - 1e-9)), 1) if level < 1 else -1
    return n


def conformal_quantile(scores: Array, level: float) -> float:
    """The score of rank ``ceil((n + 1) level)``; infinite where there is none."""
    n = len(scores)
    rank = int(np.ceil((n + 1) * level - 1e-9))
    return float(np.sort(scores)[rank - 1]) if rank <= n else np.inf
