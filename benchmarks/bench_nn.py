"""The neural loop of AnyLossClassifier's base against scikit-learn's and a bare loop.

A plain network on cross-entropy stands on the same base as every neural estimator; its
gradient is written out, while a method with a loss of its own takes autograd's way. The
variants take turns within a round; scikit-learn runs with ``tol=0`` and no patience, so
that all do the same number of epochs.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table  # isort: skip

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F

from skdiff._nn._base import BaseNeural
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff._nn._optim import FlatAdam

warnings.simplefilter("ignore", ConvergenceWarning)
torch.set_num_threads(1)


class Plain(NeuralClassifierMixin, BaseNeural):
    """A network on cross-entropy and nothing else."""

    def __init__(self, hidden_layer_sizes=(100,), batch_size=200, max_iter=20):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.activation, self.solver, self.alpha = "relu", "adam", 1e-4
        self.learning_rate_init, self.momentum, self.tol = 1e-3, 0.9, 0.0
        self.n_iter_no_change, self.early_stopping = 10**6, False
        self.validation_fraction, self.time_limit = 0.1, None
        self.warm_start, self.class_weight, self.dtype = False, None, "auto"
        self.device, self.net_params, self.verbose = "cpu", None, False
        self.standardize, self.random_state = True, 0


class ByAutograd(Plain):
    """The same with a loss of its own: the way of every method that has one."""

    def _row_loss(self, output, target):
        return super()._row_loss(output, target)


def data(n, d, dtype=np.float32):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(dtype)
    return X, (X[:, 0] + 0.5 * rng.normal(size=n) > 0).astype(int)


def bare(X, y, sizes, batch, epochs, optimiser):
    """A loop with nothing around it."""
    X, y = torch.from_numpy(X), torch.from_numpy(y)

    def run():
        layers = []
        for n_in, n_out in zip([X.shape[1], *sizes], [*sizes, 2], strict=True):
            layers += [nn.Linear(n_in, n_out, dtype=X.dtype), nn.ReLU()]
        module = nn.Sequential(*layers[:-1])
        optimizer = optimiser(module.parameters(), lr=1e-3)
        for _ in range(epochs):
            order = torch.randperm(len(X))
            for start in range(0, len(X), batch):
                rows = order[start : start + batch]
                optimizer.zero_grad()
                F.cross_entropy(module(X[rows]), y[rows]).backward()
                optimizer.step()

    return run


def peer(sizes, batch, epochs):
    return MLPClassifier(
        sizes,
        batch_size=batch,
        max_iter=epochs,
        tol=0,
        n_iter_no_change=10**6,
        random_state=0,
    )


TARGETS = {  # estimator over scikit-learn, same optimiser, torch's Adam
    (32, (100,)): (1.05, 1.20, 0.65),
    (256, (100,)): (0.80, 1.15, 0.80),
    (1024, (100,)): (0.65, 1.10, 1.0),
    (32, (256, 256)): (0.75, 1.20, 0.65),
    (256, (256, 256)): (0.75, 1.15, 0.80),
    (1024, (256, 256)): (0.75, 1.10, 1.0),
}


def verdict(ratio, target):
    """A bar is missed when it is exceeded by more than the noise of such machines."""
    if ratio <= target:
        return "reached"
    return "within 15 %" if ratio <= 1.15 * target else "MISSED"


def training():
    rows = []
    for (batch, sizes), targets in list(TARGETS.items())[: pick(None, 2)]:
        X, y = data(20_000 if batch == 1024 else 4000, 30)
        epochs = pick(20 if batch > 32 else 6, 1)
        best = interleaved(
            {
                "ours": lambda: Plain(sizes, batch, epochs).fit(X, y),
                "own loss": lambda: ByAutograd(sizes, batch, epochs).fit(X, y),
                "scikit-learn": lambda: peer(sizes, batch, epochs).fit(X, y),
                "same optimiser": bare(X, y, sizes, batch, epochs, FlatAdam),
                "torch Adam": bare(X, y, sizes, batch, epochs, torch.optim.Adam),
            }
        )
        own_loss = best.pop("own loss")
        rows.append(
            Row(
                f"batch {batch}, {sizes}, own loss",
                own_loss,
                best["same optimiser"],
                "same optimiser",
                target=f"<= {targets[1]}",
                note=f"ratio {own_loss / best['same optimiser']:.2f}",
            )
        )
        for name, target in zip(list(best)[1:], targets, strict=True):
            ratio = best["ours"] / best[name]
            rows.append(
                Row(
                    f"batch {batch}, {sizes}",
                    best["ours"],
                    best[name],
                    name,
                    target=f"<= {target}",
                    note=f"ratio {ratio:.2f} {verdict(ratio, target)}",
                )
            )
    return rows


def small_fit():
    rows = []
    for dtype, target in ((np.float32, 0.9), (np.float64, 1.1)):
        X, y = data(1000, 20, dtype)
        epochs = pick(200, 5)
        best = interleaved(
            {
                "ours": lambda: Plain((100,), 200, epochs).fit(X, y),
                "peer": lambda: peer((100,), 200, epochs).fit(X, y),
            }
        )
        ratio = best["ours"] / best["peer"]
        rows.append(
            Row(
                f"whole fit 1000 x 20, {np.dtype(dtype).name}",
                best["ours"],
                best["peer"],
                "scikit-learn",
                target=f"<= {target}",
                note=f"ratio {ratio:.2f}",
            )
        )
    return rows


def prediction():
    X, y = data(pick(200_000, 5000), 50)
    sizes = (256, 256)
    ours = Plain(sizes, 256, 1).fit(X[:4000], y[:4000])
    theirs = peer(sizes, 256, 1).fit(X[:4000], y[:4000])
    best = interleaved(
        {
            "ours": lambda: ours.predict_proba(X),
            "peer": lambda: theirs.predict_proba(X),
        }
    )
    ratio = best["ours"] / best["peer"]
    return [
        Row(
            f"predict_proba {len(X)} x 50, (256, 256)",
            best["ours"],
            best["peer"],
            "scikit-learn",
            target="<= 0.85",
            note=f"ratio {ratio:.2f}",
        )
    ]


if __name__ == "__main__":
    rows = training() + small_fit() + prediction()
    print_table("Neural loop, float32 unless said", rows, "torch", "skorch")
