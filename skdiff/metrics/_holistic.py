"""The worst mean of losses over poisoned rows and nearby distributions, in closed form.

With weights s of the rows, up to ``poisoning`` of their mass moves from the smallest
losses to the largest, which gives Q. Of the distributions p with ``KL(Q || p) <=
radius`` the worst has ``p_k`` proportional to ``Q_k / (eta - loss_k)``, where eta lies
above the largest loss and solves one monotone equation (Bennouna, Lucas and Van Parys,
2023).
"""

from typing import Any, NamedTuple

import numpy as np

from skdiff._base.compat import check_sample_weight
from skdiff._base.typing import Array

_STEPS = 200


class HolisticLoss(NamedTuple):
    """Value and the weights of the rows that attain it.

    Attributes
    ----------
    value : float
        Worst mean loss.
    weights : ndarray of shape (n,)
        Weights of the rows under the worst distribution; they sum to one.

    Examples
    --------
    >>> from skdiff.metrics import HolisticLoss
    >>> HolisticLoss(1.0, [0.5, 0.5]).value
    1.0
    """

    value: float
    weights: Any


def moved_mass(losses: Array, s: Array, poisoning: float) -> Array:
    """Move mass from the smallest losses to the largest; equal losses share alike."""
    if poisoning <= 0:
        return s
    top = losses == losses.max()
    place = np.unique(losses, return_inverse=True)[1]
    mass = np.bincount(place, weights=s)
    before = np.concatenate([[0.0], np.cumsum(mass)[:-1]])
    taken = np.clip((poisoning - before) / mass, 0.0, 1.0)
    taken[-1] = 0.0  # the largest has nowhere to go
    Q = s * (1 - taken[place])
    Q[top] *= 1 + (1 - Q.sum()) / Q[top].sum()
    return np.asarray(Q)


def _excess(eta: float, d: Array, mean: float, q: Array) -> float:
    """``sum q log(eta + d) + log sum q / (eta + d)``, without cancellation."""
    x = (d - mean) / (eta + mean)
    ratio = (eta + d) / (eta + mean)
    logs = np.where(x < -0.5, np.log(ratio), np.log1p(np.maximum(x, -0.5)))
    return float(q @ (logs - x) + np.log1p(q @ (x * x / ratio)))


class Tilt(NamedTuple):
    """Worst weights p, and ``1 / (eta - loss)`` of the rows; None where p is Q."""

    p: Array
    a: Array | None


def tilted(losses: Array, Q: Array, radius: float) -> Tilt:
    """Worst weights within the radius of Q."""
    used = Q > 0
    d, q = losses[used].max() - losses[used], Q[used]
    # in units of the range, whose square may overflow or vanish
    unit = float(d.max())
    d = d / unit if unit > 0 else d
    mean = float(q @ d)
    scale = float(np.sqrt(q @ (d - mean) ** 2))
    if radius <= 0 or scale <= 1e-300 or mean <= 1e-300:
        return Tilt(Q, None)
    # in the logarithm of eta less the largest loss, where the equation is monotone
    low, high = np.log(mean) - 700.0, np.log(scale) + 40.0 + max(-np.log(radius), 0)
    at = float(np.clip(np.log(scale) - 0.5 * np.log(2 * radius), low, high))
    for _ in range(_STEPS):
        eta = float(np.exp(at))
        off = _excess(eta, d, mean, q) - radius
        low, high = (at, high) if off > 0 else (low, at)
        ratio = (eta + mean) / (eta + d)
        inverse = float(q @ ratio)
        spread = inverse * inverse - float(q @ ratio**2)  # infinite far off
        slope = eta / (eta + mean) * spread / inverse
        new = at - off / slope if slope < 0 else low - 1.0
        new = new if low < new < high else (low + high) / 2
        done = abs(new - at) <= 1e-13 * max(1.0, abs(at))
        at = new
        if done:
            break
    a = np.zeros_like(Q)
    a[used] = 1.0 / (np.exp(at) + d)
    p = Q * a
    return Tilt(np.asarray(p / p.sum()), a / unit)


def worst_weights(losses: Array, s: Array, poisoning: float, radius: float) -> Array:
    """Weights of the rows under the worst distribution."""
    if poisoning >= 1:
        top = np.where(losses == losses.max(), s, 0.0)
        return np.asarray(top / top.sum())
    Q = moved_mass(losses, s, poisoning)
    return tilted(losses, Q, radius).p


def check_radii(poisoning: Any, statistical_radius: Any) -> tuple[float, float]:
    """Return both as numbers, or raise."""
    for name, value in (
        ("poisoning", poisoning),
        ("statistical_radius", statistical_radius),
    ):
        number = isinstance(value, int | float | np.number)
        if not number or isinstance(value, bool) or not 0 <= value < np.inf:
            raise ValueError(
                f"{name} must be a number that is not negative: {value!r}."
            )
    if poisoning > 1:
        raise ValueError(
            f"poisoning is a fraction of the rows, at most 1: {poisoning}."
        )
    return float(poisoning), float(statistical_radius)


def holistic_robust_loss(
    row_losses: Any,
    *,
    poisoning: float = 0.0,
    statistical_radius: float = 0.0,
    sample_weight: Any = None,
) -> HolisticLoss:
    """Return the worst mean loss over poisoned rows and nearby distributions.

    Parameters
    ----------
    row_losses : array-like of shape (n,)
        Losses of the rows.
    poisoning : float, default=0.0
        Fraction of the rows that may be replaced by the worst one.
    statistical_radius : float, default=0.0
        Kullback-Leibler radius around the rows; ``c / n`` with c from 2 to 4 is usual.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows.

    Returns
    -------
    loss : HolisticLoss
        Named tuple ``(value, weights)``. The weights are the gradient of the value in
        the losses.

    Raises
    ------
    ValueError
        If losses are not finite, or an argument is negative.

    See Also
    --------
    skdiff.neural_network.HolisticRobustLoss : The same in torch.

    Notes
    -----
    Both zero give the mean; ``statistical_radius=0`` the mean after the smallest losses
    were replaced by the largest; ``poisoning=0`` the worst mean within a ball around
    the rows. The value grows with each argument, and never exceeds the largest loss.

    References
    ----------
    A. Bennouna, R. Lucas and B. Van Parys, "Certified Robust Neural Networks:
    Generalization and Corruption Resistance", ICML 2023, arXiv:2303.02251.

    Examples
    --------
    >>> from skdiff.metrics import holistic_robust_loss
    >>> value, weights = holistic_robust_loss([0.1, 0.2, 0.9], poisoning=0.1)
    >>> round(value, 2), weights.round(2).tolist()
    (0.48, [0.23, 0.33, 0.43])
    """
    poisoning, radius = check_radii(poisoning, statistical_radius)
    losses = np.asarray(row_losses, dtype=np.float64)
    if losses.ndim != 1 or not len(losses):
        raise ValueError(
            "row_losses must be one-dimensional and not empty. Got an array of shape "
            f"{losses.shape}."
        )
    if not np.isfinite(losses).all():
        raise ValueError("Input row_losses contains NaN or infinity.")
    n = len(losses)
    if sample_weight is None:
        s = np.full(n, 1.0 / n)
    else:
        s = check_sample_weight(sample_weight, losses[:, None])
        s = s / s.sum()
    if poisoning == radius == 0:
        value = losses.mean() if sample_weight is None else s @ losses
        return HolisticLoss(float(value), s)
    weights = np.zeros(n)
    used = s > 0
    weights[used] = worst_weights(losses[used], s[used], poisoning, radius)
    return HolisticLoss(float(weights @ losses), weights)
