"""What a fit may spend, and how it is split; everything here is public."""

import math
import warnings
from fractions import Fraction
from typing import Any, NamedTuple

from skdiff._privacy._accounting import LEAST_RHO, epsilon_of, floored, rho_of
from skdiff._privacy._budget import PrivacySpent, exact


class Asked(NamedTuple):
    """Budget of a fit: rho is None without privacy."""

    rho: Fraction | None
    delta: float | None
    neighbors: str
    rows_per_user: int

    @property
    def private(self) -> bool:
        """Whether noise is added."""
        return self.rho is not None

    def spent(self, total: Fraction, valid: bool) -> PrivacySpent:
        """The guarantee after ``total`` was charged."""
        unit = (
            "row" if self.rows_per_user == 1 else f"user of {self.rows_per_user} rows"
        )
        if self.rho is None or self.delta is None:
            epsilon, rho = math.inf, math.inf
            return PrivacySpent(rho, epsilon, self.delta, self.neighbors, unit, valid)
        epsilon = epsilon_of(float(total), self.delta)
        return PrivacySpent(total, epsilon, self.delta, self.neighbors, unit, valid)


def check_request(
    epsilon: Any, delta: Any, rho: Any, form: tuple[str, int], accountant: Any
) -> None:
    """Refuse what contradicts itself, before any row is read."""
    if rho is not None and epsilon not in (None, 1.0):
        raise ValueError("epsilon and rho are two ways to state one budget: pass one.")
    if epsilon is None and rho is None:
        if accountant is not None:
            raise ValueError("An accountant needs epsilon or rho.")
        return
    for name, value in (("epsilon", epsilon), ("rho", rho)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite. Got {value!r}.")
    if delta is not None and not 0 < delta < 1:
        raise ValueError(f"delta must be in the open interval (0, 1). Got {delta!r}.")
    if rho is not None:
        _check_size(exact(rho), form[1])
    if delta is None and form[0] == "add-remove":
        raise ValueError(
            'delta must be given with neighbors="add-remove": its default depends on '
            "the number of rows, which is private then."
        )
    if rho is None and epsilon > 10:
        warnings.warn(
            f"epsilon={epsilon:g} is a weak guarantee: at epsilon 10 the odds of any "
            "conclusion about a row may change by a factor of 22000.",
            UserWarning,
            stacklevel=4,
        )


def _check_size(rho: Fraction, rows_per_user: int) -> None:
    """Refuse a budget whose noise would be larger than any count."""
    if rho < LEAST_RHO * rows_per_user**2:
        of_user = "" if rows_per_user == 1 else " times the squared rows_per_user"
        raise ValueError(
            f"The budget is too small to measure anything: in units of rho it must be "
            f"at least {LEAST_RHO:.2g}{of_user}. Got {float(rho):.2g}."
        )


def asked(
    epsilon: Any, delta: Any, rho: Any, form: tuple[str, int], n_rows: int
) -> Asked:
    """The budget in units of rho; ``n_rows`` is public under replace-one."""
    neighbors, rows_per_user = form
    if epsilon is None and rho is None:
        return Asked(None, delta, neighbors, rows_per_user)
    if delta is None:
        delta = 1.0 / max(n_rows, 2) ** 2
    elif neighbors == "replace-one" and n_rows and delta > 1.0 / n_rows:
        warnings.warn(
            f"delta={delta:g} is more than one over the number of rows, so that it "
            "allows to publish a row.",
            UserWarning,
            stacklevel=4,
        )
    if rho is not None:
        return Asked(exact(rho), delta, neighbors, rows_per_user)
    found = floored(rho_of(epsilon, delta))
    _check_size(found, rows_per_user)
    return Asked(found, delta, neighbors, rows_per_user)


def portion(value: float) -> Fraction:
    """A fraction of the budget, exact and easy to read."""
    found = Fraction(value).limit_denominator(10**6)
    return found if 0 < found < 1 else Fraction(value)
