"""Search for hyperparameters."""

from skdiff.model_selection._conformal_quantile_search import ConformalQuantileSearchCV
from skdiff.model_selection._hyperband import HyperbandSearchCV

__all__ = ["ConformalQuantileSearchCV", "HyperbandSearchCV"]
