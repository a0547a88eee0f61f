"""Embeddings of learned sizes, for classes."""

from skdiff._base.compat import StrOptions
from skdiff._nn._mixins import NeuralClassifierMixin
from skdiff.architecture_search._embeddings._base import BaseMixedEmbedding, OneFit


class MixedEmbeddingClassifier(OneFit, NeuralClassifierMixin, BaseMixedEmbedding):
    """Predict classes from tables with categories, with learned embedding sizes.

    Every category has a vector. How many numbers frequent and rare categories of each
    column deserve is learned with the network: a weight per dimension and block of
    categories moves on validation rows, what it makes small is removed, and the rest is
    trained again. Use it for columns of many categories of very uneven frequency, where
    memory matters. On small, even tables a uniform size or boosted trees are as good.

    Parameters
    ----------
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
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    embedding_sizes_ : dict or None
        For each categorical column an array with the numbers per category in each
        block, the most frequent block first. Keys are names, or positions where X has
        none. None for a constant y, as all that follows up to ``keep_losses_``.
    selection_ : ndarray of shape (n_blocks, max_embedding_dim) or None
        Weight of each dimension in each block at the end of the search; the blocks of
        the first column come first.
    mask_ : ndarray of bool of shape (n_rows, max_embedding_dim) or None
        Entries of the table that are kept. Each column has a row for unknown and one
        for missing values before those of its categories.
    block_ : ndarray of int of shape (n_rows,) or None
        Row of ``selection_`` for each row of the table.
    n_embedding_params_ : int
        Numbers in the table after pruning.
    n_embedding_params_full_ : int
        Numbers in the table before.
    keep_fraction_ : float or None
        The fraction that was used.
    keep_losses_ : dict or None
        Lowest validation loss with each fraction that was tried.
    search_history_ : dict or None
        Arrays ``stage``, ``validation_loss`` and ``mean_selection``, one entry per
        epoch of all stages before the final training.
    categories_ : dict
        Categories of each categorical column.
    net_ : skorch.NeuralNet or None
        The network; None for a constant y.
    loss_ : float
        Loss after the last epoch.
    loss_curve_ : list of float
        Loss of each epoch of the final training.
    validation_scores_ : None
        Held-out rows are part of the final training.
    n_iter_ : int
        Epochs of the final training.
    stopped_ : str
        ``"schedule"`` (all epochs were taken), ``"time"``, ``"callback"``,
        ``"diverged"``, ``"interrupted"`` or ``"constant"``.
    mean_ : ndarray of shape (n_features,)
        What is subtracted from each column; 0 for categories.
    scale_ : ndarray of shape (n_features,)
        What each column is divided by; 1 for categories.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    MixedEmbeddingRegressor : The same for numbers.
    MixedEmbeddingEncoder : Hands the vectors to another estimator.
    sklearn.preprocessing.TargetEncoder : One number per category.

    Notes
    -----
    The rows are sorted first, and whole weights up to ten written as so many equal
    rows, so that neither their order nor the way such a weight is written changes the
    result. A row of any other weight is one row where the rows are split. All sizes
    rest on the split of the rows in two parts. There is no ``partial_fit``.

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
    >>> from skdiff.architecture_search import MixedEmbeddingClassifier
    >>> rng = np.random.default_rng(0)
    >>> city = rng.zipf(1.3, size=600) % 60
    >>> X = pd.DataFrame({"city": pd.Categorical(city), "size": rng.normal(size=600)})
    >>> y = np.sin(city) + 0.2 * X["size"].to_numpy()
    >>> model = MixedEmbeddingClassifier(keep_fraction=0.25, random_state=0)
    >>> model = model.fit(X, y > 0)
    >>> bool(model.score(X, y > 0) > 0.8)
    True
    >>> bool(model.n_embedding_params_ <= model.n_embedding_params_full_ / 4)
    True
    """

    _parameter_constraints = {
        **BaseMixedEmbedding._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
