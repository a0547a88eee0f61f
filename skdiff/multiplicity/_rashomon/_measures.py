"""Measures of a level set beyond the range of one row."""

import copy
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import gammaln
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skdiff._base.plotting import require_pandas
from skdiff.multiplicity._sets import _sampling as sampling
from skdiff.multiplicity._sets._discrepancy import Changes, discrepancy_bracket

# Below this fraction of the draws the weights are too uneven: hit-and-run mixes them.
SMALLEST_SHARE = 0.1


class MeasuresMixin:
    """Discrepancy, samples, volume and profiles of a fitted level set."""

    # --- many decisions at once -----------------------------------------------------

    def discrepancy(
        self: Any, X: Any, delta: float | None = None, method: str = "bounds"
    ) -> Any:
        """Bracket the largest proportion of rows on which one model differs.

        The ambiguity counts rows that *some* model of the set changes, each its own;
        the discrepancy is what a *single* one of them changes at once. Finding it
        exactly is a combinatorial problem, so two proven bounds are returned, and the
        model that attains the lower one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float, default=None
            Count rows whose prediction moves by at least this; rows whose label
            changes if None (classifiers only).
        method : {"bounds", "exact"}, default="bounds"
            ``"bounds"`` takes polynomial time. ``"exact"`` goes on with branch and
            bound until the bounds meet; meant for some thirty ambiguous rows, it warns
            with what is left when it gives up. Beyond 300 ambiguous rows it does not
            start.

        Returns
        -------
        lower : float
            Proportion that ``model`` changes.
        upper : float
            Proportion that no model of the set exceeds; at most the ambiguity.
        model : estimator
            A copy of the audited estimator, with the coefficients of that model.

        Warns
        -----
        ConvergenceWarning
            If ``method="exact"`` leaves a gap.
        """
        if method not in ("bounds", "exact"):
            raise ValueError(f"method must be 'bounds' or 'exact', got {method!r}.")
        self._smooth_set("discrepancy")
        V = self._query(X)
        delta = self._check_delta(delta)
        unique, weight = np.unique(V, axis=0, return_counts=True)
        fitted = self._set
        bounds = self._range(unique)
        f = unique @ fitted.baseline
        below, above = self._limits(f, bounds, delta)
        rows = np.isfinite(below) | np.isfinite(above)
        changes = Changes(unique, below, above, weight.astype(np.float64))
        found = discrepancy_bracket(
            fitted.level_set,
            changes.take(rows),
            fitted.budget,
            exact=method == "exact",
            rng=check_random_state(self.random_state),
        )
        model = self._model_at(found.model if found.lower > 0 else fitted.baseline)
        if method == "exact" and found.lower < found.upper:
            warnings.warn(
                f"The search left the discrepancy between {found.lower:g} and "
                f"{found.upper:g} of {len(V)} rows.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return found.lower / len(V), found.upper / len(V), model

    def _limits(self: Any, f: Any, bounds: Any, delta: Any) -> Any:
        """What the linear predictor must fall to, or rise to, to count as changed.

        Infinite where no model gets there.
        """
        low, high = bounds.T
        if delta is None:
            cut = self._cut()
            positive = f > cut
            # the label of ``classes_[1]`` is given strictly above the threshold
            above = np.where(positive, np.inf, np.nextafter(cut, np.inf))
            below = np.where(positive, cut, -np.inf)
            changes = self._on_both_sides(bounds, self.threshold)
        else:
            middle = self._response(f)
            above = self._first_change(f, high, middle, delta)
            below = self._first_change(f, low, middle, delta)
            changes = np.isfinite(above) | np.isfinite(below)
        above = np.where(changes & (above <= high), above, np.inf)
        below = np.where(changes & (below >= low), below, -np.inf)
        return below, above

    def _first_change(self: Any, f: Any, end: Any, middle: Any, delta: Any) -> Any:
        """Bisect for where the response has moved by delta on the way to the end."""
        sign = np.sign(np.where(end == f, 1.0, end - f))
        near, far = f.copy(), np.where(np.isfinite(end), end, f + sign * 1e3)
        moved = np.abs(self._response(far) - middle) >= delta
        for _ in range(100):
            half = (near + far) / 2
            beyond = np.abs(self._response(half) - middle) >= delta
            near, far = np.where(beyond, near, half), np.where(beyond, half, far)
        return np.where(moved, far, sign * np.inf)

    def _model_at(self: Any, w: Any) -> Any:
        """The audited estimator with other coefficients."""
        model = copy.deepcopy(self.estimator_)
        while not hasattr(model, "steps") and not hasattr(model, "coef_"):
            model = model.estimator
        last = model.steps[-1][1] if hasattr(model, "steps") else model
        while "coef_" not in vars(last):
            last = last.estimator
        coef, intercept = self._set.scaling.features(w)
        last.coef_ = np.asarray(coef).reshape(np.shape(last.coef_))
        shape = np.shape(last.intercept_)
        last.intercept_ = np.full(shape, intercept) if shape else float(intercept)
        return model

    def _smooth_set(self: Any, what: Any) -> Any:
        """The level set of a smooth objective; others are refused."""
        check_is_fitted(self)
        self._two_classes()
        if not self._set.smooth:
            raise ValueError(
                f"{what} is offered for smooth losses with an L2 penalty or none, on "
                "dense columns. For an L1 penalty, a piecewise linear loss or sparse X "
                "of many columns use the ranges instead."
            )
        return self._set.level_set

    # --- samples and volume ---------------------------------------------------------

    def sample(self: Any, n_samples: int = 1000, random_state: Any = None) -> Any:
        """Draw models that represent the uniform distribution over the set.

        Rays through the centre end at the boundary; directions are weighted by what
        volume they carry, so no Markov chain and no burn-in is needed. The effective
        sample size is ``1 / sum(weights ** 2)``. Samples show what typical models of
        the set do; for extremes use the ranges, which no finite sample reaches.

        Parameters
        ----------
        n_samples : int, default=1000
            Number of models.
        random_state : int, RandomState instance or None, default=None
            Source of randomness; the constructor's if None.

        Returns
        -------
        coef : ndarray of shape (n_samples, n_features)
            Coefficients, each in the set.
        intercept : ndarray of shape (n_samples,)
            Intercepts.
        weights : ndarray of shape (n_samples,)
            Importance weights that sum to one.

        Warns
        -----
        ConvergenceWarning
            If the effective sample size is below a tenth of ``n_samples``. The draws
            are then resampled by their weights and moved by hit-and-run, and the
            weights are equal.
        """
        level_set, rng = self._bounded_set(n_samples, random_state)
        U, weight = sampling.draw(level_set, self._set.budget, n_samples, rng)
        size = sampling.effective_size(weight)
        if size < SMALLEST_SHARE * n_samples:
            warnings.warn(
                f"The effective sample size is {size:.0f} of {n_samples}: the set is "
                "far from an ellipsoid. The draws are mixed by hit-and-run.",
                ConvergenceWarning,
                stacklevel=2,
            )
            U = U[rng.choice(n_samples, n_samples, p=weight)]
            n_steps = max(20, U.shape[1])
            U = sampling.hit_and_run(level_set, U, self._set.budget, n_steps, rng)
            weight = np.full(n_samples, 1 / n_samples)
        return *self._set.scaling.features(level_set.models(U)), weight

    def log_volume(
        self: Any,
        n_samples: int = 4000,
        *,
        return_std: bool = False,
        random_state: Any = None,
    ) -> Any:
        """Estimate the logarithm of the volume of the set, without bias.

        The volume is that of coefficients and intercept in the units of the features.

        Parameters
        ----------
        n_samples : int, default=4000
            Number of rays.
        return_std : bool, default=False
            Whether to return the standard error too.
        random_state : int, RandomState instance or None, default=None
            Source of randomness; the constructor's if None.

        Returns
        -------
        log_volume : float
            Natural logarithm of the volume.
        std : float
            Its standard error, only with ``return_std=True``.
        """
        level_set, rng = self._bounded_set(n_samples, random_state)
        value, error = sampling.log_volume(level_set, self._set.budget, n_samples, rng)
        value = float(value + self._set.scaling.log_volume)
        return (value, error) if return_std else value

    def log_volume_ratio(
        self: Any,
        reference: Any,
        n_samples: int = 4000,
        *,
        return_std: bool = False,
        random_state: Any = None,
    ) -> Any:
        """Estimate the logarithm of the Rashomon ratio.

        That is the proportion of a reference set of models that lies in the set: how
        common good models are among those one would have considered.

        Parameters
        ----------
        reference : float or array-like of shape (n_parameters, 2)
            Radius of a ball around zero, or smallest and largest value of each
            coefficient, the intercept last.
        n_samples : int, default=4000
            Number of rays.
        return_std : bool, default=False
            Whether to return the standard error too.
        random_state : int, RandomState instance or None, default=None
            Source of randomness; the constructor's if None.

        Returns
        -------
        log_ratio : float
            Natural logarithm; minus infinity if no drawn model lies in the reference.
        std : float
            Its standard error, only with ``return_std=True``.
        """
        level_set, rng = self._bounded_set(n_samples, random_state)
        n_parameters = self._set.scaling.n_parameters
        inside, log_reference = _reference(reference, n_parameters)
        volume, _ = sampling.log_volume(level_set, self._set.budget, n_samples, rng)
        U, weight = sampling.draw(level_set, self._set.budget, n_samples, rng)
        coef, intercept = self._set.scaling.features(level_set.models(U))
        if self._set.scaling.intercept:
            coef = np.column_stack([coef, intercept])
        share = weight * n_samples
        hit = share * inside(coef)
        mean = hit.mean()
        if mean == 0:
            return (-np.inf, np.nan) if return_std else -np.inf
        value = volume + self._set.scaling.log_volume + np.log(mean) - log_reference
        # the volume and the fraction come from separate draws
        error = np.sqrt(np.var(hit) / mean**2 + np.var(share)) / np.sqrt(n_samples)
        return (float(value), float(error)) if return_std else float(value)

    def _bounded_set(self: Any, n_samples: Any, random_state: Any) -> Any:
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be an int >= 1, got {n_samples!r}.")
        level_set = self._smooth_set("sampling")
        if level_set.null.shape[1]:
            raise ValueError(
                "The set is unbounded in directions that the data do not determine: "
                "columns are collinear and the model has no penalty. Drop columns or "
                "penalise it."
            )
        seed = self.random_state if random_state is None else random_state
        return level_set, check_random_state(seed)

    # --- many tolerances ------------------------------------------------------------

    def profile(self: Any, X: Any, epsilons: Any) -> Any:
        """Return the widths of the ranges for several tolerances.

        All tolerances are computed along one path, each started from the last.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.
        epsilons : array-like of shape (n_epsilons,)
            Tolerances, of the kind of ``epsilon_type``.

        Returns
        -------
        widths : ndarray of shape (n_epsilons, n_samples)
            Widths in units of probability (classifier) or value (regressor).
        """
        bounds = self._range_path(self._query(X), epsilons)
        response = self._response(bounds)
        return response[..., 1] - response[..., 0]


class AbstentionMixin:
    """What withholding arbitrary decisions costs and gains."""

    def abstention_curve(
        self: Any, X: Any, y: Any, epsilons: Any = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    ) -> Any:
        """Measure what withholding arbitrary decisions costs and gains.

        At each tolerance the rows on which the set disagrees are withheld. The usual
        alternative is reported beside it: withhold as many rows, those nearest to the
        threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their labels.
        epsilons : array-like of float, default=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
            Tolerances, of the kind of ``epsilon_type``.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``epsilon``, ``coverage`` (proportion of rows decided), ``accuracy``
            (on them), ``accuracy_withheld`` (on the others) and ``accuracy_by_margin``
            (on as many decided rows when those nearest to the threshold are withheld).
            NaN where no row is left to count.
        """
        pd = require_pandas("abstention_curve")
        V = self._query(X)
        y = column_or_1d(y)
        if len(y) != len(V):
            raise ValueError(f"y has {len(y)} entries for {len(V)} rows of X.")
        f = V @ self._set.baseline
        right = self.classes_[(f > self._cut()).astype(int)] == y
        nearest = np.argsort(np.abs(f - self._cut()), kind="stable")
        lines = []
        paths = self._range_path(V, epsilons)
        for epsilon, bounds in zip(np.atleast_1d(epsilons), paths, strict=True):
            withheld = self._on_both_sides(bounds, self.threshold)
            lines.append(
                {
                    "epsilon": float(epsilon),
                    "coverage": 1 - withheld.mean(),
                    "accuracy": _mean(right[~withheld]),
                    "accuracy_withheld": _mean(right[withheld]),
                    "accuracy_by_margin": _mean(right[nearest[withheld.sum() :]]),
                }
            )
        return pd.DataFrame(lines)


def _mean(hits: Any) -> Any:
    return hits.mean() if len(hits) else np.nan


def _reference(reference: Any, n_parameters: Any) -> Any:
    """Membership in a ball or box, and the logarithm of its volume."""
    if isinstance(reference, Real):
        radius = float(reference)
        if not 0 < radius < np.inf:
            raise ValueError(f"reference must be a radius > 0, got {reference!r}.")
        half = n_parameters / 2
        volume = half * np.log(np.pi) - gammaln(half + 1)
        volume += n_parameters * np.log(radius)
        return lambda w: np.linalg.norm(w, axis=1) <= radius, volume
    box = check_array(reference, dtype=np.float64, input_name="reference")
    if box.shape != (n_parameters, 2) or not np.all(box[:, 0] < box[:, 1]):
        raise ValueError(
            f"reference must be a radius or a box of shape ({n_parameters}, 2) with "
            f"smaller first column, got shape {box.shape}."
        )
    volume = np.log(box[:, 1] - box[:, 0]).sum()
    return lambda w: np.all((box[:, 0] <= w) & (w <= box[:, 1]), axis=1), volume
