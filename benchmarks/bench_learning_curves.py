"""LearningCurvePFN: speed, exactness, real curves, and the search that uses it.

The peer of the network is the exact posterior by importance sampling, and least squares
of the power law by SciPy; the peers of the search are full trainings, patience and
Hyperband on replayed curves (``SKDIFF_DATA``), where only epochs count.
``PredictiveStopping`` and its ``Incumbent`` make one such forecast an epoch;
``CurveForecastDisplay`` and ``PredictiveStoppingDisplay`` draw what is timed here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    Row,
    best_of,
    pick,
    print_table,
    run,
)

import warnings

import numpy as np
from scipy.optimize import curve_fit

from benchmarks._replay import ONE_SPLIT, X_NOTHING, CurveReplay, folder, read_curves
from skdiff.model_selection import (
    HyperbandSearchCV,
    LearningCurvePFN,
    PredictiveStoppingSearchCV,
)
from skdiff.model_selection._curve_network._prior import draw_curves

LATER = np.arange(21, 101)
SEEDS = pick(10, 1)


def power_law(x, c, a, b):
    """Score after x epochs."""
    return c - a * x**-b


def least_squares(curves):
    """The last score of each curve by a bounded fit of the power law."""
    x, found = np.arange(1.0, curves.shape[1] + 1), []
    for y in curves:
        try:
            best, _ = curve_fit(
                power_law, x, y, (y[-1], 0.1, 1), bounds=([0, 0, 0], [1, 2, 5])
            )
            found.append(power_law(100.0, *best))
        except RuntimeError:
            found.append(y[-1])
    return np.array(found)


def fresh_curves(n):
    """Curves of the paper's prior, cut to [0, 1] as scores are."""
    x = np.arange(1.0, 101.0)
    return np.clip(draw_curves(n, x, np.random.default_rng(9)).y.astype(float), 0, 1)


def speed():
    """Seconds of 1000 curves, and of the rivals on as many."""
    curves = fresh_curves(1000)[:, :20]
    model = LearningCurvePFN("domhan").fit(curves)
    exact = LearningCurvePFN("domhan", "importance", random_state=0).fit(curves)
    few = pick(20, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampled = best_of(lambda: exact.predict(curves[:few]), 3) * 1000 / few
        fitted = best_of(lambda: least_squares(curves[:few]), 3) * 1000 / few
    last = best_of(lambda: model.predict(curves), 10)
    every = best_of(lambda: model.predict(curves, LATER), 10)
    one = best_of(lambda: model.predict(curves[:1]), 10)
    print_table(
        "learning curves: 1000 curves after 20 of 100 epochs",
        [
            Row("last epoch", last, sampled, "importance sampling", target="< .05 s"),
            Row("last epoch", last, fitted, "scipy curve_fit"),
            Row("80 later epochs", every, sampled, "importance sampling"),
            Row("one curve", one, target="< .001 s"),
        ],
    )


def real_curves():
    """Log density, error and coverage on real curves, beside simple rivals."""
    data = folder()
    if data is None:
        return
    curves = np.array(
        [c for table in read_curves(data).values() for c in table.values()]
    )
    print(f"\n{len(curves)} networks, 50 epochs (mlp_epoch_curves_dev)")
    print("after  prior     log density  error of the last  in 90 %  last value: error")
    for cut in (5, 10, 20, 40):
        seen, later = curves[:, :cut], curves[:, cut:]
        flat = np.abs(seen[:, -1] - curves[:, -1]).mean()
        for prior in ("extended", "domhan"):
            model = LearningCurvePFN(prior, horizon=50).fit(seen)
            density = model.log_prob(seen, later).mean()
            error = np.abs(model.predict(seen) - curves[:, -1]).mean()
            q = model.predict_quantiles(seen, [0.05, 0.95], np.arange(cut + 1, 51))
            inside = ((later > q[:, 0]) & (later < q[:, 1])).mean()
            print(
                f"{cut:5}  {prior:8}  {density:11.2f}  {error:17.4f}  {inside:7.3f}  "
                f"{flat:.4f}"
            )


def patience(table, order, wait=10):
    """Train one after another; stop where nothing rose for ``wait`` epochs."""
    best, spent = -np.inf, 0
    for name in order:
        curve, top, since, t = table[name], -np.inf, 0, 0
        while t < len(curve) and since < wait:
            since = 0 if curve[t] > top else since + 1
            top = max(top, curve[t])
            t += 1
        spent += t
        best = max(best, top)
    return best, spent


def replayed_searches():
    """Epochs and regret of the best accuracy seen, five tables."""
    data = folder()
    if data is None:
        return
    print(f"\nreplayed searches, 28 networks, 50 epochs, {SEEDS} seeds: mean regret of")
    print("the final accuracy (epochs of the 1400 of full trainings)")
    common = {"cv": ONE_SPLIT, "refit": False}
    for name, table in read_curves(data).items():
        CurveReplay.curves, space = table, {"config": list(table)}
        final = max(c[-1] for c in table.values())
        best = max(c.max() for c in table.values())
        rows = {"ours": [], "Hyperband": [], "Hyperband, 1 bracket": [], "patience": []}
        for seed in range(SEEDS):
            ours = PredictiveStoppingSearchCV(
                CurveReplay(), space, n_iter=28, max_resource=50, random_state=seed,
                **common,
            ).fit(X_NOTHING)  # fmt: skip
            rows["ours"].append((final - ours.best_score_, ours.resource_used_))
            for label, brackets in (("", "all"), (", 1 bracket", 1)):
                rival = HyperbandSearchCV(
                    CurveReplay(), space, resource="partial_fit", max_resource=50,
                    brackets=brackets, random_state=seed, **common,
                ).fit(X_NOTHING)  # fmt: skip
                rows[f"Hyperband{label}"].append(
                    (final - rival.best_score_, rival.resource_used_)
                )
            order = np.random.default_rng(seed).permutation(list(table))
            top, spent = patience(table, order)
            rows["patience"].append((best - top, spent))
        line = [
            f"{label} {np.mean(r, axis=0)[0]:.4f} ({np.mean(r, axis=0)[1]:.0f})"
            for label, r in rows.items()
        ]
        print(f"{name:15} {'; '.join(line)}")


if __name__ == "__main__":
    run(speed, real_curves, replayed_searches)
