"""
Which test keeps its level
==========================

Two classifiers are equally good, and a test at 5 % should call one of them better in
one of twenty tables. How often it does so depends on the test: a paired t-test on
repeated splits does in every second table.
"""

# %%
# Tables of 150 rows with two halves of columns that are equally informative. One ridge
# classifier sees the first half, the other the second. Splits are shared, so that all
# tables are fitted in one product.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import KFold, RepeatedKFold, ShuffleSplit

from skdiff.model_evaluation import (
    TestResult,
    bayesian_correlated_ttest,
    cochran_q_test,
    corrected_resampled_ttest,
    delong_test,
    ftest_5x2cv,
    kfold_ttest,
    looney_f_test,
    mcnemar_test,
    paired_bootstrap_test,
    paired_permutation_test,
    proportion_difference_test,
    score_interval,
    ttest_5x2cv,
)

warnings.simplefilter("ignore")
n_tables, n, rng = 300, 150, np.random.default_rng(0)
X = rng.normal(size=(2, n_tables, n, 4))
y = np.sign(0.8 * X.sum(axis=(0, 3)) + rng.logistic(size=(n_tables, n)))


def margins(train, test):
    """Predictions of both models, of shape (2, n_tables, n_test)."""
    A, b = X[:, :, train], y[:, train]
    At = A.swapaxes(2, 3)
    coef = np.linalg.solve(At @ A + np.eye(4), At @ b[None, :, :, None])
    return (X[:, :, test] @ coef)[..., 0]


def accuracies(splits):
    """Accuracies of shape (n_tables, 2, n_splits)."""
    found = [
        np.mean(np.sign(margins(train, test)) == y[:, test], axis=2)
        for train, test in splits
    ]
    return np.moveaxis(np.array(found), 0, 2).swapaxes(0, 1)


# %%
# Tests on splits.
rows = np.zeros(n)
random = accuracies(ShuffleSplit(15, test_size=1 / 3, random_state=0).split(rows))
folds = accuracies(KFold(10).split(rows))
halves = accuracies(RepeatedKFold(n_splits=2, n_repeats=5, random_state=0).split(rows))
pvalues = {
    "t on 15 random splits": [kfold_ttest(*s).pvalue for s in random],
    "corrected t on the same": [
        corrected_resampled_ttest(*s, n_train=2, n_test=1).pvalue for s in random
    ],
    "t on 10 folds": [kfold_ttest(*s).pvalue for s in folds],
    "5x2cv t": [ttest_5x2cv(*s.reshape(2, 5, 2)).pvalue for s in halves],
    "5x2cv F": [ftest_5x2cv(*s.reshape(2, 5, 2)).pvalue for s in halves],
}

# %%
# Tests on the rows of one test set, for the same models.
train, test = np.arange(100), np.arange(100, 150)
scores = margins(train, test).swapaxes(0, 1)
truth = y[:, test]
for method in ("mid-p", "exact"):
    pvalues[f"McNemar, {method}"] = [
        mcnemar_test(t, *np.sign(s), method=method).pvalue
        for t, s in zip(truth, scores, strict=True)
    ]
pvalues["DeLong"] = [
    delong_test(t, *s).pvalue for t, s in zip(truth, scores, strict=True)
]

# %%
rates = {name: np.mean(np.array(p) <= 0.05) for name, p in pvalues.items()}
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
place = np.arange(len(rates))[::-1]
ax.barh(place, list(rates.values()), color="#1f6f8b")
ax.axvline(0.05, color="#d1495b", ls="--", label="level")
ax.set_yticks(place, list(rates))
ax.set(xlabel="Rejections although both models are equally good")
ax.legend()

# %%
# One table: what else can be computed from its test set and its splits.
t, (a, b) = truth[0], scores[0]
labels = np.sign(a), np.sign(b)
print("accuracy", np.mean(labels[0] == t), score_interval(np.mean(labels[0] == t), 50))
for result in (
    cochran_q_test(t, *labels),
    looney_f_test(t, *labels),
    paired_permutation_test(t, *labels),
    paired_bootstrap_test(t, *labels, random_state=0),
    proportion_difference_test(*(np.mean(p == t) for p in labels), 50),
):
    print(f"{result.method:30s} p = {result.pvalue:.3f}")
posterior: TestResult = bayesian_correlated_ttest(
    *random[0], n_train=2, n_test=1, rope=0.02
)
print({name: round(posterior.details[name], 2) for name in ("left", "rope", "right")})
