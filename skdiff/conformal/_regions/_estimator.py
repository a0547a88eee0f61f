"""Regions for several targets at once, with guaranteed joint coverage."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    fit_context,
    safe_indexing,
)
from skdiff._base.inner import (
    is_frozen,
    refuse_params,
    route,
    seeded,
    whole_fit,
)
from skdiff._base.progress import watch
from skdiff.conformal._common._guard import ended
from skdiff.conformal._regions import _choice as choice
from skdiff.conformal._regions import _shapes as shapes
from skdiff.conformal._regions._base import BaseRegions


class MultiOutputConformalRegressor(BaseRegions):
    """Predict a region that holds all targets of a row together.

    Any regressor predicts the centre; the residuals of held-back rows decide the shape
    and the size of a region around it that covers a new row's targets jointly, with
    probability ``confidence_level``. Use it when several targets are needed at once,
    such as a position, or two properties of a material. For one target an interval
    (:class:`~skdiff.calibration.EmpiricalResidualCalibrator`, MAPIE) is simpler.

    Parameters
    ----------
    estimator : regressor, default=None
        The regressor; a scaled, cross-validated ridge regression if None. One that
        predicts a single target is fitted once per target. In a
        :class:`~sklearn.frozen.FrozenEstimator` it is used as it is; one half of the
        rows of ``fit`` then makes the shape and the other half calibrates.
    region : {"auto", "ellipsoid", "directional", "latent", "neighbors", "box"}, \
default="auto"
        ``"ellipsoid"``: Mahalanobis distance; ``"directional"``: a convex polytope with
        quantiles of many directions; ``"neighbors"``: points near residuals of other
        rows, of any shape; ``"box"``: one interval per target; ``"latent"``: points
        decoded by a conditional autoencoder, whose shape changes from row to row
        (experimental; needs torch and X of numbers). ``"auto"`` takes the smallest of
        all but the last.
    confidence_level : float, default=0.9
        Probability that a region holds the targets of a new row.
    scale_estimator : "auto", regressor or None, default="auto"
        What predicts the size of the region from the row. ``"auto"``: gradient boosting
        on the squared length of residuals, where that makes regions smaller. A
        regressor is fitted on the logarithm of the squared length. ``None``: one size.
    n_directions : int, default=64
        Number of half-spaces of ``"directional"``.
    n_neighbors : int or "auto", default="auto"
        Rank of the neighbour whose distance counts, for ``"neighbors"``; ``"auto"`` is
        two thirds of the root of the number of residuals.
    n_region_samples : int, default=500
        Decoded points per row, for ``"latent"``.
    calibration : float, int or cross-validation splitter, default=0.4
        Proportion or number of rows held back. A proportion is raised to the number
        that the level needs. A splitter, such as ``KFold(5)``, trains one model per
        fold, and every row calibrates by the model that has not seen it; coverage then
        is proved for ``2 * confidence_level - 1`` only, up to a term that vanishes, and
        near ``confidence_level`` in practice.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
        Only the training of ``region="latent"`` is cut short, with folds in each alike;
        the regressor's own ``fit`` and the calibration always run whole.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every step of
        that training, the shape of every fold and the volume are printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split, directions and volumes.

    Attributes
    ----------
    estimator_ : regressor
        What predicts the centre.
    scale_estimator_ : regressor or None
        What predicts the size; None with folds, each of which has its own.
    region_ : str
        The shape that was taken; with folds the most frequent one.
    threshold_ : float
        Level of the distance that a region reaches.
    volume_ : float
        Mean volume over the calibration rows, in the units of the targets.
    calibration_indices_ : ndarray of shape (n_calibration,)
        Rows of X that calibrate; neither the regressor nor the shape has seen them.
        With folds all rows.
    stopped_ : {"converged", "time", "callback"}
        Why that training ended; ``"converged"`` where it came to its end, or there was
        none.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    ConformalRegionDisplay : Plot regions of two targets.
    skdiff.calibration.EmpiricalResidualCalibrator : Distributions of one target.

    Notes
    -----
    A region is ``{y : d(x, y) <= q}``, ``q`` the ``ceil((n + 1) level)``-th smallest
    distance of the calibration rows: coverage holds in finite samples, on average over
    calibration sets and rows, for any regressor and shape. Targets are divided by their
    standard deviation inside. Shapes are learnt from out-of-fold residuals of the
    training rows.

    References
    ----------
    S. Feldman, S. Bates and Y. Romano, "Calibrated Multiple-Output Quantile Regression
    with Representation Learning", JMLR 24, 2023, arXiv 2110.00816.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.conformal import MultiOutputConformalRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 3))
    >>> noise = rng.normal(size=(600, 2)) @ [[1, 0.9], [0, 0.3]]
    >>> Y = X[:, :2] + noise
    >>> model = MultiOutputConformalRegressor(random_state=0).fit(X[:500], Y[:500])
    >>> bool(0.8 < model.contains(X[500:], Y[500:]).mean() < 1)
    True
    >>> region = model.predict_region(X[500:501])[0]
    >>> region.contains(region.centre), region.bounds().shape
    (True, (2, 2))
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "region": [StrOptions({"auto", "latent", *choice.SHAPES})],
        "confidence_level": [Interval(RealNotInt, 0, 1, closed="neither")],
        "scale_estimator": [
            StrOptions({"auto"}),
            HasMethods(["fit", "predict"]),
            None,
        ],
        "n_directions": [Interval(Integral, 2, None, closed="left")],
        "n_neighbors": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_region_samples": [Interval(Integral, 1, None, closed="left")],
        "calibration": [
            Interval(RealNotInt, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
            HasMethods(["split"]),
        ],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        region="auto",
        confidence_level=0.9,
        scale_estimator="auto",
        n_directions=64,
        n_neighbors="auto",
        n_region_samples=500,
        calibration=0.4,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.region = region
        self.confidence_level = confidence_level
        self.scale_estimator = scale_estimator
        self.n_directions = n_directions
        self.n_neighbors = n_neighbors
        self.n_region_samples = n_region_samples
        self.calibration = calibration
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    # --- fit ------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Train the regressor, learn the shape, and calibrate its size.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Target values.
        **fit_params : dict
            Passed to the regressor's ``fit``, such as ``sample_weight``; what has one
            entry per row is cut to the training rows. Calibration rows have no
            weights.

        Returns
        -------
        self : object
            The calibrated regressor.
        """
        with whole_fit(self):
            X, Y = self._check(X, y)
            rng = check_random_state(self.random_state)
            base = seeded(self._base(), rng)
            frozen = is_frozen(base)
            if frozen:
                refuse_params(fit_params, "the model is frozen")
            (params,) = route(self, fit_params, ["estimator"])
            self._votes, self._parts = None, []
            with watch(self, X, y, metadata=fit_params or None, unit="Step") as guard:
                if hasattr(self.calibration, "split"):
                    folds = seeded(self, rng).calibration
                    self._fit_folds(X, Y, base, params, folds, rng, guard)
                else:
                    shaping, held = self._split(len(Y), rng, frozen)
                    self._seed = int(rng.randint(2**31 - 1))
                    self._train(X, Y, shaping, base, params, guard)
                    self._calibrate(safe_indexing(X, held), Y[held])
                    self.calibration_indices_ = held
                guard.write(
                    f"Calibrated on {len(self.calibration_indices_)} rows "
                    f"({self.region_}), mean volume = {self.volume_:.6g}"
                )
            self.stopped_ = ended(self, guard)
        return self

    # --- inference ------------------------------------------------------------------

    def predict(self, X):
        """Return the regressor's own predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples, n_targets) or (n_samples,)
            Predictions.
        """
        check_is_fitted(self)
        X = self._check_table(X, reset=False)
        return self._shaped(self._centres(self.estimator_, X))

    def contains(self, X, y):
        """Tell whether the targets of each row are in its region.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples, n_targets) or (n_samples,)
            Their targets.

        Returns
        -------
        inside : ndarray of bool of shape (n_samples,)
            Whether each is inside.
        """
        check_is_fitted(self)
        X = self._check_table(X, reset=False)
        Y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        Y = Y.reshape(len(Y), -1)
        check_consistent_length(X, Y)
        if Y.shape[1] != len(self._spread):
            raise ValueError(
                f"y has {Y.shape[1]} targets, but fit saw {len(self._spread)}."
            )
        if self._votes is not None:
            return self._votes_of(X, Y)
        return shapes.inside(self._distances(X, Y), self.threshold_)

    def predict_region(self, X):
        """Return the region of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        regions : list of Region
            Each with ``contains(y)`` for one point or many, ``volume()``,
            ``sample(n)``, ``bounds()`` of shape (n_targets, 2), and ``centre``.
        """
        check_is_fitted(self)
        X = self._check_table(X, reset=False)
        if self._votes is not None:
            return self._plus_regions(X)
        return self._regions(X, self.threshold_)
