"""What the three selectors share: their data, their answers, their warnings."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import check_consistent_length, column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    check_sample_weight,
)
from skdiff._base.draws import row_hashes, told_apart
from skdiff._base.inner import check_table
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_levels, require_y
from skdiff.conformal._common._batch import Groups, Rule, select_batch
from skdiff.conformal._common._goal import Goal, check_numbers, check_outcomes
from skdiff.conformal._common._models import check_scores_rows
from skdiff.conformal._common._scores import SCORES
from skdiff.conformal._p_values import adjusted_p_values

PRUNING_CONSTRAINTS = {
    "pruning": [StrOptions({"hete", "homo", "dtm"})],
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
# attribute of the selector for each array of a selection
_ATTRIBUTES = {
    "p_values": "p_values_",
    "selected": "selected_",
    "sizes": "aux_sizes_",
    "chosen": "chosen_",
    "first_step": "first_step_",
    "e_values": "e_values_",
}
_OF_EVERY_SELECTOR = ("p_values", "selected", "e_values")


class BaseSelector(SaveMixin, MetaEstimatorMixin, BaseEstimator):
    """Selection of rows at a level of false discovery, from labelled rows."""

    _parameter_constraints: dict = {
        "threshold": [Interval(Real, None, None, closed="neither")],
        "fdr_level": [Interval(Real, 0, 1, closed="neither")],
        "target": "no_validation",  # a function, or a label of any kind
        "conformity_score": [StrOptions(set(SCORES))],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "randomized": ["boolean"],
        "larger": ["boolean"],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self):
        """The selection of a row depends on the rows it comes with."""
        tags = super().__sklearn_tags__()
        # A seed fixes every selection. It is the only tag that keeps tools from
        # comparing a batch with its rows one by one, which a selection cannot equal.
        tags.non_deterministic = True
        tags.target_tags.required = True
        inner = [get_tags(e) for e in self._candidates()]
        # the default centres the columns
        tags.input_tags.sparse = bool(self._given()) and all(
            t.input_tags.sparse for t in inner
        )
        for name in ("allow_nan", "categorical", "string"):
            every = all(getattr(t.input_tags, name) for t in inner)
            setattr(tags.input_tags, name, every)
        return tags

    def __sklearn_is_fitted__(self):
        """Tell whether a fit has come to its end: it sets the seeds last."""
        return hasattr(self, "_seeds")

    def _goal(self):
        """What a discovery was when the rows were labelled, or will be."""
        fitted = getattr(self, "_fitted_goal", None)
        return Goal(*(fitted or (self.threshold, self.larger, self.target)))

    # --- data -----------------------------------------------------------------------

    def _check_table(self, X, *, reset):
        return check_table(self, X, self._given(), reset=reset)

    def _check_labelled(self, X, y, thresholds, groups):
        """Return the table, outcomes, thresholds, groups, and the discoveries."""
        for estimator in self._given():
            check_scores_rows(estimator)
        require_y(self, y)
        X = self._check_table(X, reset=True)
        goal = self._goal()
        if self.target is not None and not self.larger:
            raise ValueError(
                "larger=False means nothing where target is given: state the "
                "discoveries in target."
            )
        y = check_outcomes(y, goal)
        check_consistent_length(X, y)
        label = not (goal.numeric or callable(self.target))
        if label and self.target not in y.tolist():
            raise ValueError(f"No row of y is of the class target={self.target!r}.")
        thresholds = self._check_thresholds(thresholds, len(y))
        groups = check_groups(groups, len(y))
        if groups is not None:
            groups = Groups(*np.unique(groups, return_inverse=True))
        return X, y, thresholds, groups, goal.positive(y, thresholds)

    def _check_thresholds(self, thresholds, n):
        if thresholds is None:
            return None
        if not self._goal().numeric:
            raise ValueError("thresholds mean nothing where target is given.")
        thresholds = check_numbers(column_or_1d(thresholds), "thresholds")
        if len(thresholds) != n:
            raise ValueError(
                f"thresholds has {len(thresholds)} entries for {n} samples."
            )
        return thresholds

    def _discoveries(self, y, thresholds):
        """Which rows with known outcomes are discoveries."""
        goal = self._goal()
        y = check_outcomes(y, goal)
        if self._per_row and thresholds is None:
            raise ValueError(
                "fit was given thresholds: pass those of these rows as thresholds."
            )
        return goal.positive(y, self._check_thresholds(thresholds, len(y)))

    # --- warnings -------------------------------------------------------------------

    def _warn_if_powerless(self, positive):
        """Warn of what no calibration can change."""
        if positive.all() or not positive.any():
            kind = "a discovery" if positive.all() else "no discovery"
            warnings.warn(
                f"Every one of the {len(positive)} calibration rows is {kind}: there "
                "is nothing to tell apart. Move threshold, or label more rows.",
                UserWarning,
                stacklevel=4,
            )

    def _warn_if_coarse(self, found, levels):
        """Warn when the calibration rows are too few for any selection."""
        if found.smallest > np.min(levels):
            warnings.warn(
                "The smallest p-value the calibration rows allow is "
                f"{found.smallest:.3g}, above the level {np.min(levels):.3g}: (almost) "
                "nothing can be selected. Label more rows.",
                UserWarning,
                stacklevel=3,
            )

    def _warn_if_not_singly(self, found, levels):
        """Warn when nothing is selected as too few rows have the best rank at once."""
        smallest, level, m = found.smallest, np.min(levels), found.selected.shape[1]
        if smallest > level or found.e_values is not None:
            return
        finest = np.argmin(levels)
        best = int(np.sum(found.p_values[finest] <= smallest))
        if best and smallest > level / m and not found.selected[finest].any():
            least = int(np.ceil(smallest * m / level * (1 - 1e-12)))
            warnings.warn(
                f"{best} of the {m} new rows have the best rank there is, p = "
                f"{smallest:.3g}, and none is selected: at the level {level:.3g} it "
                f"takes {least} such rows together. Label more rows, or select from "
                "smaller batches.",
                UserWarning,
                stacklevel=3,
            )

    # --- selection ------------------------------------------------------------------

    def _select(self, X, levels, thresholds, groups):
        """Return the :class:`Selection` of the rows of X at each level."""
        check_is_fitted(self)
        grid = np.atleast_1d(check_levels(levels, name="fdr_level"))
        X = self._check_table(X, reset=False)
        groups = self._check_new_groups(groups, X.shape[0])
        # one draw for equal rows would select them together, above the level
        hashes = told_apart(row_hashes(X))
        repeats = [r._replace(hashes=hashes) for r in self._repeats(X, thresholds)]
        rule = Rule(self._optimizes, self.randomized, self.pruning, self.beta)
        return select_batch(repeats, grid, rule, groups)

    def _check_new_groups(self, groups, n):
        """Codes of the groups of new rows."""
        known = None
        if self._groups is not None:
            known = Groups(*self._groups)
        if groups is None:
            if known is not None:
                raise ValueError(
                    "fit was given groups: pass those of the new rows as groups."
                )
            return None
        groups = check_groups(groups, n)
        if known is None:
            return np.unique(groups, return_inverse=True)[1]
        codes = known.codes_of(groups)
        if np.any(codes >= len(known.labels)):
            unknown = groups[codes >= len(known.labels)].tolist()[0]
            warnings.warn(
                f"The group {unknown!r} has no labelled rows: nothing of it can be "
                "selected.",
                UserWarning,
                stacklevel=4,
            )
        return codes

    def _level(self, fdr_level):
        return self.fdr_level if fdr_level is None else fdr_level

    def select(self, X, *, fdr_level=None, thresholds=None, groups=None):
        """Select rows whose outcome is expected to be a discovery.

        The selection belongs to the batch: the same row among other rows can be
        selected or not. The same batch gives the same selection each time.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        fdr_level : float or array-like of shape (n_levels,), default=None
            Accepted rate of false discoveries; ``fdr_level`` of the constructor if
            None. Several levels are computed in one pass.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of groups in each of which the rate is to be at most ``fdr_level``.
            If ``fit`` was given groups, new rows are compared with the labelled rows
            of their group; otherwise with all, at a level in proportion to the size
            of the group, which is more conservative.

        Returns
        -------
        selected : ndarray of bool of shape (n_samples,) or (n_levels, n_samples)
            Whether each row is selected.
        """
        level = self._level(fdr_level)
        found = self._select(X, level, thresholds, groups)
        self._warn_if_coarse(found, level)
        if groups is None:
            self._warn_if_not_singly(found, level)
        single = np.ndim(level) == 0
        for name, attribute in _ATTRIBUTES.items():
            value = getattr(found, name)
            vars(self).pop(attribute, None)
            if value is not None and (self._optimizes or name in _OF_EVERY_SELECTOR):
                setattr(self, attribute, value[0] if single else value)
        return found.selected[0] if single else found.selected

    def p_values(self, X, *, thresholds=None, groups=None):
        """Return the p-value of "this row is no discovery".

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups, if ``fit`` was given some.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            Values in (0, 1]; under several candidates, of the one chosen at
            ``fdr_level``; of several repeats, twice their mean.
        """
        return np.array(self._select(X, self.fdr_level, thresholds, groups).p_values[0])

    def selection_path(self, X, *, levels=None, thresholds=None, groups=None):
        """Return the smallest level at which each row is selected.

        Choosing a level after seeing this voids the guarantee: it is a plot, not a
        decision.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        levels : array-like of shape (n_levels,), default=None
            Levels to try: 0.01, 0.02, ..., 0.99 if None. A selector of one candidate
            without density ratios, groups and repeats needs none: its values are the
            adjusted p-values.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups; see :meth:`select`.

        Returns
        -------
        smallest : ndarray of shape (n_samples,)
            Levels; ``inf`` for rows that no level of the grid selects.
        """
        grid = np.arange(1, 100) / 100 if levels is None else np.sort(levels)
        found = self._select(X, grid, thresholds, groups)
        simple = found.sizes is None and found.e_values is None and groups is None
        if levels is None and simple:
            return adjusted_p_values(found.p_values[0])
        first = found.selected.argmax(axis=0)
        return np.where(found.selected.any(axis=0), grid[first], np.inf)

    def predict(self, X, *, thresholds=None, groups=None):
        """Return 1 for selected rows and 0 for the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows; the selection belongs to the batch.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups; see :meth:`select`.

        Returns
        -------
        selected : ndarray of int of shape (n_samples,)
            The selection at ``fdr_level``.
        """
        found = self._select(X, self.fdr_level, thresholds, groups)
        self._warn_if_coarse(found, self.fdr_level)
        return found.selected[0].astype(np.int64)

    def decision_function(self, X, *, thresholds=None, groups=None):
        """Return minus the p-values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups, if ``fit`` was given some.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            The larger, the more certain a discovery.
        """
        return -self.p_values(X, thresholds=thresholds, groups=groups)

    def score(self, X, y, sample_weight=None, *, thresholds=None, groups=None):
        """Return the power: the fraction of the discoveries that is selected.

        A search that maximises it has seen the rows it scored on. Calibrate the model
        it finds on other rows: the guarantee holds for rows that chose nothing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with known outcomes.
        y : array-like of shape (n_samples,)
            The outcomes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the fraction.
        thresholds : array-like of shape (n_samples,), default=None
            One threshold per row, if ``fit`` was given some.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups; see :meth:`select`.

        Returns
        -------
        power : float
            Between 0 and 1; 0 where there is nothing to discover.
        """
        check_is_fitted(self)
        positive = self._discoveries(y, thresholds)
        new = thresholds if self._needs_new_thresholds else None
        selected = self.predict(X, thresholds=new, groups=groups) == 1
        weight = positive.astype(np.float64)
        if sample_weight is not None:
            weight *= check_sample_weight(sample_weight, weight)
        return float(weight @ selected / weight.sum()) if weight.any() else 0.0


def check_groups(groups, n):
    """Return labels of groups as a one-dimensional array without gaps."""
    if groups is None:
        return None
    groups = column_or_1d(groups)
    if len(groups) != n:
        raise ValueError(f"groups has {len(groups)} entries for {n} samples.")
    if groups.dtype.kind == "O":
        groups = np.array(groups.tolist())
    missing = groups.dtype.kind == "f" and np.isnan(groups).any()
    if missing or groups.dtype.kind == "O" or groups.ndim != 1:
        raise ValueError("groups must hold numbers or strings, one per row, no NaN.")
    return groups
