"""SparseBayesianMLPClassifier and SparseBayesianMLPRegressor: budget, cost, size.

Against a static random mask, plain variational inference in torch (every weight a
normal, one draw an output), and scikit-learn's network.
"""

import pickle
import sys
import warnings
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from skdiff.neural_network import (
    SparseBayesianMLPClassifier,
    SparseBayesianMLPRegressor,
)

warnings.simplefilter("ignore")
torch.set_num_threads(1)
EPOCHS, SIZES = 60, pick((200, 200), (20, 20))


class DenseVariational(nn.Module):
    """Plain mean-field inference as a torch user writes it: the peer."""

    def __init__(self, sizes):
        super().__init__()
        self.mu, self.rho, self.bias = (nn.ParameterList() for _ in range(3))
        for n_in, n_out in pairwise(sizes):
            self.mu.append(torch.randn(n_out, n_in) * (2 / n_in) ** 0.5)
            self.rho.append(torch.full((n_out, n_in), -3.9))
            self.bias.append(torch.zeros(n_out))

    def forward(self, X):
        for k, (mu, rho, b) in enumerate(
            zip(self.mu, self.rho, self.bias, strict=True)
        ):
            variance = F.linear(X**2, F.softplus(rho) ** 2) + 1e-8
            X = F.linear(X, mu, b)
            X = X + variance.sqrt() * torch.randn_like(X)
            if k < len(self.mu) - 1:
                X = torch.relu(X)
        return X

    def kl(self, prior=0.3):
        total = 0.0
        for mu, rho in zip(self.mu, self.rho, strict=True):
            sigma = F.softplus(rho)
            total = (
                total
                + (
                    torch.log(prior / sigma) + (sigma**2 + mu**2) / (2 * prior**2) - 0.5
                ).sum()
            )
        return total


def dense_fit(X, y, epochs):
    """Train the peer on the same schedule."""
    torch.manual_seed(0)
    model = DenseVariational([X.shape[1], *SIZES, 10])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    for epoch in range(epochs):
        share = 0.1 * min(1, 2 * (epoch + 1) / epochs) / len(X)
        for rows in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(X[rows]), y[rows]) + share * model.kl()
            loss.backward()
            optimizer.step()
    return model


def dense_proba(model, X, n_samples=30):
    """Average of the peer over noisy passes."""
    with torch.no_grad():
        X = torch.from_numpy(X)
        return sum(F.softmax(model(X), 1) for _ in range(n_samples)).numpy() / n_samples


def digits():
    """The split of the acceptance figures."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return train_test_split(X, y, test_size=0.3, random_state=0)


def quality():
    """Accuracy and log loss by budget."""
    X, X_test, y, y_test = digits()
    print("\nDigits, accuracy, log loss, bytes of the fitted state")

    def show(name, proba, size):
        score = (proba.argmax(1) == y_test).mean()
        print(f"{name:<26}{score:8.4f}{log_loss(y_test, proba):8.3f}{size:>10}")

    for density in (0.1, 0.05, 0.02):
        for fraction in (0.3, 0.0):
            model = SparseBayesianMLPClassifier(
                density=density,
                update_fraction=fraction,
                max_iter=EPOCHS,
                random_state=0,
            ).fit(X, y)
            name = "SSVI" if fraction else "static mask"
            size = len(pickle.dumps(model._state))
            show(f"{name} {density:.0%}", model.predict_proba(X_test), size)
    dense = SparseBayesianMLPClassifier(density=1.0, max_iter=EPOCHS, random_state=0)
    size = len(pickle.dumps(dense.fit(X, y)._state))
    show("SSVI 100 %", dense.predict_proba(X_test), size)
    peer = dense_fit(X, y, EPOCHS)
    size = sum(p.numel() for p in peer.parameters()) * 4
    show("torch, dense", dense_proba(peer, X_test), size)
    plain = MLPClassifier(SIZES, max_iter=EPOCHS, random_state=0).fit(X, y)
    size = len(pickle.dumps(plain))
    show("MLPClassifier", plain.predict_proba(X_test), size)


def intervals():
    """Coverage, width and error on diabetes, beside a Gaussian process."""
    X, y = load_diabetes(return_X_y=True)
    print("\nDiabetes, five splits: RMSE, coverage and width of 90 % intervals")
    kernel = RBF(5.0) + WhiteKernel(0.5)
    results = {"SparseBayesianMLPRegressor": [], "GaussianProcessRegressor": []}
    for seed in range(5):
        A, B, yA, yB = train_test_split(X, y, test_size=0.3, random_state=seed)
        scaler = StandardScaler().fit(A)
        A, B = scaler.transform(A), scaler.transform(B)
        ours = SparseBayesianMLPRegressor((50,), max_iter=60, random_state=0).fit(A, yA)
        bounds, mean = ours.predict_interval(B, 0.9), ours.predict(B)
        peer = GaussianProcessRegressor(kernel, normalize_y=True).fit(A, yA)
        other, std = peer.predict(B, return_std=True)
        reach = 1.645 * std
        for name, centre, low, high in (
            ("SparseBayesianMLPRegressor", mean, *bounds.T),
            ("GaussianProcessRegressor", other, other - reach, other + reach),
        ):
            inside = ((low <= yB) & (yB <= high)).mean()
            rmse = np.sqrt(np.mean((centre - yB) ** 2))
            results[name].append((rmse, inside, (high - low).mean()))
    for name, values in results.items():
        print(f"{name:<28}" + "".join(f"{v:9.3f}" for v in np.mean(values, axis=0)))


def rare():
    """Expected log loss where one row in a hundred is positive, 1000 rows, 3 draws."""
    print("\nOne event in a hundred: expected log loss on 20 000 rows")
    for seed in range(pick(3, 1)):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(21_000, 5))
        p = 1 / (1 + np.exp(5.2 - X @ [1, -0.5, 0.5, 0, 0]))
        y = rng.random(21_000) < p
        A, yA, B, pB = X[:1000], y[:1000], X[1000:], p[1000:]
        rivals = {"base rate": np.full(len(B), yA.mean())}
        models = {
            "logistic": LogisticRegression(),
            "SSVI": SparseBayesianMLPClassifier(random_state=0),
            "SSVI, kl_weight=1": SparseBayesianMLPClassifier(
                kl_weight=1.0, random_state=0
            ),
        }
        for name, model in models.items():
            rivals[name] = model.fit(A, yA).predict_proba(B)[:, 1]
        for name, q in rivals.items():
            loss = -np.mean(pB * np.log(q) + (1 - pB) * np.log1p(-q))
            print(f"{seed}  {name:<20}{loss:.4f}")


def costs():
    """Training against dense inference, prediction by sparse products."""
    X, _, y, _ = digits()

    def ours(density):
        model = SparseBayesianMLPClassifier(
            SIZES, density=density, max_iter=pick(5, 2), random_state=0
        )
        return lambda: model.fit(X, y)

    best = interleaved(
        {
            "5 %": ours(0.05),
            "100 %": ours(1.0),
            "torch": lambda: dense_fit(X, y, pick(5, 2)),
        }
    )
    rows = [
        Row(
            f"fit, {pick(5, 2)} epochs, {d}",
            best[d],
            best["torch"],
            "dense inference in torch",
        )
        for d in ("5 %", "100 %")
    ]
    rng = np.random.default_rng(0)
    size = pick(1000, 100)
    Z = rng.normal(size=(2 * size, size))
    W = rng.normal(size=(size, size))
    for density in (0.02, 0.05, 0.1):
        from scipy import sparse

        S = sparse.csr_matrix(W * (rng.random(W.shape) < density))
        both = interleaved(
            {"csr": lambda S=S: S @ Z.T, "dense": lambda: Z @ W.T}, repeats=3
        )
        rows.append(
            Row(
                f"{size} x {size} layer, {density:.0%} as CSR",
                both["csr"],
                both["dense"],
                "dense product",
            )
        )
    print_table("Cost of the budget", rows, "torch")


if __name__ == "__main__":
    run(costs, quality, intervals, rare)
