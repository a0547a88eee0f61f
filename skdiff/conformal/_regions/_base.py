"""What makes the regions: the split, the shape, the size, the threshold."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    check_array,
    check_consistent_length,
    get_tags,
)
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from skdiff._base.compat import (
    CallbackSupportMixin,
    safe_indexing,
)
from skdiff._base.inner import (
    all_numbers,
    check_table,
    fit_inner,
    is_frozen,
    seeded,
    take_rows,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.conformal._common._guard import guarded
from skdiff.conformal._regions import _choice as choice
from skdiff.conformal._regions import _shapes as shapes
from skdiff.conformal._regions._plus import PlusRegion, Votes
from skdiff.conformal._regions._region import N_DRAWS, Region

FOLDS = 5
FEWEST_TO_TUNE = 3
SIZE_FLOOR = 0.05  # least predicted size, of the typical one
BOOSTING = {
    "loss": "gamma",
    "max_iter": 50,
    "learning_rate": 0.05,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 30,
}
LATENT_ROWS = 50  # calibration rows over which the mean volume is taken
PLUS_ROWS, PLUS_DRAWS = 20, 2000  # the same with folds, and draws for each


class BaseRegions(
    RegressorMixin, SaveMixin, CallbackSupportMixin, MetaEstimatorMixin, BaseEstimator
):
    """Everything below the parameters."""

    def __sklearn_tags__(self):
        """What the regressor inside accepts; several targets."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self._base()).input_tags
        tags.input_tags.sparse = self.estimator is not None and inner.sparse
        for name in ("allow_nan", "categorical", "string"):
            setattr(tags.input_tags, name, getattr(inner, name))
        tags.target_tags.multi_output = True
        return tags

    def _base(self):
        """The unfitted regressor."""
        if self.estimator is not None:
            return self.estimator
        return make_pipeline(StandardScaler(), RidgeCV())

    def get_metadata_routing(self):
        """Return how metadata reaches the regressor.

        Returns
        -------
        routing : MetadataRouter
            As described in scikit-learn's user guide.
        """
        router = MetadataRouter(owner=self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(estimator=self._base(), method_mapping=mapping)

    def _check(self, X, y):
        require_y(self, y)
        X = self._check_table(X, reset=True)
        Y = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self
        )
        if Y.ndim > 2 or (Y.ndim == 2 and Y.shape[1] == 0):
            raise ValueError(
                f"y has shape {Y.shape}; (n_samples, n_targets) is needed."
            )
        self._flat = Y.ndim == 1
        Y = Y.reshape(len(Y), -1)
        check_consistent_length(X, Y)
        return X, Y

    def _check_table(self, X, *, reset):
        given = [e for e in (self.estimator, self.scale_estimator) if hasattr(e, "fit")]
        return check_table(self, X, given, reset=reset)

    def _shaped(self, Y):
        """Targets as the user gave them: one or two dimensions."""
        return Y[:, 0] if self._flat else Y

    def _split(self, n, rng, frozen):
        """Rows for model and shape, and rows that calibrate."""
        needed = shapes.rows_needed(self.confidence_level)
        size = 0.5 if frozen else self.calibration
        n_held = size
        if not isinstance(size, Integral):
            n_held = max(int(np.ceil(size * n - 1e-9)), needed)
        if n_held < needed or n - n_held < 1:
            short = max(needed - n_held, n_held + 1 - n)
            raise ValueError(
                f"A confidence_level of {self.confidence_level:g} needs {needed} "
                f"calibration rows beside those to train on; with n_samples={n} and "
                f"calibration={self.calibration} there are {short} too few. "
                f"Found array with {n} sample(s)."
            )
        order = rng.permutation(n)
        return np.sort(order[n_held:]), np.sort(order[:n_held])

    def _train(self, X, Y, shaping, base, params, guard):
        """Fit the regressor, and learn the shape from rows it has not seen."""
        spread = Y[shaping].std(axis=0)
        if len(spread) > 1 and len(shaping) > 1 and (spread == 0).any():
            j = int(np.flatnonzero(spread == 0)[0])
            raise ValueError(f"Target {j} of y is constant on the training rows.")
        self._spread = np.where(spread > 0, spread, 1.0)
        rows, targets = safe_indexing(X, shaping), Y[shaping]
        params = take_rows(X, params, shaping)
        self.estimator_ = self._fitted(base, rows, targets, params)
        R = targets - self._out_of_fold(base, rows, targets, params)
        self._learn(rows, R / self._spread, guard)

    def _fitted(self, base, X, Y, params):
        if self.estimator is None and len(Y) < FEWEST_TO_TUNE:
            base = make_pipeline(StandardScaler(), Ridge())
        if not is_frozen(base) and Y.shape[1] > 1:
            base = for_many(base)
        return fit_inner(base, X, self._shaped(Y), params=params)

    def _out_of_fold(self, base, X, Y, params):
        """Predictions of rows that the model has not seen, where there are enough."""
        n = len(Y)
        if is_frozen(base) or n < 2 * FOLDS:
            return self._centres(self.estimator_, X)
        found = np.empty_like(Y)
        for train, held in KFold(FOLDS, shuffle=True, random_state=self._seed).split(Y):
            part = take_rows(X, params, train)
            model = self._fitted(base, safe_indexing(X, train), Y[train], part)
            found[held] = self._centres(model, safe_indexing(X, held))
        return found

    def _centres(self, model, X):
        found = np.asarray(model.predict(X), dtype=np.float64)
        found = found.reshape(len(found), -1)
        if not np.isfinite(found).all():
            raise ValueError("The predictions are not finite. Rescale X and y.")
        return found

    # --- shape ----------------------------------------------------------------------

    def _learn(self, X, R, guard):
        """Choose and learn the shape and the size from residuals."""
        rng = np.random.default_rng(self._seed)
        if self.region == "latent":
            self._learn_latent(X, R, guard)
            return
        enough = len(R) >= choice.FEWEST
        regions = [self.region]
        if self.region == "auto":
            regions = list(choice.SHAPES) if enough else ["ellipsoid"]
            if R.shape[1] == 1:
                regions = ["box"]
        scaled = [self.scale_estimator is not None]
        if isinstance(self.scale_estimator, str):
            scaled = [False, True] if enough else [False]
        k = self.n_neighbors
        k = max(1, round(len(R) ** 0.5 / 1.5)) if isinstance(k, str) else int(k)
        settings = choice.Settings(
            float(self.confidence_level), int(self.n_directions), k
        )

        def size_of(learn, rows):
            part = safe_indexing(X, learn)
            model, unit = self._fit_size(part, R[learn])
            return self._sizes(model, unit, safe_indexing(X, rows))

        candidates = [choice.Choice(r, s) for r in regions for s in scaled]
        best = choice.choose(candidates, R, size_of, settings, rng)
        self.region_ = best.region
        self.scale_estimator_, self._unit = None, 1.0
        if best.scaled:
            self.scale_estimator_, self._unit = self._fit_size(X, R)
        sizes = self._sizes(self.scale_estimator_, self._unit, X)
        shape = shapes.learn_shape(
            best.region,
            R / sizes[:, None],
            level=settings.level,
            n_directions=settings.n_directions,
            k=settings.k,
            rng=rng,
        )
        self._shape = {name: getattr(shape, name) for name in shape._fields}

    def _learn_latent(self, X, R, guard):
        from skdiff.conformal._regions import _latent as latent

        numbers = self._numbers(X)
        self._mean = numbers.mean(axis=0)
        deviation = numbers.std(axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)
        decoder = latent.train(
            (numbers - self._mean) / self._deviation,
            R,
            float(self.confidence_level),
            int(self.n_region_samples),
            self._seed,
            guard,
        )
        self.region_, self.scale_estimator_, self._unit = "latent", None, 1.0
        self._shape = decoder._asdict()

    def _numbers(self, X):
        """X as numbers, for the autoencoder."""
        try:
            return check_array(X, dtype=np.float64, input_name="X")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'region="latent" needs X of finite numbers; encode it before. {error}'
            ) from error

    def _fit_size(self, X, R):
        """A model of the logarithm of the squared length, and its typical size."""
        square = (R**2).sum(axis=1)
        floor = 1e-12 * max(float(square.mean()), 1e-300)
        square = np.maximum(square, floor)
        model = self.scale_estimator
        if isinstance(model, str):
            if not hasattr(X, "tocsr") and (
                not hasattr(X, "columns") or all_numbers(X)
            ):
                # squared lengths are about gamma-distributed around their mean
                model = HistGradientBoostingRegressor(**BOOSTING, random_state=0)
                return self._typical(model.fit(X, square), X)
            model = self._base()
            if is_frozen(model):
                raise ValueError(
                    'scale_estimator="auto" needs X of numbers beside a frozen model.'
                )
        if is_frozen(model):
            return model, 1.0
        model = seeded(model, np.random.RandomState(self._seed))
        return self._typical(fit_inner(model, X, np.log(square)), X)

    def _typical(self, model, X):
        return model, float(np.exp(np.median(self._log_sizes(model, X))))

    def _log_sizes(self, model, X):
        found = np.asarray(np.ravel(model.predict(X)), dtype=np.float64)
        if isinstance(self.scale_estimator, str) and isinstance(
            model, HistGradientBoostingRegressor
        ):
            found = np.log(np.maximum(found, 1e-300))
        return np.clip(found, -600, 600) / 2

    def _sizes(self, model, unit, X):
        """Predicted sizes around one; a frozen model predicts logarithms of squares."""
        if model is None:
            return np.ones(X.shape[0])
        sizes = np.exp(self._log_sizes(model, X)) / unit
        return np.clip(sizes, SIZE_FLOOR, 1 / SIZE_FLOOR)

    def _common_shape(self):
        """The shape that all rows share."""
        kind = {
            "ellipsoid": shapes.Ellipsoid,
            "box": shapes.Box,
            "directional": shapes.Directional,
            "neighbors": shapes.Balls,
        }[self.region_]
        return kind(**self._shape)

    def _points(self, X):
        """Decoded points of each row."""
        from skdiff.conformal._regions._latent import Decoder

        numbers = (self._numbers(X) - self._mean) / self._deviation
        return Decoder(**self._shape).points(numbers)

    def _regions(self, X, level):
        """Regions of rows at a level of the distance."""
        centres = self._centres(self.estimator_, X)
        if self.region_ == "latent":
            return [
                Region(
                    shapes.Balls(points), level, centre, self._spread, seed=self._seed
                )
                for points, centre in zip(self._points(X), centres, strict=True)
            ]
        sizes = self._sizes(self.scale_estimator_, self._unit, X)
        shape, d = self._common_shape(), len(self._spread)
        log_volume = self._log_volume
        if level != self.threshold_:
            log_volume = self._log_volume_at(level)
        return [
            Region(
                shape,
                level,
                centre,
                self._spread * size,
                volume=float(np.exp(log_volume + d * np.log(size))),
                seed=self._seed,
            )
            for centre, size in zip(centres, sizes, strict=True)
        ]

    def _log_volume_at(self, level):
        rng = np.random.default_rng(self._seed)
        unit = float(np.log(self._spread).sum())
        return unit + self._common_shape().log_volume(level, N_DRAWS, rng)

    # --- calibration ----------------------------------------------------------------

    def _calibrate(self, X, Y):
        distance = self._distances(X, Y)
        q = shapes.conformal_quantile(distance, float(self.confidence_level))
        self.threshold_ = max(q, np.finfo(np.float64).tiny)
        if self.region_ == "latent":
            rng = np.random.default_rng(self._seed)
            unit = float(np.log(self._spread).sum())
            points = self._points(X)[:LATENT_ROWS]
            logs = [
                shapes.Balls(p).log_volume(self.threshold_, N_DRAWS // 10, rng)
                for p in points
            ]
            self._log_volume = None
            self.volume_ = float(np.exp(np.array(logs) + unit).mean())
            return
        self._log_volume = self._log_volume_at(self.threshold_)
        sizes = self._sizes(self.scale_estimator_, self._unit, X)
        d = len(self._spread)
        self.volume_ = float(np.exp(self._log_volume + d * np.log(sizes)).mean())

    def _fit_folds(self, X, Y, base, params, folds, rng, guard):
        """Train one model per fold; each row calibrates by the one without it."""
        n = len(Y)
        if is_frozen(base):
            raise ValueError(
                "A frozen model cannot be trained on folds: give calibration a number."
            )
        needed = shapes.rows_needed(self.confidence_level)
        if n < needed:
            raise ValueError(
                f"A confidence_level of {self.confidence_level:g} needs {needed} rows; "
                f"{needed - n} are missing. Found array with {n} sample(s)."
            )
        self._seed = int(rng.randint(2**31 - 1))
        held_once = np.zeros(n, dtype=int)
        known = []
        splits = list(folds.split(np.zeros((n, 1)), Y))
        for train, held in guarded(splits, guard):
            part = clone(self)
            part._flat, part._seed = self._flat, self._seed
            part._train(X, Y, train, base, params, guard)
            part.threshold_ = part._log_volume = None
            known.append(np.sort(part._distances(safe_indexing(X, held), Y[held])))
            held_once[held] += 1
            self._parts.append(part)
            guard.write(f"Fold {len(known)} of {len(splits)}: {part.region_}")
        if not np.all(held_once == 1):
            raise ValueError(
                "calibration must hold out every row once, as KFold does; "
                f"{np.sum(held_once != 1)} rows are held out another number of times."
            )
        distances = np.concatenate(known)
        q = shapes.conformal_quantile(distances, float(self.confidence_level))
        self.threshold_ = max(q, np.finfo(np.float64).tiny)
        rank = shapes.conformal_rank(n, float(self.confidence_level))
        self._votes = Votes(known, rank)._asdict()
        self.estimator_ = self._fitted(base, X, Y, params)
        self._spread = self._parts[0]._spread
        self.scale_estimator_ = None
        names = [part.region_ for part in self._parts]
        self.region_ = max(sorted(set(names)), key=names.count)
        self.calibration_indices_ = np.arange(n)
        some = np.random.default_rng(self._seed).permutation(n)[:PLUS_ROWS]
        regions = self._plus_regions(safe_indexing(X, some))
        self.volume_ = float(np.mean([r.volume(PLUS_DRAWS) for r in regions]))

    def _votes_of(self, X, Y):
        """Whether rows' targets are inside, by the votes of all rows."""
        distances = [part._distances(X, Y) for part in self._parts]
        return Votes(**self._votes).inside(distances)

    def _plus_regions(self, X):
        votes = Votes(**self._votes)
        pairs = zip(self._parts, votes.levels(), strict=True)
        by_part = [part._regions(X, level) for part, level in pairs]
        centres = self._centres(self.estimator_, X)
        return [
            PlusRegion(list(parts), votes, centre, self._seed)
            for *parts, centre in zip(*by_part, centres, strict=True)
        ]

    def _distances(self, X, Y):
        """Distance of the targets of each row."""
        R = (Y - self._centres(self.estimator_, X)) / self._spread
        if self.region_ == "latent":
            gaps = np.linalg.norm(self._points(X) - R[:, None], axis=2)
            return gaps.min(axis=1)
        sizes = self._sizes(self.scale_estimator_, self._unit, X)
        return self._common_shape().distance(R / sizes[:, None])


def for_many(estimator):
    """A regressor of several targets."""
    if get_tags(estimator).target_tags.multi_output:
        return estimator
    return MultiOutputRegressor(estimator)
