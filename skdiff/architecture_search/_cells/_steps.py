"""One step of DARTS and of RARTS on any two losses: the rules without a network.

``w`` are weights, ``a`` the architecture; ``Lt(w, a)`` is the loss of the training half
and ``Lv(w, a)`` that of the validation half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdiff._nn._modes import gradients

Loss = Callable[[Any, Any], Any]
Tensors = list[Tensor]


def darts_step(
    w: Any,
    a: Any,
    Lt: Loss,
    Lv: Loss,
    *,
    step_w: float,
    step_a: float,
    unroll: float = 0.0,
) -> tuple[Any, Any]:
    """Take one step of DARTS on two losses.

    The architecture moves first, along the gradient of ``Lv(w - unroll * dLt/dw, a)``
    in ``a``, differentiated through the unrolled step; then the weights move along the
    gradient of ``Lt`` at the new architecture. ``unroll=0`` is DARTS of order 1, which
    takes the weights as constant.

    Parameters
    ----------
    w : float, ndarray, torch.Tensor, or a list of these
        Weights.
    a : float, ndarray, torch.Tensor, or a list of these
        Architecture parameters.
    Lt : callable
        ``Lt(w, a)`` is the training loss, computed by operations of torch; it gets
        ``w`` and ``a`` as tensors.
    Lv : callable
        ``Lv(w, a)`` is the validation loss.
    step_w : float
        Step size of the weights.
    step_a : float
        Step size of the architecture.
    unroll : float, default=0.0
        Step size of the unrolled step.

    Returns
    -------
    w : same type as w
        New weights.
    a : same type as a
        New architecture parameters.

    See Also
    --------
    rarts_step : The rule with two sets of weights and no second derivative.

    References
    ----------
    H. Liu, K. Simonyan and Y. Yang, "DARTS: Differentiable Architecture Search", ICLR
    2019, arXiv 1806.09055.

    Examples
    --------
    >>> from skdiff.architecture_search import darts_step
    >>> def Lt(w, a):
    ...     return (w - a) ** 2
    >>> def Lv(w, a):
    ...     return a * w - 2 * a + 1
    >>> w, a = -2.0, 2.0
    >>> for _ in range(500):
    ...     w, a = darts_step(w, a, Lt, Lv, step_w=0.1, step_a=0.1, unroll=0.5)
    >>> round(w, 6), round(a, 6)  # the optimum of both levels; order 1 ends at (2, 2)
    (1.0, 1.0)
    """
    with gradients():
        here, arch = Point.of(w), Point.of(a)
        arch = arch.moved(unrolled_gradient(here, arch, Lt, Lv, unroll), step_a)
        here = here.moved(slope(Lt, here, arch, here.tensors), step_w)
    return here.given(), arch.given()


def rarts_step(
    w: Any,
    v: Any,
    a: Any,
    Lt: Loss,
    Lv: Loss,
    *,
    step_w: float,
    step_v: float,
    step_a: float,
    train_weight: float,
    penalty: float,
) -> tuple[Any, Any, Any]:
    """Take one step of RARTS, the relaxed search with two sets of weights.

    One Gauss-Seidel sweep of gradient steps on

    ``Lv(v, a) + train_weight * Lt(w, a) + penalty / 2 * ||v - w||**2``

    over ``w``, then ``v``, then ``a``. Both halves of the data move the architecture,
    and no mixed second derivative is needed.

    Parameters
    ----------
    w : float, ndarray, torch.Tensor, or a list of these
        Weights of the training half.
    v : same type as w
        Weights of the validation half.
    a : float, ndarray, torch.Tensor, or a list of these
        Architecture parameters.
    Lt : callable
        ``Lt(w, a)`` is the training loss, computed by operations of torch; it gets its
        arguments as tensors.
    Lv : callable
        ``Lv(v, a)`` is the validation loss.
    step_w : float
        Step size of ``w``.
    step_v : float
        Step size of ``v``.
    step_a : float
        Step size of the architecture.
    train_weight : float
        Weight of the training loss, lambda in the paper.
    penalty : float
        Weight of the distance of both sets of weights, beta in the paper.

    Returns
    -------
    w : same type as w
        New weights of the training half.
    v : same type as v
        New weights of the validation half.
    a : same type as a
        New architecture parameters.

    See Also
    --------
    darts_step : The rule with one set of weights.

    References
    ----------
    F. Xue, Y. Qi and J. Xin, "RARTS: An Efficient First-Order Relaxed Architecture
    Search Method", IEEE Access 10, 2022, arXiv 2008.03901.

    Examples
    --------
    >>> from skdiff.architecture_search import rarts_step
    >>> def Lt(w, a):
    ...     return (w - a) ** 2
    >>> def Lv(v, a):
    ...     return a * v - 2 * a + 1
    >>> w, v, a = -2.0, -2.0, 2.0
    >>> steps = {"step_w": 0.01, "step_v": 0.01, "step_a": 0.01}
    >>> for _ in range(3000):
    ...     w, v, a = rarts_step(w, v, a, Lt, Lv, **steps, train_weight=10, penalty=10)
    >>> round(w, 5), round(v, 5), round(a, 5)
    (1.02703, 0.91892, 1.08108)
    """
    with gradients():
        train, held, arch = Point.of(w), Point.of(v), Point.of(a)
        train = train.moved(
            [
                train_weight * g + penalty * (x - y)
                for g, x, y in zip(
                    slope(Lt, train, arch, train.tensors),
                    train.tensors,
                    held.tensors,
                    strict=True,
                )
            ],
            step_w,
        )
        held = held.moved(
            [
                g + penalty * (y - x)
                for g, x, y in zip(
                    slope(Lv, held, arch, held.tensors),
                    train.tensors,
                    held.tensors,
                    strict=True,
                )
            ],
            step_v,
        )
        both = zip(
            slope(Lt, train, arch, arch.tensors),
            slope(Lv, held, arch, arch.tensors),
            strict=True,
        )
        arch = arch.moved([train_weight * g + h for g, h in both], step_a)
    return train.given(), held.given(), arch.given()


@dataclass(frozen=True)
class Point:
    """Leaf tensors, and the numbers, arrays, tensors or list that they stand for."""

    tensors: Tensors
    like: Any

    @classmethod
    def of(cls, value: Any) -> "Point":
        """Copy values of the user into tensors that take gradients."""
        parts = value if isinstance(value, list | tuple) else [value]
        return cls([_leaf(x) for x in parts], value)

    def argument(self) -> Any:
        """What a loss is called with: a tensor, or a list of them."""
        several = isinstance(self.like, list | tuple)
        return list(self.tensors) if several else self.tensors[0]

    def moved(self, direction: Tensors, step: float) -> "Point":
        """Take one step against a direction."""
        steps = zip(self.tensors, direction, strict=True)
        return Point([_leaf(t - step * d) for t, d in steps], self.like)

    def given(self) -> Any:
        """The values in the types in which they were given."""
        if not isinstance(self.like, list | tuple):
            return _as_given(self.tensors[0], self.like)
        pairs = zip(self.tensors, self.like, strict=True)
        return type(self.like)(_as_given(t, x) for t, x in pairs)


def _leaf(x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        x = torch.tensor(x, dtype=torch.float64)
    return x.detach().clone().requires_grad_()


def _as_given(tensor: Tensor, like: Any) -> Any:
    tensor = tensor.detach()
    if isinstance(like, Tensor):
        return tensor
    return tensor.numpy() if isinstance(like, np.ndarray) else float(tensor)


def unrolled_gradient(w: Point, a: Point, Lt: Loss, Lv: Loss, unroll: float) -> Tensors:
    """Return the gradient of ``Lv(w - unroll dLt/dw, a)`` in ``a``, exactly.

    With u the gradient of ``Lv`` at the unrolled weights it is the partial gradient in
    ``a`` less ``unroll`` times the mixed derivative of ``Lt`` times u (equation 7 of
    DARTS, there by a central difference), the derivative in ``a`` of the inner product
    of u with the gradient of ``Lt``.
    """
    if not unroll:
        return slope(Lv, w, a, a.tensors)
    ahead = slope(Lt, w, a, w.tensors, keep=True)
    there = w.moved(ahead, unroll)
    both = slope(Lv, there, a, [*there.tensors, *a.tensors])
    u, partial = both[: len(ahead)], both[len(ahead) :]
    product = sum((g * x).sum() for g, x in zip(ahead, u, strict=True))
    mixed = _derivative(product, a.tensors)
    return [p - unroll * m for p, m in zip(partial, mixed, strict=True)]


def slope(
    loss: Loss, w: Point, a: Point, of: Tensors, *, keep: bool = False
) -> Tensors:
    """Gradient of a loss at ``(w, a)`` in some of the tensors."""
    return _derivative(loss(w.argument(), a.argument()), of, keep)


def _derivative(value: Any, of: Tensors, keep: bool = False) -> Tensors:
    """Derivatives of a number, zero where it does not depend on a tensor."""
    if not (isinstance(value, Tensor) and value.requires_grad):
        return [torch.zeros_like(t) for t in of]
    return list(
        torch.autograd.grad(
            value, of, create_graph=keep, allow_unused=True, materialize_grads=True
        )
    )
