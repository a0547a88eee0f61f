"""What linear models with a penalty per feature share."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, check_X_y
from skdiff._convex._sparse import canonical_rows


def check_vector(values, name, n_features, *, positive, n_classes=None):
    """A penalty for all features, for each, or for each in each of many classes."""
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number or an array of numbers.") from error
    shapes, matrix = [(), (n_features,)], ""
    if n_classes is not None and n_classes > 2:
        shapes.append((n_classes, n_features))
        matrix = f", or shape {shapes[-1]}, one per coefficient"
    if values.shape not in shapes:
        raise ValueError(
            f"{name} must be a number or have shape ({n_features},), one entry per "
            f"feature{matrix}. Got shape {values.shape}."
        )
    fine = values > 0 if positive else (values >= 0) & np.isfinite(values)
    if not np.all(fine):  # NaN compares false
        kind = "positive" if positive else "finite and not negative"
        raise ValueError(f"{name} must be {kind}.")
    return values


class BaseWeighted(SaveMixin, BaseEstimator):
    """What the three share: rows in, a checked solution out."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _rows(self, X, y, sample_weight, **checks):
        """Check; drop rows of weight zero."""
        X, y = check_X_y(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            dtype=np.float64,
            order="C",
            **checks,
        )
        if not isinstance(X, np.ndarray):
            X = canonical_rows(X)
        weight = None
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, X)
            kept = weight > 0
            X, y, weight = X[kept], y[kept], weight[kept]
        return X, y, weight

    def _solve(self, X, y, weight, classes=None):
        with np.errstate(all="ignore"):
            problem = self._inner_problem().bind(
                X, y, sample_weight=weight, classes=classes
            )
            w, n_iter = problem.solve({}, None, self.tol)
        if not np.all(np.isfinite(w)):
            raise ValueError(
                "The solution is not finite: X has values too large or too small for "
                "their squares. Rescale X, for instance with StandardScaler."
            )
        return problem, w, n_iter

    def _check_query(self, X):
        check_is_fitted(self)
        return check_X(
            self,
            X,
            accept_sparse=["csr", "csc"],
            dtype=np.float64,
            order="C",
            reset=False,
        )
