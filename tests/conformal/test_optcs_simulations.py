"""The simulations of Bai and Jin: choosing models, and using rows twice."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Lasso, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVR

from skdiff.conformal import ConformalSelector, CrossFitConformalSelector
from skdiff.conformal._common._optcs import optimized_selection, plain_selection
from tests.conformal._simulations import bai_jin, rates

pytestmark = [
    pytest.mark.slow,
    # with few calibration rows some batches can have nothing selected, which is said
    pytest.mark.filterwarnings("ignore:.*the best rank there is"),
]
SIGMA = 0.5
LEVELS = np.array([0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5])
GRID = np.arange(1, 10) / 10
BOOSTED = GradientBoostingRegressor(max_depth=5, random_state=0)
FOREST = RandomForestRegressor(max_depth=5, random_state=0)
MODELS = {"boosted": BOOSTED, "forest": FOREST, "svr": SVR(gamma=0.1)}


def bound(fdp, level):
    """The level and four standard errors, over the first axis.

    A hundred rates are compared, and most are of a mixture of zero and one value, whose
    deviation few repeats underestimate.
    """
    return level + 4 * np.maximum(fdp.std(axis=0), 0.2) / np.sqrt(len(fdp))


class QuantileForest:
    """Quantiles of the outcomes that share leaves with a row."""

    def __init__(self, X, y):
        self.forest = RandomForestRegressor(max_depth=5, random_state=0).fit(X, y)
        self.leaves, self.order = self.forest.apply(X), np.argsort(y)
        self.y = y[self.order]

    def predict(self, X):
        weight = np.zeros((len(X), len(self.y)))
        for new, old in zip(self.forest.apply(X).T, self.leaves.T, strict=True):
            same = new[:, None] == old[self.order]
            weight += same / same.sum(axis=1, keepdims=True)
        cumulated = np.cumsum(weight, axis=1) / len(self.forest.estimators_)
        place = (cumulated[:, :, None] < GRID - 1e-9).sum(axis=1)
        return self.y[np.minimum(place, len(self.y) - 1)]


def train_candidates(setting, rng):
    """A function from rows to the scores of 24 candidates (or of ten, if linear)."""
    X, y = bai_jin(setting, 300, SIGMA, rng)
    if setting == "linear":
        models = [Lasso(alpha).fit(X, y) for alpha in np.geomspace(0.02, 2, 10)]
        return lambda Z: np.column_stack([model.predict(Z) for model in models])
    quantiles = QuantileForest(X, y)
    boosted = [
        GradientBoostingRegressor(
            loss="quantile", alpha=alpha, max_depth=5, random_state=0
        ).fit(X, y)
        for alpha in GRID
    ]
    mean = clone(FOREST).fit(X, y)
    X_more, y_more = bai_jin(setting, 100, SIGMA, rng)
    size = np.abs(y_more - mean.predict(X_more))
    scales = [
        model.fit(X_more, size)
        for model in (
            Ridge(),
            Ridge(100.0),
            KNeighborsRegressor(20),
            RandomForestRegressor(max_depth=2, random_state=0),
            SVR(gamma=0.1),
            GradientBoostingRegressor(max_depth=1, random_state=0),
        )
    ]

    def scores(Z):
        f = mean.predict(Z)
        scaled = [f / np.maximum(s.predict(Z), 0.05) for s in scales]
        return np.column_stack(
            [quantiles.predict(Z), *(b.predict(Z) for b in boosted), *scaled]
        )

    return scores


def answers_of(V, T, rng):
    """Selections by three prunings, and by three ways to do without."""
    m = len(T)
    draws = 1 - rng.uniform(size=(m, 1))
    answers = [
        optimized_selection(V, T, LEVELS, draws, prune).selected
        for prune in (1 - rng.uniform(size=m), 1 - rng.uniform(), 1.0)
    ]
    each = np.array(
        [
            plain_selection(V[:, [k]], T[:, [k]], LEVELS, draws).selected
            for k in range(V.shape[1])
        ]
    )
    largest = each.sum(axis=2).argmax(axis=0)
    answers.append(each[largest, np.arange(len(LEVELS))])
    answers.append(each[rng.integers(len(each))])
    return answers, draws


@pytest.mark.parametrize("setting", ["msel 1", "msel 2", "msel 3", "msel 4", "linear"])
def test_choosing_among_many_models(setting, record_property):
    rng = np.random.default_rng(len(setting) + ord(setting[-1]))
    found, n, m, repeats = [], 100, 100, 100
    for _ in range(2):
        candidates = train_candidates(setting, rng)
        X, y = bai_jin(setting, repeats * (n + m), SIGMA, rng)
        f = np.concatenate([candidates(part) for part in np.array_split(X, repeats)])
        for f_one, y_one in zip(
            np.split(f, repeats), np.split(y > 0, repeats), strict=True
        ):
            known, positive = y_one[:n], y_one[n:]
            V, T = np.where(known[:, None], np.inf, -f_one[:n]), -f_one[n:]
            answers, draws = answers_of(V, T, rng)
            half = n // 2  # choose on one half of the labelled rows, calibrate on two
            auc = [roc_auc_score(known[:half], column) for column in f_one[:half].T]
            best = [int(np.argmax(auc))]
            split = plain_selection(V[half:, best], T[:, best], LEVELS, draws)
            found.append(rates([*answers, split.selected], positive))
    fdp, power = np.swapaxes(found, 0, 1)
    names = ("hete", "homo", "dtm", "naive", "random", "split")
    for k, name in enumerate(names):
        record_property(f"{name} fdr", fdp[:, k].mean(axis=0).round(3).tolist())
        record_property(f"{name} power", power[:, k].mean(axis=0).round(3).tolist())
    for k in (0, 1, 2, 4, 5):
        assert np.all(fdp[:, k].mean(axis=0) <= bound(fdp[:, k], LEVELS)), names[k]
    # the largest selection breaks the promise where the signal is weak
    assert fdp[:, 3, 0].mean() > LEVELS[0]
    _, homo, _, _, blind, _ = power.mean(axis=0)
    assert homo.mean() > blind.mean() - 0.02


@pytest.mark.parametrize("setting", ["full 1", "full 2", "full 3", "full 4"])
@pytest.mark.parametrize("name", MODELS)
def test_every_row_trains_and_calibrates(setting, name, record_property):
    rng = np.random.default_rng(ord(setting[-1]))
    found, n = [], 100
    for repeat in range(200 if name == "svr" else 12):
        X, y = bai_jin(setting, 2 * n, SIGMA, rng)
        outcome = (y > 0).astype(float)
        options = {"threshold": 0.5, "random_state": repeat}
        selectors = [
            CrossFitConformalSelector(MODELS[name], cv=5, **options),
            *(
                ConformalSelector(MODELS[name], calibration_size=share, **options)
                for share in (0.25, 0.5, 0.75)
            ),
        ]
        answers = [
            s.fit(X[:n], outcome[:n]).select(X[n:], fdr_level=LEVELS) for s in selectors
        ]
        found.append(rates(answers, y[n:] > 0))
    fdp, power = np.swapaxes(found, 0, 1)
    for k, kind in enumerate(("cross-fit", "split 0.25", "split 0.5", "split 0.75")):
        record_property(f"{kind} fdr", fdp[:, k].mean(axis=0).round(3).tolist())
        record_property(f"{kind} power", power[:, k].mean(axis=0).round(3).tolist())
    assert np.all(fdp.mean(axis=0) <= bound(fdp, LEVELS))


@pytest.mark.parametrize("setting", ["full 2", "full 4"])
def test_every_row_trains_calibrates_and_chooses(setting, record_property):
    rng = np.random.default_rng(ord(setting[-1]))
    candidates = [
        *(GradientBoostingRegressor(max_depth=d, random_state=0) for d in (1, 3, 5)),
        *(RandomForestRegressor(50, max_depth=d, random_state=0) for d in (2, 5, None)),
        *(SVR(gamma=g) for g in (0.01, 0.1, 1.0)),
    ]
    found, n = [], 100
    for repeat in range(12):
        X, y = bai_jin(setting, 2 * n, SIGMA, rng)
        selector = CrossFitConformalSelector(
            estimators=candidates, cv=5, threshold=0.5, random_state=repeat
        ).fit(X[:n], (y[:n] > 0).astype(float))
        found.append(rates(selector.select(X[n:], fdr_level=LEVELS), y[n:] > 0))
    fdp, power = np.swapaxes(found, 0, 1)
    record_property("fdr", fdp.mean(axis=0).round(3).tolist())
    record_property("power", power.mean(axis=0).round(3).tolist())
    assert np.all(fdp.mean(axis=0) <= bound(fdp, LEVELS))
