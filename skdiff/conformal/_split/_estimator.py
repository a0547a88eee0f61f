"""Conformal selection with one model."""

from skdiff._base.compat import HasMethods
from skdiff.conformal._common._models import default_estimator
from skdiff.conformal._split._base import SplitSelector


class ConformalSelector(SplitSelector):
    """Select rows whose unknown outcome passes a threshold, at a level of false picks.

    Among the selected rows the expected rate of false discoveries (outcomes that do
    not pass) is at most ``fdr_level``, in finite samples and whatever the model, as
    long as labelled and new rows are exchangeable.

    Parameters
    ----------
    estimator : estimator, default=None
        A classifier learns whether a row is a discovery; a regressor learns the
        outcome. ``None`` is a scaled logistic regression. A ``FrozenEstimator`` is
        used as it is, and all rows of ``fit`` calibrate. A search inside (such as
        ``GridSearchCV(LogisticRegression(), ...)``) only sees training rows, which
        keeps the guarantee.
    threshold : float, default=0.0
        An outcome above it is a discovery.
    fdr_level : float, default=0.1
        Accepted expected rate of false discoveries, in (0, 1).
    target : callable or class label, default=None
        In place of ``threshold``: a function of y that returns booleans, or the class
        that is a discovery.
    conformity_score : {"clip", "residual", "scaled", "null"}, default="clip"
        How labelled outcomes enter. ``"clip"`` has the most power: only rows that are
        no discoveries compete. ``"residual"`` is outcome minus prediction,
        ``"scaled"`` divides that by the expected size of the error, ``"null"``
        calibrates on the non-discoveries alone and realises about ``fdr_level`` times
        their share.
    scale_estimator : regressor, default=None
        Learns the size of the errors, which then divides every score. None is the
        estimator itself for ``"scaled"`` and no division for the others.
    calibration_size : float or int, default=0.5
        Share, or number, of rows for calibration.
    prefit : bool, default=False
        Whether ``estimator`` is fitted already, on other rows; all rows of ``fit``
        then calibrate. A fitted classifier knows either the outcomes or, as its second
        class, whether they are discoveries.
    randomized : bool, default=True
        Whether ties are broken at random, which uses the level in full, by draws that
        belong to the row and the seed: rows that differ change none of them, and equal
        rows have independent draws, by their order. Otherwise ties count in full,
        which is conservative.
    larger : bool, default=True
        Whether a discovery lies above ``threshold`` (below it otherwise).
    density_ratio : callable, default=None
        Under a known covariate shift: a function of X that returns how much more
        frequent each row is among the new rows, up to a factor.
    pruning : {"hete", "homo", "dtm"}, default="hete"
        With ``density_ratio`` only: pruning of the weighted selection by a draw per
        row, one draw, or none.
    beta : float, default=1.0
        With ``density_ratio`` only: factor in (0, 1] of the first step's bound.
    n_repeats : int, default=1
        Number of random splits. With several, a row is selected by e-values averaged
        over the splits, at the same guaranteed rate. Another seed then changes the
        selection less, but fewer rows are selected, and often none where the signal is
        weak; :class:`CrossFitConformalSelector` averages scores at no such loss.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split and breaks ties. Without a seed a second ``fit`` gives another result;
        repeated queries of a fitted selector never do.

    Attributes
    ----------
    estimator_ : estimator
        The trained model.
    calibration_scores_ : ndarray of shape (n_calibration, 1)
        Scores of the calibration rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.
    p_values_ : ndarray of shape (n_new,)
        P-values of the last :meth:`select`.
    selected_ : ndarray of bool of shape (n_new,)
        Its result.

    See Also
    --------
    OptimizedConformalSelector : Chooses among several models at the same time.
    CrossFitConformalSelector : Uses every labelled row for training and calibration.

    Notes
    -----
    Which rows are selected is a property of the batch. The rate is an expectation over
    calibration sets and batches; the share in one batch varies around it.

    References
    ----------
    Y. Jin and E. J. Candes, "Selection by Prediction with Conformal p-values", JMLR
    24, 2023, arXiv 2210.01408. With density ratios: "Model-free selective inference
    under covariate shift via weighted conformal p-values", 2023, arXiv 2307.09291.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.conformal import ConformalSelector
    >>> X, y = load_diabetes(return_X_y=True)
    >>> selector = ConformalSelector(
    ...     Ridge(0.01), threshold=150, fdr_level=0.2, random_state=0
    ... ).fit(X[:300], y[:300])
    >>> selected = selector.select(X[300:])
    >>> bool((y[300:][selected] > 150).mean() > 0.75)
    True
    """

    _parameter_constraints = {
        **SplitSelector._parameter_constraints,
        "estimator": [HasMethods("fit"), None],
    }
    _optimizes = False

    def __init__(
        self,
        estimator=None,
        *,
        threshold=0.0,
        fdr_level=0.1,
        target=None,
        conformity_score="clip",
        scale_estimator=None,
        calibration_size=0.5,
        prefit=False,
        randomized=True,
        larger=True,
        density_ratio=None,
        pruning="hete",
        beta=1.0,
        n_repeats=1,
        random_state=None,
    ):
        self.estimator = estimator
        self.threshold = threshold
        self.fdr_level = fdr_level
        self.target = target
        self.conformity_score = conformity_score
        self.scale_estimator = scale_estimator
        self.calibration_size = calibration_size
        self.prefit = prefit
        self.randomized = randomized
        self.larger = larger
        self.density_ratio = density_ratio
        self.pruning = pruning
        self.beta = beta
        self.n_repeats = n_repeats
        self.random_state = random_state

    @property
    def estimator_(self):
        """The trained model, of the first split."""
        return self._runs[0]["models"][0]

    def _given(self):
        return [] if self.estimator is None else [self.estimator]

    def _candidates(self):
        return self._given() or [default_estimator()]
