"""EL2N and GraNd: select rows by the size of their error or of their gradient."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import check_array, check_random_state

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import is_frozen, whole_fit
from skdiff._base.parameters import COUNT
from skdiff.data_selection._base import (
    BaseSampleSelector,
    require_classes,
    require_classes_in_fold,
    splits_of,
    take,
)
from skdiff.data_selection._choice import middle_values, without_hardest
from skdiff.data_selection._difficulty._gradients import (
    linear_gradient_norms,
    network_gradient_norms,
    row_squares,
)
from skdiff.data_selection._models._base import (
    default_network,
    fit_model,
    residuals,
    split_pipeline,
)


class DifficultySelector(BaseSampleSelector):
    """Average a score over models, each of which scores rows it has not seen."""

    _parameter_constraints = {
        **BaseSampleSelector._parameter_constraints,
        "estimator": [HasMethods("fit"), None],
        "max_iter": COUNT,
        "n_models": [Interval(Integral, 1, None, closed="left")],
        "keep": [StrOptions({"hard", "easy", "middle"})],
        "offset": [Interval(Real, 0, 1, closed="left")],
        "cv": ["cv_object", None],
    }

    def __init__(
        self,
        estimator=None,
        max_iter=10,
        n_models=5,
        keep="hard",
        offset=0.0,
        cv=5,
        *,
        n_select=0.5,
        balance=None,
        strategy="top",
        random_state=None,
    ):
        self.estimator = estimator
        self.max_iter = max_iter
        self.n_models = n_models
        self.keep = keep
        self.offset = offset
        self.cv = cv
        self.n_select = n_select
        self.balance = balance
        self.strategy = strategy
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Score the rows and select some.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to choose from, as the estimator takes them.
        y : array-like of shape (n_samples,)
            Their classes, or numbers for a regressor.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in training. A row of weight zero is absent: its score
            is NaN, and it is never selected.

        Returns
        -------
        self : object
            Fitted selector.
        """
        with whole_fit(self):
            X, target, weight = self._check(X, y, sample_weight)
            require_classes(target)
            n = len(target.values)
            X, target, weight, kept = self._present(X, target, weight)
            rng = check_random_state(self.random_state)
            scores = self._scores(X, target, weight, self._folds(kept), rng)
            if not np.all(np.isfinite(scores)):
                raise ValueError(
                    "The scores are not finite: the model overflows on X. Rescale the "
                    "columns of X."
                )
            values = {"hard": scores, "easy": -scores}.get(self.keep)
            if values is None:
                left = without_hardest(scores, scores, self.offset)
                values = middle_values(left)
            else:
                values = without_hardest(values, scores, self.offset)
            self._select(scores, values, target, rng)
            self._restore(kept, n)
        return self

    def _worst_are_large(self):
        return True

    def _scores(self, X, target, weight, cv, rng):
        """Mean score of each row over models."""
        estimator = self.estimator
        if estimator is None:
            estimator = default_network(
                target.classes, self.max_iter, len(target.values)
            )
        if is_frozen(estimator):
            return self._row_scores(fit_model(estimator, X, target), X, target)
        if cv is None:
            warnings.warn(
                "With cv=None rows are scored by models that were fitted to them, "
                "which hides wrong labels once they are memorised. Pass cv=5 for "
                "out-of-fold scores.",
                UserWarning,
                stacklevel=4,
            )
        total = np.zeros(len(target.values))
        for _ in range(self.n_models):
            everything = np.arange(len(total))
            pairs = (
                [(everything, everything)]
                if cv is None
                else splits_of(cv, X, target, rng)
            )
            for train, test in pairs:
                w = None if weight is None else weight[train]
                model = self._trained(
                    estimator, take(X, train), target.take(train), w, rng
                )
                total[test] += self._row_scores(model, take(X, test), target.take(test))
        return total / self.n_models

    def _trained(self, estimator, X, target, weight, rng):
        require_classes_in_fold(target)
        return fit_model(
            estimator, X, target, weight=weight, n_passes=self.max_iter, rng=rng
        )


class EL2NSelector(DifficultySelector):
    """Select the rows that short training leaves with the largest errors.

    The score of a row is the norm of predicted probabilities minus its class, averaged
    over models. Drop the easy rows to train on fewer; look at the hardest rows to find
    wrong labels. On tables with many wrong labels keep the middle, or pass over the
    hardest with ``offset``; where labels are right and rows are few, random rows are
    often as good (see the user guide).

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with ``predict_proba``, or a regressor, whose score is the absolute
        error. None is a network with one hidden layer on standardised columns.
    max_iter : int, default=10
        Maximum number of iterations. Passes of the default network, or calls of
        ``partial_fit``; any other estimator is fitted as it is. Long training
        memorises wrong labels and hides them.
    n_models : int, default=5
        Number of models, from different seeds and folds, whose scores are averaged.
    keep : {"hard", "easy", "middle"}, default="hard"
        Which rows are selected. Higher scores are harder.
    offset : float, default=0.0
        Fraction of the hardest rows that is passed over before keeping.
    cv : int, splitter, iterable or None, default=5
        Folds, so that each row is scored by models that have not seen it. None scores
        the rows that were used to fit, and warns.
    n_select : int or float, default=0.5
        Number of rows to select, or their fraction.
    balance : {"class"} or None, default=None
        ``"class"`` keeps the proportions of the classes, at least one row per class.
        With None a selection that loses a class raises.
    strategy : {"top", "sample"}, default="top"
        Whether the first rows by score are selected, or a sample without replacement
        in which one standard deviation of the score multiplies the weight by e.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Scores; higher is harder.
    support_ : ndarray of bool of shape (n_samples,)
        Which rows are selected.
    sample_indices_ : ndarray of shape (n_selected,)
        Their row numbers, sorted.
    n_selected_ : int
        How many.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    GraNdSelector : By the norm of the gradient, which large inputs raise too.
    SelectedFit : Select, then fit, inside a pipeline or a search.

    Notes
    -----
    The published score is that of rows used to fit, after 10 to 20 passes over images.
    Out-of-fold scores are the default here: on tables small networks memorise early.
    The default network costs ``n_models * cv`` short fits.

    References
    ----------
    M. Paul, S. Ganguli and G. K. Dziugaite, "Deep Learning on a Data Diet: Finding
    Important Examples Early in Training", NeurIPS 2021, arXiv 2107.07075.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.data_selection import EL2NSelector
    >>> X, y = load_iris(return_X_y=True)
    >>> y[0] = 2  # a wrong label
    >>> selector = EL2NSelector(LogisticRegression(max_iter=1000), random_state=0)
    >>> int(np.argmax(selector.fit(X, y).scores_))
    0
    """

    def _row_scores(self, model, X, target):
        return np.sqrt(row_squares(residuals(model, X, target, "EL2N")))


class GraNdSelector(DifficultySelector):
    """Select the rows whose loss has the largest gradient in the parameters.

    Like :class:`EL2NSelector`, but the error of a row is multiplied by the size of what
    the layers see: rows far from the others count more. The norms are exact and cost
    one forward and one backward pass for all rows together.

    Parameters
    ----------
    estimator : estimator, default=None
        A linear model with ``coef_`` (``predict_proba`` for classes), or scikit-learn's
        ``MLPClassifier`` or ``MLPRegressor``, alone or at the end of a pipeline. None
        is a network with one hidden layer on standardised columns.
    max_iter : int, default=10
        Maximum number of iterations. Passes of the default network, or calls of
        ``partial_fit``; any other estimator is fitted as it is.
    n_models : int, default=5
        Number of models, from different seeds and folds, whose scores are averaged.
    keep : {"hard", "easy", "middle"}, default="hard"
        Which rows are selected. Higher scores are harder.
    offset : float, default=0.0
        Fraction of the hardest rows that is passed over before keeping.
    cv : int, splitter, iterable or None, default=5
        Folds, so that each row is scored by models that have not seen it. None scores
        the rows that were used to fit, and warns.
    n_select : int or float, default=0.5
        Number of rows to select, or their fraction.
    balance : {"class"} or None, default=None
        ``"class"`` keeps the proportions of the classes, at least one row per class.
        With None a selection that loses a class raises.
    strategy : {"top", "sample"}, default="top"
        Whether the first rows by score are selected, or a sample without replacement
        in which one standard deviation of the score multiplies the weight by e.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Gradient norms; higher is harder.
    support_ : ndarray of bool of shape (n_samples,)
        Which rows are selected.
    sample_indices_ : ndarray of shape (n_selected,)
        Their row numbers, sorted.
    n_selected_ : int
        How many.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    EL2NSelector : By the size of the error alone.
    gradient_norms : The norms for a torch module.

    Notes
    -----
    The gradient is that of the log loss, or of half the squared error, in all weights
    and intercepts; for a linear model it is ``|p - y| sqrt(|x|^2 + 1)`` with x as the
    last step of a pipeline sees it. Two classes with one row of coefficients have one
    log odds, so ``|p - y|`` is that of the second class. Penalties have no part in it.
    The paper computes the score at initialisation; ``max_iter=1`` is next to it.

    References
    ----------
    M. Paul, S. Ganguli and G. K. Dziugaite, "Deep Learning on a Data Diet: Finding
    Important Examples Early in Training", NeurIPS 2021, arXiv 2107.07075.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skdiff.data_selection import GraNdSelector
    >>> X, y = load_iris(return_X_y=True)
    >>> selector = GraNdSelector(
    ...     LogisticRegression(max_iter=1000), n_select=30, balance="class"
    ... )
    >>> X_hard, y_hard = selector.fit_resample(X, y)
    >>> X_hard.shape
    (30, 4)
    """

    def _row_scores(self, model, X, target):
        return model_gradient_norms(model, X, target)


def model_gradient_norms(model, X, target):
    """Gradient norms of the rows for a fitted linear model or network."""
    delta = residuals(model, X, target, "GraNd")
    last, Z = split_pipeline(model, X)
    network = isinstance(last, MLPClassifier | MLPRegressor)
    if not network and not hasattr(last, "coef_"):
        raise ValueError(
            f"GraNd knows no gradient of {type(last).__name__}. Use a linear model, "
            "MLPClassifier or MLPRegressor, or EL2NSelector, which needs none; for a "
            "torch module call skdiff.data_selection.gradient_norms."
        )
    if not issparse(Z):  # the last bit depends on the order in memory
        Z = np.ascontiguousarray(Z, dtype=np.float64)
    one_output = (
        last.n_outputs_ if network else np.atleast_2d(last.coef_).shape[0]
    ) == 1
    if target.classes is not None and one_output:
        delta = delta[:, -1:]  # two classes have one log odds
    elif target.classes is not None:  # a class the model has not seen has no output
        delta = delta[:, np.isin(target.classes, last.classes_)]
    if not network:
        return linear_gradient_norms(Z, delta)
    weights = [np.asarray(W, dtype=np.float64) for W in last.coefs_]
    return network_gradient_norms(Z, delta, weights, last.intercepts_, last.activation)


def gradient_norms(module, X, y):
    """Return the norm of each row's cross-entropy gradient in a module's parameters.

    Exact, for all rows together at the price of one forward and one backward pass: the
    gradient of a linear layer from one row has rank one, so its norm is a product of
    two norms.

    Parameters
    ----------
    module : torch.nn.Module
        Linear layers, with functions between them that treat rows one by one. It is
        evaluated as in ``eval()`` and left as it was. One output is the log odds of
        class 1; several are logits of the classes.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Codes of their classes, from 0.

    Returns
    -------
    norms : ndarray of shape (n_samples,)
        Norms of the gradients of each row's loss.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from skdiff.data_selection import gradient_norms
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> gradient_norms(module, np.ones((5, 4)), [0, 1, 2, 0, 1]).shape
    (5,)
    """
    from skdiff.data_selection._difficulty._torch_gradients import (
        module_gradient_norms,
    )

    X = check_array(X, dtype=np.float64)
    y = check_array(y, ensure_2d=False, dtype=np.int64)
    if y.shape != (len(X),) or (len(y) and y.min() < 0):
        raise ValueError(
            f"y must hold {len(X)} codes of classes, from 0. Got shape {y.shape}."
        )
    return module_gradient_norms(module, X, y)
