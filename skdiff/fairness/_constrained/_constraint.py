"""What may be demanded of a model on average over rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np

RATES = ("score", "positive", "true_positive", "false_positive")
KINDS = ("custom", "loss", "mean", *RATES)


@dataclass(frozen=True)
class Constraint:
    """A bound on an average over rows, for ``ConstrainedClassifier`` and its sibling.

    The class methods build the usual ones. ``Constraint(row_loss, bound, name)`` bounds
    the mean of a custom loss.

    Parameters
    ----------
    row_loss : callable
        ``row_loss(f, y)`` returns the loss of each row. It gets torch tensors of shape
        (n_samples,) and is differentiated by torch: f holds log odds of the second
        class, or predictions of a regressor, y codes 0 and 1, or target values.
    bound : float
        Largest mean over the rows.
    name : str, default=None
        Name in the reports; made from the kind if None.
    kind : str, default="custom"
        Set by the class methods.
    where : object, default=None
        Set by :meth:`loss_at_most`.
    groups : tuple, default=None
        Set by :meth:`rate_gap`.

    See Also
    --------
    ConstrainedClassifier : Classifiers under constraints.
    ConstrainedRegressor : Regressors under constraints.

    Examples
    --------
    >>> from skdiff.fairness import Constraint
    >>> Constraint.rate_gap("score", at_most=0.1).name
    'score_gap'
    >>> Constraint.loss_at_most(0.5, where="rural").name
    'loss[rural]'
    >>> Constraint(lambda f, y: f**2, 4.0, "energy").bound
    4.0
    """

    row_loss: Callable[[Any, Any], Any] | None
    bound: float
    name: str | None = None
    kind: str = "custom"
    where: Any = None
    groups: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}.")
        number = isinstance(self.bound, Real) and not isinstance(self.bound, bool)
        if not number or not np.isfinite(self.bound):
            raise ValueError(
                f"The bound of a constraint must be a finite number, got "
                f"{self.bound!r}."
            )
        if self.kind in RATES and self.bound < 0:
            raise ValueError(
                f"at_most of a gap must be >= 0, got {self.bound!r}; a difference is "
                "never negative."
            )
        if self.kind == "custom" and not callable(self.row_loss):
            raise ValueError(f"row_loss must be callable, got {self.row_loss!r}.")
        if self.name is None:
            object.__setattr__(self, "name", self._default_name())

    def _default_name(self) -> str:
        if self.kind == "loss":
            if self.where is None:
                return "loss"
            where = "where" if callable(self.where) else self.where
            return f"loss[{where}]"
        if self.kind == "mean":
            return "mean_prediction"
        return "custom" if self.kind == "custom" else f"{self.kind}_gap"

    @classmethod
    def loss_at_most(
        cls, value: float, *, where: Any = None, name: str | None = None
    ) -> Self:
        """Bound the mean loss of some rows.

        Parameters
        ----------
        value : float
            Largest mean log loss, or mean squared error of a regressor.
        where : group label or callable, default=None
            Which rows: a label of ``sensitive_features``, or a function of X that
            returns a boolean array. All rows if None.
        name : str, default=None
            Name in the reports.

        Returns
        -------
        constraint : Constraint
            The constraint.
        """
        return cls(None, value, name, "loss", where)

    @classmethod
    def rate_gap(
        cls,
        kind: str,
        *,
        at_most: float,
        groups: Sequence[Any] | None = None,
        name: str | None = None,
    ) -> Self:
        """Bound the difference of a rate between every two groups.

        Parameters
        ----------
        kind : {"score", "positive", "true_positive", "false_positive"}
            ``"score"`` is the mean decision value (log odds, or the prediction of a
            regressor): convex in a linear model and solved exactly. The others are
            rates of positive decisions: of all rows, or of those of either label.
            Training uses a smooth rate, ``true_violations_`` reports the real one.
        at_most : float
            Largest difference.
        groups : list, default=None
            Labels of the groups to compare; all if None.
        name : str, default=None
            Name in the reports.

        Returns
        -------
        constraint : Constraint
            The constraint.
        """
        if kind not in RATES:
            raise ValueError(f"kind must be one of {RATES}, got {kind!r}.")
        chosen = None if groups is None else tuple(groups)
        return cls(None, at_most, name, kind, None, chosen)

    @classmethod
    def mean_prediction(cls, at_most: float, *, name: str | None = None) -> Self:
        """Bound the mean prediction, such as a budget.

        Parameters
        ----------
        at_most : float
            Largest mean prediction, or mean probability of the second class.
        name : str, default=None
            Name in the reports.

        Returns
        -------
        constraint : Constraint
            The constraint.
        """
        return cls(None, at_most, name, "mean")
