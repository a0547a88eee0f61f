"""
Embeddings whose sizes are learned
==================================

A table of journeys between many stations, few of which see most of the traffic. How
many numbers does a frequent station deserve, and how many a rare one? They are learned,
and the vectors then serve boosted trees in a pipeline.
"""

# %%
# What a pair of stations does to the delay has more dimensions the busier they are.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from skdiff.architecture_search import MixedEmbeddingEncoder, MixedEmbeddingRegressor

rng = np.random.default_rng(0)
n, n_stations = 8000, 200
dims = np.repeat([8, 2, 0], [20, 60, 120])
vectors = rng.normal(0, 0.6, (2, n_stations, 8)) * (np.arange(8) < dims[:, None])
share = np.arange(1, n_stations + 1.0) ** -1.0
start, end = rng.choice(n_stations, (2, n), p=share / share.sum())
hour = rng.uniform(0, 24, n)
rows = (vectors[0][start] * vectors[1][end]).sum(axis=1)
delay = rows + np.sin(hour * np.pi / 12) + 0.5 * rng.normal(size=n)
X = pd.DataFrame(
    {"start": pd.Categorical(start), "end": pd.Categorical(end), "hour": hour}
)
train, test = slice(0, 6000), slice(6000, None)

# %%
# A quarter of the numbers is allowed. Left: what each block got, the busiest stations
# first. Right: the selection, a weight for each dimension of each block, which moves on
# validation rows.
model = MixedEmbeddingRegressor(
    interaction="deepfm",
    max_embedding_dim=8,
    keep_fraction=0.25,
    search_max_iter=8,
    random_state=0,
)
model.fit(X[train], delay[train])
uniform = MixedEmbeddingRegressor(
    interaction="deepfm",
    max_embedding_dim=2,
    n_frequency_blocks=1,
    keep_fraction=1.0,
    random_state=0,
)
uniform.fit(X[train], delay[train])
for name, one in (("learned sizes", model), ("uniform size 2", uniform)):
    score = one.score(X[test], delay[test])
    print(f"{name}: {one.n_embedding_params_} numbers, test R2 {score:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for offset, column in ((-0.2, "start"), (0.2, "end")):
    sizes = model.embedding_sizes_[column]
    left.bar(np.arange(len(sizes)) + offset, sizes, width=0.4, label=column)
left.set(xlabel="block, busiest first", ylabel="numbers per station")
left.legend()
shown = right.imshow(model.selection_, vmin=0, vmax=1, aspect="auto")
right.set(xlabel="dimension", ylabel="block (start, then end)")
_ = figure.colorbar(shown, label="selection")

# %%
# For classes there is ``MixedEmbeddingClassifier``. The vectors also serve in a
# pipeline, before boosted trees, beside one number per station and one
# column per station.
columns = ["start", "end"]
encoders = {
    "MixedEmbeddingEncoder": MixedEmbeddingEncoder(
        interaction="deepfm",
        max_embedding_dim=8,
        keep_fraction=0.25,
        search_max_iter=8,
        random_state=0,
    ),
    "TargetEncoder": TargetEncoder(),
    "OneHotEncoder": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
}
for name, encoder in encoders.items():
    table = make_column_transformer((encoder, columns), remainder=StandardScaler())
    pipeline = make_pipeline(
        table, HistGradientBoostingRegressor(max_iter=50, random_state=0)
    )
    pipeline.fit(X[train], delay[train])
    print(f"{name:22} test R2 {pipeline.score(X[test], delay[test]):.3f}", end=", ")
    print(f"{len(pipeline[0].get_feature_names_out())} columns")
