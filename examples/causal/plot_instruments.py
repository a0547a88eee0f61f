"""
Instruments on a stream
=======================

Shops raise prices where demand is high, so sales do not fall with the price as much as
they would for a price that is set: least squares is biased, and more rows do not help.
Costs move prices and nothing else. With costs as instruments the effect of the price is
found, week by week, in one pass over the stream.
"""

# %%
# Every week brings 200 sales. Local demand is not recorded; it raises both price and
# sales. The effect of the price on sales is -2.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression

from skdiff.causal import LinearGMMRegressor

EFFECT, rng = -2.0, np.random.default_rng(3)


def week(n=200, advertised=0.0):
    """Prices with the size of the shop, sales, and instruments with the size."""
    demand, size = rng.normal(size=n), rng.normal(size=n)
    costs = rng.normal(size=(n, 2))
    price = costs @ [0.6, 0.3] + 0.7 * demand + 0.3 * size + 0.5 * rng.normal(size=n)
    noise = demand + rng.normal(size=n) * (0.5 + 0.5 * np.abs(size))
    sales = EFFECT * price + size + 1.5 * noise + advertised * costs[:, 1]
    return np.c_[price, size], sales, np.c_[costs, size]


# %%
# ``partial_fit`` keeps sums, no rows; the estimate after any week is that of one fit on
# all rows so far.
model, seen, weeks = LinearGMMRegressor(), [], 40
path, least_squares = [], []
for _ in range(weeks):
    X, y, Z = week()
    model.partial_fit(X, y, instruments=Z)
    seen.append((X, y))
    path.append((model.coef_[0], model.coef_std_[0]))
    rows = [np.concatenate(part) for part in zip(*seen, strict=True)]
    least_squares.append(LinearRegression().fit(*rows).coef_[0])
print(model.summary_frame().round(3))
print(
    f"first-stage F {model.first_stage_f_[0]:.0f}, J p {model.j_pvalue_:.2f},", end=" "
)
print(f"endogeneity p {model.endogeneity_pvalue_:.1e}")

# %%
# In a second stream one cost is announced to customers and so has a direct effect on
# sales: it is no instrument. With more instruments than prices the J test notices.
broken, p_values, sound = LinearGMMRegressor(), [], LinearGMMRegressor()
sound_values = []
for _ in range(weeks):
    X, y, Z = week(advertised=0.15)
    p_values.append(broken.partial_fit(X, y, instruments=Z).j_pvalue_)
    X, y, Z = week()
    sound_values.append(sound.partial_fit(X, y, instruments=Z).j_pvalue_)

# %%
value, error = np.array(path).T
time = np.arange(1, weeks + 1)
figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
axes[0].axhline(EFFECT, color="0.6", label="true effect")
axes[0].plot(time, least_squares, color="#6b6b6b", ls="--", label="least squares")
axes[0].plot(time, value, color="#1f6f8b", label="two-step GMM")
band = (value - 1.96 * error, value + 1.96 * error)
axes[0].fill_between(time, *band, color="#1f6f8b", alpha=0.2, label="95 % interval")
axes[0].set(xlabel="week", ylabel="effect of the price", ylim=(-3, 0))
axes[0].legend()
axes[1].semilogy(time, sound_values, color="#1f6f8b", label="costs move prices only")
axes[1].semilogy(time, p_values, color="#d1495b", label="one cost is announced")
axes[1].axhline(0.05, color="0.6", ls=":")
axes[1].set(xlabel="week", ylabel="p-value of the J test")
_ = axes[1].legend()
