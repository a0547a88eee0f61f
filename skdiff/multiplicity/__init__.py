"""How far equally good models disagree."""

from skdiff.multiplicity._displays import RashomonRangeDisplay
from skdiff.multiplicity._rashomon import (
    RashomonClassifier,
    RashomonRegressor,
    multiplicity_report,
)

__all__ = [
    "RashomonClassifier",
    "RashomonRegressor",
    "multiplicity_report",
    "RashomonRangeDisplay",
]
