"""Train the networks of ``skdiff.inspection.mutual_information``.

``python tools/train_mutual_information.py [FOLDER] [SAMPLES]`` draws ``SAMPLES``
training sets per network from the families of ``_information_families``, reduces each
to the statistics of ``_mutual_information._statistics`` and fits one perceptron per
kind of pair: ``mutual_information`` (two ordered columns), ``..._classes`` (a column
and classes), ``..._tables`` (two columns of classes) and ``..._blocks`` (blocks of up
to 8 columns, experimental). The loss is the squared error of the mean and the pinball
loss of the quantiles, both in units of 1 / sqrt(n).
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import _information_families as families

from skdiff._base.weights import FOLDER, save_weights
from skdiff.inspection._mutual_information import _network as network
from skdiff.inspection._mutual_information import _statistics as statistics
from skdiff.inspection._mutual_information._ranks import normal_scores, rank

SEED, SAMPLES, CHUNK = 0, 120_000, 2_000
HIDDEN, EPOCHS, BATCH, RATE = 96, 60, 512, 2e-3
MEAN_WEIGHT = 0.5  # of the squared error beside the pinball loss
REFERENCES = {"pairs": 1, "classes": 1, "tables": 0, "blocks": 0}
NAMES = {"pairs": "mutual_information"} | {
    kind: f"mutual_information_{kind}" for kind in ("classes", "tables", "blocks")
}
PARTS = {"classes": 0.7, "tables": 0.7, "blocks": 0.2}  # of SAMPLES


def draw_pairs(rng, count):
    """Yield ordered pairs with their information."""
    grids = families.grid_copulas(rng, count)
    for p, n in zip(grids, families.sizes(rng, count), strict=True):
        kind = rng.uniform()
        if kind < 0.18:
            yield families.gaussian(rng, n)
        elif kind < 0.36:
            yield families.student(rng, n)
        elif kind < 0.47:
            yield families.independent(rng, n)
        elif kind < 0.51:
            yield families.additive_uniform(rng, n)
        elif kind < 0.63:
            yield families.tied_pair(rng, p, n)
        else:
            yield families.from_grid(rng, p, n)


def pairs(rng, count):
    for x, y, information in draw_pairs(rng, count):
        yield statistics.pair_statistics(rank(x), rank(y)), len(x), information


def classes(rng, count):
    for k in rng.multinomial(count, np.full(11, 1 / 11)):
        n_classes = int(rng.integers(2, 12))
        for p in families.class_tables(rng, k, n_classes) if k else []:
            n = int(families.sizes(rng, 1)[0])
            i, code = families.draw_cells(rng, p, n)
            x = i + rng.uniform(size=n)
            if rng.uniform() < 0.2:
                p, label = families.coarsen(rng, p)
                x = label[i]
            code = np.unique(code, return_inverse=True)[1]
            if code.max() == 0:
                continue
            found = statistics.class_statistics(rank(x), code)
            yield found, n, float(families.information_of(p[None])[0])


def tables(rng, count):
    for k in rng.multinomial(count, np.full(20, 1 / 20)):
        shape = rng.integers(2, 12, 2)
        for p in families.two_way_tables(rng, k, shape) if k else []:
            n = int(families.sizes(rng, 1)[0])
            codes = families.draw_cells(rng, p, n)
            codes = [np.unique(c, return_inverse=True)[1] for c in codes]
            if min(c.max() for c in codes) == 0:
                continue
            found = statistics.table_statistics(*codes)
            yield found, n, float(families.information_of(p[None])[0])


def blocks(rng, count):
    for n in families.sizes(rng, count, 800):
        dx, dy = (int(d) for d in rng.integers(1, 9, 2))
        if rng.uniform() < 0.35:
            X, Y, information = families.paired_blocks(rng, n, dx, dy)
        else:
            dof = None if rng.uniform() < 0.6 else np.exp(rng.uniform(0, np.log(20)))
            X, Y, information = families.gaussian_blocks(rng, n, dx, dy, dof)
        X, Y = (np.stack([normal_scores(rank(c)) for c in Z.T], axis=1) for Z in (X, Y))
        yield statistics.block_statistics(X, Y), n, information


DRAW = {"pairs": pairs, "classes": classes, "tables": tables, "blocks": blocks}


def collect(kind, count, seed, store=None):
    """Return statistics, rows and information of ``count`` training sets.

    With ``store`` every chunk is kept in that folder, and read again by a later run.
    """
    found = []
    for chunk in range(-(-count // CHUNK)):
        path = None if store is None else Path(store) / f"{kind}_{seed}_{chunk}.npy"
        if path is not None and path.exists():
            found.append(np.load(path))
            continue
        rng = np.random.default_rng([seed, chunk])
        size = min(CHUNK, count - chunk * CHUNK)
        rows = [np.r_[s, n, i] for s, n, i in DRAW[kind](rng, size)]
        found.append(np.array(rows))
        if path is not None:
            np.save(path, found[-1])
    return np.concatenate(found)


class Network(nn.Module):
    """The network of ``_network.forward``."""

    def __init__(self, n_statistics, hidden=HIDDEN):
        super().__init__()
        levels = network.LEVELS
        self.skip = nn.Parameter(torch.zeros(len(levels) + 1, n_statistics))
        self.first = nn.Linear(n_statistics, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, len(levels) + 1)

    def forward(self, h):
        hidden = nn.functional.silu(self.first(h))
        hidden = nn.functional.silu(self.second(hidden))
        return h @ self.skip.T + self.out(hidden)


def quantiles(out):
    """Quantiles around the median, as ``_network.forward`` builds them."""
    middle = out[:, 1:2]
    steps = nn.functional.softplus(out[:, 2:])
    below = steps[:, : network.MIDDLE].flip(1).cumsum(1).flip(1)
    above = steps[:, network.MIDDLE :].cumsum(1)
    return torch.cat([middle - below, middle, middle + above], dim=1)


def loss_of(out, target):
    levels = torch.as_tensor(network.LEVELS, dtype=out.dtype)
    away = target[:, None] - quantiles(out)
    pinball = torch.maximum(levels * away, (levels - 1) * away).mean()
    return pinball + MEAN_WEIGHT * ((out[:, 0] - target) ** 2).clamp(max=25).mean()


def train(data, reference, epochs=EPOCHS, report=print, seed=SEED):
    """Return the arrays of a network trained on the rows of ``collect``."""
    torch.manual_seed(seed)
    S, n, information = data[:, :-2], data[:, -2], data[:, -1]
    centre, scale = S.mean(axis=0), S.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    h = np.clip((S - centre) / scale, -network.CLIP, network.CLIP)
    h = torch.as_tensor(h, dtype=torch.float32)
    target = (information - S[:, reference]) * np.sqrt(n)
    target = torch.as_tensor(target, dtype=torch.float32)
    model, n_train = Network(S.shape[1]), int(0.95 * len(S))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-4)
    steps = max(n_train // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=epochs * steps, pct_start=0.1
    )
    for epoch in range(epochs):
        order = torch.randperm(n_train)
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            loss = loss_of(model(h[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if (epoch + 1) % 10 == 0:
            with torch.no_grad():
                held = float(loss_of(model(h[n_train:]), target[n_train:]))
            report(f"epoch {epoch + 1} validation {held:.4f}", flush=True)
    arrays = {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}
    return arrays | {"centre": centre, "scale": scale}


def scores(data, arrays, reference):
    """What a network reaches on new training sets: error, bias and coverage."""
    S, n, information = data[:, :-2], data[:, -2], data[:, -1]
    found = network.forward(S, n, arrays, reference)
    estimate = np.maximum(found.mean, 0)
    low, high = network.at_levels(found.quantiles, np.array([0.05, 0.95])).T
    result = {}
    for smallest, largest in ((20, 50), (50, 200), (200, 2000)):
        rows = (n >= smallest) & (n < largest)
        error = estimate[rows] - information[rows]
        plain = np.maximum(S[rows, reference], 0) - information[rows]
        inside = (np.maximum(low, 0) <= information) & (information <= high)
        result[f"rows_{smallest}_{largest}"] = {
            "rmse": float(np.sqrt((error**2).mean())),
            "rmse_reference": float(np.sqrt((plain**2).mean())),
            "bias": float(error.mean()),
            "coverage_90": float(inside[rows].mean()),
        }
    return result


def main(
    folder=FOLDER, samples=SAMPLES, store=None, kinds="pairs,classes,tables,blocks"
):
    torch.set_num_threads(1)
    for kind in kinds.split(","):
        began = time.process_time()
        count = int(int(samples) * PARTS.get(kind, 1))
        data = collect(kind, count, SEED, store)
        print(f"{kind}: drawn, {time.process_time() - began:.0f} CPU-s", flush=True)
        arrays = train(data, REFERENCES[kind])
        test = collect(kind, max(count // 20, 100), SEED + 1, store)
        write(kind, arrays, scores(test, arrays, REFERENCES[kind]), folder)
        print(f"{kind}: done, {time.process_time() - began:.0f} CPU-s", flush=True)


def write(kind, arrays, reached, folder):
    """Write the arrays of one network with what they are worth."""
    save_weights(
        NAMES[kind],
        arrays,
        {
            "description": f"mutual information of {kind} with quantiles, "
            "skdiff/inspection/_mutual_information/_network.py",
            "script": "tools/train_mutual_information.py",
            "seed": SEED,
            "scores": reached,
        },
        packages=("torch",),
        folder=Path(folder),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
