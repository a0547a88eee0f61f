"""Tests of model comparison: their time beside peers, and their error rates.

``TestResult``, ``PairwiseTests``, ``BootstrapScore``, ``ModelComparison`` and
``ModelComparisonDisplay`` hold what has been computed and cost nothing of their own;
``adjust_pvalues``, ``score_interval``, ``proportion_difference_test`` and
``looney_f_test`` are a few operations on short vectors. ``mlxtend`` and ``baycomp`` are
compared with where they are installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import (  # isort: skip
    Row,
    interleaved,
    pick,
    print_table,
    run,
)

import warnings
from importlib import import_module

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from benchmarks._null_models import accuracies, correct, tables
from skdiff.model_evaluation import (
    NestedCV,
    bayesian_correlated_ttest,
    bootstrap_632_score,
    cochran_q_test,
    compare_models,
    corrected_resampled_ttest,
    delong_test,
    friedman_test,
    ftest_5x2cv,
    kfold_ttest,
    mcnemar_test,
    nemenyi_test,
    paired_bootstrap_test,
    paired_permutation_test,
    pairwise_mcnemar,
    pairwise_wilcoxon,
    ttest_5x2cv,
    wilcoxon_test,
)


def peer(name):
    """A package that may be absent."""
    try:
        return import_module(name)
    except ImportError:
        return None


def compared(task, ours, other, name, *, equal=None):
    """One row: times of both, and the difference of what they return."""
    times = interleaved({"ours": ours, "peer": other}, 3)
    note = "" if equal is None else f"largest difference {equal(ours(), other()):.1e}"
    return Row(task, times["ours"], times["peer"], name, note=note)


def gap(a, b):
    """Largest difference of the numbers in two results."""
    pairs = zip(np.ravel(tuple(a)), np.ravel(tuple(b)), strict=True)
    return max(abs(x - y) for x, y in pairs)


def pairwise_areas(y, a, b):
    """DeLong's statistic by the comparison of every pair of rows."""
    x0, x1 = y == 0, y == 1
    kernels = [
        (s[x1][:, None] > s[x0]) + 0.5 * (s[x1][:, None] == s[x0]) for s in (a, b)
    ]
    rows = np.array([k.mean(axis=1) for k in kernels])
    columns = np.array([k.mean(axis=0) for k in kernels])
    cov = np.cov(rows) / x1.sum() + np.cov(columns) / x0.sum()
    z = (rows[0].mean() - rows[1].mean()) / np.sqrt(
        cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
    )
    return z, 2 * stats.norm.sf(abs(z))


def speed():
    """Each test beside a vectorised baseline or a peer."""
    n = pick(200_000, 5_000)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    a, b, c = (np.where(rng.uniform(size=n) < p, y, 1 - y) for p in (0.8, 0.79, 0.8))
    s, t = y + rng.normal(size=(2, n))
    m = pick(4000, 400)

    def scipy_counts():
        right, other = a == y, b == y
        n10, n01 = int(np.sum(right & ~other)), int(np.sum(other & ~right))
        pvalue = stats.binomtest(n10, n10 + n01).pvalue if n10 + n01 else 1.0
        return min(n10, n01), pvalue

    def signs():
        d = (a == y).astype(float) - (b == y)
        draws = (2 * rng.integers(0, 2, (pick(200, 50), n)) - 1) @ d
        return np.mean(np.abs(draws) >= abs(d.sum()))

    rows = [
        compared(
            f"mcnemar_test, {n} rows",
            lambda: mcnemar_test(y, a, b, method="exact"),
            scipy_counts,
            "NumPy and scipy.binomtest",
            equal=gap,
        ),
        compared(
            f"delong_test, {m} rows",
            lambda: delong_test(y[:m], s[:m], t[:m]),
            lambda: pairwise_areas(y[:m], s[:m], t[:m]),
            "all pairs, vectorised",
            equal=gap,
        ),
        compared(
            f"delong_test, {n} rows",
            lambda: delong_test(y, s, t),
            lambda: (roc_auc_score(y, s), roc_auc_score(y, t)),
            "two roc_auc_score",
        ),
        compared(
            f"paired_permutation_test, {n} rows",
            lambda: paired_permutation_test(y, a, b),
            signs,
            f"{pick(200, 50)} sign flips",
        ),
        *bootstrap_rows(y[:2000], a[:2000], b[:2000]),
        *peer_rows(y, a, b, c),
    ]
    print_table("model_evaluation", rows, "mlxtend", "baycomp", "statsmodels")


def bootstrap_rows(y, a, b):
    """Bootstrap tests beside resampled indices."""
    rng = np.random.default_rng(0)
    d = (a == y).astype(float) - (b == y)
    loss = (y + rng.normal(size=(2, len(y)))) ** 2

    def indices():
        return d[rng.integers(0, len(d), (2000, len(d)))].mean(axis=1)

    X = rng.normal(size=(100, 5))
    target = (X[:, 0] > 0).astype(int)
    model = GaussianNB()

    def fits():
        for _ in range(50):
            rows = rng.integers(0, 100, 100)
            out = np.setdiff1d(np.arange(100), rows)
            model.fit(X[rows], target[rows]).score(X[out], target[out])

    return [
        compared(
            "paired_bootstrap_test, accuracy, 2000 draws",
            lambda: paired_bootstrap_test(y, a, b),
            indices,
            "NumPy indices",
        ),
        compared(
            "paired_bootstrap_test, squared error",
            lambda: paired_bootstrap_test(loss[0] * 0.0, *loss),
            indices,
            "NumPy indices",
        ),
        compared(
            "bootstrap_632_score, 50 samples",
            lambda: bootstrap_632_score(model, X, target, n_bootstrap=50),
            fits,
            "the fits alone",
        ),
    ]


def peer_rows(y, a, b, c):
    """What mlxtend and baycomp compute too."""
    rows, mlxtend, baycomp = [], peer("mlxtend.evaluate"), peer("baycomp")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    target = (X[:, 0] + rng.normal(size=300) > 0).astype(int)
    models = GaussianNB(), LogisticRegression()
    if mlxtend is not None:
        table = mlxtend.mcnemar_table(y, a, b)
        rows += [
            compared(
                "mcnemar_test, exact",
                lambda: mcnemar_test(y, a, b, method="exact").pvalue,
                lambda: mlxtend.mcnemar(mlxtend.mcnemar_table(y, a, b), exact=True)[1],
                "mlxtend",
                equal=lambda u, v: abs(u - v),
            ),
            compared(
                "mcnemar_test, chi2-corrected",
                lambda: mcnemar_test(y, a, b, method="chi2-corrected"),
                lambda: mlxtend.mcnemar(table, corrected=True),
                "mlxtend, table given",
                equal=gap,
            ),
            compared(
                "cochran_q_test, 3 models",
                lambda: cochran_q_test(y, a, b, c),
                lambda: mlxtend.cochrans_q(y, a, b, c),
                "mlxtend",
                equal=gap,
            ),
            compared(
                "ftest_5x2cv, 300 rows",
                lambda: ftest_5x2cv(*models, X, target, random_state=0).pvalue,
                lambda: mlxtend.combined_ftest_5x2cv(*models, X, target, random_seed=0),
                "mlxtend",
            ),
            compared(
                "bootstrap_632_score, 20 samples",
                lambda: bootstrap_632_score(models[0], X, target, n_bootstrap=20),
                lambda: mlxtend.bootstrap_point632_score(
                    models[0], X, target, n_splits=20, method=".632+"
                ),
                "mlxtend",
            ),
        ]
    if baycomp is not None:
        u, v = rng.uniform(0.7, 0.8, (2, 30))
        rows.append(
            compared(
                "bayesian_correlated_ttest, 30 scores",
                lambda: list(
                    map(
                        bayesian_correlated_ttest(
                            u, v, n_train=9, n_test=1, rope=0.01
                        ).details.get,
                        ("right", "rope", "left"),
                    )
                ),
                lambda: baycomp.two_on_single(u, v, rope=0.01, runs=3),
                "baycomp",
                equal=gap,
            )
        )
    return rows


def splits_of(X, y):
    """P-values of every test on splits and on one test set, one per table."""
    n, found = y.shape[1], {}
    rows = np.zeros(n)
    scores = accuracies(
        X, y, list(ShuffleSplit(15, test_size=1 / 3, random_state=0).split(rows))
    )
    found["resampled t, 15 x 2:1"] = stats.ttest_rel(
        *scores.swapaxes(0, 1), axis=1
    ).pvalue
    found["corrected resampled t, 15 x 2:1"] = [
        corrected_resampled_ttest(*s, n_train=2, n_test=1).pvalue for s in scores
    ]
    scores = accuracies(X, y, list(KFold(10).split(rows)))
    found["kfold_ttest, 10 folds"] = [kfold_ttest(*s).pvalue for s in scores]
    found["corrected, 10 folds"] = [
        corrected_resampled_ttest(*s, n_train=9, n_test=1).pvalue for s in scores
    ]
    five = RepeatedKFold(n_splits=5, n_repeats=5, random_state=0)
    scores = accuracies(X, y, list(five.split(rows)))
    found["corrected, 5 x 5 folds (default)"] = [
        corrected_resampled_ttest(*s, n_train=4, n_test=1).pvalue for s in scores
    ]
    half = RepeatedKFold(n_splits=2, n_repeats=5, random_state=0)
    scores = accuracies(X, y, list(half.split(rows))).reshape(-1, 2, 5, 2)
    found["ttest_5x2cv"] = [ttest_5x2cv(*s).pvalue for s in scores]
    found["ftest_5x2cv"] = [ftest_5x2cv(*s).pvalue for s in scores]
    train, test = np.arange(2 * n // 3), np.arange(2 * n // 3, n)
    right = correct(X, y, train, test).swapaxes(0, 1)
    ones = np.ones(len(test), dtype=int)
    for method in ("exact", "mid-p", "chi2", "chi2-corrected"):
        found[f"mcnemar_test, {method}"] = [
            mcnemar_test(ones, *two.astype(int), method=method).pvalue for two in right
        ]
    return found


def levels():
    """Rejections at 5 % where both models are equal, and where one is better."""
    warnings.simplefilter("ignore")
    n = pick(1000, 100)
    settings = {
        "5 + 5 columns": {"signal": 0.8},
        "10 + 10 columns": {"signal": 0.3, "n_features": 10},
        "power, 5 + 5 columns": {"signal": 0.8, "shift": 0.25},
    }
    found = {name: splits_of(*tables(n, **how)) for name, how in settings.items()}
    print(f"\nrejections at 5 % of {n} tables of 300 rows")
    print(f"{'test':34}" + "".join(f"{name:>22}" for name in settings))
    for test in found["5 + 5 columns"]:
        rates = [np.mean(np.array(found[s][test]) <= 0.05) for s in settings]
        print(f"{test:34}" + "".join(f"{rate:22.4f}" for rate in rates))


def row_levels():
    """The same for tests on rows of fitted models, and for tests on data sets."""
    n, rng, found = pick(1000, 50), np.random.default_rng(0), {}
    for _ in range(n):
        y = np.arange(200) % 2
        shared = rng.normal(size=200)
        a, b, c = (y + shared + rng.normal(size=200) for _ in range(3))
        p, q, r = (s > 0.5 for s in (a, b, c))
        table = rng.normal(size=(12, 4)) + rng.normal(size=(12, 1))
        for name, pvalue in {
            "delong_test, 200 rows": delong_test(y, a, b).pvalue,
            "cochran_q_test, 200 rows": cochran_q_test(y, p, q, r).pvalue,
            "pairwise_mcnemar, any pair": min(pairwise_mcnemar(y, p, q, r).pvalue),
            "paired_bootstrap_test, accuracy": paired_bootstrap_test(
                y, p, q, "accuracy", n_resamples=500
            ).pvalue,
            "paired_permutation_test, errors": paired_permutation_test(
                y, a, b, "neg_mean_squared_error", n_resamples=500
            ).pvalue,
            "friedman_test, 12 x 4": friedman_test(table).pvalue,
            "friedman_test, chi2": friedman_test(table, method="chi2").pvalue,
            "nemenyi_test, any pair": min(nemenyi_test(table).pvalue),
            "pairwise_wilcoxon, any pair": min(pairwise_wilcoxon(table).pvalue),
            "wilcoxon_test, 12 data sets": wilcoxon_test(
                table[:, 0], table[:, 1]
            ).pvalue,
        }.items():
            found.setdefault(name, []).append(pvalue)
    print(f"\nrejections at 5 % of {n} draws without difference")
    for name, pvalues in found.items():
        print(f"{name:34}{np.mean(np.array(pvalues) <= 0.05):10.4f}")


def estimates():
    """Errors of estimates of a score, and what a search claims of itself."""
    warnings.simplefilter("ignore")
    n, found = pick(40, 3), {}
    for seed in range(n):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
        noise = KNeighborsClassifier(1)
        for method in ("632+", "632", "oob", "bc"):
            score = bootstrap_632_score(
                noise, X, y, method=method, n_bootstrap=50, random_state=seed
            ).score
            found.setdefault(f"one neighbour, noise, {method}", []).append(score)
        folds = KFold(10, shuffle=True, random_state=seed)
        score = cross_val_score(noise, X, y, cv=folds).mean()
        found.setdefault("one neighbour, noise, 10 folds", []).append(score)
        search = GridSearchCV(
            Ridge(), {"alpha": np.logspace(-3, 3, 7)}, cv=KFold(5), scoring="r2"
        )
        nested = NestedCV(search, 5, refit=False).fit(X, rng.normal(size=60))
        found.setdefault("ridge search on noise, optimism", []).append(nested.optimism_)
    print(
        f"\nmean and standard deviation over {n} tables of 60 rows; truth .5 for noise"
    )
    for name, values in found.items():
        print(f"{name:34}{np.mean(values):8.3f}{np.std(values):8.3f}")


def tables_compared():
    """``compare_models`` beside the scores alone, on breast cancer."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    models = {"bayes": GaussianNB(), "neighbours": KNeighborsClassifier()}
    cv = RepeatedKFold(n_splits=5, n_repeats=5, random_state=0)
    row = compared(
        "compare_models, 2 models, 25 splits",
        lambda: compare_models(models, X, y, cv=cv),
        lambda: [cross_val_score(m, X, y, cv=cv) for m in models.values()],
        "cross_val_score alone",
    )
    print_table("compare_models", [row])


if __name__ == "__main__":
    run(speed, levels, row_levels, estimates, tables_compared)
