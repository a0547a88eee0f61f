"""The law of the exact samplers, slow and fast, and of the exponential mechanism."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency

from skdiff._privacy import _table
from skdiff._privacy._bounds import (
    bounds_of,
    power_cells,
    quantile_edges,
    threshold,
)
from skdiff._privacy._budget import Ledger
from skdiff._privacy._noise import (
    SystemSource,
    bernoulli_exp,
    discrete_gaussian,
    discrete_laplace,
    select,
)
from skdiff._privacy._release import Release

SYSTEM = SystemSource()
# Draws of the system have no seed. A correct sampler fails each check with at most this
# chance, and one of six standard deviations with 4e-9: together less than once in a
# million runs of this file. The law of chi squared reaches that far in bins of many.
RARE = 1e-8
MANY = 50
VARIANCES = [Fraction(1, 3), Fraction(1), Fraction(15, 2), Fraction(1000), 10**6]


def law(sigma_sq, reach):
    z = np.arange(-reach, reach + 1)
    p = np.exp(-(z**2) / (2 * float(sigma_sq)))
    return z, p / p.sum()


def binned(values, sigma_sq, n_bins=30):
    """Counts and expectations in bins of about equal mass."""
    reach = int(12 * float(sigma_sq) ** 0.5) + 2
    z, p = law(sigma_sq, reach)
    edges = np.unique(np.searchsorted(np.cumsum(p), np.linspace(0, 1, n_bins)[1:-1]))
    group = np.searchsorted(edges, np.arange(len(z)), side="left")
    place = group[np.clip(values + reach, 0, 2 * reach)]
    n_groups = group.max() + 1
    return (
        np.bincount(place, minlength=n_groups),
        len(values) * np.bincount(group, weights=p, minlength=n_groups),
    )


def p_value(values, sigma_sq):
    found, expected = binned(values, sigma_sq)
    kept = expected > MANY
    statistic = ((found - expected)[kept] ** 2 / expected[kept]).sum()
    return chi2.sf(statistic, kept.sum() - 1)


@pytest.mark.parametrize("sigma_sq", VARIANCES, ids=str)
def test_the_table_draws_the_law(sigma_sq):
    values = _table.draw(Fraction(sigma_sq), 100_000, SYSTEM)
    assert values.dtype == np.int64
    assert p_value(values, sigma_sq) > RARE
    spread = float(sigma_sq) ** 0.5
    z, p = law(sigma_sq, int(12 * spread) + 2)
    variance = float((p * z**2).sum())
    assert abs(values.mean()) < 6 * (variance / 1e5) ** 0.5
    fourth = float((p * z.astype(float) ** 4).sum())
    assert abs(values.var() - variance) < 6 * ((fourth - variance**2) / 1e5) ** 0.5


@pytest.mark.parametrize("sigma_sq", [Fraction(1, 3), Fraction(15, 2), 1000], ids=str)
def test_slow_and_fast_samplers_agree(sigma_sq):
    sigma_sq = Fraction(sigma_sq)
    slow = np.array([discrete_gaussian(sigma_sq, SYSTEM) for _ in range(3000)])
    assert p_value(slow, sigma_sq) > RARE
    fast = _table.draw(sigma_sq, 20_000, SYSTEM)
    counts = np.stack([binned(slow, sigma_sq, 12)[0], binned(fast, sigma_sq, 12)[0]])
    kept = binned(slow, sigma_sq, 12)[1] > MANY
    assert chi2_contingency(counts[:, kept]).pvalue > RARE


@pytest.mark.parametrize("sigma_sq", [Fraction(1, 3), Fraction(40), Fraction(10**7, 3)])
def test_the_table_is_within_its_certified_bounds(sigma_sq):
    table = _table.steps(sigma_sq, 256)
    mpmath.mp.prec = 400
    rate = mpmath.mpf(sigma_sq.denominator) / (2 * sigma_sq.numerator)
    weights = [mpmath.exp(-rate * k * k) for k in range(table.reach + 1)]
    # all weights beyond the reach R are less than one unit together, since
    # exp(-rate (R + x)^2) is at most exp(-rate R^2) exp(-rate x^2)
    assert weights[-1] * (1 + mpmath.sqrt(mpmath.pi / rate) / 2) < mpmath.mpf(2) ** -256
    total = 2 * mpmath.fsum(weights) - 1
    running = mpmath.mpf(0)
    for k in range(table.reach):
        running += weights[table.reach - k]
        exact = running / total * mpmath.mpf(2) ** 256
        if k % max(table.reach // 50, 1) == 0:
            assert abs(exact - table.values[k]) < table.error
    mpmath.mp.prec = 53


class Scripted:
    """Words in a given order, then those of the system."""

    def __init__(self, words):
        self.queue, self.asked = list(words), 0

    def below(self, bound):
        return SYSTEM.below(bound)

    def words(self, count):
        self.asked += count
        taken = self.queue[:count]
        self.queue = self.queue[count:]
        rest = SYSTEM.words(count - len(taken))
        return np.r_[np.array(taken, dtype=np.uint64), rest]


def test_undecided_words_read_more_bits():
    sigma_sq = Fraction(15, 2)
    table = _table.steps(sigma_sq, 256)
    k = table.reach + 3  # P(Z <= 3)
    word = table.values[k] >> 192
    # the next bits are all ones or all zeros: above and below the step
    ones = [2**64 - 1] * 3
    assert _table.draw(sigma_sq, 1, Scripted([word, *ones]))[0] == 4
    assert _table.draw(sigma_sq, 1, Scripted([word, 0, 0, 1]))[0] == 3
    # within the error of the step more precision is needed, and found; not so beyond
    for offset, z in ((-1000, 3), (-table.error, None), (0, None), (1000, 4),
                      (table.error, None), (-table.error - 1, None)):  # fmt: skip
        value = table.values[k] + offset
        near = Scripted([(value >> shift) % 2**64 for shift in (192, 128, 64, 0)])
        found = _table.draw(sigma_sq, 1, near)[0]
        assert (found == z and near.asked == 4) if z else near.asked > 4
    # the ends are read further, too
    assert abs(_table.draw(sigma_sq, 1, Scripted([0]))[0]) < 40
    assert abs(_table.draw(sigma_sq, 1, Scripted([2**64 - 1]))[0]) < 40


def test_releases_draw_from_the_system_unless_told_otherwise(monkeypatch):
    assert isinstance(Release(None).source, SystemSource)
    asked = []
    monkeypatch.setattr("secrets.randbelow", lambda n: asked.append(n) or 0)
    monkeypatch.setattr("secrets.token_bytes", lambda n: asked.append(n) or b"\1" * n)
    assert SYSTEM.below(7) == 0 and SYSTEM.words(2).tolist() == [0x0101010101010101] * 2
    assert asked == [7, 16]


def test_large_variances_go_to_the_slow_sampler():
    sigma_sq = Fraction(_table.LARGEST + 1) ** 2
    values = _table.draw(sigma_sq, 300, SYSTEM)
    assert 0.7 < values.std() / (_table.LARGEST + 1) < 1.3


@pytest.mark.parametrize("exponent", [Fraction(0), Fraction(1, 7), Fraction(1), 3])
def test_bernoulli(exponent):
    p = float(np.exp(-float(exponent)))
    hits = sum(bernoulli_exp(Fraction(exponent), SYSTEM) for _ in range(8000))
    assert abs(hits - 8000 * p) <= 6 * (8000 * p * (1 - p)) ** 0.5


def test_laplace():
    values = np.array([discrete_laplace(3, SYSTEM) for _ in range(8000)])
    z = np.arange(-60, 61)
    p = np.exp(-np.abs(z) / 3)
    p /= p.sum()
    inner = slice(52, 69)
    found = np.bincount(np.clip(values + 60, 0, 120), minlength=121)[inner]
    statistic = ((found - 8000 * p[inner]) ** 2 / (8000 * p[inner])).sum()
    assert chi2.sf(statistic, 16) > RARE


def test_the_exponential_mechanism():
    scores, eps = [10, 12, 3, 11], Fraction(1, 2)
    p = np.exp(0.5 * np.array(scores) / (2 * 2))
    p /= p.sum()
    picks = [select(scores, eps, 2, SYSTEM) for _ in range(8000)]
    found = np.bincount(picks, minlength=4)
    statistic = ((found - 8000 * p) ** 2 / (8000 * p)).sum()
    assert chi2.sf(statistic, 3) > RARE


def test_opendp_draws_the_same_law():
    pytest.importorskip("opendp")
    from skdiff._privacy._opendp import noisy_counts

    values = noisy_counts(np.zeros(20_000, dtype=np.int64), Fraction(15, 2))
    assert p_value(values, Fraction(15, 2)) > RARE


@pytest.mark.parametrize("rho", [Fraction(2), Fraction(1, 300), Fraction(7, 10**7)])
def test_opendp_proves_what_the_ledger_charges(rho):
    pytest.importorskip("opendp")
    from skdiff._privacy._opendp import measurement

    for sensitivity_sq in (1, 2, 18):
        sigma_sq = Ledger().gaussian("count", sensitivity_sq, rho)
        proven = measurement(sigma_sq).map(float(sensitivity_sq) ** 0.5)
        assert float(rho) * (1 - 1e-8) < proven <= float(rho) * (1 + 1e-14)


# --- bounds -------------------------------------------------------------------------


def test_cells_of_powers():
    values = np.array(
        [0.0, 1.0, 1.5, 2.0, -1.0, -3.9, 2.0**-64, 2.0**-70, 1e300, -1e300]
    )
    cells = power_cells(values) - 128
    assert cells.tolist() == [0, 65, 65, 66, -65, -66, 1, 0, 128, -128]


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([3.0, 100.0], (2.0, 128.0)),
        ([-5.0, 100.0], (-8.0, 128.0)),
        ([-5.0, -3.0], (-8.0, -2.0)),
        ([0.0, 3.0], (-(2.0**-64), 4.0)),
    ],
)
def test_bounds_enclose_the_cells(values, bounds):
    counts = np.bincount(power_cells(np.array(values)), minlength=257) * 1000
    assert bounds_of(counts, 500.0) == bounds


def test_bounds_without_any_count():
    assert bounds_of(np.zeros(257, dtype=np.int64), 3.0) == (-1.0, 1.0)
    assert threshold(Fraction(4)) == pytest.approx(2 * threshold(Fraction(1)))


def test_noise_alone_rarely_makes_a_bound():
    sigma_sq, wrong = Fraction(100), 0
    for _ in range(300):
        noisy = _table.draw(sigma_sq, 257, SYSTEM)
        wrong += bounds_of(noisy, threshold(sigma_sq)) != (-1.0, 1.0)
    assert wrong <= 4  # one in a thousand is expected


def test_edges_of_equal_mass():
    noisy = np.array([0, 0, 1000, 1000, 0, 0, 0, -5])
    edges = quantile_edges(noisy, np.linspace(0, 8, 9), 4)
    assert edges[0] == 0 and edges[-1] == 8 and np.all(np.diff(edges) > 0)
    assert np.sum((edges > 2) & (edges < 4)) >= 2
    flat = quantile_edges(np.zeros(8, dtype=int), np.linspace(0, 8, 9), 4)
    np.testing.assert_allclose(flat, [0, 2, 4, 6, 8])
