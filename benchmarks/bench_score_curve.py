"""Learning curves: speed against general minimisers, and errors on real curves.

A fit of one curve against ``scipy.optimize.curve_fit`` from a fixed start, and against
the best of 20 starts of ``scipy.optimize.least_squares``, under the same bounds and
weights; the excess of our objective over theirs is printed. ``TrainingSizeEstimator``
is timed beside its fits alone. With ``SKDIFF_DATA`` set to a folder that holds
``lcdb_curves_dev.csv.gz`` (half of LCDB 1.0) the script prints errors at 4 and 16 times
the largest size, coverage of 90 % intervals, and the factor that half of its data sets
would choose for the growth of the intervals. ``ScoreCurveDisplay`` draws such curves.
"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import QUICK, Row, best_of, print_table, seconds  # isort: skip

import numpy as np
from scipy.optimize import curve_fit, least_squares
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from skdiff.model_selection import ScoreCurve, TrainingSizeEstimator
from skdiff.model_selection._score_curve import _spread

SIZES = np.round(16 * np.sqrt(2.0) ** np.arange(14))
BOUNDS = ([-np.inf, 0, 0.05], [1.0, np.inf, 2.5])


def curves(n):
    """Noisy power laws."""
    rng = np.random.default_rng(0)
    for _ in range(n):
        c, a, b = rng.uniform(0.6, 0.98), rng.uniform(0.3, 1.5), rng.uniform(0.2, 1.0)
        yield np.minimum(c - a * SIZES**-b + 0.01 * rng.normal(size=len(SIZES)), 1.0)


def power(u, c, a, b):
    """The curve, in units of the largest size."""
    return c - a * u**-b


def by_curve_fit(y):
    """One bounded fit from a fixed start; the objective it reaches."""
    u = SIZES / SIZES[-1]
    found, _ = curve_fit(
        power, u, y, (0.5, 0.1, 0.5), sigma=u**-0.75, bounds=BOUNDS, maxfev=10_000
    )
    return np.sum(u**1.5 * (y - power(u, *found)) ** 2)


def by_starts(y, n_starts=20):
    """The best of many starts; the objective it reaches."""
    u, rng, best = SIZES / SIZES[-1], np.random.default_rng(0), np.inf
    for _ in range(n_starts):
        start = rng.uniform(0, 0.9), rng.uniform(0, 1), rng.uniform(0.06, 2.4)
        found = least_squares(
            lambda v: u**0.75 * (y - power(u, *v)),
            start,
            bounds=BOUNDS,
            xtol=1e-12,
            ftol=1e-12,
        )
        best = min(best, 2 * found.cost)
    return best


def ours(y):
    """Variable projection; the objective it reaches."""
    curve = ScoreCurve(rate_prior=None, intervals=None).fit(SIZES, y)
    u = SIZES / SIZES[-1]
    return np.sum(u**1.5 * (y - curve.predict(SIZES)) ** 2)


def speed():
    """Rows of the table, and the largest excess of our objective."""
    some = list(curves(3 if QUICK else 20))
    reached = {
        f.__name__: [f(y) for y in some] for f in (ours, by_curve_fit, by_starts)
    }
    for name in ("by_curve_fit", "by_starts"):
        excess = np.subtract(reached["ours"], reached[name])
        print(f"objective, ours minus {name}: largest {excess.max():.1e}")
    one = best_of(lambda: [ours(y) for y in some], 2 if QUICK else 5)
    many = best_of(lambda: [ScoreCurve(random_state=0).fit(SIZES, y) for y in some], 2)
    rows = [
        Row(
            f"{len(some)} curves of {len(SIZES)} sizes",
            one,
            seconds(lambda: [by_starts(y) for y in some]),
            "least_squares, best of 20 starts",
            target=">= 30x",
        ),
        Row(
            "the same",
            one,
            seconds(lambda: [by_curve_fit(y) for y in some]),
            "curve_fit, one start",
        ),
        Row("the same with intervals", many),
    ]
    X, y = load_digits(return_X_y=True)
    model = TrainingSizeEstimator(GaussianNB(), stop="none", random_state=0)
    fits = [model.fit(X, y).train_sizes_, model.estimator]

    def alone():
        for n in fits[0]:
            for _ in range(5):
                fits[1].fit(X[:n], y[:n]).score(X[-360:], y[-360:])

    rows.append(
        Row(
            "TrainingSizeEstimator, digits, naive Bayes",
            best_of(lambda: model.fit(X, y), 2),
            best_of(alone, 2),
            "its fits and scores alone",
        )
    )
    print_table("Learning curves", rows)


def real_curves(folder):
    """Curves of at least 12 anchors: data set, sizes, mean scores, scores of a seed."""
    import pandas as pd

    table = pd.read_csv(Path(folder) / "lcdb_curves_dev.csv.gz")
    table = table.dropna(subset=["acc_test", "acc_test_one_seed"])
    for (data, _), part in table.groupby(["openmlid", "learner"]):
        part = part.sort_values("size_train")
        if len(part) >= 12:
            names = ("size_train", "acc_test", "acc_test_one_seed")
            yield (data, *(part[name].to_numpy(float) for name in names))


def accuracy(folder):
    """Print errors and coverage of extrapolations, and the factor of half the sets."""
    found = {}
    for data, x, mean, single in real_curves(folder):
        for kind, y in (("mean", mean), ("one seed", single)):
            for factor in (4, 16):
                kept = x <= x[-1] / factor * 1.0001
                curve = ScoreCurve(lower=0.0, random_state=0).fit(x[kept], y[kept])
                error = mean[-1] - curve.predict(x[-1:])[0]
                low, high = curve.predict_quantiles(x[-1:], [0.05, 0.95])[0]
                beyond = np.log(x[-1] / x[kept][-1])
                base = curve.predict(x[-1:], return_std=True)[1][0]
                base /= _spread.deviation(1.0) * (1 + _spread.KAPPA * beyond)
                found.setdefault((kind, factor), []).append(
                    (
                        data,
                        error,
                        y[kept][-1] - mean[-1],
                        low,
                        high,
                        mean[-1],
                        base,
                        beyond,
                    )
                )
    print(f"\n{'LCDB':10s}{'':6s}{'last':>8s}{'ours':>8s}{'cover':>8s}{'width':>8s}")
    for (kind, factor), rows in found.items():
        v = np.array(rows)
        cover = np.mean((v[:, 3] <= v[:, 5]) & (v[:, 5] <= v[:, 4]))
        last, error = np.abs(v[:, 2]).mean(), np.abs(v[:, 1]).mean()
        width = np.mean(v[:, 4] - v[:, 3])
        print(f"{kind:10s}x{factor:<5d}{last:8.4f}{error:8.4f}{cover:8.1%}{width:8.3f}")
    choose_growth(np.concatenate([np.array(rows) for rows in found.values()]))


def choose_growth(v):
    """Print the factor that covers 90 % on half of the sets, and the other half."""
    from scipy.stats import t as student

    first = v[:, 0] % 2 == 0
    scaled = np.abs(v[:, 1]) / np.maximum(v[:, 6], 1e-12)
    covered = {
        k: scaled <= student.ppf(0.95, _spread.TAIL) * (1 + k * v[:, 7])
        for k in np.arange(0, 2.01, 0.1).round(1)
    }
    best = min(covered, key=lambda k: abs(covered[k][first].mean() - 0.9))
    print(
        f"growth chosen on half of the sets: {best}; coverage on the others: "
        f"{covered[best][~first].mean():.1%}"
    )


def main():
    """Print the table, and the errors where there are curves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        speed()
    folder = os.environ.get("SKDIFF_DATA")
    if folder and (Path(folder) / "lcdb_curves_dev.csv.gz").is_file() and not QUICK:
        accuracy(folder)
    else:
        print("SKDIFF_DATA names no folder with lcdb_curves_dev.csv.gz")


if __name__ == "__main__":
    main()
