"""Shallow networks grown by boosting and exported as plain ones."""

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.multiclass import check_classification_targets

from skdiff._base.compat import fit_context
from skdiff._base.rows import (
    checked_table,
    column_statistics,
    merge_rows,
)
from skdiff.neural_network._gbnn import _solver as solver
from skdiff.neural_network._gbnn._base import BaseGBNN


class GBNNRegressor(RegressorMixin, BaseGBNN):
    """Grow a network with one hidden layer by boosting, to predict numbers.

    Each step fits a few hidden units to what the network still gets wrong. The result
    is one ordinary network that can be truncated after any step: choose the size
    afterwards with :meth:`staged_predict`, keep it with :meth:`prune`, hand it on with
    :meth:`to_mlp`. Use it when a small network must be deployed or when the settings of
    a network are not worth a search. For accuracy alone try gradient boosting of trees
    first.

    Parameters
    ----------
    n_hidden : int, default=200
        Units of the hidden layer in the end.
    units_per_step : int, default=1
        Units fitted together in one step of boosting. More capture interactions that
        single units miss, at more cost a step.
    learning_rate : float, default=0.1
        Shrinkage of each step, as in gradient boosting. 1 overfits regressions badly;
        smaller needs more units.
    subsample : float, default=0.5
        Fraction of the distinct rows each step is fitted to, drawn without replacement.
        Where fewer than 50 would be drawn, all rows are used.
    max_iter : int, default=200
        Maximum number of iterations. They are steps of L-BFGS within one boosting step;
        most need far fewer.
    alpha : float, default=1e-4
        L2 penalty: ``alpha / 2`` times the squared weights of a step's units, on
        standardised columns and residuals.
    n_iter_no_change : int, default=None
        Number of iterations without progress before training stops. Progress is a
        better loss on a validation set; the steps up to the best are kept. None takes
        all steps and needs no validation set.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``n_iter_no_change``
        and counts distinct rows; with fewer than ten in the set all steps are taken.
    tol : float, default=1e-4
        Tolerance of the stopping rule. Fraction of the validation loss below which a
        gain is no progress.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every step is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial units, the rows of each step and the validation set.

    Attributes
    ----------
    coefs_ : list of two ndarrays
        Weights into the hidden units, of shape (n_features, n_units), and out of them,
        of shape (n_units, n_outputs), for rows as they come.
    intercepts_ : list of two ndarrays
        Biases of the hidden units and of the outputs.
    step_sizes_ : ndarray of shape (n_steps,)
        Step size of each block, shrinkage included.
    train_score_ : ndarray of shape (n_steps,)
        Loss of the training rows after each step: the mean squared error.
    validation_score_ : ndarray of shape (n_steps,) or None
        The same on the held-out rows, if there are any.
    n_iter_ : int
        Steps in the network.
    n_hidden_ : int
        Units in the network.
    stopped_ : str
        Why growth ended: ``"n_hidden"``, ``"converged"`` (on the hold-out),
        ``"perfect"`` (nothing left to fit), ``"time"`` or ``"interrupted"``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has names.

    See Also
    --------
    GBNNClassifier : The same for labels.
    sklearn.neural_network.MLPRegressor : A network trained all at once.
    sklearn.ensemble.GradientBoostingRegressor : Boosted trees.

    Notes
    -----
    The units of a step are fitted by L-BFGS while the output weights are solved for
    (variable projection) and not refined: later steps make up for it. Columns and
    targets are standardised inside and the scaling is folded into the weights, so rows
    go in as they come. Equal rows are merged and sorted first: neither the order of the
    rows nor the way a weight is written changes the result. The authors' code neither
    scales nor shrinks (``learning_rate=1``), which overfits regressions.

    References
    ----------
    S. Emami and G. Martínez-Muñoz, "Sequential Training of Neural Networks with
    Gradient Boosting", IEEE Access 11 (2023), arXiv 1909.12098.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.neural_network import GBNNRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GBNNRegressor(n_hidden=30, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.5
    True
    >>> mlp = model.to_mlp()
    >>> bool(abs(mlp.predict(X) - model.predict(X)).max() < 1e-8)
    True
    >>> model.prune(10).n_hidden_
    10
    """

    _target_checks = {"multi_output": True, "y_numeric": True}

    def __init__(
        self,
        n_hidden=200,
        *,
        units_per_step=1,
        learning_rate=0.1,
        subsample=0.5,
        max_iter=200,
        alpha=1e-4,
        n_iter_no_change=None,
        validation_fraction=0.1,
        tol=1e-4,
        standardize=True,
        time_limit=None,
        verbose=False,
        random_state=None,
    ):
        self.n_hidden = n_hidden
        self.units_per_step = units_per_step
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.max_iter = max_iter
        self.alpha = alpha
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.tol = tol
        self.standardize = standardize
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Grow the network.

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
        given = X, y, weight
        Y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        X, Y, s = merge_rows(X, Y, weight)
        target = column_statistics(Y, s)
        Y = (Y - target.mean) / target.divisor
        loss = solver.Squares(target.divisor)
        rows = solver.Rows(X, Y, s)
        self._fit_numbers(
            given, rows, loss, target.divisor, target.mean, _one_column=y.ndim == 1
        )
        return self

    def _shaped(self, F):
        return F[:, 0] if self._one_column else F

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
        return self._shaped(F)

    def staged_predict(self, X):
        """Predict the value of each row after each step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        stages : generator of ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions of the networks of 1, 2, ... steps.
        """
        return self._staged(X, self._shaped)

    def to_mlp(self):
        """Return the network as one of scikit-learn's.

        Returns
        -------
        mlp : sklearn.neural_network.MLPRegressor
            A fitted network with one logistic hidden layer and the same predictions.
        """
        self._check_exportable()
        mlp = MLPRegressor(
            hidden_layer_sizes=(self.n_hidden_,),
            activation="logistic",
            max_iter=1,
            random_state=0,
        )
        y = np.zeros((2, self.coefs_[1].shape[1]))
        return self._exported(mlp, y[:, 0] if y.shape[1] == 1 else y)

    def __sklearn_tags__(self):
        """Say that several outputs are fine."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class GBNNClassifier(ClassifierMixin, BaseGBNN):
    """Grow a network with one hidden layer by boosting, to predict labels.

    Each step fits a few hidden units to the gradient of the log loss. The result is one
    ordinary network that can be truncated after any step: choose the size afterwards
    with :meth:`staged_predict_proba`, keep it with :meth:`prune`, hand it on with
    :meth:`to_mlp`. Use it when a small network must be deployed or when the settings of
    a network are not worth a search. For accuracy alone try logistic regression and
    gradient boosting of trees first.

    Parameters
    ----------
    n_hidden : int, default=200
        Units of the hidden layer in the end.
    units_per_step : int, default=1
        Units fitted together in one step of boosting. More capture interactions that
        single units miss, at more cost a step.
    learning_rate : float, default=0.1
        Shrinkage of each step, as in gradient boosting. 1 overfits regressions badly;
        smaller needs more units.
    subsample : float, default=0.5
        Fraction of the distinct rows each step is fitted to, drawn without replacement.
        Where fewer than 50 would be drawn, all rows are used.
    max_iter : int, default=200
        Maximum number of iterations. They are steps of L-BFGS within one boosting step;
        most need far fewer.
    alpha : float, default=1e-4
        L2 penalty: ``alpha / 2`` times the squared weights of a step's units, on
        standardised columns and residuals. With two classes it is multiplied by the
        odds of the commoner one, since rare events tell less.
    n_iter_no_change : int, default=None
        Number of iterations without progress before training stops. Progress is a
        better loss on a validation set; the steps up to the best are kept. None takes
        all steps and needs no validation set.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``n_iter_no_change``
        and counts distinct rows; with fewer than ten in the set all steps are taken.
    tol : float, default=1e-4
        Tolerance of the stopping rule. Fraction of the validation loss below which a
        gain is no progress.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every step is
        printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the initial units, the rows of each step and the validation set.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    coefs_ : list of two ndarrays
        Weights into the hidden units, of shape (n_features, n_units), and out of them,
        of shape (n_units, n_outputs), for rows as they come.
    intercepts_ : list of two ndarrays
        Biases of the hidden units and of the outputs.
    step_sizes_ : ndarray of shape (n_steps,)
        Step size of each block, shrinkage included.
    train_score_ : ndarray of shape (n_steps,)
        Loss of the training rows after each step: the mean log loss.
    validation_score_ : ndarray of shape (n_steps,) or None
        The same on the held-out rows, if there are any.
    n_iter_ : int
        Steps in the network.
    n_hidden_ : int
        Units in the network.
    stopped_ : str
        Why growth ended: ``"n_hidden"``, ``"converged"`` (on the hold-out),
        ``"perfect"`` (nothing left to fit), ``"time"`` or ``"interrupted"``.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has names.

    See Also
    --------
    GBNNRegressor : The same for numbers.
    sklearn.neural_network.MLPClassifier : A network trained all at once.
    sklearn.ensemble.GradientBoostingClassifier : Boosted trees.

    Notes
    -----
    Two classes are fitted with one output and the loss ``log(1 + exp(-2 y F))`` for
    labels of -1 and 1, more with one output per class and the softmax. The step size of
    a block is Newton's along it, times ``learning_rate``, halved where the training
    loss would grow. See :class:`GBNNRegressor` for the rest.

    References
    ----------
    S. Emami and G. Martínez-Muñoz, "Sequential Training of Neural Networks with
    Gradient Boosting", IEEE Access 11 (2023), arXiv 1909.12098.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.neural_network import GBNNClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = GBNNClassifier(n_hidden=20, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.97
    True
    >>> mlp = model.to_mlp()
    >>> bool(abs(mlp.predict_proba(X) - model.predict_proba(X)).max() < 1e-8)
    True
    """

    def __init__(
        self,
        n_hidden=200,
        *,
        units_per_step=1,
        learning_rate=0.1,
        subsample=0.5,
        max_iter=200,
        alpha=1e-4,
        n_iter_no_change=None,
        validation_fraction=0.1,
        tol=1e-4,
        standardize=True,
        time_limit=None,
        verbose=False,
        random_state=None,
    ):
        self.n_hidden = n_hidden
        self.units_per_step = units_per_step
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.max_iter = max_iter
        self.alpha = alpha
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.tol = tol
        self.standardize = standardize
        self.time_limit = time_limit
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Grow the network.

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
        given = X, y, weight
        classes, codes = np.unique(y, return_inverse=True)
        X, codes, s = merge_rows(X, codes[:, None].astype(np.float64), weight)
        codes = codes[:, 0].astype(int)
        if len(classes) == 2:
            Y, loss, scale = 2.0 * codes[:, None] - 1.0, solver.TwoClasses(), 2.0
        elif len(classes) > 2:
            Y, loss, scale = np.eye(len(classes))[codes], solver.ManyClasses(), 1.0
        else:  # nothing to learn but a constant
            Y, loss, scale = np.zeros((len(X), 1)), solver.Squares(np.ones(1)), 1.0
        rows = solver.Rows(X, Y, s)
        self._fit_numbers(given, rows, loss, scale, 0.0, classes_=classes)
        return self

    def _strata(self, Y):
        return Y[:, 0] if Y.shape[1] == 1 else Y.argmax(axis=1)

    def _decision(self, F):
        return F[:, 0] if F.shape[1] == 1 else F

    def _probabilities(self, F):
        if len(self.classes_) == 1:
            return np.ones((len(F), 1))
        if F.shape[1] == 1:
            return np.column_stack([expit(-F[:, 0]), expit(F[:, 0])])
        return softmax(F, axis=1)

    def _labels(self, F):
        if F.shape[1] > 1:
            return self.classes_[F.argmax(axis=1)]
        return self.classes_[(F[:, 0] > 0).astype(int) * (len(self.classes_) > 1)]

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
        return self._decision(self._output(X))

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
        F = self._output(X)
        return self._probabilities(F)

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
        F = self._output(X)
        return self._labels(F)

    def staged_decision_function(self, X):
        """Return the margin of each row after each step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        stages : generator of ndarray of shape (n_samples,) or (n_samples, n_classes)
            Margins of the networks of 1, 2, ... steps.
        """
        return self._staged(X, self._decision)

    def staged_predict_proba(self, X):
        """Return the probability of each class after each step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        stages : generator of ndarray of shape (n_samples, n_classes)
            Probabilities by the networks of 1, 2, ... steps.
        """
        return self._staged(X, self._probabilities)

    def staged_predict(self, X):
        """Predict the class of each row after each step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        stages : generator of ndarray of shape (n_samples,)
            Labels by the networks of 1, 2, ... steps.
        """
        return self._staged(X, self._labels)

    def to_mlp(self):
        """Return the network as one of scikit-learn's.

        Returns
        -------
        mlp : sklearn.neural_network.MLPClassifier
            A fitted network with one logistic hidden layer and the same probabilities.
        """
        self._check_exportable()
        mlp = MLPClassifier(
            hidden_layer_sizes=(self.n_hidden_,),
            activation="logistic",
            max_iter=1,
            random_state=0,
        )
        return self._exported(mlp, self.classes_)
