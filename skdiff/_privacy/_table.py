"""A million exact discrete Gaussians per second, by inversion.

A draw is the inverse of the distribution function at a uniform real number whose bits
are read as needed. The function stands in a table of certified bounds: 64 bits decide
unless a step of the function lies within 2**-64 of them, and then more bits are drawn
and compared with the table in whole integers, at twice the precision each time.
"""

import math
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from skdiff._base.typing import IntArray
from skdiff._privacy._noise import Source, discrete_gaussian

LARGEST = 2**16  # largest standard deviation of a table; beyond it the slow sampler
_FIRST_BITS = 256
_WORD = 64


class Steps(NamedTuple):
    """Distribution function at ``-reach, ..., reach - 1`` in units of ``2**-bits``.

    Each true value lies within ``error`` of its integer.
    """

    reach: int
    values: list[int]
    bits: int
    error: int


def _exp_minus(x: Fraction, bits: int) -> int:
    """``exp(-x)`` in units of ``2**-bits``, within one unit."""
    context = Context(prec=int(bits * 0.302) + 20)
    power = context.divide(Decimal(-x.numerator), Decimal(x.denominator))
    # Decimal's exp is correctly rounded at any precision
    return int(context.multiply(context.exp(power), Decimal(2**bits)))


def steps(sigma_sq: Fraction, bits: int) -> Steps:
    """Return the distribution function at a precision.

    ``p_k = exp(-k^2 / (2 sigma^2))`` follows from ``p_{k+1} = p_k q_k`` and
    ``q_{k+1} = q_k r`` with ``r = exp(-1 / sigma^2)``. Each product is cut within one
    unit, so that q_k is within 2k and p_k within 2 (k + 1)^2 units.
    """
    # beyond the reach the tail is below one unit: exp(-k^2/2s^2) < 2^-(bits+16)/s
    width = math.isqrt(math.ceil(sigma_sq)) + 1
    reach = math.isqrt(math.ceil(2 * sigma_sq * (bits + 32 + width.bit_length()))) + 2
    inner = bits + 3 * reach.bit_length() + 16
    ratio = _exp_minus(1 / sigma_sq, inner)
    q, p = _exp_minus(1 / (2 * sigma_sq), inner), 1 << inner
    weights = [p]
    for _ in range(reach):
        p = (p * q) >> inner
        q = (q * ratio) >> inner
        weights.append(p)
    total = 2 * sum(weights) - weights[0]
    values, running = [], 0
    for weight in [*weights[:0:-1], *weights[:-1]]:
        running += weight
        values.append((running << bits) // total)
    # rounding of the products, of the total and of the tail, in units of 2**-bits
    return Steps(reach, values, bits, 4)


@lru_cache(maxsize=8)
def _first(sigma_sq: Fraction) -> tuple[int, IntArray, IntArray]:
    """Reach, and the bounds of each step cut to 64 bits."""
    table = steps(sigma_sq, _FIRST_BITS)
    shift = table.bits - _WORD
    top = 2**_WORD - 1
    low = [max(v - table.error, 0) >> shift for v in table.values]
    high = [min((v + table.error) >> shift, top) for v in table.values]
    return (
        table.reach,
        np.array(low, dtype=np.uint64),
        np.array(high, dtype=np.uint64),
    )


def _decide(sigma_sq: Fraction, word: int, source: Source) -> int:
    """Read more bits of a uniform number until the table knows its place."""
    number, known = word, _WORD
    bits = _FIRST_BITS
    while True:
        table = steps(sigma_sq, bits)
        while known < bits:
            number = (number << _WORD) | int(source.words(1)[0])
            known += _WORD
        # the number lies in [u, u + 1] units: no step may be within its bounds
        u = number
        values = np.array(table.values, dtype=object)
        below = int(np.searchsorted(values, u - table.error, side="left"))
        above = int(np.searchsorted(values, u + 1 + table.error, side="right"))
        if below == above and 0 < u < (1 << bits) - table.error:
            return below - table.reach
        bits *= 2


def draw(sigma_sq: Fraction, count: int, source: Source) -> IntArray:
    """Return exact discrete Gaussians of a rational variance."""
    if sigma_sq > LARGEST**2:
        return np.array(
            [discrete_gaussian(sigma_sq, source) for _ in range(count)], dtype=np.int64
        )
    reach, low, high = _first(sigma_sq)
    words = source.words(count)
    # steps that are certainly below the number, and those that may be
    sure = np.searchsorted(high, words, side="left")
    maybe = np.searchsorted(low, words, side="right")
    found = (sure - reach).astype(np.int64)
    # also the words of all zeros and all ones: the outer steps, cut, are these words
    for k in np.flatnonzero(sure != maybe):
        found[k] = _decide(sigma_sq, int(words[k]), source)
    return found
