"""Row selection: norms of gradients, datamodels and influence against simple loops.

Gradient norms against one backward pass per row; the linear datamodels of 100 targets
against one lasso path per target; 1 500 ridge regressions on subsets against refitting;
influence of all rows of a logistic regression against leave-one-out refits. A study of
label budgets (``label_budget_frontier``) against its fits alone, and ``SelectedFit``
against its parts. Selections on real tables are compared with random rows, as
``SelectionCurveDisplay`` does, by ``bench_data_selection_tables.py``; the rows that
``RowScoresDisplay`` lists are those of ``EL2NSelector``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, best_of, print_table, seconds  # isort: skip

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifier, lasso_path

from skdiff.data_selection import (
    EL2NSelector,
    SelectedFit,
    gradient_norms,
    influence_scores,
    label_budget_frontier,
)
from skdiff.data_selection._base import read_target
from skdiff.data_selection._datamodel._linear import fit_datamodels
from skdiff.data_selection._datamodel._subsets import draw_masks
from skdiff.data_selection._datamodel._training._base import (
    Reading,
    _fitted_output,
    fast_outputs,
)

QUICK = "--quick" in sys.argv
REPEATS = 1 if QUICK else 3


def gradients():
    """A small network on all rows at once, and row by row."""
    import torch
    from torch import nn

    n = 500 if QUICK else 2000
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 50)), rng.integers(0, 10, n)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(50, 100),
        nn.ReLU(),
        nn.Linear(100, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    ).double()
    rows, codes = torch.tensor(X), torch.tensor(y)

    def loop(some):
        norms = []
        for i in range(some):
            module.zero_grad()
            out = module(rows[i : i + 1])
            nn.functional.cross_entropy(out, codes[i : i + 1]).backward()
            squares = sum(float((p.grad**2).sum()) for p in module.parameters())
            norms.append(np.sqrt(squares))
        return np.array(norms)

    some = n // 10
    np.testing.assert_allclose(gradient_norms(module, X, y)[:some], loop(some))
    forward = best_of(lambda: module(rows).detach(), REPEATS)
    return Row(
        f"gradient norms, {n} rows, 50-100-100-10",
        best_of(lambda: gradient_norms(module, X, y), REPEATS),
        seconds(lambda: loop(some)) * n / some,
        f"a backward pass per row, from {some}",
        forward,
        ">= 20x",
    )


def datamodels():
    """The path of 100 targets on one Gram matrix, and target by target."""
    n, m, q = (100, 400, 20) if QUICK else (500, 2000, 100)
    rng = np.random.RandomState(0)
    masks = draw_masks(n, n // 2, m, None, rng)
    B = rng.normal(size=(n, q)) * (rng.uniform(size=(n, q)) < 0.05)
    F = masks @ B + rng.normal(size=(m, q))
    held = np.arange(m) < m // 10
    Z = masks[~held].astype(float)
    Z = np.asfortranarray(Z - Z.mean(axis=0))

    def path(j):
        y = F[~held, j] - F[~held, j].mean()
        return lasso_path(Z, y, alphas=20, eps=1e-3)

    some = 4
    one = seconds(lambda: [path(j) for j in range(some)]) * q / some
    ours = best_of(
        lambda: fit_datamodels(masks, F, held, kind="l1", penalty=None), REPEATS
    )
    gram = best_of(lambda: Z.T @ Z, REPEATS)
    return Row(
        f"datamodels, {n} rows, {m} subsets, {q} targets, 20 penalties and the refit",
        ours,
        one,
        f"lasso_path per target, from {some}",
        gram,
        ">= 10x",
    )


def subsets():
    """Ridge classifiers on subsets from shared statistics, and one by one."""
    n, m = 200, 150 if QUICK else 1500
    rng = np.random.RandomState(0)
    X, X_target = rng.normal(size=(n, 64)), rng.normal(size=(60, 64))
    y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
    goal = read_target(rng.permutation(np.arange(60) % 2), RidgeClassifier())
    target = read_target(y, RidgeClassifier())
    masks = draw_masks(n, 60, m, target.values, rng)
    reading, model = Reading("margin", X_target, goal), RidgeClassifier()
    some = m // 10

    def refit():
        return [
            _fitted_output(model, X, target, mask, reading, 0) for mask in masks[:some]
        ]

    ours = fast_outputs(model, X, target, masks, reading)
    np.testing.assert_allclose(ours[:some], refit(), atol=1e-8)
    return Row(
        f"{m} ridge classifiers on 60 of 200 rows, 64 columns",
        best_of(lambda: fast_outputs(model, X, target, masks, reading), REPEATS),
        seconds(refit) * m / some,
        f"refitting, from {some}",
        None,
        ">= 30x",
    )


def influence():
    """All rows of a logistic regression, and one refit per row."""
    n = 4000 if QUICK else 40_000
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 50))
    y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
    X_target, y_target = X[:2000], y[:2000]
    model = LogisticRegression().fit(X, y)
    one = seconds(lambda: LogisticRegression().fit(X[1:], y[1:]))
    gram = best_of(lambda: X.T @ X, REPEATS)
    return Row(
        f"influence of {n} x 50 rows, logistic regression",
        best_of(lambda: influence_scores(model, X, y, X_target, y_target), REPEATS),
        one * n,
        "leaving each row out, from 1",
        gram,
        "< 1 s",
    )


def budgets():
    """A study of label budgets, and its fits alone."""
    n, repeats = 600, 2 if QUICK else 5
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 10))
    y = (X[:, 0] > 0).astype(int)
    weak = np.where(rng.uniform(size=n) < 0.8, y, 1 - y)
    model = LogisticRegression()

    def study():
        return label_budget_frontier(
            model, X, weak, y, budgets=[200, 400], n_repeats=repeats, random_state=0
        )

    fits = 2 * 6 * repeats * 5
    return Row(
        f"label budgets, {fits} fits",
        best_of(study, REPEATS),
        fits * best_of(lambda: model.fit(X[:200], weak[:200]), REPEATS),
        "as many fits of 200 rows",
    )


def selected():
    """A selector and an estimator as one, and one after the other."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 20))
    y = (X[:, 0] + rng.normal(size=2000) > 0).astype(int)
    model = LogisticRegression()
    selector = EL2NSelector(LogisticRegression(), n_models=1, random_state=0)

    def parts():
        model.fit(*selector.fit_resample(X, y))

    both = SelectedFit(selector, model)
    return Row(
        "SelectedFit, 2000 rows",
        best_of(lambda: both.fit(X, y), REPEATS),
        best_of(parts, REPEATS),
        "fit_resample, then fit",
    )


def main():
    """Print the table."""
    rows = [gradients(), datamodels(), subsets(), influence(), budgets(), selected()]
    print_table("Which rows to train on", rows, "torch")


if __name__ == "__main__":
    main()
