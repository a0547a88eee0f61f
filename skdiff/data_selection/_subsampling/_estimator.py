"""Sampling rows by the uncertainty of a surrogate model."""

from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import fit_inner, is_frozen, whole_fit
from skdiff.data_selection._base import (
    BaseSampleSelector,
    read_target,
    require_classes,
    splits_of,
    take,
)
from skdiff.data_selection._choice import (
    class_quotas,
    inclusion_probabilities,
    largest,
    number_to_keep,
    systematic_sample,
)
from skdiff.data_selection._models._base import (
    default_linear,
    fit_model,
    probabilities,
    row_losses,
    split_pipeline,
)
from skdiff.data_selection._subsampling._numbers import (
    inverse_hessian_norms,
    sampling_probabilities,
    uncertainty,
)

_DRAWS = 4  # subsamples per fold and alpha


class SurrogateSubsampler(BaseSampleSelector):
    """Sample the rows whose label a surrogate model is least sure of.

    Use it to choose which rows of an unlabelled pool to have labelled, or to thin out a
    large table: a model trained on uncertain rows learns more per row. Without weights
    (``reweight=False``) the sample is biased on purpose, and often the better one; with
    weights the full objective is estimated without bias. The gain can vanish where the
    model is wrong for the data: ``alpha="cv"`` has 0, uniform sampling, in its grid.

    Parameters
    ----------
    surrogate : estimator, default=None
        Classifier with ``predict_proba``. A fitted one is used as it is where ``fit``
        gets no y; a ``FrozenEstimator`` always. None is a scaled logistic regression.
    alpha : float or "cv", default=1.0
        Exponent: rows are drawn in proportion to ``scores_ ** alpha``. 0 is uniform.
    reweight : bool, default=False
        Whether rows get weights inverse to their probability.
    leverage : bool, default=False
        Whether scores are multiplied by the norm of the row in the inverse Hessian of a
        logistic regression, as its influence is.
    alphas : array-like of float, default=(0.0, 0.5, 1.0, 2.0)
        Exponents that ``alpha="cv"`` compares.
    cv : int or splitter, default=5
        Folds of the validation sample for ``alpha="cv"``.
    n_select : int or float, default=0.5
        Number of rows to select, or their fraction.
    balance : {"class"} or None, default=None
        ``"class"`` keeps the proportions of the classes of y, at least one row per
        class. With None a selection that loses a class of y raises.
    strategy : {"sample", "top"}, default="sample"
        Whether rows are drawn, each included with its probability exactly, or the rows
        of the highest scores are taken, which is far worse in most cases.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        ``1 - sum p ** 2`` of the surrogate's probabilities, times the norm of the row
        with ``leverage``.
    probabilities_ : ndarray of shape (n_samples,)
        Proportional to ``scores_ ** alpha``; they sum to one.
    sample_weight_ : ndarray of shape (n_selected,)
        Weights of the selected rows in their order, with mean one; ones without
        ``reweight``.
    alpha_ : float
        The exponent.
    surrogate_ : estimator
        The fitted surrogate.
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
    SelectedFit : Hands ``sample_weight_`` to the estimator.
    EL2NSelector : By errors, where labels are known.

    Notes
    -----
    Rows are drawn by systematic sampling in random order: each is included with
    probability ``n_select * probabilities_``, at most one, so the weights are exact.
    For ``alpha="cv"`` each fold of the validation sample is predicted by clones of the
    surrogate that were fitted to subsamples of the other folds, drawn as the pool will
    be; the least log loss wins.

    References
    ----------
    G. Kolossov, A. Montanari and P. Tandon, "Towards a statistical theory of data
    selection under weak supervision", ICLR 2024, arXiv 2309.14563.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skdiff.data_selection import SurrogateSubsampler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> sampler = SurrogateSubsampler(n_select=100, random_state=0)
    >>> X_chosen, y_chosen = sampler.fit_resample(X, y)
    >>> X_chosen.shape
    (100, 30)
    >>> bool(sampler.scores_[sampler.support_].mean() > 2 * sampler.scores_.mean())
    True
    """

    _parameter_constraints = {
        **BaseSampleSelector._parameter_constraints,
        "surrogate": [HasMethods("fit"), None],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"cv"})],
        "reweight": ["boolean"],
        "leverage": ["boolean"],
        "alphas": ["array-like"],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split")],
    }

    # samples of other rows: a search must not cut them by its folds
    __metadata_request__fit = {"X_val": UNUSED, "y_val": UNUSED}

    def __init__(
        self,
        surrogate=None,
        alpha=1.0,
        reweight=False,
        leverage=False,
        alphas=(0.0, 0.5, 1.0, 2.0),
        cv=5,
        *,
        n_select=0.5,
        balance=None,
        strategy="sample",
        random_state=None,
    ):
        self.surrogate = surrogate
        self.alpha = alpha
        self.reweight = reweight
        self.leverage = leverage
        self.alphas = alphas
        self.cv = cv
        self.n_select = n_select
        self.balance = balance
        self.strategy = strategy
        self.random_state = random_state

    def __sklearn_tags__(self):
        """Labels are needed only where the surrogate is not fitted."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = not is_frozen(self.surrogate)
        return tags

    def _worst_are_large(self):
        return True

    def _given(self):
        return [] if self.surrogate is None else [self.surrogate]

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, *, X_val=None, y_val=None):
        """Fit the surrogate where it is not fitted, and draw rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The pool.
        y : array-like of shape (n_samples,), default=None
            Labels, weak ones for instance, to fit the surrogate to. None needs a fitted
            surrogate.
        X_val, y_val : array-like, default=None
            Rows with true labels, which ``alpha="cv"`` needs.

        Returns
        -------
        self : object
            Fitted sampler.
        """
        with whole_fit(self):
            X = self._check_rows(X)
            target = self._read_labels(X, y)
            surrogate = self._fitted_surrogate(X, target)
            rng = check_random_state(self.random_state)
            scores = self._scores(surrogate, X)
            alpha = self.alpha
            if alpha == "cv":
                alpha = self._best_alpha(surrogate, X_val, y_val, len(scores), rng)
            p = sampling_probabilities(scores, float(alpha))
            rows, q = self._draw(scores, p, target, rng)
            self._keep(scores, rows, target)
            self.surrogate_ = surrogate
            self.alpha_ = float(alpha)
            self.probabilities_ = p
            self.sample_weight_ = np.ones(len(rows))
            if self.reweight:
                weight = 1.0 / q[rows]
                self.sample_weight_ = weight / weight.mean()
        return self

    def _read_labels(self, X, y):
        """The target of classes; None where there is none."""
        if y is None:
            return None
        given = None if is_frozen(self.surrogate) else self.surrogate
        target = read_target(y, given)
        check_consistent_length(X, target.y)
        if target.classes is None:
            raise ValueError(
                "SurrogateSubsampler needs classes: Unknown label type: continuous."
            )
        return target

    def _fitted_surrogate(self, X, target):
        if is_frozen(self.surrogate):
            return fit_inner(self.surrogate, X, None)
        if target is not None:
            require_classes(target)
            surrogate = self.surrogate
            if surrogate is None:
                surrogate = default_linear(target.classes)
            return fit_model(surrogate, X, target)
        try:
            if self.surrogate is None:
                raise NotFittedError
            check_is_fitted(self.surrogate)
        except NotFittedError:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None and the surrogate is not fitted."
            ) from None
        return self.surrogate

    def _scores(self, surrogate, X):
        classes = getattr(surrogate, "classes_", None)
        P = probabilities(surrogate, X, classes, "SurrogateSubsampler")
        scores = uncertainty(P)
        if not self.leverage:
            return scores
        _, Z = split_pipeline(surrogate, X)
        Z = check_array(Z, accept_sparse="csr", dtype=np.float64)
        return scores * inverse_hessian_norms(Z, scores)

    def _draw(self, scores, p, target, rng):
        """Rows, and the probabilities with which they were included."""
        n = number_to_keep(self.n_select, len(scores))
        if self.balance == "class":
            if target is None:
                raise ValueError("balance='class' needs the labels y.")
            groups = [
                np.flatnonzero(target.values == k) for k in range(target.n_classes)
            ]
            quotas = class_quotas(target.values, n, target.n_classes)
        else:
            groups, quotas = [np.arange(len(scores))], [n]
        q, rows = np.zeros(len(scores)), []
        for group, quota in zip(groups, quotas, strict=True):
            if self.strategy == "top":
                q[group] = 1.0
                rows.append(group[largest(scores[group], quota)])
                continue
            weights = p[group]
            if np.sum(weights > 0) < quota:  # rows of score zero fill up
                floor = weights[weights > 0].min(initial=1.0) * 1e-6
                weights = np.maximum(weights, floor)
            q[group] = inclusion_probabilities(weights, int(quota))
            rows.append(group[systematic_sample(q[group], rng)])
        return np.sort(np.concatenate(rows)), q

    def _best_alpha(self, surrogate, X_val, y_val, n_pool, rng):
        """The exponent of the least cross-validated log loss on true labels."""
        classes = surrogate.classes_
        X, target = self._check_sample(X_val, y_val, None, classes, "val")
        if target.n_classes > len(classes):
            raise ValueError("y_val has a class that the surrogate does not know.")
        alphas = check_array(self.alphas, ensure_2d=False, dtype=np.float64)
        if alphas.ndim != 1 or alphas.min() < 0:
            raise ValueError("alphas must be a list of non-negative numbers.")
        share = number_to_keep(self.n_select, n_pool) / n_pool
        estimator = default_linear(classes) if self.surrogate is None else surrogate
        estimator = estimator.estimator if is_frozen(estimator) else estimator
        losses = np.zeros(len(alphas))
        for train, test in splits_of(self.cv, X, target, rng):
            scores = self._scores(surrogate, take(X, train))
            n = max(round(share * len(train)), min(len(train) // 2, 100))
            for k, alpha in enumerate(alphas):
                q = inclusion_probabilities(
                    np.maximum(sampling_probabilities(scores, alpha), 1e-12), n
                )
                for _ in range(_DRAWS):
                    chosen = systematic_sample(q, rng)
                    labels = target.take(train[chosen])
                    if len(np.unique(labels.values)) < 2:
                        losses[k] = np.inf
                        continue
                    model = fit_model(
                        estimator,
                        take(X, train[chosen]),
                        labels,
                        weight=1.0 / q[chosen] if self.reweight else None,
                    )
                    lost = row_losses(model, take(X, test), target.take(test))
                    losses[k] += lost.sum()
        if not np.any(np.isfinite(losses)):
            raise ValueError(
                "alpha='cv' drew samples of one class only from X_val. Pass more "
                "validation rows of the rare class, a larger n_select, or a number."
            )
        return alphas[np.argmin(losses)]
