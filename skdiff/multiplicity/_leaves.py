"""The leaves of a tree ensemble as features of a linear model."""

from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin, is_classifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import check_sample_weight
from skdiff._base.typing import IntArray
from skdiff.multiplicity._rashomon._estimator import RashomonClassifier
from skdiff.multiplicity._rashomon._regressor._estimator import RashomonRegressor


def leaf_features(ensemble: Any, X: Any) -> Any:
    """Return which leaf of each tree every row falls into.

    Parameters
    ----------
    ensemble : estimator
        A fitted random forest, extra trees, gradient boosting or histogram gradient
        boosting model of scikit-learn, or a single tree.
    X : array-like of shape (n_samples, n_features)
        Rows, as the ensemble takes them.

    Returns
    -------
    features : csr_array of shape (n_samples, n_leaves)
        One column per leaf, tree after tree; each row has one 1 per tree.

    See Also
    --------
    leaf_multiplicity : The audit of all re-weightings of the leaves.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skdiff.multiplicity import leaf_features
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, y)
    >>> leaf_features(forest, X).shape
    (569, 20)
    """
    check_is_fitted(ensemble)
    nodes, columns = _leaf_nodes(ensemble, X), _leaf_columns(ensemble)
    n, n_trees = nodes.shape
    if n_trees != len(columns):
        raise ValueError(f"{type(ensemble).__name__} has trees of no known form.")
    place = np.empty((n, n_trees), dtype=np.int64)
    total = 0
    for k, leaves in enumerate(columns):
        place[:, k] = total + np.searchsorted(leaves, nodes[:, k])
        total += len(leaves)
    ends = n_trees * np.arange(n + 1)
    return csr_array((np.ones(n * n_trees), place.ravel(), ends), shape=(n, total))


def leaf_multiplicity(
    ensemble: Any,
    X: Any,
    y: Any,
    *,
    epsilon: float = 0.01,
    alpha: Any = None,
    sample_weight: Any = None,
    **rashomon_params: Any,
) -> Any:
    """Audit all nearly optimal re-weightings of the leaves of a tree ensemble.

    With the trees held fixed, the ensemble is a linear model on its leaves. All leaf
    values within the tolerance are the set of a logistic or ridge regression, and every
    range is exact *given the trees*. Ensembles of other trees are not in it: the ranges
    are inner bounds of the multiplicity of the ensemble.

    Parameters
    ----------
    ensemble : estimator
        A fitted random forest, extra trees, gradient boosting or histogram gradient
        boosting model of scikit-learn, or a single tree.
    X : array-like of shape (n_samples, n_features)
        Training rows.
    y : array-like of shape (n_samples,)
        Their targets.
    epsilon : float, default=0.01
        Size of the set, as in :class:`RashomonClassifier`.
    alpha : float, default=None
        Factor of the penalty ``alpha ||w||^2 / 2`` beside the mean loss. None is one
        over the number of rows, as in ``LogisticRegression(C=1.0)``.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    **rashomon_params : dict
        Other parameters of :class:`RashomonClassifier` or :class:`RashomonRegressor`.

    Returns
    -------
    audit : RashomonClassifier or RashomonRegressor
        Fitted; it takes rows as the ensemble does. Its baseline has the *best* leaf
        values for the objective, not those of the ensemble.

    See Also
    --------
    leaf_features : The features alone.
    last_layer_multiplicity : The same for networks.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skdiff.multiplicity import leaf_multiplicity
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, y)
    >>> audit = leaf_multiplicity(forest, X, y)
    >>> audit.predict_proba_range(X).shape
    (569, 2)
    """
    if alpha is not None and (not isinstance(alpha, Real) or not float(alpha) > 0):
        raise ValueError(f"alpha must be > 0, got {alpha!r}.")
    check_is_fitted(ensemble)
    n = len(y)
    total = float(n)
    if sample_weight is not None:
        total = float(check_sample_weight(sample_weight, np.empty((n, 1))).sum())
    penalty = total * (1.0 / n if alpha is None else float(alpha))
    cls, head = RashomonRegressor, Ridge(alpha=penalty)
    if is_classifier(ensemble):
        cls, head = RashomonClassifier, LogisticRegression(C=1 / penalty, max_iter=1000)
    audit = cls(make_pipeline(_Leaves(ensemble), head), epsilon=epsilon)
    audit.set_params(**rashomon_params)
    return audit.fit(X, y, sample_weight=sample_weight)


class _Leaves(TransformerMixin, BaseEstimator):
    """A fitted ensemble as a transformer; a clone keeps the fitted ensemble."""

    def __init__(self, ensemble: Any) -> None:
        self.ensemble = ensemble

    def __sklearn_clone__(self) -> "_Leaves":
        return self

    def fit(self, X: Any, y: Any = None) -> "_Leaves":
        """Do nothing: the ensemble is fitted."""
        return self

    def transform(self, X: Any) -> Any:
        """Return the leaves of the rows."""
        return leaf_features(self.ensemble, X)

    def __sklearn_is_fitted__(self) -> bool:
        """It came fitted."""
        return True


def _leaf_nodes(ensemble: Any, X: Any) -> IntArray:
    """Number of the leaf node (n, n_trees) of every tree."""
    if hasattr(ensemble, "apply"):
        nodes = np.asarray(ensemble.apply(X), dtype=np.int64)
        return nodes.reshape(len(nodes), -1)
    trees = _histogram_trees(ensemble)
    X = ensemble._preprocess_X(X, reset=False)
    known, used = ensemble._bin_mapper.make_known_categories_bitsets()
    columns = []
    for tree in trees:
        # the same tree, whose values are the numbers of its nodes
        numbered = tree.nodes.copy()
        numbered["value"] = np.arange(len(numbered))
        same = type(tree)(
            numbered, tree.binned_left_cat_bitsets, tree.raw_left_cat_bitsets
        )
        columns.append(same.predict(X, known, used, 1))
    return np.column_stack(columns).astype(np.int64)


def _leaf_columns(ensemble: Any) -> list[IntArray]:
    """Sorted numbers of the leaf nodes of each tree."""
    if not hasattr(ensemble, "apply"):
        trees = _histogram_trees(ensemble)
        return [np.flatnonzero(tree.nodes["is_leaf"]) for tree in trees]
    members = np.ravel(getattr(ensemble, "estimators_", [ensemble]))
    return [np.flatnonzero(t.tree_.children_left == -1) for t in members]


def _histogram_trees(ensemble: Any) -> list[Any]:
    if not hasattr(ensemble, "_predictors"):
        raise ValueError(
            "ensemble must be a forest, gradient boosting or histogram gradient "
            f"boosting model of scikit-learn, or a tree; got {type(ensemble).__name__}."
        )
    return [tree for stage in ensemble._predictors for tree in stage]
