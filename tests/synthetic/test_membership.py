"""The attack finds members where there is no privacy, and not where there is some."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

import skdiff
from skdiff.synthetic import (
    PrivacyAccountant,
    PrivacyBudgetError,
    PrivateGSDSynthesizer,
    TableSchema,
    membership_report,
)
from skdiff.synthetic._membership import _advantage_low


def generated(n, seed):
    """Nine columns that share three factors."""
    law, rng = np.random.default_rng(0), np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    columns, declared = [], {}
    for j, k in enumerate((2, 3, 4, 5, 8, 2)):
        noise = rng.gumbel(size=(n, k))
        columns.append(np.argmax(z @ law.normal(size=(3, k)) + noise, axis=1))
        declared[j] = list(range(k))
    for j in range(6, 9):
        columns.append(1 / (1 + np.exp(-0.7 * z @ law.normal(size=3))))
        declared[j] = (0.0, 1.0)
    return np.column_stack(columns).astype(float), TableSchema(declared)


X, SCHEMA = generated(600, 1)
PUBLIC, _ = generated(2000, 2)


def reports(epsilon, runs, **more):
    """Attacks on releases of different members."""
    found = []
    for k in range(runs):
        rows = generated(400, 100 + k)[0]
        model = PrivateGSDSynthesizer(
            SCHEMA, epsilon, random_state=k, tol=1e-3, **more
        ).fit(rows[:200])
        found.append(membership_report(model, rows[:200], rows[200:], PUBLIC))
    return found


def far_from_half(areas):
    """Whether areas refute that members win .5 +- .05 of all duels with others.

    Each of 200 members meets one other row: the number of wins is binomial, and the
    area, a mean over all pairs, varies less. The chance of an error is 1e-4.
    """
    n = 200 * len(areas)
    low, high = binom.ppf(5e-5, n, 0.45) / n, binom.isf(5e-5, n, 0.55) / n
    return not low <= np.mean(areas) <= high


def test_members_are_found_without_privacy():
    (report,) = reports(None, 1, n_synthetic=400)
    assert report.auc > 0.75
    assert report.ceiling == 1 and report.advantage_low > 0.2
    assert report.tpr_at_fpr[0.01] > 0.02
    assert report.distance_members < report.distance_non_members


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_no_advantage_beyond_the_ceiling(epsilon):
    found = reports(epsilon, 4)
    ceiling = (math.exp(epsilon) - 1 + 2 / 200**2) / (math.exp(epsilon) + 1)
    for report in found:
        assert report.ceiling == pytest.approx(ceiling, rel=1e-6)
        assert report.advantage_low <= report.ceiling
    if epsilon <= 1:
        assert not far_from_half([r.auc for r in found])


def test_the_bound_of_few_attacks_would_find_a_leak():
    assert far_from_half([r.auc for r in reports(None, 2, n_synthetic=200)])


def test_members_are_hidden_at_epsilon_one():
    assert not far_from_half([r.auc for r in reports(1.0, 20)])


def test_the_lower_bound_is_exact_and_hardly_ever_above_no_advantage():
    apart = _advantage_low(np.ones(200), np.zeros(200))
    # every second row: 100 of 100 found, none of 100 in error
    assert apart == pytest.approx(2 * 0.025**0.01 - 1)
    assert _advantage_low(np.zeros(200), np.zeros(200)) == pytest.approx(
        0.025**0.01 - 1
    )
    rng = np.random.default_rng(0)
    above = [_advantage_low(*rng.normal(size=(2, 60))) > 0 for _ in range(400)]
    assert np.mean(above) <= 0.05


def test_without_a_reference():
    model = PrivateGSDSynthesizer(SCHEMA, None, n_synthetic=200, tol=0.1).fit(X[:200])
    report = membership_report(model, X[:200], X[200:400])
    assert 0.4 < report.auc <= 1 and -1 <= report.advantage_low <= report.advantage
    with pytest.raises(ValueError, match="levels"):
        membership_report(model, X[:200] + 100, X[200:])


def test_the_report_of_a_saved_release_is_that_of_the_release(tmp_path):
    budget = PrivacyAccountant(0.5)
    model = PrivateGSDSynthesizer(SCHEMA, rho=0.25, accountant=budget, max_evals=0)
    rows = X[:200], X[200:400], PUBLIC[:300]
    before = membership_report(model.fit(rows[0]), *rows)
    # a budget goes into no file, where a copy would double it
    for write in (pickle.dumps, lambda m: m.save(tmp_path / "m.npz")):
        with pytest.raises(TypeError, match="accountant=None"):
            write(model)
    assert not (tmp_path / "m.npz").exists()
    model.set_params(accountant=None).save(tmp_path / "m.npz")
    assert membership_report(skdiff.load(tmp_path / "m.npz"), *rows) == before
    # a frozen one can be pickled, and spends nothing afterwards
    model.set_params(accountant=PrivacyAccountant(0.5, frozen=True))
    again = pickle.loads(pickle.dumps(model))
    assert membership_report(again, *rows) == before
    with pytest.raises(PrivacyBudgetError, match="frozen"):
        again.fit(rows[0])
    assert membership_report(again, *rows) == before
    assert budget.spent == again.privacy_spent_.rho == Fraction(1, 4)
