"""Steps of DARTS and RARTS: the exact mixed product against a central difference.

The peer is order 2 as the authors of DARTS compute it: the mixed derivative times a
vector by a central difference, two more gradients. The limit is order 1. ``darts_step``
is timed with everything that it copies.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._harness import Row, interleaved, pick, print_table, run  # isort: skip

import torch

from skdiff.architecture_search import cosine_power, darts_step, rarts_step

UNROLL = 0.1
SIZES = {"step_w": 0.1, "step_a": 0.1}


def problem(n, d, width, dtype=torch.float32, n_ops=6):
    """A network that mixes activations, and its losses on two halves of a table."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator).to(dtype)

    w = [draw(d, width * n_ops) / d**0.5, draw(width) / width**0.5]
    a = draw(n_ops)

    def loss(X, y):
        def value(w, a):
            parts = torch.tanh(X @ w[0]).view(n, n_ops, -1)
            return (((parts * a.softmax(0)[:, None]).sum(1) @ w[1] - y) ** 2).mean()

        return value

    return w, a, *(loss(draw(n, d), draw(n)) for _ in range(2))


def difference(w, a, Lt, Lv):
    """The authors' order 2: gradient in the architecture."""

    def slope(loss, w, a, of):
        return torch.autograd.grad(loss(w, a), of)

    w = [x.clone().requires_grad_() for x in w]
    a = a.clone().requires_grad_()
    ahead = slope(Lt, w, a, w)
    there = [
        (x - UNROLL * g).detach().requires_grad_()
        for x, g in zip(w, ahead, strict=True)
    ]
    *u, partial = slope(Lv, there, a, [*there, a])
    radius = 0.01 / torch.sqrt(sum((x**2).sum() for x in u))
    near = [
        slope(Lt, [x + s * radius * g for x, g in zip(w, u, strict=True)], a, a)[0]
        for s in (1, -1)
    ]
    return partial - UNROLL * (near[0] - near[1]) / (2 * radius)


def order_two():
    """Seconds of one step, and the relative error of both gradients in float32."""
    n, rows = pick(256, 32), []
    for width in pick((16, 64, 256), (8,)):
        parts = problem(n, 20, width)
        best = interleaved(
            {
                "ours": lambda p=parts: darts_step(*p, **SIZES, unroll=UNROLL),
                "peer": lambda p=parts: difference(*p),
                "limit": lambda p=parts: darts_step(*p, **SIZES),
            },
            repeats=20,
        )
        truth = moved(*problem(n, 20, width, torch.float64))
        errors = [
            float((g.double() - truth).norm() / truth.norm())
            for g in (moved(*parts), difference(*parts))
        ]
        rows.append(
            Row(
                f"width {width}",
                best["ours"],
                best["peer"],
                "difference",
                best["limit"],
                note=f"relative error {errors[0]:.1e} and {errors[1]:.1e}",
            )
        )
    print_table("one step of DARTS, order 2, float32; limit: order 1", rows, "torch")


def moved(w, a, Lt, Lv):
    """The gradient in the architecture that a step has taken."""
    return a - darts_step(w, a, Lt, Lv, step_w=0.0, step_a=1.0, unroll=UNROLL)[1]


def solvable():
    """Where each rule ends on the model of RARTS; the optimum is (1, 1)."""

    def Lt(w, a):
        return (w - a) ** 2

    def Lv(w, a):
        return a * w - 2 * a + 1

    print("\nrule, settings: a, w (optimum 1, 1)")
    for unroll in (0.0, 0.25, 0.5, 1.0):
        w, a = -2.0, 2.0
        for t in range(1000):
            step = cosine_power(t, 1000, lr_max=0.2, lr_min=0.01, power=2)
            w, a = darts_step(w, a, Lt, Lv, step_w=step, step_a=step, unroll=unroll)
        print(f"DARTS, unroll {unroll}: {a:.6f}, {w:.6f}")
    for strength in (3, 10, 100):
        w, v, a = -2.0, -2.0, 2.0
        how = dict.fromkeys(("step_w", "step_v", "step_a"), 0.3 / strength)
        how |= {"train_weight": strength, "penalty": strength}
        for _ in range(4000):
            w, v, a = rarts_step(w, v, a, Lt, Lv, **how)
        print(f"RARTS, both weights {strength}: {a:.6f}, {w:.6f}")


if __name__ == "__main__":
    run(order_two, solvable)
