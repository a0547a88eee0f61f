"""What classifier and regressor share: the level set, its ranges, its report."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_array, diags_array, hstack, issparse
from scipy.stats import binomtest
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from skdiff._base.compat import HasMethods, Interval, StrOptions, check_sample_weight
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.validation import refuse_dates
from skdiff.multiplicity._rashomon._measures import MeasuresMixin
from skdiff.multiplicity._sets import _linear_models as linear
from skdiff.multiplicity._sets._fit import (
    LARGEST_DENSE,
    fit_level_set,
    level_set_class,
    likelihood_budget,
    make_problem,
)


class BaseRashomon(
    MeasuresMixin,
    SaveMixin,
    MetaEstimatorMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """What classifier and regressor share: the set, its ranges, its report."""

    _parameter_constraints = {
        "estimator": [HasMethods("fit"), None],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "epsilon_type": [StrOptions({"relative", "absolute", "lr", "profile", "cv"})],
        "level": [StrOptions({"objective", "loss"})],
        "solver": [StrOptions({"auto", "direct", "cvxpy"})],
        "tol": [Interval(Real, 0, 1e-2, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def _fit(self, X, y, sample_weight, kind, default):
        if self.epsilon_type in ("lr", "profile") and self.epsilon >= 1:
            raise ValueError(
                f"epsilon={self.epsilon} must be below 1: with epsilon_type="
                f"{self.epsilon_type!r} it is one minus the confidence level."
            )
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None."
            )
        steps, _, inner, frozen = linear.split(self.estimator, default, kind)
        X, y = self._check(X, y, steps, reset=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
            kept = sample_weight > 0
            if not kept.all():
                rows = np.flatnonzero(kept)
                X, y = _rows(X, rows), y[rows]
                sample_weight = sample_weight[rows]
        target, classes = self._encode(y)
        fitted = linear.fitted(inner, frozen, X, y, sample_weight)
        steps, model = (
            (fitted[:-1], fitted[-1]) if steps is not None else (None, fitted)
        )
        if isinstance(model, FrozenEstimator):
            model = model.estimator
        features = self._features(X, steps)
        state = self._audit(model, features, y, target, classes, sample_weight)
        self.estimator_, self._steps_fitted = fitted, steps is not None
        if classes is not None:
            self.classes_ = classes
        for name, value in state.items():
            setattr(self, name, value)
        return self

    def _audit(self, model, features, y, target, classes, sample_weight):
        """Return the attributes of one level set."""
        weight = linear.combined_weight(sample_weight, model, y, len(target))
        return fit_level_set(self, model, features, target, weight)

    # --- data -----------------------------------------------------------------------

    def _check(self, X, y, steps, *, reset):
        """Check X for the linear model itself, or leave that to the pipeline."""
        if steps is None:
            refuse_dates(X)
            keywords = {
                "accept_sparse": ["csr", "csc", "coo"],
                "dtype": np.float64,
                "order": "C",
                "reset": reset,
            }
            if y is None:
                return validate_data(self, X, **keywords), None
            return validate_data(
                self, X, y, y_numeric=self._numeric, multi_output=False, **keywords
            )
        if y is None:
            return validate_data(self, X, skip_check_array=True, reset=reset), None
        y = column_or_1d(y, warn=True)
        X = validate_data(self, X, skip_check_array=True, reset=reset)
        if not hasattr(X, "shape"):
            X = np.asarray(X)
        if X.shape[0] != len(y):
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[X.shape[0], len(y)]}"
            )
        return X, y

    def _features(self, X, steps):
        """Columns as the linear model sees them: dense, but for wide sparse tables."""
        if steps is not None:
            X = steps.transform(X)
        X = check_array(X, accept_sparse="csr", dtype=np.float64, order="C")
        narrow = X.shape[1] <= LARGEST_DENSE
        return X.toarray() if issparse(X) and narrow else X

    def _query(self, X):
        """Rows as directions in the scaled coordinates of the solver."""
        features = self._query_features(X)
        self._two_classes()
        return self._directions(features)

    def _two_classes(self):
        """Refuse what has no one answer a row for three classes and more."""
        if len(getattr(self, "classes_", ())) > 2:
            raise ValueError(
                f"This question is answered for two classes, and y had "
                f"{len(self.classes_)}. Ask decision_range, predict_proba_range, "
                "conflicts, ambiguity, coef_range, functional_range or transform."
            )

    def _query_features(self, X):
        """Rows as the linear model sees them."""
        check_is_fitted(self)
        steps = self.estimator_ if self._steps_fitted else None
        inner = getattr(steps, "estimator", steps)
        inner = inner[:-1] if inner is not None else None
        X, _ = self._check(X, None, inner, reset=False)
        return self._features(X, inner)

    def _directions(self, X):
        if self._wide:
            V = csr_array(X) @ diags_array(1.0 / self._scale)
            ones = np.ones((V.shape[0], 1))
            return csr_array(hstack([V, ones])) if self._intercept else V.tocsr()
        if issparse(X):
            X = X.toarray()
        V = (X - self._shift) / self._scale
        return np.column_stack([V, np.ones(len(V))]) if self._intercept else V

    def _coefficient_directions(self):
        d = len(self._scale)
        if self._wide:  # wide sparse tables are never centred
            scale = np.append(self._scale, 1.0) if self._intercept else self._scale
            return csr_array(diags_array(1.0 / scale))
        V = np.diag(1.0 / self._scale)
        if not self._intercept:
            return V
        V = np.column_stack([V, np.zeros(d)])
        return np.vstack([V, np.append(-self._shift / self._scale, 1.0)])

    def _level_set(self):
        """The level set, rebuilt from arrays once after a fit or a load."""
        if self._data is None:
            raise ValueError(
                "A one-vs-rest model of three classes or more has one set a class: "
                "ask the audits in estimators_."
            )
        if "level_set" not in self._live:
            problem = make_problem(self._data, self._loss_name, self._loss_params)
            found = level_set_class(problem).restore(problem, **self._whitening)
            self._live["level_set"] = found
        return self._live["level_set"]

    @property
    def _wide(self):
        """Whether the table is sparse and too wide to be made dense."""
        return isinstance(self._data["X"], tuple)

    def __getstate__(self):
        """Leave out what is rebuilt."""
        state = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_live"}

    def __setstate__(self, state):
        """Take arrays; the level set is whitened again by the first question."""
        super().__setstate__(state)
        if "_data" in state:
            self._live = {}

    # --- ranges ---------------------------------------------------------------------

    def _range(self, V, epsilon=None):
        """Range (m, 2) of ``V w``, in the units of the solver's target."""
        budget = self._budget if epsilon is None else epsilon
        level_set = self._level_set()
        if issparse(V):
            unique, back = V, np.arange(V.shape[0])
        else:
            unique, back = np.unique(V, axis=0, return_inverse=True)
        if self.solver == "cvxpy":
            from skdiff.multiplicity._sets._statement import extremes

            return extremes(level_set, unique, budget)[0][back.ravel()]
        norms, low, high = level_set.maxima(
            unique, budget, tol=self.tol, max_iter=self.max_iter, n_jobs=self.n_jobs
        )
        middle = unique @ level_set.center
        with np.errstate(invalid="ignore"):  # a norm may be infinite
            low, high = norms * low.value, norms * high.value
        bounds = np.column_stack([middle - low, middle + high])
        bounds[norms == 0] = middle[norms == 0, None]
        return bounds[back.ravel()]

    def decision_range(self, X):
        """Return the range of the linear predictor over all nearly optimal models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to ask about.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2)
            Smallest and largest value. Infinite where the data do not bound it: an
            unpenalised model asked about a direction that no training row spans.
        """
        return self._range(self._query(X)) * self._unit

    def coef_range(self):
        """Return the range of each coefficient, the intercept last.

        Returns
        -------
        bounds : ndarray of shape (n_features + 1, 2)
            Smallest and largest value; without an intercept ``n_features`` rows.
        """
        check_is_fitted(self)
        return self._range(self._coefficient_directions()) * self._unit

    def functional_range(self, V):
        """Return the range of linear functionals of the coefficients.

        Parameters
        ----------
        V : array-like of shape (n_functionals, n_features) or (n_functionals, \
n_features + 1)
            Weights of the coefficients as the linear model sees them, the
            intercept's last; zero if left out.

        Returns
        -------
        bounds : ndarray of shape (n_functionals, 2)
            Smallest and largest value.
        """
        check_is_fitted(self)
        V = check_array(V, dtype=np.float64, input_name="V")
        base = self._coefficient_directions()
        d = len(self._scale)
        if V.shape[1] not in (d, base.shape[0]):
            raise ValueError(
                f"V has {V.shape[1]} features, but the linear model has {d} "
                "coefficients (and an intercept)."
            )
        return self._range(V @ base[: V.shape[1]]) * self._unit

    def boundary_models(self, X):
        """Return the models at which each row's predictor is smallest and largest.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to ask about.

        Returns
        -------
        coef : ndarray of shape (n_samples, 2, n_features)
            Coefficients of the two models of each row.
        intercept : ndarray of shape (n_samples, 2)
            Their intercepts.
        """
        V = self._query(X)
        level_set = self._level_set()
        # feasible to rounding, which the reported value does not need
        _, low, high = level_set.maxima(
            V, self._budget, tol=1e-9, max_iter=self.max_iter, n_jobs=self.n_jobs
        )
        if V.shape[0] and not low.model.shape[1]:
            raise ValueError(
                f"The boundary models of {V.shape[0]} rows of {V.shape[1]} columns "
                "would not fit into memory. Ask about fewer rows at a time."
            )
        W = np.stack([level_set.models(e.model) for e in (low, high)], axis=1)
        return self._unscaled(W)

    def range_error(self, X):
        """Bound the error of :meth:`decision_range`, row by row.

        Convexity proves an outer bound from the Lagrangian at any point, and a point
        of the set gives an inner one; their distance is returned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to ask about.

        Returns
        -------
        error : ndarray of shape (n_samples, 2)
            At least the distance of each reported end from the true one, in units of
            the linear predictor.
        """
        V = self._query(X)
        errors = self._level_set().errors(
            V, self._budget, tol=self.tol, max_iter=self.max_iter, n_jobs=self.n_jobs
        )
        return errors * self._unit

    def _unscaled(self, W):
        """Coefficients and intercepts in the units of the features."""
        coef = W[..., : len(self._scale)] / self._scale * self._unit
        if not self._intercept:
            return coef, np.zeros(W.shape[:-1])
        shift = (coef * self._shift).sum(axis=-1)
        return coef, W[..., -1] * self._unit - shift

    # --- transformer ----------------------------------------------------------------

    def transform(self, X):
        """Return prediction, lower end, upper end and width as columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to ask about.

        Returns
        -------
        columns : ndarray of shape (n_samples, 4)
            Probabilities of ``classes_[1]`` for a classifier, values for a regressor.
        """
        middle, bounds = self._prediction_and_range(X)
        return np.column_stack([middle, bounds, bounds[:, 1] - bounds[:, 0]])

    @property
    def _n_features_out(self):
        return 4

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of :meth:`transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in ``fit``.

        Returns
        -------
        names : ndarray of str of shape (4,)
            ``prediction``, ``low``, ``high``, ``width``.
        """
        check_is_fitted(self)
        super().get_feature_names_out(input_features)
        return np.array(["prediction", "low", "high", "width"], dtype=object)

    def _budget_of(self, epsilon):
        """Budget in the solver's units for another tolerance of the same kind."""
        if self.epsilon_type in ("relative", "absolute", "cv"):
            return self._excess + (self._budget - self._excess) * epsilon / self.epsilon
        unit, total, d = self._epsilon_facts
        return self._excess + likelihood_budget(
            self.epsilon_type, epsilon, unit, total, d, self._loss_name
        )

    def report(self, X, y=None, *, groups=None, deltas=(0.05, 0.1, 0.2), epsilons=None):
        """Tabulate how arbitrary the predictions are, overall and by group.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to report on.
        y : array-like of shape (n_samples,), default=None
            Their true targets; adds the loss of the baseline: log loss, or half the
            squared error.
        groups : array-like of shape (n_samples,), default=None
            Group of each row; a line a group follows the line of all rows.
        deltas : tuple of float, default=(0.05, 0.1, 0.2)
            Changes of the prediction that count as ambiguous.
        epsilons : array-like of float, default=None
            Tolerances to report on; the fitted one by default.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``epsilon``, ``group``, ``n``, ``mean_width``, ``median_width``,
            for classifiers ``conflict_ratio``, then ``ambiguity_<delta>``, each share
            with ``_low`` and ``_high``, its 95 % Wilson interval, and ``loss`` with the
            95 % normal interval of a mean.
        """
        pd = require_pandas("report")
        V = self._query(X)
        n = V.shape[0]
        for name, given in (("groups", groups), ("y", y)):
            if given is not None and len(given) != n:
                raise ValueError(f"{name} has {len(given)} entries for {n} rows of X.")
        if not all(isinstance(delta, Real) and delta > 0 for delta in deltas):
            raise ValueError(f"deltas must be > 0, got {deltas!r}.")
        parts = [("all", np.ones(n, dtype=bool))]
        if groups is not None:  # a missing group is a group
            codes, names = pd.factorize(
                pd.Series(groups), sort=True, use_na_sentinel=False
            )
            parts += [(name, codes == k) for k, name in enumerate(names)]
        middle = self._response(V @ self._baseline * 1.0)
        loss = None if y is None else self._row_loss_of(V @ self._baseline, y)
        lines = []
        epsilons = np.atleast_1d(self.epsilon if epsilons is None else epsilons)
        sweeps = self._range_sweep(V, epsilons)
        for epsilon, linear_bounds in zip(epsilons, sweeps, strict=True):
            for group, rows in parts:
                lines.append(
                    {"epsilon": float(epsilon), "group": group, "n": rows.sum()}
                )
                lines[-1] |= self._line(linear_bounds[rows], middle[rows], deltas)
                if loss is not None:
                    lines[-1] |= _mean_with_interval(loss[rows])
        return pd.DataFrame(lines)

    def _line(self, linear_bounds, middle, deltas):
        bounds = self._response(linear_bounds)
        width = bounds[:, 1] - bounds[:, 0]
        line = {"mean_width": width.mean(), "median_width": np.median(width)}
        shares = self._shares(linear_bounds)
        reach = np.maximum(bounds[:, 1] - middle, middle - bounds[:, 0])
        shares |= {f"ambiguity_{delta:g}": reach >= delta for delta in deltas}
        for name, hits in shares.items():
            interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(
                method="wilson"
            )
            line |= {
                name: hits.mean(),
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
        return line

    def __sklearn_tags__(self):
        """Tell scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _mean_with_interval(loss):
    mean = loss.mean()
    half = 1.96 * loss.std(ddof=1) / np.sqrt(len(loss)) if len(loss) > 1 else np.nan
    return {"loss": mean, "loss_low": mean - half, "loss_high": mean + half}


def _rows(X, rows):
    """Some rows of an array, a sparse matrix or a data frame."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]
