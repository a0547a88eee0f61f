"""Losses against high-precision references, and at margins where exp would overflow."""

import mpmath
import numpy as np
import pytest

from skdiff._convex import _losses

mpmath.mp.dps = 50
MARGINS = [-800.0, -40.0, -3.1, -0.2, 0.0, 0.7, 5.0, 40.0, 800.0]


def softplus(f):
    return mpmath.log1p(mpmath.exp(f))


REFERENCES = {
    "logistic 0": (_losses.Logistic(), 0.0, softplus),
    "logistic 1": (_losses.Logistic(), 1.0, lambda f: softplus(f) - f),
    "logistic .3": (
        _losses.Logistic(),
        0.3,
        lambda f: softplus(f) - mpmath.mpf(0.3) * f,
    ),
    "softplus": (_losses.Softplus(), 0.0, softplus),
    "squared": (_losses.Squared(), 1.5, lambda f: (f - 1.5) ** 2 / 2),
}
MILD = {
    "poisson": (
        _losses.Poisson(),
        3.0,
        lambda f: mpmath.exp(f) - 3 * f + 3 * mpmath.log(3) - 3,
    ),
    "poisson 0": (_losses.Poisson(), 0.0, mpmath.exp),
    "gamma": (
        _losses.Gamma(),
        2.0,
        lambda f: 2 * mpmath.exp(-f) + f - 1 - mpmath.log(2),
    ),
    "tweedie": (
        _losses.Tweedie(1.5),
        3.0,
        lambda f: 2 * mpmath.exp(f / 2) + 6 * mpmath.exp(-f / 2) - 4 * mpmath.sqrt(3),
    ),
    "tweedie 0": (_losses.Tweedie(1.2), 0.0, lambda f: mpmath.exp(0.8 * f) / 0.8),
    "squared hinge": (_losses.SquaredHinge(), 1.0, lambda f: max(0, 1 - f) ** 2),
    "modified huber": (
        _losses.ModifiedHuber(),
        1.0,
        lambda f: max(0, 1 - f) ** 2 if f >= -1 else -4 * f,
    ),
    "squared insensitive": (
        _losses.SquaredEpsilonInsensitive(0.5),
        0.5,
        lambda f: max(0, abs(f - 0.5) - 0.5) ** 2,
    ),
    "hinge": (_losses.Hinge(), -1.0, lambda f: max(0, 1 + f)),
    "insensitive": (
        _losses.EpsilonInsensitive(0.5),
        0.5,
        lambda f: max(0, abs(f - 0.5) - 0.5),
    ),
    "pinball": (
        _losses.Pinball(0.7),
        0.5,
        lambda f: max(0.7 * (0.5 - f), -0.3 * (0.5 - f)),
    ),
    "huber": (
        _losses.Huber(1.0),
        0.5,
        lambda f: (
            (f - 0.5) ** 2 / 2 if abs(f - 0.5) <= 1 else abs(f - 0.5) - mpmath.mpf(0.5)
        ),
    ),
}


def derivative(function, f, order):
    return (
        float(mpmath.diff(function, mpmath.mpf(f), order))
        if order
        else float(function(mpmath.mpf(f)))
    )


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("order", range(5))
def test_value_and_derivatives_at_any_margin(name, order):
    loss, y, reference = REFERENCES[name]
    f = np.array(MARGINS if "last" not in name else MARGINS[:-1])
    got = loss.evaluate(f, y, order)[order]
    with mpmath.workdps(800):  # the reference itself cancels at wide margins
        want = [derivative(reference, x, order) for x in f]
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-25)


@pytest.mark.parametrize("name", MILD)
@pytest.mark.parametrize("order", range(5))
def test_value_and_derivatives(name, order):
    loss, y, reference = MILD[name]
    f = np.array([-3.3, -0.7, 0.1, 0.9, 2.2])
    got = loss.evaluate(f, y, order)[order]
    want = [derivative(reference, x, order) for x in f]
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_softplus_without_precision_errs_absolutely_only():
    f = np.linspace(-60, 60, 401)
    exact, rough = (_losses.Softplus(p).evaluate(f, 0.0, 2) for p in (True, False))
    for a, b in zip(exact, rough, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15, atol=3e-16)


def test_multinomial_gradient_is_that_of_its_value():
    rng = np.random.default_rng(0)
    F, y = rng.normal(size=(2, 7, 4)) * 3, np.arange(7) % 4
    value, gradient = _losses.Multinomial().evaluate(F, y, 1)
    assert value.shape == (2, 7)
    step = 1e-6
    for k in range(4):
        up, down = F.copy(), F.copy()
        up[..., k] += step
        down[..., k] -= step
        loss = _losses.Multinomial()
        slope = (loss.evaluate(up, y)[0] - loss.evaluate(down, y)[0]) / (2 * step)
        np.testing.assert_allclose(gradient[..., k], slope, atol=1e-8)
    far = np.array([[800.0, -800.0, 0.0, 0.0]])
    assert np.isfinite(_losses.Multinomial().evaluate(far, np.array([1]), 1)[0]).all()


def test_multinomial_of_two_classes_is_logistic():
    f = np.linspace(-30, 30, 13)
    y = (np.arange(13) % 2).astype(int)
    two = _losses.Multinomial().evaluate(np.column_stack([0 * f, f]), y)[0]
    np.testing.assert_allclose(two, _losses.Logistic().evaluate(f, y)[0], atol=1e-14)
