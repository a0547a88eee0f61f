"""
How much a model family has to know beside the data
===================================================

Among all functions of a family that fit the training rows, how rare is one with a small
test error? The rarer, the more has to come from elsewhere.
"""

# %%
# Three spaces on one split of the breast cancer data: two Gaussian processes, whose
# law of the error is exact, and small networks from 20 seeds.
from sklearn.datasets import load_breast_cancer
from sklearn.gaussian_process.kernels import RBF
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import InductiveBiasDisplay, InductiveBiasEstimator

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)[:300]
y = y[:300]
how = {"noise": 0.1, "random_state": 0, "n_hypotheses": 20}
models = {
    "wide kernel": InductiveBiasEstimator(RBF(8.0), **how).fit(X, y),
    "narrow kernel": InductiveBiasEstimator(RBF(2.0), **how).fit(X, y),
    "networks": InductiveBiasEstimator(
        MLPClassifier(8, solver="lbfgs", max_iter=100), **how
    ).fit(X, y),
}
for name, model in models.items():
    print(f"{name:14s} mean error {model.mean_error_:.3f}, exact: {model.exact_}")

# %%
# The nats that each needs for a test error. Dotted parts rest on the model of the tail.
display = InductiveBiasDisplay.from_estimator(models).plot()
_ = display.ax_.set_ylim(0, 40)
