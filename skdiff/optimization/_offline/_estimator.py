"""Offline optimisation by ascent of a surrogate."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)
from skdiff._base.inner import (
    fit_inner,
    is_frozen,
    reads_any_table,
    seeded,
    takes_weights,
    whole_fit,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff._base.tables import split_columns
from skdiff._base.validation import check_X, check_X_y
from skdiff._nn._base import BaseNeural
from skdiff.optimization._offline._ascent import (
    Box,
    Neighbourhood,
    ascend,
    by_differences,
    rounded,
    whole_columns,
)
from skdiff.optimization._offline._network import (
    Network,
    Penalty,
    Surrogate,
    fit_network,
    network_of,
    neural_value_and_gradient,
    sharpness_of,
)

N_MEMBERS = 5


class OfflineOptimizer(SaveMixin, RegressorMixin, BaseEstimator):
    r"""Propose rows with a larger y than any seen, from past measurements alone.

    Use it when a design, a recipe or a setting is wanted that does better than those on
    record, and nothing can be measured before the decision. A surrogate learns y, and
    its prediction is climbed from the best rows. Where measurements can be made one
    after the other, Bayesian optimisation is the better tool. To minimise, pass ``-y``.

    Parameters
    ----------
    surrogate : regressor, default=None
        Model of y whose prediction is climbed. None is a network with two hidden layers
        of 64 tanh units. Gradients of a network of skdiff are exact, those of any other
        regressor are central differences, so that it has to be smooth: trees are flat.
    bounds : "data" or array-like of shape (n_features, 2), default="data"
        Smallest and largest value of each column. ``"data"`` takes those of X.
    n_steps : int, default=100
        Number of steps of the ascent.
    step_size : float, default=0.05
        Largest step, as a fraction of the width of the bounds.
    n_starts : int, default=32
        Number of rows, those with the largest y, from which the ascent starts.
    sharpness_weight : float or "auto", default=0.0
        Weight of the penalty on the sharpness of the surrogate, which has to be a
        network. ``"auto"`` raises and lowers it so that the sharpness approaches
        ``target_sharpness``; 0 trains the standard surrogate.
    perturbation : float, default=0.05
        Length of the change of the parameters that the sharpness is about.
    target_sharpness : float, default=0.1
        Sharpness that ``sharpness_weight="auto"`` aims at.
    trust : {"mahalanobis", "ensemble"} or None, default=None
        What is subtracted from the predicted value. ``"mahalanobis"``: the squared
        distance to the nearest row beyond what is usual among the rows.
        ``"ensemble"``: the standard deviation of five surrogates fitted to randomly
        weighted rows, the usual baseline.
    trust_weight : float, default=1.0
        Weight of what ``trust`` subtracts.
    categorical_features : array-like, default=None
        Columns that keep the value of the row from which the ascent starts: a mask,
        numbers or names. They have to hold numbers, codes for instance.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    surrogate_ : estimator or None
        The fitted surrogate; None for the default network.
    surrogate_sharpness_ : tuple of float
        Sharpness on the training rows of the surrogate without penalty and of the
        surrogate that is climbed; not a number for other models than networks.
    candidates_ : ndarray of shape (n_candidates, n_features)
        Distinct ends of the ascent, the best first.
    objective_ : ndarray of shape (n_candidates,)
        Predicted value minus what ``trust`` subtracts, at the candidates.
    trace_ : ndarray of shape (n_steps + 1,)
        Mean objective of all starts after each step.
    bounds_ : ndarray of shape (n_features, 2)
        Bounds of the columns.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    skdiff.neural_network.LipschitzMLPRegressor : A surrogate that cannot change fast.
    sklearn.gaussian_process.GaussianProcessRegressor : A surrogate for few rows.

    Notes
    -----
    With :math:`G(\theta)` the mean prediction of the network over a batch, the
    sharpness is :math:`\rho \|\nabla G\|`, and training adds
    :math:`\lambda \rho \|\nabla G\|` to the loss, its gradient taken as a
    difference of two gradients. Outputs are in standard deviations of y. Columns of
    whole numbers are rounded at the end.

    References
    ----------
    C. Dao, P. L. Nguyen, T. N. Truong and T. N. Hoang, "Incorporating Surrogate
    Gradient Norm to Improve Offline Optimization Techniques", NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.optimization import OfflineOptimizer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(200, 2))
    >>> y = -((X - 0.3) ** 2).sum(axis=1)
    >>> worse = y < np.median(y)
    >>> model = OfflineOptimizer(random_state=0).fit(X[worse], y[worse])
    >>> found = model.propose(1).to_numpy()
    >>> bool(-((found - 0.3) ** 2).sum() > y[worse].max())
    True
    """

    _parameter_constraints: dict = {
        "surrogate": [HasMethods(["fit", "predict"]), None],
        "bounds": [StrOptions({"data"}), "array-like"],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "sharpness_weight": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "perturbation": [Interval(Real, 0, None, closed="neither")],
        "target_sharpness": [Interval(Real, 0, None, closed="left")],
        "trust": [StrOptions({"mahalanobis", "ensemble"}), None],
        "trust_weight": [Interval(Real, 0, None, closed="left")],
        "categorical_features": ["array-like", None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        surrogate=None,
        *,
        bounds="data",
        n_steps=100,
        step_size=0.05,
        n_starts=32,
        sharpness_weight=0.0,
        perturbation=0.05,
        target_sharpness=0.1,
        trust=None,
        trust_weight=1.0,
        categorical_features=None,
        random_state=None,
    ):
        self.surrogate = surrogate
        self.bounds = bounds
        self.n_steps = n_steps
        self.step_size = step_size
        self.n_starts = n_starts
        self.sharpness_weight = sharpness_weight
        self.perturbation = perturbation
        self.target_sharpness = target_sharpness
        self.trust = trust
        self.trust_weight = trust_weight
        self.categorical_features = categorical_features
        self.random_state = random_state

    # surrogates may be any regressor, with validation of their own
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the surrogate and climb it from the best rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were measured.
        y : array-like of shape (n_samples,)
            What was measured; more is better.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, for the surrogate. Rows of weight zero are left out.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with whole_fit(self):
            held = self._held(X)
            X, y = check_X_y(self, X, y, dtype=np.float64, y_numeric=True)
            y = np.asarray(y, dtype=np.float64)
            weight = sample_weight
            if weight is not None:
                weight = check_sample_weight(weight, X)
                kept = weight > 0
                X, y, weight = X[kept], y[kept], weight[kept]
            box = self._box(X)
            self._check_surrogate()
            self._fit_members(X, y, weight, check_random_state(self.random_state))
            # a row that comes twice is one place to start from, and one neighbour
            rows = np.unique(np.column_stack([X, y]), axis=0)
            X, y = rows[:, :-1], rows[:, -1]
            self._spread = float(y.std())
            self._neighbourhood = X if self.trust == "mahalanobis" else None
            self._search(X, y, box, held)
        return self

    def _held(self, X):
        """Mask of the columns that do not move, read before X loses its names."""
        if self.categorical_features is None:
            return None
        table = X if hasattr(X, "columns") else np.asarray(X)
        if table.ndim != 2:
            return None  # refused by the check of X
        return split_columns(table, self.categorical_features)

    def _box(self, X):
        """Bounds of the search as low and high ends."""
        if isinstance(self.bounds, str):
            box = Box(X.min(axis=0), X.max(axis=0))
        else:
            given = check_array(self.bounds, dtype=np.float64, input_name="bounds")
            if given.shape != (X.shape[1], 2):
                raise ValueError(
                    f"bounds must have shape ({X.shape[1]}, 2), a lower and an upper "
                    f"bound per column. Got {given.shape}."
                )
            if np.any(given[:, 0] > given[:, 1]):
                raise ValueError("bounds has lower bounds above the upper ones.")
            box = Box(given[:, 0], given[:, 1])
        self.bounds_ = np.column_stack(box)
        return box

    def _check_surrogate(self):
        """Refuse what cannot be climbed, or cannot be penalised."""
        if self.surrogate is None:
            return
        if not is_regressor(self.surrogate):
            raise ValueError(
                "surrogate must be a regressor, whose prediction can be climbed. Got "
                f"{type(self.surrogate).__name__}."
            )
        neural = isinstance(self.surrogate, BaseNeural)
        if self.sharpness_weight not in ("auto", 0) and not neural:
            raise ValueError(
                "sharpness_weight above 0 needs a network of skdiff as surrogate. Got "
                f"{type(self.surrogate).__name__}."
            )

    def _fit_members(self, X, y, weight, rng):
        """Fit the surrogate, or five of them to resampled rows."""
        plain = Penalty(self.perturbation, self.target_sharpness, 0.0)
        wanted = plain._replace(
            weight=None if self.sharpness_weight == "auto" else self.sharpness_weight
        )
        seed = rng.randint(2**31 - 1)
        first, before = self._fit_one(X, y, weight, seed, plain)
        after = before
        if wanted.weight != 0 and np.isfinite(before):
            first, after = self._fit_one(X, y, weight, seed, wanted)
        members = [first]
        if self.trust == "ensemble":
            for _ in range(N_MEMBERS - 1):
                rows = self._resampled(X, y, weight, rng)
                seed = rng.randint(2**31 - 1)
                members.append(self._fit_one(*rows, seed, wanted)[0])
        self._members = members
        self.surrogate_sharpness_ = (before, after)
        self.surrogate_ = None if self.surrogate is None else members[0]

    def _resampled(self, X, y, weight, rng):
        """Rows with random weights, equal ones alike; drawn rows without weights."""
        if self.surrogate is not None and not takes_weights(self.surrogate):
            drawn = rng.randint(len(X), size=len(X))
            return X[drawn], y[drawn], None
        rows = np.column_stack([X, y])
        kinds = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
        factor = rng.exponential(size=kinds.max() + 1)[kinds]
        return X, y, factor if weight is None else factor * weight

    def _fit_one(self, X, y, weight, seed, penalty):
        """Fit one surrogate; return it and its sharpness."""
        if self.surrogate is None:
            with warnings.catch_warnings():
                # how long the default network is trained is part of the method
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = Surrogate(random_state=seed)
                fit_network(model, X, y, weight, penalty)
            sharp = sharpness_of(model, X, penalty.rho)
            return network_of(model)._asdict(), sharp
        if is_frozen(self.surrogate) or not isinstance(self.surrogate, BaseNeural):
            model = seeded(self.surrogate, np.random.RandomState(seed))
            return fit_inner(model, self._table(X), y, weight=weight), np.nan
        model = seeded(self.surrogate, np.random.RandomState(seed))
        fit_network(model, X, y, weight, penalty)
        return model, sharpness_of(model, X, penalty.rho)

    def _search(self, X, y, box, held):
        """Climb from the best rows, and keep what is distinct."""
        starts = X[np.argsort(-y, kind="stable")[: self.n_starts]]
        whole = whole_columns(X)
        if held is not None:
            whole = whole & ~held
        found = ascend(
            self._objective(box, held), starts, box, self.n_steps, self.step_size
        )
        rows = rounded(found.rows, whole, box)
        if held is not None:
            rows[:, held] = starts[:, held]
        rows = np.unique(rows, axis=0)
        value = self._objective(box, held)(rows)[0]
        order = np.argsort(-value, kind="stable")
        self.candidates_, self.objective_ = rows[order], value[order]
        self.trace_ = found.trace

    def _objective(self, box, held):
        """What is climbed: the value at rows, and its gradient."""
        parts = [self._member(member, box) for member in self._members]
        weight = self.trust_weight
        near = None
        if self._neighbourhood is not None:
            near = Neighbourhood(self._neighbourhood)

        def evaluate(X):
            found = [part(X) for part in parts]
            values = np.stack([value for value, _ in found])
            slopes = np.stack([slope for _, slope in found])
            value, slope = values.mean(axis=0), slopes.mean(axis=0)
            if len(parts) > 1:
                away = values - value
                std = np.sqrt((away**2).mean(axis=0))
                tilt = (away[:, :, None] * slopes).mean(axis=0)
                tilt /= np.where(std > 0, std, 1.0)[:, None]
                value, slope = value - weight * std, slope - weight * tilt
            if near is not None:
                excess, tilt = near(X)
                value = value - weight * self._spread * excess
                slope = slope - weight * self._spread * tilt
            if held is not None:
                slope = np.where(held, 0.0, slope)
            return value, slope

        return evaluate

    def _member(self, member, box):
        """Value and gradient of one surrogate."""
        if isinstance(member, dict):
            return Network(**member).value_and_gradient
        if isinstance(member, BaseNeural):
            return lambda X: neural_value_and_gradient(member, X)
        return by_differences(lambda X: member.predict(self._table(X)), box)

    def _table(self, X):
        """Rows as the surrogate sees them: with names where it may pick columns."""
        if not (hasattr(self, "feature_names_in_") and reads_any_table(self.surrogate)):
            return X
        pd = require_pandas("A surrogate fitted to a DataFrame")
        return pd.DataFrame(X, columns=self.feature_names_in_)

    def predict(self, X):
        """Predict the value of each row, as the surrogate believes it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted values, without what ``trust`` subtracts; the mean of all
            surrogates where there are several.
        """
        return self._believed(self._rows(X))

    def _rows(self, X):
        """Rows that were given; the names that :meth:`propose` makes up are none."""
        check_is_fitted(self)
        columns = getattr(X, "columns", None)
        unnamed = columns is not None and not hasattr(self, "feature_names_in_")
        if unnamed and list(columns) == self._names():
            X = X.to_numpy()
        return check_X(self, X, reset=False, dtype=np.float64)

    def _believed(self, X):
        values = []
        for member in self._members:
            if isinstance(member, dict):
                values.append(Network(**member).value_and_gradient(X)[0])
            elif isinstance(member, BaseNeural):
                values.append(member.predict(X))
            else:
                values.append(member.predict(self._table(X)))
        return np.mean(values, axis=0)

    def propose(self, n=1):
        """Return the rows with the largest objective.

        Parameters
        ----------
        n : int, default=1
            Number of rows, at most as many as there are candidates.

        Returns
        -------
        rows : DataFrame of shape (n, n_features)
            Rows inside the bounds, the best first. It needs pandas.
        """
        check_is_fitted(self)
        whole = isinstance(n, Integral) and not isinstance(n, bool | np.bool_)
        if not whole or not 1 <= n <= len(self.candidates_):
            raise ValueError(
                f"n must be an int from 1 to {len(self.candidates_)}, the number of "
                f"distinct candidates; n_starts sets how many there are. Got {n!r}."
            )
        pd = require_pandas("propose")
        return pd.DataFrame(self.candidates_[:n], columns=self._names())

    def _names(self):
        names = getattr(self, "feature_names_in_", None)
        return [f"x{j}" for j in range(self.n_features_in_)] if names is None else names

    def report(self, X, oracle=None):
        """Compare what the surrogate believes of rows with their true values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, from :meth:`propose` for instance.
        oracle : callable, default=None
            Takes the rows as an array and returns their true values.

        Returns
        -------
        report : DataFrame of shape (n_samples, 1 or 2)
            Columns ``believed`` and, with an oracle, ``true``. It needs pandas.
        """
        X = self._rows(X)
        pd = require_pandas("report")
        frame = pd.DataFrame({"believed": self._believed(X)})
        if oracle is not None:
            true = np.asarray(oracle(X), dtype=np.float64)
            if true.shape != (len(X),):
                raise ValueError(
                    f"The oracle must return one value per row, shape ({len(X)},). "
                    f"Got {true.shape}."
                )
            frame["true"] = true
        return frame
