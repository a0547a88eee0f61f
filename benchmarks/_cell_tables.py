"""Real tables as tensors for the comparison of cells, and trainings side by side.

The environment variable ``SKDIFF_DATA`` names the folder of the tables.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from skdiff._base.progress import Progress
from skdiff._nn._data import TensorData
from skdiff.architecture_search._cells._inputs import Sizes
from skdiff.architecture_search._cells._networks import CellNetworks
from skdiff.architecture_search._cells._race import Bench
from skdiff.architecture_search._cells._training import Training, train
from skdiff.architecture_search._parts import halves

# tables whose manifest names several targets, or columns that tell the target
TARGETS = {"hflights_2011": "delayed15"}
LEFT_OUT = {
    "hflights_2011": ["arr_delay", "tail_num", "flight_num"],
    "adult": ["split"],
}


def folder():
    """The folder of tables, or None with a message."""
    path = os.environ.get("SKDIFF_DATA")
    if not path:
        print("SKDIFF_DATA is not set: real tables are left out")
    return Path(path) if path else None


def frame(name, n, seed):
    """Return ``n`` random rows: a frame with categories, and the target."""
    entries = json.loads((folder() / "MANIFEST.json").read_text())["datasets"]
    target = next(e["target"] for e in entries if e["name"] == name)
    target = TARGETS.get(name, target)
    table = pd.read_csv(folder() / f"{name}.csv.gz", keep_default_na=False)
    table = table.sample(min(n, len(table)), random_state=seed)
    X = table.drop(columns=[target, *LEFT_OUT.get(name, [])])
    for column in X.columns:
        if not pd.api.types.is_numeric_dtype(X[column]):
            X[column] = pd.Categorical(X[column])
    y = table[target]
    return X.reset_index(drop=True), y.to_numpy()


def dense(X, train):
    """One-hot columns, standardised by the training rows."""
    X = pd.get_dummies(X).to_numpy(dtype=np.float64)
    mean, scale = X[train].mean(axis=0), X[train].std(axis=0)
    return (X - mean) / np.where(scale > 0, scale, 1)


def squared(output, target):
    """Half the squared error of each row."""
    return ((output - target) ** 2).mean(dim=1) / 2


def cross_entropy(output, target):
    """Log loss of each row."""
    return F.cross_entropy(output, target, reduction="none")


class Task:
    """One table, split into two parts for a search and a test set."""

    def __init__(self, name, n_train, n_test, seed, classifier, epochs):
        X, y = frame(name, n_train + n_test, seed)
        first = np.arange(n_train)
        X = dense(X, first).astype(np.float32)
        if classifier:
            y = np.unique(y, return_inverse=True)[1].astype(np.int64)
        else:
            y = (y - y[first].mean()) / y[first].std()
            y = y[:, None].astype(np.float32)
        self.epochs, self.factor = epochs, 1.0 if classifier else 2.0
        self.row_loss = cross_entropy if classifier else squared
        self.sizes = Sizes(X.shape[1], 1 + y.max() if classifier else 1)
        rows = TensorData(torch.from_numpy(X), (torch.from_numpy(y), None))
        self.train = TensorData(*rows[:n_train])
        self.test = TensorData(*rows[n_train:])
        parts = halves(
            n_train,
            0.5,
            y[:n_train] if classifier else None,
            np.random.RandomState(seed),
        )
        one, other = (TensorData(*self.train[torch.from_numpy(p)]) for p in parts)
        batch = 2 ** round(np.log2(n_train / 64))
        self.how = Training(self.row_loss, 0.01, 2.0, max(batch, 32), alpha=1e-3)
        self.bench = Bench(self.sizes, one, other, self.how, Progress())

    def scores(self, architectures, seed):
        """Train side by side; return validation and test losses.

        Each network is trained on all rows for the number of epochs that was best for
        the validation rows.
        """
        held = self._curve(architectures, self.bench.train, self.bench.held, seed)
        epochs = held.argmin(axis=0)
        test = self._curve(architectures, self.train, self.test, seed)
        found = test[epochs, np.arange(len(epochs))]
        return self.factor * held.min(axis=0), self.factor * found

    def _curve(self, architectures, rows, held, seed):
        generator = torch.Generator().manual_seed(seed)
        networks = CellNetworks(architectures, self.sizes, generator)
        networks.to(self.train.X)
        return train(networks, rows, self.epochs, self.how, generator, Progress(), held)
