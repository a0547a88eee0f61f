"""Linear regression with instruments, by the generalised method of moments."""

import warnings

import numpy as np
from scipy.stats import chi2, norm
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import StrOptions, check_sample_weight, fit_context
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, check_X_y
from skdiff.causal._keywords import beside, names_of, same_names
from skdiff.causal._linear_gmm._moments import Rows, standard
from skdiff.causal._linear_gmm._solve import diagnostics, solve
from skdiff.causal._linear_gmm._stream import (
    LARGEST_STATE,
    State,
    add_rows,
    fits_in_memory,
    opened,
    problem,
    run_rows,
)

_WEAK = 10.0


class LinearGMMRegressor(SaveMixin, RegressorMixin, BaseEstimator):
    """Linear regression with instruments, exact on streams.

    Use it where columns of X depend on what y depends on besides (prices that follow
    demand, schooling that goes with ability), and where other columns, the
    *instruments*, move them and have no direct effect on y. The coefficients are then
    effects of setting X, which least squares does not give. Where X is exogenous, least
    squares has the smaller error; with weak instruments neither helps.

    Parameters
    ----------
    weights : {"2sls", "two-step", "iterated", "cue"}, default="two-step"
        How moments are weighted: two-stage least squares, best where the errors have
        one variance; one or more steps with the variance of the moments at the
        coefficients of the last step; or its minimum over the coefficients
        (continuously updated), which has the least bias with many instruments.
    cov : {"robust", "unadjusted"}, default="robust"
        Standard errors: by the variance of the moments, whatever that of the errors;
        or for errors with one variance.
    fit_intercept : bool, default=True
        Whether to add a constant to X and to the instruments.
    streaming : {"exact", "sgmm"}, default="exact"
        What ``partial_fit`` keeps of the rows. ``"exact"``: all sums that the
        coefficients need, of the order of (instruments times regressors) squared, up
        to a million; any blocks in any order give the coefficients of one ``fit``.
        ``"sgmm"``: of the order of instruments squared; the weights come from residuals
        at the coefficients of that moment, so the order of the rows matters.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    coef_std_ : ndarray of shape (n_features,)
        Standard errors of the coefficients.
    intercept_std_ : float
        Standard error of the intercept; 0 without one.
    covariance_ : ndarray of shape (n_features + 1, n_features + 1)
        Covariance of the estimates, the intercept first.
    j_stat_ : float
        Hansen's J (Sargan's for ``weights="2sls"``): large where some instrument has a
        direct effect on y.
    j_pvalue_ : float
        Its p-value; 1 where there are as many instruments as regressors.
    first_stage_f_ : ndarray of shape (n_endogenous,)
        F statistic of the excluded instruments for each endogenous column of X. Below
        10 the instruments are weak.
    cragg_donald_f_ : float
        The same for all endogenous columns together; infinite where there are none.
    endogenous_ : ndarray of shape (n_features,)
        Which columns the instruments do not explain entirely.
    endogeneity_stat_ : float
        Durbin-Wu-Hausman statistic: large where least squares is biased.
    endogeneity_pvalue_ : float
        Its p-value.
    n_iter_ : int
        Number of steps.
    n_samples_seen_ : int
        Number of rows.
    instrument_names_in_ : ndarray of shape (n_instruments,)
        Names of the instruments, where they had names.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    sklearn.linear_model.LinearRegression : Least squares, for columns that are
        exogenous.

    Notes
    -----
    Exogenous columns of X stand in the instruments too. Dependent instruments are
    dropped. Weights of the moments are uncentred, J uses the weights of the last step,
    standard errors the moments at the final coefficients, without a correction for
    degrees of freedom. First-stage F and the endogeneity test take errors of one
    variance. A ``sample_weight`` of 2 counts as two rows.

    References
    ----------
    L. P. Hansen, "Large Sample Properties of Generalized Method of Moments Estimators",
    Econometrica 50, 1982.

    X. Chen, S. Lee, Y. Liao, M. H. Seo, Y. Shin and M. Song, "SGMM: Stochastic
    Approximation to Generalized Method of Moments", 2023, arXiv:2308.13564.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.causal import LinearGMMRegressor
    >>> rng = np.random.default_rng(0)
    >>> Z, hidden = rng.normal(size=(1000, 2)), rng.normal(size=1000)
    >>> x = Z.sum(axis=1) + hidden + rng.normal(size=1000)
    >>> y = 2.0 * x - 3.0 * hidden + rng.normal(size=1000)
    >>> model = LinearGMMRegressor().fit(x[:, None], y, instruments=Z)
    >>> model.coef_.round(1)
    array([2.1])
    >>> bool(model.endogeneity_pvalue_ < 0.01)  # least squares is biased
    True
    """

    _parameter_constraints: dict = {
        "weights": [StrOptions({"2sls", "two-step", "iterated", "cue"})],
        "cov": [StrOptions({"robust", "unadjusted"})],
        "fit_intercept": ["boolean"],
        "streaming": [StrOptions({"exact", "sgmm"})],
    }

    def __init__(
        self,
        weights="two-step",
        *,
        cov="robust",
        fit_intercept=True,
        streaming="exact",
    ):
        self.weights = weights
        self.cov = cov
        self.fit_intercept = fit_intercept
        self.streaming = streaming

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coef_")

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, instruments=None, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Target.
        instruments : array-like of shape (n_samples, n_instruments)
            Instruments, among them the columns of X that are exogenous. Required.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; a weight of 2 counts as two rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        Z, V, w = self._read(X, y, instruments, sample_weight, reset=True)
        self._forget()
        with np.errstate(over="ignore", invalid="ignore"):
            state = opened(Z, V, self.fit_intercept)
            if self.streaming == "sgmm":
                state, source = run_rows(state, Z, V, w), None
            elif not self._needs_fourth() or fits_in_memory(state.ref):
                state, source = add_rows(state, Z, V, w, self._needs_fourth()), None
            else:
                state = add_rows(state, Z, V, w, False)
                source = Rows(*standard(state.ref, Z, V), w)
            self._settle(state, source)
        self._warn()
        self._state = state.as_dict()
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, *, instruments=None, sample_weight=None):
        """Add rows; with ``streaming="exact"`` any blocks give one ``fit``.

        While the rows are too few for the coefficients the model counts as not fitted.
        Weak instruments do not warn here; see ``first_stage_f_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Target.
        instruments : array-like of shape (n_samples, n_instruments)
            Instruments. Required.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        first = not hasattr(self, "_state")
        Z, V, w = self._read(X, y, instruments, sample_weight, reset=first)
        with np.errstate(over="ignore", invalid="ignore"):
            if first:
                state = opened(Z, V, self.fit_intercept)
            else:
                state = State.from_dict(self._state)
            self._check_stream(state)
            if self.streaming == "sgmm":
                state = run_rows(state, Z, V, w)
            else:
                state = add_rows(state, Z, V, w, self._needs_fourth())
            self._check_finite(state)
            self._forget()
            self._state = state.as_dict()
            try:
                self._settle(state, None)
            except ValueError as error:
                self._forget()
                self._state, self._waiting = state.as_dict(), str(error)
        return self

    def _check_fitted(self):
        if reason := vars(self).get("_waiting"):
            raise NotFittedError(
                f"This {type(self).__name__} has seen too few rows. {reason}"
            )
        check_is_fitted(self)

    def _needs_fourth(self):
        return self.weights != "2sls" or self.cov == "robust"

    def _read(self, X, y, instruments, sample_weight, *, reset):
        """Check; drop rows of weight zero."""
        if self.streaming == "sgmm" and self.weights in ("iterated", "cue"):
            raise ValueError(
                f'weights="{self.weights}" needs the sums of streaming="exact".'
            )
        X, y = check_X_y(self, X, y, reset=reset, dtype=np.float64, y_numeric=True)
        Z = beside(self, instruments, "instruments", X, ensure_2d=True)
        names = names_of(instruments)
        if reset:
            self._instrument_shape(Z, names)
        else:
            same_names(vars(self).get("instrument_names_in_"), names, "instruments")
            if Z.shape[1] != self._n_instruments:
                raise ValueError(
                    f"instruments has {Z.shape[1]} columns, but "
                    f"{type(self).__name__} was fitted with {self._n_instruments}."
                )
        if Z.shape[1] < X.shape[1]:
            raise ValueError(
                f"There are {Z.shape[1]} instruments for {X.shape[1]} regressors; at "
                "least as many instruments are needed. Columns of X that are exogenous "
                "stand in the instruments too."
            )
        w = check_sample_weight(sample_weight, X)
        V, kept = np.column_stack([X, y]).astype(np.float64), w > 0
        return (Z, V, w) if kept.all() else (Z[kept], V[kept], w[kept])

    def _instrument_shape(self, Z, names):
        self._n_instruments = Z.shape[1]
        vars(self).pop("instrument_names_in_", None)
        if names is not None:
            self.instrument_names_in_ = names

    def _check_stream(self, state):
        if self.streaming == "sgmm" or not self._needs_fourth():
            return
        q, m = len(state.sums.zz), len(state.sums.vv)
        if not fits_in_memory(state.ref):
            raise ValueError(
                f"The exact state of {q} instruments and {m - 1} regressors has more "
                f'than {LARGEST_STATE} entries. Use streaming="sgmm", or fit on all '
                "rows at once."
            )
        if state.rows and not state.sums.fourth.size:
            raise ValueError(
                "The rows seen so far were added with other parameters, under which "
                "the sums of fourth powers are not kept. Start again with fit."
            )

    def _check_finite(self, state):
        if not all(np.all(np.isfinite(part)) for part in state.sums):
            raise ValueError(
                "The moments of the rows are not finite: values are too large for "
                "their powers. Rescale X, y and the instruments, for instance with "
                "StandardScaler."
            )

    def _settle(self, state, source):
        """Set what is known after the rows of a state."""
        self._check_finite(state)
        found = problem(state, source)
        fit = solve(found, self.weights, self.cov == "robust")
        tests = diagnostics(found.d)
        back, shift = self._to_units(state.ref)
        values, cov = back @ fit.beta + shift, back @ fit.cov @ back.T
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(cov))):
            raise ValueError(
                "The coefficients are not finite in the units of X and y. Rescale them."
            )
        std = np.sqrt(np.maximum(np.diag(cov), 0.0))
        extra = len(found.d.b) - len(fit.beta)
        k = int(tests.endogenous.sum())
        self.intercept_, self.coef_ = float(values[0]), values[1:]
        self.intercept_std_, self.coef_std_ = float(std[0]), std[1:]
        self.covariance_, self.n_iter_ = cov, fit.n_iter
        self.j_stat_ = fit.j_stat if extra else 0.0
        self.j_pvalue_ = float(chi2.sf(fit.j_stat, extra)) if extra else 1.0
        self.endogenous_ = tests.endogenous[: len(self.coef_)]
        self.first_stage_f_ = tests.first_stage_f
        self.cragg_donald_f_ = tests.cragg_donald_f
        self.endogeneity_stat_ = tests.endogeneity_stat
        self.endogeneity_pvalue_ = (
            float(chi2.sf(tests.endogeneity_stat, k)) if k else 1.0
        )
        self.n_samples_seen_ = state.rows
        if not fit.converged:
            warnings.warn(
                f'weights="{self.weights}" did not converge; the criterion may be flat '
                "as with weak instruments.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _to_units(self, ref):
        """Affine map from the units of the reference; the intercept comes first."""
        p = len(ref.v_scale) - 1
        back = np.zeros((p + 1, p + self.fit_intercept))
        back[1:, :p] = np.diag(ref.v_scale[-1] / ref.v_scale[:-1])
        if self.fit_intercept:
            back[0, p] = ref.v_scale[-1]
            back[0, :p] = -ref.v_shift[:-1] @ back[1:, :p]
        shift = np.zeros(p + 1)
        shift[0] = ref.v_shift[-1]
        return back, shift

    def _warn(self):
        weakest = min(self.cragg_donald_f_, *self.first_stage_f_, np.inf)
        if weakest < _WEAK:
            warnings.warn(
                f"The instruments are weak: the first-stage F is {weakest:.1f}, below "
                f"{_WEAK:.0f}. Coefficients are biased towards least squares, and "
                "standard errors are too small.",
                UserWarning,
                stacklevel=4,
            )

    def _forget(self):
        """Drop what rows seen before have set, but for the columns just read."""
        kept = {"n_features_in_", "feature_names_in_", "instrument_names_in_"}
        for name in list(vars(self)):
            of_rows = name in ("_state", "_waiting")
            if of_rows or (name.endswith("_") and name not in kept):
                del vars(self)[name]

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
        self._check_fitted()
        X = check_X(self, X, reset=False, dtype=np.float64)
        return X @ self.coef_ + self.intercept_

    def summary_frame(self, level=0.95):
        """Return estimates, errors, tests and intervals as a table.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals.

        Returns
        -------
        frame : DataFrame
            One row per coefficient, the intercept first; columns ``coef``,
            ``std_err``, ``z``, ``pvalue``, ``ci_low`` and ``ci_high``.
        """
        import pandas as pd

        self._check_fitted()
        names = vars(self).get("feature_names_in_")
        if names is None:
            names = [f"x{k}" for k in range(len(self.coef_))]
        coef, std = self.coef_, self.coef_std_
        if self.fit_intercept:
            names = ["intercept", *names]
            coef, std = (
                np.append(self.intercept_, coef),
                np.append(self.intercept_std_, std),
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(std > 0, coef / std, np.sign(coef) * np.inf)
        z = np.where((std == 0) & (coef == 0), 0.0, z)
        half = norm.ppf(0.5 + level / 2) * std
        columns = {
            "coef": coef,
            "std_err": std,
            "z": z,
            "pvalue": 2 * norm.sf(np.abs(z)),
            "ci_low": coef - half,
            "ci_high": coef + half,
        }
        return pd.DataFrame(columns, index=list(names))
