"""The worst mean of a batch of losses, in closed form, for torch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skdiff.metrics._holistic import check_radii, worst_weights


class HolisticRobustLoss(nn.Module):
    """Train a network on the worst mean loss over poisoned rows and nearby laws.

    Called on the vector of row losses, for hand-written torch loops and for skorch. The
    gradient in the losses are the worst-case weights. For losses under attacks on the
    inputs, compute the losses at the attacked rows.

    Parameters
    ----------
    poisoning : float, default=0.0
        Fraction of the rows that may be replaced by the worst one.
    statistical_radius : float, default=0.0
        Kullback-Leibler radius around the rows; ``c / n`` with c from 2 to 4 is usual.

    Raises
    ------
    ValueError
        If an argument is negative, or ``poisoning`` above one.

    See Also
    --------
    skdiff.metrics.holistic_robust_loss : The same for arrays.

    Notes
    -----
    Both zero give the mean. The loss of a batch is larger than that of all rows with
    the same radius, because a batch has larger extremes: use large batches, and report
    the loss of all rows at the end.

    References
    ----------
    A. Bennouna, R. Lucas and B. Van Parys, "Certified Robust Neural Networks:
    Generalization and Corruption Resistance", ICML 2023, arXiv:2303.02251.

    Examples
    --------
    >>> import torch
    >>> from skdiff.neural_network import HolisticRobustLoss
    >>> losses = torch.tensor([0.1, 0.2, 0.9], requires_grad=True)
    >>> value = HolisticRobustLoss(poisoning=0.1)(losses)
    >>> value.backward()
    >>> round(value.item(), 2), [round(g, 2) for g in losses.grad.tolist()]
    (0.48, [0.23, 0.33, 0.43])
    """

    def __init__(self, poisoning: float = 0.0, statistical_radius: float = 0.0) -> None:
        super().__init__()
        self.poisoning, self.statistical_radius = check_radii(
            poisoning, statistical_radius
        )

    def forward(self, row_losses: Tensor) -> Tensor:
        """Return the worst mean loss.

        Parameters
        ----------
        row_losses : Tensor of shape (n,)
            Losses of the rows.

        Returns
        -------
        loss : Tensor
            A number.

        Raises
        ------
        TypeError
            If ``row_losses`` is not a tensor of floating point numbers.
        ValueError
            If it is empty or has several dimensions.
        """
        if not torch.is_tensor(row_losses) or not row_losses.is_floating_point():
            raise TypeError(
                "row_losses must be a tensor of floating point numbers. Got "
                f"{getattr(row_losses, 'dtype', type(row_losses).__name__)}."
            )
        if row_losses.ndim != 1 or not len(row_losses):
            raise ValueError(
                "row_losses must be one-dimensional and not empty. Got a tensor of "
                f"shape {tuple(row_losses.shape)}."
            )
        if self.poisoning == self.statistical_radius == 0:
            return row_losses.mean()
        return row_losses @ self._weights(row_losses)

    def extra_repr(self) -> str:
        """Return the arguments, for the printed module."""
        return (
            f"poisoning={self.poisoning}, statistical_radius={self.statistical_radius}"
        )

    def _weights(self, row_losses: Tensor) -> Tensor:
        """Worst-case weights, which are constants by Danskin's theorem."""
        losses: Any = row_losses.detach().to("cpu", torch.float64).numpy()
        n = len(losses)
        if not np.isfinite(losses).all():  # let the loop see it
            return torch.full_like(row_losses, 1.0 / n)
        weights = worst_weights(
            losses, np.full(n, 1.0 / n), self.poisoning, self.statistical_radius
        )
        return torch.from_numpy(weights).to(row_losses)
