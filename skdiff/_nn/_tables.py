"""What a fit does to its table before and beside the training."""

from typing import Any

import numpy as np

from skdiff._base.rows import Columns
from skdiff._nn._inference import LARGEST

# arguments of skorch that have another home
REFUSED = {
    "module": "the estimator",
    "criterion": "the estimator",
    "train_split": "early_stopping (with validation_fraction)",
    "iterator_train": "batch_size",
    "iterator_valid": "the estimator",
    "dataset": "the estimator",
    "lr": "learning_rate_init",
    "batch_size": "batch_size",
    "max_epochs": "max_iter",
    "warm_start": "warm_start",
    "device": "device",
    "predict_nonlinearity": "the estimator",
}


def standardised(X: Any, encoding: Any) -> Any:
    """Rows as the network takes them, in the precision of X."""
    if encoding["_varies"] is None:
        return X
    return Columns(encoding["mean_"], encoding["scale_"]).standardised(X, LARGEST)


def normalised(weight: Any) -> Any:
    """Weights of mean one; None when all are alike, so that ones change no bit."""
    if weight is None or np.all(weight == weight[0]):
        return None
    return weight / weight.mean()


def take(X: Any, target: Any, weight: Any, train: Any, held: Any) -> Any:
    """Both sides of a split."""
    sides = [
        (X[rows], target[rows], None if weight is None else weight[rows])
        for rows in (train, held)
    ]
    return sides[0], sides[1]


def refuse_net_params(net_params: Any) -> Any:
    """Refuse arguments of skorch that this net does not use, by name."""
    for name in net_params or {}:
        for start, remedy in REFUSED.items():
            if name == start or name.startswith(f"{start}__"):
                raise ValueError(
                    f"net_params cannot set {name!r}: {remedy} decides it."
                )


def cast_alike(X: Any, target: Any, weight: Any) -> Any:
    """Targets that are numbers, and weights, in the precision of X."""
    if target.dtype.kind == "f":
        target = target.astype(X.dtype, copy=False)
    return X, target, None if weight is None else weight.astype(X.dtype, copy=False)


def tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array.copy())
