"""Train the two networks of ``LearningCurvePFN`` and write them with their cards.

``python tools/train_learning_curves.py [domhan|extended] [steps]`` takes seven minutes
of one core each and writes ``skdiff/_weights/curves_domhan.npz`` or
``curves_extended.npz``. A card tells the mean log density and the coverage of 90 %
intervals on 2000 fresh curves of the prior, after 10, 20, 40 and 80 of 100 epochs.
"""

import sys

import numpy as np
import torch

from skdiff._base.weights import FOLDER, save_weights
from skdiff.model_selection._curve_network._module import train
from skdiff.model_selection._curve_network._network import context, forecast
from skdiff.model_selection._curve_network._prior import draw_curves
from skdiff.model_selection._curve_network._summary import observe, queries, summarise

SEED, STEPS = 0, 9000
CUTOFFS = (10, 20, 40, 80)


def scores(arrays, prior, *, n=2000, seed=1234):
    """Mean log density and coverage on fresh curves, by cutoff."""
    curves = draw_curves(n, np.arange(1.0, 101.0), np.random.default_rng(seed), prior)
    seen, rows, found = observe(curves.y.astype(float), 100), np.arange(n), {}
    for cut in CUTOFFS:
        summary, reference, last = summarise(seen, rows, np.full(n, cut))
        query = queries(last[:, None], np.arange(cut + 1.0, 101.0))
        mixture = forecast(arrays, context(arrays, summary), query, reference)
        later = curves.y[:, cut:].astype(float)
        below = mixture.cdf(later)
        found[str(cut)] = {
            "log_density": float(mixture.log_density(later).mean()),
            "coverage_90": float(((below > 0.05) & (below < 0.95)).mean()),
        }
    return found


def report(step, loss):
    if step % 500 == 0:
        print(f"step {step}, loss = {loss:.4f}", flush=True)


def main(prior, steps=STEPS, folder=FOLDER):
    """Train one network and save it."""
    model, _ = train(prior, int(steps), SEED, report=report)
    arrays = model.to_arrays()
    save_weights(
        f"curves_{prior}",
        arrays,
        {
            "description": f"continues learning curves; trained on the {prior} prior",
            "script": "tools/train_learning_curves.py",
            "seed": SEED,
            "scores": {"steps": int(steps), **scores(arrays, prior)},
        },
        packages=("torch",),
        folder=folder,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:2] or ("domhan", "extended"):
        main(name, *sys.argv[2:3])
