"""Attention in NumPy against torch, and what it must not read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from skdiff._nn import _attention
from skdiff._nn._attention_module import Encoder, arrays_of, n_parameters

WIDTH, BLOCKS, HEADS = 8, 2, 2


def network(seed=0):
    torch.manual_seed(seed)
    module = Encoder(WIDTH, BLOCKS, HEADS, 16)
    return module, arrays_of(module)


def encode(h, arrays, mask=None):
    return list(_attention.encode(h, arrays, n_blocks=BLOCKS, n_heads=HEADS, mask=mask))


def test_numpy_and_torch_agree_after_every_block():
    module, arrays = network()
    rng = np.random.default_rng(0)
    h = rng.normal(size=(3, 5, WIDTH)).astype(np.float32)
    mask = rng.uniform(size=(3, 5)) < 0.7
    mask[:, 0] = True
    for seen in (None, mask):
        ours = encode(h, arrays, seen)
        theirs = list(
            module(torch.from_numpy(h), None if seen is None else torch.tensor(seen))
        )
        assert len(ours) == len(theirs) == BLOCKS + 1
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b.detach().numpy(), atol=2e-5)
    assert n_parameters(module) == sum(a.size for a in arrays.values())


def test_order_changes_order_only_and_masked_tokens_nothing():
    _, arrays = network()
    arrays = {k: a.astype(np.float64) for k, a in arrays.items()}
    rng = np.random.default_rng(1)
    h, order = rng.normal(size=(2, 6, WIDTH)), rng.permutation(6)
    np.testing.assert_allclose(
        encode(h[:, order], arrays)[-1], encode(h, arrays)[-1][:, order], atol=1e-12
    )
    mask = np.ones((2, 6), dtype=bool)
    mask[:, 4:] = False
    other = h.copy()
    other[:, 4:] = rng.normal(size=(2, 2, WIDTH)) * 100
    np.testing.assert_allclose(
        encode(h, arrays, mask)[-1][:, :4], encode(other, arrays, mask)[-1][:, :4]
    )
    np.testing.assert_allclose(
        encode(h, arrays, mask)[-1][:, :4], encode(h[:, :4], arrays)[-1], atol=1e-12
    )


def test_the_regressor_needs_no_torch():
    code = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
import numpy as np
from skdiff.linear_model import InContextLinearRegressor
X = np.random.default_rng(0).normal(size=(20, 3))
assert np.all(np.isfinite(InContextLinearRegressor().fit(X, X[:, 0]).predict(X)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
