"""Data of the papers' simulations, and the rates of a selection."""

import numpy as np


def rates(selected, positive):
    """False discovery proportion and power along the last axis of a boolean array."""
    selected = np.atleast_2d(selected)
    fdp = (selected & ~positive).sum(axis=-1) / np.maximum(selected.sum(axis=-1), 1)
    power = (selected & positive).sum(axis=-1) / max(positive.sum(), 1)
    return fdp, power


def jin_candes_mean(setting, X):
    """The mean of one of the eight settings of Jin and Candes (2023), section 5."""
    a, z = X[:, 0] * X[:, 1], X[:, 3]
    if setting == 1:
        up, down = np.where(z > 0.5, z, 0.5), np.where(z < -0.5, z, -0.5)
        return 4 * np.where(a > 0, up, down)
    if setting in (2, 3, 4):
        return 5 * (a + np.exp(z - 1))
    if setting == 5:
        return (a > 0) * (z > 0.5) * (0.25 + z) + (a <= 0) * (z < -0.5) * (z - 0.25)
    return 2 * (a + X[:, 2] ** 2 + np.exp(z - 1) - 1)


def shrinking(mean, sigma, over=2):
    """Noise that is smaller where the mean is far from zero."""
    return (5.5 - np.abs(mean)) * sigma / over


def jin_candes(setting, n, sigma, rng):
    """Rows of one of the eight settings."""
    X = rng.uniform(-1, 1, size=(n, 20))
    mean = jin_candes_mean(setting, X)
    size = np.abs(mean)
    noise = {
        1: sigma,
        5: sigma,
        2: 1.5 * sigma,
        6: 1.5 * sigma,
        3: shrinking(mean, sigma),
        7: shrinking(mean, sigma),
        4: (0.25 * mean**2 * (size < 2) + 0.5 * size * (size >= 1)) * sigma,
        8: (0.25 * mean**2 * (size < 2) + 0.5 * size * (size >= 1)) * sigma,
    }[setting]
    return X, mean + noise * rng.normal(size=n)


def bai_jin(setting, n, sigma, rng):
    """Rows of the settings of Bai and Jin (2024): "msel 1" to "full 4", "linear"."""
    if setting == "linear":
        X = rng.normal(size=(n, 300))
        return X, X[:, ::20].sum(axis=1) + sigma * rng.standard_t(3, size=n)
    if setting in ("msel 1", "msel 2", "msel 4", "full 2"):
        known = {"msel 1": 5, "msel 2": 6, "msel 4": 7, "full 2": 6}[setting]
        return jin_candes(known, n, sigma, rng)
    X = rng.uniform(-1, 1, size=(n, 20))
    if setting == "msel 3":
        mean = jin_candes_mean(5, X)
        noise = shrinking(mean, sigma)
    elif setting == "full 4":
        mean = jin_candes_mean(6, X)
        noise = shrinking(mean, sigma, over=3)
    else:
        a = X[:, 0] * X[:, 1]
        mean = 0.5 * (a > 0) + X[:, 3] + (a <= 0)
        noise = 2 * sigma if setting == "full 1" else shrinking(mean, sigma)
    return X, mean + noise * rng.normal(size=n)
