"""Datamodels: a prediction as a linear function of which rows it was trained on."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import is_frozen, refuse_samplers, whole_fit
from skdiff._base.parameters import EVERYWHERE
from skdiff.data_selection._base import (
    BaseSampleSelector,
    require_classes,
)
from skdiff.data_selection._choice import number_to_keep
from skdiff.data_selection._datamodel._linear import fit_datamodels
from skdiff.data_selection._datamodel._subsets import draw_masks
from skdiff.data_selection._datamodel._training._base import Reading, subset_outputs

_MOST_BYTES = 4 * 2**30


class Datamodel(BaseSampleSelector):
    """Learn how each training row moves the predictions of each target row.

    The estimator is trained on many random subsets, and its output for a target row is
    regressed on which rows were in the subset. The coefficients tell which training
    rows a prediction rests on, what would be predicted without some rows, and which
    rows to keep for the target. Use it for tables of some hundred to a few thousand
    rows, when a leave-one-out effect is too small to see; where the estimator is linear
    and one row at a time matters, :func:`influence_scores` costs a single fit.

    Parameters
    ----------
    estimator : estimator
        What is trained on the subsets. ``Ridge``, ``LinearRegression``,
        ``RidgeClassifier`` with two classes, ``KernelRidge``, nearest neighbours with
        uniform weights and ``GaussianNB`` are trained on all subsets in one pass over
        shared statistics; any other is fitted subset by subset.
    n_subsets : int, default=2000
        Number of random subsets. More subsets than rows are needed for sharp
        coefficients.
    alpha : float, default=0.5
        Fraction of the rows in each subset.
    output : {"margin", "loss", "logit"} or callable, default="margin"
        What is read of a target row. ``"margin"`` is the decision value (else the
        probability) of the right class minus the largest other one, ``(2y - 1) f``
        for one decision value, and the prediction of a regressor. ``"loss"`` is log
        loss or squared error, ``"logit"`` the log odds of the right class. A callable
        gets the model, ``X_target`` and ``y_target`` and returns one number per row.
    penalty : {"l1", "l2"}, default="l1"
        Penalty of the coefficients. ``"l1"`` gives few non-zero ones.
    alpha_reg : float or "cv", default="cv"
        Its strength, in the units of ``Lasso`` or ``Ridge``. ``"cv"`` chooses it for
        each target on a tenth of the subsets.
    aggregate : {"mean", "median"} or callable, default="mean"
        From ``coef_`` to the score of each row; a callable gets the array.
    n_select : int or float, default=0.5
        Number of rows to select, or their fraction.
    balance : {"class"} or None, default=None
        ``"class"`` keeps the proportions of the classes, at least one row per class.
        With None a selection that loses a class raises.
    strategy : {"top", "sample"}, default="top"
        Whether the best rows are selected, or a sample without replacement in which one
        standard deviation of the score multiplies the weight by e.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    masks_ : ndarray of bool of shape (n_subsets, n_samples)
        Which rows each subset held.
    outputs_ : ndarray of shape (n_subsets, n_targets)
        Output of the model trained on it for each target row.
    coef_ : ndarray of shape (n_targets, n_samples)
        Effect of each training row on each target row.
    intercept_ : ndarray of shape (n_targets,)
        Output without any row, extrapolated.
    correlation_ : ndarray of shape (n_targets,)
        Correlation of predicted and actual outputs on the held-out tenth of the
        subsets.
    alpha_reg_ : ndarray of shape (n_targets,)
        Strength of the penalty.
    scores_ : ndarray of shape (n_samples,)
        Aggregated coefficients. Larger is kept, or, with ``output="loss"``, smaller.
    support_ : ndarray of bool of shape (n_samples,)
        Which rows are selected.
    sample_indices_ : ndarray of shape (n_selected,)
        Their row numbers, sorted.
    n_selected_ : int
        How many.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.

    See Also
    --------
    influence_scores : First-order effects for linear models, from one fit.
    SelectedFit : Select, then fit.

    Notes
    -----
    All targets share one Gram matrix of the masks, and a step of the L1 solver for all
    of them is one product of matrices. ``correlation_`` belongs to the fit without the
    held-out tenth; ``coef_`` to a fit to all subsets under the same penalty. With a
    callable ``output`` larger means better for the selection.

    References
    ----------
    A. Ilyas, S. M. Park, L. Engstrom, G. Leclerc and A. Madry, "Datamodels: Predicting
    Predictions from Training Data", ICML 2022, arXiv 2202.00622.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.data_selection import Datamodel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 3))
    >>> y = X[:, 0] + 0.1 * rng.normal(size=60)
    >>> model = Datamodel(Ridge(), n_subsets=500, penalty="l2", random_state=0)
    >>> model = model.fit(X, y, X_target=X[:4], y_target=y[:4])
    >>> model.coef_.shape
    (4, 60)
    >>> bool(model.correlation_.min() > 0.8)
    True
    """

    _parameter_constraints = {
        **BaseSampleSelector._parameter_constraints,
        "estimator": [HasMethods("fit")],
        "n_subsets": [Interval(Integral, 20, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "output": [StrOptions({"margin", "loss", "logit"}), callable],
        "penalty": [StrOptions({"l1", "l2"})],
        "alpha_reg": [StrOptions({"cv"}), Interval(Real, 0, None, closed="neither")],
        "aggregate": [StrOptions({"mean", "median"}), callable],
        "n_jobs": EVERYWHERE["n_jobs"].constraint,
    }

    # samples of other rows: a search must not cut them by its folds
    __metadata_request__fit = {"X_target": UNUSED, "y_target": UNUSED}

    def __init__(
        self,
        estimator,
        n_subsets=2000,
        alpha=0.5,
        output="margin",
        penalty="l1",
        alpha_reg="cv",
        aggregate="mean",
        *,
        n_select=0.5,
        balance=None,
        strategy="top",
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_subsets = n_subsets
        self.alpha = alpha
        self.output = output
        self.penalty = penalty
        self.alpha_reg = alpha_reg
        self.aggregate = aggregate
        self.n_select = n_select
        self.balance = balance
        self.strategy = strategy
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, X_target=None, y_target=None):
        """Train on the subsets, and regress the outputs on the masks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Their outcomes.
        X_target, y_target : array-like of shape (n_targets, n_features), (n_targets,)
            Rows whose predictions are explained, and their outcomes. Required.

        Returns
        -------
        self : object
            Fitted datamodel.
        """
        with whole_fit(self):
            if is_frozen(self.estimator):
                raise ValueError(
                    "A frozen estimator is not trained on subsets. Pass it unfrozen."
                )
            refuse_samplers(self.estimator, "each subset is a choice of rows")
            X, target, _ = self._check(X, y)
            require_classes(target)
            X_target, goal = self._check_sample(
                X_target, y_target, self.estimator, target.classes
            )
            if goal.n_classes > target.n_classes:
                raise ValueError(
                    "y_target has a class that y has not: no subset can learn it."
                )
            rng = check_random_state(self.random_state)
            masks = self._draw(target, len(goal.values), rng)
            outputs = subset_outputs(
                self.estimator,
                X,
                target,
                masks,
                Reading(self.output, X_target, goal),
                n_jobs=self.n_jobs,
                rng=rng,
            )
            if not np.all(np.isfinite(outputs)):
                raise ValueError(
                    "Some outputs are NaN or infinite. Rescale the columns of X, or "
                    "use another output."
                )
            held = np.zeros(len(masks), dtype=bool)
            held[rng.permutation(len(masks))[: max(2, len(masks) // 10)]] = True
            found = fit_datamodels(
                masks,
                outputs,
                held,
                kind=self.penalty,
                penalty=None if self.alpha_reg == "cv" else self.alpha_reg,
            )
            if np.any(found.gap > 1e-2):
                warnings.warn(
                    f"{np.sum(found.gap > 1e-2)} of {len(found.gap)} targets stopped "
                    "with a relative duality gap above 0.01. Raise n_subsets or "
                    "alpha_reg.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            self._set(found, masks, outputs, target, rng)
        return self

    def _worst_are_large(self):
        return self.output == "loss"

    def _draw(self, target, q, rng):
        n = len(target.values)
        need = 8 * (n * n + 2 * q * n + q * self.n_subsets) + 9 * n * self.n_subsets
        if need > _MOST_BYTES:
            raise ValueError(
                f"A datamodel of {n} rows, {q} targets and {self.n_subsets} subsets "
                f"needs {need / 2**30:.1f} GB. Take fewer rows, targets or subsets."
            )
        size = number_to_keep(float(self.alpha), n)
        if not 2 <= size < n:
            raise ValueError(
                f"Subsets of {size} of n_samples={n} rows tell nothing apart. Pass "
                "more rows, or another alpha."
            )
        codes = None if target.classes is None else target.values
        return draw_masks(n, size, self.n_subsets, codes, rng)

    def _set(self, found, masks, outputs, target, rng):
        coef = np.ascontiguousarray(found.coef.T)
        if callable(self.aggregate):
            scores = np.asarray(self.aggregate(coef), dtype=np.float64)
            if scores.shape != (coef.shape[1],):
                raise ValueError(
                    f"aggregate must return {coef.shape[1]} numbers, one per training "
                    f"row. Got shape {scores.shape}."
                )
        else:
            how = {"mean": np.mean, "median": np.median}[self.aggregate]
            scores = how(coef, axis=0)
        values = -scores if self.output == "loss" else scores
        self._select(scores, values, target, rng)
        self.coef_ = coef
        self.intercept_ = outputs.mean(axis=0) - coef @ masks.mean(axis=0)
        self.correlation_ = found.correlation
        self.alpha_reg_ = found.penalty
        self.masks_ = masks
        self.outputs_ = outputs

    def predict(self, masks):
        """Predict outputs of models trained on other subsets.

        Parameters
        ----------
        masks : array-like of shape (n_masks, n_samples)
            Which training rows each subset holds, as booleans or zeros and ones.

        Returns
        -------
        outputs : ndarray of shape (n_masks, n_targets)
            Predicted outputs.
        """
        check_is_fitted(self)
        masks = check_array(masks, dtype=np.float64, input_name="masks")
        if masks.shape[1] != self.coef_.shape[1]:
            raise ValueError(
                f"masks has {masks.shape[1]} columns for {self.coef_.shape[1]} "
                "training rows."
            )
        if not np.all((masks == 0) | (masks == 1)):
            raise ValueError("masks must hold booleans, or zeros and ones.")
        return masks @ self.coef_.T + self.intercept_

    def influential_samples(self, j, k=10):
        """Return the training rows that raise the output of a target row most.

        Parameters
        ----------
        j : int
            Number of the target row.
        k : int, default=10
            How many training rows.

        Returns
        -------
        rows : ndarray of shape (k,)
            Their numbers, largest coefficient first.
        """
        check_is_fitted(self)
        q, n = self.coef_.shape
        if not -q <= j < q:
            raise ValueError(f"There are {q} target rows; there is no row {j}.")
        if not 1 <= k <= n:
            raise ValueError(f"k must be from 1 to {n}. Got {k}.")
        return np.argsort(-self.coef_[j], kind="stable")[:k]

    def counterfactual(self, remove_idx):
        """Predict the outputs of a model trained without some rows.

        Parameters
        ----------
        remove_idx : array-like of int
            Numbers of the training rows that are left out; all others are kept.

        Returns
        -------
        outputs : ndarray of shape (n_targets,)
            Predicted outputs.
        """
        check_is_fitted(self)
        n = self.coef_.shape[1]
        rows = np.atleast_1d(np.asarray(remove_idx))
        if rows.size and (
            rows.dtype.kind not in "iu" or np.any((rows < -n) | (rows >= n))
        ):
            raise ValueError(f"remove_idx must hold row numbers below {n}.")
        mask = np.ones((1, n))
        mask[0, rows.astype(np.int64)] = 0.0
        return self.predict(mask)[0]

    def embed(self):
        """Return each target row as the vector of its coefficients.

        Rows that rest on the same training rows are close to each other.

        Returns
        -------
        embedding : ndarray of shape (n_targets, n_samples)
            A copy of ``coef_``.
        """
        check_is_fitted(self)
        return self.coef_.copy()
