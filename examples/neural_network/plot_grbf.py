"""
The few directions a table varies in
====================================

A network of Gaussian bases learns one precision matrix for all its bumps. Its leading
eigenvectors are the directions in which the target varies: a ranking of the columns and
a projection of the table come with the prediction.
"""

# %%
# One direction among twelve columns
# ----------------------------------
# The target is a wave along one direction that mixes three of the columns. Linear
# regression sees little of it, and the variance of the columns nothing. Both penalties
# are given here; by default they are chosen on the data, which takes longer.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.neural_network import (
    ActiveSubspaceTransformer,
    GRBFClassifier,
    GRBFRegressor,
)

rng = np.random.default_rng(0)
direction = np.zeros(12)
direction[:3] = [1, -2, 1.5]
direction /= np.linalg.norm(direction)
X = rng.normal(size=(500, 12))
y = np.sin(2 * X @ direction) + 0.1 * rng.normal(size=500)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

model = GRBFRegressor(alpha_precision=0.01, alpha_weights=1e-3, random_state=0)
model.fit(X_train, y_train)
linear = LinearRegression().fit(X_train, y_train)
print(f"R2: radial bases {model.score(X_test, y_test):.3f}", end=", ")
print(f"linear regression {linear.score(X_test, y_test):.3f}")
print(f"cosine with the true direction: {abs(model.components_[0] @ direction):.4f}")

figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(11, 3.4), layout="constrained"
)
left.bar(range(12), model.explained_precision_ratio_, color="#1f6f8b")
left.set(xlabel="direction", ylabel="share of the precision", title="one direction")
middle.bar(range(12), model.feature_importances_, color="#1f6f8b")
middle.set(xlabel="column", ylabel="importance", title="three columns")
along = model.transform(X_test, n_components=1)[:, 0]
order = np.argsort(along)
right.scatter(along, y_test, s=6, color="0.7", label="rows")
right.plot(along[order], model.predict(X_test)[order], color="#d1495b", label="model")
right.set(xlabel="first direction", ylabel="target", title="all there is to see")
right.legend(frameon=False)

# %%
# Slopes
# ------
# The slope of the model at any row, in the units of the columns; it never leaves the
# span of the directions.
slopes = model.gradient(X_test)
cosine = np.abs(slopes @ direction) / np.linalg.norm(slopes, axis=1)
print(f"median cosine of the slopes with the direction: {np.median(cosine):.4f}")

# %%
# A supervised projection of the digits
# -------------------------------------
# :class:`~skdiff.neural_network.ActiveSubspaceTransformer` is the projection as a step
# of a pipeline. For a plot, give the precision matrix no more than two directions to
# use: all it learns is then in sight.
digits, labels = load_digits(return_X_y=True)
A, B, a, b = train_test_split(digits, labels, train_size=800, random_state=0)
ways = {
    "principal components": PCA(2, random_state=0),
    "active subspace": ActiveSubspaceTransformer(
        GRBFClassifier(rank=2, n_init=1), n_components=2, random_state=0
    ),
}
figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, (name, way) in zip(axes, ways.items(), strict=True):
    pipeline = make_pipeline(StandardScaler(), way, KNeighborsClassifier(8))
    score = pipeline.fit(A, a).score(B, b)
    Z = pipeline[:-1].transform(B)
    points = ax.scatter(*Z.T, c=b, s=6, cmap="tab10")
    ax.set(title=f"{name}: neighbours {score:.2f}", xticks=[], yticks=[])
    print(f"{name}: accuracy of neighbours in two dimensions {score:.3f}")
figure.colorbar(points, ax=axes, label="digit", ticks=range(10))
