"""Data of the papers' simulations, and the rates of a selection."""

import numpy as np


def rates(selected, positive):
    """False discovery proportion and power along the last axis of a boolean array."""
    selected = np.atleast_2d(selected)
    fdp = (selected & ~positive).sum(axis=-1) / np.maximum(selected.sum(axis=-1), 1)
    power = (selected & positive).sum(axis=-1) / max(positive.sum(), 1)
    return fdp, power


def jin_candes(setting, n, sigma, rng):
    """One of the eight settings of Jin and Candes (2023), section 5."""
    X = rng.uniform(-1, 1, size=(n, 20))
    a, z = X[:, 0] * X[:, 1], X[:, 3]
    if setting == 1:
        up, down = np.where(z > 0.5, z, 0.5), np.where(z < -0.5, z, -0.5)
        mean = 4 * np.where(a > 0, up, down)
    elif setting in (2, 3, 4):
        mean = 5 * (a + np.exp(z - 1))
    elif setting == 5:
        mean = (a > 0) * (z > 0.5) * (0.25 + z) + (a <= 0) * (z < -0.5) * (z - 0.25)
    else:
        mean = 2 * (a + X[:, 2] ** 2 + np.exp(z - 1) - 1)
    size = np.abs(mean)
    noise = {
        1: sigma,
        5: sigma,
        2: 1.5 * sigma,
        6: 1.5 * sigma,
        3: (5.5 - size) * sigma / 2,
        7: (5.5 - size) * sigma / 2,
        4: (0.25 * mean**2 * (size < 2) + 0.5 * size * (size >= 1)) * sigma,
        8: (0.25 * mean**2 * (size < 2) + 0.5 * size * (size >= 1)) * sigma,
    }[setting]
    return X, mean + noise * rng.normal(size=n)
