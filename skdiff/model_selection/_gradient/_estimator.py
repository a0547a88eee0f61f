"""The shell of the gradient search: scikit-learn outside, inner problems inside."""

import time
from itertools import product
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, get_tags, indexable

from skdiff._base.compat import (
    BaseSearchCV,
    HasMethods,
    Interval,
    StrOptions,
    check_method_params,
    fit_context,
    has_callbacks,
)
from skdiff._base.progress import Progress
from skdiff._base.validation import refuse_dates
from skdiff.model_selection._gradient import _criteria
from skdiff.model_selection._gradient._base import BaseGradientSearch
from skdiff.model_selection._gradient._combination import CombinationSearch
from skdiff.model_selection._gradient._folds import (
    Data,
    check_rows,
    check_target,
    fit_with_weights,
)
from skdiff.model_selection._gradient._given import Given, Options, read_distributions
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._own_fits import (
    differs,
    fits_exactly,
    gap_of_own_fit,
    score_own_fits,
    warn_of_tolerance,
)
from skdiff.model_selection._gradient._reseeded import (
    compare_reseeded,
    warn_of_seeds,
)
from skdiff.model_selection._gradient._results import (
    best_row,
    refuse_no_score,
    refuse_without_rows,
    row_at,
    tabulate,
    warn_of_end,
)
from skdiff.model_selection._gradient._wrappers import take_apart

_OWN_FITS = 5  # points that are scored by the estimator's own fits at most
SOLVERS = ("auto", "root", "lbfgs", "hoag", "maid")


class GradientSearchCV(BaseGradientSearch):
    """Find continuous hyperparameters by the gradient of the cross-validation score.

    A drop-in for :class:`~sklearn.model_selection.GridSearchCV` where the last step of
    the estimator is a ridge, a lasso, a logistic regression, a support vector machine,
    a kernel ridge or another model with an inner problem. The optimum of the K-fold
    criterion is found to many digits at the price of a handful of fits, earlier steps
    are fitted within each fold, and a penalty per feature or layer, or a weight per
    row, is as easy as one number. It does not help with discrete choices (a list of
    them is tried one by one) nor with models whose fit is not differentiable in the
    parameter, such as trees: use ``HyperbandSearchCV`` for those.

    Parameters
    ----------
    estimator : estimator instance
        An estimator with an inner problem, alone or as the last step of a pipeline.
        :func:`inner_problem` names those that have one, and takes your own.
    param_distributions : dict
        By parameter name (``step__parameter`` in a pipeline): a frozen
        ``scipy.stats.loguniform`` (searched in the logarithm) or ``uniform``, a
        :class:`Continuous`, or a list of values. Values of lists may belong to any
        step; every combination of them gets a search of its own and the best wins.
        ``{"sample_weight": Continuous(0, 1, scale="logit", per="sample")}`` searches
        a weight for each training row of a linear model or a kernel ridge, times the
        weight given to ``fit``, with fixed validation rows in ``cv``.
    scoring : str, callable, list, tuple or dict, default=None
        What is reported, and what picks the best of the visited points; of points that
        score alike, the one with the lowest criterion. Minus the criterion if None. It
        does not steer the search.
    criterion : str or callable, default="auto"
        What is minimised on the validation rows: ``"squared_error"``, ``"huber"``
        (delta 1.35), ``"log_loss"``, ``"squared_hinge"``, or a function ``(y,
        raw_prediction) -> (value, gradient)`` of predictions (margins for a
        classifier). ``"auto"``: squared error for regressors, log loss for classifiers
        with probabilities, squared hinge for the others. Several classes of ``SVC``
        have a margin a pair, ``raw_prediction[i, k, l]`` of class k against l; their
        squared hinge counts the true class against each other one.
    cv : int, splitter or iterable, default=None
        Folds, as in :class:`~sklearn.model_selection.GridSearchCV`.
    solver : {"auto", "root", "lbfgs", "hoag", "maid"}, default="auto"
        ``"root"`` searches one variable by its slope. ``"lbfgs"`` is SciPy's in a box,
        with exact inner solves. ``"hoag"`` and ``"maid"`` solve the inner problems only
        as exactly as needed, by a schedule or by an error bound. ``"auto"``: root for
        one variable, lbfgs where inner solves are cheap or the variables are at most
        50, maid otherwise; for two to five variables of a support vector machine,
        whose criterion is non-smooth, quadratics fitted to all values and slopes.
    max_iter : int, default=50
        Maximum number of iterations. They are evaluations, for each stage of each
        combination.
    tol : float, default=1e-3
        Tolerance of the stopping rule. It applies to the outer variable: to its
        logarithm, or to the fraction of a linear interval.
    inner_tol : float, default=1e-6
        Relative accuracy of the reported inner solutions.
    tie_strength : float, default=0.3
        Vector hyperparameters start from their best common value and are tied to it by
        a quadratic penalty of this strength, in units of the criterion. ``0`` frees
        them, which overfits the criterion, ``inf`` keeps them equal.
    n_starts : int, default=1
        Starting points; further ones are drawn at random, and add points to the scan
        of ``"root"``.
    warm_start_inner : bool, default=True
        Start inner problems from their last solution. It saves time and changes
        no result; networks are always fitted afresh.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. It is checked after every evaluation, and the fit on all rows comes
        after it.
    refit : bool, str or callable, default=True
        Fit the estimator on all rows at the best point. With several scores, the name
        of the one that decides.
    error_score : "raise" or float, default=np.nan
        Score of a point where the criterion is not finite or a fit fails; such points
        are never the best. If no point is left, a ValueError is raised.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They are threads over folds,
        used once a fold takes longer than 50 ms.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per evaluation is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        further starting points.

    Attributes
    ----------
    best_params_ : dict
        Best values, floats or arrays; ``sample_weight`` is in the order of the rows.
    best_score_ : float
        Mean score of the best point. It was chosen as the best: nested
        cross-validation tells what to expect. For networks see ``refit_score_``.
    best_index_ : int
        Row of the best point in ``cv_results_``.
    best_estimator_ : estimator instance
        Fitted on all rows. Only with ``refit``.
    cv_results_ : dict
        A row a visited point: ``params``, ``param_*``, ``split*_test_score``,
        ``mean_test_score``, ``std_test_score``, ``rank_test_score``, ``criterion``,
        ``objective`` (criterion plus tie), ``hypergradient_norm``, ``inner_tol``,
        ``n_inner_iter``, ``fit_time`` and the means of the times.
    hypergradient_ : dict
        Derivative of the objective at the best point in the outer variables: in the
        logarithm of a parameter with a logarithmic interval.
    n_iter_ : int
        Number of visited points.
    converged_ : bool
        Whether every search ended by its tolerance.
    stopped_ : str
        Why the search ended: ``"converged"``, ``"max_iter"``, ``"time"``,
        ``"callback"`` or ``"interrupted"``.
    scorer_ : callable or dict
        The scorer, or the scorers by name.
    n_splits_ : int
        Number of folds.
    multimetric_ : bool
        Whether there are several scores.
    refit_time_ : float
        Seconds of the fit on all rows. Only with ``refit``.
    search_score_ : float
        ``best_score_`` again, the mean score of the best point as the search saw it.
        Only for networks, whose fits depend on their seed, with ``refit`` and where
        there is a ``best_score_``; unique inner solutions leave nothing to compare.
    refit_score_ : float
        Mean score of the best point over the same folds by new fits, each from a seed
        of its own that follows from the estimator's ``random_state``: what the point is
        worth without the seed-to-seed variance it was chosen with, and the score to
        report. A warning tells when it lies more than two standard errors of the folds'
        scores (their deviation over the root of their number) from ``search_score_``.
        Only where ``search_score_`` is.
    n_features_in_ : int
        Number of columns seen by ``fit``. Only with ``refit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names. Only with ``refit`` and a DataFrame.
    classes_ : ndarray of shape (n_classes,)
        Labels. Only for classifiers, with ``refit``.

    See Also
    --------
    Continuous : Intervals for one value or many.
    GradientSearchDisplay : The search in a figure.
    check_hypergradient : Test of an custom inner problem.
    sklearn.model_selection.GridSearchCV : For discrete choices.

    Notes
    -----
    With folds k and inner problems ``w_k(theta) = argmin h_k(w, theta)`` the criterion
    is the mean of the folds' losses ``C_k``. Its gradient follows from the
    implicit function theorem: one linear system ``[d2h_k/dw dw] q_k = dC_k/dw`` a fold,
    whatever the number of hyperparameters, gives ``dC_k/dtheta - [d2h_k/dtheta dw]
    q_k``. Parameters mean what they mean in scikit-learn and are not rescaled for the
    larger table of the last fit, as a grid search does not.

    Networks have no unique fit. They are fitted afresh at every point, each fold from
    one seed for the whole search (the estimator's, or one drawn where it has none), so
    that points differ by their hyperparameters alone; ``refit_score_`` then tells what
    the chosen point is worth from other seeds.

    We differ from the published codes: one variable is searched by the sign of the
    slope, which no step size can spoil; L-BFGS is the default for vectors wherever
    inner solves are cheap; the bounds of ``"maid"`` are valid upper bounds; and
    vectors are tied, because thousands of free penalties overfit any criterion.

    References
    ----------
    F. Pedregosa, "Hyperparameter optimization with approximate gradient", ICML 2016,
    arXiv 1602.02355.

    J. Lorraine, P. Vicol and D. Duvenaud, "Optimizing Millions of Hyperparameters by
    Implicit Differentiation", AISTATS 2020, arXiv 1911.02590.

    M. S. Salehi, S. Mukherjee, L. Roberts and M. J. Ehrhardt, "An adaptively inexact
    first-order method for bilevel optimization with application to hyperparameter
    learning", SIAM J. Math. Data Sci., 2025, arXiv 2308.10098.

    Q. Bertrand et al., "Implicit differentiation for fast hyperparameter selection in
    non-smooth convex learning", JMLR 2022, arXiv 2105.01637.

    P. Vicol, J. Lorraine, F. Pedregosa, D. Duvenaud and R. Grosse, "On Implicit Bias in
    Overparameterized Bilevel Optimization", ICML 2022, arXiv 2212.14032.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.model_selection import GradientSearchCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> interval = {"logisticregression__C": loguniform(1e-4, 1e4)}
    >>> search = GradientSearchCV(pipeline, interval).fit(X, y)
    >>> {name: round(value, 2) for name, value in search.best_params_.items()}
    {'logisticregression__C': 0.6}
    >>> round(search.best_score_, 3), search.n_iter_ < 25
    (-0.079, True)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "param_distributions": [dict],
        "scoring": BaseSearchCV._parameter_constraints["scoring"],
        "criterion": [StrOptions({"auto", *_criteria.CRITERIA}), callable],
        "cv": ["cv_object"],
        "solver": [StrOptions(set(SOLVERS))],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "inner_tol": [Interval(Real, 0, 1, closed="neither")],
        "tie_strength": [Interval(Real, 0, None, closed="both")],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "warm_start_inner": ["boolean"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "refit": ["boolean", str, callable],
        "error_score": [StrOptions({"raise"}), Real],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        scoring=None,
        criterion="auto",
        cv=None,
        solver="auto",
        max_iter=50,
        tol=1e-3,
        inner_tol=1e-6,
        tie_strength=0.3,
        n_starts=1,
        warm_start_inner=True,
        time_limit=None,
        refit=True,
        error_score=np.nan,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.scoring = scoring
        self.criterion = criterion
        self.cv = cv
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.inner_tol = inner_tol
        self.tie_strength = tie_strength
        self.n_starts = n_starts
        self.warm_start_inner = warm_start_inner
        self.time_limit = time_limit
        self.refit = refit
        self.error_score = error_score
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Tags of the estimator; the default score is a loss."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.target_tags = inner.target_tags
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.array_api_support = False
        if tags.regressor_tags is not None and self.scoring is None:
            tags.regressor_tags.poor_score = True
        return tags

    # --- fit --------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params):
        """Search, and fit the estimator at the best point.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, as the first step takes them; sparse if it does.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        **params : dict
            ``groups`` for the splitter, ``sample_weight`` and other fit parameters, as
            in :class:`~sklearn.model_selection.GridSearchCV`.

        Returns
        -------
        self : object
            The fitted search.
        """
        given = self._read(X, y, params)
        context = None
        if has_callbacks(self):
            context = self._init_callback_context(max_subtasks=None)
            context.call_on_fit_task_begin(estimator=self, X=given.X, y=given.y)
        progress = self._progress(context)
        found = self._search(given, progress)
        self._finish(given, found, progress, context)
        return self

    def _progress(self, context):
        """The loop guard; callbacks hear of every evaluation."""

        def report(state):
            point = context.subcontext(task_name="evaluation")
            point.call_on_fit_task_begin(estimator=self)
            return bool(point.call_on_fit_task_end(estimator=self))

        return Progress(
            time_limit=self.time_limit,
            verbose=bool(self.verbose),
            unit="Evaluation",
            report=None if context is None else report,
        )

    def _options(self):
        return Options(
            self.solver,
            self.max_iter,
            self.tol,
            self.inner_tol,
            self.tie_strength,
            self.n_starts,
            self.warm_start_inner,
            self.n_jobs,
            self.scoring is not None,
        )

    def _read(self, X, y, params):
        """Check everything that can be checked before any work."""
        parts = take_apart(self.estimator)
        inner_problem(parts.last)  # without one, say so before any work
        intervals, choices = read_distributions(
            self.estimator, self.param_distributions, parts
        )
        criterion = _criteria.resolve(self.criterion, self.estimator)
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        if not parts.wrappers:
            refuse_dates(X)
            checked = check_rows(X)
        else:
            checked = X
        target = check_target(y, parts.last, type(self).__name__)
        params = check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        cv = check_cv(self.cv, target.y, classifier=target.classes is not None)
        splits = list(cv.split(checked, target.y, **routed.splitter.split))
        data = Data(
            checked,
            target,
            splits,
            dict(routed.estimator.fit),
            dict(routed.scorer.score),
        )
        return Given(
            X, y, data, routed, intervals, choices, criterion, scorers, refit_metric
        )

    def _prepare(self, X, y, best):
        """Return the search of one combination: that of ``best``, or the first."""
        given = self._read(X, y, {})
        chosen = {
            key: values[0] if best is None else best[key]
            for key, values in given.choices.items()
        }
        return CombinationSearch(
            self.estimator, chosen, given, self._options(), Progress()
        )

    # --- search -----------------------------------------------------------------------

    def _search(self, given, progress):
        """One search for each combination of the lists."""
        found, choices = [], given.choices
        rng = check_random_state(self.random_state)

        def has_rows():
            return any(search.evaluator.rows for search in found)

        with progress.interruptible(has_rows):
            for combination in product(*choices.values()):
                chosen = dict(zip(choices, combination, strict=True))
                search = CombinationSearch(
                    self.estimator, chosen, given, self._options(), progress
                )
                found.append(search)
                search.run(rng)
                if progress.ended is not None:
                    break
        refuse_without_rows(found, self.error_score)
        return [search for search in found if search.evaluator.rows]

    def _best(self, found, results, metric):
        """Row of the best point."""
        if callable(self.refit):
            return int(self._select_best_index(self.refit, metric, results))
        tied = any(search.evaluator.anchor is not None for search in found)
        by_objective = tied and self.scoring is None
        return best_row(results, None if by_objective else metric)

    def _metric(self, given, results):
        """Name of the score that decides, or None where none has to."""
        if "mean_test_score" in results:
            return "score"
        if not self.refit:
            return None
        if callable(self.refit):
            return given.refit_metric
        self._check_refit_for_multimetric(
            {k.removeprefix("mean_test_"): 0 for k in results}
        )
        return self.refit

    def _choose(self, given, found, progress):
        """Results, the best search and row, its index, and the gap of its own fit.

        Where the estimator's fits are less exact than the search, the scores of the
        best point become those of such fits, until the best one has them.
        """
        n_splits, gap, own = len(given.data.splits), 0.0, []
        while True:
            results = tabulate(found, n_splits, self.inner_tol, self.error_score)
            metric = self._metric(given, results)
            refuse_no_score(results, metric)
            if metric is None:
                return results, None, None, None, gap
            index = self._best(found, results, metric)
            search, row = row_at(found, index)
            done = progress.ended is not None or len(own) == _OWN_FITS
            if done or any(row is other for other in own):
                return results, search, row, index, gap
            found_gap = 0.0 if fits_exactly(search) else gap_of_own_fit(search, row)
            if not differs(found_gap):
                return results, search, row, index, gap
            gap = max(gap, found_gap)
            own.append(score_own_fits(search, row, given.scorers))

    def _finish(self, given, found, progress, context):
        """Choose, fit on all rows, and take over the results at once."""
        results, search, row, index, gap = self._choose(given, found, progress)
        several = "mean_test_score" not in results
        fitted = {
            "cv_results_": results,
            "n_splits_": len(given.data.splits),
            "multimetric_": several,
            "n_iter_": len(results["params"]),
            "converged_": all(search.converged for search in found),
        }
        fitted["stopped_"] = progress.reason(
            "converged" if fitted["converged_"] else "max_iter"
        )
        metric = self._metric(given, results)
        if row is not None:
            fitted |= {
                "best_index_": index,
                "best_params_": results["params"][index],
                "hypergradient_": search.slope_by_name(row),
            }
            if not callable(self.refit):
                fitted["best_score_"] = float(results[f"mean_test_{metric}"][index])
        doubt = None
        if self.refit:
            fitted |= self._refit(given, search, row, context)
            if "best_score_" in fitted:
                named = metric if several else None
                scores, doubt = compare_reseeded(search, row, named, self.n_jobs)
                fitted |= scores
        if context is not None:
            context.call_on_fit_task_end(estimator=self, X=given.X, y=given.y)
        for name in _ATTRIBUTES:
            vars(self).pop(name, None)
        vars(self).update(fitted)
        warn_of_end(progress, found, self)
        if row is not None:
            warn_of_tolerance(search, gap)
        warn_of_seeds(doubt)

    def _refit(self, given, search, row, context):
        """Fit the estimator on all rows."""
        X, y = given.X, given.y
        best = clone(search.estimator).set_params(**search.settings_of(row))
        params = dict(given.routed.estimator.fit)
        weights = search.weights_of(row)
        start = time.perf_counter()
        if weights or context is None:
            fit_with_weights(best, X, y, params, weights)
        else:
            refit = context.subcontext(task_name="refit-with-best-params")
            with refit.propagate_callback_context(best):
                refit.call_on_fit_task_begin(estimator=self, X=X, y=y)
                best.fit(X, y, **params)
            refit.call_on_fit_task_end(estimator=self, X=X, y=y)
        found = {"best_estimator_": best, "refit_time_": time.perf_counter() - start}
        if hasattr(best, "feature_names_in_"):
            found["feature_names_in_"] = best.feature_names_in_
        return found


_ATTRIBUTES = (
    "best_estimator_",
    "best_index_",
    "best_params_",
    "best_score_",
    "feature_names_in_",
    "hypergradient_",
    "refit_score_",
    "refit_time_",
    "search_score_",
)
