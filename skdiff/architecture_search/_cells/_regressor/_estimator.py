"""Networks whose cell is searched with their weights, for numbers."""

from skdiff._nn._mixins import NeuralRegressorMixin
from skdiff.architecture_search._cells._base import OPERATIONS, BaseArchitectureSearch


class ArchitectureSearchRegressor(NeuralRegressorMixin, BaseArchitectureSearch):
    """Predict numbers by a network whose wiring is searched, then trained.

    A mixture of all operations on all edges is trained together with its weights.
    Candidates read from it compete in short real trainings, the winner against a
    standard network, and what is left is trained on all rows. Use it where one would
    otherwise try sizes and activations of ``MLPRegressor``. Do not expect that the
    mixture alone knows the best cell: the race and the comparison with the baseline are
    there because it often does not. Try boosted trees first.

    Parameters
    ----------
    space : {"cell", "hypercuboid"}, default="cell"
        What is searched. ``"cell"``: nodes that each read earlier nodes and the stem
        through one operation per edge. ``"hypercuboid"``: a chain of ``n_nodes``
        layers, each with an operation and one of the widths ``width`` times 1/4, 1/2,
        1 and 2.
    operations : array-like of str, default=("zero", "skip", "relu", "tanh", "silu", \
            "glu")
        What an edge may do: ``"zero"`` (nothing, which only takes weight from the
        others), ``"skip"``, a linear map with ``"relu"``, ``"tanh"``, ``"silu"``, or
        gated by another one (``"glu"``), or ``"residual_relu"``. All outputs are
        normalised.
    width : int, default=32
        Units of each node.
    n_nodes : int, default=3
        Nodes of a cell, or layers of a chain.
    n_cells : int, default=1
        Cells in sequence; they share one architecture.
    n_inputs : int, default=2
        Edges that each node keeps.
    strategy : {"darts", "rarts", "joint"}, default="darts"
        How the mixture is searched. ``"darts"``: weights follow one part of the rows,
        the mixture the other. ``"rarts"``: a second set of weights, held near the
        first, follows the other part, and both move the mixture. ``"joint"``: all
        operations keep equal weight; only their removal tells them apart.
    order : {1, 2}, default=1
        With 2 the gradient of the mixture passes through one step of the weights.
    selection : {"race", "magnitude", "perturbation", "max_w"}, default="race"
        How the architecture is read from the mixture. ``"magnitude"``: the largest
        weights. ``"perturbation"``: the operations whose removal costs most.
        ``"max_w"``: the largest weights after a search under ``weighting="max_w"``.
        ``"race"``: the first two rules and draws from the mixture compete in short real
        trainings.
    n_candidates : int, default=8
        Architectures in the race.
    temperature : float, default=1.0
        Of the draws: above 1 they are more random.
    weighting : {"softmax", "max_w"}, default="softmax"
        Weights of the mixture. With ``"max_w"`` the leader has weight one, whose
        gradient does not strengthen its lead.
    search_max_iter : int, default=30
        Epochs of the search.
    search_split : float, default=0.5
        Fraction of the rows that the weights follow during the search; the others move
        and judge architectures.
    search_learning_rate : float, default=0.025
        First step size of the weights in the search, by gradient descent with momentum.
    architecture_learning_rate : float, default=0.003
        Step size of the mixture, by Adam.
    train_weight : float, default=10.0
        Of ``strategy="rarts"``: weight of the loss of the first part, lambda in the
        paper.
    penalty : float, default=10.0
        Of ``strategy="rarts"``: weight of the distance of both sets of weights, beta in
        the paper.
    learning_rate : {"cosine_power", "constant"}, default="cosine_power"
        Schedule of all step sizes of weights, see :func:`cosine_power`; the last is a
        hundredth of the first.
    power : float, default=2.0
        Power of the schedule.
    compare_baseline : bool, default=True
        Whether a multilayer perceptron with two hidden layers of ``width`` units takes
        the place of the searched network where it has the lower validation loss.
    n_restarts : int, default=1
        Searches from different first weights, side by side. The one of the lowest loss
        is shown and selected from; draws come from all.
    architecture : Architecture, dict or str, default=None
        Train this one and skip the search; a dictionary or JSON text as
        :class:`Architecture` writes them.
    categorical_features : array-like, str or None, default="from_dtype"
        Columns with categories, as in
        :class:`~sklearn.ensemble.HistGradientBoostingRegressor`. Each category has a
        vector that is added to the first state. Missing ones count as a category,
        unknown ones add nothing.
    solver : {"adam", "sgd"}, default="adam"
        Optimiser. It trains what is compared and the final network; the search has its
        own.
    alpha : float, default=1e-3
        L2 penalty: ``alpha / 2`` times the sum of squared weights is added to the mean
        loss. It acts on what is compared and on the final network.
    batch_size : int or "auto", default="auto"
        Number of rows per gradient step. ``"auto"`` is about a 32nd of the rows,
        between 32 and 256.
    learning_rate_init : float, default=0.01
        Step size of the optimiser.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``.
    max_iter : int, default=60
        Maximum number of iterations. They are epochs of the final training. How many
        are taken is what was best for the validation rows of the search, unless
        ``early_stopping`` decides.
    tol : float, default=1e-4
        Tolerance of the stopping rule. It applies with ``early_stopping``.
    n_iter_no_change : int, default=10
        Number of iterations without progress before training stops. It applies with
        ``early_stopping``.
    early_stopping : bool, default=False
        Whether to stop by the score of a validation set and keep the best epoch. The
        set is taken from the rows before the search.
    validation_fraction : float, default=0.1
        Fraction of the rows in the validation set. It applies with ``early_stopping``.
    time_limit : float, default=None
        Time limit of ``fit`` in seconds. The best state so far is kept, with a warning.
        The search takes at most six tenths of it.
    warm_start : bool, default=False
        Whether ``fit`` continues from the result of the previous call. The architecture
        stays.
    standardize : bool, default=True
        Whether columns are centred and scaled to unit variance inside.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision. ``"auto"`` is that of X; ``"float32"`` is faster.
    device : str, default="cpu"
        Device on which torch computes, such as ``"cpu"`` or ``"cuda"``.
    net_params : dict, default=None
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``.
    verbose : bool, default=False
        Verbosity level; 0 or False prints nothing. Otherwise the loss of every epoch of
        the search and of the final training is printed.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the parts of the rows, all first weights, batches and candidates.

    Attributes
    ----------
    architecture_ : Architecture or None
        The wiring of the network, to print, to save and to pass as ``architecture``;
        that of the baseline where the baseline is better. None for a constant y.
    searched_architecture_ : Architecture or None
        What the search has found, whatever the baseline does.
    alphas_ : ndarray of shape (n_edges, n_operations) or None
        Mixture parameters at the end of the search; their softmax by row is the mixture
        (by layer for a hypercuboid). Minus infinity where an operation is impossible.
        None without a search, as all that follows up to ``race_``.
    edges_ : list of str or None
        Names of the rows of ``alphas_``.
    perturbation_scores_ : ndarray of shape (n_edges, n_operations) or None
        Growth of the validation loss when an operation is removed: when its edge is
        visited, for ``"perturbation"`` and ``"race"``, otherwise at the end of the
        search. NaN where the time was over before.
    search_history_ : dict or None
        Arrays ``train_loss``, ``validation_loss`` and ``entropy`` (of the mixture, 1 is
        uniform), one entry per epoch of the search.
    race_ : dict or None
        The candidates: lists ``origin`` and ``architecture``, and arrays ``loss`` (rows
        are candidates, columns rungs, NaN after a candidate has left) and ``n_iter``.
    searched_score_ : float or None
        Minus the lowest validation mean squared error (of standardised targets)
        of the architecture in a training on the first part of the rows.
    baseline_score_ : float or None
        The same of the baseline, with ``compare_baseline``.
    n_params_ : int
        Number of weights and biases.
    net_ : skorch.NeuralNet or None
        The network; None for a constant y.
    loss_ : float
        Loss after the last epoch.
    loss_curve_ : list of float
        Loss of each epoch of the final training.
    validation_scores_ : list of float or None
        Score of the held-out rows after each epoch, with ``early_stopping``.
    n_outputs_ : int
        Number of targets.
    n_iter_ : int
        Epochs of the final training.
    stopped_ : str
        ``"schedule"`` (all epochs were taken), ``"converged"``, ``"max_iter"``,
        ``"time"``, ``"callback"``, ``"diverged"``, ``"interrupted"`` or
        ``"constant"``.
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
    ArchitectureSearchClassifier : The same for classes.
    Architecture : What ``architecture_`` is.
    ArchitectureDisplay : Draws the network and the evidence of the search.
    sklearn.neural_network.MLPRegressor : A network of a given shape.

    Notes
    -----
    The rows are sorted first, and whole weights up to ten written as so many equal
    rows, so that neither their order nor the way such a weight is written changes the
    result. A row of any other weight is one row where the rows are split. The
    comparison with the baseline and the number of epochs rest on the rows that the
    first part does not have; the final network is then trained on all rows from new
    weights.

    References
    ----------
    H. Liu, K. Simonyan and Y. Yang, "DARTS: Differentiable Architecture Search", ICLR
    2019, arXiv 1806.09055.

    R. Wang, M. Cheng, X. Chen, X. Tang and C.-J. Hsieh, "Rethinking Architecture
    Selection in Differentiable NAS", ICLR 2021, arXiv 2108.04392.

    F. Xue, Y. Qi and J. Xin, "RARTS: An Efficient First-Order Relaxed Architecture
    Search Method", IEEE Access 10, 2022, arXiv 2008.03901.

    A. Hundt, V. Jain and G. D. Hager, "sharpDARTS: Faster and More Accurate
    Differentiable Architecture Search", 2019, arXiv 1903.09900.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skdiff.architecture_search import ArchitectureSearchRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ArchitectureSearchRegressor(
    ...     width=8, search_max_iter=5, max_iter=20, random_state=0
    ... )
    >>> model.fit(X, y).score(X, y) > 0.4
    True
    >>> model.alphas_.shape  # edges and operations
    (6, 6)
    """

    def __init__(
        self,
        *,
        space="cell",
        operations=OPERATIONS,
        width=32,
        n_nodes=3,
        n_cells=1,
        n_inputs=2,
        strategy="darts",
        order=1,
        selection="race",
        n_candidates=8,
        temperature=1.0,
        weighting="softmax",
        search_max_iter=30,
        search_split=0.5,
        search_learning_rate=0.025,
        architecture_learning_rate=3e-3,
        train_weight=10.0,
        penalty=10.0,
        learning_rate="cosine_power",
        power=2.0,
        compare_baseline=True,
        n_restarts=1,
        architecture=None,
        categorical_features="from_dtype",
        solver="adam",
        alpha=1e-3,
        batch_size="auto",
        learning_rate_init=0.01,
        momentum=0.9,
        max_iter=60,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        time_limit=None,
        warm_start=False,
        standardize=True,
        dtype="auto",
        device="cpu",
        net_params=None,
        verbose=False,
        random_state=None,
    ):
        self.space = space
        self.operations = operations
        self.width = width
        self.n_nodes = n_nodes
        self.n_cells = n_cells
        self.n_inputs = n_inputs
        self.strategy = strategy
        self.order = order
        self.selection = selection
        self.n_candidates = n_candidates
        self.temperature = temperature
        self.weighting = weighting
        self.search_max_iter = search_max_iter
        self.search_split = search_split
        self.search_learning_rate = search_learning_rate
        self.architecture_learning_rate = architecture_learning_rate
        self.train_weight = train_weight
        self.penalty = penalty
        self.learning_rate = learning_rate
        self.power = power
        self.compare_baseline = compare_baseline
        self.n_restarts = n_restarts
        self.architecture = architecture
        self.categorical_features = categorical_features
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.standardize = standardize
        self.dtype = dtype
        self.device = device
        self.net_params = net_params
        self.verbose = verbose
        self.random_state = random_state
