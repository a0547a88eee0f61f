"""
Dimension and difficulty of tables
==================================

Tables have fewer dimensions than columns. How near rows of different labels come, and
how far the rows reach, makes a task hard in the worst case.
"""

# %%
# Four tables of scikit-learn.
import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skdiff.inspection import (
    GeneralizationDifficulty,
    generalization_difficulty,
    intrinsic_dimension,
    label_sharpness,
)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for load in (load_iris, load_wine, load_breast_cancer, load_digits):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    name = load.__name__[5:].replace("_", " ")
    dimension, std = intrinsic_dimension(X, return_std=True)
    bits: GeneralizationDifficulty = generalization_difficulty(
        X, y, 0.1, delta=1 / label_sharpness(X, y, standardize=False, quantile=0.9)
    )
    error = 1 - cross_val_score(KNeighborsClassifier(1), X, y).mean()
    axes[0].errorbar(X.shape[1], dimension, 2 * std, fmt="o", capsize=3, label=name)
    axes[1].plot(max(bits.log10_bits, 0), error, "o", label=name)
    print(f"{name:14s} {dimension:4.1f} of {X.shape[1]} dimensions")
axes[0].axline((4, 4), slope=1, color="0.7", lw=1)
axes[0].set(xlabel="columns", ylabel="intrinsic dimension", ylim=(0, 12))
axes[1].set(xlabel="log10 of the bits", ylabel="error of the nearest row")
_ = axes[1].legend()
