"""Power curves by variable projection."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from skdiff._convex._power_curve import fit_power, predict_power, required_size

SIZES = 16 * np.sqrt(2.0) ** np.arange(10)


@pytest.mark.parametrize("rate", [0.05, 0.3333, 0.5, 1.7, 2.5])
def test_exact_curves_are_recovered(rate):
    scores = np.stack([0.9 - 0.7 * SIZES**-rate, -3 - 5 * SIZES**-rate])
    curve = fit_power(SIZES, scores)
    np.testing.assert_allclose(curve.asymptote, [0.9, -3], rtol=1e-6)
    np.testing.assert_allclose(curve.rate, rate, rtol=1e-6)
    np.testing.assert_allclose(curve.amplitude * curve.scale**rate, [0.7, 5], rtol=1e-6)
    target = float(predict_power(curve, np.array([100.0]))[0, 0])
    assert required_size(curve, target)[0] == pytest.approx(100, rel=1e-6)
    assert required_size(curve, 0.95)[0] == np.inf


@pytest.mark.parametrize("upper", [np.inf, 0.8])
def test_as_good_as_the_best_of_many_starts(upper):
    rng = np.random.RandomState(0)
    u = SIZES / SIZES.max()
    for _ in range(10):
        scores = 0.85 - 0.9 * SIZES ** -rng.uniform(0.2, 1) + 0.02 * rng.normal(size=10)
        ours = fit_power(SIZES, scores[None], u, upper=upper).error[0]
        best = np.inf
        for _ in range(20):
            start = rng.uniform(0, 0.7), rng.uniform(0, 1), rng.uniform(0.06, 2.4)
            found = least_squares(
                lambda v, s=scores: np.sqrt(u) * (s - v[0] + v[1] * u ** -v[2]),
                start,
                bounds=([-np.inf, 0, 0.05], [upper, np.inf, 2.5]),
                xtol=1e-12,
                ftol=1e-12,
            )
            best = min(best, 2 * found.cost)
        assert ours <= best * (1 + 1e-6) + 1e-8


def test_equivariance_weights_and_batches():
    rng = np.random.RandomState(1)
    scores = 0.8 - SIZES**-0.4 + 0.01 * rng.normal(size=(3, 10))
    curve = fit_power(SIZES, scores)
    scaled = fit_power(1000 * SIZES, scores)
    np.testing.assert_allclose(
        predict_power(scaled, 1000 * SIZES), predict_power(curve, SIZES), rtol=1e-8
    )
    affine = fit_power(SIZES, 5 + 2 * scores)
    np.testing.assert_allclose(affine.asymptote, 5 + 2 * curve.asymptote, rtol=1e-6)
    alone = fit_power(SIZES, scores[1:2])
    assert alone.asymptote[0] == curve.asymptote[1]
    twice = fit_power(np.r_[SIZES, SIZES[3]], np.c_[scores, scores[:, 3]])
    weight = np.where(np.arange(10) == 3, 2.0, 1.0)
    weighted = fit_power(SIZES, scores, weight)
    np.testing.assert_allclose(twice.asymptote, weighted.asymptote, rtol=1e-6)


def test_falling_scores_give_a_constant():
    curve = fit_power(SIZES, np.linspace(1, 0, 10)[None])
    assert curve.amplitude[0] == 0 and curve.asymptote[0] == pytest.approx(0.5)
