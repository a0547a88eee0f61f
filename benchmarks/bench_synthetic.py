"""PrivateGSDSynthesizer: noise and candidate edits per second, errors, and peers.

``speed``: exact noise against the sampler that follows the paper's algorithms in plain
Python, and candidate edits against a recount of every table of counts per child, which
is what a generation of the genetic search costs without increments; the bound is one
look-up per table and candidate. ``errors``: mean and largest error of two-way marginals
of a generator at several budgets. ``tables``: four real tables at epsilon .5, 1 and 4
beside independent columns (with exact marginals, no privacy) and MST (McKenna et al.,
2021) by mbi, where it is installed: distance of three-way marginals, and the area under
the curve of boosted trees trained on synthetic rows and tested on real ones.
``attack``: membership inference at several budgets; ``releases``: its area over many
tables.

It goes through TableSchema, MarginalQueries, RangeQueries, PrefixQueries,
HalfspaceQueries, PredicateQueries, PrivacyAccountant, PrivacySpent, PrivacyBudgetError,
MarginalsDisplay and membership_report.
"""

import itertools
import json
import os
import sys
import time
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from skdiff._privacy._accounting import rho_of
from skdiff._privacy._noise import SystemSource, discrete_gaussian, select
from skdiff._privacy._table import draw
from skdiff.synthetic import (
    HalfspaceQueries,
    MarginalQueries,
    PrefixQueries,
    PrivateGSDSynthesizer,
    TableSchema,
    membership_report,
)
from skdiff.synthetic._cells import counts_of
from skdiff.synthetic._gsd._state import State, Target
from skdiff.synthetic._queries._marginals import Ways

DATA = Path(os.environ.get("SKDIFF_DATA", "."))


def generated(n, n_cat, n_real, seed=0):
    """Columns that share three factors, and what is declared of them."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    columns, declared = [], {}
    for j in range(n_cat):
        k = (2, 3, 4, 5, 8)[j % 5]
        mixed = z @ rng.normal(size=(3, k))
        columns.append(np.argmax(mixed + rng.gumbel(size=(n, k)), axis=1))
        declared[f"c{j}"] = list(range(k))
    for j in range(n_real):
        columns.append(1 / (1 + np.exp(-0.7 * z @ rng.normal(size=3))))
        declared[f"r{j}"] = (0.0, 1.0)
    return np.column_stack(columns).astype(float), TableSchema(declared)


# --- speed --------------------------------------------------------------------------


def noise_speed():
    """Seconds for a million draws."""
    source, rows = SystemSource(), []
    n = pick(1_000_000, 10_000)
    for sigma_sq in (Fraction(1), Fraction(1000), Fraction(10**6)):
        draw(sigma_sq, 1, source)  # the table is built once
        few = n // 500
        best = interleaved(
            {
                "ours": lambda s=sigma_sq: draw(s, n, source),
                "peer": lambda s=sigma_sq: [
                    discrete_gaussian(s, source) for _ in range(few)
                ],
                "limit": lambda: source.words(n),
            },
            repeats=3,
        )
        task = f"{n:,} draws, variance {int(sigma_sq):,}"
        rows.append(
            Row(task, best["ours"], 500 * best["peer"], "plain Python", best["limit"])
        )
        print(f"{task}: {n / best['ours'] / 1e6:.1f} million per second")
    print_table("exact discrete Gaussians", rows)


def recount(codes, targets, rows, new):
    """Loss of each child, with every table of counts counted anew."""
    losses = []
    for row, child in zip(rows, new, strict=True):
        table = codes.copy()
        table[row] = child
        losses.append(
            sum(
                np.sum((counts_of(t.cells, table) / len(table) - t.shares) ** 2)
                for t in targets
            )
        )
    return losses


def search_speed():
    """Seconds for a million candidate edits."""
    rows = []
    for n, n_cat, n_real, size in pick(
        ((5000, 4, 2, 500), (5000, 6, 3, 500), (20_000, 12, 6, 2000)),
        ((500, 3, 1, 100),),
    ):
        X, schema = generated(n, n_cat, n_real)
        codes = schema.encode(X)
        parts = [c for _, c in Ways(2).fit_schema(schema)._parts]
        targets = [Target(c, counts_of(c, codes) / n, 1.0) for c in parts]
        start = codes[:size]
        state, everyone = State(start, targets), np.arange(size)
        rng = np.random.default_rng(0)
        few = 20
        at, new = rng.integers(size, size=few), codes[rng.integers(n, size=few)]
        width = sum(schema.n_codes)

        def ours(state=state, everyone=everyone, d=codes.shape[1]):
            for j in range(d):
                state.gains(j, everyone)

        def limit(state=state, start=start):
            for w in range(len(state.targets)):
                state.slopes[w][state.sums[w]]

        best = interleaved(
            {
                "ours": ours,
                "peer": lambda a=at, v=new, s=start, t=targets: recount(s, t, a, v),
                "replaced": lambda s=state, a=everyone, v=start: s.replaced(a, v),
                "limit": limit,
            },
            repeats=3,
        )
        per = {
            "ours": best["ours"] / (size * width),
            "peer": best["peer"] / few,
            "replaced": best["replaced"] / size,
            "limit": best["limit"] / size,
        }
        task = f"{n_cat}+{n_real} columns, {len(parts)} tables, {size} rows"
        rows.append(Row(task, 1e6 * per["ours"], 1e6 * per["peer"], "recount", None))
        print(
            f"{task}: million candidates per second: batched {1e-6 / per['ours']:.2f}, "
            f"whole rows by increments {1e-6 / per['replaced']:.3f}, "
            f"recount {1e-6 / per['peer']:.5f}, "
            f"one look-up per table {1e-6 / per['limit']:.2f}"
        )
    print_table("a million candidate edits", rows)


def speed():
    """Noise and search."""
    noise_speed()
    search_speed()


# --- errors at equal budget -----------------------------------------------------------


def two_way_error(schema, synthetic, codes):
    """Mean and largest error of the shares of all two-way tables."""
    parts = [c for _, c in Ways(2).fit_schema(schema)._parts]
    error = np.concatenate(
        [
            np.abs(
                counts_of(c, synthetic) / len(synthetic)
                - counts_of(c, codes) / len(codes)
            )
            for c in parts
        ]
    )
    return error.mean(), error.max()


def errors(repeats=3):
    """The generator of the specification: six categorical and three real columns."""
    X, schema = generated(5000, 6, 3)
    codes = schema.encode(X)
    rng = np.random.default_rng(0)
    alone = np.stack([rng.permutation(c)[:1000] for c in codes.T], axis=1)
    print("\nbudget          selection   mean error  largest  seconds")
    print("{:14s} {:12s}{:10.5f}{:10.4f}".format(
        "independent", "", *two_way_error(schema, alone, codes)))  # fmt: skip
    print("{:14s} {:12s}{:10.5f}{:10.4f}".format(
        "1000 real rows", "", *two_way_error(schema, codes[:1000], codes)))  # fmt: skip
    for rho in (None, 0.5, 0.05, 0.015, 0.005, 0.002):
        for selection in ("auto", "one-shot", "adaptive"):
            if rho is None and selection != "auto":
                continue
            found, start = [], time.process_time()
            for seed in range(repeats):
                model = PrivateGSDSynthesizer(
                    schema, None if rho is None else 1.0, 1e-9, rho=rho,
                    selection=selection, n_synthetic=1000, random_state=seed,
                ).fit(X)  # fmt: skip
                found.append(two_way_error(schema, model.synthetic_, codes))
            seconds = (time.process_time() - start) / repeats
            name = "no noise" if rho is None else f"rho {rho}"
            kind = selection if selection != "auto" else f"auto: {model.selection_}"
            mean, largest = np.mean(found, axis=0)
            print(f"{name:14s} {kind:16s}{mean:8.5f}{largest:10.4f}{seconds:9.2f}")


# --- real tables ----------------------------------------------------------------------


def adult():
    """Adult with every column in codes; the sizes of the domains are published."""
    import pandas as pd

    notes = json.loads((DATA / "MANIFEST.json").read_text())["datasets"]
    note = next(d["note"] for d in notes if d["name"] == "adult_discrete")
    sizes = json.loads(note.removeprefix("domain sizes: "))
    table = pd.read_csv(DATA / "adult_discrete.csv.gz")
    schema = TableSchema({c: list(range(sizes[c])) for c in table})
    return table, schema, "income_50k"


def massachusetts():
    """The 2019 rows of a census survey: an income above the fifth decile."""
    import pandas as pd

    table = pd.read_csv(
        DATA / "acs_massachusetts.csv.gz", keep_default_na=False, na_values=[""],
        dtype=dict.fromkeys(["puma", "indp_cat", "pincp_decile"], str),
    )  # fmt: skip
    table = table[table["year"] == 2019].reset_index(drop=True)
    decile = table["pincp_decile"]
    table["above"] = np.where(decile.isin(list("6789")), "yes", "no")
    drop = ["year", "pwgtp", "wgtp", "indp", "pincp", "pincp_decile"]
    table = table.drop(columns=drop)
    declared = {
        c: (0, 99) if c == "agep" else (1000, 4000) if c == "density"
        else (0, 501) if c == "povpip" else sorted(map(str, table[c].unique()))
        for c in table
    }  # fmt: skip
    for c in table:
        if isinstance(declared[c], list):
            table[c] = table[c].astype(str)
    return table, TableSchema(declared, integer=["agep"], missing=["povpip"]), "above"


def mushroom():
    """Mushrooms in 21 columns of letters (the veil type never varies)."""
    import pandas as pd

    table = pd.read_csv(DATA / "mushroom.csv.gz", dtype=str).drop(columns="veil_type")
    declared = {c: sorted(table[c].dropna().unique()) for c in table}
    return table, TableSchema(declared, missing=["stalk_root"]), "poisonous"


def nltcs():
    """Sixteen disabilities of elderly people; the last is predicted."""
    import pandas as pd

    table = pd.read_csv(DATA / "nltcs.csv.gz").drop(columns="split")
    return table, TableSchema({c: [0, 1] for c in table}), "v15"


def three_way_distance(schema, synthetic, codes, count=150):
    """Mean total variation of random three-way marginals, real columns in 8 bins."""
    names = list(itertools.combinations(schema.names, 3))
    chosen = np.random.default_rng(0).permutation(len(names))[:count]
    found = []
    for k in chosen:
        family = MarginalQueries(columns=names[k], depth=3).fit_schema(schema)
        a, b = (family.counts(c) / len(c) for c in (synthetic, codes))
        found.append(np.abs(a - b).sum() / 2)
    return float(np.mean(found))


def trained(synthetic, test, target):
    """Area under the curve on real rows of trees trained on synthetic ones."""
    y = synthetic[:, target]
    if len(np.unique(y)) < 2:
        return 0.5
    rest = np.arange(synthetic.shape[1]) != target
    model = HistGradientBoostingClassifier(random_state=0).fit(synthetic[:, rest], y)
    proba = model.predict_proba(test[:, rest])[:, 1]
    return float(roc_auc_score(test[:, target], proba))


def mst(codes, sizes, rho, n_rows):
    """MST on codes with the graphical models of mbi; a third of rho for each step."""
    import jax
    import mbi
    from scipy.cluster.hierarchy import DisjointSet

    jax.config.update("jax_enable_x64", True)
    d, n = codes.shape[1], len(codes)
    domain = mbi.Domain([str(j) for j in range(d)], sizes)
    source, third = SystemSource(), Fraction(rho) / 3

    def measured(columns, part):
        shape = [sizes[j] for j in columns]
        flat = np.ravel_multi_index(codes[:, columns].T, shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape)))
        sigma_sq = (2 / (2 * part)).limit_denominator(10**6)
        noisy = counts + draw(sigma_sq, len(counts), source)
        clique = tuple(str(j) for j in columns)
        return mbi.LinearMeasurement(
            noisy.astype(float), clique, stddev=float(sigma_sq) ** 0.5
        )

    log = [measured([j], third / d) for j in range(d)]
    fit = mbi.estimation.MirrorDescent().estimate
    model = fit(domain, log, known_total=n)
    scores = {}
    for a, b in itertools.combinations(range(d), 2):
        flat = codes[:, a] * sizes[b] + codes[:, b]
        counts = np.bincount(flat, minlength=sizes[a] * sizes[b])
        guess = np.asarray(model.project((str(a), str(b))).datavector())
        scores[a, b] = int(np.abs(counts - np.round(guess)).sum())
    eps = Fraction((8 * float(third) / (d - 1)) ** 0.5).limit_denominator(10**6)
    forest, edges = DisjointSet(range(d)), []
    for _ in range(d - 1):
        free = [e for e in scores if not forest.connected(*e)]
        edge = free[select([scores[e] for e in free], eps, 2, source)]
        forest.merge(*edge)
        edges.append(edge)
    log += [measured(list(e), third / (d - 1)) for e in edges]
    model = fit(domain, log, known_total=n)
    table = model.synthetic_data(rows=n_rows)
    return np.stack([np.asarray(table.data[str(j)]) for j in range(d)], axis=1)


def tables(
    size=5000,
    repeats=1,
    loaders=(adult, massachusetts, mushroom, nltcs),
    epsilons=(0.5, 1.0, 4.0),
):
    """Three-way distance and downstream accuracy at three budgets."""
    for load in loaders:
        try:
            table, schema, target = load()
        except FileNotFoundError:
            print(f"{load.__name__}: left out, SKDIFF_DATA does not name its folder")
            continue
        order = np.random.default_rng(0).permutation(len(table))
        held, kept = order[: len(table) // 5], order[len(table) // 5 :]
        codes, test = schema.encode(table.iloc[kept]), schema.encode(table.iloc[held])
        at = list(schema.names).index(target)
        rng = np.random.default_rng(0)
        alone = np.stack([rng.permutation(c)[:size] for c in codes.T], axis=1)
        some = codes[:size]
        print(f"\n{load.__name__}, {len(kept)} rows: three-way distance, area, seconds")
        for name, rows in (("all real rows", codes), ("real rows", some),
                           ("independent", alone)):  # fmt: skip
            print(f"{name:28s}{three_way_distance(schema, rows, test):8.3f}"
                  f"{trained(rows, test, at):8.3f}", flush=True)  # fmt: skip
        for epsilon in epsilons:
            delta = 1.0 / len(kept) ** 2
            quick = PrivateGSDSynthesizer(schema, epsilon, delta, max_evals=0)
            chosen = quick.fit(table.iloc[kept]).selection_
            print(f"epsilon {epsilon:3.1f}, auto is {chosen}")
            for name, release in methods(schema, epsilon, delta, size).items():
                found, start = [], time.process_time()
                for seed in range(repeats):
                    rows = release(table.iloc[kept], codes, seed)
                    found.append([three_way_distance(schema, rows, test),
                                  trained(rows, test, at)])  # fmt: skip
                seconds = (time.process_time() - start) / repeats
                distance, area = np.mean(found, axis=0)
                print(f"epsilon {epsilon:3.1f}, {name:15s}{distance:8.3f}{area:8.3f}"
                      f"{seconds:8.1f}", flush=True)  # fmt: skip


def methods(schema, epsilon, delta, size):
    """What is compared: functions of the table, its codes and a seed."""

    def ours(selection):
        def release(table, codes, seed):
            model = PrivateGSDSynthesizer(
                schema, epsilon, delta, selection=selection, n_synthetic=size,
                tol=1e-3, random_state=seed,
            )  # fmt: skip
            return model.fit(table).synthetic_

        return release

    found = {kind: ours(kind) for kind in ("one-shot", "adaptive")}
    try:
        import mbi  # noqa: F401
    except ImportError:
        return found
    rho = rho_of(epsilon, delta)
    found["MST (mbi)"] = lambda table, codes, seed: mst(
        codes, list(schema.n_codes), rho, size
    )
    return found


# --- other query families, and what an attacker sees ----------------------------------


def families():
    """Error of thresholds that marginals do not hold, measured or not."""
    X, schema = generated(5000, 3, 4)
    codes = schema.encode(X)
    test = [
        PrefixQueries(n_boxes=200, random_state=1).fit_schema(schema),
        HalfspaceQueries(n_halfspaces=200, random_state=1).fit_schema(schema),
    ]
    print("\nmeasured                prefixes  half-spaces")
    for name, queries in (
        ("2-way", "2-way"),
        ("2-way, half-spaces", ["2-way", HalfspaceQueries(n_halfspaces=100)]),
        ("half-spaces", HalfspaceQueries(n_halfspaces=300)),
    ):
        model = PrivateGSDSynthesizer(
            schema, 1.0, queries=queries, n_synthetic=1000, random_state=0
        ).fit(X)
        found = [
            np.abs(f.counts(model.synthetic_) / 1000 - f.counts(codes) / 5000).mean()
            for f in test
        ]
        print(f"{name:22s}{found[0]:10.5f}{found[1]:10.5f}", flush=True)


def attack(repeats=10):
    """Membership inference on 200 rows."""
    X, schema = generated(2600, 6, 3)
    members, others, public = X[:200], X[200:400], X[400:]
    print("\nepsilon       AUC  advantage  lower bound  ceiling")
    for epsilon in (None, 3.0, 1.0, 0.1):
        found = []
        for seed in range(repeats):
            model = PrivateGSDSynthesizer(
                schema, epsilon, n_synthetic=400, random_state=seed
            ).fit(members)
            r = membership_report(model, members, others, public)
            found.append([r.auc, r.advantage, r.advantage_low, r.ceiling])
        auc, advantage, low, ceiling = np.mean(found, axis=0)
        print(f"{epsilon!s:8s}{auc:9.3f}{advantage:11.3f}{low:13.3f}{ceiling:9.3f}")


def releases(repeats=20):
    """Mean area of the attack at epsilon 1 over tables of different members."""
    areas = []
    for seed in range(repeats):
        X, schema = generated(2600, 6, 3, seed)
        model = PrivateGSDSynthesizer(schema, 1.0, random_state=seed).fit(X[:200])
        areas.append(membership_report(model, X[:200], X[200:400], X[400:]).auc)
    error = np.std(areas, ddof=1) / repeats**0.5
    print(f"\nmean area {np.mean(areas):.3f}, standard error {error:.3f}")


if __name__ == "__main__":
    run(speed, errors, tables, families, attack, releases)
