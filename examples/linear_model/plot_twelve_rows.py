"""
Which head for twelve labelled rows
===================================

Twelve rows have labels; what should be put on top of the columns? Regressors are
compared by the log density and the coverage of their intervals on other rows,
classifiers by their log loss.
"""

# %%
# Regression: twelve patients of the diabetes data, six standardised columns.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from skdiff.linear_model import BayesianLinearMixture, InContextLinearRegressor
from skdiff.naive_bayes import TiedGaussianNB, TwoRegimeClassifier

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X[:, [2, 3, 4, 6, 8, 9]])
kernel = ConstantKernel() * RBF(np.ones(1)) + WhiteKernel()
heads = {
    "in context": InContextLinearRegressor(),
    "mixture": BayesianLinearMixture(),
    "BayesianRidge": BayesianRidge(),
    "Gaussian process": GaussianProcessRegressor(kernel, normalize_y=True),
}
rng, density, coverage = np.random.default_rng(0), {}, {}
draws = [rng.permutation(len(y)) for _ in range(15)]
for name, head in heads.items():
    logs, inside = [], []
    for rows in draws:
        train, test = rows[:12], rows[-100:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a Gaussian process at its bounds
            head.fit(X[train], y[train])
        mean, std = head.predict(X[test], return_std=True)
        if hasattr(head, "log_prob"):
            logs.append(head.log_prob(X[test], y[test]).mean())
            low, high = head.predict_quantiles(X[test], [0.05, 0.95]).T
        else:
            logs.append(norm.logpdf(y[test], mean, std).mean())
            low, high = mean - 1.645 * std, mean + 1.645 * std
        inside.append(np.mean((low < y[test]) & (y[test] < high)))
    density[name], coverage[name] = np.mean(logs), np.mean(inside)
    print(f"{name:17s} log density {density[name]:7.2f}", end=" ")
    print(f"(median {np.median(logs):.2f}), coverage of 90 % {coverage[name]:.2f}")

# %%
# Classification: twelve rows of breast cancer, ten principal components.
P, labels = load_breast_cancer(return_X_y=True)
P = PCA(10, whiten=True).fit_transform(StandardScaler().fit_transform(P))
classifiers = {
    "two regimes": TwoRegimeClassifier(cv=3, random_state=0),
    "naive Bayes": TiedGaussianNB(),
    "logistic": LogisticRegression(),
}
loss = {name: [] for name in classifiers}
for seed in range(15):
    rng = np.random.default_rng(seed)
    train = [rng.choice(np.flatnonzero(labels == k), 6, replace=False) for k in (0, 1)]
    train = np.concatenate(train)
    test = np.setdiff1d(np.arange(len(labels)), train)
    for name, model in classifiers.items():
        p = model.fit(P[train], labels[train]).predict_proba(P[test])
        loss[name].append(log_loss(labels[test], p))
loss = {name: np.mean(values) for name, values in loss.items()}
print({name: round(float(value), 3) for name, value in loss.items()})

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for ax, values, title in (
    (axes[0], {k: -v for k, v in density.items()}, "regression: minus log density"),
    (axes[1], coverage, "regression: coverage of 90 %"),
    (axes[2], loss, "classification: log loss"),
):
    ax.barh(list(values), list(values.values()), color="#1f6f8b")
    ax.set_title(title, fontsize=10)
    ax.invert_yaxis()
axes[0].set_xlim(5, 8)
_ = axes[1].axvline(0.9, color="#d1495b")
