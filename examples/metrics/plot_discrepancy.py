"""
Comparing a simulator with data from few runs
=============================================

A simulator turns random inputs into rows. Where its inputs are known, weights on the
runs stand for the whole distribution of the inputs.
"""

# %%
# Error of the squared discrepancy over the number of runs, 20 repetitions.
import matplotlib.pyplot as plt
import numpy as np

from skdiff.metrics import mmd, optimally_weighted_mmd, shape_distance

rng = np.random.default_rng(0)


def simulate(z):
    return np.stack([z[:, 0] + z[:, 1] ** 2 / 2, np.tanh(z[:, 1])], axis=1)


data = simulate(rng.standard_normal((800, 2))) + 0.3
truth = mmd(
    simulate(rng.standard_normal((4000, 2))), data, bandwidth=1.0, estimator="v"
)
runs, errors = [20, 40, 80, 160], []
for m in runs:
    found = []
    for _ in range(20):
        z = rng.standard_normal((m, 2))
        found.append(
            [
                mmd(simulate(z), data, bandwidth=1.0, estimator="v"),
                optimally_weighted_mmd(
                    simulate(z), z, data, u_distribution="normal", bandwidth=1.0
                ),
            ]
        )
    errors.append(np.sqrt(((np.array(found) - truth) ** 2).mean(axis=0)))
figure, ax = plt.subplots(layout="constrained")
for values, name in zip(np.transpose(errors), ("equal", "optimal"), strict=True):
    ax.loglog(runs, values, "o-", label=f"{name} weights")
ax.set(xlabel="runs of the simulator", ylabel="error of the squared discrepancy")
_ = ax.legend()

# %%
# Two representations of the same rows: a rotation changes nothing, noise does.
X = rng.standard_normal((200, 5))
turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
for noise in (0.0, 0.5, 1.0):
    Y = X @ turn + noise * rng.standard_normal(X.shape)
    print(f"noise {noise}: angle {shape_distance(X, Y):.2f}")
