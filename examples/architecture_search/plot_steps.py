"""
Three rules of architecture search on a problem with a known solution
=====================================================================

A search moves an architecture parameter a by a validation loss while the weights w
follow a training loss. On the model of the RARTS paper the optimum of both levels is
a = w = 1, and it can be seen where each rule ends.
"""

# %%
# The training loss is least at w = a; there the validation loss is (a - 1)², least at
# a = 1. A rule that takes w as constant does not see that w follows a.
import matplotlib.pyplot as plt
import numpy as np

from skdiff.architecture_search import cosine_power, darts_step, rarts_step


def Lt(w, a):
    return (w - a) ** 2


def Lv(w, a):
    return a * w - 2 * a + 1


paths = {}
for name, unroll in (("DARTS, order 1", 0.0), ("DARTS, order 2", 0.5)):
    w, a = -2.0, 2.0
    path = [a]
    for _ in range(600):
        w, a = darts_step(w, a, Lt, Lv, step_w=0.05, step_a=0.05, unroll=unroll)
        path.append(a)
    paths[name] = path
for strength in (3, 20):
    w, v, a = -2.0, -2.0, 2.0
    path = [a]
    for _ in range(600):
        w, v, a = rarts_step(
            w,
            v,
            a,
            Lt,
            Lv,
            step_w=0.3 / strength,
            step_v=0.3 / strength,
            step_a=0.3 / strength,
            train_weight=strength,
            penalty=strength,
        )
        path.append(a)
    paths[f"RARTS, weights {strength}"] = path
for name, path in paths.items():
    print(f"{name}: a ends at {path[-1]:.4f}")

# %%
# Left: order 1 ends at 2, twice the optimum. Order 2 ends at the optimum with an
# unrolled step of exactly one half, and RARTS near it, the nearer the larger its two
# weights, without a second derivative. Right: the learning rate of sharpDARTS.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for (name, path), color in zip(
    paths.items(), ("#6b6b6b", "#1f6f8b", "#9cc5d3", "#d1495b"), strict=True
):
    axes[0].plot(path, color=color, label=name)
axes[0].axhline(1, color="black", lw=0.8, ls=":")
axes[0].set(xscale="log", xlabel="step", ylabel="architecture parameter a")
axes[0].legend()
t = np.linspace(0, 30, 200)
for power, color in zip((1, 2, 10), ("#6b6b6b", "#1f6f8b", "#d1495b"), strict=True):
    rate = cosine_power(t, 30, lr_max=0.025, lr_min=0.001, power=power)
    axes[1].plot(t, rate, color=color, label=f"power {power}")
axes[1].set(xlabel="epoch", ylabel="learning rate")
_ = axes[1].legend()
