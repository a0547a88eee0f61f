"""Networks of Gaussian bases that learn which directions matter."""

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import StrOptions, fit_context
from skdiff._base.rows import (
    checked_table,
    class_weighted,
    column_statistics,
)
from skdiff.neural_network._grbf._base import BaseGRBF
from skdiff.neural_network._grbf._losses import CrossEntropy, Squares


class GRBFRegressor(RegressorMixin, BaseGRBF):
    """Fit a smooth function and the few directions it varies in.

    A sum of Gaussian bumps that share one precision matrix; matrix and weights are
    fitted together, so the same fit predicts, ranks the columns and projects the rows
    on the directions that matter. Use it on a few hundred to a few thousand rows with
    a smooth target that varies in few directions. On other tables try gradient
    boosting or :class:`~sklearn.kernel_ridge.KernelRidge` first.

    Parameters
    ----------
    n_centers : int or "auto", default="auto"
        Number of radial basis functions. ``"auto"`` is a quarter of the distinct rows,
        at most 128 (32 with a given ``alpha_weights``), to learn the precision matrix;
        if ``alpha_weights`` is ``"auto"`` too and the centres are neither given nor
        learned, up to 3000 rows learn the precision matrix and the function is then
        fitted anew with up to 1024 rows as centres, or up to 8192 where several widths
        are chosen. More than there are distinct rows is cut to those.
    rank : int, default=None
        Directions the precision matrix may use with ``covariance_type="full"``; None
        is all of them. Lower is faster on high-dimensional X and forces a projection.
    learn_centers : bool, default=False
        Move the centres too. It takes longer, and pays where the target varies in few
        directions; ``alpha_centers`` holds them near their start.
    alpha_precision : float or "auto", default="auto"
        Penalty on the trace of the precision matrix, the parameter that matters most:
        it drives the eigenvalues of useless directions to zero. Larger is smoother and
        of lower rank. ``"auto"`` takes, with ``alpha_weights="auto"``, the largest of
        1, 0.1, 0.01 and 0.001 whose validation error is near the lowest, and else 0.01.
    alpha_weights : float or "auto", default="auto"
        Ridge penalty on the weights of the basis functions. Larger is smoother.
        ``"auto"`` learns it together with the precision matrix by the leave-one-out
        error in closed form, at no less than 1e-6; beyond 20 000 distinct rows it is
        0.001. With rows as centres the penalty is instead on ``w' K w``, the norm of
        the function, and has the lowest leave-one-out error.
    alpha_centers : float, default=1e-4
        Penalty on the squared distance of learned centres from their start.
    covariance_type : {"full", "diag", "spherical"}, default="full"
        Shape of the precision matrix. ``"diag"`` is one length scale a column, as in
        automatic relevance determination.
    centers_init : {"kmeans", "random"} or array-like of shape (n_centers, \
n_features), default="kmeans"
        Centres: means of clusters, rows at random, or an array in the units of X.
    solver : {"auto", "lbfgs", "adam"}, default="auto"
        ``"lbfgs"`` minimises over all rows. ``"adam"`` takes steps on batches of 256
        rows and solves for the weights after every epoch; it is less exact and scales
        to large tables. ``"auto"`` takes it beyond 20 000 distinct rows.
    max_iter : int, default=200
        Maximum number of iterations. They are steps of L-BFGS, or epochs of Adam.
    tol : float, default=1e-6
        Tolerance of the stopping rule. Training stops when an iteration, or ten epochs
        of Adam, lowers the objective by less than this fraction.
    n_init : int or "auto", default="auto"
        Starts, with other centres and other scales; the lowest objective is kept.
        ``"auto"`` is 2 for at most 500 distinct rows and else 1.
    importance : {"gradient", "spectral", "diag"}, default="gradient"
        What ``feature_importances_`` measures: the mean absolute slope over the
        training rows (2048 of them where more are centres), eigenvalues times absolute
        entries of eigenvectors, or the diagonal of the precision matrix. The last two
        tell where the function bends: a column of linear effect counts for little. The
        second is ill-defined where eigenvalues tie.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. Without it a
        column in small units counts for little.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the objective of every
        iteration is printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial clusters, further starts and the order of the batches.

    Attributes
    ----------
    centers_ : ndarray of shape (n_centers, n_features)
        Centres, in the units of X.
    widths_ : ndarray of shape (n_widths,)
        A basis function is the mean of bumps with these multiples of ``precision_``,
        weighed by one over their roots: 1, or, where the default fit takes several,
        1/4, 1, 4, ..., 1024.
    precision_ : ndarray of shape (n_features, n_features)
        Precision matrix shared by all centres, on standardised columns.
    precision_factor_ : ndarray of shape (n_features, rank)
        Factor whose product with its transpose is ``precision_``.
    eigenvalues_ : ndarray of shape (rank,)
        Eigenvalues of the precision matrix, descending.
    components_ : ndarray of shape (rank, n_features)
        Its eigenvectors as rows, on standardised columns; the largest entry of each
        is positive.
    explained_precision_ratio_ : ndarray of shape (rank,)
        Eigenvalues divided by their sum.
    center_weights_ : ndarray of shape (n_centers,) or (n_outputs, n_centers)
        Weights of the basis functions, in the units of the target.
    intercept_ : float or ndarray of shape (n_outputs,)
        Value far from all centres.
    alpha_precision_ : float
        Penalty on the precision matrix that was used.
    alpha_weights_ : float
        Penalty on the weights of the basis functions, or on the norm of the function,
        that was used.
    feature_importances_ : ndarray of shape (n_features,)
        Importance of each standardised column, in total one, by the measure
        ``importance`` names.
    mean_ : ndarray of shape (n_features,)
        What was taken off each column.
    scale_ : ndarray of shape (n_features,)
        What each column was divided by.
    objective_ : float
        Penalised loss that was reached, before rows became centres.
    loss_curve_ : list of float
        Penalised loss after each iteration.
    n_iter_ : int
        Iterations taken.
    stopped_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"time"`` or
        ``"interrupted"``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has names.

    See Also
    --------
    GRBFClassifier : The same for labels.
    ActiveSubspaceTransformer : The projection as a step of a pipeline.
    sklearn.gaussian_process.GaussianProcessRegressor : With one length scale a column
        often more accurate below 2000 rows, at a cost cubic in the rows.

    Notes
    -----
    The objective is the weighted mean of squared errors on standardised targets (summed
    over outputs) plus ``alpha_precision * tr(P) + alpha_weights * |w|^2`` and, for
    learned centres, ``alpha_centers`` times their squared distance from the start. For
    given ``P`` the weights are a ridge regression, so only the factor of ``P`` is left
    to L-BFGS (variable projection). The paper penalises norms that are not squared,
    has no intercept and trains everything by Adam from ``P`` of trace
    ``d (d + 1) / 2``; on high-dimensional X that start is flat.

    By default the function is fitted anew, in the learned metric or in one with a floor
    under its eigenvalues: a kernel ridge regression on rows as centres, of one width or
    the mean of seven, by the leave-one-out error. Predictions far from the training
    rows are not bounded by that.

    Equal rows are merged and sorted first: neither the order of the rows nor the way
    a weight is written changes the result.

    References
    ----------
    D. D'Agostino, I. Ilievski and C. A. Shoemaker, "Learning Active Subspaces and
    Discovering Important Features with Gaussian Radial Basis Functions Neural
    Networks", Neural Networks 176, 106335 (2024), arXiv 2307.05639.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.neural_network import GRBFRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5))
    >>> y = np.sin(X[:, 0] + X[:, 1])
    >>> model = GRBFRegressor(random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.98
    True
    >>> np.sort(model.feature_importances_.argsort()[-2:])
    array([0, 1])
    """

    _target_checks = {"multi_output": True, "y_numeric": True}

    def __init__(
        self,
        n_centers="auto",
        *,
        rank=None,
        learn_centers=False,
        alpha_precision="auto",
        alpha_weights="auto",
        alpha_centers=1e-4,
        covariance_type="full",
        centers_init="kmeans",
        solver="auto",
        max_iter=200,
        tol=1e-6,
        n_init="auto",
        importance="gradient",
        standardize=True,
        time_limit=None,
        verbose=False,
        random_state=None,
    ):
        self.n_centers = n_centers
        self.rank = rank
        self.learn_centers = learn_centers
        self.alpha_precision = alpha_precision
        self.alpha_weights = alpha_weights
        self.alpha_centers = alpha_centers
        self.covariance_type = covariance_type
        self.centers_init = centers_init
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.importance = importance
        self.standardize = standardize
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice, one
            of weight zero as absent.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = checked_table(self, X, y, sample_weight, **self._target_checks)
        Y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        single = y.ndim == 1
        self._fit_numbers((X, y, weight), Y, weight, Squares(), _one_column=single)
        W, b = self._state["W"], self._state["b"]
        self.center_weights_ = W[:, 0] if single else W.T
        self.intercept_ = float(b[0]) if single else b
        return self

    def _target_columns(self, Y, s):
        return column_statistics(Y, s)

    def predict(self, X):
        """Predict the value of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values in the units of the training targets.
        """
        F = self._output(X)
        return F[:, 0] if self._one_column else F

    def __sklearn_tags__(self):
        """Say that several outputs are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class GRBFClassifier(ClassifierMixin, BaseGRBF):
    """Fit a smooth boundary and the few directions it varies in.

    The log odds are a sum of Gaussian bumps that share one precision matrix; matrix and
    weights are fitted together, so the same fit predicts, ranks the columns and
    projects the rows. Use it on a few hundred to a few thousand rows with smooth
    boundaries; on large or noisy tables with many useless columns gradient boosting is
    the thing to beat.

    Parameters
    ----------
    n_centers : int or "auto", default="auto"
        Number of radial basis functions. ``"auto"`` is a quarter of the distinct rows,
        at most 32. More than a third of the rows overfits; more than there are
        distinct rows is cut to those.
    rank : int, default=None
        Directions the precision matrix may use with ``covariance_type="full"``; None
        is all of them. Lower is faster on high-dimensional X and forces a projection.
    learn_centers : bool, default=False
        Move the centres too. It takes longer, and pays where the target varies in few
        directions; ``alpha_centers`` holds them near their start.
    alpha_precision : float or "auto", default="auto"
        Penalty on the trace of the precision matrix, the parameter that matters most:
        it drives the eigenvalues of useless directions to zero. Larger is smoother and
        of lower rank; at 0.1 and above small effects are lost. ``"auto"`` is 0.01.
    alpha_weights : float or "auto", default="auto"
        Ridge penalty on the weights of the basis functions. Larger is smoother.
        ``"auto"`` is 0.001.
    alpha_centers : float, default=1e-4
        Penalty on the squared distance of learned centres from their start.
    covariance_type : {"full", "diag", "spherical"}, default="full"
        Shape of the precision matrix. ``"diag"`` is one length scale a column, as in
        automatic relevance determination.
    centers_init : {"kmeans", "random"} or array-like of shape (n_centers, \
n_features), default="kmeans"
        Centres: means of clusters, rows at random, or an array in the units of X.
    solver : {"auto", "lbfgs", "adam"}, default="auto"
        ``"lbfgs"`` minimises over all rows. ``"adam"`` takes steps on batches of 256
        rows and solves for the weights after every epoch; it is less exact and scales
        to large tables. ``"auto"`` takes it beyond 20 000 distinct rows.
    max_iter : int, default=200
        Maximum number of iterations. They are steps of L-BFGS, or epochs of Adam.
    tol : float, default=1e-6
        Tolerance of the stopping rule. Training stops when an iteration, or ten epochs
        of Adam, lowers the objective by less than this fraction.
    n_init : int or "auto", default="auto"
        Starts, with other centres and other scales; the lowest objective is kept. One
        start alone can miss an interaction of two columns among many. ``"auto"`` is 4.
    importance : {"gradient", "spectral", "diag"}, default="gradient"
        What ``feature_importances_`` measures: the mean absolute slope over the
        training rows, eigenvalues times absolute entries of eigenvectors, or the
        diagonal of the precision matrix. The last two tell where the function bends: a
        column of linear effect counts for little. The second is ill-defined where
        eigenvalues tie.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside. Without it a
        column in small units counts for little.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the objective of every
        iteration is printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial clusters, further starts and the order of the batches.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    centers_ : ndarray of shape (n_centers, n_features)
        Centres, in the units of X.
    widths_ : ndarray of shape (n_widths,)
        Multiples of ``precision_`` that the basis functions have: 1.
    precision_ : ndarray of shape (n_features, n_features)
        Precision matrix shared by all centres, on standardised columns.
    precision_factor_ : ndarray of shape (n_features, rank)
        Factor whose product with its transpose is ``precision_``.
    eigenvalues_ : ndarray of shape (rank,)
        Eigenvalues of the precision matrix, descending.
    components_ : ndarray of shape (rank, n_features)
        Its eigenvectors as rows, on standardised columns; the largest entry of each
        is positive.
    explained_precision_ratio_ : ndarray of shape (rank,)
        Eigenvalues divided by their sum.
    center_weights_ : ndarray of shape (1, n_centers) or (n_classes, n_centers)
        Weights of the basis functions: of the log odds of ``classes_[1]``, or of one
        logit per class.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Logits far from all centres.
    alpha_precision_ : float
        Penalty on the precision matrix that was used.
    alpha_weights_ : float
        Penalty on the weights of the basis functions that was used.
    feature_importances_ : ndarray of shape (n_features,)
        Importance of each standardised column, in total one, by the measure
        ``importance`` names.
    mean_ : ndarray of shape (n_features,)
        What was taken off each column.
    scale_ : ndarray of shape (n_features,)
        What each column was divided by.
    objective_ : float
        Penalised loss that was reached.
    loss_curve_ : list of float
        Penalised loss after each iteration.
    n_iter_ : int
        Iterations taken.
    stopped_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"time"`` or
        ``"interrupted"``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has names.

    See Also
    --------
    GRBFRegressor : The same for numbers.
    ActiveSubspaceTransformer : The projection as a step of a pipeline.
    sklearn.neighbors.NeighborhoodComponentsAnalysis : A linear projection for nearest
        neighbours.

    Notes
    -----
    The objective is the weighted mean of the log loss plus ``alpha_precision * tr(P) +
    alpha_weights * |w|^2`` (and ``alpha_centers`` times the squared distance of learned
    centres from their start). For given ``P`` the weights are a penalised logistic
    regression, solved by Newton's method from the last solution; with very many classes
    and centres L-BFGS moves the weights along with the matrix instead. See
    :class:`GRBFRegressor` for where this differs from the paper.

    References
    ----------
    D. D'Agostino, I. Ilievski and C. A. Shoemaker, "Learning Active Subspaces and
    Discovering Important Features with Gaussian Radial Basis Functions Neural
    Networks", Neural Networks 176, 106335 (2024), arXiv 2307.05639.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skdiff.neural_network import GRBFClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = GRBFClassifier(n_centers=12, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.97
    True
    >>> model.transform(X, n_components=2).shape
    (178, 2)
    """

    _parameter_constraints = {
        **BaseGRBF._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        n_centers="auto",
        *,
        rank=None,
        learn_centers=False,
        alpha_precision="auto",
        alpha_weights="auto",
        alpha_centers=1e-4,
        covariance_type="full",
        centers_init="kmeans",
        solver="auto",
        max_iter=200,
        tol=1e-6,
        n_init="auto",
        importance="gradient",
        standardize=True,
        class_weight=None,
        time_limit=None,
        verbose=False,
        random_state=None,
    ):
        self.n_centers = n_centers
        self.rank = rank
        self.learn_centers = learn_centers
        self.alpha_precision = alpha_precision
        self.alpha_weights = alpha_weights
        self.alpha_centers = alpha_centers
        self.covariance_type = covariance_type
        self.centers_init = centers_init
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.importance = importance
        self.standardize = standardize
        self.class_weight = class_weight
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice, one
            of weight zero as absent.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X, y, weight = checked_table(self, X, y, sample_weight)
        check_classification_targets(y)
        X, y, weight = class_weighted(X, y, weight, self.class_weight)
        given = X, y, weight
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 3:
            Y = (codes[:, None] == len(classes) - 1).astype(np.float64)
        else:
            Y = np.eye(len(classes))[codes]
        # with one class there is nothing to learn but a constant
        loss = CrossEntropy() if len(classes) > 1 else Squares()
        self._fit_numbers(given, Y, weight, loss, classes_=classes)
        self.center_weights_ = self._state["W"].T
        self.intercept_ = self._state["b"]
        return self

    def decision_function(self, X):
        """Return the margin of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log odds of ``classes_[1]``, or one logit per class for three and more.
        """
        F = self._output(X)
        return F[:, 0] if F.shape[1] == 1 else F

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow ``classes_``.
        """
        decision = self.decision_function(X)
        if len(self.classes_) == 1:
            return np.ones((len(decision), 1))
        if decision.ndim == 1:
            return np.column_stack([expit(-decision), expit(decision)])
        return softmax(decision, axis=1)

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels, of the kind given to ``fit``.
        """
        decision = self.decision_function(X)
        if decision.ndim == 2:
            return self.classes_[decision.argmax(axis=1)]
        return self.classes_[(decision > 0).astype(int) * (len(self.classes_) > 1)]
