"""What the models of ordered classes share: rows in, probabilities out."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import ndtr
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff._base.persistence import SaveMixin
from skdiff._base.rows import class_weighted, without_zeros
from skdiff._base.validation import check_X, check_X_y
from skdiff._convex._solve import warn_unless_converged
from skdiff._convex._sparse import canonical_rows
from skdiff.linear_model._ordinal._labels import (
    Scaling,
    check_labels,
    declared_order,
    ordered_codes,
    scaling,
)
from skdiff.linear_model._ordinal._likelihood import General, sort_rows
from skdiff.linear_model._ordinal._probabilities import (
    class_probabilities,
    crossing_rows,
    cumulative_probabilities,
    decide,
)
from skdiff.linear_model._ordinal._solver import (
    Penalty,
    fit_cvxpy,
    fit_or_fall_back,
    information,
    pose,
    unpack,
)

SPARSE = ["csr", "csc"]
_SEPARATED = 1e-6  # a mean loss below it
_RESCALE = (
    "The solution is not finite: X has values too large or too small for their "
    "squares. Rescale X, for instance with StandardScaler."
)


class Table(NamedTuple):
    """Checked rows with their codes and weights."""

    X: np.ndarray
    codes: np.ndarray
    weight: np.ndarray
    classes: np.ndarray


def make_rows(table, standardize, free=True):
    """Rows sorted by class, and how their columns were scaled."""
    how = scaling(table.X, table.weight, standardize, free)
    X = how.apply(table.X)
    rows = sort_rows(X, table.codes, table.weight, len(table.classes))
    return rows, how


class BaseOrdinal(ClassifierMixin, SaveMixin, BaseEstimator):
    """A cumulative logit model."""

    _parallel = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # one direction at most orders the classes, and labels without an order need
        # several
        tags.classifier_tags.poor_score = True
        return tags

    # --- fit ------------------------------------------------------------------------

    def _table(self, X, y, sample_weight, order=None, *, reset=True):
        """Check; drop rows of weight zero; code the labels in their order."""
        order = declared_order(y, self.categories) if order is None else order
        X, y = check_X_y(
            self, X, y, reset=reset, accept_sparse=SPARSE, dtype=np.float64, order="C"
        )
        check_labels(y)
        if not isinstance(X, np.ndarray):
            X = canonical_rows(X)
        weight = None
        if sample_weight is not None:
            X, y, weight = without_zeros(X, y, check_sample_weight(sample_weight, X))
        X, y, weight = class_weighted(X, y, weight, self.class_weight)
        if weight is None:
            weight = np.ones(len(y))
        classes, codes = ordered_codes(y, order)
        self._refuse_few(classes)
        return Table(X, codes, weight, classes)

    def _refuse_few(self, classes):
        name = type(self).__name__
        if len(classes) < 2:
            raise ValueError(
                f"{name} needs at least two classes; got one class: "
                f"{classes.tolist()[0]!r}."
            )
        if len(classes) > 2 and not self.fit_intercept:
            raise ValueError(
                "fit_intercept=False needs two classes: with three classes or more the "
                f"intercepts are the thresholds between them. Got {len(classes)} "
                "classes."
            )

    def _penalty(self, alpha=None):
        alpha = self.alpha if alpha is None else alpha
        base = getattr(self, "penalize_base", True)
        return Penalty(float(alpha), float(self.l1_ratio), base, self._parallel)

    def _learn(self, table, alpha=None, start=None):
        """Fit one model and keep it; what is set here is set at the end."""
        rows, how = make_rows(table, self.standardize, self.fit_intercept)
        penalty = self._penalty(alpha)
        with np.errstate(all="ignore"):
            problem = pose(rows, penalty)
            if not self.fit_intercept:
                problem = without_threshold(problem)
            if self.solver == "cvxpy":
                found = fit_cvxpy(problem)
            else:
                found = fit_or_fall_back(problem, start, self.tol, self.max_iter)
        if not (np.all(np.isfinite(found.x)) and np.isfinite(found.objective)):
            raise ValueError(_RESCALE)
        warn_unless_converged(self, found)
        self._keep(found, problem, how, table, penalty.alpha)
        return self

    def _keep(self, found, problem, how, table, alpha):
        levels, psi = unpack(found.x, problem.rows, self._parallel)
        coef = np.cumsum(psi, axis=0)
        if not self._parallel:
            self.coef_diff_ = psi / how.scale
        self.classes_ = table.classes
        self.coef_ = coef / how.scale
        self.intercept_ = levels - self.coef_ @ how.mean
        if not self.fit_intercept:
            self.intercept_ = np.zeros(1)
        self.n_iter_ = max(int(found.n_iter), 1)
        self.objective_, self.dual_gap_ = float(found.objective), float(found.gap)
        self._variances = None
        if alpha == 0 and self.fit_intercept:
            # an optimum at infinity has no curvature; its loss may be zero
            attained = found.converged and found.objective > _SEPARATED
            self._variances = np.full(problem.size, np.nan)
        if alpha == 0 and self.fit_intercept and attained:
            H = table.weight.sum() * information(problem, found.x, self._parallel)
            self._variances = variances(H, how, len(levels), self._parallel)

    # --- predictions ----------------------------------------------------------------

    def _logits(self, X, warn=True):
        check_is_fitted(self)
        X = check_X(
            self, X, accept_sparse=SPARSE, dtype=np.float64, order="C", reset=False
        )
        eta = X @ self.coef_.T + self.intercept_
        crossing = int(np.count_nonzero(crossing_rows(eta)))
        if crossing and warn:
            how = "sorted" if self.monotone == "rearrange" else "clipped at zero"
            warnings.warn(
                f"The cumulative probabilities of {crossing} of {len(eta)} rows cross; "
                f"they were {how}. A larger alpha makes crossing rarer.",
                UserWarning,
                stacklevel=3,
            )
        return eta

    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; classes in the order of ``classes_``.
        """
        return class_probabilities(self._logits(X), self.monotone)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Logarithms; minus infinity where a clipped probability is zero.
        """
        with np.errstate(divide="ignore"):
            return np.log(class_probabilities(self._logits(X), self.monotone))

    def predict_cumulative_proba(self, X):
        """Return the probability of each class or a lower one.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        cumulative : ndarray of shape (n_samples, n_classes)
            Rows do not fall and end in one.
        """
        return cumulative_probabilities(self._logits(X), self.monotone)

    def decision_function(self, X):
        """Return what grows with the class.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            With two classes the log odds of the upper one, the opposite sign of the
            model's own logit. With more the log probability of each class, at least
            that of the smallest positive number.
        """
        eta = self._logits(X)
        if eta.shape[1] == 1:
            return -eta[:, 0]
        proba = class_probabilities(eta, self.monotone)
        return np.log(np.maximum(proba, np.finfo(np.float64).tiny))

    def predict(self, X):
        """Predict the class of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels: the likeliest, or with ``decision="median"`` the first whose
            cumulative probability is at least one half.
        """
        eta = self._logits(X)
        proba = class_probabilities(eta, self.monotone)
        cumulative = cumulative_probabilities(eta, self.monotone)
        return self.classes_[decide(proba, cumulative, self.decision)]

    # --- inference ------------------------------------------------------------------

    def _names(self):
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            return list(names)
        return [f"x{j}" for j in range(self.n_features_in_)]

    def summary_frame(self):
        """Return coefficients with standard errors of the unpenalised model.

        Returns
        -------
        frame : DataFrame
            One row per parameter; columns ``coef``, ``std_err``, ``z``, ``pvalue``,
            ``ci_low`` and ``ci_high`` (95 %), from the observed information. Weights
            of rows count as that many rows.

        Raises
        ------
        ValueError
            If the model is penalised, or if the information matrix is singular.
        """
        import pandas as pd

        check_is_fitted(self)
        if self._variances is None:
            raise ValueError(
                "summary_frame needs alpha=0 and fit_intercept=True: penalised "
                "estimates have no such standard errors."
            )
        if not np.all(np.isfinite(self._variances)):
            raise ValueError(
                "The information matrix is singular, so that there are no standard "
                "errors: columns are collinear or constant, or classes are separated."
            )
        levels = [f"intercept[{label}]" for label in self.classes_[:-1]]
        coef, std_err = self._parameters()
        if self._parallel:
            index = self._names() + levels
        else:
            names = self._names()
            index = levels + [
                f"{name}[{label}]" for label in self.classes_[:-1] for name in names
            ]
        z = coef / std_err
        reach = 1.959963984540054 * std_err
        return pd.DataFrame(
            {
                "coef": coef,
                "std_err": std_err,
                "z": z,
                "pvalue": 2 * ndtr(-np.abs(z)),
                "ci_low": coef - reach,
                "ci_high": coef + reach,
            },
            index=index,
        )

    def _parameters(self):
        """Parameters and standard errors in the order of the summary."""
        std_err = np.sqrt(self._variances)
        m = len(self.intercept_)
        if self._parallel:
            coef = np.concatenate([self.coef_[0], self.intercept_])
            return coef, np.concatenate([std_err[m:], std_err[:m]])
        return np.concatenate([self.intercept_, self.coef_.ravel()]), std_err


def variances(H, how: Scaling, m, parallel):
    """Variances of thresholds and coefficients in the units of X; NaN if singular."""
    d = len(H)
    p = len(how.scale)
    # thresholds move with the means that were taken out of the columns
    T = np.eye(d)
    for k in range(m):
        block = slice(m, None) if parallel else slice(m + k * p, m + (k + 1) * p)
        T[k, block] = -how.mean / how.scale
    T[np.arange(m, d), np.arange(m, d)] = np.tile(1 / how.scale, (d - m) // p)
    size = np.sqrt(np.maximum(np.diag(H), 0.0))
    if np.any(size == 0):
        return np.full(d, np.nan)
    S = H / size / size[:, None]
    try:
        covariance = cho_solve(cho_factor(S), np.eye(d))
    except (LinAlgError, ValueError):
        return np.full(d, np.nan)
    if np.linalg.norm(S, 1) * np.linalg.norm(covariance, 1) > 1e14:
        return np.full(d, np.nan)
    T = T / size
    return np.einsum("ij,ij->i", T @ covariance, T)


def without_threshold(problem):
    """The binary problem whose threshold is held at zero: its column is of zeros."""
    rows = problem.rows
    A = rows.A.copy()
    if sparse.issparse(A):
        A = sparse.csr_array(
            A @ sparse.diags_array(np.r_[0.0, np.ones(A.shape[1] - 1)])
        )
    else:
        A[:, 0] = 0.0
    rows = rows._replace(A=A, start=np.zeros(1))
    return General(rows, problem.lasso, problem.ridge)
