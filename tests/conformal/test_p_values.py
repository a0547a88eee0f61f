"""The arithmetic: p-values under ties, Benjamini-Hochberg, sizes, the OptCS recipe."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiff.conformal import (
    auxiliary_selection_sizes,
    benjamini_hochberg,
    conformal_p_values,
    e_benjamini_hochberg,
)
from skdiff.conformal._common._optcs import optimized_selection, plain_selection
from skdiff.conformal._p_values import adjusted_p_values

small = st.lists(st.integers(0, 6), min_size=1, max_size=12)


def test_p_values_by_hand_with_ties():
    V, T = [1, 2, 2, 3, np.inf], [0, 2, 2.5, 9]
    p = conformal_p_values(V, T, randomized=False)
    np.testing.assert_allclose(p, [1 / 6, 4 / 6, 4 / 6, 5 / 6])
    draws = 1 - np.random.RandomState(3).uniform(size=4)
    p = conformal_p_values(V, T, random_state=3)
    ties = np.array([0, 2, 0, 0])
    below = np.array([0, 1, 3, 4])
    np.testing.assert_allclose(p, (below + draws * (1 + ties)) / 6)


def test_weighted_p_values_by_hand():
    V, w = np.array([1.0, 2.0, 2.0, 4.0]), np.array([1.0, 0.5, 2.0, 3.0])
    T, u = np.array([2.0, 3.0]), np.array([2.0, 0.25])
    p = conformal_p_values(
        V, T, calibration_weights=w, test_weights=u, randomized=False
    )
    np.testing.assert_allclose(p, [(3.5 + 2) / 8.5, (3.5 + 0.25) / 6.75])
    draws = 1 - np.random.RandomState(0).uniform(size=2)
    p = conformal_p_values(V, T, calibration_weights=w, test_weights=u, random_state=0)
    expected = [(1 + draws[0] * (2 + 2.5)) / 8.5, (3.5 + draws[1] * 0.25) / 6.75]
    np.testing.assert_allclose(p, expected)
    # equal weights are no weights
    same = conformal_p_values(
        V, T, calibration_weights=[3.0] * 4, test_weights=[3.0] * 2, random_state=0
    )
    np.testing.assert_allclose(same, conformal_p_values(V, T, random_state=0))


@pytest.mark.parametrize("randomized", [False, True])
@pytest.mark.parametrize("values", [3, 1000])
def test_p_values_are_super_uniform(randomized, values):
    rng = np.random.default_rng(values)
    n, trials = 9, 10_000
    scores = rng.integers(0, values, size=(n + 1, trials)).astype(float)
    p = np.array(
        [
            conformal_p_values(s[:n], s[n:], randomized=randomized, random_state=i)[0]
            for i, s in enumerate(scores.T)
        ]
    )
    grid = np.arange(1, 20) / 20
    share = (p[:, None] <= grid).mean(axis=0)
    margin = 3.5 * np.sqrt(grid * (1 - grid) / trials)
    assert np.all(share <= grid + margin)
    if randomized:  # exactly uniform, ties or not
        assert np.all(share >= grid - margin)


def test_strict_ranks_would_be_invalid():
    # the p-value (1 + #{V < T}) / (n + 1), which published code uses, is not valid
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, size=(10, 4000))
    wrong = (1 + (scores[:9] < scores[9]).sum(axis=0)) / 10
    assert (wrong <= 0.1).mean() > 0.3


def naive_selection(p, q):
    """Benjamini and Hochberg by their definition, in exact arithmetic."""
    m = len(p)
    ranked = sorted(p)
    passing = [r for r in range(1, m + 1) if ranked[r - 1] <= q * r / m]
    if not passing:
        return [False] * m
    return [value <= ranked[passing[-1] - 1] for value in p]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=15), st.integers(1, 19))
def test_benjamini_hochberg_is_its_definition(counts, level):
    p, q = [Fraction(c, 20) for c in counts], Fraction(level, 20)
    expected = naive_selection(p, q)
    got = benjamini_hochberg([float(x) for x in p], float(q))
    assert got.tolist() == expected
    several = benjamini_hochberg([float(x) for x in p], [0.5, float(q)])
    assert several.shape == (2, len(p)) and several[1].tolist() == expected


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=15))
def test_adjusted_p_values_are_the_smallest_levels(p):
    adjusted = adjusted_p_values(np.array(p))
    assert np.all(adjusted >= np.array(p) * (1 - 1e-12)) and np.all(adjusted <= 1)
    for j, level in enumerate(adjusted):
        if level < 1:
            assert benjamini_hochberg(p, level)[j]
            assert not benjamini_hochberg(p, level * (1 - 1e-6))[j]


def test_e_benjamini_hochberg_by_hand():
    # m = 4, q = 0.2: the k-th largest must reach 20 / k
    assert e_benjamini_hochberg([20, 9.9, 0, 0], 0.2).tolist() == [1, 0, 0, 0]
    assert e_benjamini_hochberg([11, 10, 0, 0], 0.2).tolist() == [1, 1, 0, 0]
    assert e_benjamini_hochberg([np.inf, 6, 7, 6.5], 0.2).tolist() == [1, 1, 1, 1]
    assert not e_benjamini_hochberg([0.0, 1.0], 0.2).any()


def naive_sizes(V, T, q, w=None, u=None):
    """A selection for every row, by the definition of Bai and Jin."""
    n, m = len(V), len(T)
    sizes = []
    for j in range(m):
        p = []
        for other in range(m):
            if w is None:
                count = sum(v <= T[other] for v in V) + (T[j] <= T[other])
                p.append(Fraction(int(count), n + 1))
            else:
                mass = sum(wi for wi, v in zip(w, V, strict=True) if v < T[other])
                mass += u[j] * (T[j] < T[other])
                p.append(mass / (sum(w) + u[j]))
        p[j] = Fraction(0)
        sizes.append(sum(naive_selection(p, q)))
    return sizes


@pytest.mark.parametrize("seed", range(400))
def test_fast_sizes_are_the_naive_ones(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 30), rng.integers(1, 20)
    tied = seed % 2
    draw = (lambda k: rng.integers(0, 6, k)) if tied else (lambda k: rng.normal(size=k))
    V, T = draw(n).astype(float), draw(m) - rng.integers(0, 3)
    q = Fraction(int(rng.integers(1, 20)), 20)
    got = auxiliary_selection_sizes(V, T, float(q))
    assert got.tolist() == naive_sizes(V, T, q)


@pytest.mark.parametrize("seed", range(60))
def test_fast_weighted_sizes_are_the_naive_ones(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 20), rng.integers(1, 12)
    V, T = rng.integers(0, 6, n), rng.integers(-2, 5, m)
    w, u = rng.integers(1, 5, n), rng.integers(1, 5, m)
    q = Fraction(int(rng.integers(1, 20)), 20)
    got = auxiliary_selection_sizes(
        V, T, float(q), calibration_weights=w, test_weights=u
    )
    exact = [Fraction(int(x)) for x in w], [Fraction(int(x)) for x in u]
    assert got.tolist() == naive_sizes(V, T, q, *exact)


def test_the_density_ratio_of_row_j_counts_in_the_sizes_of_row_j():
    # published code has the other row's weight there, which is another answer
    V, T = np.array([1.0, 2.0, 5.0]), np.array([0.0, 3.0])
    w, u = np.ones(3), np.array([1.0, 8.0])
    sizes = auxiliary_selection_sizes(V, T, 0.55, calibration_weights=w, test_weights=u)
    exact = [Fraction(1)] * 3, [Fraction(1), Fraction(8)]
    assert sizes.tolist() == naive_sizes(V, T, Fraction(11, 20), *exact)


def test_candidates_and_levels_in_one_call():
    rng = np.random.default_rng(0)
    V, T = rng.normal(size=(40, 3)), rng.normal(size=(25, 3)) - 1
    levels = [0.1, 0.3, 0.5]
    sizes = auxiliary_selection_sizes(V, T, levels)
    assert sizes.shape == (3, 25, 3)
    for i, q in enumerate(levels):
        for k in range(3):
            alone = auxiliary_selection_sizes(V[:, k], T[:, k], q)
            np.testing.assert_array_equal(sizes[i, :, k], alone)


@pytest.mark.parametrize("seed", range(300))
def test_one_candidate_without_pruning_is_benjamini_hochberg(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(5, 80), rng.integers(1, 60)
    V, T = rng.normal(size=(n, 1)), rng.normal(size=(m, 1)) - rng.uniform(0, 3)
    levels = rng.uniform(0.05, 0.6, size=2)
    plain = plain_selection(V, T, levels, 1.0)
    optimized = optimized_selection(V, T, levels, 1.0, 1.0)
    np.testing.assert_array_equal(plain.selected, optimized.selected)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("beta", [1.0, 0.8])
def test_the_deterministic_rule_is_benjamini_hochberg_on_e_values(seed, beta):
    rng = np.random.default_rng(seed)
    V, T = rng.normal(size=(60, 4)), rng.normal(size=(30, 4)) - 1.5
    q = 0.4
    found = optimized_selection(V, T, np.array([q]), 1.0, 1.0, beta)
    R = found.sizes[0]
    e = np.where(found.p_values[0] <= beta * q * R / 30, 30 / (beta * q * R), 0.0)
    np.testing.assert_array_equal(found.selected[0], e_benjamini_hochberg(e, q))
    np.testing.assert_array_equal(found.first_step[0], e > 0)
    every = auxiliary_selection_sizes(V, T, q)
    np.testing.assert_array_equal(R, every.max(axis=1))
    np.testing.assert_array_equal(found.chosen[0], every.argmax(axis=1))


def test_random_pruning_keeps_more_and_stays_within_the_first_step():
    rng = np.random.default_rng(1)
    kept = {"random": 0, "none": 0}
    for _ in range(40):
        V, T = rng.normal(size=(60, 4)), rng.normal(size=(30, 4)) - 1.5
        for name, prune in (("random", rng.uniform(size=30)), ("none", 1.0)):
            found = optimized_selection(V, T, np.array([0.4]), 1.0, prune)
            assert not np.any(found.selected & ~found.first_step)
            kept[name] += found.selected.sum()
    assert kept["random"] > kept["none"] > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: benjamini_hochberg([0.5], 1.0), "level"),
        (lambda: benjamini_hochberg([0.5], [0.1, 0.0]), "level"),
        (lambda: benjamini_hochberg([0.5], "a"), "level"),
        (lambda: benjamini_hochberg([1.5], 0.1), "p_values"),
        (lambda: benjamini_hochberg([np.nan], 0.1), "NaN"),
        (lambda: e_benjamini_hochberg([-1.0], 0.1), "e_values"),
        (lambda: e_benjamini_hochberg([[1.0]], 0.1), "e_values"),
        (lambda: conformal_p_values([np.nan], [0.0]), "calibration_scores"),
        (lambda: conformal_p_values([0.0], []), "test_scores"),
        (lambda: conformal_p_values([0.0], [[0.0]]), "shape"),
        (
            lambda: conformal_p_values([0.0], [0.0], calibration_weights=[1.0]),
            "together",
        ),
        (
            lambda: conformal_p_values(
                [0.0], [0.0], calibration_weights=[-1.0], test_weights=[1.0]
            ),
            "non-negative",
        ),
        (
            lambda: conformal_p_values(
                [0.0], [0.0], calibration_weights=[1.0, 1.0], test_weights=[1.0]
            ),
            "inconsistent",
        ),
        (lambda: auxiliary_selection_sizes([0.0], [0.0], 2.0), "level"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@given(small, small)
def test_ranks_do_not_depend_on_units(V, T):
    p = conformal_p_values(V, T, randomized=False)
    moved = conformal_p_values(
        np.exp(np.array(V, float)), np.exp(np.array(T, float)), randomized=False
    )
    np.testing.assert_array_equal(p, moved)
