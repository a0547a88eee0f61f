"""What classifier and regressor of boosted networks share."""

import time
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skdiff._base.compat import Interval
from skdiff._base.persistence import SaveMixin
from skdiff._base.rows import column_statistics
from skdiff.neural_network._gbnn import _solver as solver

SMALLEST_HOLD_OUT = 10
CHUNK = 8192  # rows whose hidden units are held at once


class BaseGBNN(SaveMixin, BaseEstimator):
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
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def _fit_numbers(self, X, Y, s, loss, scale, centre):
        """Grow on merged rows; outputs are ``scale`` times those of the loss."""
        rng = check_random_state(self.random_state)
        columns = column_statistics(X, s)
        Z = np.column_stack([columns.standardised(X), np.ones(len(X))])
        held = None
        if self.n_iter_no_change is not None and (rows := self._split(Y, rng)):
            train, out = rows
            held = Z[out], Y[out], s[out] / s[out].sum()
            Z, Y, s = Z[train], Y[train], s[train] / s[train].sum()
        whole, rest = divmod(int(self.n_hidden), int(self.units_per_step))
        limits = solver.Limits(
            sizes=[int(self.units_per_step)] * whole + [rest] * (rest > 0),
            learning_rate=float(self.learning_rate),
            subsample=float(self.subsample),
            max_iter=self.max_iter,
            alpha=float(self.alpha),
            n_iter_no_change=self.n_iter_no_change,
            tol=float(self.tol),
            deadline=None
            if self.time_limit is None
            else time.monotonic() + self.time_limit,
            verbose=bool(self.verbose),
        )
        growth = solver.grow(Z, Y, s, loss, limits, columns.scale > 0, held, rng)
        network = solver.assemble(growth, columns.mean, columns.divisor, scale, centre)
        kept = len(growth.steps)
        if growth.held_loss:
            kept = int(np.argmin(growth.held_loss)) + 1
        self._take_over(
            network,
            kept,
            np.array(growth.steps),
            np.array(growth.train_loss),
            np.array(growth.held_loss) if growth.held_loss else None,
            growth.stopped,
        )
        if growth.stopped == "time":
            warnings.warn(
                f"{type(self).__name__} reached time_limit={self.time_limit} after "
                f"{len(growth.steps)} steps of {len(limits.sizes)}.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _split(self, Y, rng):
        """Rows to train on and to hold out, or None where there are too few."""
        n_held = round(self.validation_fraction * len(Y))
        if n_held < SMALLEST_HOLD_OUT or len(Y) - n_held < 2:
            return None
        return train_test_split(
            np.arange(len(Y)),
            test_size=n_held,
            stratify=self._strata(Y, n_held),
            random_state=rng.randint(2**31 - 1),
        )

    def _strata(self, Y, n_held):
        return None

    def _take_over(self, network, kept, steps, train, held, stopped):
        """Assign the first ``kept`` steps, everything at once."""
        end = network.ends[kept]
        self._ends, self._shifts = network.ends[: kept + 1], network.shifts[: kept + 1]
        self.coefs_ = [network.W[:, :end].copy(), network.V[:end].copy()]
        self.intercepts_ = [network.b[:end].copy(), self._shifts[-1].copy()]
        self.step_sizes_, self.train_score_ = steps[:kept], train[:kept]
        self.validation_score_ = None if held is None else held[:kept]
        self.n_iter_, self.n_hidden_ = kept, int(end)
        self.stopped_ = stopped

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
        return validate_data(self, X, dtype=np.float64, order="C", reset=False)

    def _output(self, X):
        X, network = self._checked(X), self._network()
        parts = [
            solver.hidden(X[i : i + CHUNK], network) @ network.V + network.shifts[-1]
            for i in range(0, len(X), CHUNK)
        ]
        return np.concatenate(parts)

    def _staged(self, X, then):
        """Generator of answers after each step; X is checked at once."""
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
        model._take_over(
            self._network(),
            int(k),
            self.step_sizes_,
            self.train_score_,
            self.validation_score_,
            self.stopped_,
        )
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
