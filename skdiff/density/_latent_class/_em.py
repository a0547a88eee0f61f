"""Expectation-maximisation for mixtures of independent categorical columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from skdiff._base.progress import Patience, Progress
from skdiff._base.typing import Array, IntArray
from skdiff.density._coding import MISSING, indicators
from skdiff.density._gibbs import draw

TINY = np.finfo(float).tiny
CHUNK = 2**22  # responsibilities held at a time


@dataclass(frozen=True)
class Mixture:
    """Class proportions and, side by side, the category probabilities of each class.

    ``log_theta`` has one row per category of each column, in the order of the columns,
    and one column per class.
    """

    log_pi: Array
    log_theta: Array
    sizes: list[int]

    @property
    def starts(self) -> IntArray:
        """First row of each column in ``log_theta``, and the end of the last."""
        return np.cumsum([0, *self.sizes])

    def log_joint(self, codes: IntArray) -> Array:
        """Log-probability of the known cells together with each class."""
        return np.asarray(indicators(codes, self.sizes) @ self.log_theta + self.log_pi)

    def log_marginal(self, codes: IntArray) -> Array:
        """Log-probability of the known cells; missing cells sum to one exactly."""
        out = np.zeros(len(codes))
        for part in chunks(len(codes), len(self.log_pi)):
            out[part] = logsumexp(self.log_joint(codes[part]), axis=1)
        # log_pi sums to one up to rounding only
        return np.where((codes == MISSING).all(axis=1), 0.0, out)

    def responsibilities(self, codes: IntArray) -> Array:
        """Probability of each class given the known cells."""
        log = self.log_joint(codes)
        return np.asarray(np.exp(log - logsumexp(log, axis=1, keepdims=True)))

    def log_conditional(self, codes: IntArray, u: int) -> Array:
        """Log-probabilities of column u given the known cells of the others."""
        others = codes.copy()
        others[:, u] = MISSING
        theta = np.exp(self.log_theta[self.starts[u] : self.starts[u + 1]])
        out = np.empty((len(codes), self.sizes[u]))
        for part in chunks(len(codes), len(self.log_pi)):
            p = self.responsibilities(others[part]) @ theta.T
            out[part] = np.log(np.maximum(p, TINY))
        return out

    def complete(self, codes: IntArray, rng: Any) -> IntArray:
        """Draw a class given the known cells, then the missing cells given it."""
        codes = codes.copy()
        classes = np.concatenate(
            [
                draw(self.log_joint(codes[part]), rng)
                for part in chunks(len(codes), len(self.log_pi))
            ]
        )
        for u in np.flatnonzero((codes == MISSING).any(axis=0)).tolist():
            rows = np.flatnonzero(codes[:, u] == MISSING)
            table = self.log_theta[self.starts[u] : self.starts[u + 1]].T
            codes[rows, u] = draw(table[classes[rows]], rng)
        return codes


def chunks(n: int, width: int) -> list[slice]:
    """Slices of rows of which a matrix of this width fits in memory."""
    size = max(1, CHUNK // max(width, 1))
    return [slice(i, min(i + size, n)) for i in range(0, n, size)] or [slice(0, 0)]


@dataclass(frozen=True)
class Counts:
    """A histogram of rows, and the marginals towards which classes are smoothed."""

    onehot: Any
    weight: Array
    prior: Array
    sizes: list[int]


def count_rows(
    codes: IntArray, weight: Array, marginals: Sequence[Array], smoothing: float
) -> Counts:
    """Sparse indicators of distinct rows; ``smoothing`` rows more in each class."""
    sizes = [len(m) for m in marginals]
    prior = smoothing * np.concatenate(marginals)
    return Counts(indicators(codes, sizes), weight, prior, sizes)


def maximise(R: Array, data: Counts) -> Mixture:
    """The mixture that is likeliest given weighted responsibilities."""
    mass = R.sum(axis=0)
    table = data.onehot.T @ R + data.prior[:, None]
    edges = np.cumsum([0, *data.sizes])[:-1]
    total = np.repeat(np.add.reduceat(table, edges, axis=0), data.sizes, axis=0)
    # a class that no row belongs to keeps even probabilities
    sizes = np.repeat(data.sizes, data.sizes)[:, None]
    theta = np.where(total > 0, table / np.where(total > 0, total, 1.0), 1.0 / sizes)
    log_pi = np.log(np.maximum(mass / mass.sum(), TINY))
    return Mixture(log_pi, np.log(np.maximum(theta, TINY)), data.sizes)


def step(mixture: Mixture, data: Counts) -> tuple[Mixture, float]:
    """One iteration; also the penalised log-likelihood per row before it."""
    log = data.onehot @ mixture.log_theta + mixture.log_pi
    top = log.max(axis=1, keepdims=True)
    R = np.exp(log - top)
    total = R.sum(axis=1, keepdims=True)
    likelihood = float(data.weight @ (top + np.log(total))[:, 0])
    R *= data.weight[:, None] / total
    penalty = float((data.prior @ mixture.log_theta).sum()) if data.prior.any() else 0.0
    return maximise(R, data), (likelihood + penalty) / float(data.weight.sum())


def start(n_classes: int, data: Counts, rng: Any) -> Mixture:
    """Rows near to randomly chosen ones start in the same class.

    Half of each row's responsibility is even, so that no class starts empty.
    """
    n = data.onehot.shape[0]
    # the first arrivals at rates that are the weights: different rows, heavy ones first
    order = np.argsort(rng.exponential(size=n) / data.weight, kind="stable")
    chosen = np.resize(order[:n_classes], n_classes)
    alike = (data.onehot @ data.onehot[chosen].T).toarray()
    # two rows may be equally near to several: noise decides
    nearest = (alike + rng.uniform(size=alike.shape)).argmax(axis=1)
    R = np.full((n, n_classes), 0.5 / n_classes)
    R[np.arange(n), nearest] += 0.5
    return maximise(R * data.weight[:, None], data)


def fit_mixture(
    mixture: Mixture,
    data: Counts,
    *,
    max_iter: int,
    patience: Patience,
    guard: Progress,
    note: Callable[[float], None],
) -> tuple[Mixture, bool]:
    """Iterate until the likelihood stands still; return whether it does."""
    for _ in guard.iterations(max_iter):
        mixture, likelihood = step(mixture, data)
        note(likelihood)
        if guard.step(loss=-likelihood, state=mixture) or patience.is_over(-likelihood):
            break
    return mixture, patience.over
