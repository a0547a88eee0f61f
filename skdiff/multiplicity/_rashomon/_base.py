"""What classifier and regressor share: the level set, its ranges, its report."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    is_classifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
    safe_indexing,
)
from skdiff._base.inner import transform_before, unfrozen
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.validation import check_X, check_X_y, require_y
from skdiff.multiplicity._rashomon import _linear_models as linear
from skdiff.multiplicity._rashomon._axes import named_bounds
from skdiff.multiplicity._rashomon._fairness import FairnessMixin
from skdiff.multiplicity._rashomon._measures import MeasuresMixin
from skdiff.multiplicity._rashomon._tables import (
    as_report,
    group_parts,
    mean_with_interval,
    summary,
)
from skdiff.multiplicity._sets._fit import FittedSet, Settings, fit_level_set
from skdiff.multiplicity._sets._scaling import LARGEST_CELLS, LARGEST_DENSE
from skdiff.multiplicity._sets._tolerance import Tolerance


class BaseRashomon(
    FairnessMixin,
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
        require_y(self, y)
        steps, _, inner, frozen = linear.split(self.estimator, default, kind)
        X, y = self._check(X, y, steps, reset=True)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
            X, y, sample_weight = self._without_lost_classes(X, y, sample_weight)
        found = linear.trained(inner, frozen, X, y, sample_weight)
        y = column_or_1d(found.y)
        target, classes = self._encode(y)
        self._check_classes(found.model, classes)
        features = self._dense(found.X)
        own = not frozen and not linear.fits_itself(found.model)
        state = self._audit(found.model, features, target, sample_weight, own=own)
        self.estimator_ = found.estimator
        self._steps_fitted = steps is not None
        if classes is not None:
            self.classes_ = classes
        for name, value in state.items():
            setattr(self, name, value)
        return self

    def _without_lost_classes(self, X, y, weight):
        """Leave out rows of classes without weight; other rows of weight zero stay.

        The steps of a pipeline see them, as scikit-learn's pipelines do.
        """
        if not is_classifier(self):
            return X, y, weight
        _, codes = np.unique(y, return_inverse=True)
        kept = (np.bincount(codes, weights=weight) > 0)[codes]
        if kept.all():
            return X, y, weight
        rows = np.flatnonzero(kept)
        return safe_indexing(X, rows), y[rows], weight[rows]

    def _check_classes(self, model, classes):
        known = getattr(model, "classes_", None)
        if classes is not None and not np.array_equal(known, classes):
            raise ValueError(
                f"y has the classes {classes.tolist()}, but the fitted model has "
                f"{np.asarray(known).tolist()}."
            )

    def _audit(self, model, features, target, sample_weight, *, own):
        """Return the attributes of one level set.

        ``target`` are codes of the classes, or values. ``own`` says that the model was
        fitted here, by scikit-learn's code.
        """
        weight = linear.combined_weight(sample_weight, model, target)
        goal = linear.objective_of(model, weight.sum(), len(weight))
        tolerance = Tolerance(
            self.epsilon,
            self.epsilon_type,
            self.level,
            self.random_state,
            stratified=is_classifier(self),
        )
        start = linear.parameters(model)
        if not weight.all():
            rows = np.flatnonzero(weight)
            features, target, weight = features[rows], target[rows], weight[rows]
        found = fit_level_set(goal, features, target, weight, start, tolerance)
        self._check_start(found, model, own)
        coef, intercept = found.coefficients()
        if not is_classifier(self):
            coef, intercept = coef[0], float(intercept[0])
        best = found.level_set.objective
        return {
            "_packed": found.pack(),
            "_live": {"set": found},
            "coef_": coef,
            "intercept_": intercept,
            "hessian_": found.hessian(),
            "objective_": best * found.loss_unit,
            "epsilon_": found.budget * found.loss_unit,
            "n_iter_": max(1, found.level_set.n_iter),
        }

    def _check_start(self, found, model, own):
        """Warn where the fitted model stopped early; raise where it is another one."""
        best, off = found.level_set.objective, found.start_gap
        scale = self.epsilon if self.epsilon_type == "relative" else 0.01
        if off <= max(self.tol, 1e-2) * scale * best + 1e-12:
            return
        name = type(model).__name__
        gap = f"{off:.2g} above the best objective {best:.4g}"
        if not own and not linear.stopped_early(model, off, best):
            raise ValueError(
                f"{name} is not near the optimum of its objective on these rows: it is "
                f"{gap}. It was fitted to other rows or weights, its coefficients were "
                "changed, or its fit has another objective; the audit would be one of "
                "another model."
            )
        warnings.warn(
            f"{name} stopped {gap}, before its optimum; the audit is centred at the "
            "refined optimum. Raise its max_iter or lower its tol to make them agree.",
            ConvergenceWarning,
            stacklevel=6,
        )

    # --- data -----------------------------------------------------------------------

    def _check(self, X, y, steps, *, reset):
        """Check X for the linear model itself, or leave that to the pipeline."""
        how = {"skip_check_array": True}
        if steps is None:
            how = {
                "accept_sparse": ["csr", "csc", "coo"],
                "dtype": np.float64,
                "order": "C",
            }
        if not reset:
            return check_X(self, X, reset=False, **how), None
        if steps is None:
            how |= {"y_numeric": self._numeric, "multi_output": False}
        return check_X_y(self, X, y, **how)

    def _dense(self, X):
        """Columns as the linear model sees them: dense, except very wide sparse X."""
        X = check_array(X, accept_sparse="csr", dtype=np.float64, order="C")
        if not issparse(X) or X.shape[1] > LARGEST_DENSE:
            return X
        # dense arrays can do more; long sparse tables stay as they are
        return X.toarray() if np.prod(X.shape) <= LARGEST_CELLS else X

    def _query(self, X):
        """Rows as functionals of the solver's coefficients."""
        features = self._query_features(X)
        self._two_classes()
        return self._set.scaling.directions(features)

    def _two_classes(self):
        """Refuse what is not one number per row for three classes and more."""
        if len(getattr(self, "classes_", ())) > 2:
            raise ValueError(
                f"This method is for two classes, and y had {len(self.classes_)}. Use "
                "decision_range, predict_proba_range, conflicts, ambiguity, "
                "coef_range, functional_range or transform."
            )

    def _query_features(self, X):
        """Rows as the linear model sees them."""
        check_is_fitted(self)
        pipeline = unfrozen(self.estimator_) if self._steps_fitted else None
        X, _ = self._check(X, None, pipeline, reset=False)
        return self._dense(X if pipeline is None else transform_before(pipeline, X))

    @property
    def _set(self):
        """The fitted set, rebuilt from arrays once after a load."""
        if self._packed is None:
            raise ValueError(
                "A one-vs-rest model of three classes or more has one set per class: "
                "use the audits in estimators_."
            )
        if "set" not in self._live:
            self._live["set"] = FittedSet.unpack(self._packed)
        return self._live["set"]

    @property
    def _settings(self):
        return Settings(self.tol, self.max_iter, self.n_jobs, self.solver == "cvxpy")

    def __getstate__(self):
        """Leave out what is rebuilt."""
        state = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_live"}

    def __setstate__(self, state):
        """Take arrays; the level set is rebuilt when it is first used."""
        super().__setstate__(state)
        if "_packed" in state:
            self._live = {}

    # --- ranges ---------------------------------------------------------------------

    def _range(self, V, budget=None):
        """Range (m, 2) of the functionals V, in the units of the solver's target."""
        return self._set.range(V, self._settings, budget)

    def decision_range(self, X):
        """Return the range of the linear predictor over all nearly optimal models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2)
            Smallest and largest value. Infinite where the data do not bound it: for
            an unpenalised model in a direction that no training row spans.
        """
        V = self._query(X)
        return self._range(V) * self._set.scaling.unit

    def coef_range(self, *, as_frame=False):
        """Return the range of each coefficient, the intercept last.

        Parameters
        ----------
        as_frame : bool, default=False
            Return a DataFrame whose index holds the names of the features.

        Returns
        -------
        bounds : ndarray of shape (n_features + 1, 2) or pandas.DataFrame
            Smallest and largest value; without an intercept ``n_features`` rows.
        """
        check_is_fitted(self)
        V = self._set.scaling.coefficient_directions()
        bounds = self._range(V) * self._set.scaling.unit
        return named_bounds(self, bounds) if as_frame else bounds

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
        scaling = self._set.scaling
        base, d = scaling.coefficient_directions(), scaling.n_features
        if V.shape[1] not in (d, base.shape[0]):
            raise ValueError(
                f"V has {V.shape[1]} features, but the linear model has {d} "
                "coefficients (and an intercept)."
            )
        found = self._range(V @ base[: V.shape[1]])
        return found * scaling.unit

    def boundary_models(self, X):
        """Return the models at which each row's predictor is smallest and largest.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.

        Returns
        -------
        coef : ndarray of shape (n_samples, 2, n_features)
            Coefficients of the two models of each row.
        intercept : ndarray of shape (n_samples, 2)
            Their intercepts.
        """
        V = self._query(X)
        level_set = self._set.level_set
        # feasible to rounding, which the reported value does not need
        _, low, high = level_set.maxima(
            V, self._set.budget, **(self._settings.newton | {"tol": 1e-9})
        )
        if V.shape[0] and not low.model.shape[1]:
            raise ValueError(
                f"The boundary models of {V.shape[0]} rows and {V.shape[1]} columns "
                "would not fit into memory. Pass fewer rows at a time."
            )
        W = np.stack([level_set.models(e.model) for e in (low, high)], axis=1)
        return self._set.scaling.features(W)

    def range_error(self, X):
        """Bound the error of :meth:`decision_range` for each row.

        Convexity proves an outer bound from the Lagrangian at any point, and a point
        of the set gives an inner one; their distance is returned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.

        Returns
        -------
        error : ndarray of shape (n_samples, 2)
            At least the distance of each reported bound from the true one, in units
            of the linear predictor.
        """
        V = self._query(X)
        level_set = self._set.level_set
        errors = level_set.errors(V, self._set.budget, **self._settings.newton)
        return errors * self._set.scaling.unit

    # --- transformer ----------------------------------------------------------------

    def transform(self, X):
        """Return prediction, lower bound, upper bound and width as columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.

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

    def _range_path(self, V, epsilons):
        """Ranges (n_epsilons, m, 2) in the solver's units, at any tolerances."""
        epsilons = np.atleast_1d(np.asarray(epsilons, dtype=np.float64))
        if epsilons.ndim != 1 or not np.all(epsilons > 0):
            raise ValueError(f"epsilons must be positive, got {epsilons}.")
        return self._set.path(V, epsilons, self._settings)

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
            Group of each row; one line per group follows the line of all rows.
        deltas : tuple of float, default=(0.05, 0.1, 0.2)
            Changes of the prediction that count as ambiguous.
        epsilons : array-like of float, default=None
            Tolerances to report on; the fitted one by default.

        Returns
        -------
        table : pandas.DataFrame
            Columns ``epsilon``, ``group``, ``n``, ``mean_width``, ``median_width``,
            for classifiers ``conflict_ratio``, then ``ambiguity_<delta>``, each
            proportion with ``_low`` and ``_high``, its 95 % Wilson interval, and
            ``loss`` with the 95 % normal interval of a mean. For three classes and
            more a row has the width and the change of the class that moves most. The
            frame's ``to_html`` and ``to_markdown`` give a page that can be filed, with
            the model, the tolerance and what the columns mean.
        """
        require_pandas("report")
        parts, deltas = self._report_parts(X, y, groups, deltas)
        epsilons = np.atleast_1d(self.epsilon if epsilons is None else epsilons)
        middle, loss, found = self._report_columns(X, y, epsilons)
        lines = []
        for epsilon, (bounds, hits) in zip(epsilons, found, strict=True):
            for group, rows in parts:
                line = {"epsilon": float(epsilon), "group": group, "n": rows.sum()}
                chosen = {name: hit[rows] for name, hit in hits.items()}
                line |= summary(middle[rows], bounds[rows], chosen, deltas)
                if loss is not None:
                    line |= mean_with_interval(loss[rows])
                lines.append(line)
        return as_report(lines, self._facts())

    def _report_parts(self, X, y, groups, deltas):
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        for name, given in (("groups", groups), ("y", y)):
            if given is not None and len(given) != n:
                raise ValueError(f"{name} has {len(given)} entries for {n} rows of X.")
        if not all(isinstance(delta, Real) and delta > 0 for delta in deltas):
            raise ValueError(f"deltas must be > 0, got {deltas!r}.")
        return group_parts(n, groups), deltas

    def _report_columns(self, X, y, epsilons):
        """Predictions, losses, and for each tolerance ranges and flags of the rows."""
        V = self._query(X)
        f = V @ self._set.baseline
        loss = None if y is None else self._row_loss_of(f, y)
        found = [
            (self._response(bounds), self._flags(bounds))
            for bounds in self._range_path(V, epsilons)
        ]
        return self._response(f), loss, found

    def _facts(self):
        """What a filed report states about the audit."""
        return {
            "Audited model": repr(self.estimator_).replace("\n", " "),
            "Best objective": np.round(self.objective_, 6).tolist(),
            "Tolerance": f"{self.epsilon} ({self.epsilon_type}, {self.level})",
            "Tolerance as an amount": np.round(self.epsilon_, 8).tolist(),
        }

    def suggest_epsilon(self):
        """Compare the tolerance with those that the data themselves suggest.

        A model within the sampling error of the best objective is as good as far as
        these data show. A much smaller tolerance excludes models that the data do not
        speak against; a much larger one admits some that are measurably worse.

        Returns
        -------
        table : pandas.DataFrame
            One row per rule: the fitted tolerance (``"fitted"``), one standard error
            of the cross-validated loss (``"cv"``), and the joint and
            single-coefficient likelihood-ratio regions of level 0.95 (``"lr"``,
            ``"profile"``) where the loss has a likelihood. Columns ``epsilon_type``,
            ``epsilon``, ``absolute`` (amount of the objective) and ``relative``
            (fraction of the best objective).
        """
        pd = require_pandas("suggest_epsilon")
        check_is_fitted(self)
        fitted = self._set
        lines = [("fitted", self.epsilon_type, self.epsilon, fitted.budget)]
        for kind, epsilon in (("cv", 1.0), ("lr", 0.05), ("profile", 0.05)):
            budget = fitted.suggested(kind, epsilon, self.random_state)
            if budget is not None:
                lines.append((kind, kind, epsilon, budget))
        best = fitted.level_set.objective
        return pd.DataFrame(
            [
                {
                    "rule": rule,
                    "epsilon_type": kind,
                    "epsilon": epsilon,
                    "absolute": budget * fitted.loss_unit,
                    "relative": budget / best if best > 0 else np.nan,
                }
                for rule, kind, epsilon, budget in lines
            ]
        )

    def __sklearn_tags__(self):
        """Tell scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
