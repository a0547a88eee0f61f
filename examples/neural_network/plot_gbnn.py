"""
A network of the size you need
==============================

Boosting grows a network with one hidden layer, one unit per step. After one fit the
network of every smaller size is at hand: look at the held-out loss of all of them, keep
the one you want, and hand it on as a network of scikit-learn.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split

from skdiff.neural_network import GBNNClassifier, GBNNRegressor

X, y = load_diabetes(return_X_y=True)
A, B, a, b = train_test_split(X, y, random_state=0)

figure, left = plt.subplots(figsize=(6, 3.8), layout="constrained")
for rate, color in ((0.1, "#1f6f8b"), (1.0, "#d1495b")):
    model = GBNNRegressor(n_hidden=100, learning_rate=rate, random_state=0).fit(A, a)
    held = [root_mean_squared_error(b, p) for p in model.staged_predict(B)]
    left.plot(held, color=color, label=f"GBNN, learning rate {rate}")
    print(
        f"learning rate {rate}: best RMSE {min(held):.1f} with "
        f"{np.argmin(held) + 1} units, {held[-1]:.1f} with 100"
    )
trees = GradientBoostingRegressor(random_state=0).fit(A, a)
held = [root_mean_squared_error(b, p) for p in trees.staged_predict(B)]
left.plot(held, color="0.5", ls="--", label="boosted trees")
left.set(xlabel="hidden units (or trees)", ylabel="test RMSE", ylim=(50, 90))
left.set_title("diabetes")
left.legend(frameon=False)

# %%
# The authors' package takes whole steps, which overfits regressions at once; shrinkage
# mends that. For labels a held-out part can stop the growth.
X, y = load_breast_cancer(return_X_y=True)
A, B, a, b = train_test_split(X, y, random_state=0)
full = GBNNClassifier(n_hidden=100, random_state=0).fit(A, a)
held = [log_loss(b, p) for p in full.staged_predict_proba(B)]
figure, right = plt.subplots(figsize=(6, 3.8), layout="constrained")
right.plot(full.train_score_, color="#9cc5d3", label="training rows")
right.plot(held, color="#1f6f8b", label="test rows")
right.set(xlabel="hidden units", ylabel="log loss", title="breast cancer")
stopped = GBNNClassifier(n_hidden=100, n_iter_no_change=10, random_state=0).fit(A, a)
right.axvline(stopped.n_iter_, color="#d1495b", ls=":", label="stopped early")
right.legend(frameon=False)
print(
    f"stopped at {stopped.n_iter_} units: accuracy {stopped.score(B, b):.3f}, "
    f"all 100: {full.score(B, b):.3f}"
)

# %%
# A pruned network is a model of its own, and a network of scikit-learn predicts the
# same.
small = full.prune(15)
mlp = small.to_mlp()
gap = np.abs(mlp.predict_proba(B) - small.predict_proba(B)).max()
print(f"15 units: accuracy {small.score(B, b):.3f}; exported {mlp}")
print(f"largest difference of a probability: {gap:.1e}")
