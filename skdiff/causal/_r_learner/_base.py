"""What R-learners share: cross-fitted residuals and a final stage on them."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import norm
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import (
    check_array,
    check_consistent_length,
    column_or_1d,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    Options,
    safe_indexing,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import (
    binary_codes,
    check_levels,
    refuse_foreign_arrays,
)
from skdiff.causal._keywords import beside
from skdiff.causal._r_learner._models._base import (
    expected,
    fit_final,
    fit_fold,
    given_or_default,
    linear_design,
)
from skdiff.causal._r_learner._residuals import (
    Linear,
    Residuals,
    debiased_mean,
    linear_effect,
    linear_mean,
    r_loss,
    r_score,
)


class BaseRLearner(SaveMixin, BaseEstimator):
    """Cross-fitted residuals, and a final stage on them."""

    _parameter_constraints: dict = {
        "outcome_model": [HasMethods(["fit", "predict"]), None],
        "treatment_model": [HasMethods(["fit", "predict"]), None],
        "final_model": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "clip": [Interval(Real, 0, 0.5, closed="left")],
        "trim_residual": [Interval(Real, 0, 1, closed="left")],
        "discrete_treatment": ["boolean", Options(str, {"auto"})],
        "n_bootstrap": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    # --- reading --------------------------------------------------------------------

    def _given(self):
        models = (self.outcome_model, self.treatment_model, self.final_model)
        return [m for m in models if m is not None]

    def _read_outcome(self, y, X):
        refuse_foreign_arrays(y, "y")
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(X, y)
        if len(y) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two rows; got n_samples = 1."
            )
        # the residuals are squared
        with np.errstate(over="ignore"):
            if not np.isfinite(np.sum(y**2)):
                raise ValueError("y has values too large for their squares. Rescale y.")
        return y

    def _read_treatment(self, treatment, X, classes=None):
        """Treatment as numbers, and its two classes where it is discrete."""
        text = False
        if treatment is not None:
            refuse_foreign_arrays(treatment, "treatment")
            values = column_or_1d(treatment, warn=True)
            check_consistent_length(X, values)
            text = not _numeric(values)
        if not text:
            values = beside(self, treatment, "treatment", X)
        if classes is not None:
            unknown = np.setdiff1d(values, classes)
            if len(unknown):
                raise ValueError(
                    f"treatment has values that fit has not seen: {unknown}"
                )
            return (values == classes[1]).astype(np.float64), classes
        if text and any(v is None or v != v for v in values):
            raise ValueError("treatment has missing values.")
        distinct = np.unique(values)
        if len(distinct) < 2:
            raise ValueError(
                f"treatment never varies: every row has {distinct.tolist()}, so its "
                "effect is not identified."
            )
        classifies = self.treatment_model is None or is_classifier(self.treatment_model)
        discrete = self.discrete_treatment
        if discrete == "auto":
            discrete = text or (classifies and len(distinct) == 2)
        if discrete:
            codes, classes = binary_codes(values, "treatment")
            return codes.astype(np.float64), classes
        if text or (self.treatment_model is not None and classifies):
            raise ValueError(
                f"treatment has {len(distinct)} values and is no number between "
                "treated and untreated that a classifier could learn. Give numbers and "
                "a regressor as treatment_model, or two classes."
            )
        return values, None

    def _splits(self, X, codes, groups, random_state):
        """Folds, every row held out once; codes of a discrete treatment or None."""
        n = X.shape[0]
        cv = self.cv
        if isinstance(cv, Integral):
            cv = min(int(cv), n)
            if codes is not None:
                cv = min(cv, int(np.bincount(codes).min()))
            if groups is not None:
                cv = min(cv, len(np.unique(groups)))
            if cv < 2:
                raise ValueError(
                    "Cross-fitting needs two rows of each treatment, and two groups; "
                    "there are fewer."
                )
            seed = int(random_state.randint(2**31 - 1))
            how = {"shuffle": True, "random_state": seed}
            if groups is not None:
                kind = GroupKFold if codes is None else StratifiedGroupKFold
                cv = kind(cv) if codes is None else kind(cv, **how)
            else:
                cv = (KFold if codes is None else StratifiedKFold)(cv, **how)
        else:
            cv = check_cv(cv)
        return self._splits_of(cv, X, codes, groups)

    def _splits_of(self, cv, X, codes, groups):
        n = X.shape[0]
        labels = np.zeros(n) if codes is None else codes
        splits = [tuple(map(np.asarray, s)) for s in cv.split(X, labels, groups)]
        held = np.sort(np.concatenate([test for _, test in splits]))
        if not np.array_equal(held, np.arange(n)):
            raise ValueError("cv must hold out every row exactly once.")
        return splits

    # --- fitting --------------------------------------------------------------------

    def _cross_fit(self, N, y, t, weight, splits):
        """Held-out residuals from nuisance features N."""
        rng, discrete = self._rng, self.treatment_classes_ is not None
        for k, (train, _) in enumerate(splits):
            if len(np.unique(t[train])) < 2:
                raise ValueError(
                    f"treatment never varies in the training rows of fold {k}."
                )
        models = [
            given_or_default(self.outcome_model, "regressor", rng),
            given_or_default(
                self.treatment_model, "classifier" if discrete else "regressor", rng
            ),
        ]
        targets = [self._labels(models[0], y), t]
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_fold)(models, N, *targets, weight, train) for train, _ in splits
        )
        self.outcome_models_ = [pair[0] for pair in fitted]
        self.treatment_models_ = [pair[1] for pair in fitted]
        m, e = np.empty(len(y)), np.empty(len(y))
        self._fold = np.empty(len(y), dtype=np.int64)
        for k, (_, test) in enumerate(splits):
            rows = safe_indexing(N, test)
            m[test], e[test] = self._nuisances(rows, (k,))
            self._fold[test] = k
        return self._residuals_of(y, t, weight, m, e)

    def _labels(self, model, y):
        """Outcomes as a classifier wants them; others stay numbers."""
        self._outcome_values = (0.0, 1.0)
        if not is_classifier(model):
            return y
        codes, values = binary_codes(y)
        self._outcome_values = tuple(map(float, values))
        return codes

    def _nuisances(self, N, folds=None):
        """Means of outcome and treatment, averaged over the models of folds."""
        folds = range(len(self.outcome_models_)) if folds is None else folds
        m = [expected(self.outcome_models_[k], N, *self._outcome_values) for k in folds]
        e = [expected(self.treatment_models_[k], N, 0.0, 1.0) for k in folds]
        e = np.mean(e, axis=0)
        if self.treatment_classes_ is not None:
            e = np.clip(e, self.clip, 1 - self.clip)
        return np.mean(m, axis=0), e

    def _residuals_of(self, y, t, weight, m, e):
        u, w = t - e, np.ones(len(y)) if weight is None else weight
        variance = np.full(len(y), w @ u**2 / w.sum())
        if self.treatment_classes_ is not None:
            variance = e * (1 - e)
        found = Residuals(y - m, u, w, variance)
        if not all(np.all(np.isfinite(part)) for part in found):
            raise ValueError(
                "The residuals are not finite: a nuisance model predicts NaN or "
                "infinite values, or X, y and treatment need rescaling."
            )
        return found

    def _learn(self, final_rows, found, clusters):
        """Keep the residuals and fit the final stage."""
        self.outcome_residual_ = found.outcome
        self.treatment_residual_ = found.treatment
        self._residuals, self._clusters = found._asdict(), clusters
        self._seed = int(self._rng.randint(2**31 - 1))
        self._training_rows = final_rows
        self._finish(given_or_default(self.final_model, "final", self._rng))
        del self._rng

    def _finish(self, model):
        X, found = self._final_rows(), Residuals(**self._residuals)
        fitted = fit_final(model, X, found, self.trim_residual, self._seed)
        D = linear_design(fitted, X)
        effects = np.asarray(fitted.predict(X), dtype=np.float64).ravel()
        if not np.all(np.isfinite(effects)):
            raise ValueError("The final stage predicts effects that are not finite.")
        linear = None if D is None else linear_effect(D, found, self._clusters)
        if linear is None:
            mean = debiased_mean(effects, found, self._clusters)
        else:
            mean = linear_mean(D, linear, found.weight, self._clusters)
        self.final_model_ = fitted
        self._linear = None if linear is None else linear._asdict()
        self.ate_, self.ate_std_ = mean.value, mean.std
        half = float(norm.ppf(0.975)) * mean.std
        self.ate_interval_ = (mean.value - half, mean.value + half)
        self.r_loss_ = r_loss(found, effects)

    def _final_rows(self):
        rows = vars(self).get("_training_rows")
        if rows is None:
            raise ValueError(
                "Training rows are not kept in files, so this needs a new fit."
            )
        return rows

    # --- using ----------------------------------------------------------------------

    def refit_final(self, model):
        """Fit another final stage on the residuals of ``fit``.

        No nuisance model is fitted again. The parameter ``final_model`` stays as it
        is.

        Parameters
        ----------
        model : estimator
            Regressor of the effect.

        Returns
        -------
        self : object
            The estimator with the new final stage.
        """
        check_is_fitted(self)
        rng = np.random.RandomState(self._seed)
        self._finish(given_or_default(model, "final", rng))
        return self

    def _held_out_effects(self, model, X):
        """Effects of every row from a final stage fitted without its fold."""
        found, effects = Residuals(**self._residuals), np.empty(len(self._fold))
        model = given_or_default(model, "final", np.random.RandomState(self._seed))
        for k in range(int(self._fold.max()) + 1):
            train, test = (np.flatnonzero(part) for part in self._halves(k))
            how = {"rows": train}
            fitted = fit_final(model, X, found, self.trim_residual, self._seed, **how)
            effects[test] = np.ravel(fitted.predict(safe_indexing(X, test)))
        return effects

    def _halves(self, k):
        return self._fold != k, self._fold == k

    def final_stage_report(self, models):
        """Compare final stages by their cross-validated R-loss.

        The residuals of ``fit`` serve all of them. Losses compare final stages on the
        same residuals only, never different nuisance models.

        Parameters
        ----------
        models : dict
            Final models by name.

        Returns
        -------
        frame : DataFrame
            One row per name; columns ``r_loss`` and ``r_score``, one less the ratio to
            the loss of the best constant effect.
        """
        import pandas as pd

        check_is_fitted(self)
        found = Residuals(**self._residuals)
        rows = {}
        for name, model in dict(models).items():
            effects = self._held_out_effects(model, self._final_rows())
            rows[name] = {
                "r_loss": r_loss(found, effects),
                "r_score": r_score(found, effects),
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def _score(self, N, rows, outcome, weight):
        """R-score from nuisance features, final rows, and (y, treatment)."""
        y, treatment = outcome
        y = self._read_outcome(y, N)
        if self.treatment_classes_ is None:
            t = beside(self, treatment, "treatment", N)
        else:
            t = self._read_treatment(treatment, N, self.treatment_classes_)[0]
        found = self._residuals_of(y, t, weight, *self._nuisances(N))
        return r_score(found, self._effects(rows))

    def _effects(self, rows):
        return np.asarray(self.final_model_.predict(rows), dtype=np.float64).ravel()

    def _interval(self, rows, level):
        level = check_levels(level, name="level")
        effect = self._effects(rows)
        if self._linear is not None:
            D = linear_design(self.final_model_, rows)
            cov = Linear(**self._linear).cov
            std = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", D, cov, D), 0.0))
        else:
            std = self._bootstrap(rows).std(axis=0, ddof=1)
        half = norm.ppf(0.5 + level / 2) * std
        return effect - half, effect + half

    def _bootstrap(self, rows):
        """Effects of final stages under random weights of the rows, or of groups."""
        X, found = self._final_rows(), Residuals(**self._residuals)
        rng = np.random.RandomState(self._seed)
        clusters = self._clusters
        clusters = np.arange(len(found.weight)) if clusters is None else clusters
        draws = rng.exponential(size=(self.n_bootstrap, int(clusters.max()) + 1))
        trim, seed = self.trim_residual, self._seed

        def refit(draw):
            drawn = found._replace(weight=found.weight * draw[clusters])
            model = fit_final(self.final_model_, X, drawn, trim, seed)
            return np.ravel(model.predict(rows))

        return np.array(
            Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(refit)(draw) for draw in draws
            )
        )


def _numeric(values):
    """Whether values are numbers, objects that hold numbers too."""
    if np.asarray(values).dtype.kind in "US":
        return False
    try:
        np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return np.asarray(values).dtype.kind != "b"
