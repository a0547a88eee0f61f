"""TrainingSizeEstimator: what more rows would bring."""

import warnings
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv, cross_validate
from sklearn.utils import (
    assert_all_finite,
    check_random_state,
    get_tags,
    indexable,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    routing_enabled,
)
from skdiff._base.delegate import DelegateMixin
from skdiff._base.inner import check_table, fit_inner, is_frozen, seeded, whole_fit
from skdiff._base.parameters import EVERYWHERE, NON_NEGATIVE
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.validation import require_y
from skdiff.model_selection._score_curve._estimator import ScoreCurve
from skdiff.model_selection._score_curve._numbers import from_state
from skdiff.model_selection._score_curve._patterns import N_PARAMETERS
from skdiff.model_selection._score_curve._spread import probability_above
from skdiff.model_selection._training_size._base import (
    CurveComparison,
    largest_score,
    present,
)
from skdiff.model_selection._training_size._plan import (
    Plan,
    geometric_sizes,
    given_sizes,
    smallest_size,
    stratified_order,
)

_CERTAIN = 0.95
_FEWEST = 4  # sizes before a fit may stop
_FAR = 1e6


class TrainingSizeEstimator(
    DelegateMixin, SaveMixin, CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator
):
    """Predict how good an estimator would be with more training rows.

    The estimator is scored on nested subsamples of growing size, always on the same
    test folds; a :class:`ScoreCurve` extrapolates, and ends the evaluations as soon as
    further ones cannot change the forecast or the decision. Then the estimator is
    fitted to all rows.

    Parameters
    ----------
    estimator : estimator
        What is trained.
    train_sizes : "geometric" or array-like, default="geometric"
        Training sizes: integers are numbers of rows, floats are fractions of the
        smallest training fold. ``"geometric"`` doubles them, or multiplies them by the
        square root of two where the data are few.
    n_sizes : int, default=8
        Number of geometric sizes.
    min_size : int, default=None
        Smallest training size. It is raised, with a warning, where a smaller sample
        lacks a class.
    cv : int, splitter or iterable, default=5
        Folds. Their test rows are the same at every size.
    scoring : str, callable or None, default=None
        Scorer; the estimator's own if None.
    target : float, default=None
        Score that is wanted, for ``decision_`` and ``required_samples_``.
    target_size : int, default=None
        Number of training rows with which it is wanted; all rows of X if None.
    tol : float, default=0.005
        Tolerance of the stopping rule. Thickness of the trace at which the proximity
        criterion stops, in units of the score.
    pattern : str, default="power"
        Family of curves, as in :class:`ScoreCurve`.
    stop : {"proximity", "none"}, default="proximity"
        Whether evaluations end early: when the curve has converged, or when the
        probability of reaching ``target`` leaves [0.05, 0.95].
    nested : bool, default=True
        Whether each sample holds the smaller ones; otherwise each is drawn anew.
    error_score : "raise" or float, default=numpy.nan
        Score of a fit that fails. Sizes with a score that is no number are left out of
        the curve, with a warning.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. At least three sizes are evaluated.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    estimator_ : estimator
        Fitted to all rows.
    curve_ : ScoreCurve
        The fitted curve.
    train_sizes_ : ndarray of shape (n_evaluated,)
        Training sizes that were evaluated.
    test_scores_ : ndarray of shape (n_evaluated, n_folds)
        Test scores.
    predicted_score_ : dict
        Predicted scores at n, 2n and 4n training rows, n the rows of X.
    required_samples_ : float or None
        Training rows that ``target`` needs; None without a target.
    decision_ : {"reached", "out of reach", "open"} or None
        Whether ``target`` is reached with ``target_size`` rows, with a probability of
        at least 0.95; None without a target.
    stopped_ : {"proximity", "target", "sizes", "time", "callback", "interrupted"}
        What ended the evaluations.
    n_fits_ : int
        Number of fits.
    classes_ : ndarray of shape (n_classes,)
        Classes, for a classifier.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    ScoreCurve : The curve alone, for sizes and scores that are there already.
    sklearn.model_selection.learning_curve : The scores, without a curve.

    Notes
    -----
    Subsamples of a classification keep the proportions of the classes. Nested samples
    and common test rows make the scores of two sizes differ by the size, not by the
    draw. The predicted score of all rows comes from the curve and is not the one that a
    stopping rule has selected.

    References
    ----------
    M. Vilares Ferro, V. M. Darriba Bilbao and F. J. Ribadas Pena, "Modeling of learning
    curves with applications to POS tagging", Computer Speech & Language 2017,
    arXiv 2402.02515.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skdiff.model_selection import TrainingSizeEstimator
    >>> X, y = load_digits(return_X_y=True)
    >>> model = TrainingSizeEstimator(GaussianNB(), target=0.99, random_state=0)
    >>> model.fit(X, y).decision_
    'out of reach'
    """

    _parameter_constraints = {
        "estimator": [HasMethods("fit")],
        "train_sizes": [StrOptions({"geometric"}), "array-like"],
        "n_sizes": [Interval(Integral, 3, None, closed="left")],
        "min_size": [Interval(Integral, 1, None, closed="left"), None],
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "target": [Real, None],
        "target_size": [Interval(Integral, 1, None, closed="left"), None],
        "tol": NON_NEGATIVE,
        "pattern": [StrOptions({*N_PARAMETERS, "auto"})],
        "stop": [StrOptions({"proximity", "none"})],
        "nested": ["boolean"],
        "error_score": [StrOptions({"raise"}), Real],
        "n_jobs": EVERYWHERE["n_jobs"].constraint,
        "time_limit": EVERYWHERE["time_limit"].constraint,
        "verbose": EVERYWHERE["verbose"].constraint,
        "random_state": EVERYWHERE["random_state"].constraint,
    }

    def __init__(
        self,
        estimator,
        train_sizes="geometric",
        n_sizes=8,
        min_size=None,
        cv=5,
        scoring=None,
        target=None,
        *,
        target_size=None,
        tol=0.005,
        pattern="power",
        stop="proximity",
        nested=True,
        error_score=np.nan,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.train_sizes = train_sizes
        self.n_sizes = n_sizes
        self.min_size = min_size
        self.cv = cv
        self.scoring = scoring
        self.target = target
        self.target_size = target_size
        self.tol = tol
        self.pattern = pattern
        self.stop = stop
        self.nested = nested
        self.error_score = error_score
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Those of the estimator."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = deepcopy(inner.classifier_tags)
        tags.regressor_tags = deepcopy(inner.regressor_tags)
        tags.input_tags = deepcopy(inner.input_tags)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.target_tags.required = True
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, groups=None, **fit_params):
        """Score subsamples of growing size, fit the curve, and fit to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as the estimator takes them.
        y : array-like of shape (n_samples,)
            Their outcomes.
        groups : array-like of shape (n_samples,), default=None
            Groups, for the splitter.
        **fit_params : dict
            Arguments of the estimator's ``fit``; what has one entry per row is cut to
            the subsamples. A row whose ``sample_weight`` is zero is absent. With
            metadata routing enabled also what the scorer requests.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        with whole_fit(self):
            require_y(self, y)
            if is_frozen(self.estimator):
                raise ValueError(
                    "A frozen estimator learns nothing from more rows. Pass it "
                    "unfrozen."
                )
            if getattr(getattr(y, "dtype", None), "kind", "") == "f":
                assert_all_finite(y, input_name="y")
            X = check_table(self, X, [self.estimator], reset=True)
            X, y, groups = indexable(X, y, groups)
            X, y, groups, params = present(X, y, groups, fit_params)
            if is_classifier(self.estimator):
                self._check_classes(y, params)
            rng = check_random_state(self.random_state)
            estimator = seeded(self.estimator, rng)
            scorer = check_scoring(estimator, scoring=self.scoring)
            for_fit, for_score, for_split = self._route(scorer, params, groups)
            plan = self._plan(X, y, for_split, rng)
            params = {**for_fit, **for_score}
            progress = watch(self, X, y, max_iter=len(plan.sizes), unit="Size")
            with progress:
                scores, curve, reason = self._evaluate(
                    estimator, X, y, plan, (scorer, params), progress, rng
                )
                model = fit_inner(estimator, X, y, params=for_fit)
            self._set(model, plan, scores, curve, len(y))
            self.stopped_ = progress.reason(reason)
            if progress.ended == "time":
                warnings.warn(
                    f"TrainingSizeEstimator reached time_limit={self.time_limit} after "
                    f"{len(scores)} of {len(plan.sizes)} sizes.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        return self

    def _check_classes(self, y, params):
        check_classification_targets(y)
        if np.ndim(y) == 1 and len(np.unique(np.asarray(y))) < 2:
            weighted = params.get("sample_weight") is not None
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in the "
                "data, but the data contains only one class"
                + (" among the rows with a sample_weight." if weighted else ".")
            )

    def _route(self, scorer, params, groups):
        """Arguments of the estimator's fit, the scorer and the splitter."""
        split = {} if groups is None else {"groups": groups}
        if not routing_enabled():
            return params, {}, split
        routed = process_routing(self, "fit", **params, **split)
        return (
            dict(routed.estimator.fit),
            dict(routed.scorer.score),
            dict(routed.splitter.split),
        )

    def _plan(self, X, y, for_split, rng):
        """Sizes, and the rows of every fold at each of them."""
        classifier = is_classifier(self.estimator)
        cv = check_cv(self.cv, y, classifier=classifier)
        folds = [(np.asarray(a), np.asarray(b)) for a, b in cv.split(X, y, **for_split)]
        folds = [(np.flatnonzero(a) if a.dtype == bool else a, b) for a, b in folds]
        codes = np.unique(np.asarray(y), return_inverse=True)[1] if classifier else None
        codes = None if codes is not None and codes.shape != (len(y),) else codes
        orders = [self._order(codes, train, rng) for train, _ in folds]
        sizes = self._sizes(
            min(len(train) for train, _ in folds),
            smallest_size(codes, orders, [train for train, _ in folds]),
        )
        splits = []
        for k, size in enumerate(sizes):
            if k and not self.nested:
                orders = [self._order(codes, train, rng) for train, _ in folds]
            splits.append(
                [
                    (np.sort(train[order[:size]]), test)
                    for (train, test), order in zip(folds, orders, strict=True)
                ]
            )
        return Plan(sizes, splits)

    def _order(self, codes, train, rng):
        some = None if codes is None else codes[train]
        return stratified_order(some, len(train), rng)

    def _sizes(self, largest, smallest):
        asked = smallest if self.min_size is None else int(self.min_size)
        given = not isinstance(self.train_sizes, str)
        if given:
            sizes = given_sizes(np.asarray(self.train_sizes), largest)
            asked = sizes[0] if self.min_size is None else asked
        if asked < smallest:
            warnings.warn(
                f"Samples of {asked} rows lack a class of a training fold: the "
                f"smallest size is raised to {smallest}.",
                UserWarning,
                stacklevel=4,
            )
        least = max(asked, smallest)
        if given:
            sizes = sizes[sizes >= least]
        else:
            sizes = geometric_sizes(largest, self.n_sizes, least)
        if len(sizes) < 3:
            raise ValueError(
                f"A learning curve needs 3 training sizes at least; between {least} "
                f"and {largest} rows there are {len(sizes)}. Pass more rows, a smaller "
                "min_size, or other train_sizes."
            )
        return sizes

    def _evaluate(self, estimator, X, y, plan, scoring, progress, rng):
        """Scores by size, the last curve, and what ended the evaluations."""
        seed = rng.randint(2**31 - 1)
        scorer, params = scoring
        scores, curve, reason = [], None, "sizes"
        for k in range(len(plan.sizes)):
            found = self._scores(estimator, X, y, plan.splits[k], scorer, params)
            scores.append(found)
            over = progress.step(score=float(np.mean(found)))
            if k + 1 >= 3 and over:
                break
            if k + 1 >= _FEWEST and self.stop != "none" and k + 1 < len(plan.sizes):
                curve = self._curve(plan.sizes, scores, scorer, seed, quiet=True)
                if reasons := self._reasons(curve, len(y)):
                    reason = reasons
                    break
        curve = self._curve(plan.sizes, scores, scorer, seed)
        return np.array(scores), curve, reason

    def _scores(self, estimator, X, y, splits, scorer, params):
        """Test scores of the folds at one size; NaN where every fit fails."""
        try:
            found = cross_validate(
                estimator,
                X,
                y,
                scoring=scorer,
                cv=splits,
                n_jobs=self.n_jobs,
                params=params or None,
                error_score=self.error_score,
            )
        except ValueError as error:
            # scikit-learn raises where no fit succeeds; here another size may
            if "fits failed" not in str(error) or self.error_score == "raise":
                raise
            warnings.warn(str(error), FitFailedWarning, stacklevel=5)
            return np.full(len(splits), self.error_score, dtype=np.float64)
        return found["test_score"]

    def _curve(self, sizes, scores, scorer, seed, *, quiet=False):
        """The curve of the sizes whose scores are numbers."""
        scores = np.array(scores)
        known = np.isfinite(scores).all(axis=1)
        if known.sum() < 3:
            if quiet:
                return None
            raise ValueError(
                f"Only {known.sum()} of {len(scores)} training sizes have scores that "
                "are numbers in every fold; 3 are needed. Try error_score='raise' to "
                "see why."
            )
        if not (known.all() or quiet):
            warnings.warn(
                f"{len(scores) - known.sum()} of {len(scores)} training sizes have "
                "scores that are no numbers; the curve leaves them out.",
                UserWarning,
                stacklevel=4,
            )
        curve = ScoreCurve(
            pattern=self.pattern,
            upper=largest_score(scorer, scores[known]),
            tol=self.tol,
            random_state=seed,
        )
        return curve.fit(sizes[: len(scores)][known], scores[known])

    def _reasons(self, curve, n):
        """Why no further evaluation is needed, or None."""
        if curve is None:
            return None
        if self.target is not None and self._decide(curve, n) != "open":
            return "target"
        return "proximity" if curve.converged_ else None

    def _decide(self, curve, n):
        size = n if self.target_size is None else self.target_size
        p = float(curve.probability_above([size], self.target)[0])
        if p >= _CERTAIN:
            return "reached"
        return "out of reach" if p <= 1 - _CERTAIN else "open"

    def _set(self, model, plan, scores, curve, n):
        self.estimator_ = model
        if hasattr(model, "classes_"):
            self.classes_ = model.classes_
        self.train_sizes_, self.test_scores_ = plan.sizes[: len(scores)], scores
        self.curve_ = curve
        ahead = [n, 2 * n, 4 * n]
        found = curve.predict(np.array(ahead, dtype=float))
        self.predicted_score_ = dict(zip(ahead, found.tolist(), strict=True))
        self.n_fits_ = int(scores.size) + 1
        self.required_samples_ = self.decision_ = None
        if self.target is not None:
            self.required_samples_ = self.required_samples(self.target)
            self.decision_ = self._decide(curve, n)

    def predict_score(self, n_samples, quantiles=None):
        """Predict the test score with other numbers of training rows.

        Parameters
        ----------
        n_samples : int or array-like of shape (n_sizes,)
            Numbers of training rows.
        quantiles : array-like of shape (n_levels,), default=None
            Levels of quantiles to return instead.

        Returns
        -------
        score : float or ndarray of shape (n_sizes,) or (n_sizes, n_levels)
            Predicted scores, or their quantiles.
        """
        check_is_fitted(self, "curve_")
        sizes = np.atleast_1d(np.asarray(n_samples, dtype=np.float64))
        if quantiles is None:
            found = self.curve_.predict(sizes)
        else:
            levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
            found = self.curve_.predict_quantiles(sizes, levels)
        if np.ndim(n_samples):
            return found
        return float(found[0]) if quantiles is None else found[0]

    def required_samples(self, target, confidence=0.5):
        """Return how many training rows reach a score.

        Parameters
        ----------
        target : float
            Score.
        confidence : float, default=0.5
            Probability with which it is to be reached.

        Returns
        -------
        n_samples : float
            Smallest number of rows; ``inf`` where none of up to a million times the
            evaluated ones is enough.
        """
        check_is_fitted(self, "curve_")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1. Got {confidence}.")
        if confidence == 0.5:
            return self.curve_.required_size(target)
        largest = float(self.train_sizes_[-1])
        grid = np.geomspace(1.0, largest * _FAR, 4000)
        enough = self.curve_.probability_above(grid, target) >= confidence
        return float(grid[np.argmax(enough)]) if enough.any() else float("inf")

    def compare(self, other, n_samples=None):
        """Compare with another estimator that was fitted to the same rows.

        Parameters
        ----------
        other : TrainingSizeEstimator
            Fitted, with the same scorer.
        n_samples : float, default=None
            Training size at which the leader is wanted; four times the largest size
            evaluated by both if None.

        Returns
        -------
        comparison : CurveComparison
            Named tuple with ``crossing_size``, ``probability`` and ``n_samples``.
        """
        check_is_fitted(self, "curve_")
        check_is_fitted(other, "curve_")
        least = float(min(self.train_sizes_[0], other.train_sizes_[0]))
        most = float(max(self.train_sizes_[-1], other.train_sizes_[-1]))
        size = 4.0 * most if n_samples is None else float(n_samples)
        grid = np.geomspace(least, most * _FAR, 4000)
        lead = np.sign(other.curve_.predict(grid) - self.curve_.predict(grid))
        changes = np.flatnonzero(lead[1:] * lead[:-1] < 0)
        crossing = float(grid[changes[-1] + 1]) if len(changes) else float("inf")
        both = [from_state(c.curve_._fitted) for c in (self, other)]
        at = np.array([size])
        centre = both[1].predict(at) - both[0].predict(at)
        spread = np.hypot(both[0].spread(at), both[1].spread(at))
        return CurveComparison(
            crossing, float(probability_above(centre, spread, 0.0)[0]), size
        )

    def get_metadata_routing(self):
        """Return how metadata reaches estimator, scorer and splitter.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide.
        """

        def called(callee):
            return MethodMapping().add(caller="fit", callee=callee)

        router = MetadataRouter(owner=self).add(
            estimator=self.estimator,
            method_mapping=called("fit").add(caller="score", callee="score"),
        )
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        router.add(scorer=scorer, method_mapping=called("score"))
        cv = check_cv(self.cv)
        return router.add(splitter=cv, method_mapping=called("split"))
