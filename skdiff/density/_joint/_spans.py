"""From the probability of a bin to the density of a number in it, and back.

A column of numbers is cut at quantiles. Inside a bin the density is flat, between the
smallest and the largest number seen. Beyond them lies what a new number is expected
to do there, one part in ``rows of the bin + 1`` of the outer bin, as an exponential
tail of the bin's width: scores of new rows stay finite.
"""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.typing import Array, IntArray


class Spans(NamedTuple):
    """Bounds of the bins of one column, and the tails of its outer bins.

    ``whole`` marks whole numbers, whose density is the probability of one number.
    """

    edges: Array
    below: float
    above: float
    whole: bool


def make_spans(cuts: Any, limits: Any, counts: Array) -> Spans:
    """Bounds of bins from the cuts, the extreme values and the rows in each bin."""
    low, high, whole = limits
    # a whole number stands for the unit interval that ends in it
    edges = np.concatenate([[low - 1.0 if whole else low], cuts, [high]])
    return Spans(edges, 1 / (counts[0] + 1), 1 / (counts[-1] + 1), whole)


def widths(spans: Spans) -> Array:
    """Width of each bin; a bin of one single number is an atom and has width one."""
    found = np.diff(spans.edges)
    return np.asarray(np.where(found > 0, found, 1.0))


def log_density_in_bin(spans: Spans, values: Array, codes: IntArray) -> Array:
    """Logarithm of the density of numbers within their own bins."""
    width = widths(spans)[codes]
    last = len(spans.edges) - 2
    inside = np.where(codes == 0, np.log1p(-spans.below), 0.0)
    inside = inside + np.where(codes == last, np.log1p(-spans.above), 0.0)
    start = spans.edges[0] + (1.0 if spans.whole else 0.0)
    under, over = values < start, values > spans.edges[-1]
    out = np.where(under, np.log(spans.below) - (start - values) / width, inside)
    out = np.where(over, np.log(spans.above) - (values - spans.edges[-1]) / width, out)
    return np.asarray(out - np.log(width))


def draw_in_bin(spans: Spans, codes: IntArray, rng: Any) -> Array:
    """Numbers within bins: flat, never beyond the numbers seen in fit."""
    low, high = spans.edges[codes], spans.edges[codes + 1]
    found = low + (high - low) * (1.0 - rng.uniform(size=len(codes)))
    return np.asarray(np.ceil(found) if spans.whole else found)


def means(spans: Spans) -> Array:
    """Middle of each bin."""
    middles = (spans.edges[:-1] + spans.edges[1:]) / 2
    return np.asarray(middles + 0.5 if spans.whole else middles)
