"""The directions a smooth model varies in, as a step of a pipeline."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    fit_context,
)
from skdiff._base.persistence import SaveMixin
from skdiff._base.rows import Columns
from skdiff._base.validation import check_X, require_y
from skdiff.neural_network._grbf._estimator import GRBFClassifier, GRBFRegressor


class ActiveSubspaceTransformer(
    SaveMixin,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Project rows on the few directions in which the target varies.

    A network of Gaussian bases learns one precision matrix for all its centres; its
    leading eigenvectors are the projection. Use it for a supervised plot in one to
    three dimensions, or before a model that suffers from useless columns. It needs the
    target to be a smooth function of the rows; :class:`~sklearn.decomposition.PCA`
    needs no target and looks at the spread of the columns alone.

    Parameters
    ----------
    estimator : {"regressor", "classifier"} or estimator instance, default="regressor"
        The network whose directions are taken: one with default parameters, or an
        unfitted :class:`GRBFRegressor` or :class:`GRBFClassifier`.
    n_components : int or float, default=2
        Number of directions, at most that of the columns. A float above 0 and at most
        1 takes as many as are needed for that fraction of the trace of the precision
        matrix.
    whiten : bool, default=False
        Multiply each direction by the root of its eigenvalue, so that distances are
        those the network sees.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. None
        leaves the setting of ``estimator`` as it is.

    Attributes
    ----------
    estimator_ : GRBFRegressor or GRBFClassifier
        The fitted network.
    n_components_ : int
        Number of directions.
    components_ : ndarray of shape (n_components, n_features)
        Directions as rows, on standardised columns.
    eigenvalues_ : ndarray of shape (n_components,)
        Their eigenvalues, descending.
    explained_precision_ratio_ : ndarray of shape (n_components,)
        Their fractions of the trace of the precision matrix.
    mean_ : ndarray of shape (n_features,)
        What is taken off each column.
    scale_ : ndarray of shape (n_features,)
        What each column is divided by.
    feature_importances_ : ndarray of shape (n_features,)
        Importance of each standardised column, in total one, as the network measures
        them.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has names.

    See Also
    --------
    GRBFRegressor : The network behind it, with slopes and predictions.
    sklearn.neighbors.NeighborhoodComponentsAnalysis : A projection for nearest
        neighbours.
    sklearn.cross_decomposition.PLSRegression : Directions of a linear model.

    Notes
    -----
    With ``P = V G V'`` the gradient of the network is ``-P sum_m w_m phi_m(x)
    (x - c_m)``, which always lies in the range of ``P``: no direction outside it
    changes the prediction. The penalty on the trace of ``P`` sets useless eigenvalues
    to nearly zero, so their shares tell how many directions matter. The subspace is
    more certain than the single vectors where eigenvalues are close.

    References
    ----------
    D. D'Agostino, I. Ilievski and C. A. Shoemaker, "Learning Active Subspaces and
    Discovering Important Features with Gaussian Radial Basis Functions Neural
    Networks", Neural Networks 176, 106335 (2024), arXiv 2307.05639.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.neural_network import ActiveSubspaceTransformer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5))
    >>> y = np.sin(X[:, 0] + X[:, 1])
    >>> subspace = ActiveSubspaceTransformer(n_components=0.9, random_state=0)
    >>> subspace.fit_transform(X, y).shape
    (200, 1)
    >>> subspace.components_[0].round(1)[:2]
    array([0.7, 0.7])
    """

    _parameter_constraints = {
        "estimator": [
            StrOptions({"regressor", "classifier"}),
            HasMethods(["fit", "predict"]),
        ],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "whiten": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, estimator="regressor", *, n_components=2, whiten=False, random_state=None
    ):
        self.estimator = estimator
        self.n_components = n_components
        self.whiten = whiten
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the network and take its directions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Values or labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight two counts as the same row twice, one
            of weight zero as absent.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        require_y(self, y)
        check_X(self, X, dtype=np.float64, reset=True)
        model = self._network()
        model.fit(X, y, sample_weight=sample_weight)
        n_components, shares = self.n_components, model.explained_precision_ratio_
        if isinstance(n_components, Real) and not isinstance(n_components, Integral):
            # rounding must not ask for one direction more than there is
            enough = np.cumsum(shares) >= n_components - 1e-12
            n_components = int(np.argmax(enough)) + 1 if enough.any() else len(shares)
        k = min(int(n_components), len(shares))
        self.components_ = model.components_[:k]
        self.eigenvalues_ = model.eigenvalues_[:k]
        self.explained_precision_ratio_ = shares[:k]
        self.mean_, self.scale_ = model.mean_, model.scale_
        self.feature_importances_ = model.feature_importances_
        self.n_components_, self.estimator_ = k, model
        return self

    def _network(self):
        kinds = {"regressor": GRBFRegressor, "classifier": GRBFClassifier}
        if isinstance(self.estimator, str):
            return kinds[self.estimator](random_state=self.random_state)
        if not isinstance(self.estimator, GRBFRegressor | GRBFClassifier):
            raise TypeError(
                "estimator must be 'regressor', 'classifier', a GRBFRegressor or a "
                f"GRBFClassifier, got {self.estimator!r}."
            )
        model = clone(self.estimator)
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return model

    def transform(self, X):
        """Project rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        projection : ndarray of shape (n_samples, n_components)
            Coordinates along the directions.
        """
        check_is_fitted(self)
        X = check_X(self, X, dtype=np.float64, order="C", reset=False)
        Z = Columns(self.mean_, self.scale_).standardised(X)
        V = self.components_
        if self.whiten:
            V = V * np.sqrt(self.eigenvalues_)[:, None]
        return Z @ V.T

    def get_feature_names_out(self, input_features=None):
        """Return names of the coordinates.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns, checked and otherwise unused: coordinates mix all
            columns.

        Returns
        -------
        names : ndarray of str
            ``activesubspace0``, ``activesubspace1``, ...
        """
        generated = super().get_feature_names_out(input_features)
        names = [f"activesubspace{i}" for i in range(len(generated))]
        return np.array(names, dtype=object)

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_is_fitted__(self):
        """Tell whether a fit has come to its end."""
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        """Say that a target is needed, of any number of outputs."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
