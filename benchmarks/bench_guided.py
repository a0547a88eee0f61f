"""GuidedSampler against simple rivals at equal reward calls, and the exact target.

A table of eight columns of three levels with a reward that is no sum over columns can
be enumerated, and thirty independent columns have a known mean. With ``SKDIFF_DATA``
set, rows of ``adult_discrete`` are drawn towards a high income: one classifier is the
reward, another one judges.
"""

import itertools
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import QUICK, Row, pick, print_table, run, seconds  # isort: skip

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from skdiff.density import GuidedSampler, LatentClassModel

FOLDER = os.environ.get("SKDIFF_DATA")
N = pick(1000, 50)


def small_table(seed=0):
    """A model of eight columns of three levels, all states, and a reward."""
    rng = np.random.default_rng(seed)
    group = rng.choice(4, 4000, p=rng.dirichlet(np.ones(4)))
    theta = rng.dirichlet(np.ones(3), size=(4, 8))
    cut = np.cumsum(theta[group], axis=2)[..., :-1]
    X = (rng.uniform(size=(4000, 8, 1)) > cut).sum(axis=2)
    single = rng.normal(size=(8, 3))

    def reward(rows):
        rows = np.asarray(rows).astype(int)
        pairs = (rows[:, :-1] == 2) & (rows[:, 1:] == 2)
        return single[np.arange(8), rows].sum(axis=1) + 1.5 * pairs.sum(axis=1)

    C = np.array(list(itertools.product(range(3), repeat=8)))
    return LatentClassModel(4, random_state=0).fit(X), C, reward


def exact():
    """Mean rewards beside those of the exact target, over three tables."""
    for temperature in pick((1.0, 0.5), (1.0,)):
        rows = []
        for seed in range(pick(3, 1)):
            model, C, reward = small_table(seed)
            log, r = model.score_samples(C), reward(C)
            q = np.exp(log + r / temperature - (log + r / temperature).max())
            q /= q.sum()
            rows.append(
                Row(
                    f"table {seed}: exact target",
                    0.0,
                    note=f"reward {q @ r:.2f}, log-probability {q @ log:.2f}; "
                    f"model {np.exp(log) @ r:.2f}, {np.exp(log) @ log:.2f}",
                )
            )
            for label, options in (
                ("cell (5, 1)", {"resampling": "cell", "n_candidates": 5}),
                ("cell (20, 5)", {"resampling": "cell"}),
                (
                    "cell (20, 5), no correction",
                    {"resampling": "cell", "correction": False},
                ),
                ("particles (5, 1)", {"resampling": "particles", "n_candidates": 5}),
                ("particles (20, 5)", {"resampling": "particles"}),
                ("regressor", {"resampling": "cell", "value": "regressor"}),
                ("mode", {"resampling": "cell", "value": "mode"}),
                ("auto (20, 5)", {}),
            ):
                few = {"n_candidates": 20, "n_completions": 5} | options
                few["n_completions"] = 1 if "(5, 1)" in label else 5
                sampler = GuidedSampler(
                    model, reward, temperature=temperature, random_state=0, **few
                )
                took = seconds(lambda s=sampler: s.fit().sample(N))
                report = sampler.report_
                rows.append(
                    Row(f"table {seed}: {label}", took, note=describe(report, sampler))
                )
        print_table(f"{N} rows at temperature {temperature}", rows)


def long():
    """Thirty binary columns without dependence; the reward is the number of ones."""
    X = np.random.default_rng(0).integers(0, 2, (3000, 30))
    model = LatentClassModel(1).fit(X)
    rows = []
    for temperature in (0.5, 0.25):
        odds = [m[1] / m[0] * np.exp(1 / temperature) for m in model.marginals_]
        wanted = sum(o / (1 + o) for o in odds)
        for seed in range(2):
            sampler = GuidedSampler(
                model,
                lambda rows: rows.sum(axis=1),
                temperature=temperature,
                n_candidates=4,
                n_completions=2,
                random_state=seed,
            )
            took = seconds(lambda s=sampler: s.sample(N))
            note = f"exact {wanted:.2f}; {describe(sampler.report_, sampler)}"
            rows.append(Row(f"t = {temperature}, seed {seed}", took, note=note))
    print_table(f"{N} rows of 30 columns", rows)


def describe(report, sampler):
    """The report in one line."""
    guided, calls = report.loc["guided"], report.loc["guided", "reward_calls"] / N
    rivals = ", ".join(
        f"{name} {report.loc[name, 'mean_reward']:.2f}"
        for name in ("best_of_n", "importance")
    )
    return (
        f"{sampler.resampling_}: reward {guided['mean_reward']:.2f}, log-probability "
        f"{guided['mean_log_prob']:.2f}, distinct {guided['distinct']:.2f}, "
        f"{calls:.0f} calls a row; {rivals}"
    )


def income():
    """Rows of adult_discrete towards a high income, judged by another classifier."""
    if not FOLDER:
        return
    import pandas as pd

    table = pd.read_csv(f"{FOLDER}/adult_discrete.csv.gz")
    table = table.sample(pick(12_000, 600), random_state=0)
    target = table.columns[-1]
    X, y = table.drop(columns=target), table[target]
    half = len(X) // 2
    model = LatentClassModel(random_state=0, max_categories=100).fit(X)
    guide = HistGradientBoostingClassifier(random_state=0).fit(X[:half], y[:half])
    judge = RandomForestClassifier(100, random_state=0).fit(X[half:], y[half:])
    rows = []
    for temperature in pick((0.2, 0.05, 0.0), (0.2,)):
        for resampling in pick(("particles", "cell", "importance"), ("cell",)):
            sampler = GuidedSampler(
                model,
                guide,
                temperature=temperature,
                n_candidates=4,
                n_completions=2,
                resampling=resampling,
                independent_reward=judge,
                random_state=0,
            )
            took = seconds(lambda s=sampler: s.sample(pick(300, 20)))
            report = sampler.report_
            for name in report.index:
                line = report.loc[name]
                rows.append(
                    Row(
                        f"t = {temperature}, {resampling}: {name}",
                        took if name == "guided" else 0.0,
                        note=f"guide {line['mean_reward']:.3f}, judge "
                        f"{line['mean_independent']:.3f}, log-probability "
                        f"{line['mean_log_prob']:.2f}, distinct "
                        f"{line['distinct']:.2f}, "
                        f"{line['reward_calls'] / pick(300, 20):.0f} calls a row",
                    )
                )
    print_table("adult_discrete: probability of a high income", rows)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if QUICK:
            exact()
        else:
            run(exact, long, income)
