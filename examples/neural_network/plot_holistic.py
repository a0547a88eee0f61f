"""
The worst mean of a batch
=========================

A mean of losses trusts every row. The holistic robust loss replaces it by the worst
mean when some rows are poisoned and the distribution is only near the one of the rows.
Its closed form costs one sort.
"""

# %%
# Losses of 200 rows. Poisoning moves mass from the smallest losses to the largest; a
# radius tilts the weights of all rows. The result is a HolisticLoss: value and weights.
import matplotlib.pyplot as plt
import numpy as np
import torch

from skdiff.metrics import holistic_robust_loss
from skdiff.neural_network import HolisticRobustLoss

losses = np.sort(np.random.default_rng(0).exponential(size=200))
settings = [(0.0, 0.0), (0.0, 0.05), (0.05, 0.0), (0.05, 0.05)]
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
for poisoning, radius in settings:
    found = holistic_robust_loss(losses, poisoning=poisoning, statistical_radius=radius)
    label = f"poisoning {poisoning}, radius {radius}: {found.value:.2f}"
    axes[0].semilogy(losses, np.maximum(found.weights, 1e-5), ".-", ms=3, label=label)
axes[0].set(xlabel="loss of the row", ylabel="worst-case weight")
axes[0].legend(fontsize=8)

# %%
# In a torch loop it takes the place of ``mean()``. A linear network on rows of which a
# tenth has a wrong label: the value reported at the end bounds the loss on clean rows,
# and the mean loss on them is larger than that of the usual training.
rng = np.random.default_rng(1)
X = torch.from_numpy(rng.normal(size=(1300, 10)))
y = (X @ torch.from_numpy(rng.normal(size=10)) > 0).double()
train, test = slice(0, 300), slice(300, 1300)
target = y[train].clone()
wrong = torch.from_numpy(rng.random(300) < 0.1)
target[wrong] = 1 - target[wrong]


def rows_of(net, X, y):
    """Log losses of the rows."""
    return torch.nn.functional.binary_cross_entropy_with_logits(
        net(X)[:, 0], y, reduction="none"
    )


values, clean = [], []
radii = [0.0, 0.003, 0.01, 0.03, 0.1]
for radius in radii:
    torch.manual_seed(0)
    net = torch.nn.Linear(10, 1).double()
    loss = HolisticRobustLoss(poisoning=0.0, statistical_radius=radius)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(rows_of(net, X[train], target))
        value.backward()
        optimizer.step()
    values.append(value.item())
    clean.append(rows_of(net, X[test], y[test]).mean().item())
print("holistic loss of the training rows", np.round(values, 3))
print("mean loss of clean test rows      ", np.round(clean, 3))
axes[1].plot(radii, values, "o-", color="#1f6f8b", label="holistic, training rows")
axes[1].plot(radii, clean, "o-", color="#d1495b", label="mean, clean test rows")
axes[1].set_xscale("symlog", linthresh=0.003)
axes[1].set(xlabel="statistical radius", ylabel="loss")
_ = axes[1].legend()
