"""
Cluster centres one can look at
===============================

k-means as the last layer of an encoder: the centres live among codes and are decoded
into images. k-means on the pixels is the baseline, and not beaten.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from skdiff.cluster import TELLClustering

X, y = load_digits(return_X_y=True)
X = X / 16
model = TELLClustering(
    10,
    hidden_layer_sizes=(64, 128),
    pretrain_iter=40,
    max_iter=40,
    n_init=10,
    random_state=0,
).fit(X)
plain = KMeans(10, n_init=10, random_state=0).fit(X)
print(f"NMI, encoder and layer {normalized_mutual_info_score(y, model.labels_):.3f}")
print(f"NMI, k-means on pixels {normalized_mutual_info_score(y, plain.labels_):.3f}")

# %%
# Each column is a cluster: its decoded centre, the row nearest to it, and the mean
# of the pixels of its rows.
nearest = model.transform(X).argmin(axis=0)
means = np.stack([X[model.labels_ == j].mean(axis=0) for j in range(10)])
figure, axes = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
rows = {"decoded": model.cluster_centers_, "nearest": X[nearest], "mean": means}
for line, (name, images) in zip(axes, rows.items(), strict=True):
    for ax, image in zip(line, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="Greys", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)

# %%
# The clusters are a layer of torch, ready to be put on any network.
layer = model.to_torch_layer()
codes = torch.from_numpy(model.encode(X))
same = layer(codes).argmax(dim=1).numpy() == model.predict(X)
print("the layer agrees with predict on every row:", bool(same.all()))

# %%
# Rows that come in batches move the centres, the encoder stays.
model.partial_fit(X[:200])
print("rows each centre has seen:", model.counts_.astype(int))
