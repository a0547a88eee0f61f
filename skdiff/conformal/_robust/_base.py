"""What makes robust sets: the split, the classifier, the route, the threshold."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    check_consistent_length,
    column_or_1d,
    get_tags,
)
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed

from skdiff._base.compat import CallbackSupportMixin
from skdiff._base.inner import (
    check_table,
    fit_inner,
    is_frozen,
    take_rows,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.conformal._robust import _margins as exact
from skdiff.conformal._robust import _smoothing as smooth
from skdiff.conformal._robust._models import (
    Route,
    find_route,
    outputs,
    seen_by_last,
    steps_and_last,
    widened,
)
from skdiff.conformal._robust._rows import read_rows

N_COPIES = 4  # noisy copies of each training row, where no number is given
ROWS_PER_TASK = 64
RANK_DRAWS = 64  # around each row that makes the ranks


class BaseRobust(
    SaveMixin, CallbackSupportMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator
):
    """Everything below the parameters."""

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

    def _train(self, base, rows, train, y, params, guard):
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
        if self.conformal_training and params:
            raise ValueError(
                "conformal_training=True judges all rows alike and takes no "
                f"{', '.join(sorted(params))}."
            )
        if noisy:
            self._train_on_copies(base, part, y, params)
        if self.conformal_training:
            self._train_on_sets(part, y, guard)
        return Route("smoothing")

    def _refuse_training(self):
        if self.conformal_training:
            raise ValueError(
                "conformal_training=True changes the weights of the classifier, which "
                "is frozen."
            )

    def _train_on_sets(self, rows, y, guard):
        """Train the weights of the fitted classifier on the size of its sets."""
        from skdiff.conformal._robust import _training as training

        steps, last = steps_and_last(self.estimator_)
        layers = None if is_frozen(last) else training.read_layers(last)

        def before(places, numbers):
            return seen_by_last(steps, rows.moved(places, numbers))

        some = np.arange(min(20, len(y)))
        numbers = rows.numbers[some]
        table = rows.moved(some, numbers)
        if layers is None or not training.agrees(
            layers, before(some, numbers), self.estimator_.predict_proba(table)
        ):
            raise ValueError(
                "conformal_training=True needs a linear classifier with softmax "
                "outputs or an MLPClassifier, alone or the last step of a pipeline; "
                f"{type(last).__name__} is none."
            )
        sigma = self._sigma()
        goal = training.Goal(
            float(self.confidence_level),
            sigma,
            self._euclidean_radius() / sigma if sigma > 0 else 0.0,
            self.conformity_score,
        )
        codes = np.searchsorted(self.estimator_.classes_, y)
        rng = np.random.default_rng([self._seed, 1])
        layers = training.train(layers, rows.numbers, codes, before, goal, rng, guard)
        training.write_layers(last, layers)

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
        n_copies = (
            N_COPIES if isinstance(self.augment, bool | np.bool_) else int(self.augment)
        )
        rng = np.random.default_rng(self._seed)
        places = np.tile(np.arange(len(X)), n_copies)
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
        # without noise ranks only make ties
        if self.transformation == "rank" and len(held) > 1 and self._sigma() > 0:
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
