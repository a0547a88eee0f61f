"""What was spent, entry by entry, and who may still spend."""

import math
import threading
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Self

from skdiff._privacy._accounting import delta_of, epsilon_of

_DIGITS = 2**30
# counts of 64 bits hold noise of 512 standard deviations
LARGEST_VARIANCE = 2**108


class PrivacyBudgetError(ValueError):
    """A fit would spend more than its accountant has left."""


class PrivacyLeakWarning(UserWarning):
    """A release has no privacy guarantee."""


@dataclass(frozen=True)
class LedgerEntry:
    """One measurement or selection: what it may reveal and how much noise it had."""

    name: str
    kind: str
    sensitivity_sq: Fraction
    sigma_sq: Fraction | None
    eps: Fraction | None
    rho: Fraction


@dataclass(frozen=True, repr=False)
class PrivacySpent:
    """Privacy guarantee of a release.

    Parameters
    ----------
    rho : Fraction
        Parameter of zero-concentrated differential privacy, exact.
    epsilon : float
        Epsilon at ``delta``.
    delta : float
        Delta at which ``epsilon`` is stated.
    neighbors : {"replace-one", "add-remove"}
        Tables that the guarantee compares.
    unit : str, default="row"
        Whose data the guarantee protects.
    valid : bool, default=True
        False where the noise did not come from the operating system.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from skdiff.synthetic import PrivacySpent
    >>> spent = PrivacySpent(Fraction(1, 10), 1.914, 1e-5, "replace-one")
    >>> round(spent.epsilon_at(1e-5), 3)
    1.914
    """

    rho: Any
    epsilon: float
    delta: float | None
    neighbors: str
    unit: str = "row"
    valid: bool = True

    def __repr__(self) -> str:
        delta = "None" if self.delta is None else f"{self.delta:.6g}"
        valid = "" if self.valid else ", valid=False"
        return (
            f"PrivacySpent(epsilon={self.epsilon:.6g}, delta={delta}, "
            f"rho={float(self.rho):.6g}, neighbors={self.neighbors!r}, "
            f"unit={self.unit!r}{valid})"
        )

    def epsilon_at(self, delta: float) -> float:
        """Return the epsilon of the release at another delta.

        Parameters
        ----------
        delta : float
            Delta in the open interval (0, 1).

        Returns
        -------
        epsilon : float
            The smallest epsilon that zCDP implies.
        """
        if not 0 < delta < 1:
            raise ValueError(f"delta must be in the open interval (0, 1). Got {delta}.")
        return epsilon_of(float(self.rho), delta)

    def delta_at(self, epsilon: float) -> float:
        """Return the delta of the release at another epsilon.

        Parameters
        ----------
        epsilon : float
            A number, zero or positive.

        Returns
        -------
        delta : float
            The smallest delta that zCDP implies.
        """
        if not 0 <= epsilon < math.inf:
            raise ValueError(f"epsilon must be zero or positive. Got {epsilon}.")
        if self.rho == math.inf:
            return 1.0
        return delta_of(float(self.rho), epsilon)


class PrivacyAccountant:
    """Budget that several fits share.

    A fit reserves what it will spend before it reads any row, and raises
    :class:`PrivacyBudgetError` where the rest is too small. Copies and clones share the
    budget, so that each fold of a cross-validation spends from it.

    Parameters
    ----------
    rho : float or Fraction
        Total budget in units of zero-concentrated differential privacy.
    frozen : bool, default=False
        Whether the budget is only a record: it can be pickled, and nothing can be
        spent from it.

    Examples
    --------
    >>> from skdiff.synthetic import PrivacyAccountant
    >>> budget = PrivacyAccountant(0.5)
    >>> budget.reserve(0.25)
    >>> float(budget.remaining)
    0.25
    """

    def __init__(self, rho: Any, *, frozen: bool = False) -> None:
        total = _fraction(rho)
        if total <= 0:
            raise ValueError(f"rho must be positive. Got {rho!r}.")
        self.rho_total, self.frozen = total, frozen
        self._spent = Fraction(0)
        self._lock = threading.Lock()

    @property
    def spent(self) -> Fraction:
        """Budget that fits have reserved."""
        return self._spent

    @property
    def remaining(self) -> Fraction:
        """Budget that is left."""
        return self.rho_total - self._spent

    def reserve(self, rho: Any) -> None:
        """Take a part of the budget, or raise.

        Parameters
        ----------
        rho : float or Fraction
            What will be spent.
        """
        wanted = _fraction(rho)
        if wanted <= 0:
            raise ValueError(f"rho must be positive. Got {rho!r}.")
        with self._lock:
            if self.frozen:
                raise PrivacyBudgetError("The accountant is frozen: a record only.")
            if wanted > self.remaining:
                raise PrivacyBudgetError(
                    f"The fit needs rho = {float(wanted):.6g}, and the accountant has "
                    f"{float(self.remaining):.6g} left of {float(self.rho_total):.6g}."
                )
            self._spent += wanted

    def release(self, rho: Any) -> None:
        """Give back what was reserved and never used.

        Parameters
        ----------
        rho : float or Fraction
            What was reserved before a fit that ended without any measurement.
        """
        unused = _fraction(rho)
        if unused < 0:
            raise ValueError(f"rho must be zero or positive. Got {rho!r}.")
        with self._lock:
            if unused > self._spent:
                raise ValueError("More would be released than was reserved.")
            self._spent -= unused

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        # a copy of a budget would double it
        return self

    def __getstate__(self) -> dict[str, Any]:
        if not self.frozen:
            raise TypeError(
                "A PrivacyAccountant cannot be written, since a copy would double the "
                "budget. Set accountant=None in the estimator, or use frozen=True for "
                "a record that can be pickled and not spent."
            )
        return {"rho_total": self.rho_total, "_spent": self._spent}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "frozen": True, "_lock": threading.Lock()}

    def __repr__(self) -> str:
        return (
            f"PrivacyAccountant(rho={float(self.rho_total):.6g}, "
            f"remaining={float(self.remaining):.6g})"
        )


def exact(value: Any) -> Fraction:
    """Return a number, one of NumPy's included, as an exact fraction."""
    if isinstance(value, Fraction):
        return value
    return Fraction(int(value) if isinstance(value, Integral) else float(value))


def _fraction(value: Any) -> Fraction:
    """A finite number as an exact fraction."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"rho must be a number. Got {type(value).__name__}.")
    if not math.isfinite(value):
        raise ValueError(f"rho must be finite. Got {value!r}.")
    return exact(value)


class Ledger:
    """Entries of one fit; each states the noise that its part of rho calls for."""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []

    def gaussian(self, name: str, sensitivity_sq: int, rho: Fraction) -> Fraction:
        """Charge a Gaussian measurement and return its variance.

        The variance is ``sensitivity_sq / (2 rho)``, rounded up.
        """
        sigma_sq = _ceiled(Fraction(sensitivity_sq) / (2 * rho))
        if sigma_sq > LARGEST_VARIANCE:
            raise ValueError(
                f"The part of the budget for {name}, rho = {float(rho):.3g}, is too "
                "small: its noise would not fit 64-bit counts."
            )
        self.entries.append(
            LedgerEntry(name, "gaussian", Fraction(sensitivity_sq), sigma_sq, None, rho)
        )
        return sigma_sq

    def exponential(self, name: str, sensitivity: int, rho: Fraction) -> Fraction:
        """Charge one draw of the exponential mechanism and return its epsilon.

        Its range is bounded, so that it is ``eps**2 / 8``-zCDP; eps is rounded down.
        """
        scale = 2**64
        eps = Fraction(math.isqrt(math.floor(8 * rho * scale**2)), scale)
        sensitivity_sq = Fraction(sensitivity**2)
        self.entries.append(
            LedgerEntry(name, "exponential", sensitivity_sq, None, eps, rho)
        )
        return eps

    @property
    def total(self) -> Fraction:
        """Sum of all entries, exact."""
        return sum((entry.rho for entry in self.entries), Fraction(0))


def _ceiled(value: Fraction) -> Fraction:
    """The value rounded up to about thirty bits, so that integers stay short."""
    scale = Fraction(1)
    while value * scale < _DIGITS:
        scale *= 2
    while value * scale >= 2 * _DIGITS:
        scale /= 2
    return math.ceil(value * scale) / scale
