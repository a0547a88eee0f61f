"""Audits of three classes or more: one multinomial set, or one binary set a class."""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array

from skdiff.multiplicity._sets import _linear_models as linear
from skdiff.multiplicity._sets._multinomial import (
    largest_probabilities,
    small_probabilities,
)

SHARED = ("epsilon", "epsilon_type", "level", "solver", "tol", "max_iter", "n_jobs")


def one_vs_rest(audit, model, features, codes, sample_weight):
    """Attributes of a product of binary level sets, one a class."""
    parts = []
    pairs = linear.binary_models(model, codes.astype(np.intp), sample_weight)
    for k, (part, weight) in enumerate(pairs):
        binary = type(audit)(FrozenEstimator(part), random_state=audit.random_state)
        binary.set_params(**{name: getattr(audit, name) for name in SHARED})
        binary.fit(features, (codes == k).astype(int), sample_weight=weight)
        parts.append(binary)
    hessians = [part.hessian_ for part in parts]
    return {
        "_parts": parts,
        "_data": None,
        "coef_": np.concatenate([part.coef_ for part in parts]),
        "intercept_": np.concatenate([part.intercept_ for part in parts]),
        "objective_": np.array([part.objective_ for part in parts]),
        "epsilon_": np.array([part.epsilon_ for part in parts]),
        "hessian_": None if hessians[0] is None else np.stack(hessians),
        "n_iter_": max(part.n_iter_ for part in parts),
        "_live": {},
    }


class MulticlassRanges:
    """What :class:`RashomonClassifier` answers for three classes or more.

    ``audit`` is the fitted classifier and ``features`` are rows as the linear model
    sees them.
    """

    def __init__(self, audit, features):
        self.audit, self.features, self.parts = audit, features, audit.estimators_
        self.K = len(audit.classes_)
        if self.parts is None:
            self.V = audit._directions(features)

    def scores(self):
        """Baseline predictors (m, K)."""
        if self.parts is not None:
            f = [part.decision_function(self.features) for part in self.parts]
            return np.column_stack(f)
        return self.V @ self.audit._baseline.reshape(self.K, -1).T

    def probabilities(self):
        """Baseline probabilities (m, K)."""
        F = self.scores()
        if self.parts is not None:
            P = 1 / (1 + np.exp(-F))
        else:
            P = np.exp(F - F.max(axis=1, keepdims=True))
        return P / P.sum(axis=1, keepdims=True)

    def score_ranges(self):
        """Ranges (m, K, 2) of the predictors of one-vs-rest models."""
        return np.stack([p.decision_range(self.features) for p in self.parts], axis=1)

    def margins(self, models=False):
        """Ranges (m, K, K, 2) of ``f_k - f_j``; with models their whitened ends."""
        if self.parts is not None:
            f = self.score_ranges()
            low = f[:, :, None, 0] - f[:, None, :, 1]
            high = f[:, :, None, 1] - f[:, None, :, 0]
            bounds = np.stack([low, high], axis=-1)
            bounds[:, np.arange(self.K), np.arange(self.K)] = 0.0
            return bounds
        m, p = self.V.shape
        bounds = np.zeros((m, self.K, self.K, 2))
        rank = self.audit._level_set().whiten.shape[1]
        ends = np.zeros((m, self.K, self.K, rank if models else 0))
        for k in range(self.K):
            for j in range(k):
                D = np.zeros((m, self.K, p))
                D[:, k], D[:, j] = self.V, -self.V
                D = D.reshape(m, -1)
                if models:
                    found, low, high = self._ends(D)
                    ends[:, k, j], ends[:, j, k] = high, low
                else:
                    found = self.audit._range(D)
                bounds[:, k, j], bounds[:, j, k] = found, -found[:, ::-1]
        return (bounds, ends) if models else bounds

    def _ends(self, D):
        audit, level_set = self.audit, self.audit._level_set()
        norms, low, high = level_set.maxima(
            D,
            audit._budget,
            tol=audit.tol,
            max_iter=audit.max_iter,
            n_jobs=audit.n_jobs,
        )
        middle = D @ level_set.center
        with np.errstate(invalid="ignore"):
            found = np.column_stack(
                [middle - norms * low.value, middle + norms * high.value]
            )
        found[norms == 0] = middle[norms == 0, None]
        return found, low.model, high.model

    def probability_ranges(self, inner=False):
        """Ranges (m, K, 2), and with ``inner`` the smallest values found (m, K)."""
        if self.parts is not None:
            f = 1 / (1 + np.exp(-self.score_ranges()))
            # each share grows with its own score and falls with the others
            total = f.sum(axis=1)
            low, high = f[..., 0], f[..., 1]
            others_high = total[:, None, 1] - high
            others_low = total[:, None, 0] - low
            bounds = np.stack(
                [_share(low, others_high), _share(high, others_low)], axis=-1
            )
            return (bounds, bounds[..., 0].copy()) if inner else bounds
        margins = self.margins(models=inner)
        margins, ends = margins if inner else (margins, None)
        with np.errstate(over="ignore"):
            # f_k - f_j at its smallest for every j at once: an outer bound
            low = 1 / np.exp(-margins[..., 0]).sum(axis=2)
        audit = self.audit
        settings = {"tol": audit.tol, "max_iter": audit.max_iter}
        bounded = np.isfinite(margins).all(axis=(1, 2, 3))
        high, found = np.ones_like(low), np.zeros_like(low)
        arguments = (audit._level_set(), self.V[bounded], audit._budget)
        if bounded.any():
            high[bounded] = largest_probabilities(*arguments, **settings)
            if inner:
                found[bounded] = small_probabilities(
                    *arguments, ends[bounded], **settings
                )
        bounds = np.stack([low, high], axis=-1)
        return (bounds, np.maximum(found, low)) if inner else bounds

    def conflicts(self):
        """Rows of which another class than the baseline's wins in some model."""
        winner = self.scores().argmax(axis=1)
        rows = np.arange(len(winner))
        over = self.margins()[rows, :, winner, 1]  # largest f_j - f_winner
        over[rows, winner] = -np.inf
        return over.max(axis=1) >= 0

    def columns(self, probable):
        """Prediction and range of every class: (m, K) and (m, K, 2)."""
        if probable:
            return self.probabilities(), self.probability_ranges()
        return self.scores(), self.score_ranges()


def _share(own, others):
    total = own + others
    return np.where(total > 0, own / np.where(total > 0, total, 1.0), 0.0)


def coefficient_ranges(audit):
    """Ranges (K, n_parameters, 2); of a multinomial model around their mean."""
    if audit.estimators_ is not None:
        return np.stack([part.coef_range() for part in audit.estimators_])
    K, base = len(audit.classes_), audit._coefficient_directions()
    # a constant added to all classes changes no probability: take the mean away
    gauge = np.eye(K) - 1.0 / K
    bounds = audit._range(np.kron(gauge, base))
    return bounds.reshape(K, len(base), 2)


def functional_ranges(audit, V):
    """Ranges (m, 2) of functionals of all classes' coefficients."""
    K = len(audit.classes_)
    d = audit.coef_.shape[1]
    V = check_array(V, dtype=np.float64, input_name="V")
    if V.shape[1] not in (K * d, K * (d + 1)):
        raise ValueError(
            f"V has {V.shape[1]} features, but {K} classes have {K * d} coefficients "
            f"or, with intercepts, {K * (d + 1)}."
        )
    V = V.reshape(len(V), K, -1)
    if audit.estimators_ is not None:
        # the product of sets: ends add up
        parts = zip(audit.estimators_, V.transpose(1, 0, 2), strict=True)
        return sum(part.functional_range(v) for part, v in parts)
    base = audit._coefficient_directions()
    return audit._range((V @ base[: V.shape[2]]).reshape(len(V), -1))
