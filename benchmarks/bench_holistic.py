"""The holistic robust loss: value and gradient in closed form beside a cone solve."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import numpy as np

from skdiff.metrics import holistic_robust_loss

warnings.simplefilter("ignore")


def by_cone(losses, poisoning, radius):
    """The program of the paper, with an atom of the largest loss."""
    import cvxpy as cp

    n = len(losses)
    p, m = cp.Variable(n + 1, nonneg=True), cp.Variable(n, nonneg=True)
    Q = cp.hstack([1 / n - m, cp.reshape(cp.sum(m), (1,), order="C")])
    constraints = [
        m <= 1 / n,
        cp.sum(m) <= poisoning,
        cp.sum(p) == 1,
        cp.sum(cp.rel_entr(Q, p)) <= radius,
    ]
    worst = cp.Maximize(np.append(losses, losses.max()) @ p)
    try:
        cp.Problem(worst, constraints).solve(solver="CLARABEL")
    except cp.error.SolverError:
        return np.nan  # which costs time, too
    return worst.value


def module(losses, poisoning, radius):
    """Value and gradient by the torch module."""
    import torch

    from skdiff.neural_network import HolisticRobustLoss

    tensor = torch.tensor(losses, requires_grad=True)
    loss = HolisticRobustLoss(poisoning, radius)
    return lambda: loss(tensor).backward()


def speed():
    """Seconds of one value and gradient, a HolisticLoss of both."""
    rows = []
    for n in pick((100, 1000, 4000), (50,)):
        losses = np.random.default_rng(0).exponential(size=n)
        a, r = 0.05, 0.05
        backward = module(losses, a, r)
        functions = {
            "ours": lambda x=losses: [
                holistic_robust_loss(x, poisoning=0.05, statistical_radius=0.05)
                for _ in range(10)
            ],
            "cone": lambda x=losses: by_cone(x, 0.05, 0.05),
            "torch": lambda f=backward: [f() for _ in range(10)],
        }
        best = interleaved(functions, 2)
        value = holistic_robust_loss(losses, poisoning=a, statistical_radius=r).value
        note = f"difference {abs(value - by_cone(losses, a, r)):.0e}"
        rows.append(
            Row(f"{n} losses", best["ours"] / 10, best["cone"], "Clarabel",
                target="30x", note=note)
        )  # fmt: skip
        rows.append(Row("  torch module", best["torch"] / 10, best["cone"], "Clarabel"))
    print_table("HolisticRobustLoss", rows, "cvxpy", "torch")


if __name__ == "__main__":
    run(speed)
