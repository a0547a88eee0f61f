"""The attack finds members where there is no privacy, and not where there is some."""

import math

import numpy as np
import pytest

from skdiff.synthetic import PrivateGSDSynthesizer, TableSchema, membership_report


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
    found = []
    for k in range(runs):
        model = PrivateGSDSynthesizer(
            SCHEMA, epsilon, random_state=k, tol=1e-3, **more
        ).fit(X[:200])
        found.append(membership_report(model, X[:200], X[200:400], PUBLIC))
    return found


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
        assert abs(np.mean([r.auc for r in found]) - 0.5) < 0.1  # .52 over 20 fits


def test_without_a_reference():
    model = PrivateGSDSynthesizer(SCHEMA, None, n_synthetic=200, tol=0.1).fit(X[:200])
    report = membership_report(model, X[:200], X[200:400])
    assert 0.4 < report.auc <= 1 and -1 <= report.advantage_low <= report.advantage
    with pytest.raises(ValueError, match="levels"):
        membership_report(model, X[:200] + 100, X[200:])
