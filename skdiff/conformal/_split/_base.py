"""What selectors with a calibration set share."""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)

from skdiff._base.compat import (
    BaseSearchCV,
    fit_context,
    routing_enabled,
    safe_indexing,
)
from skdiff._base.inner import (
    is_frozen,
    refuse_params,
    route,
    take_rows,
    whole_fit,
)
from skdiff.conformal._common._base import (
    PRUNING_CONSTRAINTS,
    SPLIT_CONSTRAINTS,
    BaseSelector,
)
from skdiff.conformal._common._batch import Scores
from skdiff.conformal._split._fit import (
    Calibration,
    Labels,
    Trained,
    calibrate,
    default_scale,
    density_ratios,
    train,
)


class SplitSelector(BaseSelector):
    """Train on one part of the labelled rows, calibrate on the other."""

    _parameter_constraints = {
        **BaseSelector._parameter_constraints,
        **SPLIT_CONSTRAINTS,
        **PRUNING_CONSTRAINTS,
    }
    _needs_new_thresholds = True

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, thresholds=None, groups=None, **fit_params):
        """Train on one part of the rows and calibrate on the other.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Labelled rows, exchangeable with those to come.
        y : array-like of shape (n_samples,)
            Their outcomes.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row in place of ``threshold``; new rows then need theirs.
        groups : array-like of shape (n_samples,), default=None
            Labels of groups: :meth:`select` then compares new rows with the labelled
            rows of their group. They also reach a search inside whose splitter takes
            groups.
        **fit_params : dict
            Passed to the estimators' ``fit``, such as ``sample_weight``; what has one
            entry per row is cut to the training rows. With metadata routing enabled it
            is routed as requested. Weights that an estimator does not take, and
            arguments for fitted models, are refused.

        Returns
        -------
        self : object
            Calibrated selector.
        """
        with whole_fit(self):
            checked = self._check_labelled(X, y, thresholds, groups)
            X, y, thresholds, grouped, positive = checked
            self._check_fitted_models(fit_params)
            routed = self._routed(fit_params, groups)
            rng = check_random_state(self.random_state)
            labels = Labels(y, positive, thresholds)
            runs, seeds = [], []
            for _ in range(self.n_repeats):
                rows = self._split(len(y), rng)
                seeds.append(int(rng.randint(2**31 - 1)))
                codes = None if grouped is None else grouped.codes
                run = self._run(X, labels, rows, codes, routed, seeds[-1])
                runs.append(run._asdict())
            self._runs, self.calibration_scores_ = runs, runs[0]["scores"]
            self._groups = None if grouped is None else tuple(grouped)
            self._per_row = thresholds is not None
            self._fitted_goal = tuple(self._goal())
            # kept, so that ties of the same batch are broken in the same way again
            self._seeds = seeds
        return self

    @property
    def _all_fitted(self):
        given = self._given()
        return self.prefit or bool(given and all(is_frozen(e) for e in given))

    def _check_fitted_models(self, fit_params):
        """Refuse what means nothing for models that come fitted."""
        if self.prefit and not self._given():
            raise ValueError("prefit=True means that a fitted model is given; none is.")
        if not self._all_fitted:
            return
        refuse_params(fit_params, "the models come fitted")
        if self.scale_estimator is None and self.conformity_score == "scaled":
            default_scale(FrozenEstimator(self._given()[0]), {})

    def _names(self):
        """Names of the candidates in the router."""
        return ["estimator"]

    def _routed(self, fit_params, groups):
        """Fit arguments of each candidate, and of the scale estimator."""
        given = self._given()
        names = self._names()
        params = dict(fit_params)
        if not routing_enabled():
            found = route(self, params, [*names, "scale_estimator"])
            for estimator, one in zip(self._candidates(), found[:-1], strict=True):
                if groups is not None and _splits_groups(estimator):
                    one["groups"] = groups
                if is_frozen(estimator):
                    one.clear()
            # only weights belong to a second model too
            weights = found[-1].get("sample_weight")
            found[-1] = {} if weights is None else {"sample_weight": weights}
            return found
        if groups is not None and any(
            get_routing_for_object(e).consumes("fit", {"groups"}) for e in given
        ):
            params["groups"] = groups
        if self.scale_estimator is not None:
            return route(self, params, [*names, "scale_estimator"])
        return [*route(self, params, names), {}]

    def get_metadata_routing(self):
        """Return how metadata reaches the estimators.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide. A single estimator has the name
            ``estimator``, candidate ``i`` the name ``candidate<i>``.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        for name, estimator in zip(self._names(), self._candidates(), strict=True):
            router.add(**{name: estimator}, method_mapping=mapping)
        if self.scale_estimator is not None:
            router.add(scale_estimator=self.scale_estimator, method_mapping=mapping)
        return router

    def _split(self, n, rng):
        """Training and calibration rows, drawn without a look at the outcomes."""
        if self._all_fitted:
            return np.arange(0), np.arange(n)
        size = self.calibration_size
        whole = isinstance(size, (int, np.integer))
        n_calibration = int(size) if whole else int(np.ceil(size * n))
        if not 1 <= n_calibration < n:
            raise ValueError(
                f"With n_samples={n} and calibration_size={size} the training or the "
                "calibration part is empty."
            )
        order = rng.permutation(n)
        return np.sort(order[n_calibration:]), np.sort(order[:n_calibration])

    def _run(self, X, labels, rows, codes, routed, seed):
        """Train and calibrate on one split."""
        training, calibration = rows
        goal, candidates = self._goal(), self._candidates()
        if self._all_fitted:
            trained = [Trained(e, self.scale_estimator) for e in candidates]
        else:
            part = safe_indexing(X, training)
            cut = [take_rows(X, params, training) for params in routed]
            trained = [
                train(
                    e,
                    part,
                    labels.at(training),
                    goal,
                    params,
                    self._scale_of(e, params, cut[-1]),
                    seed + k,
                )
                for k, (e, params) in enumerate(zip(candidates, cut[:-1], strict=True))
            ]
        goals = [
            goal.seen_by(
                one.model,
                not (self._all_fitted or is_frozen(e)),
                labels.y,
                labels.thresholds is not None,
            )
            for one, e in zip(trained, candidates, strict=True)
        ]
        found = calibrate(
            trained,
            safe_indexing(X, calibration),
            labels.at(calibration),
            goals,
            self.conformity_score,
            self.density_ratio,
            None if codes is None else codes[calibration],
        )
        self._warn_if_powerless(labels.positive[calibration])
        return found

    def _scale_of(self, estimator, params, scale_params):
        """The unfitted scale model of a candidate and its fit arguments, or None."""
        if self.scale_estimator is not None:
            return self.scale_estimator, scale_params
        if self.conformity_score == "scaled":
            return default_scale(estimator, params)
        return None

    def _repeats(self, X, thresholds):
        """Scores of labelled and new rows, one per split."""
        if self._per_row and thresholds is None:
            raise ValueError(
                "fit was given thresholds: pass those of the new rows as thresholds."
            )
        if thresholds is not None and not self._per_row:
            raise ValueError("Pass thresholds to fit as well, or to neither.")
        c = self._check_thresholds(thresholds, X.shape[0])
        found = []
        for fields, seed in zip(self._runs, self._seeds, strict=True):
            run = Calibration(**fields)
            new = run.new_scores(X, self._goal(), c)
            ratios = None
            if run.ratios is not None:
                ratios = density_ratios(self.density_ratio, X)
            found.append(Scores(run.scores, new, run.ratios, ratios, run.groups, seed))
        return found


def _splits_groups(estimator):
    """Tell whether a search inside draws its folds by groups."""
    cv = getattr(estimator, "cv", None)
    return isinstance(estimator, BaseSearchCV) and "Group" in type(cv).__name__
