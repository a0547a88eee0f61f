"""TELLClustering: time beside k-means at equal iterations, quality on digits.

Peers: scikit-learn's KMeans and MiniBatchKMeans from the same start; the bound is the
product of rows and centres, which no assignment can do without.
"""

import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.preprocessing import normalize

from skdiff.cluster import TELLClustering

warnings.simplefilter("ignore", ConvergenceWarning)
STEPS = 20


def speed():
    """Seconds at equal iterations."""
    rows = []
    shapes = ((50_000, 20, 8), (20_000, 64, 10), (5000, 100, 50))
    for n, d, k in pick(shapes, ((3000, 20, 8),)):
        X, _ = make_blobs(n, d, centers=3 * k, cluster_std=4.0, random_state=0)
        init = X[:k].copy()
        steps = {"max_iter": STEPS, "tol": 0.0}
        ours = TELLClustering(k, normalize=False, init=init, **steps)
        unit = TELLClustering(k, init=init, **steps)
        peer = KMeans(k, init=init, n_init=1, algorithm="lloyd", **steps)
        rows_of_one, ends = normalize(X), normalize(init)
        unit_peer = KMeans(k, init=ends, n_init=1, algorithm="lloyd", **steps)

        def products(X=X, C=init):
            for _ in range(STEPS):
                X @ C.T

        best = interleaved(
            {
                "ours": lambda: ours.fit(X),
                "unit": lambda: unit.fit(X),
                "peer": lambda: peer.fit(X),
                "unit peer": lambda: unit_peer.fit(rows_of_one),
                "limit": products,
            },
            repeats=3,
        )
        assert ours.n_iter_ == peer.n_iter_
        shape = f"{n} x {d}, k={k}, {ours.n_iter_} steps"
        goal = "peer / 1.5"
        limit = best["limit"]
        scaled = limit * ours.n_iter_ / STEPS
        rows += [
            Row(shape, best["ours"], best["peer"], "KMeans", scaled, goal),
            Row(
                f"  normalize, {unit.n_iter_} steps",
                best["unit"],
                best["unit peer"] * unit.n_iter_ / unit_peer.n_iter_,
                "KMeans, scaled to as many",
                limit * unit.n_iter_ / STEPS,
                goal,
            ),
        ]
    X, _ = make_blobs(
        pick(50_000, 4000), 20, centers=24, cluster_std=4.0, random_state=0
    )
    init, size = X[:8].copy(), 1024
    batches = [X[start : start + size] for start in range(0, len(X), size)]

    def stream(model):
        def run():
            fresh = model()
            for batch in batches:
                fresh.partial_fit(batch)

        return run

    best = interleaved(
        {
            "ours": stream(
                lambda: TELLClustering(8, normalize=False, init=init, random_state=0)
            ),
            "peer": stream(
                lambda: MiniBatchKMeans(8, init=init, n_init=1, random_state=0)
            ),
        },
        repeats=3,
    )
    rows.append(
        Row(
            f"stream of {len(batches)} batches",
            best["ours"],
            best["peer"],
            "MiniBatchKMeans",
            target="peer / 1.5",
        )
    )
    print_table("TELL, 20 Lloyd steps from one start", rows)


def accuracy(y, labels):
    """Share right under the best matching."""
    table = np.zeros((10, 10))
    np.add.at(table, (y, labels), 1)
    return table[linear_sum_assignment(-table)].sum() / len(y)


def quality(seeds=3):
    """Digits, means over seeds."""
    X, y = load_digits(return_X_y=True)
    X, unit = X / 16, normalize(X)
    encoder = {
        "hidden_layer_sizes": (64, 256, 128),
        "pretrain_iter": 100,
        "max_iter": 100,
        "n_init": 10,
    }
    ways = {
        "KMeans, n_init=10": (KMeans(10, n_init=10), X),
        "KMeans on unit rows": (KMeans(10, n_init=10), unit),
        "TELL, n_init=10": (TELLClustering(10, n_init=10), X),
        "TELL, normalize=False": (TELLClustering(10, n_init=10, normalize=False), X),
        "TELL + encoder": (TELLClustering(10, **encoder), X),
        "  clustering_weight=0": (
            TELLClustering(10, clustering_weight=0.0, **encoder),
            X,
        ),
    }
    print(f"\nDigits, means over {seeds} seeds (sd of ACC)")
    print(f"{'way':24s} ACC   NMI   ARI   sd    CPU s")
    for name, (model, table) in ways.items():
        found, begin = [], time.process_time()
        for seed in range(seeds):
            labels = model.set_params(random_state=seed).fit_predict(table)
            found.append(
                (
                    accuracy(y, labels),
                    normalized_mutual_info_score(y, labels),
                    adjusted_rand_score(y, labels),
                )
            )
        spent = (time.process_time() - begin) / seeds
        means = "  ".join(f"{v:.3f}" for v in np.mean(found, axis=0))
        print(f"{name:24s} {means}  {np.std(found, axis=0)[0]:.3f}  {spent:.2f}")


if __name__ == "__main__":
    run(speed, quality)
