"""What classifier and regressor of boosted networks share."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import CallbackSupportMixin, Interval
from skdiff._base.persistence import SaveMixin
from skdiff._base.progress import watch
from skdiff._base.rows import Columns, network_columns
from skdiff._base.validation import check_X, split_validation
from skdiff.neural_network._gbnn import _solver as solver

SMALLEST_VALIDATION = 10  # rows; fewer tell little about learning
CHUNK = 8192  # rows whose hidden units are held at once


class BaseGBNN(SaveMixin, CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor share."""

    _parameter_constraints = {
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "units_per_step": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "standardize": ["boolean"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def _fit_numbers(self, given, train, loss, scale, centre, **more):
        """Grow on merged rows; outputs are ``scale`` times those of the loss.

        ``given`` holds X, y and weights for the callbacks. ``more`` are further
        attributes, set with all others when the fit is complete.
        """
        rng = check_random_state(self.random_state)
        X, Y, s = train
        columns = network_columns(X, s)
        alive = columns.scale > 0
        if not self.standardize:
            columns = Columns(np.zeros(X.shape[1]), np.ones(X.shape[1]))
        Z = np.column_stack([columns.standardised(X), np.ones(len(X))])
        train, held = solver.Rows(Z, Y, s), None
        if self.n_iter_no_change is not None and (rows := self._split(Y, rng)):
            train, held = train.take(rows[0]), train.take(rows[1])
        whole, rest = divmod(int(self.n_hidden), int(self.units_per_step))
        limits = solver.Limits(
            sizes=[int(self.units_per_step)] * whole + [rest] * (rest > 0),
            learning_rate=float(self.learning_rate),
            subsample=float(self.subsample),
            max_iter=self.max_iter,
            alpha=float(self.alpha) * solver.strictness(loss, train.Y, train.s),
            n_iter_no_change=self.n_iter_no_change,
            tol=float(self.tol),
        )

        def fitted(growth):
            return {**self._fitted(growth, columns, scale, centre), **more}

        guard = watch(
            self,
            *given[:2],
            max_iter=len(limits.sizes),
            metadata=None if given[2] is None else {"sample_weight": given[2]},
            attributes=fitted,
            unit="Step",
        )
        with guard as progress:
            growth = solver.grow(train, loss, limits, alive, held, rng, progress)
        for name, value in fitted(growth).items():
            setattr(self, name, value)
        if growth.stopped == "time":
            warnings.warn(
                f"{type(self).__name__} reached time_limit={self.time_limit} after "
                f"{len(growth.steps)} of {len(limits.sizes)} steps. Increase it.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _split(self, Y, rng):
        """Rows of the training and validation sets; None where there are too few."""
        return split_validation(
            len(Y),
            self.validation_fraction,
            rng.randint(2**31 - 1),
            strata=self._strata(Y),
            fewest=SMALLEST_VALIDATION,
        )

    def _strata(self, Y):
        return None

    def _fitted(self, growth, columns, scale, centre):
        """Attributes of the network, up to its best step."""
        network = solver.assemble(growth, columns.mean, columns.divisor, scale, centre)
        kept, held = len(growth.steps), growth.held_loss
        if held:
            kept = int(np.argmin(held)) + 1
        sizes = np.array([step.size for step in growth.steps])
        train = np.array([step.train_loss for step in growth.steps])
        held = np.array(held) if held else None
        return self._first_steps(network, kept, sizes, train, held) | {
            "stopped_": growth.stopped
        }

    @staticmethod
    def _first_steps(network, kept, sizes, train, held):
        """Attributes of the first ``kept`` steps."""
        end, shifts = network.ends[kept], network.shifts[: kept + 1]
        return {
            "_ends": network.ends[: kept + 1],
            "_shifts": shifts,
            "coefs_": [network.W[:, :end].copy(), network.V[:end].copy()],
            "intercepts_": [network.b[:end].copy(), shifts[-1].copy()],
            "step_sizes_": sizes[:kept],
            "train_score_": train[:kept],
            "validation_score_": None if held is None else held[:kept],
            "n_iter_": kept,
            "n_hidden_": int(end),
        }

    # --- inference ------------------------------------------------------------------

    def _network(self):
        return solver.Network(
            self.coefs_[0],
            self.intercepts_[0],
            self.coefs_[1],
            self._shifts,
            self._ends,
        )

    def _checked(self, X):
        check_is_fitted(self)
        return check_X(self, X, reset=False, dtype=np.float64, order="C")

    def _output(self, X):
        X, network = self._checked(X), self._network()
        parts = [
            solver.hidden(X[i : i + CHUNK], network) @ network.V + network.shifts[-1]
            for i in range(0, len(X), CHUNK)
        ]
        return np.concatenate(parts)

    def _staged(self, X, then):
        """Generator of predictions after each step; X is checked at once."""
        X, network = self._checked(X), self._network()
        H = solver.hidden(X, network)
        return (then(F) for F in solver.stages(H, network))

    def prune(self, k):
        """Return the network as it was after its first steps.

        Parameters
        ----------
        k : int
            Number of steps to keep, from 1 to ``n_iter_``; with ``units_per_step=1``
            this is the number of hidden units.

        Returns
        -------
        model : estimator of the same class
            A fitted copy; this one is left as it is.
        """
        check_is_fitted(self)
        if not isinstance(k, Integral) or not 1 <= k <= self.n_iter_:
            raise ValueError(
                f"k={k!r} must be a whole number from 1 to the number of steps, "
                f"{self.n_iter_}."
            )
        model = clone(self)
        for name, value in vars(self).items():
            if name not in vars(model):
                setattr(model, name, value)
        kept = self._first_steps(
            self._network(),
            int(k),
            self.step_sizes_,
            self.train_score_,
            self.validation_score_,
        )
        for name, value in kept.items():
            setattr(model, name, value)
        return model

    def _exported(self, mlp, y):
        """Dress a scikit-learn network in these weights."""
        with warnings.catch_warnings():
            # one step on made-up rows sets everything but the weights up
            warnings.simplefilter("ignore", ConvergenceWarning)
            mlp.fit(np.zeros((len(y), self.n_features_in_)), y)
        mlp.coefs_ = [W.copy() for W in self.coefs_]
        mlp.intercepts_ = [b.copy() for b in self.intercepts_]
        mlp.n_iter_, mlp.loss_curve_ = self.n_iter_, self.train_score_.tolist()
        mlp.loss_ = mlp.best_loss_ = float(self.train_score_[-1])
        if hasattr(self, "feature_names_in_"):
            mlp.feature_names_in_ = self.feature_names_in_
        return mlp

    def _check_exportable(self):
        check_is_fitted(self)
        if not self.n_iter_:
            raise ValueError(
                "The fitted model is a constant without hidden units; there is no "
                "network to export."
            )

    def __sklearn_is_fitted__(self):
        """Tell whether a fit has come to its end."""
        return hasattr(self, "n_iter_")
