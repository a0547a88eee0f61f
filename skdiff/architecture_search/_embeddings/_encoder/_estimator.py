"""Embeddings of learned sizes, as columns for any other estimator."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import StrOptions, check_feature_names_in, fit_context
from skdiff._base.parameters import NETWORK
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import require_y
from skdiff.architecture_search._embeddings._classifier._estimator import (
    MixedEmbeddingClassifier,
)
from skdiff.architecture_search._embeddings._regressor._estimator import (
    MixedEmbeddingRegressor,
)


class MixedEmbeddingEncoder(SaveMixin, TransformerMixin, BaseEstimator):
    """Replace categorical columns by embeddings whose sizes are learned.

    A network as :class:`MixedEmbeddingClassifier` or :class:`MixedEmbeddingRegressor`
    is fitted, and its vectors take the place of the categories, for any estimator that
    reads numbers. Use it where one-hot columns are too many and one number per category
    is too little. The vectors have seen the targets of the training rows: an estimator
    fitted on the same rows trusts them too much where categories are rare.

    Parameters
    ----------
    task : {"auto", "classification", "regression"}, default="auto"
        What the network learns. ``"auto"``: classes where the values of y are labels or
        whole numbers.
    interaction : {"mlp", "fm", "deepfm", "wide_deep", "mf", "neumf"}, default="mlp"
        What is made of the vectors. ``"mlp"``: a multilayer perceptron on all of them
        side by side. ``"fm"``: a factorisation machine, one number per category plus
        the products of all pairs. ``"deepfm"``: both added. ``"wide_deep"``: the
        perceptron plus one number per category. ``"mf"``: two columns, such as users
        and items, by their product and one number per category. ``"neumf"``: the same
        plus a perceptron.
    max_embedding_dim : int, default=16
        Numbers per category before pruning; a column of ``c`` categories has at most
        ``c - 1``.
    hidden_layer_sizes : array-like of int, default=(64, 32)
        Number of units in each hidden layer. They belong to the perceptron.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "elu"}, \
            default="relu"
        Activation function of the hidden layers.
    categorical_features : array-like or str, default="from_dtype"
        Columns with categories, as in
        :class:`~sklearn.ensemble.HistGradientBoostingClassifier`: a mask, positions,
        names, or ``"from_dtype"``. Missing values count as a category where ``fit`` has
        some. All others that ``fit`` has not seen share a vector, which stands in for
        one code in a hundred while training.
    numeric : {"passthrough", "embedding"}, default="passthrough"
        Whether the other columns go to the network as they are, or each as a learned
        vector times its value.
    n_frequency_blocks : int, default=5
        Blocks of a column, from frequent to rare categories, that share sizes. Columns
        of fewer than 50 categories are one block.
    block_shares : array-like of float, default=None
        Fraction of a column's categories in each block, the most frequent first. By
        default (.1, .2, .2, .2, .3), or rising evenly where there are not five.
    keep_fraction : float or "auto", default="auto"
        Fraction of the table's numbers that may stay. ``"auto"`` tries 1/2, 1/4 and
        1/8 until the validation loss rises by more than a quarter of a standard error
        above the lowest so far, and takes the last before. With 1.0 nothing is
        searched.
    structured : bool, default=True
        Whether whole dimensions of a block are removed, so that sizes are whole
        numbers, or single entries.
    order : {1, 2}, default=1
        With 2 the gradient of the selection passes through one step of the weights.
    selection_learning_rate : float, default=0.01
        Step size of the selection.
    selection_l1 : float, default=1e-5
        Constant that pulls the selection towards zero.
    search_max_iter : int, default=20
        Most epochs of the search.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser.
    alpha : float, default=1e-4
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is about a 32nd of the rows,
        between 32 and 512.
    learning_rate_init : float, default=0.01
        Step size of the optimiser. It is halved after each epoch without progress.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=30
        Maximum number of iterations. They are epochs, of each stage but the search.
    tol : float, default=1e-4
        Tolerance of the stopping rule.
    n_iter_no_change : int, default=3
        Number of iterations without progress before training stops.
    validation_fraction : float, default=0.2
        Fraction of the rows in the validation set. They move the selection and decide
        how long each stage lasts; the final training has them too.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
        All stages before the final training take at most six tenths of it.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied by ``sample_weight``.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision. ``"auto"`` is that of X; ``"float32"`` is faster.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``.
    net_params : dict, default=None
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    estimator_ : MixedEmbeddingClassifier or MixedEmbeddingRegressor
        The fitted network.
    task_ : str
        What it has learned.
    embedding_sizes_ : dict
        For each categorical column an array with the numbers per category in each
        block, the most frequent block first.
    categories_ : dict
        Categories of each categorical column.
    n_iter_ : int
        Epochs of the final training.
    stopped_ : str
        As that of the network.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    MixedEmbeddingClassifier : The network, as a classifier.
    sklearn.preprocessing.TargetEncoder : One number per category, cross-fitted.

    Notes
    -----
    ``fit_transform`` is ``fit``, then ``transform`` of the same rows: there is no
    cross-fitting.

    References
    ----------
    W. Cheng, Y. Shen and L. Huang, "Differentiable Neural Input Search for Recommender
    Systems", 2020, arXiv 2006.04466.

    S. Rendle, "Factorization Machines", ICDM 2010.

    H. Guo, R. Tang, Y. Ye, Z. Li and X. He, "DeepFM: A Factorization-Machine based
    Neural Network for CTR Prediction", IJCAI 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdiff.architecture_search import MixedEmbeddingEncoder
    >>> rng = np.random.default_rng(0)
    >>> city = rng.zipf(1.3, size=600) % 60
    >>> X = pd.DataFrame({"city": pd.Categorical(city), "size": rng.normal(size=600)})
    >>> y = np.sin(city) + 0.2 * X["size"].to_numpy()
    >>> encoder = MixedEmbeddingEncoder(keep_fraction=0.25, random_state=0)
    >>> encoder.fit(X, y).transform(X).shape[1] > 2
    True
    >>> encoder.get_feature_names_out()[:2]
    array(['size', 'city_emb0'], dtype=object)
    """

    _shared_parameters = NETWORK
    _parameter_constraints = {
        **MixedEmbeddingClassifier._parameter_constraints,
        "task": [StrOptions({"auto", "classification", "regression"})],
    }

    def __init__(
        self,
        task="auto",
        *,
        interaction="mlp",
        max_embedding_dim=16,
        hidden_layer_sizes=(64, 32),
        activation="relu",
        categorical_features="from_dtype",
        numeric="passthrough",
        n_frequency_blocks=5,
        block_shares=None,
        keep_fraction="auto",
        structured=True,
        order=1,
        selection_learning_rate=0.01,
        selection_l1=1e-5,
        search_max_iter=20,
        solver="adam",
        alpha=1e-4,
        batch_size="auto",
        learning_rate_init=0.01,
        momentum=0.9,
        max_iter=30,
        tol=1e-4,
        n_iter_no_change=3,
        validation_fraction=0.2,
        time_limit=None,
        class_weight=None,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.task = task
        self.interaction = interaction
        self.max_embedding_dim = max_embedding_dim
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.categorical_features = categorical_features
        self.numeric = numeric
        self.n_frequency_blocks = n_frequency_blocks
        self.block_shares = block_shares
        self.keep_fraction = keep_fraction
        self.structured = structured
        self.order = order
        self.selection_learning_rate = selection_learning_rate
        self.selection_l1 = selection_l1
        self.search_max_iter = search_max_iter
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.class_weight = class_weight
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Learn the vectors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows with at least one categorical column.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted encoder.
        """
        require_y(self, y)
        task = self._task(y)
        given = self.get_params(deep=False)
        del given["task"]
        model = self._model(task, given)
        model.fit(X, y, sample_weight=sample_weight)
        self.estimator_, self.task_ = model, task
        self.embedding_sizes_ = model.embedding_sizes_
        self.categories_ = model.categories_
        self.n_iter_, self.stopped_ = model.n_iter_, model.stopped_
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def __sklearn_tags__(self):
        """Say that y is needed, and of any kind."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def _task(self, y):
        """Classification or regression."""
        if self.task != "auto":
            return self.task
        kind = type_of_target(y, input_name="y")
        labels = kind in ("binary", "multiclass")
        return "classification" if labels else "regression"

    def _model(self, task, given):
        """HOOK: return the network to fit."""
        if task == "classification":
            return MixedEmbeddingClassifier(**given)
        del given["class_weight"]
        return MixedEmbeddingRegressor(**given)

    def transform(self, X):
        """Return numbers as they are, and vectors in place of categories.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_columns)
            First the numeric columns, then the vectors of each categorical one.
        """
        check_is_fitted(self)
        numeric, codes = self.estimator_._numbers_and_codes(X)
        parts = [numeric]
        for k, column in enumerate(self.categories_):
            parts.append(self.estimator_._vectors(column)[codes[:, k]])
        return np.concatenate(parts, axis=1)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns that ``transform`` gives.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X, where ``fit`` has seen none.

        Returns
        -------
        names : ndarray of str of shape (n_columns,)
            ``city_emb0``, ``city_emb1`` and so on for a column ``city``.
        """
        check_is_fitted(self)
        names = check_feature_names_in(self, input_features)
        categorical = self.estimator_._columns()["categorical"]
        found = list(names[~categorical])
        for name, column in zip(names[categorical], self.categories_, strict=True):
            size = self.estimator_._vectors(column).shape[1]
            found += [f"{name}_emb{k}" for k in range(size)]
        return np.array(found, dtype=object)
