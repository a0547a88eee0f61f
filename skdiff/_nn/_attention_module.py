"""The network of ``_attention`` as torch modules, for training."""

from collections.abc import Iterator

from torch import Tensor, nn

from skdiff._base.typing import FloatArray


class Attention(nn.Module):
    """Softmax attention of every token to all tokens of its set."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map tokens (sets, tokens, width); ``mask`` is True where there is one."""
        sets, tokens, width = h.shape
        parts = self.qkv(h).view(sets, tokens, 3, self.n_heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = None if mask is None else mask[:, None, None, :]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        found: Tensor = self.out(mixed.transpose(1, 2).reshape(sets, tokens, width))
        return found


class Block(nn.Module):
    """Attention and a network of one hidden layer, both on standardised tokens."""

    def __init__(self, width: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, n_heads)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map tokens of shape (sets, tokens, width) to the same shape."""
        h = h + self.attention(self.norm1(h), mask)
        found: Tensor = h + self.down(nn.functional.silu(self.up(self.norm2(h))))
        return found


class Encoder(nn.Module):
    """A stack of blocks over tokens without positions."""

    def __init__(self, width: int, n_blocks: int, n_heads: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, n_heads, hidden) for _ in range(n_blocks)
        )

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the tokens before the first block and after each block."""
        yield h
        for block in self.blocks:
            h = block(h, mask)
            yield h


def arrays_of(module: nn.Module) -> dict[str, FloatArray]:
    """Return the parameters by name, as ``_attention`` reads them."""
    return {
        name: value.detach().cpu().float().numpy().copy()
        for name, value in module.state_dict().items()
    }


def n_parameters(module: nn.Module) -> int:
    """Return the number of trained numbers."""
    return sum(p.numel() for p in module.parameters())
