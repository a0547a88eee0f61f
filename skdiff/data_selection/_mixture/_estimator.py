"""Projektor: the score of any mixture of sources at any size, from small pilots."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.metrics import check_scoring
from sklearn.utils import check_array, check_random_state, get_tags
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import check_table, fit_inner, is_frozen, seeded, whole_fit
from skdiff._base.parameters import EVERYWHERE
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.data_selection._base import read_target, take
from skdiff.data_selection._mixture._base import (
    Data,
    MixtureChoice,
    Transport,
    best_score,
    checked_pilots,
    climb,
    distances_of,
    linked,
    per_source,
    pilot_score,
    scored,
)
from skdiff.data_selection._mixture._forms import (
    FORMS,
    Form,
    Sizes,
    fit_form,
    form_weights,
    shared_rate,
)
from skdiff.data_selection._mixture._simplex import (
    Limits,
    counts_of,
    design,
    grid,
    starts,
)
from skdiff.data_selection._mixture._transport import Cuts

_FEWEST = 4
_TINY = 1e-6
_LOUD = 5.0


class MixturePerformanceProjector(SaveMixin, MetaEstimatorMixin, BaseEstimator):
    """Predict the score of any mixture of data sources, and find the best one.

    Some rows of each source are at hand; more can be bought. The estimator is trained
    on a dozen small mixtures. A regression on the parts of the sources and on the
    optimal-transport distance between mixture and validation rows predicts the score of
    other mixtures, and a line over the logarithm of the size carries it to other sizes.

    Parameters
    ----------
    estimator : estimator
        What is trained.
    pilot_sizes : list of int, default=None
        Two or more numbers of training rows for the pilots. None is half of the rows of
        the smallest source, and all of them.
    n_mixtures : int, default=12
        Number of pilot mixtures: corners, the centroid, then mixtures far apart.
    n_repeats : int, default=3
        Draws of rows per mixture and size, whose scores are averaged.
    form : {"average", "linear", "quadratic", "transport", "transport_linear", \
"pseudo_quadratic"}, default="average"
        Regression from mixture to score. ``"pseudo_quadratic"`` is the published one.
        ``"average"`` weights all five by their leave-one-out errors.
    label_cost : {"mean", "gaussian", "none"}, default="mean"
        What the distance of two rows adds for their classes: the squared distance of
        the classes' means, with ``"gaussian"`` that of their covariances as well. A
        target of numbers counts as one more column.
    ot_solver : {"auto", "exact", "sinkhorn", "pot"}, default="auto"
        ``"exact"`` matches as many rows of the mixture as of the validation set, on
        three draws; ``"sinkhorn"`` is entropic; ``"pot"`` solves on all validation rows
        by the package POT. ``"auto"`` is exact.
    scoring : str, callable or None, default=None
        Scorer; the estimator's own if None.
    link : {"identity", "logit", "log"}, default="identity"
        Scale on which scores are predicted: as they are, logits of scores between 0 and
        1, or the logarithm of the distance to the best possible score.
    size_model : {"loglinear", "power"}, default="loglinear"
        How scores grow with the size. ``"power"`` needs three pilot sizes and shares
        one rate.
    val_group : object, default=None
        Source that serves as validation set and is no source then.
    validation_fraction : float, default=0.2
        Fraction of the rows in the validation set. It is taken from every source where
        neither validation rows nor ``val_group`` are given.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    sources_ : ndarray of shape (n_sources,)
        Sources in order of their labels, that of the columns of mixtures.
    pilot_sizes_ : ndarray of shape (n_sizes,)
        Pilot sizes.
    mixtures_ : ndarray of shape (n_mixtures, n_sources)
        Pilot mixtures.
    observed_scores_ : ndarray of shape (n_sizes, n_mixtures)
        Scores of the pilots on the validation set.
    ot_distances_ : ndarray of shape (n_mixtures,)
        Distances between pilot mixtures and the validation set.
    form_ : dict
        Weight of each form.
    coef_ : dict
        Coefficients of each form on standardised columns, one row per size.
    loo_errors_ : dict
        Leave-one-out root mean squared error of each form, on the scale of ``link``.
    loo_error_ : float
        The same for the weighted forms.
    source_gradient_ : ndarray of shape (n_sources,)
        Derivative of the distance in the part of each source at equal parts, centred:
        negative sources bring the mixture nearer to the validation set.
    noise_amplification_ : float
        Standard deviation of a forecast at ten times the largest pilot size, in units
        of that of a pilot score.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    ConditionalLossSelector : Chooses rows in place of sources.
    skdiff.model_selection.TrainingSizeEstimator : More rows of one source.

    Notes
    -----
    The distance of a mixture that is no pilot is the largest of the lower bounds that
    the dual potentials of the pilots give, which is exact at the pilots for the drawn
    rows, convex, and costs nothing. Columns are scaled by the validation set. With two
    pilot sizes N and 1.5 N a forecast at 10 N has 7.4 times the noise of a pilot score;
    hence sizes that double, and a warning otherwise. Columns must be numbers.

    References
    ----------
    F. Kang, H. A. Just, A. K. Sahu and R. Jia, "Performance Scaling via Optimal
    Transport: Enabling Data Selection from Partially Revealed Sources", NeurIPS 2023,
    arXiv 2307.02460.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.data_selection import MixturePerformanceProjector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 3))
    >>> source = np.repeat(["clean", "wrong"], 300)
    >>> y = np.where(source == "clean", X[:, 0] > 0, X[:, 1] > 0)
    >>> X_val = rng.normal(size=(200, 3))
    >>> model = MixturePerformanceProjector(LogisticRegression(), random_state=0)
    >>> model = model.fit(X, y, groups=source, X_val=X_val, y_val=X_val[:, 0] > 0)
    >>> bool(model.optimize(2000).mixture[0] > 0.8)
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods("fit")],
        "pilot_sizes": ["array-like", None],
        "n_mixtures": [Interval(Integral, _FEWEST, None, closed="left")],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "form": [StrOptions({"average", *FORMS})],
        "label_cost": [StrOptions({"mean", "gaussian", "none"})],
        "ot_solver": [StrOptions({"auto", "exact", "sinkhorn", "pot"})],
        "scoring": [str, callable, None],
        "link": [StrOptions({"identity", "logit", "log"})],
        "size_model": [StrOptions({"loglinear", "power"})],
        "val_group": "no_validation",
        "validation_fraction": EVERYWHERE["validation_fraction"].constraint,
        "n_jobs": EVERYWHERE["n_jobs"].constraint,
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        estimator,
        pilot_sizes=None,
        n_mixtures=12,
        n_repeats=3,
        form="average",
        label_cost="mean",
        ot_solver="auto",
        scoring=None,
        link="identity",
        size_model="loglinear",
        *,
        val_group=None,
        validation_fraction=0.2,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.pilot_sizes = pilot_sizes
        self.n_mixtures = n_mixtures
        self.n_repeats = n_repeats
        self.form = form
        self.label_cost = label_cost
        self.ot_solver = ot_solver
        self.scoring = scoring
        self.link = link
        self.size_model = size_model
        self.val_group = val_group
        self.validation_fraction = validation_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Finite numbers only: distances are computed from them."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = False
        tags.classifier_tags = get_tags(self.estimator).classifier_tags
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, *, X_val=None, y_val=None):
        """Train the pilots and fit the regressions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of all sources.
        y : array-like of shape (n_samples,)
            Their outcomes.
        groups : array-like of shape (n_samples,)
            Source of each row. Required.
        X_val, y_val : array-like of shape (n_val, n_features), (n_val,), default=None
            Rows like those the model is for. Without them ``val_group``, or else a
            random part of every source, is held out.

        Returns
        -------
        self : object
            Fitted projector.
        """
        with whole_fit(self):
            require_y(self, y)
            if groups is None:
                raise ValueError(
                    "MixturePerformanceProjector requires groups to be passed to fit: "
                    "the source of each row."
                )
            if is_frozen(self.estimator):
                raise ValueError("A frozen estimator cannot be trained on pilots.")
            X = check_table(self, X, [self.estimator], reset=True)
            target = read_target(y, self.estimator)
            groups = np.asarray(groups)
            if groups.shape != (len(target.y),) or X.shape[0] != len(target.y):
                raise ValueError(
                    "X, y and groups have inconsistent numbers of samples: "
                    f"{X.shape[0]}, {len(target.y)}, {groups.shape}."
                )
            rng = check_random_state(self.random_state)
            data = self._split(X, target, groups, X_val, y_val, rng)
            pilots = checked_pilots(self.pilot_sizes, self.size_model, data)
            most = np.minimum(np.array([len(r) for r in data.rows]) / pilots[-1], 1.0)
            mixtures = design(len(data.rows), self.n_mixtures, most, rng)
            scores = self._observe(data, pilots, mixtures, rng)
            known = np.isfinite(scores).all(axis=0)
            if known.sum() < min(_FEWEST, len(mixtures)):
                raise ValueError(
                    f"{known.sum()} of {len(mixtures)} pilot mixtures have a score. "
                    "Pilots that lack a class cannot be trained: pass larger "
                    "pilot_sizes."
                )
            if not known.all():
                warnings.warn(
                    f"{np.sum(~known)} of {len(mixtures)} pilot mixtures have no "
                    "score and are left out.",
                    UserWarning,
                    stacklevel=2,
                )
            mixtures, scores = mixtures[known], scores[:, known]
            how = Transport(self.ot_solver, self.label_cost)
            cuts, distances = distances_of(data, mixtures, int(pilots[-1]), how, rng)
            self._best = best_score(self._scorer, scores)
            self.sources_, self.pilot_sizes_ = data.sources, pilots
            self.mixtures_, self.observed_scores_ = mixtures, scores
            self.ot_distances_ = distances
            self._cuts = {"slopes": cuts.slopes, "offsets": cuts.offsets}
            self.source_gradient_ = cuts.gradient(
                np.full(len(data.rows), 1.0 / len(data.rows))
            )
            self._fit_forms(cuts.distance(mixtures))
        return self

    def _split(self, X, target, groups, X_val, y_val, rng):
        """Rows of the sources, and the validation set."""
        labels = np.unique(groups)
        held = np.zeros(len(groups), dtype=bool)
        self._scorer = check_scoring(self.estimator, scoring=self.scoring)
        if X_val is not None or y_val is not None:
            if X_val is None or y_val is None:
                raise ValueError("Pass both of X_val and y_val, or none of them.")
            X_val = check_table(self, X_val, [self.estimator], reset=False)
            goal = read_target(
                y_val, self.estimator, name="y_val", classes=target.classes
            )
            if goal.n_classes > target.n_classes:
                raise ValueError("y_val has a class that y has not.")
        else:
            if self.val_group is not None:
                held = groups == self.val_group
                labels = labels[labels != self.val_group]
                if not held.any():
                    raise ValueError(f"No row has the group {self.val_group!r}.")
            else:
                for label in labels:
                    rows = np.flatnonzero(groups == label)
                    n = int(np.ceil(self.validation_fraction * len(rows)))
                    held[rng.permutation(rows)[:n]] = True
            chosen = np.flatnonzero(held)
            X_val, goal = take(X, chosen), target.take(chosen)
        rows = [np.flatnonzero((groups == label) & ~held) for label in labels]
        if not rows or min(len(r) for r in rows) < 2:
            raise ValueError(
                "Every source needs 2 rows at least besides validation. Got n_samples "
                f"= {len(groups)} in {len(labels)} sources."
            )
        return Data(X, target, rows, labels, X_val, goal)

    def _observe(self, data, pilots, mixtures, rng):
        """Mean scores of the pilots, (sizes, mixtures); NaN where none was trained."""
        jobs = []
        for n in pilots:
            for p in mixtures:
                for _ in range(self.n_repeats):
                    rows = data.draw(p, int(n), rng)
                    jobs.append((seeded(self.estimator, rng), rows))
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(pilot_score)(model, data, rows, self._scorer)
            for model, rows in jobs
        )
        scores = np.reshape(found, (len(pilots), len(mixtures), self.n_repeats))
        return scores.mean(axis=2)

    def _fit_forms(self, distance):
        values = linked(self.observed_scores_, self.link, self._best)
        names = FORMS if self.form == "average" else (self.form,)
        fitted = {
            name: [fit_form(name, self.mixtures_, distance, v) for v in values]
            for name in names
        }
        errors = {
            name: float(np.sqrt(np.mean([f.error**2 for f in forms])))
            for name, forms in fitted.items()
        }
        weights = form_weights(np.array(list(errors.values())))
        self.form_ = dict(zip(names, weights.tolist(), strict=True))
        self.coef_ = {
            n: np.array([f.coef for f in forms]) for n, forms in fitted.items()
        }
        self.loo_errors_ = errors
        self.loo_error_ = float(weights @ np.array(list(errors.values())))
        self._forms = {n: [f._asdict() for f in forms] for n, forms in fitted.items()}
        self._rate = 0.0
        if self.size_model == "power":
            self._rate = shared_rate(self.pilot_sizes_.astype(float), values)
        self.noise_amplification_ = self._sizes().amplification(
            10.0 * self.pilot_sizes_[-1]
        )

    def _sizes(self):
        return Sizes(self.pilot_sizes_.astype(np.float64), self._rate)

    def _values(self, mixtures, n):
        """Forecasts on the scale of the link."""
        distance = Cuts(**self._cuts).distance(mixtures)
        by_size = self._sizes().weights(float(n))
        total = np.zeros(len(mixtures))
        for name, weight in self.form_.items():
            for part, form in zip(by_size, self._forms[name], strict=True):
                total += weight * part * Form(**form).predict(mixtures, distance)
        return total

    def _noise(self, n):
        return self.loo_error_ * self._sizes().amplification(float(n))

    def _mixtures(self, mixtures):
        check_is_fitted(self, "form_")
        P = check_array(mixtures, dtype=np.float64, input_name="mixtures")
        if P.shape[1] != len(self.sources_):
            raise ValueError(
                f"mixtures has {P.shape[1]} columns for {len(self.sources_)} sources."
            )
        if P.min() < -_TINY or np.any(np.abs(P.sum(axis=1) - 1) > _TINY):
            raise ValueError("Rows of mixtures must be non-negative and sum to one.")
        P = np.maximum(P, 0.0)
        return P / P.sum(axis=1, keepdims=True)

    def _size(self, n_samples):
        n = float(self.pilot_sizes_[-1] if n_samples is None else n_samples)
        if not (np.isfinite(n) and n >= 1):
            raise ValueError(f"n_samples must be 1 or larger. Got {n_samples!r}.")
        return n

    def predict(self, mixtures, n_samples=None, return_std=False):
        """Predict the score of mixtures.

        Parameters
        ----------
        mixtures : array-like of shape (n_mixtures, n_sources)
            Parts of the sources, in the order of ``sources_``; rows sum to one.
        n_samples : int, default=None
            Number of training rows; the largest pilot size if None.
        return_std : bool, default=False
            Whether to return standard deviations as well.

        Returns
        -------
        scores : ndarray of shape (n_mixtures,)
            Predicted scores, at most the best possible one.
        std : ndarray of shape (n_mixtures,)
            From leave-one-out errors and the amplification of the noise, with
            ``return_std`` only.
        """
        P, n = self._mixtures(mixtures), self._size(n_samples)
        values = self._values(P, n)
        scores = scored(values, self.link, self._best)
        if not return_std:
            return scores
        noise = self._noise(n)
        high = scored(values + noise, self.link, np.inf if self._open() else self._best)
        low = scored(values - noise, self.link, np.inf if self._open() else self._best)
        return scores, (high - low) / 2

    def _open(self):
        return self.link == "identity"

    def predict_quantiles(self, mixtures, q=(0.05, 0.5, 0.95), n_samples=None):
        """Predict quantiles of the score of mixtures.

        Parameters
        ----------
        mixtures : array-like of shape (n_mixtures, n_sources)
            Parts of the sources.
        q : array-like of shape (n_levels,), default=(0.05, 0.5, 0.95)
            Levels between 0 and 1.
        n_samples : int, default=None
            Number of training rows; the largest pilot size if None.

        Returns
        -------
        scores : ndarray of shape (n_mixtures, n_levels)
            Normal quantiles on the scale of ``link``.
        """
        from scipy.stats import norm

        from skdiff._base.validation import check_levels

        P, n = self._mixtures(mixtures), self._size(n_samples)
        away = norm.ppf(np.atleast_1d(check_levels(q, name="q"))) * self._noise(n)
        values = self._values(P, n)[:, None] + away
        return scored(values, self.link, self._best)

    def optimize(
        self,
        n_samples,
        *,
        costs=None,
        budget=None,
        max_per_source=None,
        min_per_source=None,
    ):
        """Find the mixture of the highest predicted score.

        Parameters
        ----------
        n_samples : int
            Number of training rows.
        costs : array-like of shape (n_sources,) or dict, default=None
            Price of a row of each source, with ``budget``.
        budget : float, default=None
            Most that all rows may cost.
        max_per_source, min_per_source : int, array-like or dict, default=None
            Bounds of the rows of each source; dicts may leave sources out.

        Returns
        -------
        choice : MixtureChoice
            Named tuple with ``mixture``, ``counts`` and ``predicted_score``, which are
            kept as ``mixture_``, ``counts_`` and ``predicted_score_`` as well.
        """
        check_is_fitted(self, "form_")
        n, m = self._size(n_samples), len(self.sources_)
        if (costs is None) != (budget is None):
            raise ValueError("costs and budget belong together: pass both, or none.")
        limits = Limits(
            np.clip(per_source(self.sources_, min_per_source, 0.0) / n, 0.0, None),
            np.clip(per_source(self.sources_, max_per_source, np.inf) / n, None, 1.0),
            per_source(self.sources_, costs, 0.0),
            0.0 if budget is None else float(budget) / n,
        )
        if np.any(limits.low > limits.high):
            raise ValueError(
                "No mixture is within the limits: a lower bound is above its upper one."
            )
        noise = self._sizes().amplification(n)
        if noise > _LOUD:
            warnings.warn(
                f"The forecast at {n:.0f} rows has {noise:.1f} times the noise of a "
                "pilot score. Pass larger or more pilot_sizes.",
                UserWarning,
                stacklevel=2,
            )
        rng = np.random.RandomState(0)
        first = starts(limits, m, rng)
        if m <= 4:
            fine = grid(m, {1: 1, 2: 200, 3: 50, 4: 20}[m])
            first = np.vstack([first, fine[limits.allow(fine)]])
        best = climb(lambda p: self._values(p, n), first, limits)
        counts = counts_of(best, int(n))
        score = float(self.predict(best[None], n)[0])
        self.mixture_, self.counts_, self.predicted_score_ = best, counts, score
        return MixtureChoice(best, counts, score)

    def sample(self, groups, mixture=None, n_samples=None):
        """Draw rows in the proportions of a mixture, without replacement.

        Parameters
        ----------
        groups : array-like of shape (n_samples,)
            Source of each row at hand.
        mixture : array-like of shape (n_sources,), default=None
            Parts of the sources; ``mixture_`` if None.
        n_samples : int, default=None
            Number of rows; the sum of ``counts_`` if None.

        Returns
        -------
        rows : ndarray of int
            Row numbers, sorted.
        """
        check_is_fitted(self, "form_")
        if mixture is None or n_samples is None:
            check_is_fitted(self, "mixture_", msg="Call optimize first.")
        p = self.mixture_ if mixture is None else self._mixtures([mixture])[0]
        n = int(self.counts_.sum()) if n_samples is None else int(n_samples)
        groups, counts = np.asarray(groups), counts_of(p, n)
        rng = check_random_state(self.random_state)
        found = []
        for label, count in zip(self.sources_, counts, strict=True):
            rows = np.flatnonzero(groups == label)
            if len(rows) < count:
                raise ValueError(
                    f"The source {label!r} has {len(rows)} rows; the mixture needs "
                    f"{count}."
                )
            found.append(rng.choice(rows, count, replace=False))
        return np.sort(np.concatenate(found))

    def fit_selected(self, X, y, groups, *, mixture=None, n_samples=None):
        """Fit the estimator to rows drawn by :meth:`sample`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows at hand.
        y : array-like of shape (n_samples,)
            Their outcomes.
        groups : array-like of shape (n_samples,)
            Their sources.
        mixture : array-like of shape (n_sources,), default=None
            Parts of the sources; ``mixture_`` if None.
        n_samples : int, default=None
            Number of rows.

        Returns
        -------
        estimator : estimator
            A fitted clone.
        """
        rows = self.sample(groups, mixture, n_samples)
        return fit_inner(self.estimator, take(X, rows), take(np.asarray(y), rows))
