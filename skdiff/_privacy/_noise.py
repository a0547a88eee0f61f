"""Exact draws with integers only (Canonne, Kamath and Steinke, 2020, section 5).

Floating-point samplers betray the true value by the doubles that they can and cannot
reach (Mironov, 2012); integers do not.
"""

import math
import secrets
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np


class Source(Protocol):
    """Where random bits come from."""

    def below(self, bound: int) -> int:
        """Return an integer from 0 to ``bound - 1``."""

    def words(self, count: int) -> Any:
        """Return an array of unsigned 64-bit integers."""


class SystemSource:
    """The generator of the operating system; it cannot be seeded."""

    def below(self, bound: int) -> int:
        """Return an integer from 0 to ``bound - 1``."""
        return secrets.randbelow(bound)

    def words(self, count: int) -> Any:
        """Return an array of unsigned 64-bit integers."""
        return np.frombuffer(secrets.token_bytes(8 * count), dtype=np.uint64)


def bernoulli_exp(exponent: Fraction, source: Source) -> bool:
    """Return True with probability ``exp(-exponent)`` (algorithm 1)."""
    while exponent > 1:
        if not _bernoulli_exp_below_one(1, 1, source):
            return False
        exponent -= 1
    return _bernoulli_exp_below_one(exponent.numerator, exponent.denominator, source)


def _bernoulli_exp_below_one(a: int, b: int, source: Source) -> bool:
    k = 1
    while source.below(b * k) < a:
        k += 1
    return k % 2 == 1


def discrete_laplace(scale: int, source: Source) -> int:
    """Return Z with probability proportional to ``exp(-|Z| / scale)`` (algorithm 2)."""
    while True:
        u = source.below(scale)
        if not bernoulli_exp(Fraction(u, scale), source):
            continue
        v = 0
        while _bernoulli_exp_below_one(1, 1, source):
            v += 1
        negative = source.below(2)
        x = u + scale * v
        if negative and x == 0:
            continue
        return -x if negative else x


def discrete_gaussian(sigma_sq: Fraction, source: Source) -> int:
    """Return Z with probability prop. to ``exp(-Z^2 / (2 sigma^2))`` (algorithm 3)."""
    scale = math.isqrt(math.floor(sigma_sq)) + 1
    while True:
        z = discrete_laplace(scale, source)
        exponent = (abs(z) - sigma_sq / scale) ** 2 / (2 * sigma_sq)
        if bernoulli_exp(exponent, source):
            return z


def select(
    scores: Sequence[int], eps: Fraction, sensitivity: int, source: Source
) -> int:
    """Return a position by the exponential mechanism.

    Its probability is proportional to ``exp(eps score / (2 sensitivity))``: a uniform
    candidate is kept with the exponential of its distance to the best.
    """
    best = max(scores)
    while True:
        k = source.below(len(scores))
        if bernoulli_exp(eps * (best - scores[k]) / (2 * sensitivity), source):
            return k
