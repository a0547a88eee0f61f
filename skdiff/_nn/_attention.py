"""Attention over sets, in NumPy: the forward pass of networks that ship trained.

Nothing here needs torch; ``_attention_module`` holds the same network for training and
writes its parameters under the names that are read here. Tokens have no positions, so
that their order changes nothing but the order of the output. A block is of the
pre-norm kind: ``h + attention(norm(h))``, then ``h + mlp(norm(h))`` (R. Xiong et al.,
2020, arXiv:2002.04745).
"""

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.special import expit

from skdiff._base.typing import BoolArray, FloatArray

_EPS = 1e-5  # torch's own, under the root of the variance


def linear(h: FloatArray, arrays: Mapping[str, FloatArray], name: str) -> FloatArray:
    """Return ``h W' + b``, with the shapes of ``torch.nn.Linear``."""
    found: FloatArray = h @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]
    return found


def layer_norm(
    h: FloatArray, arrays: Mapping[str, FloatArray], name: str
) -> FloatArray:
    """Standardise each token, then scale and shift."""
    # reductions of ufuncs: on few tokens the wrappers of mean and sum cost more than
    # the arithmetic
    width = h.shape[-1]
    away = h - np.add.reduce(h, axis=-1, keepdims=True) / width
    variance = np.add.reduce(away * away, axis=-1, keepdims=True) / width
    found: FloatArray = away / np.sqrt(variance + _EPS)
    return found * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


def silu(h: FloatArray) -> FloatArray:
    """Return ``h sigmoid(h)``."""
    found: FloatArray = h * expit(h)
    return found


def attention(
    h: FloatArray,
    arrays: Mapping[str, FloatArray],
    name: str,
    n_heads: int,
    mask: BoolArray | None = None,
) -> FloatArray:
    """Return softmax attention of every token to all tokens of its set.

    Parameters
    ----------
    h : array of shape (sets, tokens, width)
        Tokens.
    arrays : mapping
        Parameters ``{name}.qkv`` and ``{name}.out``.
    name : str
        Prefix of the parameters.
    n_heads : int
        Number of heads; it divides the width.
    mask : array of shape (sets, tokens), optional
        True where there is a token. Nothing is read from the others.
    """
    sets, tokens, width = h.shape
    parts = linear(h, arrays, f"{name}.qkv").reshape(
        sets, tokens, 3, n_heads, width // n_heads
    )
    q, k, v = parts.transpose(2, 0, 3, 1, 4)  # each (sets, heads, tokens, -1)
    scores = q @ k.swapaxes(-1, -2) / h.dtype.type((width // n_heads) ** 0.5)
    if mask is not None:
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
    scores = np.exp(scores - np.maximum.reduce(scores, axis=-1, keepdims=True))
    mixed = scores / np.add.reduce(scores, axis=-1, keepdims=True) @ v
    return linear(
        mixed.swapaxes(1, 2).reshape(sets, tokens, width), arrays, f"{name}.out"
    )


def encode(
    h: FloatArray,
    arrays: Mapping[str, FloatArray],
    *,
    n_blocks: int,
    n_heads: int,
    mask: BoolArray | None = None,
) -> Iterator[FloatArray]:
    """Yield the tokens before the first block and after each block."""
    yield h
    for block in range(n_blocks):
        name = f"blocks.{block}"
        seen = layer_norm(h, arrays, f"{name}.norm1")
        h = h + attention(seen, arrays, f"{name}.attention", n_heads, mask)
        seen = linear(layer_norm(h, arrays, f"{name}.norm2"), arrays, f"{name}.up")
        h = h + linear(silu(seen), arrays, f"{name}.down")
        yield h
