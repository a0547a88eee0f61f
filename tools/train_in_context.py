"""Train the network of ``skdiff.linear_model.InContextLinearRegressor``.

``python tools/train_in_context.py [FOLDER] [STEPS]`` writes ``in_context_linear.npz``
and its card; 3000 steps take two and a half minutes of one core.

A task has 1 to 16 columns and 1 to 128 rows, columns with a random covariance whose
condition number is up to 1e4, coefficients that are Gaussian, sparse, along the leading
directions or absent, and noise of .01 to 10 times the signal. What the network should
return is known exactly for each task: the predictive distribution of
``BayesianLinearMixture``. The loss is the negative log density, under the network, of
values drawn from that distribution (minimal where both agree), plus half the squared
distance of the means in predictive standard deviations. It is read after every block,
so that the network can be cut at any depth.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skdiff._base.weights import FOLDER, save_weights
from skdiff._nn._attention_module import Encoder, arrays_of
from skdiff.linear_model import BayesianLinearMixture
from skdiff.linear_model._in_context import _network as network

SEED, STEPS = 0, 3_000
WIDTH, BLOCKS, HEADS, HIDDEN, COMPONENTS = 64, 3, 4, 128, 4
GROUPS, TABLES, QUERIES = 4, 48, 12
RATE, EARLY = 2e-3, 0.15  # of Adam; weight of the loss at each smaller depth
MOST_COLUMNS, MOST_ROWS = 16, 128
SIGNAL, NOISE, CELLS = (0.05, 5.0), (0.01, 2.0), 15  # the grid of the exact mixture


class Network(nn.Module):
    """The network of ``_network.forward``."""

    def __init__(self):
        super().__init__()
        self.direction_in = nn.Linear(6, WIDTH)
        self.table_in = nn.Linear(6, WIDTH)
        self.blocks = Encoder(WIDTH, BLOCKS, HEADS, HIDDEN).blocks
        self.norm = nn.LayerNorm(WIDTH)
        self.direction_out = nn.Linear(WIDTH, 2 * COMPONENTS)
        self.table_out = nn.Linear(WIDTH, 3 * COMPONENTS)
        spread = torch.linspace(-1.5, 1.5, COMPONENTS)
        with torch.no_grad():  # components that differ from the start
            self.table_out.bias[COMPONENTS : 2 * COMPONENTS] = spread / 2 - 0.7
            self.table_out.bias[2 * COMPONENTS :] = spread
            self.direction_out.bias[:] = torch.cat([spread, spread])

    def forward(self, directions, table):
        """Yield the outputs of both heads at every depth."""
        h = torch.cat(
            [self.table_in(table)[:, None], self.direction_in(directions)], dim=1
        )
        for depth in range(BLOCKS + 1):
            h = self.blocks[depth - 1](h) if depth else h
            seen = self.norm(h)
            yield self.direction_out(seen[:, 1:]), self.table_out(seen[:, 0])


def draw_tasks(rng, tables, d, n):
    """Return rows (tables, n + QUERIES, d) and targets of random linear tasks."""
    condition = 10 ** rng.uniform(0, 4, size=(tables, 1))
    scale = condition ** (-rng.uniform(size=(tables, d)) / 2)
    turn = np.linalg.qr(rng.standard_normal((tables, d, d)))[0]
    Z = rng.standard_normal((tables, n + QUERIES, d))
    w = rng.standard_normal((tables, d))
    kind = rng.uniform(size=(tables, 1))
    w = np.where(kind < 0.15, w * (rng.uniform(size=w.shape) < 0.3), w)
    w = np.where(kind > 0.75, w / scale, w)  # as strong along weak directions
    X = np.einsum("tnd,td,ted->tne", Z, scale, turn)
    signal = np.einsum("tnd,td->tn", Z * scale[:, None], w)
    level = np.sqrt(((scale * w) ** 2).sum(axis=1, keepdims=True))
    signal *= (rng.uniform(size=(tables, 1)) > 0.05) / np.where(level > 0, level, 1)
    noise = np.exp(rng.uniform(np.log(0.01), np.log(10), size=(tables, 1)))
    return X, signal + noise * rng.standard_normal(signal.shape)


def statistics(X, y):
    """Return S (tables, r), along, beyond, and the queries along and outside."""
    n = X.shape[1] - QUERIES
    rows, queries = X[:, :n], X[:, n:]
    centre = rows.mean(axis=1, keepdims=True)
    rows, queries = rows - centre, queries - centre
    width = np.sqrt((rows**2).mean(axis=1).sum(axis=1))
    width = np.where(width > 0, width, 1.0)[:, None, None]
    rows, queries = rows / width, queries / width
    y = y[:, :n] - y[:, :n].mean(axis=1, keepdims=True)
    height = y.std(axis=1, keepdims=True)
    y = y / np.where(height > 0, height, 1.0)
    rank = min(rows.shape[2], n - 1)
    U, S, Vt = np.linalg.svd(rows, full_matrices=False)
    U, S, Vt = U[:, :, :rank], S[:, :rank], Vt[:, :rank]
    along = np.einsum("tnr,tn->tr", U, y)
    beyond = np.maximum((y**2).sum(axis=1) - (along**2).sum(axis=1), 0) / n
    inside = np.einsum("tqd,trd->tqr", queries, Vt)
    outside = np.maximum((queries**2).sum(axis=2) - (inside**2).sum(axis=2), 0)
    return S, along, beyond, inside, outside


def exact(rng, S, along, beyond, inside, outside, n):
    """Draw one value per query from the exact mixture; its mean and spread too."""
    tau, sigma = np.meshgrid(
        np.geomspace(*SIGNAL, CELLS), np.geomspace(*NOISE, CELLS), indexing="ij"
    )
    tau, sigma = tau.ravel() ** 2, sigma.ravel() ** 2
    m, rank, nu = n - 1, S.shape[1], network.DOF
    spread = sigma[:, None] + tau[:, None] * S[:, None] ** 2  # (tables, cells, r)
    Q = (along[:, None] ** 2 / spread).sum(axis=2) + n * beyond[:, None] / sigma
    logs = -0.5 * np.log(spread).sum(axis=2) - 0.5 * (m - rank) * np.log(sigma)
    logs -= 0.5 * (nu + m) * np.log1p(Q / nu)
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    fit = (nu + Q) / (nu + m)
    gain = np.einsum("tc,tcr->tr", p, tau[:, None] / spread)
    mean = np.einsum("tqr,tr->tq", inside, gain * S * along)
    width = np.einsum("tc,tcr->tr", p * fit, (tau * sigma)[:, None] / spread)
    flat = (p * fit * sigma).sum(axis=1) * (1 + 1 / n)
    far = (p * fit * tau).sum(axis=1)
    variance = flat[:, None] + outside * far[:, None]
    variance += np.einsum("tqr,tr->tq", inside**2, width)
    variance *= (nu + m) / (nu + m - 2)
    u = rng.uniform(size=(len(S), QUERIES, 1))
    cell = (u > np.cumsum(p, axis=1)[:, None, :-1]).sum(axis=2)
    rows = np.arange(len(S))[:, None]
    tau, sigma, fit = tau[cell], sigma[cell], fit[rows, cell]
    chosen = spread[rows, cell]  # (tables, queries, r)
    centre = (inside * tau[..., None] / chosen * (S * along)[:, None]).sum(axis=2)
    scale = (inside**2 * (tau * sigma)[..., None] / chosen).sum(axis=2)
    scale += outside * tau + sigma * (1 + 1 / n)
    y = centre + np.sqrt(scale * fit) * rng.standard_t(nu + m, size=centre.shape)
    return y, mean, np.sqrt(variance)


def losses(outputs, S, along, inside, outside, n, target):
    """Negative log density of the drawn values, and distance of the means."""
    y, mean, std = target
    directions, table = outputs
    K, nu = COMPONENTS, network.DOF + n - 1
    logits, log_sigma, far = table.split(K, dim=1)
    lam, kappa = directions.exp().transpose(1, 2).split(K, dim=1)  # (tables, K, r)
    square = (S**2)[:, None]
    means = torch.einsum("tqr,tkr->tqk", inside, (S * along)[:, None] / (square + lam))
    scale = torch.einsum("tqr,tkr->tqk", inside**2, 1 / (square + kappa))
    scale = scale + outside[..., None] * torch.exp(-far)[:, None] + 1 + 1 / n
    log_scale = 0.5 * scale.log() + log_sigma[:, None]
    z = (y[..., None] - means) * torch.exp(-log_scale)
    logs = -(nu + 1) / 2 * torch.log1p(z**2 / nu) - log_scale
    weights = torch.log_softmax(logits, dim=1)[:, None]
    half = torch.tensor(nu / 2, dtype=torch.float64)
    constant = torch.lgamma(half + 0.5) - torch.lgamma(half)
    constant = float(constant - 0.5 * np.log(nu * np.pi))
    density = torch.logsumexp(logs + weights, dim=2) + constant
    away = ((means * weights.exp()).sum(dim=2) - mean) / std
    return -density.mean(), (away**2).clamp(max=9).mean()


def one_group(rng, model):
    """Return the loss at every depth of one group of tasks of one size."""
    d = int(rng.integers(1, 9) if rng.uniform() < 0.75 else rng.integers(9, 17))
    n = int(np.exp(rng.uniform(np.log(1), np.log(MOST_ROWS + 1))))
    X, y = draw_tasks(rng, TABLES, d, n)
    S, along, beyond, inside, outside = statistics(X, y)
    target = exact(rng, S, along, beyond, inside, outside, n)
    s, rho, rows = S**2 / n, along**2 / n, np.full(TABLES, float(n))
    to = [torch.as_tensor(a, dtype=torch.float32) for a in (S, along, inside, outside)]
    target = [torch.as_tensor(a, dtype=torch.float32) for a in target]
    seen = (
        network.direction_features(s, rho, rows),
        network.table_features(s, rho, beyond, rows),
    )
    seen = [torch.as_tensor(a, dtype=torch.float32) for a in seen]
    return [losses(out, *to, n, target) for out in model(*seen)]


def train(steps, report=print):
    """Return the trained network."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = Network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-4)
    warm = 300
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda t: min(1, (t + 1) / warm) * 0.5 * (1 + np.cos(np.pi * t / steps)),
    )
    began, seen = time.process_time(), []
    for step in range(steps):
        total = 0.0
        for _ in range(GROUPS):
            found = one_group(rng, model)
            parts = [density + 0.5 * away for density, away in found]
            total = total + parts[-1] + EARLY * sum(parts[:-1])
            seen.append([float(v.detach()) for v in found[-1]])
        optimizer.zero_grad()
        (total / GROUPS).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            density, away = np.mean(seen[-500 * GROUPS :], axis=0)
            spent = time.process_time() - began
            report(
                f"{step + 1} {density:.4f} {away:.5f} {spent:.0f} CPU-s",
                flush=True,
            )
    return model


def agreement(arrays, tables=300, seed=SEED + 1):
    """Compare the network with the exact mixture on new tasks of 5 to 64 rows.

    Distances of means are in predictive standard deviations; the log density is that
    of new values of the task.
    """
    rng, found = np.random.default_rng(seed), []
    for _ in range(tables):
        d, n = int(rng.integers(1, 9)), int(rng.integers(5, 65))
        X, y = (part[0] for part in draw_tasks(rng, 1, d, n))
        rows, new, target = X[:n], X[n:], y[n:]
        exact_model = BayesianLinearMixture().fit(rows, y[:n])
        mean, std = exact_model.predict(new, return_std=True)
        width, height = rows.std(axis=0), y[:n].std()
        width = float(np.hypot.reduce(width))
        ours = network.fit(rows / width, y[:n] / height, np.ones(n), arrays)
        parts = ours.predictive(new / width)
        density = parts.log_density(target / height) - np.log(height)
        found.append(
            [
                np.mean(np.abs(parts.mean() * height - mean) / std),
                np.mean(exact_model.log_prob(new, target) - density),
            ]
        )
    distance, gap = np.mean(found, axis=0)
    return {"mean_distance": float(distance), "log_density_gap": float(gap)}


def main(folder=FOLDER, steps=STEPS):
    torch.set_num_threads(1)
    write(arrays_of(train(int(steps))), folder)


def write(arrays, folder=FOLDER):
    """Write the arrays with what they are worth."""
    save_weights(
        "in_context_linear",
        arrays,
        {
            "description": "Student t components of a linear regression, "
            "skdiff/linear_model/_in_context/_network.py",
            "script": "tools/train_in_context.py",
            "seed": SEED,
            "scores": agreement(arrays),
        },
        packages=("torch",),
        folder=Path(folder),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
