"""Where an inner problem starts: what a fold's earlier solutions say of the next."""

from collections import deque
from typing import Any

import numpy as np

from skdiff._base.typing import FloatArray as Array

_KEPT = 5
_ENTRIES = 2_000_000  # numbers of all kept solutions together; the latest always stays
_SPACING = 0.25  # nodes closer than this share of the way magnify each other's errors


class WarmStarts:
    """The latest solutions of one fold, by outer variable."""

    def __init__(self) -> None:
        self._points: deque[tuple[Array, Any]] = deque(maxlen=_KEPT)

    def add(self, theta: Array, w: Any) -> None:
        """Remember a solution."""
        self._points.append((np.array(theta, dtype=float), w))
        size = int(getattr(w, "size", 0))
        while len(self._points) > 1 and len(self._points) * size > _ENTRIES:
            self._points.popleft()

    def start(self, theta: Array, smooth: bool) -> Any:
        """Return a start for ``theta``, or None before the first solution.

        The solution nearest by, or with one ``smooth`` variable the polynomial through
        some near it: a parabola between solutions, a line beyond them.
        """
        if not self._points:
            return None
        theta = np.asarray(theta, dtype=float)
        order = sorted(self._points, key=lambda p: float(np.linalg.norm(p[0] - theta)))
        if not smooth or theta.size > 1:
            return order[0][1]
        t = float(theta.ravel()[0])
        nodes: list[tuple[float, Any]] = []
        for at, w in order:
            s = float(at.ravel()[0])
            if all(abs(s - other) > _SPACING * abs(t - s) for other, _ in nodes):
                nodes.append((s, w))
        inside = min(s for s, _ in nodes) < t < max(s for s, _ in nodes)
        return _interpolate(nodes[: 3 if inside else 2], t)


def _interpolate(nodes: list[tuple[float, Any]], t: float) -> Any:
    """Lagrange's polynomial through ``nodes`` at ``t``."""
    total = 0.0
    for s, w in nodes:
        share = np.prod([(t - r) / (s - r) for r, _ in nodes if r != s])
        total = total + share * w
    return total
