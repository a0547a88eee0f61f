"""Train the smallest network of the store, and show how a training script looks.

``python tools/train_sine.py`` writes ``skdiff/_weights/sine.npz`` and its card: a
network with one hidden layer that has learned sin(pi x) on [-1, 1]. The tests of the
store read it; no estimator does.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPRegressor

from skdiff._base.weights import FOLDER, save_weights

SEED = 0


def train():
    """Return the arrays of the network and its largest error on a fine grid."""
    x = np.linspace(-1, 1, 400)[:, None]
    model = MLPRegressor(
        hidden_layer_sizes=(16,),
        activation="tanh",
        solver="lbfgs",
        max_iter=2000,
        random_state=SEED,
    ).fit(x, np.sin(np.pi * x[:, 0]))
    arrays = {
        "W1": model.coefs_[0],
        "b1": model.intercepts_[0],
        "W2": model.coefs_[1],
        "b2": model.intercepts_[1],
    }
    fine = np.linspace(-1, 1, 2001)[:, None]
    error = np.abs(model.predict(fine) - np.sin(np.pi * fine[:, 0])).max()
    return {k: a.astype(np.float32) for k, a in arrays.items()}, float(error)


def main(folder=FOLDER):
    arrays, error = train()
    save_weights(
        "sine",
        arrays,
        {
            "description": "tanh(x W1 + b1) W2 + b2 for sin(pi x) on [-1, 1]",
            "script": "tools/train_sine.py",
            "seed": SEED,
            "scores": {"largest_error": error},
        },
        packages=("scikit-learn",),
        folder=Path(folder),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
