"""Estimators over the set of nearly optimal linear models."""

from numbers import Integral, Real

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit, logit
from scipy.stats import binomtest, chi2
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from skdiff._persistence import SaveMixin
from skdiff._plotting import require_pandas
from skdiff._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._validation import refuse_dates
from skdiff.multiplicity import _linear_models as linear
from skdiff.multiplicity._level_set import LevelSet, Problem, UnboundedError

LARGEST_DENSE = 2000  # columns up to which sparse input is made dense
_SMALLEST = 1e-12  # a best loss below this gives a relative epsilon no meaning


class _Rashomon(
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
                f"This {type(self).__name__} estimator requires y to be passed, but the "
                "target y is None."
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
        model = getattr(model, "estimator", model) if frozen and steps else model
        features = self._features(X, steps)
        weight = linear.combined_weight(
            sample_weight,
            getattr(model, "class_weight", None),
            y,
            len(target),
        )
        state = _fit_level_set(self, model, features, target, weight)
        self.estimator_, self._steps_fitted = fitted, steps is not None
        if classes is not None:
            self.classes_ = classes
        for name, value in state.items():
            setattr(self, name, value)
        return self

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
        """Dense columns as the linear model sees them."""
        if steps is not None:
            X = steps.transform(X)
        X = check_array(X, accept_sparse=True, dtype=np.float64, order="C")
        if hasattr(X, "toarray"):
            if X.shape[1] > LARGEST_DENSE:
                raise ValueError(
                    f"Sparse X with {X.shape[1]} columns would take "
                    f"{8e-9 * X.shape[0] * X.shape[1]:.1f} GB as a dense table. Reduce "
                    f"it to {LARGEST_DENSE} columns, for instance with TruncatedSVD."
                )
            X = X.toarray()
        return X

    def _query(self, X):
        """Rows as directions in the scaled coordinates of the solver."""
        check_is_fitted(self)
        steps = self.estimator_ if self._steps_fitted else None
        inner = getattr(steps, "estimator", steps)
        inner = inner[:-1] if inner is not None else None
        X, _ = self._check(X, None, inner, reset=False)
        return self._directions(self._features(X, inner))

    def _directions(self, X):
        V = (X - self._shift) / self._scale
        return np.column_stack([V, np.ones(len(V))]) if self._intercept else V

    def _coefficient_directions(self):
        d = len(self._scale)
        V = np.diag(1.0 / self._scale)
        if not self._intercept:
            return V
        V = np.column_stack([V, np.zeros(d)])
        return np.vstack([V, np.append(-self._shift / self._scale, 1.0)])

    def _level_set(self):
        """The level set, rebuilt from arrays once after a fit or a load."""
        if "level_set" not in self._live:
            problem = _problem(self._data, self._loss_name)
            self._live["level_set"] = LevelSet.restore(problem, **self._whitening)
        return self._live["level_set"]

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
        unique, back = np.unique(V, axis=0, return_inverse=True)
        if self.solver == "cvxpy":
            from skdiff.multiplicity._rashomon_problem import extremes

            return extremes(level_set, unique, budget)[0][back.ravel()]
        norms, low, high = level_set.maxima(
            unique, budget, tol=self.tol, max_iter=self.max_iter, n_jobs=self.n_jobs
        )
        middle = unique @ level_set.center
        bounds = np.column_stack(
            [middle - norms * low.value, middle + norms * high.value]
        )
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
        if V.shape[1] not in (d, len(base)):
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
        level_set = self._level_set()
        norms, low, high = level_set.maxima(
            V, self._budget, tol=self.tol, max_iter=self.max_iter, n_jobs=self.n_jobs
        )
        U, _ = level_set.whitened_directions(V)
        radius = level_set.radius(self._budget)
        pairs = (
            level_set.error_bound(sign * U, part, self._budget, radius)
            for sign, part in ((-1, low), (1, high))
        )
        return np.column_stack(list(pairs)) * norms[:, None] * self._unit

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

    def profile(self, X, epsilons):
        """Return the widths of the ranges for several tolerances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to ask about.
        epsilons : array-like of shape (n_epsilons,)
            Tolerances, of the kind of ``epsilon_type``.

        Returns
        -------
        widths : ndarray of shape (n_epsilons, n_samples)
            Widths in units of probability (classifier) or value (regressor).
        """
        V = self._query(X)
        epsilons = np.atleast_1d(np.asarray(epsilons, dtype=np.float64))
        if epsilons.ndim != 1 or not np.all(epsilons > 0):
            raise ValueError(f"epsilons must be positive, got {epsilons}.")
        bounds = [self._range(V, self._budget_of(e)) for e in epsilons]
        return np.array([np.diff(self._response(b), axis=1)[:, 0] for b in bounds])

    def _budget_of(self, epsilon):
        """Budget in the solver's units for another tolerance of the same kind."""
        if self.epsilon_type in ("relative", "absolute", "cv"):
            return self._excess + (self._budget - self._excess) * epsilon / self.epsilon
        unit, total, d = self._epsilon_facts
        return self._excess + _likelihood_budget(
            self.epsilon_type, epsilon, unit, total, d, self._loss_name
        )

    def report(self, X, y=None, *, groups=None, deltas=(0.05, 0.1, 0.2), epsilons=None):
        """Tabulate how arbitrary the predictions are, overall and by group.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to report on.
        y : array-like of shape (n_samples,), default=None
            Their true targets; adds the loss of the baseline.
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
            with ``_low`` and ``_high``, its 95 % Wilson interval, and ``loss``.
        """
        pd = require_pandas("report")
        V = self._query(X)
        n = len(V)
        labels = np.full(n, "all") if groups is None else np.asarray(groups)
        for name, given in (("groups", labels), ("y", y)):
            if given is not None and len(given) != n:
                raise ValueError(f"{name} has {len(given)} entries for {n} rows of X.")
        parts = [("all", np.ones(n, dtype=bool))]
        if groups is not None:
            parts += [(g, labels == g) for g in np.unique(labels)]
        middle = self._response(V @ self._baseline * 1.0)
        loss = None if y is None else self._row_loss_of(V @ self._baseline, y)
        lines = []
        for epsilon in [self.epsilon] if epsilons is None else np.atleast_1d(epsilons):
            linear_bounds = self._range(V, self._budget_of(epsilon))
            for group, rows in parts:
                lines.append(
                    {"epsilon": float(epsilon), "group": group, "n": rows.sum()}
                )
                lines[-1] |= self._line(linear_bounds[rows], middle[rows], deltas)
                if loss is not None:
                    lines[-1]["loss"] = loss[rows].mean()
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


class RashomonClassifier(ClassifierMixin, _Rashomon):
    """Tell which predictions are arbitrary among equally good logistic models.

    The Rashomon set holds every linear model whose training objective is within a
    tolerance of the best one. Nothing in the data speaks against any of them, yet they
    disagree about some rows. This estimator gives the exact range of every probability,
    decision and coefficient over the whole set. Use it to audit a fitted model before
    its decisions are acted upon. A confidence interval answers another question (a new
    sample), and refits with other seeds or bootstraps see only a part of the set.

    Parameters
    ----------
    estimator : estimator, default=None
        ``LogisticRegression`` or ``LogisticRegressionCV`` with L2 or no penalty, or a
        pipeline that ends in one; ``FrozenEstimator`` for a model already fitted. None
        is ``LogisticRegression()``. Its solution is polished to full accuracy.
    epsilon : float, default=0.01
        Size of the set: larger sets hold more models and give wider ranges.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means: a share of the best objective; an amount of it; one
        minus the level of a joint (``"lr"``) or single-coefficient (``"profile"``)
        likelihood-ratio region; or a number of standard errors of the five-fold
        cross-validated loss.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective, or of the loss alone: all
        models whose loss is at most that of the estimator plus the tolerance. The
        second set is centred at the minimiser of the loss.
    threshold : float, default=0.5
        Probability of ``classes_[1]`` above which it is predicted.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        ``"cvxpy"`` solves a convex program a row and side, a referee that is hundreds
        of times slower; the others are the batched Newton method.
    tol : float, default=1e-4
        Residual of the optimality conditions at which a row is done. The reported ends
        are of second order in it: 1e-4 gives about eight digits of the width.
    max_iter : int, default=60
        Newton steps before a row takes the slow and sure way.
    n_jobs : int or None, default=None
        Threads over blocks of rows.
    random_state : int, RandomState instance or None, default=None
        Splits the rows when ``epsilon_type="cv"``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    classes_ : ndarray of shape (2,)
        Labels.
    coef_ : ndarray of shape (1, n_features)
        Coefficients of the baseline, the polished optimum.
    intercept_ : ndarray of shape (1,)
        Its intercept.
    objective_ : float
        The best objective (with ``level="loss"`` the best loss): mean log loss plus
        penalty.
    epsilon_ : float
        How far above ``objective_`` the set reaches.
    hessian_ : ndarray of shape (n_parameters, n_parameters)
        Second derivatives of the objective at its minimum, intercept last.
    n_iter_ : int
        Newton steps of the polish.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, when X had them.

    See Also
    --------
    RashomonRegressor : The same for ridge regression and least squares.
    multiplicity_report : A report in one call.

    Notes
    -----
    The largest ``v'w`` over the set solves ``grad L(w) = mu v``, ``L(w) = L* + eps``.
    All rows are solved together by Newton's method on ``(w, mu)`` in coordinates where
    the Hessian at the optimum is the identity, from a third-order start; reported is
    the Lagrangian's value. The paper searches a grid of target probabilities instead,
    which gives inner bounds. The training rows are stored, as the questions need them.
    Coefficients are those of the linear model, after the steps of a pipeline.

    References
    ----------
    J. Watson-Daniels, D. C. Parkes and B. Ustun, "Predictive Multiplicity in
    Probabilistic Classification", AAAI 2023, arXiv 2206.01131.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.multiplicity import RashomonClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = RashomonClassifier(make_pipeline(StandardScaler(), LogisticRegression()))
    >>> int(model.fit(X, y).conflicts(X).sum())
    16
    """

    _numeric = False
    _parameter_constraints = {
        **_Rashomon._parameter_constraints,
        "threshold": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        epsilon=0.01,
        epsilon_type="relative",
        level="objective",
        threshold=0.5,
        solver="auto",
        tol=1e-4,
        max_iter=60,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.epsilon = epsilon
        self.epsilon_type = epsilon_type
        self.level = level
        self.threshold = threshold
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    # the inner estimator checks its own parameters
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the estimator, polish it, and prepare its level set.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels of two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, "classifier", LogisticRegression)

    def _encode(self, y):
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{kind}."
            )
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) == 1:
            raise ValueError(
                f"y has one class only, {classes[0]!r}: there is nothing to disagree "
                f"about (n_samples = {len(y)})."
            )
        return codes.astype(np.float64), classes

    def _response(self, f):
        return expit(f)

    def _shares(self, bounds):
        return {"conflict_ratio": self._on_both_sides(bounds, self.threshold)}

    def _row_loss_of(self, f, y):
        y = column_or_1d(y)
        if unknown := set(np.unique(y).tolist()) - set(self.classes_.tolist()):
            raise ValueError(f"y has labels {sorted(unknown)} not seen in fit.")
        codes = (y == self.classes_[1]).astype(np.float64)
        return np.logaddexp(0, f) - codes * f

    def _on_both_sides(self, bounds, threshold):
        cut = logit(threshold)  # predict says classes_[1] strictly above it
        return (bounds[:, 0] <= cut) & (bounds[:, 1] > cut)

    def _prediction_and_range(self, X):
        V = self._query(X)
        return expit(V @ self._baseline), expit(self._range(V))

    def decision_function(self, X):
        """Return the log odds of ``classes_[1]`` under the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            Log odds.
        """
        return self._query(X) @ self._baseline

    def predict_proba(self, X):
        """Return the probabilities of the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Columns follow ``classes_``.
        """
        f = self.decision_function(X)
        return np.column_stack([expit(-f), expit(f)])

    def predict(self, X, abstain=False, abstain_label=None):
        """Predict labels by the baseline, or only where all models agree.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        abstain : bool, default=False
            Whether to withhold the label of rows on which the set disagrees.
        abstain_label : object, default=None
            What stands for a withheld label.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels; of dtype object with ``abstain=True``.
        """
        codes = (self.decision_function(X) > logit(self.threshold)).astype(int)
        labels = self.classes_[codes]
        if not abstain:
            return labels
        labels = labels.astype(object)
        labels[self.conflicts(X)] = abstain_label
        return labels

    def predict_proba_range(self, X):
        """Return the range of the probability of ``classes_[1]``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2)
            Smallest and largest probability over the set.
        """
        return expit(self.decision_range(X))

    def conflicts(self, X, threshold=None):
        """Tell for which rows both labels are predicted by some model of the set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        threshold : float, default=None
            Another threshold than the constructor's.

        Returns
        -------
        conflicts : ndarray of bool of shape (n_samples,)
            True where the label is arbitrary.
        """
        threshold = self.threshold if threshold is None else threshold
        if not isinstance(threshold, Real) or not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold!r}.")
        return self._on_both_sides(self.decision_range(X), threshold)

    def ambiguity(self, X, delta=None):
        """Return the share of rows on which the set disagrees.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float, default=None
            Count rows whose probability can move by at least this; rows whose label
            can change if None.

        Returns
        -------
        share : float
            Between 0 and 1.
        """
        if delta is None:
            return float(self.conflicts(X).mean())
        if not isinstance(delta, Real) or not 0 < delta <= 1:
            raise ValueError(f"delta must be in (0, 1], got {delta!r}.")
        p, bounds = self._prediction_and_range(X)
        return float((np.maximum(bounds[:, 1] - p, p - bounds[:, 0]) >= delta).mean())

    def __sklearn_tags__(self):
        """Tell scikit-learn that the target is binary."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class RashomonRegressor(RegressorMixin, _Rashomon):
    """Tell which predictions are arbitrary among equally good linear regressions.

    The same audit as :class:`RashomonClassifier` for squared loss. The level set is an
    ellipsoid and every range has a closed form.

    Parameters
    ----------
    estimator : estimator, default=None
        ``Ridge``, ``RidgeCV`` or ``LinearRegression``, or a pipeline that ends in one;
        ``FrozenEstimator`` for a model already fitted. None is ``Ridge()``.
    epsilon : float, default=0.01
        Size of the set.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means, as in :class:`RashomonClassifier`. Likelihood ratios
        are those of Gaussian noise of unknown variance.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective or of the loss alone.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        ``"cvxpy"`` solves a convex program a row and side; the others are the formula.
    tol : float, default=1e-4
        Kept for the losses without a closed form.
    max_iter : int, default=60
        Kept for the losses without a closed form.
    n_jobs : int or None, default=None
        Threads over blocks of rows.
    random_state : int, RandomState instance or None, default=None
        Splits the rows when ``epsilon_type="cv"``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    coef_ : ndarray of shape (n_features,)
        Coefficients of the baseline.
    intercept_ : float
        Its intercept.
    objective_ : float
        The best objective: half the mean squared error plus penalty.
    epsilon_ : float
        How far above ``objective_`` the set reaches.
    hessian_ : ndarray of shape (n_parameters, n_parameters)
        Second derivatives of the objective, intercept last.
    n_iter_ : int
        Newton steps of the polish.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, when X had them.

    See Also
    --------
    RashomonClassifier : The same for logistic regression, with decisions.
    multiplicity_report : A report in one call.

    Notes
    -----
    With Hessian ``H`` the half-width of ``v'w`` is ``sqrt(2 eps v' H^-1 v)``.

    References
    ----------
    J. Watson-Daniels, D. C. Parkes and B. Ustun, "Predictive Multiplicity in
    Probabilistic Classification", AAAI 2023, arXiv 2206.01131.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.multiplicity import RashomonRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = RashomonRegressor(epsilon=0.05).fit(X, y)
    >>> model.predict_range(X[:2]).round(1)
    array([[158.2, 205.9],
           [ 69.2, 119.5]])
    """

    _numeric = True

    def __init__(
        self,
        estimator=None,
        *,
        epsilon=0.01,
        epsilon_type="relative",
        level="objective",
        solver="auto",
        tol=1e-4,
        max_iter=60,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.epsilon = epsilon
        self.epsilon_type = epsilon_type
        self.level = level
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the estimator, polish it, and prepare its level set.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, "regressor", Ridge)

    def _encode(self, y):
        y = np.asarray(y)
        if y.dtype.kind not in "biuf":
            y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return y.astype(np.float64), None

    def _response(self, f):
        return f * self._unit

    def _shares(self, bounds):
        return {}

    def _row_loss_of(self, f, y):
        return (np.asarray(y, dtype=np.float64) - f * self._unit) ** 2 / 2

    def _prediction_and_range(self, X):
        V = self._query(X)
        return V @ self._baseline * self._unit, self._range(V) * self._unit

    def predict(self, X):
        """Predict by the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Values.
        """
        return self._query(X) @ self._baseline * self._unit

    def predict_range(self, X):
        """Return the range of each prediction over the set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2)
            Smallest and largest prediction.
        """
        return self.decision_range(X)

    def ambiguity(self, X, delta):
        """Return the share of rows whose prediction can move by at least ``delta``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float
            Change of the prediction that counts, in its units.

        Returns
        -------
        share : float
            Between 0 and 1.
        """
        if not isinstance(delta, Real) or not delta > 0:
            raise ValueError(f"delta must be > 0, got {delta!r}.")
        middle, bounds = self._prediction_and_range(X)
        reach = np.maximum(bounds[:, 1] - middle, middle - bounds[:, 0])
        return float((reach >= delta).mean())


def multiplicity_report(
    estimator, X, y, *, epsilon=0.01, groups=None, sample_weight=None, **report_params
):
    """Report in one call how arbitrary an estimator's predictions are.

    Parameters
    ----------
    estimator : estimator
        What :class:`RashomonClassifier` or :class:`RashomonRegressor` takes.
    X : array-like of shape (n_samples, n_features)
        Training rows, on which the report is made too.
    y : array-like of shape (n_samples,)
        Their targets.
    epsilon : float, default=0.01
        Relative tolerance.
    groups : array-like of shape (n_samples,), default=None
        Group of each row.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the fit.
    **report_params : dict
        Passed to ``report``: ``deltas``, ``epsilons``.

    Returns
    -------
    table : pandas.DataFrame
        A line a group and tolerance; see :meth:`RashomonClassifier.report`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.multiplicity import multiplicity_report
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = (X - X.mean(axis=0)) / X.std(axis=0)
    >>> table = multiplicity_report(LogisticRegression(), X, y)
    >>> table[["n", "conflict_ratio"]].round(4).values.tolist()
    [[569.0, 0.0281]]
    """
    last = estimator
    while hasattr(last, "steps") or hasattr(last, "estimator"):
        last = last.steps[-1][1] if hasattr(last, "steps") else last.estimator
    regression = isinstance(last, linear.REGRESSORS)
    cls = RashomonRegressor if regression else RashomonClassifier
    model = cls(estimator, epsilon=epsilon).fit(X, y, sample_weight=sample_weight)
    return model.report(X, y, groups=groups, **report_params)


# --- from a fitted linear model to a level set --------------------------------------


def _fit_level_set(estimator, model, X, target, weight):
    """Polish, choose the tolerance, and return every attribute to set."""
    total = weight.sum()
    goal = linear.objective_of(model, total)
    data, place, unit = _scaled(X, target, weight / total, goal)
    problem = _problem(data, type(goal.loss).__name__)
    given = _given(model, place, unit, len(problem.penalty))
    _refuse_separable(problem)
    level_set = _minimiser(problem, given)
    _warn_mismatch(estimator, level_set, problem, given, model)
    baseline, excess = level_set.center, 0.0
    if estimator.level == "loss":
        free = Problem(
            problem.X,
            problem.y,
            problem.s,
            np.zeros_like(problem.penalty),
            problem.loss,
        )
        _refuse_separable(free)
        level_set = _minimiser(free, baseline)
        excess = max(free.value(baseline) - level_set.objective, 0.0)
        data = {**data, "penalty": free.penalty}
    d = level_set.whiten.shape[1]
    facts = (level_set.objective + excess, float(total), d)
    budget = excess + _budget(estimator, facts, problem, data, baseline, unit, weight)
    loss_unit = unit**2 if goal.loss.quadratic else 1.0
    state = {
        "_data": data,
        "_loss_name": type(goal.loss).__name__,
        "_shift": place[0],
        "_scale": place[1],
        "_unit": unit,
        "_intercept": goal.fit_intercept,
        "_whitening": level_set.arrays(),
        "_baseline": baseline,
        "_budget": float(budget),
        "_excess": float(excess),
        "_epsilon_facts": facts,
        "_live": {"level_set": level_set},
        "objective_": level_set.objective * loss_unit,
        "epsilon_": float(budget) * loss_unit,
        "n_iter_": max(1, level_set.n_iter),
    }
    return state | _coefficients(estimator, state, level_set)


def _coefficients(estimator, state, level_set):
    """Baseline and Hessian in the units of the features."""
    coef = state["_baseline"][: len(state["_scale"])] / state["_scale"] * state["_unit"]
    intercept = 0.0
    back = np.diag(state["_scale"])
    if state["_intercept"]:
        intercept = float(
            state["_baseline"][-1] * state["_unit"] - coef @ state["_shift"]
        )
        # scaled = T (coef, intercept): the Hessian is T' H T
        d = len(coef)
        back = np.zeros((d + 1, d + 1))
        back[:d, :d] = np.diag(state["_scale"])
        back[d, :d], back[d, d] = state["_shift"], 1.0
    hessian = back.T @ level_set.hessian @ back
    if isinstance(estimator, ClassifierMixin):
        coef, intercept = coef[None], np.array([intercept])
    return {"coef_": coef, "intercept_": intercept, "hessian_": hessian}


def _scaled(X, target, s, goal):
    """Unit-free data: centred where an unpenalised intercept allows it, deduplicated."""
    d = X.shape[1]
    shift, scale = np.zeros(d), np.ones(d)
    largest = np.abs(X).max(axis=0, initial=0.0)
    largest[largest == 0] = 1.0
    Z = X / largest
    if goal.fit_intercept and goal.intercept_alpha == 0:
        mean = s @ Z
        # a constant column is its own mean but for rounding
        mean = np.where(np.ptp(Z, axis=0) == 0, Z[0], mean)
        shift, Z = mean * largest, Z - mean
    spread = np.sqrt(s @ Z**2)
    spread[spread < 1e-14] = 1.0
    Z, scale = Z / spread, spread * largest
    penalty = goal.alpha / scale / scale
    unit = 1.0
    if goal.loss.quadratic:
        unit = float(np.abs(target).max(initial=0.0)) or 1.0
        target = target / unit
    if goal.fit_intercept:
        Z = np.column_stack([Z, np.ones(len(Z))])
        penalty = np.append(penalty, goal.intercept_alpha)
    table = np.ascontiguousarray(np.column_stack([Z, target]))
    keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1])))
    _, first, back = np.unique(keys.ravel(), return_index=True, return_inverse=True)
    if len(first) < len(table):
        order = np.argsort(first)  # the order of the rows, not of their bytes
        rank = np.argsort(order)
        s = np.bincount(rank[back.ravel()], weights=s)
        Z, target = Z[first[order]], target[first[order]]
    data = {"X": Z, "y": target, "s": s, "penalty": penalty}
    return data, (shift, scale), unit


def _problem(data, loss_name):
    from skdiff._convex import _losses

    return Problem(**data, loss=getattr(_losses, loss_name)())


def _given(model, place, unit, size):
    """scikit-learn's solution in scaled coordinates, the start of the polish."""
    shift, scale = place
    coef = np.ravel(model.coef_) * scale / unit
    w = coef
    if size > len(coef):
        intercept = float(np.ravel(model.intercept_)[0])
        w = np.append(coef, (intercept + np.ravel(model.coef_) @ shift) / unit)
    return w if np.all(np.isfinite(w)) and np.abs(w).max() < 1e6 else np.zeros(size)


def _minimiser(problem, start):
    try:
        return LevelSet.at(problem, start)
    except UnboundedError as error:
        raise ValueError(
            f"The linear model could not be polished to its optimum: {error} Rescale "
            "the columns of X or strengthen the penalty (a smaller C, a larger alpha)."
        ) from error


def _refuse_separable(problem):
    """A perfect split without penalty: the loss has no minimiser, the set no end.

    Rows are (quasi-)separable when some ``w`` has ``(2 y - 1) x'w >= 0`` everywhere
    and not zero everywhere: a linear program (Konis, 2007).
    """
    if problem.loss.quadratic or problem.penalty.any():
        return
    signed = (2 * problem.y - 1)[:, None] * problem.X
    found = linprog(
        -signed.mean(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        bounds=(-1, 1),
        method="highs",
    )
    if found.status == 0 and -found.fun > 1e-9:
        raise ValueError(
            "The classes are separable and the model has no penalty: its coefficients "
            "grow without end and so does the set of good models. Penalise it, for "
            "instance with LogisticRegression(C=1.0)."
        )


def _warn_mismatch(estimator, level_set, problem, given, model):
    """The user's model is not at its optimum: the set is centred elsewhere."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    off = problem.value(given) - level_set.objective
    scale = estimator.epsilon if estimator.epsilon_type == "relative" else 0.01
    if (
        off > max(estimator.tol, 1e-3) * scale * level_set.objective + 1e-12
        and given.any()
    ):
        warnings.warn(
            f"{type(model).__name__} stopped {off:.2g} above the best objective "
            f"{level_set.objective:.4g}; the audit is centred at the polished optimum. "
            "Lower its tol or raise its max_iter to make them agree.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _budget(estimator, facts, problem, data, baseline, unit, weight):
    """The tolerance as an amount of the objective, in the solver's units."""
    best, total, d = facts
    kind, epsilon = estimator.epsilon_type, estimator.epsilon
    if kind == "absolute":
        return epsilon / (unit**2 if problem.loss.quadratic else 1.0)
    if best <= _SMALLEST and kind != "cv":
        raise ValueError(
            f"The best objective is {best:.1g}: a tolerance relative to it means "
            f"nothing (n_samples = {len(weight)}). Give epsilon_type='absolute'."
        )
    if kind == "relative":
        return epsilon * best
    if kind == "cv":
        return epsilon * _standard_error(estimator, problem, baseline)
    return _likelihood_budget(
        kind, epsilon, best, total, d, type(problem.loss).__name__
    )


def _likelihood_budget(kind, epsilon, best, total, d, loss_name):
    """Half a chi-square quantile an observation, or its Gaussian form."""
    quantile = chi2.isf(epsilon, d if kind == "lr" else 1)
    if loss_name == "Squared":  # variance profiled out: n log(rss) / 2
        return best * np.expm1(quantile / total)
    return quantile / (2 * total)


def _standard_error(estimator, problem, baseline):
    """Standard error of the five-fold cross-validated mean loss."""
    n = len(problem.y)
    if n < 10:
        raise ValueError(
            f"epsilon_type='cv' needs at least 10 distinct rows, got n_samples = {n}."
        )
    seed = estimator.random_state
    quadratic = problem.loss.quadratic
    folds = KFold(5, shuffle=True, random_state=seed)
    if not quadratic and min(np.bincount(problem.y.astype(int))) >= 5:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    losses = np.empty(n)
    for train, test in folds.split(problem.X, problem.y):
        part = Problem(
            problem.X[train],
            problem.y[train],
            problem.s[train] / problem.s[train].sum(),
            problem.penalty,
            problem.loss,
        )
        w = _minimiser(part, baseline).center
        losses[test] = problem.loss.evaluate(problem.X[test] @ w, problem.y[test])[0]
    mean = problem.s @ losses
    return float(np.sqrt(problem.s**2 @ (losses - mean) ** 2))


def _rows(X, rows):
    """Some rows of an array, a sparse matrix or a data frame."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]
