"""Numbers behind the choice of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdiff.data_selection._choice import (
    choose,
    class_quotas,
    inclusion_probabilities,
    middle_values,
    number_to_keep,
    systematic_sample,
    without_hardest,
)


def test_numbers_and_fractions():
    assert number_to_keep(7, 10) == 7
    assert number_to_keep(1, 10) == 1
    assert number_to_keep(1.0, 10) == 10
    assert number_to_keep(0.25, 10) == 2
    assert number_to_keep(0.001, 10) == 1
    with pytest.raises(ValueError, match="n_select=11"):
        number_to_keep(11, 10)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60), st.data())
def test_quotas_add_up_and_keep_every_class(codes, data):
    codes = np.array(codes)
    present = np.unique(codes)
    n = data.draw(st.integers(len(present), len(codes)))
    quotas = class_quotas(codes, n, 5)
    counts = np.bincount(codes, minlength=5)
    assert quotas.sum() == n
    assert np.all(quotas <= counts) and np.all(quotas[present] >= 1)


@given(st.integers(0, 10_000))
def test_inclusion_is_proportional_up_to_certainty(seed):
    rng = np.random.RandomState(seed)
    weights = rng.exponential(size=20) ** 2
    q = inclusion_probabilities(weights, 7)
    assert q.sum() == pytest.approx(7) and q.max() <= 1
    free = q < 1
    ratio = q[free] / weights[free]
    np.testing.assert_allclose(ratio, ratio[0])
    assert len(systematic_sample(q, rng)) == 7


def test_rows_are_included_as_often_as_they_should():
    rng = np.random.RandomState(0)
    q = inclusion_probabilities(np.arange(1.0, 11.0), 4)
    counts = np.zeros(10)
    for _ in range(4000):
        counts[systematic_sample(q, rng)] += 1
    # four standard errors of a frequency
    assert np.all(np.abs(counts / 4000 - q) < 4 * np.sqrt(q * (1 - q) / 4000) + 1e-12)


def test_the_middle_and_what_is_passed_over():
    scores = np.arange(10.0)
    assert set(np.argsort(-middle_values(scores))[:2]) == {4, 5}
    left = without_hardest(scores, scores, 0.2)
    assert choose(left, 3).tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match="Only 8 rows"):
        choose(left, 9)
