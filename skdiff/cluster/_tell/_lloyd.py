"""k-means as one layer: assignments, losses and steps (Peng et al., 2022).

Rows ``x``, centres ``c`` and a temperature ``a``: with ``W = 2 a c``, ``b = -a |c|^2``
and ``beta = a |x|^2`` the scaled squared distance is ``a D = beta - W x - b``, so the
nearest centre is the largest output of a linear layer.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp, softmax

from skdiff._base.progress import Progress
from skdiff._base.typing import FloatArray as Array

Codes = NDArray[np.int32]
CHUNK = 4096  # scores of a chunk stay in the cache
FEW = 32  # centres up to which scores are laid out with a line a centre
FEW_MOVED = 0.2  # share of rows up to which sums are corrected, not made anew
FEW_DOUBTS = 0.4  # share of rows up to which they are looked at alone
CALM = 0.03  # share of rows that change, under which leads are worth noting
WIDE_CHUNK = 8192  # shorter lines take numpy's buffered, slower loop


def layer(centers: Array, temperature: float) -> tuple[Array, Array]:
    """Weights and bias of the layer."""
    return 2 * temperature * centers, -temperature * (centers**2).sum(axis=1)


def row_norms(X: Any) -> Array:
    """Squared lengths of rows."""
    if sparse.issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1)).ravel()
    norms: Array = np.einsum("ij,ij->i", X, X)
    return norms


def spread(X: Any) -> float:
    """Mean variance of the columns, the unit of ``tol``."""
    mean = np.asarray(X.mean(axis=0)).ravel()
    if sparse.issparse(X):
        return float(row_norms(X).mean() / X.shape[1] - (mean**2).mean())
    total = 0.0
    for start in range(0, X.shape[0], CHUNK):
        apart = X[start : start + CHUNK] - mean
        total += float(np.vdot(apart, apart))
    return total / X.size


def squared_distances(X: Any, centers: Array) -> Array:
    """Squared distances of shape (n_rows, n_clusters)."""
    D: Array = row_norms(X)[:, None] - 2 * _product(X, centers)
    D += (centers**2).sum(axis=1)
    return np.maximum(D, 0, out=D)


def _product(X: Any, centers: Array) -> Array:
    return np.asarray(X @ centers.T)


def nearest(X: Any, centers: Array, lead: Array | None = None) -> tuple[Codes, Array]:
    """The layer's largest output for each row, over ``2 a``: its number and its value.

    The number is that of the nearest centre; the value is ``c x - |c|^2 / 2``. How far
    it is ahead of the second largest goes into ``lead``, for few centres alone.
    """
    labels = np.empty(X.shape[0], dtype=np.int32)
    top = np.empty(X.shape[0], dtype=centers.dtype)
    half = (centers**2).sum(axis=1) / 2
    if _has_lines(X, centers):
        _scan_centers(X, centers, half, labels, top, lead)
    else:
        _scan_rows(X, centers, half, labels, top)
    return labels, top


def _has_lines(X: Any, centers: Array) -> bool:
    return not sparse.issparse(X) and len(centers) <= FEW


def _scan_rows(X: Any, centers: Array, half: Array, labels: Codes, top: Array) -> None:
    """Scores with a line a row, which pays when there are many centres."""
    for start in range(0, X.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        scores = _product(X[rows], centers)
        scores -= half
        found = labels[rows] = scores.argmax(axis=1)
        top[rows] = scores[np.arange(len(found)), found]


def _scan_centers(
    X: Array,
    centers: Array,
    half: Array,
    labels: Codes,
    top: Array,
    lead: Array | None,
) -> None:
    """Scores with a line a centre: whole lines are compared at once.

    A cell of ``best`` is true where the centre is the row's best, so that numbers of
    centres times ``best`` add up to labels.
    """
    k, size = len(centers), max(1, min(WIDE_CHUNK, X.shape[0]))
    scores, best = np.empty((k, size), centers.dtype), np.empty((k, size), bool)
    numbers = np.arange(k, dtype=np.int8)[:, None]
    for start in range(0, X.shape[0], size):
        rows = slice(start, start + size)
        m = len(X[rows])
        if m < size:
            scores, best = np.empty((k, m), centers.dtype), np.empty((k, m), bool)
        np.matmul(centers, X[rows].T, out=scores)
        scores -= half[:, None]
        np.max(scores, axis=0, out=top[rows])
        np.equal(scores, top[rows], out=best)
        if np.count_nonzero(best) > m:  # ties: the first counts
            best[:] = np.arange(k)[:, None] == scores.argmax(axis=0)
        if lead is not None:
            np.putmask(scores, best, -np.inf)
            np.subtract(top[rows], scores.max(axis=0), out=lead[rows])
        coded = best.view(np.int8)
        coded *= numbers
        labels[rows] = coded.sum(axis=0, dtype=np.int8)


class Followed:
    """Nearest centres of rows of about one length, while the centres move.

    The lead of a row's centre over the runner-up shrinks by no more than the centres
    have moved, times the length of the row; only rows whose lead is used up are looked
    at again (the bound of Hamerly, 2010, on scores). Leads cost a third of a pass: they
    are noted once few rows change from step to step, and fewer still if that failed.
    """

    def __init__(self, X: Any, norms: Array) -> None:
        self.X = X
        self.reach = float(np.sqrt(norms.max(initial=0.0)))
        self.calm = CALM
        self.lead: Array | None = None
        self.labels: Codes
        self.centers: Array

    def nearest(self, centers: Array, moved: float) -> tuple[Codes, Array | None]:
        """Labels; scores as well where all rows were looked at.

        ``moved`` is the share of rows that the last step gave another centre.
        """
        n = self.X.shape[0]
        if self.lead is not None:
            doubt = self._in_doubt(centers)
            if len(doubt) <= FEW_DOUBTS * n:
                lead = np.empty(len(doubt), centers.dtype)
                labels = self.labels.copy()
                labels[doubt], _ = nearest(self.X.take(doubt, axis=0), centers, lead)
                self.lead[doubt] = lead
                self.centers, self.labels = centers, labels
                return labels, None
            self.calm = moved / 2
        notes = moved <= self.calm and _has_lines(self.X, centers)
        self.lead = np.empty(n, centers.dtype) if notes else None
        self.labels, top = nearest(self.X, centers, self.lead)
        self.centers = centers
        return self.labels, top

    def _in_doubt(self, centers: Array) -> Array:
        """Rows whose centre may no longer be the nearest; leads shrink."""
        assert self.lead is not None
        length = np.sqrt(row_norms(centers))
        drift = self.reach * np.sqrt(row_norms(centers - self.centers))
        drift += np.abs(row_norms(centers) - row_norms(self.centers)) / 2
        self.lead -= (drift + drift.max())[self.labels]
        # rounding of scores, and of what was taken off before
        margin = 1e4 * np.finfo(centers.dtype).eps * self.reach * length.max()
        return np.flatnonzero(self.lead <= margin)


def distances_below(norms: Array, top: Array) -> Array:
    """Squared distances to the nearest centre, from what :func:`nearest` found."""
    near = norms - 2 * top
    return np.maximum(near, 0, out=near)


def assign(X: Any, centers: Array, norms: Array) -> tuple[Codes, Array]:
    """Each row's nearest centre and the squared distance to it."""
    labels, top = nearest(X, centers)
    return labels, distances_below(norms, top)


def cluster_sums(X: Any, labels: Codes, k: int) -> tuple[Array, Array]:
    """Sums and numbers of the rows of each cluster."""
    n = X.shape[0]
    pick = sparse.csc_array(
        (np.ones(n, dtype=X.dtype), labels, np.arange(n + 1, dtype=labels.dtype)),
        shape=(k, n),
    )
    sums = pick @ X
    sums = sums.toarray() if sparse.issparse(sums) else np.asarray(sums)
    return sums, np.bincount(labels, minlength=k).astype(np.float64)


def moved_sums(
    X: Any, labels: Codes, new_labels: Codes, sums: Array, counts: Array
) -> tuple[Array, Array]:
    """Sums and numbers of clusters from those before some rows changed theirs.

    For rows of about one length: a large row would leave its rounding behind.
    """
    rows, k = np.flatnonzero(new_labels != labels), len(sums)
    if len(rows) > FEW_MOVED * len(labels):
        return cluster_sums(X, new_labels, k)
    moved = X[rows]
    came, n_came = cluster_sums(moved, new_labels[rows], k)
    went, n_went = cluster_sums(moved, labels[rows], k)
    return sums + (came - went), counts + (n_came - n_went)


# --- soft assignments ---------------------------------------------------------------


def soft_assignment(D: Array, temperature: float) -> Array:
    """Return ``softmax(-a D)``, row by row."""
    found: Array = softmax(-temperature * D, axis=1)
    return found


def loss_of(D: Array, temperature: float, loss: str) -> float:
    """The objective: inertia, its expectation, or the log-sum-exp under it."""
    if loss == "hard":
        return float(D.min(axis=1).sum())
    if loss == "expected":
        return float((soft_assignment(D, temperature) * D).sum())
    return float(-logsumexp(-temperature * D, axis=1).sum() / temperature)


def pulls(D: Array, temperature: float, loss: str) -> tuple[Array, Array]:
    """Shares of each row in the centres, and how strongly it pulls at each.

    Half the gradient with respect to centre ``c_j`` is ``sum_i v_ij (c_j - x_i)``. For
    the expectation ``v = I (1 - a (D - L))`` with ``L`` the row's loss, which is
    negative for far centres; for the others ``v`` is the share ``I`` itself.
    """
    if loss == "hard":
        shares = np.zeros_like(D)
        shares[np.arange(len(D)), D.argmin(axis=1)] = 1
        return shares, shares
    shares = soft_assignment(D, temperature)
    if loss == "logsumexp":
        return shares, shares
    own = (shares * D).sum(axis=1, keepdims=True)
    return shares, shares * (1 - temperature * (D - own))


def default_temperature(near: Array) -> float:
    """One over the median squared distance to the nearest centre."""
    middle = float(np.median(near))
    return 1 / middle if middle > 0 and np.isfinite(1 / middle) else 1.0


def to_unit(C: Array) -> Array:
    """Rows of length one; rows of zeros stay."""
    length = np.sqrt(row_norms(C))
    return C * (1 / np.where(length > 0, length, 1)).astype(C.dtype)[:, None]


# --- whole tables: Lloyd ------------------------------------------------------------


class Clusters(NamedTuple):
    """What a run ends with; ``near`` are squared distances to the nearest centre."""

    centers: Array
    labels: Codes
    near: Array
    value: float
    n_iter: int
    stopped: str = "converged"


class Layer(NamedTuple):
    """What a step needs to know of the layer.

    ``unit`` keeps the centres at length one.
    """

    loss: str
    temperature: float
    unit: bool


class Walk:
    """Centres on their way to the means of their rows."""

    def __init__(self, X: Any, centers: Array, how: Layer) -> None:
        self.X, self.centers, self.how = X, centers, how
        self.norms = row_norms(X)
        self.labels: Codes = np.full(X.shape[0], -1, dtype=np.int32)
        self.moved, self.still = 1.0, False
        self._top: Array | None = None
        self._known: Any = None
        self._follow = Followed(X, self.norms)

    def step(self) -> float:
        """Assign rows and move centres; return the sum of squared shifts."""
        centers = self.centers
        labels, sums, counts = self._hard() if self.how.loss == "hard" else self._soft()
        filled = np.where(counts > 0, counts, 1)[:, None].astype(centers.dtype)
        new = np.where(counts[:, None] > 0, sums / filled, centers)
        new = to_unit(new) if self.how.unit else new
        self.still = np.array_equal(new, centers)
        self.moved = np.count_nonzero(labels != self.labels) / len(labels)
        self.centers, self.labels = new, labels
        return float(((new - centers) ** 2).sum())

    def _hard(self) -> tuple[Codes, Array, Array]:
        """Labels of the rows, sums and numbers of the rows of each cluster."""
        X, centers = self.X, self.centers
        if self.how.unit:
            labels, self._top = self._follow.nearest(centers, self.moved)
        else:
            labels, self._top = nearest(X, centers)
        if self._known is not None and self.how.unit:
            self._known = moved_sums(X, self.labels, labels, *self._known)
        else:
            self._known = cluster_sums(X, labels, len(centers))
        sums, counts = self._known
        if (counts == 0).any():
            sums, counts = sums.copy(), counts.copy()
            _relocate(X, centers, labels, sums, counts)
        return labels, sums, counts

    def _soft(self) -> tuple[Codes, Array, Array]:
        """Most likely labels, sums and numbers of rows by soft assignments."""
        D = squared_distances(self.X, self.centers)
        shares = soft_assignment(D, self.how.temperature)
        sums = np.asarray((self.X.T @ shares).T)
        return D.argmin(axis=1).astype(np.int32), sums, shares.sum(axis=0)

    def clusters(self, n_iter: int, stopped: str) -> Clusters:
        """The rows under the centres as they are now."""
        if self._top is not None and self.still:  # the rows have seen these centres
            labels, near = self.labels, distances_below(self.norms, self._top)
        else:
            labels, near = assign(self.X, self.centers, self.norms)
        value, loss = float(near.sum(dtype=np.float64)), self.how.loss
        if loss != "hard":
            D = squared_distances(self.X, self.centers)
            value = loss_of(D, self.how.temperature, loss)
        return Clusters(self.centers, labels, near, value, n_iter, stopped)


def lloyd(
    X: Any,
    centers: Array,
    how: Layer,
    *,
    max_iter: int,
    tol: float,
    progress: Progress | None = None,
) -> Clusters:
    """Alternate assignments and means until neither moves.

    An empty cluster takes the row farthest from its centre, as in scikit-learn's
    k-means, whose path this is for hard assignments.
    """
    progress = Progress() if progress is None else progress
    walk, n_iter, stopped = Walk(X, centers, how), 0, "max_iter"
    with progress.interruptible(lambda: n_iter > 0):
        for _ in progress.iterations(max_iter):
            shift = walk.step()
            n_iter += 1
            if progress.step(state=walk.centers):
                break
            if shift <= tol or (how.loss == "hard" and walk.moved == 0):
                stopped = "converged"
                break
    return walk.clusters(n_iter, progress.reason(stopped))


def _relocate(
    X: Any, centers: Array, labels: Codes, sums: Array, counts: Array
) -> None:
    """Give each empty cluster the row farthest from its centre."""
    empty = np.flatnonzero(counts == 0)
    D = squared_distances(X, centers)[np.arange(X.shape[0]), labels]
    if D.max() == 0:  # fewer distinct rows than clusters
        return
    far = np.argpartition(D, -len(empty))[: -len(empty) - 1 : -1]
    for j, row in zip(empty, far, strict=True):
        x = X[[row]].toarray()[0] if sparse.issparse(X) else X[row]
        sums[labels[row]] -= x
        counts[labels[row]] -= 1
        sums[j], counts[j] = x, 1


# --- streams: one batch -------------------------------------------------------------


def online_step(
    X: Any, centers: Array, counts: Array, weight: Array | None, how: Layer
) -> tuple[Array, Array]:
    """Move each centre by the batch's share in all it has seen.

    ``c += sum_i v_i (x_i - c) / counts``: for hard assignments the rule of mini-batch
    k-means, under which a centre is the mean of its rows.
    """
    D = squared_distances(X, centers)
    shares, pull = pulls(D, how.temperature, how.loss)
    if weight is not None:
        shares, pull = shares * weight[:, None], pull * weight[:, None]
    counts = counts + shares.sum(axis=0)
    move = np.asarray((X.T @ pull).T) - pull.sum(axis=0)[:, None] * centers
    rate = np.where(counts > 0, 1 / np.where(counts > 0, counts, 1), 0)
    moved = centers + (rate[:, None] * move).astype(centers.dtype)
    return (to_unit(moved) if how.unit else moved), counts


def reassign(
    X: Any, centers: Array, counts: Array, ratio: float, rng: np.random.Generator
) -> Array:
    """Move centres that hardly anything reaches to random rows of the batch."""
    dead = np.flatnonzero(counts < ratio * counts.max())
    dead = dead[np.argsort(counts[dead], kind="stable")][: X.shape[0] // 2]
    if not len(dead):
        return centers
    rows = rng.choice(X.shape[0], size=len(dead), replace=False)
    picked = X[rows].toarray() if sparse.issparse(X) else X[rows]
    centers = centers.copy()
    centers[dead] = picked
    return centers
