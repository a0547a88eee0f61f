"""Prediction sets that keep their coverage when rows are moved."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    column_or_1d,
    get_tags,
)
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    Options,
    RealNotInt,
    StrOptions,
    fit_context,
)
from skdiff._base.inner import (
    check_table,
    fit_inner,
    is_frozen,
    refuse_params,
    route,
    seeded,
    take_rows,
    whole_fit,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.conformal._robust import _margins as exact
from skdiff.conformal._robust import _smoothing as smooth
from skdiff.conformal._robust._models import Route, find_route, outputs, widened
from skdiff.conformal._robust._rows import read_rows

N_COPIES = 4  # noisy copies of each training row
ROWS_PER_TASK = 64
RANK_DRAWS = 64  # around each row that makes the ranks


class RobustConformalClassifier(
    SaveMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Predict sets of classes that keep their coverage when rows are moved.

    A set holds the true class with probability ``confidence_level`` although somebody,
    or a sensor, has moved the row by up to ``radius``. Use it where inputs can be
    tampered with or are measured with a bounded error of known size. Where neither is
    so, split-conformal sets (MAPIE) are smaller. The exact routes for linear models and
    Lipschitz networks come first; smoothing costs ``n_draws`` predictions per row.

    Parameters
    ----------
    estimator : classifier, default=None
        The classifier; a scaled logistic regression if None. In a
        :class:`~sklearn.frozen.FrozenEstimator` it is used as it is, and all rows of
        ``fit`` calibrate.
    confidence_level : float, default=0.9
        Probability that a set holds the true class.
    radius : float, default=0.25
        Largest move of a row, in the units of the X given to ``fit``: standardise
        before, where columns have different units.
    method : {"auto", "smoothing", "lipschitz", "linear"}, default="auto"
        ``"linear"`` for models with ``coef_``, alone or behind scalers in a pipeline;
        ``"lipschitz"`` for networks with ``input_lipschitz_bound_``; ``"smoothing"``
        for any classifier with ``predict_proba``. ``"auto"`` takes an exact route where
        there is one.
    conformity_score : {"lac", "aps"}, default="lac"
        With smoothing: one minus the probability of the class, or the mass of the
        classes at least as likely. The exact routes use margins.
    smoothing : float or "auto", default="auto"
        With smoothing: standard deviation of the noise; twice the Euclidean radius if
        ``"auto"``.
    n_draws : int, default=2048
        With smoothing: draws per row. Fewer are faster, and give larger sets.
    failure : float, default=1e-3
        With smoothing: probability granted to each of the two errors of the draws. The
        threshold is taken at ``confidence_level + 2 * failure``.
    bound : {"bernstein", "hoeffding"}, default="bernstein"
        With smoothing: bound of the error of the mean of the draws.
    transformation : {"rank"} or None, default="rank"
        With smoothing: scores are replaced by a steep function of their rank among
        held-out rows, which makes the price of the draws small.
    holdout : float, default=0.2
        With smoothing: proportion of the rows held back for calibration that make the
        ranks. They do not calibrate.
    calibration : float or int, default=0.4
        Proportion or number of rows held back from an estimator that is not frozen.
    augment : bool, default=True
        With smoothing: whether the classifier is trained on noisy copies of the rows.
    norm : {2, inf}, default=2
        Norm in which a move is measured: Euclidean length or largest change of a
        column. Smoothing and networks pay for infinity by up to the square root of the
        number of columns.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They share the rows to be
        smoothed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split and the key of the noise. Whoever attacks must not know it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimator_ : classifier
        The fitted classifier.
    method_ : str
        The route that was taken.
    threshold_ : float
        Quantile of the calibration scores.
    calibration_indices_ : ndarray of shape (n_calibration,)
        Rows of X that calibrate.
    set_size_ : float
        Mean size of the sets of the calibration rows.
    report_ : dict
        On the calibration rows: ``clean_size``, mean size of sets that hold for rows
        that nobody moves; ``guaranteed_size``, that of the sets of :meth:`predict_set`;
        ``trivial_share``, the proportion of those that hold all classes.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    skdiff.neural_network.LipschitzMLPClassifier : Networks for the Lipschitz route.

    Notes
    -----
    Coverage is an average over calibration sets and rows. The rows to come, *before*
    they are moved, must be exchangeable with those of ``fit``. The noise of a row
    depends on a key drawn in ``fit`` and on the row's numbers, so that a set does not
    depend on what it comes with; a move chosen with knowledge of the key can exceed the
    guarantee. For linear models with three and more classes the sets are exact for
    Euclidean moves; for ``norm=inf`` every pair of classes is granted its own worst
    move, which is exact for two classes and errs to the safe side for more.

    References
    ----------
    G. Yan, Y. Romano and T.-W. Weng, "Provably Robust Conformal Prediction with
    Improved Efficiency", ICLR 2024, arXiv 2404.19651.

    A. Gendler, T.-W. Weng, L. Daniel and Y. Romano, "Adversarially Robust Conformal
    Prediction", ICLR 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skdiff.conformal import RobustConformalClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RobustConformalClassifier(radius=0.1, random_state=0).fit(scale(X), y)
    >>> model.method_, model.predict_set(scale(X)[:2]).tolist()
    ('linear', [[True, False, False], [True, False, False]])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "radius": [Interval(Real, 0, None, closed="left")],
        "method": [StrOptions({"auto", "smoothing", "lipschitz", "linear"})],
        "conformity_score": [StrOptions(set(smooth.SCORES))],
        "smoothing": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "n_draws": [Interval(Integral, 2, None, closed="left")],
        "failure": [Interval(Real, 0, 0.5, closed="neither")],
        "bound": [StrOptions({"bernstein", "hoeffding"})],
        "transformation": [StrOptions({"rank"}), None],
        "holdout": [Interval(RealNotInt, 0, 1, closed="neither")],
        "calibration": [
            Interval(RealNotInt, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "augment": ["boolean"],
        "norm": [Options(Real, {2, np.inf})],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        confidence_level=0.9,
        radius=0.25,
        method="auto",
        conformity_score="lac",
        smoothing="auto",
        n_draws=2048,
        failure=1e-3,
        bound="bernstein",
        transformation="rank",
        holdout=0.2,
        calibration=0.4,
        augment=True,
        norm=2,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.radius = radius
        self.method = method
        self.conformity_score = conformity_score
        self.smoothing = smoothing
        self.n_draws = n_draws
        self.failure = failure
        self.bound = bound
        self.transformation = transformation
        self.holdout = holdout
        self.calibration = calibration
        self.augment = augment
        self.norm = norm
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _base(self):
        """The unfitted classifier."""
        if self.estimator is not None:
            return self.estimator
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

    def get_metadata_routing(self):
        """Return how metadata reaches the classifier.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide.
        """
        router = MetadataRouter(owner=self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(estimator=self._base(), method_mapping=mapping)

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Train the classifier on one part of the rows and calibrate on another.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that nobody has moved. Columns of a frame that are no numbers stay.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            Passed to the classifier's ``fit``, such as ``sample_weight``; what has one
            entry per row is cut to the training rows. Calibration rows have no
            weights.

        Returns
        -------
        self : object
            The calibrated classifier.
        """
        with whole_fit(self):
            rows, y = self._check(X, y)
            rng = check_random_state(self.random_state)
            base = seeded(self._base(), rng)
            frozen = is_frozen(base)
            if frozen:
                refuse_params(fit_params, "the model is frozen")
            (params,) = route(self, fit_params, ["estimator"])
            train, held = self._split(len(y), rng, frozen)
            self._seed = int(rng.randint(2**31 - 1))
            params = take_rows(rows.table(), params, train)
            path = self._train(base, rows, train, y, params)
            self.method_ = path.method
            self._coef, self._bound = path.coef, path.bound
            known = np.asarray(self.estimator_.classes_)
            if not np.isin(y, known).any():
                raise ValueError(
                    f"The classifier knows the labels {known.tolist()}, of which y "
                    "holds none."
                )
            self.classes_ = np.union1d(y, known)
            codes = np.searchsorted(self.classes_, y)
            if path.method == "smoothing":
                self._calibrate_smoothed(rows, codes, held, rng)
            else:
                self._calibrate_exact(rows, codes, held)
            self.set_size_ = self.report_["guaranteed_size"]
        return self

    def __sklearn_tags__(self):
        """What the classifier inside accepts."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self._base()).input_tags
        for name in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, name, getattr(inner, name))
        return tags

    def _check_rows(self, X, *, reset):
        given = [] if self.estimator is None else [self.estimator]
        return read_rows(check_table(self, X, given, reset=reset))

    def _check(self, X, y):
        require_y(self, y)
        rows = self._check_rows(X, reset=True)
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(y)
        check_consistent_length(rows.numbers, y)
        self._n_moving = rows.numbers.shape[1]
        if len(np.unique(y)) < 2 and not is_frozen(self._base()):
            raise ValueError(
                f"y holds one class, {y[0]!r}; at least two classes are needed."
            )
        return rows, y

    def _level(self, smoothing):
        """Level of the quantile of the calibration scores."""
        return self.confidence_level + 2 * self.failure * smoothing

    def _split(self, n, rng, frozen):
        """Rows to train on and rows held back, drawn without a look at the labels."""
        if frozen:
            return np.arange(0), np.arange(n)
        size = self.calibration
        whole = isinstance(size, Integral)
        n_held = int(size) if whole else int(np.ceil(size * n - 1e-9))
        if not 1 <= n_held < n:
            raise ValueError(
                f"With n_samples={n} and calibration={size} the training or the "
                "calibration part is empty."
            )
        order = rng.permutation(n)
        return np.sort(order[n_held:]), np.sort(order[:n_held])

    def _train(self, base, rows, train, y, params):
        """Fit the classifier and choose the route."""
        part, y = rows.take(train), y[train]
        frozen = is_frozen(base)
        noisy = bool(self.augment) and not frozen and self._sigma() > 0
        if not noisy or self.method != "smoothing":
            self.estimator_ = fit_inner(base, part.table(), y, params=params)
            path = self._exact_route(rows)
            if path is not None and self.method in ("auto", path.method):
                return path
            if self.method not in ("auto", "smoothing"):
                self._refuse_route(path)
        if self._level(True) >= 1:
            raise ValueError(
                f"confidence_level={self.confidence_level:g} and "
                f"failure={self.failure:g} leave no room: failure, twice, is added and "
                "the sum must be below 1."
            )
        self._check_proba(base if noisy else self.estimator_)
        if noisy:
            self._train_on_copies(base, part, y, params)
        return Route("smoothing")

    def _exact_route(self, rows):
        if not hasattr(self.estimator_, "decision_function") or not rows.all_move:
            return None
        places = np.arange(min(20, len(rows.numbers)))
        some = rows.take(places)
        if not np.isfinite(some.numbers).all():
            return None
        return find_route(
            self.estimator_,
            some.numbers,
            lambda numbers: self._outputs(some.moved(places, numbers)),
            float(self.norm),
        )

    def _refuse_route(self, path):
        needs = {
            "linear": "coef_ and a decision_function that is linear in X, alone or "
            "behind scalers in a pipeline",
            "lipschitz": "input_lipschitz_bound_, such as LipschitzMLPClassifier",
        }[self.method]
        offers = "" if path is None else f' It offers method="{path.method}".'
        raise ValueError(
            f'method="{self.method}" needs a classifier with {needs}; '
            f"{type(self.estimator_).__name__} is none.{offers}"
        )

    def _check_proba(self, model):
        if not hasattr(model, "predict_proba"):
            raise ValueError(
                f"Smoothing needs predict_proba, which {type(model).__name__} lacks. "
                "Wrap it in CalibratedClassifierCV."
            )

    def _train_on_copies(self, base, rows, y, params):
        """Train on noisy copies of the rows."""
        sigma, X = self._sigma(), rows.numbers
        rng = np.random.default_rng(self._seed)
        places = np.tile(np.arange(len(X)), N_COPIES)
        copies = X[places] + sigma * rng.standard_normal((len(places), X.shape[1]))
        params = take_rows(X, params, places)
        table = rows.moved(places, copies)
        self.estimator_ = fit_inner(base, table, y[places], params=params)

    # --- calibration ----------------------------------------------------------------

    def _calibrate_exact(self, rows, codes, held):
        F = self._outputs(rows.take(held).table())
        scores = widened(exact.margins(F), *self._columns(), missing=np.inf)
        own = scores[np.arange(len(held)), codes[held]]
        self.threshold_ = smooth.conformal_quantile(own, self._level(False))
        self.calibration_indices_ = held
        self._report(scores <= self.threshold_, self._exact_sets(F))

    def _calibrate_smoothed(self, rows, codes, held, rng):
        self._ranks = None
        clean = self._scores(rows.take(held).table())
        if self.transformation == "rank" and len(held) > 1:
            n_ranks = int(np.clip(round(self.holdout * len(held)), 1, len(held) - 1))
            order = rng.permutation(len(held))
            ranked, kept = held[np.sort(order[:n_ranks])], np.sort(order[n_ranks:])
            own = self._noisy_scores(rows.take(ranked), codes[ranked])
            self._ranks = own, float(self.confidence_level)
            held, clean = held[kept], clean[kept]
        drawn = self._smoothed(rows.take(held))
        row = np.arange(len(held))
        level = self._level(self._sigma() > 0)
        own = drawn.mean[row, codes[held]]
        self.threshold_ = smooth.conformal_quantile(own, level)
        self.calibration_indices_ = held
        own = clean[row, codes[held]]
        plain = smooth.conformal_quantile(own, self.confidence_level)
        self._report(clean <= plain, self._smoothed_sets(drawn))

    def _noisy_scores(self, rows, codes):
        """Scores of the true classes of rows under some draws, sorted."""
        draws = smooth.Noise(RANK_DRAWS, self._sigma(), self._seed + 1)
        if draws.sigma == 0:
            return np.sort(self._scores(rows.table())[np.arange(len(codes)), codes])
        parts = []
        for i, code in enumerate(codes):
            moved = draws.around(rows.numbers[i])
            table = rows.moved(np.full(len(moved), i), moved)
            parts.append(self._scores(table)[:, code])
        return np.sort(np.concatenate(parts))

    def _report(self, clean, guaranteed):
        sizes = guaranteed.sum(axis=1)
        self.report_ = {
            "clean_size": float(clean.sum(axis=1).mean()),
            "guaranteed_size": float(sizes.mean()),
            "trivial_share": float((sizes == guaranteed.shape[1]).mean()),
        }

    # --- scores ---------------------------------------------------------------------

    def _euclidean_radius(self):
        """Largest Euclidean length of a move."""
        inflate = np.sqrt(self._n_moving) if self.norm == np.inf else 1.0
        return float(self.radius * inflate)

    def _sigma(self):
        """Standard deviation of the noise."""
        if self.smoothing == "auto":
            return 2 * self._euclidean_radius()
        return float(self.smoothing)

    def _outputs(self, table):
        """Outputs of the classifier, one column per class that it knows."""
        return outputs(np.asarray(self.estimator_.decision_function(table)))

    def _columns(self):
        """Columns of the classifier's classes, and the number of all."""
        columns = np.searchsorted(self.classes_, self.estimator_.classes_)
        return columns, len(self.classes_)

    def _scores(self, table):
        """Scores of all classes, transformed where ranks are known."""
        P = np.asarray(self.estimator_.predict_proba(table), dtype=np.float64)
        if not np.isfinite(P).all():
            raise ValueError("The classifier's probabilities are not finite.")
        P = widened(P, *self._columns(), missing=0.0)
        scores = np.clip(smooth.SCORES[self.conformity_score](P), 0.0, 1.0)
        return scores if self._ranks is None else smooth.Ranks(*self._ranks)(scores)

    def _smoothed(self, rows):
        """Means and variances of the scores over the draws."""
        draws = smooth.Noise(int(self.n_draws), self._sigma(), self._seed)
        if draws.sigma == 0:
            scores = self._scores(rows.table())
            return smooth.Drawn(scores, np.zeros_like(scores))
        n = len(rows.numbers)
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(smooth.smoothed)(rows.take(chunk), self._scores, draws)
            for chunk in np.array_split(np.arange(n), -(-n // ROWS_PER_TASK))
        )
        return smooth.Drawn(*(np.concatenate(p) for p in zip(*parts, strict=True)))

    def _smoothed_sets(self, drawn):
        sigma = self._sigma()
        if sigma == 0:
            return drawn.mean <= self.threshold_
        ratio = self._euclidean_radius() / sigma
        setting = smooth.Setting(
            ratio, int(self.n_draws), float(self.failure), self.bound
        )
        return smooth.inside(drawn, self.threshold_, setting)

    def _exact_sets(self, F):
        """Sets of rows from the outputs of the classifier."""
        columns, n_classes = self._columns()
        if self.threshold_ == np.inf:
            return np.ones((len(F), n_classes), dtype=bool)
        if self.method_ == "linear":
            model = exact.Linear(self._coef, float(self.norm))
            found = exact.linear_inside(F, model, float(self.radius), self.threshold_)
        else:
            found = exact.lipschitz_inside(
                F, self._bound, float(self.radius), self.threshold_
            )
        sets = np.zeros((len(F), n_classes), dtype=bool)
        sets[:, columns] = found
        return sets

    # --- inference ------------------------------------------------------------------

    def predict_set(self, X):
        """Return which classes are in the sets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, moved by up to ``radius`` or not.

        Returns
        -------
        sets : ndarray of bool of shape (n_samples, n_classes)
            One column per class, in the order of ``classes_``. A set can be empty: no
            class fits the row.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        self._warn_of_rows()
        if self.method_ == "smoothing":
            return self._smoothed_sets(self._smoothed(rows))
        return self._exact_sets(self._outputs(rows.table()))

    def _warn_of_rows(self):
        """Tell why every set holds all classes, where the rows are too few."""
        if self.threshold_ < np.inf:
            return
        smoothing = self.method_ == "smoothing" and self._sigma() > 0
        needed = smooth.rows_needed(self._level(smoothing))
        n = len(self.calibration_indices_)
        why = "Labels of the calibration rows are unknown to the classifier"
        if n < needed:
            why = (
                f"A confidence_level of {self.confidence_level:g} needs {needed} "
                f"calibration rows; there are {n}, {needed - n} too few"
            )
        warnings.warn(f"{why}. Every set holds all classes.", UserWarning, stacklevel=3)

    def predict(self, X):
        """Return the classifier's own predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(self._check_rows(X, reset=False).table())
