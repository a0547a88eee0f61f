"""
Can an attacker tell who was in the table?
==========================================

A synthetic table without noise gives its members away, although none of its rows is a
copy. With a guarantee the attack does no better than the guarantee allows.
"""

# %%
# Two hundred members, two hundred others of the same population, and a public sample of
# it, which the attacker has. The score of a row is large where the synthetic table has
# more rows like it than the public sample has.
import matplotlib.pyplot as plt
import numpy as np

from skdiff.synthetic import PrivateGSDSynthesizer, TableSchema, membership_report

rng = np.random.default_rng(0)
weights = [rng.normal(size=(3, k)) for k in (2, 3, 4, 5, 8, 2)]


def population(n):
    """Six columns that share three factors."""
    z = rng.normal(size=(n, 3))
    noise = [rng.gumbel(size=(n, w.shape[1])) for w in weights]
    return np.stack(
        [np.argmax(z @ w + e, axis=1) for w, e in zip(weights, noise, strict=True)],
        axis=1,
    )


members, others, public = population(200), population(200), population(2000)
schema = TableSchema({j: list(range(w.shape[1])) for j, w in enumerate(weights)})
settings = (None, 10.0, 3.0, 1.0, 0.1)
reports = []
for epsilon in settings:
    model = PrivateGSDSynthesizer(
        schema, epsilon, queries="3-way", n_synthetic=400, random_state=0
    )
    model.fit(members)
    report = membership_report(model, members, others, public)
    reports.append(report)
    print(epsilon, report)

# %%
# The advantage is the largest difference between the rate of members that are found and
# the rate of others that are taken for members. Its lower bound must stay below the
# ceiling of the guarantee; chance alone gives a positive advantage.
figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
at = np.arange(len(settings))
ax.bar(at, [r.advantage for r in reports], color="#9cc5d3", label="advantage")
lows = [max(r.advantage_low, 0) for r in reports]
ax.plot(at, lows, "o", color="#1f6f8b", label="its lower bound, 95 %")
ax.plot(at, [r.ceiling for r in reports], "_", ms=40, color="#d1495b", label="ceiling")
ax.set_xticks(at, ["no noise", *(f"epsilon {e:g}" for e in settings[1:])])
ax.set(ylim=(0, 1.05), ylabel="advantage of the attacker")
_ = ax.legend()
