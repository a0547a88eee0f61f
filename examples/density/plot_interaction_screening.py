"""
Which items of a survey depend on each other?
=============================================

A survey of ten items is generated from a known model: who commutes, sleeps,
exercises and so on, with direct dependences between a few pairs of items. From the
responses alone we recover the graph, fill in responses that are missing, and find
questionnaires that are inconsistent. At the end three items depend on each other though
no two of them do.
"""

# %%
# A survey with a known graph
# ---------------------------
import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score

from skdiff.density import (
    InteractionGraphDisplay,
    InteractionScreening,
    InteractionScreeningCV,
    NeuralInteractionScreening,
)

rng = np.random.default_rng(0)
names = ["commutes", "owns_car", "sleeps_well", "stress", "exercises"]
names += ["smokes", "coffee", "night_work", "has_pet", "reads"]
edges = {(0, 1): 0.7, (2, 3): -0.8, (2, 4): 0.4, (4, 5): -0.5, (3, 6): 0.4}
edges |= {(2, 7): -0.5, (8, 9): 0.3}
J = np.zeros((10, 10))
for (i, j), value in edges.items():
    J[i, j] = J[j, i] = value
S = rng.choice([-1.0, 1.0], size=(4000, 10))
for _ in range(100):
    for u in range(10):
        S[:, u] = np.where(
            rng.uniform(size=4000) < 1 / (1 + np.exp(-2 * S @ J[:, u])), 1.0, -1.0
        )
survey = pd.DataFrame(np.where(S > 0, "yes", "no"), columns=names).astype(object)
train, test = survey[:3000], survey[3000:]

# %%
# The graph
# ---------
# Sleep and coffee are correlated, but only through stress: there is no edge.
model = InteractionScreening().fit(train)
print(model.interactions_.query("selected")[["columns", "coefficient"]].round(2))
print("the true graph:", bool((model.adjacency_ == (J != 0)).all()))
InteractionGraphDisplay.from_estimator(model).plot()

# %%
# Responses that are missing
# ---------------------------
holes = rng.uniform(size=test.shape) < 0.2
broken = test.mask(holes)
chosen = InteractionScreeningCV(alphas=4, cv=3).fit(train)
common = SimpleImputer(strategy="most_frequent").fit(train)
for label, filled in {
    "most frequent": common.transform(broken),
    "interactions": model.impute(broken).to_numpy(),
    f"interactions, alpha {chosen.alpha_:.2g}": chosen.impute(broken).to_numpy(),
}.items():
    right = (filled == test.to_numpy())[holes].mean()
    print(f"{label:26} {right:.3f} of hidden responses found")

# %%
# The model also learns from incomplete questionnaires.
gaps = train.mask(rng.uniform(size=train.shape) < 0.2)
partial = InteractionScreening(random_state=0).fit(gaps)
print("largest difference:", round(float(abs(partial.coef_ - model.coef_).max()), 2))

# %%
# Questionnaires that do not add up
# ---------------------------------
# Three responses of each row are replaced by those of other people. Each cell has a
# probability given the others, so the rows and the responses that stand out can be
# named.
odd = test.to_numpy().copy()
for row in odd:
    for j in rng.choice(10, 3, replace=False):
        row[j] = train.iloc[rng.integers(3000), j]
odd = pd.DataFrame(odd, columns=names)
scores = [model.conditional_log_likelihood(t).sum(axis=1) for t in (test, odd)]
auc = roc_auc_score(np.repeat([0, 1], 1000), -np.concatenate(scores))
print(f"area under the ROC curve: {auc:.2f}")

# %%
# When three columns interact
# ---------------------------
# Whether people are content depends on whether two others agree: no pair of columns
# shows it. Networks find it, and name it.
content = np.where(rng.uniform(size=4000) < 0.85, S[:, 8] * S[:, 0], -S[:, 8] * S[:, 0])
three = pd.DataFrame({"content": content, "pet": S[:, 8], "commutes": S[:, 0]})
pairs = InteractionScreening().fit(three)
networks = NeuralInteractionScreening((8,), tol=1e-6, random_state=0).fit(three)
for label, fitted in {"pairs": pairs, "networks": networks}.items():
    accuracy = (fitted.predict(three, "content") == three["content"]).mean()
    print(f"{label:10} predict {accuracy:.2f} of the column right")
print(networks.interactions_.head(1)[["columns", "order", "coefficient"]])

# %%
# New questionnaires can be drawn from the model.
print(pd.DataFrame(model.sample(3, random_state=0), columns=names).T)
