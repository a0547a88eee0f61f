"""What the three selectors share: tables, outcomes, levels, and the questions asked."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from skdiff._base.compat import HasMethods, Interval, RealNotInt, StrOptions
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_levels, refuse_dates
from skdiff.conformal._optcs import optimized_selection, plain_selection
from skdiff.conformal._p_values import adjusted_p_values, tie_draws
from skdiff.conformal._scores import SCORES, Goal, no_score

PRUNING = ("hete", "homo", "dtm")
_ANSWERS = ("predict", "predict_proba", "decision_function")


def default_estimator():
    """The baseline: a scaled logistic regression on whether a row is a discovery."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


class BaseSelector(SaveMixin, MetaEstimatorMixin, BaseEstimator):
    """Selection of rows at a level of false discovery, from labelled rows."""

    _parameter_constraints: dict = {
        "threshold": [Interval(Real, None, None, closed="neither")],
        "fdr_level": [Interval(Real, 0, 1, closed="neither")],
        "target": "no_validation",  # a function, or a label of any kind
        "conformity_score": [StrOptions(set(SCORES))],
        "randomized": ["boolean"],
        "larger": ["boolean"],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self):
        """The answer for a row depends on the rows it is asked with."""
        tags = super().__sklearn_tags__()
        # A seed fixes every answer. It is the only tag that tells tools not to compare
        # a batch with its rows one by one, which a selection cannot promise.
        tags.non_deterministic = True
        tags.target_tags.required = True
        inner = [get_tags(e) for e in self._candidates()]
        # the default centres the columns
        tags.input_tags.sparse = bool(self._given()) and all(
            t.input_tags.sparse for t in inner
        )
        tags.input_tags.allow_nan = all(t.input_tags.allow_nan for t in inner)
        return tags

    def _candidates(self):
        """The unfitted estimators."""
        estimator = self.estimator
        return [default_estimator() if estimator is None else estimator]

    def __sklearn_is_fitted__(self):
        """The seed of the questions is the last thing that ``fit`` sets."""
        return hasattr(self, "_seed")

    def _forget(self):
        """Drop the fit and the answer of the last selection."""
        for name in ("_seed", *_ATTRIBUTES.values()):
            vars(self).pop(name, None)

    def _goal(self):
        return Goal(self.threshold, self.larger, self.target)

    # --- data -----------------------------------------------------------------------

    def _check_table(self, X, *, reset):
        """Check X as far as the estimators would; a pipeline takes any table."""
        if any(isinstance(_innermost(e), Pipeline) for e in self._given()):
            refuse_dates(X)
            X = validate_data(self, X, skip_check_array=True, reset=reset)
            return X if hasattr(X, "shape") else np.asarray(X)
        refuse_dates(X)
        tags = get_tags(self).input_tags
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr" if tags.sparse else False,
            ensure_all_finite="allow-nan" if tags.allow_nan else True,
        )

    def _given(self):
        """The estimators as the user gave them."""
        return [] if self.estimator is None else [self.estimator]

    def _check_labelled(self, X, y, thresholds):
        """Return the table, outcomes, thresholds, and which rows are discoveries."""
        for estimator in self._given():
            # some have a method only once they are fitted, frozen ones at no class
            if not any(
                hasattr(e, name)
                for e in (estimator, type(estimator))
                for name in _ANSWERS
            ):
                raise no_score(estimator)
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None."
            )
        X = self._check_table(X, reset=True)
        y = column_or_1d(y, warn=True)
        if X.shape[0] != len(y):
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[X.shape[0], len(y)]}"
            )
        goal = self._goal()
        if goal.numeric:
            y = _numbers(y)
        elif not callable(self.target) and self.target not in y.tolist():
            raise ValueError(f"No row of y is of the class target={self.target!r}.")
        thresholds = self._check_thresholds(thresholds, len(y))
        return X, y, thresholds, goal.positive(y, thresholds)

    def _check_thresholds(self, thresholds, n):
        if thresholds is None:
            return None
        if self.target is not None:
            raise ValueError("thresholds say nothing where target is given.")
        thresholds = _numbers(column_or_1d(thresholds), "thresholds")
        if len(thresholds) != n:
            raise ValueError(
                f"thresholds has {len(thresholds)} entries for {n} samples."
            )
        return thresholds

    def _warn_if_powerless(self, positive):
        """Say what no calibration can change."""
        if positive.all() or not positive.any():
            kind = "a discovery" if positive.all() else "no discovery"
            warnings.warn(
                f"Every one of the {len(positive)} calibration rows is {kind}: there "
                "is nothing to tell apart. Move threshold, or label more rows.",
                UserWarning,
                stacklevel=3,
            )

    def _warn_if_coarse(self, found, levels):
        """Say when the calibration rows are too few for any selection."""
        if found.smallest > np.min(levels):
            warnings.warn(
                "The smallest p-value the calibration rows allow is "
                f"{found.smallest:.3g}, above the level {np.min(levels):.3g}: (almost) "
                "nothing can be selected. Label more rows.",
                UserWarning,
                stacklevel=3,
            )

    def _warn_if_not_singly(self, found, levels):
        """Say when nothing is selected as too few rows have the best rank at once."""
        smallest, level, m = found.smallest, np.min(levels), found.selected.shape[1]
        if smallest > level:
            return
        finest = np.argmin(levels)
        best = int(np.sum(found.p_values[finest] <= smallest))
        if best and smallest > level / m and not found.selected[finest].any():
            least = int(np.ceil(smallest * m / level * (1 - 1e-12)))
            warnings.warn(
                f"{best} of the {m} new rows have the best rank there is, p = "
                f"{smallest:.3g}, and none is selected: at the level {level:.3g} it "
                f"takes {least} such rows together. Label more rows, or ask about "
                "smaller batches.",
                UserWarning,
                stacklevel=3,
            )

    # --- questions ------------------------------------------------------------------

    def _selection(self, X, thresholds, fdr_level):
        """A :class:`Selection` of the rows of X, and whether one level was asked."""
        check_is_fitted(self)
        level = self.fdr_level if fdr_level is None else fdr_level
        levels = check_levels(level, name="fdr_level")
        V, T, weights = self._scores_of(X, thresholds)
        rng = check_random_state(self._seed)
        m = len(T)
        # the draws go by rank, not by place: a batch in another order is the same batch
        place = np.empty(m, dtype=np.intp)
        place[np.lexsort(T.T)] = np.arange(m)
        draws = tie_draws(m, rng)[place] if self.randomized else 1.0
        grid = np.atleast_1d(levels)
        if not self._optimizes and weights[0] is None:
            return plain_selection(V, T, grid, draws), np.ndim(levels) == 0
        prune = {
            "hete": lambda: 1 - rng.uniform(size=m)[place],
            "homo": lambda: 1 - rng.uniform(),
            "dtm": lambda: 1.0,
        }[self.pruning]()
        found = optimized_selection(V, T, grid, draws, prune, self.beta, weights)
        return found, np.ndim(levels) == 0

    def select(self, X, *, fdr_level=None, thresholds=None):
        """Select rows whose outcome is expected to be a discovery.

        The answer belongs to the batch: the same row among other rows can be answered
        differently. The same batch is answered alike each time.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        fdr_level : float or array-like of shape (n_levels,), default=None
            Accepted share of false discoveries; ``fdr_level`` of the constructor if
            None. A list is answered in one pass.
        thresholds : array-like of shape (n_samples,), default=None
            A threshold a row, if ``fit`` was given some.

        Returns
        -------
        selected : ndarray of bool of shape (n_samples,) or (n_levels, n_samples)
            Whether each row is selected.
        """
        found, single = self._selection(X, thresholds, fdr_level)
        levels = self.fdr_level if fdr_level is None else fdr_level
        self._warn_if_coarse(found, levels)
        self._warn_if_not_singly(found, levels)
        for name, attribute in _ATTRIBUTES.items():
            value = getattr(found, name)
            if value is not None and (self._optimizes or name in _PLAIN):
                setattr(self, attribute, value[0] if single else value)
        return found.selected[0] if single else found.selected

    def p_values(self, X, *, thresholds=None):
        """Return the p-value of "this row is no discovery".

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        thresholds : array-like of shape (n_samples,), default=None
            A threshold a row, if ``fit`` was given some.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            Values in (0, 1]; under several candidates, of the one chosen at
            ``fdr_level``.
        """
        return np.array(self._selection(X, thresholds, None)[0].p_values[0])

    def selection_path(self, X, *, levels=None, thresholds=None):
        """Return the smallest level at which each row is selected.

        Choosing a level after seeing this voids its promise; it is a picture, not a
        decision.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        levels : array-like of shape (n_levels,), default=None
            Levels to try: 0.01, 0.02, ..., 0.99 if None. A selector that neither
            chooses among candidates nor has density ratios needs none, its answer is
            the adjusted p-value.
        thresholds : array-like of shape (n_samples,), default=None
            A threshold a row, if ``fit`` was given some.

        Returns
        -------
        smallest : ndarray of shape (n_samples,)
            Levels; ``inf`` for rows that no level of the grid selects.
        """
        if levels is None:
            levels = np.arange(1, 100) / 100
            found, _ = self._selection(X, thresholds, levels)
            if found.sizes is None:
                return adjusted_p_values(found.p_values[0])
        else:
            found, _ = self._selection(X, thresholds, np.sort(levels))
        levels = np.sort(levels)
        first = found.selected.argmax(axis=0)
        return np.where(found.selected.any(axis=0), levels[first], np.inf)

    def predict(self, X):
        """Return 1 for selected rows and 0 for the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows; the answer belongs to the batch.

        Returns
        -------
        selected : ndarray of int of shape (n_samples,)
            The selection at ``fdr_level``.
        """
        found, _ = self._selection(X, None, None)
        self._warn_if_coarse(found, self.fdr_level)
        return found.selected[0].astype(np.int64)

    def decision_function(self, X):
        """Return minus the p-values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            The larger, the surer a discovery.
        """
        return -self.p_values(X)

    def score(self, X, y):
        """Return the power: the share of the discoveries that is selected.

        A search that maximises it has seen the rows it scored on. Calibrate its winner
        on other rows, as the promise holds for rows that chose nothing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with known outcomes.
        y : array-like of shape (n_samples,)
            The outcomes.

        Returns
        -------
        power : float
            Between 0 and 1; 0 where there is nothing to discover.
        """
        selected = self.predict(X) == 1
        positive = self._discoveries(y)
        return float(selected[positive].mean()) if positive.any() else 0.0

    def _discoveries(self, y):
        y = column_or_1d(y, warn=True)
        return self._goal().positive(_numbers(y) if self.target is None else y)


_PLAIN = ("p_values", "selected")
_ATTRIBUTES = {
    "p_values": "p_values_",
    "selected": "selected_",
    "sizes": "aux_sizes_",
    "chosen": "chosen_",
    "first_step": "first_step_",
}

PRUNING_CONSTRAINTS = {
    "pruning": [StrOptions(set(PRUNING))],
    "beta": [Interval(Real, 0, 1, closed="right")],
}
SPLIT_CONSTRAINTS = {
    "calibration_size": [
        Interval(RealNotInt, 0, 1, closed="neither"),
        Interval(Integral, 1, None, closed="left"),
    ],
    "prefit": ["boolean"],
    "density_ratio": [callable, None],
    "scale_estimator": [HasMethods("fit"), None],
}


def _innermost(estimator):
    """The estimator inside searches and frozen wrappers."""
    while not isinstance(estimator, Pipeline) and hasattr(estimator, "estimator"):
        estimator = estimator.estimator
    return estimator


def is_frozen(estimator):
    """Tell whether an estimator is to be used as it is."""
    return isinstance(estimator, FrozenEstimator)


def _numbers(y, name="y"):
    """Finite numbers, or an error that names the argument."""
    try:
        y = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold numbers to compare with a threshold. For classes or "
            f"words give target. ({error})"
        ) from error
    if not np.all(np.isfinite(y)):
        raise ValueError(f"Input {name} contains NaN or infinity.")
    return y
