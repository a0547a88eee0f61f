"""Interaction screening of tables of categories, with its penalty given or chosen."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv

from skdiff._base.compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from skdiff._base.progress import Progress, watch
from skdiff.density._interaction._base import BaseScreening
from skdiff.density._interaction._screen import Table, model_of, solve_nodes
from skdiff.density._interaction._solver import DEFAULT_ALPHA
from skdiff.density._missing import cell_log_likelihood


class InteractionScreening(BaseScreening):
    """Find which columns of a table of categories interact, and how.

    From rows of categories it learns a graphical model, the discrete companion of
    :class:`~sklearn.covariance.GraphicalLasso`: which columns depend on each other
    directly, how strongly, and the distribution of each column given the others, which
    completes missing cells, flags odd ones and draws new rows. Use it on survey items,
    genotypes, presence and absence, states of machines. On numbers whose order and
    distance matter, a Gaussian method uses what this one throws away.

    Parameters
    ----------
    method : {"rise", "logrise", "pseudolikelihood"}, default="rise"
        Objective of a node: the interaction screening objective, which needs the fewest
        rows for the graph; its logarithm; or the penalised logistic regressions of the
        pseudo-likelihood, whose conditionals predict a little better.
    order : int, default=2
        Largest number of columns in one interaction. Cost grows with the number of
        products of ``order - 1`` columns.
    alpha : float or "auto", default="auto"
        Penalty in units of ``sqrt(log(n_features**2 / confidence) / n)``. "auto" is
        0.4, 0.8 and 0.2 for the three methods, as their authors recommend. Larger
        values remove more interactions and shrink the others.
    confidence : float, default=0.05
        The probability in the unit of ``alpha``.
    penalty : {"group", "l1"}, default="group"
        What is shrunk: the length of each interaction, or each of its energies. They
        are the same between columns of two categories.
    symmetrize : {"mean", "min", "max"}, default="mean"
        How the estimates of an interaction by each of its columns are combined:
        their mean, the shortest (all must agree) or the longest.
    threshold : float or "auto", default="auto"
        Strength above which a pair of columns is an edge. "auto" is what independent
        columns reach at most, with probability ``1 - confidence``; pairs of columns
        with many or with rare categories need more, in proportion to their noise.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        "direct" is proximal Newton, "cvxpy" a general solver some hundred times slower
        to check it by, "auto" the direct one.
    tol : float, default=1e-8
        Tolerance of the stopping rule. Largest violation of the optimality conditions,
        relative to the gradient at zero.
    max_iter : int, default=50
        Maximum number of iterations. They are Newton steps of one node.
    refit : bool, default=False
        Whether the interactions of the graph are fitted again without a penalty, and
        all others are zero: unshrunk coefficients, for a graph that is trusted.
    categorical_features : array-like, "from_dtype" or None, default="from_dtype"
        Columns whose every value is a category, however many: a mask, numbers or
        names; "from_dtype" takes those of a categorical dtype. Strings and booleans
        always are.
    max_categories : int, default=30
        Other columns of strings have at most this many categories: the rarest share
        one, which goes by the name of its commonest member. Other columns of whole
        numbers with more distinct values are binned.
    n_bins : int, default=4
        Bins of a column of numbers that holds fractions, or too many distinct values:
        cut at quantiles, so that each holds about as many rows.
    handle_unknown : {"warn", "missing", "error"}, default="warn"
        Whether a category that was not there in fit is taken as missing, with a warning
        or in silence, or refused.
    n_imputations : int, default=5
        Completions drawn of each training row with missing cells, which share its
        weight.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They are threads over columns,
        which pay where the matrix products of one column take longer than a few
        hundredths of a second: many columns and many thousand distinct rows.
    verbose : int, default=0
        Verbosity level; 0 or False prints nothing. Otherwise one line per column is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It is used
        by :meth:`sample`, and by ``fit`` to complete missing cells.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column, sorted; for a binned column the medians of bins. A
        category that rare strings share comes last.
    bin_edges_ : list of ndarray or None
        Upper bounds of the bins but the last; None for a column that is not binned.
    marginals_ : list of ndarray
        Weighted frequencies of the categories.
    coef_ : ndarray of shape (n_features, n_features) or dict
        Pairwise couplings when no column has more than two categories, the first of
        which counts as -1 and the second as 1. Otherwise ``{(i, j): energies}`` with
        arrays of shape ``(n_categories_i, n_categories_j)`` whose rows and columns sum
        to zero.
    intercept_ : ndarray of shape (n_features,) or list of ndarray
        Fields: of the spins, or of each category.
    strength_ : ndarray of shape (n_features, n_features)
        Length of the strongest interaction of two columns: the absolute coupling of
        two binary columns, half the Frobenius norm of the energies of a pair.
    asymmetry_ : ndarray of shape (n_features, n_features)
        Length of the difference between the two estimates of each pair.
    adjacency_ : ndarray of bool of shape (n_features, n_features)
        The graph.
    threshold_ : float
        Strength above which a pair is an edge; where it was found automatically,
        that of a pair of columns with two equally frequent categories.
    penalty_strength_ : float
        Penalty on each interaction.
    gap_ : float
        Largest violation of the optimality conditions among the nodes.
    n_iter_ : int
        Newton steps of the slowest node.
    node_n_iter_ : ndarray of shape (n_features,)
        Newton steps of each node.
    interactions_ : DataFrame
        A row an interaction that is not zero: its columns, order, strength, signed
        coefficient (of binary columns) and whether it is above the threshold.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, when all are strings.

    See Also
    --------
    InteractionScreeningCV : Choose the penalty by cross-validation.
    InteractionGraphDisplay : Draw the graph.
    sklearn.covariance.GraphicalLasso : The same for Gaussian columns.

    Notes
    -----
    Node u minimises ``mean exp(-y' W z)`` plus the penalty, with y the contrasts of its
    category and z those of the other columns; with two categories y and z are spins and
    W is a row of couplings. The minimiser over infinitely many rows is the true model.
    Rows are gathered in a histogram first. Columns with one category take no part, with
    a warning. Columns that determine each other have no finite solution without a
    penalty (``alpha=0``): the fit stops where nothing is left to gain and warns.

    References
    ----------
    M. Vuffray, S. Misra, A. Y. Lokhov and M. Chertkov, "Interaction Screening:
    Efficient and Sample-Optimal Learning of Ising Models", NeurIPS 2016, arXiv
    1605.07252.
    M. Vuffray, S. Misra and A. Y. Lokhov, "Efficient Learning of Discrete Graphical
    Models", NeurIPS 2020, arXiv 1902.00600.
    A. Y. Lokhov, M. Vuffray, S. Misra and M. Chertkov, "Optimal structure and parameter
    learning of Ising models", Science Advances 4, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.density import InteractionScreening
    >>> rng = np.random.default_rng(0)
    >>> a = rng.integers(0, 2, 2000)
    >>> b = np.where(rng.uniform(size=2000) < 0.8, a, 1 - a)
    >>> c = np.where(rng.uniform(size=2000) < 0.8, b, 1 - b)
    >>> X = np.array(["no", "yes"], dtype=object)[np.column_stack([a, b, c])]
    >>> model = InteractionScreening().fit(X)
    >>> model.adjacency_.astype(int)
    array([[0, 1, 0],
           [1, 0, 1],
           [0, 1, 0]])
    >>> model.impute(np.array([["yes", None, "yes"]], dtype=object))
    array([['yes', 'yes', 'yes']], dtype=object)
    """

    _parameter_constraints = {
        **BaseScreening._parameter_constraints,
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        method="rise",
        *,
        order=2,
        alpha="auto",
        confidence=0.05,
        penalty="group",
        symmetrize="mean",
        threshold="auto",
        solver="auto",
        tol=1e-8,
        max_iter=50,
        refit=False,
        categorical_features="from_dtype",
        max_categories=30,
        n_bins=4,
        handle_unknown="warn",
        n_imputations=5,
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.method = method
        self.order = order
        self.alpha = alpha
        self.confidence = confidence
        self.penalty = penalty
        self.symmetrize = symmetrize
        self.threshold = threshold
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.refit = refit
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.n_bins = n_bins
        self.handle_unknown = handle_unknown
        self.n_imputations = n_imputations
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the interactions between the columns of a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of categories: strings, booleans, numbers. Cells may be missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        alpha = DEFAULT_ALPHA[self.method] if self.alpha == "auto" else self.alpha
        write = Progress(verbose=bool(self.verbose)).write
        state = self._conclude(self._learn(X, sample_weight), alpha, write)
        vars(self).update(state)
        return self


class InteractionScreeningCV(CallbackSupportMixin, BaseScreening):
    """Interaction screening with the penalty chosen by cross-validation.

    Each penalty is judged by the pseudo-likelihood of rows held out, which favours
    good conditionals: for completing tables and scoring rows. It keeps more weak
    interactions than a graph should show, and ``threshold`` removes them again.

    Parameters
    ----------
    method : {"rise", "logrise", "pseudolikelihood"}, default="rise"
        As in :class:`InteractionScreening`.
    alphas : int or array-like, default=8
        Penalties to try, or how many: then from 8 times the default of the method down
        to a sixteenth of it.
    cv : int, cross-validation generator or iterable, default=5
        Folds; an int makes consecutive ones without shuffling.
    order, confidence, penalty, symmetrize, threshold, solver, tol, max_iter : object
        As in :class:`InteractionScreening`.
    refit : bool, default=False
        As in :class:`InteractionScreening`; the penalty is chosen without it.
    categorical_features, max_categories, n_bins, handle_unknown, n_imputations : object
        As in :class:`InteractionScreening`.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. As in
        :class:`InteractionScreening`.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a
        warning. The folds that are complete choose the penalty; the limit does not
        count the last fit.
    verbose, random_state : object
        As in :class:`InteractionScreening`.

    Attributes
    ----------
    alpha_ : float
        Penalty of the best held-out score; the largest where several tie.
    cv_results_ : dict
        Arrays ``alpha``, ``mean_test_score``, ``std_test_score``, ``rank_test_score``
        and ``split0_test_score`` onwards, a place a penalty.
    stopped_ : str
        Why the search ended: ``"complete"``, ``"time"``, ``"callback"`` or
        ``"interrupted"``.
    categories_, bin_edges_, marginals_, coef_, intercept_, strength_ : object
        As in :class:`InteractionScreening`, fitted on all rows with ``alpha_``.
    asymmetry_, adjacency_, threshold_, penalty_strength_, gap_, n_iter_ : object
        As in :class:`InteractionScreening`.
    node_n_iter_, interactions_, n_features_in_, feature_names_in_ : object
        As in :class:`InteractionScreening`.

    See Also
    --------
    InteractionScreening : With a penalty given.

    Notes
    -----
    Within a fold all penalties are solved as one path, each started from the solution
    of the last. Categories and bins are learned on all rows.

    References
    ----------
    A. Y. Lokhov, M. Vuffray, S. Misra and M. Chertkov, "Optimal structure and parameter
    learning of Ising models", Science Advances 4, 2018, arXiv 1612.05024.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.density import InteractionScreeningCV
    >>> rng = np.random.default_rng(0)
    >>> a = rng.integers(0, 2, 500)
    >>> X = np.column_stack([a, a ^ (rng.uniform(size=500) < 0.1), 1 - a, a])
    >>> X[:, 2:] = rng.integers(0, 2, (500, 2))
    >>> model = InteractionScreeningCV(alphas=[0.1, 0.4, 1.6]).fit(X)
    >>> len(model.cv_results_["mean_test_score"])
    3
    """

    _parameter_constraints = {
        **BaseScreening._parameter_constraints,
        "alphas": ["array-like", Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        method="rise",
        *,
        alphas=8,
        cv=5,
        order=2,
        confidence=0.05,
        penalty="group",
        symmetrize="mean",
        threshold="auto",
        solver="auto",
        tol=1e-8,
        max_iter=50,
        refit=False,
        categorical_features="from_dtype",
        max_categories=30,
        n_bins=4,
        handle_unknown="warn",
        n_imputations=5,
        n_jobs=None,
        time_limit=None,
        verbose=0,
        random_state=None,
    ):
        self.method = method
        self.alphas = alphas
        self.cv = cv
        self.order = order
        self.confidence = confidence
        self.penalty = penalty
        self.symmetrize = symmetrize
        self.threshold = threshold
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.refit = refit
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.n_bins = n_bins
        self.handle_unknown = handle_unknown
        self.n_imputations = n_imputations
        self.n_jobs = n_jobs
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Choose the penalty and fit with it on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of categories; cells may be missing.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in fitting and in scoring.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        alphas = self._grid()
        learned = self._learn(X, sample_weight)
        splits = self._splits(learned.counted)
        if not all(len(part) for split in splits for part in split):
            raise ValueError("A fold of cv has no row of positive weight.")
        scores = []
        with watch(self, X, max_iter=len(splits), unit="Fold") as guard:
            with guard.interruptible(lambda: bool(scores)):
                for k in guard.iterations(len(splits)):
                    scores.append(self._score_path(learned, alphas, *splits[k]))
                    if guard.step(score=float(max(scores[-1]))):
                        break
            mean = np.mean(scores, axis=0)
            best = int(np.argmax(mean))
            state = self._conclude(learned, alphas[best], guard.write)
        results = {
            "alpha": alphas,
            "mean_test_score": mean,
            "std_test_score": np.std(scores, axis=0),
            "rank_test_score": np.array([1 + int(np.sum(mean > m)) for m in mean]),
        }
        for k, row in enumerate(scores):
            results[f"split{k}_test_score"] = np.array(row)
        # all folds are in: nothing was cut short
        whole = len(scores) == len(splits)
        stopped = "complete" if whole else guard.reason("complete")
        vars(self).update(
            state, alpha_=float(alphas[best]), cv_results_=results, stopped_=stopped
        )
        if stopped == "time":
            warnings.warn(
                f"InteractionScreeningCV reached time_limit={self.time_limit} after "
                f"{len(scores)} of {len(splits)} folds; they choose the penalty.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _splits(self, counted):
        """Folds, as places among the rows of positive weight."""
        folds = check_cv(self.cv)
        if (
            self.cv is None
            or isinstance(self.cv, Integral)
            or hasattr(self.cv, "split")
        ):
            return list(folds.split(np.empty((counted.sum(), 1))))
        # given as indices, folds are of all rows: those without weight are passed over
        place = np.where(counted, np.cumsum(counted) - 1, -1)
        return [
            [part[part >= 0] for part in (place[train], place[test])]
            for train, test in folds.split(np.empty((len(place), 1)))
        ]

    def _grid(self):
        """Penalties, the largest first."""
        if isinstance(self.alphas, Integral):
            default = DEFAULT_ALPHA[self.method]
            return np.geomspace(8 * default, default / 16, self.alphas)
        alphas = np.asarray(self.alphas, dtype=np.float64)
        fine = alphas.ndim == 1 and alphas.size and np.isfinite(alphas).all()
        if not fine or (alphas < 0).any():
            raise ValueError(
                "alphas must be a number of penalties, or a list of finite penalties "
                f"that are not negative. Got {self.alphas!r} instead."
            )
        return np.unique(alphas)[::-1]

    def _score_path(self, learned, alphas, train, test):
        """Held-out pseudo-log-likelihood of every penalty in one fold."""
        marginals, settings = learned.state["marginals_"], self._settings()
        sizes = [len(share) for share in marginals]
        table = Table(learned.codes[train], learned.weight[train], sizes)
        table, _ = self._fill(table, marginals, DEFAULT_ALPHA[self.method])
        solved = solve_nodes(table, alphas, settings)
        scores = []
        for k in range(len(alphas)):
            model = model_of(solved, k, settings)
            logs = cell_log_likelihood(model, learned.codes[test]).sum(axis=1)
            scores.append(float(np.average(logs, weights=learned.weight[test])))
        return scores
