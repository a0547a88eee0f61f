"""Linear regression by one forward pass of a trained network."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, StrOptions, check_sample_weight, fit_context
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_levels, check_X, check_X_y
from skdiff._base.weights import load_weights
from skdiff.linear_model._bayesian_mixture._mixture import units
from skdiff.linear_model._in_context._network import (
    N_BLOCKS,
    TRAINED_FEATURES,
    Fitted,
    fit,
)


class InContextLinearRegressor(SaveMixin, RegressorMixin, BaseEstimator):
    """Linear regression by one forward pass of a trained transformer.

    Use it for very many small tables, or to study what a network computes when it
    reads a table: nothing is optimised in ``fit``. The network was trained to return
    the predictive distributions of :class:`BayesianLinearMixture`, and comes close to
    them; where one table is fitted, that class is exact and as fast.

    Parameters
    ----------
    max_features : int, default=8
        Largest number of columns that is accepted. The network was trained on up to 16
        columns, which is the largest possible.
    max_context : int, default=64
        Number of rows beyond which ``fit`` warns. The network was trained on up to 128
        rows.
    weights : {"default"}, default="default"
        Which trained network to use; it ships with the package.
    n_blocks : int, default=None
        Number of attention blocks that are run, from 0 to 3; None runs all. Fewer
        show what a shallower network computes, and predict worse.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Mean of the coefficients.
    intercept_ : float
        Mean of the intercept.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    BayesianLinearMixture : The exact distributions, for any number of columns.
    sklearn.linear_model.BayesianRidge : One penalty, by maximum likelihood.

    Notes
    -----
    The rows enter through the principal directions of the centred X: one token per
    direction holds its variance and its correlation with y, one token the number of
    rows and what y has left. Blocks of softmax attention and heads return four Student
    t components, each with its noise and a ridge penalty per direction. The tokens
    have no positions, and rows are put in one order first, so that another order of
    the rows changes no bit. Another unit of y, of all of X, or a rotation of X changes
    nothing beyond rounding. Columns of different units have to be standardised first,
    as for :class:`BayesianLinearMixture`. A ``sample_weight`` is that many rows.

    ``tools/train_in_context.py`` trains the network.

    References
    ----------
    E. Akyürek, D. Schuurmans, J. Andreas, T. Ma and D. Zhou, "What Learning Algorithm
    Is In-Context Learning? Investigations with Linear Models", ICLR 2023,
    arXiv:2211.15661. S. Liu, Z. Cai, G. Chen and X. Li, "Towards Better Understanding
    of In-Context Learning Ability from In-Context Uncertainty Quantification", 2024,
    arXiv:2405.15115.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.linear_model import InContextLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = InContextLinearRegressor().fit(X[:30, :6], y[:30])
    >>> mean, std = model.predict(X[30:32, :6], return_std=True)
    >>> model.log_prob(X[30:32, :6], y[30:32]).shape
    (2,)
    """

    _parameter_constraints: dict = {
        "max_features": [Interval(Integral, 1, TRAINED_FEATURES, closed="both")],
        "max_context": [Interval(Integral, 1, None, closed="left")],
        "weights": [StrOptions({"default"})],
        "n_blocks": [None, Interval(Integral, 0, N_BLOCKS, closed="both")],
    }

    def __init__(
        self, max_features=8, max_context=64, weights="default", *, n_blocks=None
    ):
        self.max_features = max_features
        self.max_context = max_context
        self.weights = weights
        self.n_blocks = n_blocks

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Pass the table through the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a weight of 2 counts as two rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y = check_X_y(self, X, y, dtype=np.float64, y_numeric=True)
        self._check_size(X)
        y, weight = np.asarray(y, dtype=np.float64), np.ones(len(X))
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, X)
            kept = weight > 0
            X, y, weight = X[kept], y[kept], weight[kept]
        # sums in one order, so that the order of the rows changes no bit
        order = np.lexsort((weight, y, *X.T))
        X, y, weight = X[order], y[order], weight[order]
        width, heights = units(X, y[:, None], weight, True)
        height = float(heights[0])
        blocks = N_BLOCKS if self.n_blocks is None else self.n_blocks
        arrays = load_weights("in_context_linear").arrays
        found = fit(X / width, y / height, weight, arrays, blocks)
        coef = found.V @ (found.weights @ found.loadings()) * (height / width)
        self._state = {**found._asdict(), "width": width, "height": height}
        self.coef_ = coef
        self.intercept_ = found.y_mean * height - float(coef @ (found.mean * width))
        return self

    def _check_size(self, X):
        if X.shape[1] > self.max_features:
            raise ValueError(
                f"X has {X.shape[1]} features, more than max_features="
                f"{self.max_features}. Select columns, or use BayesianLinearMixture, "
                "which is exact and takes any number of them."
            )
        if len(X) > self.max_context:
            warnings.warn(
                f"X has {len(X)} rows, more than max_context={self.max_context}. "
                "BayesianLinearMixture takes any number of rows.",
                stacklevel=4,
            )

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
        y_mean : ndarray of shape (n_samples,)
            Means of the predictive distributions.
        y_std : ndarray of shape (n_samples,)
            Their standard deviations, only with ``return_std=True``.
        """
        X = self._query(X)
        mean = X @ self.coef_ + self.intercept_
        if not return_std:
            return mean
        return mean, self._predictive(X).std() * self._state["height"]

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
        quantiles : ndarray of shape (n_samples, n_levels)
            Quantiles of the predictive distributions.
        """
        X = self._query(X)
        levels = np.atleast_1d(check_levels(q, name="q"))
        return self._predictive(X).quantiles(levels) * self._state["height"]

    def log_prob(self, X, y):
        """Return the logarithm of the predictive density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Values whose density is wanted.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Logarithms of densities.
        """
        X = self._query(X)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if y.shape != (len(X),):
            raise ValueError(f"y must have shape {(len(X),)}. Got {y.shape}.")
        height = self._state["height"]
        return self._predictive(X).log_density(y / height) - np.log(height)

    def _query(self, X):
        check_is_fitted(self)
        return check_X(self, X, reset=False, dtype=np.float64)

    def _predictive(self, X):
        """Predictive distributions in units of the spread of y."""
        state = self._state
        fitted = Fitted(**{name: state[name] for name in Fitted._fields})
        return fitted.predictive(X / state["width"])
