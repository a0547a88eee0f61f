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
        fits = (model.fit(rows).synthetic_ for _ in range(250))
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
