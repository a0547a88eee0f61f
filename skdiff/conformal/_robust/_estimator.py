"""Prediction sets that keep their coverage when rows are moved."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import (
    check_random_state,
)
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
    is_frozen,
    refuse_params,
    route,
    seeded,
    take_rows,
    whole_fit,
)
from skdiff._base.progress import watch
from skdiff.conformal._common._guard import ended
from skdiff.conformal._robust import _smoothing as smooth
from skdiff.conformal._robust._base import BaseRobust


class RobustConformalClassifier(BaseRobust):
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
        ranks. They do not calibrate. Without noise (``smoothing`` and ``radius`` zero)
        there are no ranks and none are held back.
    calibration : float or int, default=0.4
        Proportion or number of rows held back from an estimator that is not frozen.
    augment : bool or int, default=True
        With smoothing: whether the classifier is trained on noisy copies of the rows,
        and on how many of each; four if True. More make sets smaller.
    conformal_training : bool, default=False
        With smoothing: whether the weights of a linear model with softmax outputs
        (:class:`~sklearn.linear_model.LogisticRegression`) or of an
        :class:`~sklearn.neural_network.MLPClassifier`, alone or the last step of a
        pipeline, are trained further so that sets are small. Some seconds; needs torch.
    norm : {2, inf}, default=2
        Norm in which a move is measured: Euclidean length or largest change of a
        column. Smoothing and networks pay for infinity by up to the square root of the
        number of columns.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They share the rows to be
        smoothed.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
        Only ``conformal_training`` is cut short; the classifier's own ``fit`` and the
        calibration always run whole.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every step of
        ``conformal_training`` and the size of the sets are printed.
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
    stopped_ : {"converged", "time", "callback"}
        Why that training ended; ``"converged"`` where it came to its end, or there was
        none.
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
        "augment": ["boolean", Interval(Integral, 1, None, closed="left")],
        "conformal_training": ["boolean"],
        "norm": [Options(Real, {2, np.inf})],
        "n_jobs": [None, Integral],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "verbose": ["verbose"],
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
        conformal_training=False,
        norm=2,
        n_jobs=None,
        time_limit=None,
        verbose=0,
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
        self.conformal_training = conformal_training
        self.norm = norm
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

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
                self._refuse_training()
            (params,) = route(self, fit_params, ["estimator"])
            with watch(self, X, y, metadata=fit_params or None, unit="Step") as guard:
                train, held = self._split(len(y), rng, frozen)
                self._seed = int(rng.randint(2**31 - 1))
                params = take_rows(rows.table(), params, train)
                path = self._train(base, rows, train, y, params, guard)
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
                guard.write(
                    f"Calibrated on {len(self.calibration_indices_)} rows "
                    f"({self.method_}), mean size of sets = {self.set_size_:.3f}"
                )
            self.stopped_ = ended(self, guard)
        return self

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
