"""Synthetic tables with a stated privacy guarantee, and tests of it."""

from skdiff._privacy._budget import PrivacyAccountant, PrivacyBudgetError, PrivacySpent
from skdiff.synthetic._display import MarginalsDisplay
from skdiff.synthetic._gsd._estimator import PrivateGSDSynthesizer
from skdiff.synthetic._membership import membership_report
from skdiff.synthetic._queries._marginals import MarginalQueries, RangeQueries
from skdiff.synthetic._queries._predicates import PredicateQueries
from skdiff.synthetic._queries._thresholds import HalfspaceQueries, PrefixQueries
from skdiff.synthetic._schema import TableSchema

__all__ = [
    "PrivateGSDSynthesizer",
    "TableSchema",
    "PrivacyAccountant",
    "PrivacySpent",
    "PrivacyBudgetError",
    "MarginalQueries",
    "RangeQueries",
    "PrefixQueries",
    "HalfspaceQueries",
    "PredicateQueries",
    "membership_report",
    "MarginalsDisplay",
]
