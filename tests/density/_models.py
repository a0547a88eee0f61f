"""Models with a known answer: spins, Potts variables, grids, a chain of order six."""

from itertools import product

import numpy as np

CHAIN = (0.2599, -0.6537, 0.0779, -0.3704, 0.0397, 0.2344)


def all_states(sizes):
    """Every row of codes."""
    return np.array(list(product(*map(range, sizes))))


def probabilities(energy):
    p = np.exp(energy - energy.max())
    return p / p.sum()


def ising(p, seed=0, scale=0.4):
    """Couplings, fields, all spin states and their exact probabilities."""
    rng = np.random.default_rng(seed)
    J = np.triu(rng.normal(scale=scale, size=(p, p)), 1)
    J, h = J + J.T, rng.normal(scale=0.3, size=p)
    S = 2 * all_states([2] * p) - 1
    return J, h, S, probabilities(S @ h + np.einsum("ij,ij->i", S @ J, S) / 2)


def grid(k, n, seed=0, sweeps=200):
    """Couplings of a square grid, and n rows of spins by Gibbs sampling."""
    rng = np.random.default_rng(seed)
    J = np.zeros((k * k, k * k))
    for i, j in product(range(k), range(k)):
        for a, b in ((i + 1, j), (i, j + 1)):
            if a < k and b < k:
                value = rng.uniform(0.3, 0.6) * rng.choice([-1, 1])
                J[i * k + j, a * k + b] = J[a * k + b, i * k + j] = value
    S = rng.choice([-1.0, 1.0], size=(n, k * k))
    for _ in range(sweeps):
        for u in range(k * k):
            up = rng.uniform(size=n) < 1 / (1 + np.exp(-2 * S @ J[:, u]))
            S[:, u] = np.where(up, 1.0, -1.0)
    return J, S


def chain(p=10):
    """States and probabilities of the chain of order six of the NeurISE repository."""
    S = 2 * all_states([2] * p) - 1
    energy = sum(
        J * sum(np.prod(S[:, i : i + r + 1], axis=1) for i in range(p - 5))
        for r, J in enumerate(CHAIN)
    )
    return S, probabilities(energy)


def conditional_variation(model, S, P):
    """Mean total variation of all conditionals of spins under the truth."""
    rows = np.arange(len(S))
    place = {tuple(s): i for i, s in enumerate(S.tolist())}
    total = 0.0
    for u in range(S.shape[1]):
        flipped = S.copy()
        flipped[:, u] *= -1
        other = P[[place[tuple(s)] for s in flipped.tolist()]]
        said = model.predict_proba(S, u)[rows, (S[:, u] > 0).astype(int)]
        total += P @ np.abs(said - P / (P + other))
    return total / S.shape[1]
