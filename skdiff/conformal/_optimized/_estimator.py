"""Conformal selection among many models."""

from skdiff.conformal._common._models import check_candidates, default_candidates
from skdiff.conformal._split._base import SplitSelector


class OptimizedConformalSelector(SplitSelector):
    """Conformal selection that chooses among many models with the rows it selects.

    Taking the model that selects most breaks the guarantee of conformal selection. Here
    each row's model is chosen by a selection in which the row counts as labelled,
    which keeps the expected rate of false discoveries at ``fdr_level``.

    Parameters
    ----------
    estimators : list of estimators, default=None
        Candidates, classifiers or regressors; see :class:`ConformalSelector`. None is
        logistic regression, a forest and boosted trees. All of them
        ``FrozenEstimator`` means: calibrate on all rows.
    threshold : float, default=0.0
        An outcome above it is a discovery.
    fdr_level : float, default=0.1
        Accepted expected rate of false discoveries, in (0, 1).
    target : callable or class label, default=None
        In place of ``threshold``: a function of y that returns booleans, or the class
        that is a discovery.
    conformity_score : {"clip", "residual", "scaled", "null"}, default="clip"
        How labelled outcomes enter; see :class:`ConformalSelector`.
    scale_estimator : regressor, default=None
        Learns the size of each candidate's errors; see :class:`ConformalSelector`.
    calibration_size : float or int, default=0.5
        Share, or number, of rows for calibration.
    prefit : bool, default=False
        Whether the candidates are fitted already, on other rows.
    pruning : {"hete", "homo", "dtm"}, default="hete"
        Last step by a random draw per row, by one draw for all rows, or without. The
        first two select more; ``"homo"`` selects all or nothing more often.
    beta : float, default=1.0
        Factor in (0, 1] of the first step's bound. 0.9 helps ``"dtm"``.
    randomized : bool, default=True
        Whether ties are broken at random, by draws that belong to the row and the
        seed: rows that differ change none of them, and equal rows have independent
        draws, by their order. Otherwise ties count in full.
    larger : bool, default=True
        Whether a discovery lies above ``threshold`` (below it otherwise).
    density_ratio : callable, default=None
        Under a known covariate shift: a function of X that returns how much more
        frequent each row is among the new rows, up to a factor.
    n_repeats : int, default=1
        Number of random splits. With several, a row is selected by e-values averaged
        over the splits, at the same guaranteed rate. Another seed then changes the
        selection less, but fewer rows are selected, and often none where the signal is
        weak; :class:`CrossFitConformalSelector` averages scores at no such loss.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It draws
        the split, breaks ties and prunes.

    Attributes
    ----------
    estimators_ : list of estimators
        The trained candidates.
    calibration_scores_ : ndarray of shape (n_calibration, n_candidates)
        Scores of the calibration rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had names.
    p_values_ : ndarray of shape (n_new,)
        P-values of the last :meth:`select`, each under the candidate of its row.
    aux_sizes_ : ndarray of int of shape (n_new,)
        Its auxiliary selection sizes.
    chosen_ : ndarray of int of shape (n_new,)
        Its candidates, by their place in ``estimators``.
    first_step_ : ndarray of bool of shape (n_new,)
        Rows before pruning.
    selected_ : ndarray of bool of shape (n_new,)
        Its result.

    See Also
    --------
    ConformalSelector : One model.
    CrossFitConformalSelector : Several models without a calibration part.

    Notes
    -----
    The candidates must not have seen the calibration rows. A row costs one sort
    per candidate, not one selection per row.

    References
    ----------
    T. Bai and Y. Jin, "Optimized Conformal Selection: Powerful Selective Inference
    After Conformity Score Optimization", 2024, arXiv 2411.17983.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.linear_model import Ridge
    >>> from skdiff.conformal import OptimizedConformalSelector
    >>> X, y = load_diabetes(return_X_y=True)
    >>> selector = OptimizedConformalSelector(
    ...     [Ridge(0.01), RandomForestClassifier(30, random_state=0)],
    ...     threshold=150, fdr_level=0.2, random_state=0,
    ... ).fit(X[:300], y[:300])
    >>> selector.select(X[300:]).shape
    (142,)
    >>> selector.chosen_.shape
    (142,)
    """

    _parameter_constraints = {
        **SplitSelector._parameter_constraints,
        "estimators": [list, None],
    }
    _optimizes = True

    def __init__(
        self,
        estimators=None,
        *,
        threshold=0.0,
        fdr_level=0.1,
        target=None,
        conformity_score="clip",
        scale_estimator=None,
        calibration_size=0.5,
        prefit=False,
        pruning="hete",
        beta=1.0,
        randomized=True,
        larger=True,
        density_ratio=None,
        n_repeats=1,
        random_state=None,
    ):
        self.estimators = estimators
        self.threshold = threshold
        self.fdr_level = fdr_level
        self.target = target
        self.conformity_score = conformity_score
        self.scale_estimator = scale_estimator
        self.calibration_size = calibration_size
        self.prefit = prefit
        self.pruning = pruning
        self.beta = beta
        self.randomized = randomized
        self.larger = larger
        self.density_ratio = density_ratio
        self.n_repeats = n_repeats
        self.random_state = random_state

    @property
    def estimators_(self):
        """The trained candidates, of the first split."""
        return self._runs[0]["models"]

    def _given(self):
        return check_candidates(self.estimators)

    def _candidates(self):
        return self._given() or default_candidates()

    def _names(self):
        return [f"candidate{i}" for i in range(len(self._candidates()))]
