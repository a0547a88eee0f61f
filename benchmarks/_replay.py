"""Tables of finished trainings as estimators: a search on them costs next to nothing.

The environment variable ``SKDIFF_DATA`` names the folder of the tables.
"""

import gzip
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

# the columns that are settings, and the scores (one a seed) that are averaged
TABLES = {
    "fcnet_naval": ("val_loss", -1),
    "fcnet_protein": ("val_loss", -1),
    "hpobench_mlp_car": ("val_acc", 1),
    "hpobench_mlp_credit_g": ("val_acc", 1),
}
_NO_SETTING = ("train_time", "val_", "model_size")


def folder():
    """The folder of tables, or None with a message."""
    path = os.environ.get("SKDIFF_DATA")
    if not path:
        print("SKDIFF_DATA is not set: the tables of finished trainings are left out")
    return Path(path) if path else None


@lru_cache
def read(path):
    """Settings (names, values by column), scores to maximise, and a lookup."""
    with gzip.open(path, "rt") as file:
        names = file.readline().strip().split(",")
        rows = [line.rstrip("\n").split(",") for line in file]
    prefix, sign = TABLES[Path(path).name.split(".")[0]]
    settings = [i for i, n in enumerate(names) if not n.startswith(_NO_SETTING)]
    scored = [i for i, n in enumerate(names) if n.startswith(f"{prefix}_seed")]
    space = {}
    for i in settings:
        words = sorted({row[i] for row in rows})
        try:
            space[names[i]] = sorted(float(w) for w in words)
        except ValueError:
            space[names[i]] = words
    lookup = {}
    for row in rows:
        key = tuple(
            float(row[i]) if isinstance(space[names[i]][0], float) else row[i]
            for i in settings
        )
        lookup[key] = sign * np.mean([float(row[i]) for i in scored])
    return space, lookup


class Replay(BaseEstimator):
    """A training whose score stands in a table. Settings come as one dictionary."""

    _estimator_type = "regressor"
    path = None

    def __init__(self, **settings):
        self.settings = settings

    def fit(self, X, y=None):
        """Do nothing: it has been trained before."""
        return self

    def score(self, X, y=None):
        """Look the score up."""
        space, lookup = read(type(self).path)
        return lookup[tuple(self.settings[name] for name in space)]

    def get_params(self, deep=True):
        """Return the setting."""
        return dict(self.settings)

    def set_params(self, **settings):
        """Change the setting."""
        self.settings.update(settings)
        return self


def replay(path):
    """An estimator class of one table, its space, and its sorted scores."""
    space, lookup = read(str(path))
    name = "Replay_" + Path(path).name.split(".")[0]
    cls = type(name, (Replay,), {"path": str(path)})
    return cls(), space, np.sort(list(lookup.values()))


ONE_SPLIT = [(np.arange(5), np.arange(5, 10))]
X_NOTHING = np.zeros((10, 1))


def read_curves(data):
    """Accuracies of 28 networks per table after each of 50 epochs, by table."""
    with gzip.open(data / "mlp_epoch_curves_dev.csv.gz", "rt") as file:
        names = file.readline().strip().split(",")
        rows = [dict(zip(names, x.strip().split(","), strict=True)) for x in file]
    curves = {}
    for row in rows:
        table = curves.setdefault(row["dataset"], {})
        table.setdefault(row["config"], np.zeros(50))
        table[row["config"]][int(row["epoch"]) - 1] = float(row["valid_acc"])
    return curves


class CurveReplay(BaseEstimator):
    """A network whose accuracy after each epoch stands in a table."""

    curves = None

    def __init__(self, config=0):
        self.config = config

    def partial_fit(self, X, y=None):
        """Be one epoch older."""
        self.epochs_ = getattr(self, "epochs_", 0) + 1
        return self

    fit = partial_fit

    def score(self, X, y=None):
        """Look the accuracy up."""
        return self.curves[self.config][self.epochs_ - 1]
