"""
Which version of a test keeps its level
=======================================

Two classifiers are equally good, and a test at 5 % should call one of them better in
one of twenty test sets. How often four versions of McNemar's test do so depends on the
number of rows on which the two classifiers disagree.
"""

# %%
# With 1000 test rows and a chance of disagreement, the counts of both kinds of
# discordant rows are drawn directly.
import matplotlib.pyplot as plt
import numpy as np

from skdiff.model_evaluation import TestResult, mcnemar_test

rng = np.random.default_rng(0)
y = np.ones(1000, dtype=int)
methods = ("mid-p", "exact", "chi2", "chi2-corrected")
sizes = (10, 20, 40, 80, 160)
rates = {method: [] for method in methods}
for size in sizes:
    pvalues = {method: [] for method in methods}
    for n10, n01, _ in rng.multinomial(
        1000, [size / 2000, size / 2000, 1 - size / 1000], 400
    ):
        a, b = y.copy(), y.copy()
        b[:n10], a[n10 : n10 + n01] = 0, 0
        for method in methods:
            result: TestResult = mcnemar_test(y, a, b, method=method)
            pvalues[method].append(result.pvalue)
    for method in methods:
        rates[method].append(np.mean(np.array(pvalues[method]) <= 0.05))

# %%
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for method, marker in zip(methods, "osv^", strict=True):
    ax.semilogx(sizes, rates[method], marker=marker, label=method)
ax.axhline(0.05, color="0.6", ls="--", lw=1)
ax.set(xlabel="rows on which the models disagree", ylabel="rejections at 5 %")
ax.legend()
