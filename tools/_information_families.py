"""Joint distributions with known mutual information, to train and to test estimators.

Every function draws pairs and returns them with the exact mutual information in nats.
The families follow the second section of G. Gritsai et al., "MIST: Mutual Information
via Supervised Training", 2025, arXiv:2511.18945, plus copulas on a grid, which have
dependence of any shape and whose information is a finite sum.
"""

import numpy as np
from scipy.special import digamma, gammaln

GRID, SWEEPS = 32, 40
SMALLEST, LARGEST = 20, 2000  # rows


def sizes(rng, count, largest=LARGEST):
    return np.exp(rng.uniform(np.log(SMALLEST), np.log(largest + 1), count)).astype(int)


def student_constant(dof, dx=1, dy=1):
    """What a Student t adds to the Gaussian mutual information."""

    def f(u):
        return gammaln(u / 2) - u / 2 * digamma(u / 2)

    return f(dof) + f(dof + dx + dy) - f(dof + dx) - f(dof + dy)


def gaussian(rng, n, information=None):
    """Normal pair; half of the draws have a uniform correlation."""
    if information is None and rng.uniform() < 0.5:
        r = rng.uniform(0, 0.97)
    else:
        wanted = rng.uniform(0, 2) ** 2 / 2 if information is None else information
        r = np.sqrt(1 - np.exp(-2 * wanted))
    x, e = rng.standard_normal((2, n))
    return x, r * x + np.sqrt(1 - r * r) * e, -0.5 * np.log1p(-r * r)


def student(rng, n, dof=None):
    """Student t pair: Gaussian information plus a constant."""
    dof = np.exp(rng.uniform(0, np.log(10))) if dof is None else dof
    x, y, information = gaussian(rng, n)
    size = np.sqrt(rng.chisquare(dof, n) / dof)
    return x / size, y / size, information + student_constant(dof)


def additive_uniform(rng, n, width=None):
    """Y = X + U(-width, width), X uniform on (0, 1)."""
    e = np.exp(rng.uniform(np.log(0.03), np.log(3))) if width is None else width
    x = rng.uniform(size=n)
    information = e - np.log(2 * e) if e <= 0.5 else 1 / (4 * e)
    return x, x + rng.uniform(-e, e, n), information


def independent(rng, n):
    return *rng.standard_normal((2, n)), 0.0


def _waves(rng, count, axes, decay):
    """Random smooth functions on a grid of ``axes`` dimensions, of unit spread."""
    centre = (np.arange(GRID) + 0.5) / GRID
    waves = np.cos(np.pi * np.arange(9)[:, None] * centre)
    if axes == 1:
        w = rng.standard_normal((count, 9)) / (1 + np.arange(9)) ** decay[:, None]
        found = w @ waves
    else:
        j = np.arange(9)
        size = 1 + j[:, None] ** 2 + j**2
        w = rng.standard_normal((count, 9, 9)) / size ** (decay[:, None, None] / 2)
        found = np.einsum("cjk,ju,kv->cuv", w, waves, waves)
    axis = tuple(range(1, axes + 1))
    found -= found.mean(axis=axis, keepdims=True)
    return found / found.std(axis=axis, keepdims=True)


def _ridges(rng, count):
    """Logarithms of densities along one or two random curves."""
    centre = (np.arange(GRID) + 0.5) / GRID
    width = np.exp(rng.uniform(np.log(0.03), np.log(0.6), (count, 1, 1)))
    found = None
    for _ in range(2):
        curve = _waves(rng, count, 1, rng.uniform(0.7, 2.5, count))
        low, high = curve.min(axis=1, keepdims=True), curve.max(axis=1, keepdims=True)
        curve = (curve - low) / (high - low)
        log = -0.5 * ((centre - curve[:, :, None]) / width) ** 2
        second = found is None or rng.uniform(size=(count, 1, 1)) < 0.35
        found = (
            log if found is None else np.where(second, np.logaddexp(found, log), found)
        )
    return found


def balance(log_density):
    """Scale rows and columns so that both margins are uniform (Sinkhorn)."""
    p = np.exp(log_density - log_density.max(axis=(1, 2), keepdims=True)) + 1e-9
    for _ in range(SWEEPS):
        p /= p.sum(axis=2, keepdims=True)
        p /= p.sum(axis=1, keepdims=True)
    return p / p.sum(axis=(1, 2), keepdims=True)


def information_of(p):
    """Mutual information of tables of probabilities (count, rows, columns)."""
    independent = p.sum(axis=2, keepdims=True) * p.sum(axis=1, keepdims=True)
    seen = p > 0
    ratio = np.where(seen, p / np.where(independent > 0, independent, 1), 1)
    return np.maximum((p * np.log(ratio)).sum(axis=(1, 2)), 0.0)


def grid_copulas(rng, count):
    """Random tables of probabilities with uniform margins: smooth or along curves."""
    force = np.exp(rng.uniform(np.log(0.1), np.log(5), (count, 1, 1)))
    smooth = force * _waves(rng, count, 2, rng.uniform(1, 4, count))
    ridge = rng.uniform(size=(count, 1, 1)) < 0.45
    return balance(np.where(ridge, _ridges(rng, count), smooth))


def draw_cells(rng, p, n):
    cell = np.searchsorted(np.cumsum(p.ravel()), rng.uniform(size=n) * p.sum())
    return np.unravel_index(np.minimum(cell, p.size - 1), p.shape)


def from_grid(rng, p, n):
    """Draw a pair from a table: a cell, and a uniform place in it."""
    i, j = draw_cells(rng, p, n)
    place = rng.uniform(size=(2, n))
    return i + place[0], j + place[1], float(information_of(p[None])[0])


def coarsen(rng, p):
    """Merge neighbouring rows of a table at random; return the table and the labels."""
    k = int(rng.integers(2, len(p)))
    cuts = np.sort(rng.choice(np.arange(1, len(p)), k - 1, replace=False))
    label = np.searchsorted(cuts, np.arange(len(p)), side="right")
    return np.add.reduceat(p, np.r_[0, cuts], axis=0), label


def tied_pair(rng, p, n):
    """Draw a pair of which one column or both are rounded."""
    q, label = coarsen(rng, p)
    i, j = draw_cells(rng, p, n)
    x, y = label[i].astype(float), j + rng.uniform(size=n)
    if rng.uniform() < 0.5:
        q, label = coarsen(rng, q.T)
        y = label[j].astype(float)
    if rng.uniform() < 0.5:
        x, y = y, x
    return x, y, float(information_of(q[None])[0])


def class_tables(rng, count, n_classes):
    """Tables (grid, classes): random frequencies, smooth densities of the classes."""
    force = np.exp(rng.uniform(np.log(0.1), np.log(6), (count, 1, 1)))
    shared = _waves(rng, count, 1, rng.uniform(1, 3, count))[:, :, None]
    own = np.stack(
        [_waves(rng, count, 1, rng.uniform(0.7, 3, count)) for _ in range(n_classes)],
        axis=2,
    )
    # an ordered shift of the classes in half of the tables
    at = (np.arange(GRID) / GRID - 0.5)[:, None] * rng.standard_normal(
        (count, 1, n_classes)
    )
    own = np.where(rng.uniform(size=(count, 1, 1)) < 0.5, own, 3 * at)
    own = np.where(rng.uniform(size=(count, 1, 1)) < 0.12, 0.0, own)
    density = np.exp(shared + force * own)
    density /= density.sum(axis=1, keepdims=True)
    weight = rng.dirichlet(np.full(n_classes, 3.0), count)[:, None]
    return density * weight


def two_way_tables(rng, count, shape):
    """Tables of two columns of classes, from independent to a function."""
    rows = rng.dirichlet(np.full(shape[0], 3.0), count)[:, :, None]
    columns = rng.dirichlet(np.full(shape[1], 3.0), count)[:, None, :]
    force = np.exp(rng.uniform(np.log(0.1), np.log(5), (count, 1, 1)))
    force = np.where(rng.uniform(size=(count, 1, 1)) < 0.12, 0, force)
    p = rows * columns * np.exp(force * rng.standard_normal((count, *shape)))
    return p / p.sum(axis=(1, 2), keepdims=True)


def gaussian_block_information(covariance, dx):
    def half(c):
        return 0.5 * np.linalg.slogdet(c)[1]

    return half(covariance[:dx, :dx]) + half(covariance[dx:, dx:]) - half(covariance)


def block_covariance(rng, dx, dy):
    """Random covariance: few factors, dense, or nothing across the blocks."""
    d, kind = dx + dy, rng.uniform()
    rank = int(rng.integers(1, 4)) if kind < 0.5 else d
    L = rng.standard_normal((d, rank)) * (
        rng.uniform(size=(d, 1)) < rng.uniform(0.4, 1)
    )
    covariance = L @ L.T * np.exp(rng.uniform(-3, 1)) / rank + np.eye(d)
    if kind > 0.85:
        covariance[:dx, dx:] = 0
        covariance[dx:, :dx] = 0
    return covariance


def gaussian_blocks(rng, n, dx, dy, dof=None):
    """Two blocks of a multivariate normal or, with ``dof``, Student t."""
    covariance = block_covariance(rng, dx, dy)
    Z = rng.standard_normal((n, dx + dy)) @ np.linalg.cholesky(covariance).T
    information = gaussian_block_information(covariance, dx)
    if dof is not None:
        Z = Z / np.sqrt(rng.chisquare(dof, (n, 1)) / dof)
        information += student_constant(dof, dx, dy)
    return Z[:, :dx], Z[:, dx:], float(information)


def paired_blocks(rng, n, dx, dy):
    """Columns of the blocks depend in pairs, each pair by a copula on a grid."""
    X, Y = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
    pairs, total = int(rng.integers(1, min(dx, dy) + 1)), 0.0
    for k, p in enumerate(grid_copulas(rng, pairs)):
        X[:, k], Y[:, k], information = from_grid(rng, p, n)
        total += information
    return X, Y, total
