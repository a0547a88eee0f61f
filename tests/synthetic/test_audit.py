"""Epsilon measured from outside: neighbouring tables told apart, and noise repeated.

Two tables of eight rows differ in one row. An attacker sees the release and tells them
apart by the log-likelihood ratio. At rho = 2 an exact mechanism allows mu = 2; a lower
bound above it refutes the guarantee. Planted faults have to be found.
"""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import beta, norm

from skdiff._privacy import _budget, _release
from skdiff.synthetic import MarginalQueries, PrivateGSDSynthesizer, TableSchema
from skdiff.synthetic._gsd import _measure
from skdiff.synthetic._gsd._measure import Task, one_shot

RHO, RUNS = Fraction(2), 2000
SCHEMA = TableSchema({"a": [0, 1, 2], "b": [0, 1, 2]})
FAMILY = MarginalQueries(1).fit_schema(SCHEMA)
ROWS = np.array([[0, 0]] * 7 + [[1, 1]])
NEIGHBOR = np.array([[0, 0]] * 7 + [[2, 2]])
TASK = Task(
    [f for f, _ in FAMILY._parts], [c for _, c in FAMILY._parts], [], "replace-one", 8
)


def mu_bound(first, second):
    """Lower bound of mu at 99 %: threshold on one half, exact bounds on the other."""
    half = len(first) // 2
    at = np.sort(np.r_[first[:half], second[:half]])
    rates = [(np.mean(second[:half] > t), np.mean(first[:half] > t)) for t in at[::20]]
    with np.errstate(invalid="ignore"):
        best = np.nanargmax(
            [norm.ppf(min(t, 0.995)) - norm.ppf(max(f, 0.005)) for t, f in rates]
        )
    threshold = at[::20][best]
    n = len(first) - half
    hits, false = np.sum(second[half:] > threshold), np.sum(first[half:] > threshold)
    low = beta.ppf(0.005, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.995, false + 1, n - false) if false < n else 1.0
    return norm.ppf(low) - norm.ppf(high)


def released(rows):
    """Noisy counts of one release."""
    release = _release.Release(None)
    measured = one_shot(release, rows, TASK, RHO)
    return np.concatenate([m.shares * 8 for m in measured])


def audit(runs=RUNS):
    truth = [FAMILY.counts(rows) for rows in (ROWS, NEIGHBOR)]
    direction = truth[1] - truth[0]
    return mu_bound(
        *(
            np.array([released(rows) @ direction for _ in range(runs)])
            for rows in (ROWS, NEIGHBOR)
        )
    )


def test_the_mechanism_keeps_its_guarantee_and_the_audit_is_sharp():
    found = audit()
    assert 1.3 < found <= 2.0


def not_divided(monkeypatch):
    """Each of the two tables gets the whole budget."""
    real = _measure._take
    monkeypatch.setattr(
        _measure, "_take", lambda r, c, pair, task, rho: real(r, c, pair, task, 2 * rho)
    )


def sensitivity_of_another_relation(monkeypatch):
    monkeypatch.setattr(MarginalQueries, "sensitivity_sq", lambda self, neighbors: 1)


def half_the_noise(monkeypatch):
    real = _release.draw
    monkeypatch.setattr(_release, "draw", lambda s, n, source: real(s / 4, n, source))


def the_same_noise_twice(monkeypatch):
    real, kept = _release.draw, {}

    def draw(sigma_sq, count, source):
        if "noise" in kept:
            # minus the noise of the first table: what they share cancels
            return -kept.pop("noise")
        kept["noise"] = real(sigma_sq, count, source)
        return kept["noise"]

    monkeypatch.setattr(_release, "draw", draw)


@pytest.mark.parametrize(
    "fault",
    [
        not_divided,
        sensitivity_of_another_relation,
        half_the_noise,
        the_same_noise_twice,
    ],
)
def test_planted_faults_are_found(fault, monkeypatch):
    fault(monkeypatch)
    assert audit() > 2.0


def test_repeated_releases_have_the_declared_variance():
    release = _release.Release(None)
    one_shot(release, ROWS, TASK, RHO)
    (declared,) = {float(e.sigma_sq) for e in release.ledger.entries}
    noise = np.stack([released(ROWS) for _ in range(3000)]) - FAMILY.counts(ROWS)
    ratio = noise.var(axis=0) / declared
    assert np.all(np.abs(ratio - 1) < 5 * (2 / 3000) ** 0.5)
    # and tables do not share their noise
    correlation = np.corrcoef(noise.T) - np.eye(6)
    assert np.abs(correlation).max() < 5 / 3000**0.5


def test_a_fault_of_half_the_noise_shows_in_the_variance(monkeypatch):
    half_the_noise(monkeypatch)
    noise = np.stack([released(ROWS) for _ in range(500)]) - FAMILY.counts(ROWS)
    declared = float(_budget.Ledger().gaussian("x", 2, RHO / 2))
    assert np.all(noise.var(axis=0) < 0.5 * declared)


@pytest.mark.parametrize("max_evals", [0, None])
def test_end_to_end(max_evals):
    """The synthetic table tells no more than the measurement."""
    model = PrivateGSDSynthesizer(
        SCHEMA, rho=RHO, delta=1e-3, queries="1-way", n_synthetic=40, tol=0.1,
        max_evals=max_evals, random_state=0,
    )  # fmt: skip
    direction = FAMILY.counts(NEIGHBOR) - FAMILY.counts(ROWS)

    def values(rows):
        fits = (model.fit(rows).synthetic_ for _ in range(600))
        return np.array([FAMILY.counts(table) @ direction for table in fits])

    found = mu_bound(values(ROWS), values(NEIGHBOR))
    assert 0.5 <= found <= 2.0


def test_the_choice_of_a_table_keeps_its_law():
    """Scores of neighbours differ by the sensitivity at most; the odds by e^eps."""
    task = TASK._replace(one_way=FAMILY._parts)
    table = np.array([[0, 0]] * 4 + [[1, 1]] * 4)
    budget = Fraction(1, 2)
    for w in range(2):
        truths = [task.families[w].counts(rows) for rows in (ROWS, NEIGHBOR)]
        scores = [_measure._score(task, w, c, table, budget) for c in truths]
        assert abs(scores[0] - scores[1]) <= _measure._score_sensitivity(task)
        assert all(isinstance(score, int) for score in scores)


def test_a_score_is_the_distance_beyond_the_noise_to_expect():
    budget = Fraction(1, 2)
    counts = [family.counts(ROWS) for family in TASK.families]
    sigma = (1 / (0.9 * 0.5)) ** 0.5  # nine tenths of a pick measure it
    noise = round((2 / np.pi) ** 0.5 * sigma * 3)
    assert noise > 0
    assert _measure._score(TASK, 0, counts[0], ROWS, budget) == -noise
    other = np.array([[0, 0]] * 4 + [[2, 2]] * 4)
    assert _measure._score(TASK, 0, counts[0], other, budget) == 8 - noise


def test_two_measurements_are_weighted_by_their_precision():
    first = _measure.Measured(None, None, np.array([0.1, 0.5]), 1.0)
    second = _measure.Measured(None, None, np.array([0.5, 0.1]), 3.0)
    found = _measure._combined(first, second)
    np.testing.assert_allclose(found.shares, [0.14, 0.46])
    assert found.sigma == pytest.approx(0.9**0.5)


# --- the choice of a table ------------------------------------------------------------

WIDE = TableSchema({name: [0, 1] for name in "abcd"})
PAIRS = [
    MarginalQueries(columns=pair).fit_schema(WIDE) for pair in (("a", "b"), ("c", "d"))
]
# of the first table two rows are wrong in a and b, and three in c and d; its neighbour
# has them the other way round, so that each score moves by the sensitivity
WRONG = np.array([[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 3 + [[0, 0, 0, 0]] * 3)
WRONG_NEIGHBOR = np.array([[1, 1, 0, 0]] * 3 + [[0, 0, 1, 1]] * 2 + [[0, 0, 0, 0]] * 3)
CHOICES = 600


def first_choices(rows, rho):
    """Which table an adaptive measurement chose, and the epsilon it was charged."""
    parts = [family._parts[0] for family in PAIRS]
    one_way = MarginalQueries(1).fit_schema(WIDE)._parts
    task = Task(PAIRS, [c for _, c in parts], one_way, "replace-one", 8)
    public = np.zeros((8, 4), dtype=np.int64)
    plan = (_measure.Rounds(1, 1), lambda measured: public)
    found = []
    for _ in range(CHOICES):
        release = _release.Release(None)
        measured = _measure.adaptive(release, rows, task, rho, plan)
        names = [m.family.columns for m in measured[4:]]
        found.append(names[0] if names else None)
        eps = max(float(e.eps) for e in release.ledger.entries if e.eps)
    return [np.sum([f == p.columns for f in found]) for p in PAIRS], eps


def odds_bound(rho):
    """Lower bound of the change of the log-odds of two choices; epsilon is allowed.

    The exponential mechanism has a bounded range: between neighbours the odds of two
    candidates change by the exponential of epsilon at most, and here by that much.
    """
    (a, b), eps = first_choices(WRONG, rho)
    (c, d), _ = first_choices(WRONG_NEIGHBOR, rho)
    low = [beta.ppf(0.005, k, n - k + 1) if k else 0.0 for k, n in
           ((b, a + b), (c, c + d))]  # fmt: skip
    with np.errstate(divide="ignore"):
        return float(np.sum([np.log(p) - np.log1p(-p) for p in low])), eps


BIG = Fraction(15)  # a choice of epsilon 2.8


def test_the_choice_of_a_table_is_charged_and_the_audit_is_sharp():
    found, eps = odds_bound(BIG)
    assert 0.5 * eps < found <= eps


def best_without_noise(monkeypatch):
    monkeypatch.setattr(_release, "select", lambda s, *rest: int(np.argmax(s)))


def half_the_sensitivity(monkeypatch):
    real = _release.select
    monkeypatch.setattr(
        _release,
        "select",
        lambda s, eps, bound, source: real(s, 2 * eps, bound, source),
    )


@pytest.mark.parametrize("fault", [best_without_noise, half_the_sensitivity])
def test_planted_faults_of_the_choice_are_found(fault, monkeypatch):
    fault(monkeypatch)
    found, eps = odds_bound(BIG)
    assert found > eps


# --- bounds and the number of rows ----------------------------------------------------

FEW = np.array([[1.0]] * 40)
OUTLIER = np.array([[1.0]] * 39 + [[1000.0]])


def bound_audit(runs=150):
    """Tell apart tables of which one has an outlier, by the bounds that were bought."""
    model = PrivateGSDSynthesizer(
        None, rho=RHO, delta=1e-3, queries="1-way", n_synthetic=20, max_evals=0,
        bounds_fraction=0.5,
    )  # fmt: skip

    def highs(rows):
        return np.array([model.fit(rows).schema_.columns["x0"][1] for _ in range(runs)])

    return mu_bound(highs(FEW), highs(OUTLIER) + np.zeros(runs))


def bounds_read_from_the_rows(monkeypatch):
    monkeypatch.setattr(
        PrivateGSDSynthesizer,
        "_buy_bounds",
        lambda self, release, numbers, part: {
            name: (values.min() - 1, values.max()) for name, values in numbers.items()
        },
    )


def test_bounds_tell_no_more_than_they_cost(monkeypatch):
    assert bound_audit() <= float(2 * RHO * Fraction(1, 2)) ** 0.5
    bounds_read_from_the_rows(monkeypatch)
    assert bound_audit() > 2.0


def number_audit(runs=300):
    """Tell apart tables of 40 and 41 rows by the size of the synthetic table."""
    model = PrivateGSDSynthesizer(
        TableSchema({0: (0.0, 2.0)}), rho=RHO, delta=1e-3, queries="1-way",
        neighbors="add-remove", n_fraction=0.5, max_evals=0,
    )  # fmt: skip

    def sizes(rows):
        # a little noise of our own breaks ties
        found = [len(model.fit(rows).synthetic_) for _ in range(runs)]
        return np.array(found) + np.random.default_rng(0).uniform(0, 0.5, runs)

    return mu_bound(sizes(FEW), sizes(np.ones((41, 1))))


def number_without_noise(monkeypatch):
    real = _release.Release.counts

    def counts(self, name, counts, *rest):
        noisy, sigma_sq = real(self, name, counts, *rest)
        return (counts if name == "number of rows" else noisy), sigma_sq

    monkeypatch.setattr(_release.Release, "counts", counts)


def test_the_size_tells_no_more_than_it_costs(monkeypatch):
    assert number_audit() <= float(2 * RHO * Fraction(1, 2)) ** 0.5
    number_without_noise(monkeypatch)
    assert number_audit() > 2.0


def test_a_step_that_is_not_charged_breaks_the_sum(monkeypatch):
    """What the audit sees only at large budgets, the ledger shows exactly."""
    real = _release.Release.counts

    def counts(self, name, *rest):
        found = real(self, name, *rest)
        if name.startswith("bounds"):
            self.ledger.entries.pop()
        return found

    monkeypatch.setattr(_release.Release, "counts", counts)
    model = PrivateGSDSynthesizer(
        None, rho=RHO, delta=1e-3, queries="1-way", n_synthetic=20, max_evals=0
    ).fit(FEW)
    assert model.privacy_spent_.rho != RHO
