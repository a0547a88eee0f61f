"""
A searched network: what was found, why, and how to use it again
================================================================

A search of a network's wiring ends with a description of it and with evidence: mixing
weights, what each operation is worth, a race of candidates, and a comparison with a
standard network. All of it can be read, and the description can be used again.
"""

# %%
# The rows are handwritten digits, halved in size to 4 by 4 pixels.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdiff.architecture_search import (
    Architecture,
    ArchitectureDisplay,
    ArchitectureSearchClassifier,
)

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=700, stratify=y, random_state=0
)
model = ArchitectureSearchClassifier(
    width=16, search_max_iter=10, max_iter=24, random_state=0
)
model.fit(X_train, y_train)
print(model.architecture_)
print(f"test accuracy {model.score(X_test, y_test):.3f}, {model.n_params_} numbers")
print(f"validation: searched {model.searched_score_:.3f}", end=", ")
print(f"standard network {model.baseline_score_:.3f}")

# %%
# Above left: the wiring. Above right: the weights of the mixture, nearly uniform,
# which is why they alone do not decide. Below left: by how much the validation loss
# grows when an operation is removed. Below right: the race.
figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
display = ArchitectureDisplay.from_estimator(model)
display.plot(ax=axes[0, 0])
display.plot_weights(ax=axes[0, 1])
display.plot_weights("scores", ax=axes[1, 0])
_ = display.plot_race(ax=axes[1, 1])

# %%
# The description is one line of JSON. With it the search is skipped: the same rows and
# seed give the same network, other rows train the same wiring. A wiring written by hand
# is trained in the same way.
text = model.architecture_.to_json()
print(text)
again = ArchitectureSearchClassifier(architecture=text, max_iter=24, random_state=0)
again.fit(X_train, y_train)
print((again.predict(X_test) == model.predict(X_test)).all())
by_hand = Architecture(
    nodes=(((0, "relu"),), ((1, "relu"),), ((0, "skip"), (2, "relu"))),
    widths=(16, 16, 16, 16),
)
again.set_params(architecture=by_hand).fit(X_train, y_train)
print(f"a wiring by hand: {again.score(X_test, y_test):.3f}")

# %%
# The other space is a grid of layers, widths and operations, whose best path is found;
# here for a number, on a made data set.
from sklearn.datasets import make_friedman1

from skdiff.architecture_search import ArchitectureSearchRegressor

X, y = make_friedman1(600, noise=1.0, random_state=0)
chain = ArchitectureSearchRegressor(
    space="hypercuboid",
    width=16,
    n_nodes=2,
    search_max_iter=6,
    max_iter=40,
    random_state=0,
)
chain.fit(X[:400], y[:400])
print(chain.searched_architecture_)
print(f"R2 {chain.score(X[400:], y[400:]):.3f}; trained: {chain.architecture_.space}")
