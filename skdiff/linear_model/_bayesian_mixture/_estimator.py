"""Exact Bayesian linear regression over a grid of scales."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    Interval,
    Options,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_levels, check_X, check_X_y
from skdiff.linear_model._bayesian_mixture._mixture import (
    Design,
    Grid,
    Posterior,
    coefficients,
    decompose,
    posterior,
    predictive,
    units,
)

# of the grid: standard deviation of the signal, and of the noise, over that of y
_SIGNAL, _NOISE = (0.05, 5.0), (0.01, 2.0)


class BayesianLinearMixture(SaveMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Linear regression that averages over how strong the signal and the noise are.

    Use it for small tables, with fewer rows than columns too, where an interval or a
    predictive distribution is wanted: the strength of the coefficients and of the noise
    are not estimated but averaged over, exactly, at the price of one singular value
    decomposition. :class:`~sklearn.linear_model.BayesianRidge` takes one best pair of
    strengths, and its intervals are too narrow with few rows. Standardise columns of
    different units first: all coefficients have one prior.

    Parameters
    ----------
    n_scales : int, default=15
        Number of scales of the coefficients in the grid.
    n_noises : int, default=15
        Number of scales of the noise in the grid.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which has a flat prior.
    prior : {"log-uniform"}, default="log-uniform"
        Prior of both scales: equal weight for each cell of a grid that is even in the
        logarithms.
    dof : float, default=4.0
        Degrees of freedom of the common factor of signal and noise: small values let
        the data set the level of both together; infinity fixes it.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Posterior mean of the coefficients.
    intercept_ : float or ndarray of shape (n_targets,)
        Posterior mean of the intercept.
    scales_ : ndarray of shape (n_scales,) or (n_targets, n_scales)
        Prior standard deviations of the coefficients.
    noises_ : ndarray of shape (n_noises,) or (n_targets, n_noises)
        Standard deviations of the noise.
    weights_ : ndarray of shape (n_scales, n_noises) or (n_targets, n_scales, n_noises)
        Posterior probabilities of the cells.
    log_marginal_likelihood_ : float or ndarray of shape (n_targets,)
        Logarithm of the density of y under the whole mixture. The flat prior of the
        intercept counts with density 1.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    sklearn.linear_model.BayesianRidge : One pair of strengths, by maximum likelihood.
    sklearn.gaussian_process.GaussianProcessRegressor : Relations that are not linear.

    Notes
    -----
    A cell (tau, sigma) says ``w ~ N(0, s^2 tau^2 I)`` and noise ``N(0, s^2 sigma^2)``
    with ``s^2 ~ dof / chi^2(dof)``. Integrating coefficients, intercept and s gives
    Student t distributions with ``dof + n - 1`` degrees of freedom; predictions are
    their mixture. The grid follows the spread of y, and of X as a whole, so that
    another unit of y, or of all of X, changes nothing. A ``sample_weight`` is that many
    rows.

    References
    ----------
    The hierarchical model that networks for regression in context imitate: E. Akyürek,
    D. Schuurmans, J. Andreas, T. Ma and D. Zhou, "What Learning Algorithm Is In-Context
    Learning?", ICLR 2023, arXiv:2211.15661.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import BayesianLinearMixture
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = BayesianLinearMixture().fit(X[:30], y[:30])
    >>> model.predict_quantiles(X[30:32], [0.05, 0.95]).shape
    (2, 2)
    """

    _parameter_constraints: dict = {
        "n_scales": [Interval(Integral, 1, None, closed="left")],
        "n_noises": [Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "prior": [StrOptions({"log-uniform"})],
        "dof": [Interval(Real, 0, None, closed="neither"), Options(Real, {np.inf})],
    }

    def __init__(
        self,
        n_scales=15,
        n_noises=15,
        *,
        fit_intercept=True,
        prior="log-uniform",
        dof=4.0,
    ):
        self.n_scales = n_scales
        self.n_noises = n_noises
        self.fit_intercept = fit_intercept
        self.prior = prior
        self.dof = dof

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Compute the posterior of every cell.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a weight of 2 counts as two rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y = check_X_y(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
        )
        weight = check_sample_weight(sample_weight, X)
        kept = weight > 0
        X, weight = X[kept], weight[kept]
        y = np.asarray(y, dtype=np.float64)[kept]
        several, targets = y.ndim == 2, y.reshape(len(y), -1)
        # the numbers see columns and targets of spread one, whatever their units
        width, heights = units(X, targets, weight, self.fit_intercept)
        design = decompose(X / width, weight, self.fit_intercept)
        grid = Grid(
            np.geomspace(*_SIGNAL, self.n_scales), np.geomspace(*_NOISE, self.n_noises)
        )
        dof, b = float(self.dof), self.fit_intercept
        found = [
            posterior(design, target / height, grid, dof, b)
            for target, height in zip(targets.T, heights, strict=True)
        ]
        coef = np.stack([coefficients(design, f, grid) for f in found])
        coef *= heights[:, None] / width
        means = heights * np.array([f.y_mean for f in found])
        evidence = np.array([f.log_evidence for f in found])
        shape = (-1, self.n_scales, self.n_noises)
        self._state = {
            "design": design.without_rows()._asdict(),
            "posteriors": [f._asdict() for f in found],
            "grid": grid._asdict(),
            "dof": dof,
            "width": width,
            "heights": heights,
            "several": several,
        }
        results = {
            "coef_": coef,
            "intercept_": means - coef @ (design.mean * width),
            "scales_": np.outer(heights / width, grid.scales),
            "noises_": np.outer(heights, grid.noises),
            "weights_": np.stack([f.weights for f in found]).reshape(shape),
            "log_marginal_likelihood_": evidence - design.m * np.log(heights),
        }
        for name, values in results.items():
            setattr(self, name, self._as_given(values))
        return self

    def _as_given(self, values):
        """Drop the axis of the targets where y was one-dimensional."""
        if self._state["several"]:
            return values
        return values[0] if values.ndim > 1 else float(values[0])

    def predict(self, X, return_std=False):
        """Predict the mean of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return standard deviations too.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Means of the predictive distributions.
        y_std : ndarray of the same shape
            Their standard deviations, only with ``return_std=True``. They are infinite
            with two degrees of freedom or less.
        """
        X = self._query(X)
        mean = X @ np.atleast_2d(self.coef_).T + self.intercept_
        mean = mean if self._state["several"] else mean[:, 0]
        if not return_std:
            return mean
        parts = [
            part.std() * height
            for part, height in zip(
                self._mixtures(X), self._state["heights"], strict=True
            )
        ]
        return mean, self._columns(parts)

    def predict_quantiles(self, X, q):
        """Predict quantiles of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        q : float or array-like of shape (n_levels,)
            Levels between 0 and 1.

        Returns
        -------
        quantiles : ndarray of shape (n_samples, n_levels) or \
                (n_samples, n_levels, n_targets)
            Quantiles of the predictive distributions.
        """
        X = self._query(X)
        levels = np.atleast_1d(check_levels(q, name="q"))
        parts = [
            part.quantiles(levels) * height
            for part, height in zip(
                self._mixtures(X), self._state["heights"], strict=True
            )
        ]
        return self._columns(parts)

    def log_prob(self, X, y):
        """Return the logarithm of the predictive density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Values whose density is wanted.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Logarithms of densities, each target by itself.
        """
        X = self._query(X)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        heights = self._state["heights"]
        expected = (len(X), len(heights)) if self._state["several"] else (len(X),)
        if y.shape != expected:
            raise ValueError(f"y must have shape {expected}. Got {y.shape}.")
        parts = [
            part.log_density(target / height) - np.log(height)
            for part, target, height in zip(
                self._mixtures(X), y.reshape(len(X), -1).T, heights, strict=True
            )
        ]
        return self._columns(parts)

    def _query(self, X):
        check_is_fitted(self)
        return check_X(self, X, reset=False, dtype=np.float64)

    def _mixtures(self, X):
        """Predictive distributions, one per target, in units of its height."""
        state = self._state
        design, grid = Design(**state["design"]), Grid(**state["grid"])
        return [
            predictive(design, Posterior(**p), grid, X / state["width"], state["dof"])
            for p in state["posteriors"]
        ]

    def _columns(self, parts):
        return np.stack(parts, axis=-1) if self._state["several"] else parts[0]
