"""zCDP to (epsilon, delta) and back, against known digits and OpenDP."""

import math
import pickle
import threading
from copy import copy, deepcopy
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.base import clone

from skdiff._privacy._accounting import delta_of, epsilon_of, floored, rho_of
from skdiff._privacy._budget import Ledger, PrivacyAccountant
from skdiff.synthetic import PrivacyBudgetError, PrivacySpent, PrivateGSDSynthesizer

# OpenDP 0.16 and Google's accountant agree on these
RHO = [
    (0.07, 1e-9, 0.00008899),
    (0.23, 1e-9, 0.00088438),
    (0.52, 1e-9, 0.00426330),
    (0.74, 1e-9, 0.00840321),
    (1, 1e-9, 0.01497306),
    (3, 1e-6, 0.18506984),
    (1, 1e-5, 0.03055660),
    (10, 1e-6, 1.53927876),
]
EPSILON = [(0.5, 1e-6, 5.22153444), (0.1, 1e-5, 1.91423883), (0.005, 1e-6, 0.42994147)]

rhos = st.floats(1e-6, 20)
deltas = st.floats(1e-12, 0.1)


@pytest.mark.parametrize(("epsilon", "delta", "rho"), RHO)
def test_reference_rho(epsilon, delta, rho):
    assert rho_of(epsilon, delta) == pytest.approx(rho, abs=1e-8)


@pytest.mark.parametrize(("rho", "delta", "epsilon"), EPSILON)
def test_reference_epsilon(rho, delta, epsilon):
    assert epsilon_of(rho, delta) == pytest.approx(epsilon, abs=1e-8)
    # and better than the older closed form
    assert epsilon_of(rho, delta) < rho + 2 * math.sqrt(rho * math.log(1 / delta))


@given(rhos, deltas)
def test_there_and_back(rho, delta):
    epsilon = epsilon_of(rho, delta)
    if epsilon > 1e-9:
        assert rho_of(epsilon, delta) == pytest.approx(rho, rel=1e-10)
        assert delta_of(rho, epsilon) == pytest.approx(delta, rel=1e-8)


@given(rhos, rhos, deltas, deltas)
def test_monotone(first, second, delta, other):
    low, high = sorted((first, second))
    small, large = sorted((delta, other))
    assert epsilon_of(low, delta) <= epsilon_of(high, delta) * (1 + 1e-12)
    assert epsilon_of(low, large) <= epsilon_of(low, small) * (1 + 1e-12)
    assert delta_of(low, 1.0) <= delta_of(high, 1.0) * (1 + 1e-9)


@pytest.mark.parametrize("rho", [0.01, 0.5, 4.0])
def test_never_below_the_exact_gaussian(rho):
    mu, epsilon = math.sqrt(2 * rho), epsilon_of(rho, 1e-6)
    exact = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(
        -mu / 2 - epsilon / mu
    )
    assert 0 <= exact <= 1e-6


def test_opendp_agrees():
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    for rho, delta, _ in EPSILON:
        curve = dp.c.make_zCDP_to_approxDP(
            dp.m.make_gaussian(
                dp.atom_domain(T=dp.i64), dp.absolute_distance(T=float),
                scale=math.sqrt(1 / (2 * rho)),
            )
        ).map(1.0)  # fmt: skip
        assert curve.epsilon(delta) == pytest.approx(epsilon_of(rho, delta), rel=1e-6)


@given(st.floats(1e-12, 1e6))
def test_floored_is_below_and_close(value):
    assert floored(value) <= Fraction(value)
    assert float(floored(value)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-22, 1e-300), (5e-324, 1e-14)])
def test_a_budget_below_the_least_is_none(epsilon, delta):
    assert rho_of(epsilon, delta) == floored(0.0) == 0


# --- ledger -----------------------------------------------------------------------


@given(st.lists(st.fractions(Fraction(1, 10**9), 10), min_size=1, max_size=20))
def test_entries_have_enough_noise_and_add_up_exactly(parts):
    ledger = Ledger()
    for k, rho in enumerate(parts):
        if k % 2:
            eps = ledger.exponential("choice", 1, rho)
            assert eps**2 / 8 <= rho
        else:
            sigma_sq = ledger.gaussian("count", 2, rho)
            assert sigma_sq >= Fraction(2) / (2 * rho)
            assert sigma_sq <= Fraction(2) / (2 * rho) * (1 + Fraction(1, 2**28))
    assert ledger.total == sum(parts)


def test_noise_that_no_count_holds_is_refused_and_not_charged():
    ledger = Ledger()
    with pytest.raises(ValueError, match=r"edges of pay.*too small"):
        ledger.gaussian("edges of pay", 2, Fraction(1, 2**109))
    assert ledger.total == 0


# --- guarantees and accountants ------------------------------------------------------


def test_spent_at_other_deltas():
    spent = PrivacySpent(Fraction(1, 2), 5.22, 1e-6, "replace-one")
    assert spent.epsilon_at(1e-6) == pytest.approx(5.22153444)
    assert spent.delta_at(spent.epsilon_at(1e-7)) == pytest.approx(1e-7)
    with pytest.raises(ValueError, match="delta must be"):
        spent.epsilon_at(0)
    with pytest.raises(ValueError, match="epsilon must be"):
        spent.delta_at(-1)


def test_an_accountant_is_shared_by_its_copies():
    budget = PrivacyAccountant(Fraction(1, 2))
    model = PrivateGSDSynthesizer(rho=0.1, accountant=budget)
    assert clone(model).accountant is budget
    assert copy(budget) is budget and deepcopy([budget])[0] is budget
    budget.reserve(0.25)
    assert budget.remaining == Fraction(1, 4) == budget.spent
    with pytest.raises(PrivacyBudgetError, match="left"):
        budget.reserve(Fraction(1, 4) + Fraction(1, 10**30))
    budget.reserve(Fraction(1, 4))
    assert budget.remaining == 0
    with pytest.raises(ValueError, match="More would be released"):
        budget.release(3)
    with pytest.raises(ValueError, match="zero or positive"):
        budget.release(-0.25)  # would spend what nobody reserved
    assert budget.remaining == 0


def test_an_accountant_cannot_be_doubled():
    budget = PrivacyAccountant(1.0)
    with pytest.raises(TypeError, match="double"):
        pickle.dumps(budget)
    record = pickle.loads(pickle.dumps(PrivacyAccountant(1.0, frozen=True)))
    with pytest.raises(PrivacyBudgetError, match="frozen"):
        record.reserve(0.1)


@pytest.mark.parametrize("rho", [0, -1.0, math.inf, math.nan])
def test_a_budget_is_positive(rho):
    with pytest.raises(ValueError, match="rho must be"):
        PrivacyAccountant(rho)


@pytest.mark.parametrize("rho", ["1", None, True])
def test_a_budget_is_a_number(rho):
    with pytest.raises(TypeError, match="rho must be"):
        PrivacyAccountant(rho)


def test_threads_never_spend_more_than_there_is():
    budget, granted = PrivacyAccountant(1.0), []

    def spend():
        for _ in range(50):
            try:
                budget.reserve(Fraction(1, 100))
            except PrivacyBudgetError:
                continue
            granted.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 100 and budget.remaining == 0


def test_nothing_is_spent_without_rho():
    assert epsilon_of(0.0, 1e-6) == 0 and delta_of(0.0, 1.0) == 0
    assert np.isinf(epsilon_of(math.inf, 1e-6))
