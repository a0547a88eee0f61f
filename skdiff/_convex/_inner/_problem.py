"""The training problem of an estimator, with what a gradient search needs of it."""

import copy
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skdiff._base.typing import Array

Values = dict[str, Any]


class Point(NamedTuple):
    """A solved inner problem: parameters, raw predictions on the validation rows."""

    w: Any
    raw: Array
    n_iter: int


class Searched(NamedTuple):
    """What a search will visit of one hyperparameter."""

    low: float
    high: float
    vector: bool


class FoldProblem:
    """What describes a training problem before its rows are there.

    Its ``bind`` may return another problem: one estimator may have several.
    """

    parameters: dict[str, tuple[str | None, ...]] = {}
    #: whether a solve costs little, so that a quasi-Newton search may have many
    cheap = True
    #: whether the solution is unique and may be started from an earlier one
    warm = True
    #: whether solutions are arrays that move smoothly with a hyperparameter, so that
    #: polynomials through earlier ones are good starts
    smooth_path = False
    #: whether the first fold is solved before the others, which use what it computed
    follows = False
    #: problem of the first fold, for those of the others
    leader: Any = None
    #: whether the solution has many non-smooth points in the hyperparameters
    nonsmooth = False
    #: by name, the end of an interval at which the model is simplest
    simplest_end: dict[str, str] = {}
    #: hyperparameters with a value per training row, which are arguments of ``fit``
    per_row: tuple[str, ...] = ()
    #: by name, what is searched; set before :meth:`bind`
    searched: dict[str, Searched] = {}
    #: whether the methods for ``solver="maid"`` are there
    certified = False
    #: whether it is the problem of subclasses too, whatever they change
    for_subclasses = False
    #: whether the estimator's fit is as exact as :meth:`solve`
    exact_fit = False
    #: whether further values of one hyperparameter cost little once rows are bound
    free_path = False
    #: whether solves cost ever more away from the simplest end of an interval
    steep = False
    #: whether :meth:`bind` takes weights of the rows into account
    weighted = False

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def bind(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        X_val: Any = None,
        classes: Any = None,
    ) -> Any:
        """Take the rows of one fold.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            Training rows, after the earlier steps.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Targets; codes of the classes for a classifier.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the rows.
        X_val : ndarray or sparse matrix of shape (n_validation, n_features)
            Validation rows.
        classes : ndarray of shape (n_classes,), default=None
            The labels that the codes stand for.

        Returns
        -------
        self : InnerProblem
            The problem, ready to be solved.
        """
        self.X, self.y, self.sample_weight = X, y, sample_weight
        self.X_val, self.classes = X_val, classes
        return self

    def size(self, name: str, per: Any) -> Any:
        """Return how many values a hyperparameter has in this fold.

        Parameters
        ----------
        name : str
            Which hyperparameter.
        per : {"feature", "group", "output", "layer", "coefficient"}
            What has a value of its own; for ``"group"``, what ``groups`` labels.

        Returns
        -------
        size : int or tuple of int
            The columns of ``y`` for outputs, the columns of ``X`` otherwise. A tuple is
            the shape of the value, for a problem whose values are no vectors.
        """
        if per == "output":
            return 1 if self.y.ndim == 1 else self.y.shape[1]
        return self.X.shape[1]

    def fresh(self, random_state: Any) -> Any:
        """Return a copy whose estimator has another seed, if it takes one.

        Parameters
        ----------
        random_state : int or RandomState instance
            The seed, or what to draw it from.

        Returns
        -------
        problem : InnerProblem
            With the same rows.
        """
        again = copy.copy(self)
        if "random_state" in self.estimator.get_params(deep=False):
            seed = check_random_state(random_state).randint(2**31 - 1)
            again.estimator = clone(self.estimator).set_params(random_state=seed)
        return again

    def value(self, theta: Values, name: str) -> Any:
        """Return a hyperparameter: the searched value, or the estimator's own.

        Parameters
        ----------
        theta : dict
            Searched hyperparameters.
        name : str
            Which one.

        Returns
        -------
        value : object
            The value in force.
        """
        return theta[name] if name in theta else getattr(self.estimator, name)

    def to_params(self, theta: Values) -> Values:
        """Return what ``set_params`` of the estimator takes for these values.

        Parameters
        ----------
        theta : dict
            Searched hyperparameters.

        Returns
        -------
        params : dict
            Parameters of the estimator.
        """
        return dict(theta)


class InnerProblem(FoldProblem, ABC):
    """The training problem of one fold, with its derivatives.

    A subclass describes ``w(theta) = argmin_w h(w, theta)``, where ``theta`` is a
    dictionary of the hyperparameters that are searched, as values and not as
    logarithms. It gives :meth:`solve`, :meth:`solve_hessian`, :meth:`cross` and
    :meth:`predict`; :meth:`pull` where predictions are not linear in few parameters,
    :meth:`direct` where predictions depend on the hyperparameters directly;
    :meth:`size` where a vector has its values for something else than features. For
    ``solver="maid"`` to solve it inexactly it sets ``certified`` and gives
    :meth:`gradient`, :meth:`convexity`, :meth:`hessian_lipschitz`, :meth:`cross_norm`
    and :meth:`prediction_norm`; without them that solver solves it accurately.

    Parameters
    ----------
    estimator : estimator instance
        The last step of what is searched, unfitted. It is read for the
        hyperparameters that are not searched.

    Attributes
    ----------
    parameters : dict
        By name of each differentiable hyperparameter, the kinds of ``per`` that its
        :class:`Continuous` may have.
    cheap : bool
        Whether a solve costs little, so that a quasi-Newton search may have many.
    warm : bool
        Whether the solution is unique, so that a solve may start from an earlier one.
        Set it to False for networks and the like: every point is then solved afresh,
        and the best one is scored again with other seeds, by :meth:`fresh`.
    simplest_end : dict
        By name, the end of an interval (``"low"`` or ``"high"``) at which the model is
        simplest and a solve costs least; a scan begins there. ``"high"`` where a name
        is missing.
    per_row : tuple of str
        Hyperparameters with one value per training row. They are arguments of ``fit``
        and not parameters of the estimator.
    searched : dict
        By name, what is searched: a tuple ``(low, high, vector)``. It is set before
        :meth:`bind`.
    certified : bool
        Whether the methods for ``solver="maid"`` are there.
    for_subclasses : bool
        Whether it is the problem of every subclass of the registered estimator, also
        of those that override ``fit`` or a method that predicts.
    exact_fit : bool
        Whether the estimator's own fit is as exact as :meth:`solve`. Otherwise the
        search compares the two at its best point.
    free_path : bool
        Whether a solve at a further value of one hyperparameter costs next to nothing,
        so that a scan may look at the whole interval.
    steep : bool
        Whether solves cost ever more away from the simplest end of an interval, so that
        a scan ends where the criterion begins to rise.
    weighted : bool
        Whether :meth:`bind` takes ``sample_weight`` into account; without it the
        search refuses weights.

    See Also
    --------
    inner_problem : Where a subclass is registered.

    References
    ----------
    F. Pedregosa, "Hyperparameter optimization with approximate gradient", ICML 2016,
    arXiv 1602.02355.

    Examples
    --------
    A ridge whose penalty is a power of ten:

    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, RegressorMixin
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.model_selection import InnerProblem, inner_problem
    >>> class PowerRidge(RegressorMixin, BaseEstimator):
    ...     def __init__(self, power=0.0):
    ...         self.power = power
    ...     def fit(self, X, y):
    ...         self.ridge_ = Ridge(10**self.power, fit_intercept=False).fit(X, y)
    ...         return self
    ...     def predict(self, X):
    ...         return self.ridge_.predict(X)
    >>> class PowerRidgeProblem(InnerProblem):
    ...     parameters = {"power": (None,)}
    ...     def hessian(self, theta):
    ...         A = self.X
    ...         return A.T @ A + 10 ** theta["power"] * np.eye(A.shape[1])
    ...     def solve(self, theta, w0, tol):
    ...         return np.linalg.solve(self.hessian(theta), self.X.T @ self.y), 1
    ...     def solve_hessian(self, w, theta, rhs, tol):
    ...         return np.linalg.solve(self.hessian(theta), rhs)
    ...     def cross(self, w, theta, q):
    ...         return {"power": np.log(10) * 10 ** theta["power"] * (w @ q)}
    ...     def predict(self, w, X):
    ...         return X @ w
    >>> _ = inner_problem.register(PowerRidge, PowerRidgeProblem)
    >>> from skdiff.model_selection import (
    ...     Continuous,
    ...     GradientSearchCV,
    ...     check_hypergradient,
    ... )
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(60, 20, noise=100.0, random_state=0)
    >>> interval = {"power": Continuous(-4, 4, scale="linear")}
    >>> search = GradientSearchCV(PowerRidge(), interval)
    >>> check_hypergradient(search, X, y) < 1e-6
    True
    >>> round(search.fit(X, y).best_params_["power"], 1)
    1.4
    """

    @abstractmethod
    def solve(self, theta: Values, w0: Any, tol: float) -> tuple[Any, int]:
        """Solve the training problem.

        Parameters
        ----------
        theta : dict
            Searched hyperparameters.
        w0 : object
            A solution nearby to start from, or None.
        tol : float
            Relative accuracy.

        Returns
        -------
        w : object
            Parameters of the model.
        n_iter : int
            Iterations.
        """

    def solve_hessian(self, w: Any, theta: Values, rhs: Any, tol: float) -> Any:
        """Solve ``[d2h/dw dw] q = rhs``.

        Parameters
        ----------
        w : object
            The solution at ``theta``.
        theta : dict
            Searched hyperparameters.
        rhs : ndarray
            Gradient of the criterion in ``w``.
        tol : float
            Relative accuracy.

        Returns
        -------
        q : ndarray
            Of the shape of ``rhs``.
        """
        raise self._lacks("solve_hessian", "its hypergradient")

    def cross(self, w: Any, theta: Values, q: Any) -> Values:
        """Return ``[d2h/dtheta dw] q`` by hyperparameter.

        Parameters
        ----------
        w : object
            The solution at ``theta``.
        theta : dict
            Searched hyperparameters.
        q : ndarray
            Solution of the linear system.

        Returns
        -------
        products : dict
            A number, or an array of the shape of the value, by name.
        """
        raise self._lacks("cross", "its hypergradient")

    @abstractmethod
    def predict(self, w: Any, X: Any) -> Array:
        """Return raw predictions: values of a regressor, margins of a classifier.

        Parameters
        ----------
        w : object
            Parameters of the model.
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            Rows, after the earlier steps.

        Returns
        -------
        raw : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Raw predictions.
        """

    def pull(self, w: Any, theta: Values, gradient: Array) -> Any:
        """Turn a gradient in the raw validation predictions into one in ``w``.

        The default differences :meth:`predict`, which is exact for predictions linear
        in ``w`` and slow for many parameters.

        Parameters
        ----------
        w : ndarray
            Parameters of the model.
        theta : dict
            Searched hyperparameters.
        gradient : ndarray
            Of the shape of the raw predictions.

        Returns
        -------
        rhs : ndarray
            Of the shape of ``w``.
        """
        w = np.asarray(w, dtype=float)
        rhs = np.empty(w.size)
        for j in range(w.size):
            step = np.zeros(w.size)
            step[j] = 1e-4 * max(1.0, abs(w.flat[j]))
            shift = step.reshape(w.shape)
            up = self.predict(w + shift, self.X_val)
            down = self.predict(w - shift, self.X_val)
            rhs[j] = np.sum(gradient * (up - down)) / (2 * step[j])
        return rhs.reshape(w.shape)

    def direct(self, w: Any, theta: Values, gradient: Array) -> Values:
        """Return the derivative of the criterion at fixed ``w``, by hyperparameter.

        Parameters
        ----------
        w : object
            Parameters of the model.
        theta : dict
            Searched hyperparameters.
        gradient : ndarray
            Gradient of the criterion in the raw validation predictions.

        Returns
        -------
        derivatives : dict
            Only those that are not zero.
        """
        return {}

    def evaluate(self, theta: Values, w0: Any, tol: float) -> Point:
        """Solve, and predict the validation rows.

        Parameters
        ----------
        theta : dict
            Searched hyperparameters.
        w0 : object
            A solution nearby, or None.
        tol : float
            Relative accuracy.

        Returns
        -------
        point : Point
            Parameters, raw predictions and iterations.
        """
        w, n_iter = self.solve(theta, w0, tol)
        return Point(w, self.predict(w, self.X_val), n_iter)

    def hypergradient(
        self, theta: Values, point: Any, gradient: Array, tol: float
    ) -> Values:
        """Return the derivative of the criterion in each searched hyperparameter.

        Parameters
        ----------
        theta : dict
            Searched hyperparameters.
        point : Point
            The solution at ``theta``.
        gradient : ndarray
            Gradient of the criterion in the raw validation predictions.
        tol : float
            Relative accuracy of the linear system.

        Returns
        -------
        derivatives : dict
            A number, or an array of the shape of the value, by name.
        """
        rhs = self.pull(point.w, theta, gradient)
        q = self.solve_hessian(point.w, theta, rhs, tol)
        products = self.cross(point.w, theta, q)
        direct = self.direct(point.w, theta, gradient)
        return {name: direct.get(name, 0.0) - products[name] for name in theta}

    def _lacks(self, method: str, user: str) -> TypeError:
        """Say which method a subclass has not given."""
        return TypeError(
            f"{type(self).__name__} gives no {method}, which {user} needs."
        )

    def gradient(self, w: Any, theta: Values) -> Any:
        """Return the gradient of the training problem in ``w``.

        Only with ``certified``.

        Parameters
        ----------
        w : ndarray
            Parameters of the model.
        theta : dict
            Searched hyperparameters.

        Returns
        -------
        gradient : ndarray
            Of the shape of ``w``.
        """
        raise self._lacks("gradient", "certified=True")

    def convexity(self, w: Any, theta: Values, eps: float) -> float:
        """Return a lower bound of the Hessian's eigenvalues within ``eps`` of ``w``.

        Only with ``certified``.

        Parameters
        ----------
        w : ndarray
            Parameters of the model.
        theta : dict
            Searched hyperparameters.
        eps : float
            Distance from ``w``.

        Returns
        -------
        mu : float
            Positive.
        """
        raise self._lacks("convexity", "certified=True")

    def hessian_lipschitz(self, theta: Values) -> float:
        """Return a Lipschitz constant of the Hessian in ``w``.

        Only with ``certified``.

        Parameters
        ----------
        theta : dict
            Searched hyperparameters.

        Returns
        -------
        constant : float
            Zero for a squared loss.
        """
        raise self._lacks("hessian_lipschitz", "certified=True")

    def cross_norm(
        self, w: Any, theta: Values, name: str, rates: Array, codes: Any
    ) -> tuple[float, float]:
        """Bound the norm of ``[d2h/dw dtheta] D`` and its Lipschitz constant in ``w``.

        ``D`` is the derivative of the values of one hyperparameter in the outer
        variables: value ``j`` depends on variable ``codes[j]`` at the rate
        ``rates[j]``. Only with ``certified``.

        Parameters
        ----------
        w : ndarray
            Parameters of the model.
        theta : dict
            Searched hyperparameters.
        name : str
            Which hyperparameter.
        rates : ndarray
            Of the shape of the value.
        codes : ndarray of int or None
            Outer variable of each value, in the order of ``rates.ravel()``; None where
            all depend on one.

        Returns
        -------
        norm, lipschitz : float
            Upper bounds.
        """
        raise self._lacks("cross_norm", "certified=True")

    def prediction_norm(self) -> float:
        """Bound the norm of the derivative of the raw predictions in ``w``.

        Only with ``certified``.

        Returns
        -------
        norm : float
            Upper bound, over the validation rows.
        """
        raise self._lacks("prediction_norm", "certified=True")
