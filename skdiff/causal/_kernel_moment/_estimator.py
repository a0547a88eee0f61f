"""Regression with instruments by the kernel method of moments."""

import copy
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, check_X_y
from skdiff.causal._kernel_moment._dual import (
    Dual,
    Linear,
    Weights,
    linear_start,
    minimise,
    moment_criterion,
    moment_start,
)
from skdiff.causal._kernel_moment._features import bandwidth, cosines, ranked
from skdiff.causal._kernel_moment._module import ModuleModel, outputs
from skdiff.causal._keywords import beside, names_of

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_KDE_WIDTH = 0.1  # standard deviations


class KernelMomentRegressor(SaveMixin, RegressorMixin, BaseEstimator):
    """Regression whose errors have mean zero given the instruments.

    Use it with few rows (up to a few thousand) where the spread of the errors depends
    on the instruments, or where the relation is not linear and a network is to learn
    it. It looks for weights of the rows and a model under which no smooth function of
    the instruments predicts the error. With errors of even spread, many rows, or a
    stream, :class:`LinearGMMRegressor` is as good and much faster.

    Parameters
    ----------
    model : "linear" or torch.nn.Module, default="linear"
        What is fitted. A module maps rows to one output; training starts from its
        parameters, on standardised X and y, in double precision.
    n_components_dual : int, default=100
        Number of random features of a row, which may move weights between rows.
    n_components_instrument : int, default=50
        Number of random features of the instruments: the moments.
    entropy : float, default=1.0
        Weight of the Kullback-Leibler divergence from the reference.
    dual_penalty : float, default=1.0
        Ridge penalty of the function of rows.
    instrument_penalty : "cv" or float, default="cv"
        Ridge penalty of the function of instruments. Small values weigh moments by
        their precision, large ones alike. ``"cv"`` chooses among 1e-4 to 1 by
        cross-validation.
    alpha : float, default=1e-3
        Ridge penalty of the parameters of a module: ``alpha / 2`` times their sum of
        squares. Without one its curve may oscillate, as the problem is ill-posed.
    reference : {"data", "kde"}, default="data"
        Rows that are weighted: those of the data, or as many with noise of a tenth of a
        standard deviation added.
    fit_intercept : bool, default=True
        Whether the linear model has an intercept.
    cv : int or cross-validation splitter, default=4
        Folds of ``instrument_penalty="cv"``.
    max_iter : int, default=100
        Maximum number of iterations. Of the search over the model; every iteration
        solves the dual by Newton steps.
    tol : float, default=1e-6
        Tolerance of the stopping rule. Largest gradient, in standard units.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients; only where ``model="linear"``.
    intercept_ : float
        Intercept; only where ``model="linear"``.
    module_ : torch.nn.Module
        Fitted module, for standardised rows; None where ``model="linear"``.
    instrument_penalty_ : float
        Penalty that was used.
    criteria_ : dict
        Cross-validated criterion by penalty; empty without ``"cv"``.
    objective_ : float
        Value of the dual at the solution, with the penalty of a module.
    n_iter_ : int
        Number of iterations.
    instrument_names_in_ : ndarray of shape (n_instruments,)
        Names of the instruments, where they had names.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    LinearGMMRegressor : Fixed moments, standard errors, tests and streams.

    Notes
    -----
    Columns are put on their ranks before the kernels, residuals have unit variance at
    the start, and the search starts from two-step moments (a module: from least squares
    and then two-stage least squares). The problem is not convex in the parameters of
    the model. Penalties are compared by the moments of held-out residuals over their
    errors; the paper's criterion, independence of residual and instrument, prefers
    large penalties where the spread of the errors depends on the instruments.

    References
    ----------
    H. Kremer, Y. Nemmour, B. Schölkopf and J.-J. Zhu, "Estimation Beyond Data
    Reweighting: Kernel Method of Moments", ICML 2023, arXiv:2305.10898.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.causal import KernelMomentRegressor
    >>> rng = np.random.default_rng(0)
    >>> t = np.exp(rng.uniform(-1.5, 1.5, 100))
    >>> y = 1.7 * t + t**2 * rng.normal(size=100)  # noise grows with t
    >>> model = KernelMomentRegressor(instrument_penalty=1e-4, fit_intercept=False)
    >>> model.set_params(random_state=0)
    KernelMomentRegressor(fit_intercept=False, instrument_penalty=0.0001,
                          random_state=0)
    >>> model.fit(t[:, None], y, instruments=t).coef_.round(1)
    array([1.7])
    """

    _parameter_constraints: dict = {
        "model": [StrOptions({"linear"}), HasMethods(["forward", "parameters"])],
        "n_components_dual": [Interval(Integral, 1, None, closed="left")],
        "n_components_instrument": [Interval(Integral, 1, None, closed="left")],
        "entropy": [Interval(Real, 0, None, closed="neither")],
        "dual_penalty": [Interval(Real, 0, None, closed="neither")],
        "instrument_penalty": [
            StrOptions({"cv"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "reference": [StrOptions({"data", "kde"})],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model="linear",
        *,
        n_components_dual=100,
        n_components_instrument=50,
        entropy=1.0,
        dual_penalty=1.0,
        instrument_penalty="cv",
        alpha=1e-3,
        reference="data",
        fit_intercept=True,
        cv=4,
        max_iter=100,
        tol=1e-6,
        n_jobs=None,
        random_state=None,
    ):
        self.model = model
        self.n_components_dual = n_components_dual
        self.n_components_instrument = n_components_instrument
        self.entropy = entropy
        self.dual_penalty = dual_penalty
        self.instrument_penalty = instrument_penalty
        self.alpha = alpha
        self.reference = reference
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, instruments=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Target.
        instruments : array-like of shape (n_samples, n_instruments)
            Instruments, among them the columns of X that are exogenous. Required.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with whole_fit(self):
            X, y = check_X_y(
                self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2
            )
            Z = beside(self, instruments, "instruments", X, ensure_2d=True)
            if (names := names_of(instruments)) is not None:
                self.instrument_names_in_ = names
            self._check_counts(X, Z)
            rng = check_random_state(self.random_state)
            X, y = self._standardise(X, np.asarray(y, dtype=np.float64))
            seed = int(rng.randint(2**31 - 1))
            penalty, self.criteria_ = self.instrument_penalty, {}
            if penalty == "cv":
                self.criteria_ = self._cross_validate(X, y, Z, seed)
                penalty = min(self.criteria_, key=self.criteria_.get)
            self.instrument_penalty_ = float(penalty)
            model, (fit,) = self._fit_path(X, y, Z, seed, (self.instrument_penalty_,))
            self._keep(model, fit)
        return self

    def _check_counts(self, X, Z):
        p = X.shape[1] + self.fit_intercept
        if self.model == "linear" and self.n_components_instrument < p:
            raise ValueError(
                f"There are {self.n_components_instrument} functions of the "
                f"instruments for {p} coefficients. Raise n_components_instrument."
            )
        if np.all(Z[0] == Z):
            raise ValueError(
                "The instruments never vary: every row has the same, so nothing is "
                "identified."
            )

    def _standardise(self, X, y):
        """Shift where there is an intercept, and scale; a module shifts always."""
        shift = self.fit_intercept or self.model != "linear"
        table = np.column_stack([X, y])
        top = np.abs(table).max(axis=0)
        top[top == 0] = 1.0
        table = table / top
        middle = table.mean(axis=0) if shift else np.zeros(table.shape[1])
        spread = np.sqrt(np.mean((table - middle) ** 2, axis=0))
        # what rounding leaves of a constant column is no spread
        spread[spread <= 1e-14] = 1.0
        self._middle, self._spread = middle * top, spread * top
        table = (table - middle) / spread
        return table[:, :-1], table[:, -1]

    def _reference(self, X, y, Z, rng):
        """Rows that get weights, on top of the data."""
        if self.reference == "data":
            return X, y, Z
        table = np.column_stack([X, y, Z])
        noise = rng.standard_normal(table.shape) * _KDE_WIDTH * table.std(axis=0)
        # a column of X that is an instrument moves as one
        p = X.shape[1]
        for j in range(Z.shape[1]):
            for k in range(p):
                if abs(np.corrcoef(Z[:, j], X[:, k])[0, 1]) > 1 - 1e-12:
                    slope = np.cov(Z[:, j], X[:, k])[0, 1] / X[:, k].var(ddof=1)
                    noise[:, p + 1 + j] = slope * noise[:, k]
        table = table + noise
        return table[:, :p], table[:, p], table[:, p + 1 :]

    def _fit_path(self, X, y, Z, seed, penalties):
        """Fit for each penalty, one after the other from the same start."""
        rng = np.random.RandomState(seed)
        joint = np.column_stack([X, y, Z])
        with np.errstate(divide="ignore", invalid="ignore"):
            Xr, yr, Zr = self._reference(X, y, Z, rng)
        rows = ranked(joint, joint)
        size = self.n_components_dual, self.n_components_instrument
        f = cosines(rows, size[0], rng)
        h = cosines(ranked(Z, Z), size[1], rng)
        F = f.of(ranked(np.column_stack([Xr, yr, Zr]), joint))
        H = h.of(ranked(Zr, Z))
        model, start = self._model(Xr, yr, H)
        fits = []
        for penalty in penalties:
            weights = Weights(self.entropy, self.dual_penalty, penalty)
            dual = Dual(F, f.of(rows).mean(axis=0), H, weights)
            fits.append(minimise(model, dual, start, self.max_iter, self.tol))
        return model, fits

    def _model(self, X, y, H):
        """The model with residuals of unit variance at its start."""
        if self.model == "linear":
            design = np.hstack([X, np.ones((len(X), 1))]) if self.fit_intercept else X
            start = linear_start(Linear(design, y, 1.0), H)
            scale = _scale(y - design @ start, y)
            return Linear(design, y, scale), start
        first = ModuleModel(self.model, X, y, 1.0, float(self.alpha))
        start = moment_start(first, H, first.start(), self.max_iter)
        scale = _scale(first.residuals(start), y)
        return ModuleModel(self.model, X, y, scale, float(self.alpha)), start

    def _cross_validate(self, X, y, Z, seed):
        """Criterion of held-out residuals by penalty."""
        splits = self._splits(X, y, seed)

        def held_out(train, test):
            model, fits = self._fit_path(X[train], y[train], Z[train], seed, PENALTIES)
            return [y[test] - self._outputs(model, f.theta, X[test]) for f in fits]

        found = Parallel(n_jobs=self.n_jobs)(delayed(held_out)(*s) for s in splits)
        order = np.concatenate([test for _, test in splits])
        instruments = ranked(Z, Z)[order]
        kept = _spread_out(len(order))
        width = bandwidth(instruments)
        return {
            penalty: moment_criterion(
                np.concatenate([part[k] for part in found])[kept],
                instruments[kept],
                width,
            )
            for k, penalty in enumerate(PENALTIES)
        }

    def _splits(self, X, y, seed):
        cv = self.cv
        if isinstance(cv, Integral):
            cv = KFold(min(int(cv), len(X)), shuffle=True, random_state=seed)
        return list(check_cv(cv).split(X, y))

    def _outputs(self, model, theta, X):
        if self.model == "linear":
            return X @ theta[: X.shape[1]] + (theta[-1] if self.fit_intercept else 0.0)
        module = copy.deepcopy(model)
        module.set(theta)
        return outputs(module.module, X)

    def _keep(self, model, fit):
        if not np.all(np.isfinite(fit.theta)):
            raise ValueError("The parameters are not finite. Rescale X and y.")
        self.module_ = None
        if self.model == "linear":
            p = self.n_features_in_
            with np.errstate(over="ignore"):
                self.coef_ = fit.theta[:p] * (self._spread[-1] / self._spread[:-1])
            constant = fit.theta[-1] * self._spread[-1] if self.fit_intercept else 0.0
            self.intercept_ = float(
                self._middle[-1] + constant - self._middle[:-1] @ self.coef_
            )
            if not np.all(np.isfinite([*self.coef_, self.intercept_])):
                raise ValueError("The coefficients are not finite. Rescale X and y.")
        else:
            model.set(fit.theta)
            self.module_ = model.module
        self.objective_, self.n_iter_ = fit.objective, fit.n_iter
        if not fit.converged:
            warnings.warn(
                f"The search over the model stopped after max_iter={self.max_iter} "
                "iterations.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def predict(self, X):
        """Predict the target under X set to these values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions.
        """
        check_is_fitted(self)
        X = check_X(self, X, reset=False, dtype=np.float64)
        if self.module_ is None:
            return X @ self.coef_ + self.intercept_
        standard = (X - self._middle[:-1]) / self._spread[:-1]
        found = outputs(self.module_, standard)
        return found * self._spread[-1] + self._middle[-1]


def _scale(residual, y):
    """Standard deviation of residuals; that of y where they vanish."""
    spread = float(np.sqrt(np.mean(residual**2)))
    floor = 1e-8 * float(np.sqrt(np.mean(y**2)))
    return max(spread, floor) or 1.0


def _spread_out(n, most=1000):
    """Rows of the criterion, whose kernel is a square of as many."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
