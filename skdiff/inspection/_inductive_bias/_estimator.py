"""Information that a space of hypotheses has to be given to reach a test error."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
)
from skdiff._base.inner import is_frozen, whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.progress import watch
from skdiff._base.validation import check_X, check_X_y, require_y
from skdiff.inspection._geometry._sharpness import read_target
from skdiff.inspection._inductive_bias._posterior import (
    condition,
    draw,
    error_form,
    make_hypothesis_kernel,
)
from skdiff.inspection._inductive_bias._quadratic import QuadraticForm
from skdiff.inspection._inductive_bias._refits import (
    error_of,
    has_seed,
    refit_errors,
)
from skdiff.inspection._inductive_bias._tails import (
    BEYOND,
    TAILS,
    ErrorTail,
    bootstrap_interval,
    fit_tail,
)


class InductiveBiasEstimator(CallbackSupportMixin, SaveMixin, BaseEstimator):
    """Information that a space of hypotheses needs to reach a test error.

    Use it to compare kernels, features or architectures on one data set by more than
    their accuracy. A hypothesis is drawn at random among those that fit the training
    rows; the information is minus the logarithm of the probability that its test error
    is at most the target: how many nats have to be supplied by something else than
    the rows, such as the preference of a training algorithm.

    Parameters
    ----------
    hypotheses : {"rbf", "linear"}, kernel, callable or estimator, default="rbf"
        The space. ``"rbf"`` is a Gaussian process with the median distance as length
        scale, ``"linear"`` a linear function with Gaussian weights; a kernel of
        scikit-learn or a function of two arrays of rows is a Gaussian process too. For
        these the law of the error is exact. An estimator is trained from
        ``n_hypotheses`` seeds, and a tail is fitted to the errors.
    target_error : float, default=None
        Test error that is to be reached; with None only :meth:`curve` is available.
    n_hypotheses : int, default=100
        Number of draws where there is no exact law.
    noise : float, default=1e-6
        Added to the diagonal of the kernel matrix, relative to its mean.
    metric : {"mse", "error"}, default="mse"
        Mean squared error (of indicators of the classes for classification) or error
        rate. The error rate has no exact law, and is sampled.
    tail : {"auto", "gamma", "ncx2", "gpd", "empirical"}, default="auto"
        Model of the lower tail of sampled errors: a gamma distribution with their
        mean and variance, a noncentral chi square with three of their moments, a
        generalised Pareto distribution of the reciprocals of the smallest fifth, or
        none. ``"auto"`` is ``"gamma"``.
    test_size : float, default=0.3
        Fraction of the rows in the test set, where ``fit`` gets none.
    units : {"nats", "bits"}, default="nats"
        Units of information.
    task : {"auto", "classification", "regression"}, default="auto"
        What y holds; ``"auto"`` takes strings, and whole numbers with at most 50
        values and three rows per value, for classes.
    max_train_error : float, default=None
        Largest training error of a hypothesis that counts as fitting, where an
        estimator is trained; others are left out.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning.
    verbose : int or bool, default=0
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    information_ : float
        Information at ``target_error``; NaN without one, and infinity where no
        hypothesis reaches it.
    information_interval_ : tuple of float
        90 % bootstrap interval of it over the sampled errors; equal bounds where the
        law is exact.
    extrapolated_ : bool
        Whether the information exceeds the logarithm of the number of draws by 3 nats,
        so that it rests on the model of the tail alone.
    mean_error_ : float
        Mean test error of the hypotheses.
    errors_ : ndarray of shape (n_draws,)
        Test errors of drawn hypotheses; draws of the exact law where there is one.
    loss_distribution_ : QuadraticForm or ErrorTail
        The law of the test error, with ``cdf``, ``logcdf`` and ``ppf``.
    exact_ : bool
        Whether that law is exact.
    stopped_ : str
        Why the fit ended: ``"converged"`` or ``"max_iter"`` when complete, or
        ``"time"``, ``"callback"`` or ``"interrupted"``.
    classes_ : ndarray of shape (n_classes,)
        Classes; None for regression.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    generalization_difficulty : Difficulty of a task from its geometry alone.
    InductiveBiasDisplay : Information over the target error.

    Notes
    -----
    Targets are centred, and the Gaussian process has their variance. The test error is
    a quadratic form in normal variables. Its distribution function is computed by
    integration along the path of steepest descent, which has an error below 1e-6 nats
    in the tail as at the mean; the noncentral chi square that the paper's code fits to
    samples is off by several nats where it is needed.

    The information belongs to the space, the training rows and the test rows together:
    compare spaces with :meth:`compare`, which uses one split.

    References
    ----------
    A. Boopathy, W. Yue, J. Hwang, A. Iyer and I. Fiete, "Towards Exact Computation of
    Inductive Bias", IJCAI 2024, arXiv:2406.15941.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdiff.inspection import InductiveBiasEstimator
    >>> X, y = load_iris(return_X_y=True)
    >>> model = InductiveBiasEstimator(target_error=0.02, random_state=0).fit(X, y)
    >>> model.information_ > model.curve(0.05)
    True
    """

    _parameter_constraints: dict = {
        "hypotheses": [StrOptions({"rbf", "linear"}), callable, HasMethods(["fit"])],
        "target_error": [None, Interval(Real, 0, None, closed="neither")],
        "n_hypotheses": [Interval(Integral, 5, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "metric": [StrOptions({"mse", "error"})],
        "tail": [StrOptions({"auto", *TAILS})],
        "test_size": [Interval(Real, 0, 1, closed="neither")],
        "units": [StrOptions({"nats", "bits"})],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "max_train_error": [None, Interval(Real, 0, None, closed="left")],
        "n_jobs": [None, Integral],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hypotheses="rbf",
        target_error=None,
        n_hypotheses=100,
        *,
        noise=1e-6,
        metric="mse",
        tail="auto",
        test_size=0.3,
        units="nats",
        task="auto",
        max_train_error=None,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.hypotheses = hypotheses
        self.target_error = target_error
        self.n_hypotheses = n_hypotheses
        self.noise = noise
        self.metric = metric
        self.tail = tail
        self.test_size = test_size
        self.units = units
        self.task = task
        self.max_train_error = max_train_error
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, X_test=None, y_test=None):
        """Find the law of the test error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Classes or numbers.
        X_test, y_test : array-like of shape (n_test, n_features), (n_test,)
            Test set; by default a fraction ``test_size`` of the rows.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        with whole_fit(self):
            require_y(self, y)
            X, y = check_X_y(self, X, y, dtype=np.float64, ensure_min_samples=4)
            rng = check_random_state(self.random_state)
            parts = self._split(X, y, X_test, y_test, rng)
            trained = hasattr(self.hypotheses, "fit")
            count = self.n_hypotheses if trained else 1
            with watch(self, X, y, max_iter=count, unit="Fit") as guard:
                if trained:
                    self._of_estimator(*parts, rng, guard)
                else:
                    self._of_kernel(*parts, rng)
                    guard.step(loss=self.mean_error_)
            # a closed form is complete, whatever has run out
            self.stopped_ = guard.reason("max_iter") if trained else "converged"
            self._set_information(rng)
        return self

    def _split(self, X, y, X_test, y_test, rng):
        """Return training and test rows with labels and targets as columns."""
        classes = None
        target = read_target(y, X, type(self).__name__, self.task)
        if target.n_classes:
            classes = np.unique(y)
            if len(classes) < 2:
                raise ValueError("y has one class only; two are needed.")
        self.classes_ = classes
        if (X_test is None) != (y_test is None):
            raise ValueError("Pass X_test and y_test together, or neither.")
        if X_test is None:
            X, X_test, y, y_test = train_test_split(
                X,
                y,
                test_size=self.test_size,
                stratify=y if self._can_stratify(target) else None,
                random_state=rng,
            )
        else:
            X_test = check_X(self, X_test, reset=False, dtype=np.float64)
            y_test = self._check_labels(y_test, X_test, classes)
        values = [_columns(labels, classes) for labels in (y, y_test)]
        return (X, y, values[0]), (X_test, values[1])

    def _can_stratify(self, target):
        n = len(target.values)
        held = int(np.ceil(self.test_size * n))
        if not 0 < target.n_classes <= min(held, n - held):
            return False
        return np.bincount(target.values).min() > 1

    def _check_labels(self, y_test, X_test, classes):
        kind = "regression" if classes is None else "classification"
        y_test = np.asarray(y_test)
        read_target(y_test, X_test, type(self).__name__, kind)
        if classes is not None and (
            new := set(y_test.tolist()) - set(classes.tolist())
        ):
            raise ValueError(f"y_test has classes that y has not: {sorted(new)}.")
        return y_test

    def _of_kernel(self, train, test, rng):
        X, _, Y = train
        if len(test[0]) < 1 or len(X) < 2:
            raise ValueError("Two training rows and one test row are needed.")
        centre = Y.mean(axis=0)
        size = np.sqrt(((Y - centre) ** 2).mean())
        size = size if size > 0 else 1.0
        kernel = make_hypothesis_kernel(self.hypotheses, X)
        found = condition(kernel, X, (Y - centre) / size, test[0], self.noise)
        target = (test[1] - centre) / size
        if self.metric == "mse":
            form = error_form(found, target)
            unit = size**2
            form = form._replace(weights=form.weights * unit, floor=form.floor * unit)
            self._law, self.exact_ = form._asdict(), True
            self.errors_ = form.rvs(self.n_hypotheses, rng)
            self.mean_error_ = form.mean()
            return
        values = draw(found, self.n_hypotheses, rng) + centre / size
        self._set_errors(self._rates(values, test[1]))

    def _rates(self, values, target):
        if self.classes_ is None:
            raise ValueError('metric="error" needs classes in y.')
        return np.array([error_of(v, target, "error") for v in values])

    def _of_estimator(self, train, test, rng, guard):
        if is_frozen(self.hypotheses):
            raise ValueError("A frozen estimator is one hypothesis. Pass it unfrozen.")
        if self.metric == "error" and self.classes_ is None:
            raise ValueError('metric="error" needs classes in y.')
        if not has_seed(self.hypotheses):
            raise ValueError(
                f"{type(self.hypotheses).__name__} has no random_state: it is one "
                "hypothesis, not a space of them."
            )
        seeds = rng.randint(2**31 - 1, size=self.n_hypotheses)
        found = refit_errors(
            self.hypotheses,
            train,
            test,
            self.classes_,
            metric=self.metric,
            seeds=seeds,
            n_jobs=self.n_jobs,
            progress=guard,
        )
        if guard.ended == "time":
            warnings.warn(
                f"time_limit ended the fit after {len(found)} of {self.n_hypotheses} "
                "hypotheses.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._set_errors(self._that_fit(found))

    def _that_fit(self, found):
        if self.max_train_error is None:
            return found[:, 1]
        fits = found[:, 0] <= self.max_train_error
        if fits.sum() < 5:
            raise ValueError(
                f"{fits.sum()} of {len(fits)} hypotheses have a training error of at "
                f"most {self.max_train_error}; five are needed."
            )
        return found[fits, 1]

    def _set_errors(self, errors):
        kind = "gamma" if self.tail == "auto" else self.tail
        self.errors_, self.exact_ = errors, False
        self._law = fit_tail(errors, kind)._asdict()
        self.mean_error_ = float(errors.mean())

    def _set_information(self, rng):
        self.information_, self.extrapolated_ = np.nan, False
        self.information_interval_ = (np.nan, np.nan)
        if self.target_error is None:
            return
        self.information_ = value = self.curve(self.target_error)
        self.information_interval_ = (value, value)
        if value == np.inf:
            warnings.warn(
                f"No hypothesis reaches target_error={self.target_error}; the least "
                f"error is about {self._least():.3g}.",
                UserWarning,
                stacklevel=3,
            )
        if not self.exact_:
            kind, unit = self.loss_distribution_.kind, self._unit()
            low, high = bootstrap_interval(self.errors_, kind, self.target_error, rng)
            self.information_interval_ = (low / unit, high / unit)
            limit = np.log(len(self.errors_)) + BEYOND
            self.extrapolated_ = bool(value * unit > limit)

    def _least(self):
        return self.errors_.min() if not self.exact_ else self.loss_distribution_.floor

    def _unit(self):
        return np.log(2) if self.units == "bits" else 1.0

    @property
    def loss_distribution_(self):
        """The law of the test error."""
        check_is_fitted(self)
        return (QuadraticForm if self.exact_ else ErrorTail)(**self._law)

    def curve(self, eps):
        """Return the information at target errors.

        Parameters
        ----------
        eps : float or array-like of shape (n_errors,)
            Target errors.

        Returns
        -------
        information : float or ndarray of shape (n_errors,)
            Information in ``units``; it falls in ``eps`` towards 0.
        """
        check_is_fitted(self)
        levels = check_array(
            np.atleast_1d(eps), ensure_2d=False, dtype=np.float64, input_name="eps"
        )
        law = self.loss_distribution_
        found = np.array([max(-law.logcdf(e), 0.0) for e in levels]) / self._unit()
        return float(found[0]) if np.ndim(eps) == 0 else found

    def compare(self, hypotheses, X, y, X_test=None, y_test=None):
        """Measure several spaces on one split of the rows.

        Parameters
        ----------
        hypotheses : dict or list
            Spaces, by name or in order.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Classes or numbers.
        X_test, y_test : array-like of shape (n_test, n_features), (n_test,)
            Test set; by default a fraction ``test_size`` of the rows, the same for all.

        Returns
        -------
        frame : DataFrame
            One row per space: ``information``, ``difference`` from the least,
            ``mean_error``, ``exact`` and ``extrapolated``.
        """
        pd = require_pandas("compare")
        if self.target_error is None:
            raise ValueError("compare needs a target_error.")
        if not isinstance(hypotheses, dict):
            hypotheses = {_name(h): h for h in hypotheses}
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows = {}
        for name, space in hypotheses.items():
            model = clone(self).set_params(hypotheses=space, random_state=seed)
            model.fit(X, y, X_test, y_test)
            rows[name] = {
                "information": model.information_,
                "mean_error": model.mean_error_,
                "exact": model.exact_,
                "extrapolated": model.extrapolated_,
            }
        frame = pd.DataFrame.from_dict(rows, orient="index")
        least = frame["information"].min()
        frame.insert(1, "difference", frame["information"] - least)
        return frame

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _name(hypotheses):
    name = getattr(hypotheses, "__name__", None)
    return hypotheses if isinstance(hypotheses, str) else name or str(hypotheses)


def _columns(labels, classes):
    """Targets as columns: indicators of classes, or numbers."""
    if classes is None:
        return np.asarray(labels, dtype=np.float64)[:, None]
    return (np.asarray(labels)[:, None] == classes).astype(np.float64)
