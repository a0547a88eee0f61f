"""
Which columns carry information, and how sure that is
=====================================================

Mutual information sees relations of any shape. With 178 rows an estimate needs an
interval, and a test needs a correction for thirteen columns.
"""

# %%
# The chemical analysis of wines from three cultivars.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.feature_selection import SelectKBest, mutual_info_regression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import (
    MutualInformationDisplay,
    MutualInformationEstimator,
    MutualInformationSelector,
    learned_mutual_info,
    mutual_information,
)

X, y = load_wine(return_X_y=True, as_frame=True)
model = MutualInformationEstimator(random_state=0).fit(X, y)
_ = MutualInformationDisplay.from_estimator(model).plot()

# %%
# A relation that no correlation sees, from 60 rows: the estimate with its interval, and
# the distribution of both estimates over 40 samples. The truth is known, as y is
# uniform on a circle given x: ln(2 / 1.2) = .51 nats.
rng = np.random.default_rng(0)


def sample(n):
    x, e = rng.uniform(size=n), rng.uniform(-0.6, 0.6, size=n)
    return x, (2 * x + e) % 2


x, z = sample(60)
low, middle, high = mutual_information(x, z, quantiles=[0.05, 0.5, 0.95])
print(f"{middle:.2f} nats, 90 % interval {low:.2f} to {high:.2f}")
found = []
for _ in range(40):
    x, z = sample(60)
    found.append(
        [
            mutual_information(x, z),
            mutual_info_regression(x[:, None], z, random_state=0)[0],
        ]
    )
figure, ax = plt.subplots(layout="constrained", figsize=(6, 2.6))
ax.boxplot(np.array(found), orientation="horizontal", widths=0.6)
ax.set_yticks([1, 2], ["learned", "scikit-learn"])
ax.axvline(np.log(2 / 1.2), color="#d1495b", label="truth")
ax.set_xlabel("mutual information (nats)")
_ = ax.legend()

# %%
# Forty useless columns harm nearest neighbours; the selector removes them.
X = np.hstack([X, rng.standard_normal((len(X), 40))])
for name, step in {
    "all columns": "passthrough",
    "selected": MutualInformationSelector(n_permutations=100, random_state=0),
    "best eight": SelectKBest(learned_mutual_info, k=8),
}.items():
    steps = make_pipeline(StandardScaler(), step, KNeighborsClassifier(10))
    print(f"{name:12s} {cross_val_score(steps, X, y).mean():.3f}")
