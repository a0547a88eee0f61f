"""The classifier over the set of nearly optimal linear models, and the report."""

from numbers import Real

import numpy as np
from scipy.special import expit, logit
from sklearn.base import ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import Interval, fit_context
from skdiff._base.inner import whole_fit
from skdiff.multiplicity._rashomon import _linear_models as linear
from skdiff.multiplicity._rashomon._axes import named_bounds
from skdiff.multiplicity._rashomon._base import BaseRashomon
from skdiff.multiplicity._rashomon._measures import AbstentionMixin
from skdiff.multiplicity._rashomon._product import SHARED, product_of
from skdiff.multiplicity._sets._classes import MultinomialRanges, OneVsRestRanges


def _has_probabilities(self):
    """Whether predict_proba is defined; before the fit it raises NotFittedError."""
    return not hasattr(self, "classes_") or self._probable


class RashomonClassifier(AbstentionMixin, ClassifierMixin, BaseRashomon):
    """Find which predictions are arbitrary among equally good linear classifiers.

    The Rashomon set holds every linear model whose training objective is within a
    tolerance of the best one. Nothing in the data speaks against any of them, yet they
    disagree about some rows. This estimator gives the exact range of every probability,
    decision and coefficient over the whole set. Use it to audit a fitted model before
    its decisions are acted upon. A confidence interval is about a new sample instead,
    and refits with other seeds or bootstraps see only a part of the set.

    Parameters
    ----------
    estimator : estimator, default=None
        ``LogisticRegression``, ``LogisticRegressionCV``, ``LinearSVC``,
        ``SGDClassifier`` (by its loss), ``OneVsRestClassifier`` of one of them, or a
        pipeline that ends in one; ``FrozenEstimator`` for a model already fitted. None
        is ``LogisticRegression()``. L2, L1, elastic-net or no penalty. Its solution is
        refined to full accuracy.
    epsilon : float, default=0.01
        Size of the set: larger sets hold more models and give wider ranges.
    epsilon_type : {"relative", "absolute", "lr", "profile", "cv"}, default="relative"
        What ``epsilon`` means: a fraction of the best objective; an amount of it; one
        minus the level of a joint (``"lr"``) or single-coefficient (``"profile"``)
        likelihood-ratio region; or a number of standard errors of the five-fold
        cross-validated loss.
    level : {"objective", "loss"}, default="objective"
        Whether the set is one of the penalised objective, or of the loss alone: all
        models whose loss is at most that of the estimator plus the tolerance. The
        second set is centred at the minimiser of the loss.
    threshold : float, default=0.5
        Probability of ``classes_[1]`` above which it is predicted; of two classes and
        of models with probabilities only.
    solver : {"auto", "direct", "cvxpy"}, default="auto"
        ``"cvxpy"`` solves one convex program per row and bound, a reference solver that
        is hundreds of times slower; the others are the batched Newton method.
    tol : float, default=1e-4
        Tolerance of the stopping rule. A row is done when the residual of its
        optimality conditions is below it. The error of the reported bounds is of second
        order: 1e-4 gives about eight digits of the width.
    max_iter : int, default=60
        Maximum number of iterations. They are Newton steps; rows that need more fall
        back to safeguarded bisection.
    n_jobs : int, default=None
        Number of parallel jobs; -1 uses all processors. They are threads over blocks of
        rows.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable. It splits
        the rows when ``epsilon_type="cv"``.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimators_ : list of RashomonClassifier or None
        One binary audit per class where the model is one-vs-rest of three classes or
        more; the level set is their product.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the baseline, the refined optimum.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Its intercept.
    objective_ : float or ndarray of shape (n_classes,)
        The best objective (with ``level="loss"`` the best loss): mean loss plus
        penalty; one per class for one-vs-rest.
    epsilon_ : float or ndarray of shape (n_classes,)
        How far above ``objective_`` the set reaches.
    hessian_ : ndarray of shape (n_parameters, n_parameters) or None
        Second derivatives of the smooth part of the objective at its minimum,
        intercept last, class by class. None for sparse tables of more than 2000
        columns.
    n_iter_ : int
        Newton steps of the refinement.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, when X had them.

    See Also
    --------
    RashomonRegressor : The same for ridge regression and least squares.
    multiplicity_report : A report in one call.

    Notes
    -----
    The largest ``v'w`` over the set solves ``grad L(w) = mu v``, ``L(w) = L* + eps``.
    All rows are solved together by Newton's method on ``(w, mu)`` in coordinates where
    the Hessian at the optimum is the identity, from a third-order start; the reported
    value is the Lagrangian's. The paper searches a grid of target probabilities
    instead, which gives inner bounds. The training rows are stored, as the ranges need
    them. Under an L1 norm the same holds on a support and signs that stay, which a
    semismooth Newton method finds; hinge losses are linear or cone programs. For a
    multinomial model all margins and the largest probabilities are exact, the smallest
    ones are bracketed, see :meth:`predict_proba_range`. Coefficients are those of the
    linear model, after the steps of a pipeline.

    References
    ----------
    J. Watson-Daniels, D. C. Parkes and B. Ustun, "Predictive Multiplicity in
    Probabilistic Classification", AAAI 2023, arXiv 2206.01131.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skdiff.multiplicity import RashomonClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> model = RashomonClassifier(pipeline, epsilon=0.01)
    >>> int(model.fit(X, y).conflicts(X).sum())
    16
    """

    _numeric = False
    _parameter_constraints = {
        **BaseRashomon._parameter_constraints,
        "threshold": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        epsilon=0.01,
        epsilon_type="relative",
        level="objective",
        threshold=0.5,
        solver="auto",
        tol=1e-4,
        max_iter=60,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.epsilon = epsilon
        self.epsilon_type = epsilon_type
        self.level = level
        self.threshold = threshold
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    # the inner estimator checks its own parameters
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Fit the estimator, refine it, and prepare its level set.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with whole_fit(self):
            return self._fit(X, y, sample_weight, "classifier", LogisticRegression)

    def _encode(self, y):
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"Unknown label type: y is {kind}.")
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) == 1:
            raise ValueError(
                f"y has one class only, {classes[0]!r}: there is nothing to disagree "
                f"about (n_samples = {len(y)})."
            )
        return codes.astype(np.float64), classes

    def _audit(self, model, features, target, sample_weight, *, own):
        n_classes = len(model.classes_)
        if n_classes == 2 and isinstance(model, OneVsRestClassifier):
            model = model.estimators_[0]
        if n_classes > 2 and linear.is_one_vs_rest(model):
            state = self._audit_each(model, features, target, sample_weight, own)
        else:
            state = super()._audit(model, features, target, sample_weight, own=own)
            loss = state["_live"]["set"].goal.loss
            state |= {"_parts": None, "_probable": loss in ("Logistic", "Multinomial")}
        if self.threshold != 0.5 and (n_classes > 2 or not state["_probable"]):
            why = "three classes or more" if n_classes > 2 else "no probabilities"
            raise ValueError(
                f"threshold={self.threshold} is a probability of the second of two "
                f"classes, and {type(model).__name__} has {why}."
            )
        return state

    def _audit_each(self, model, features, codes, sample_weight, own):
        """Return the attributes of a product of binary sets, one per class."""
        parts = []
        pairs = linear.binary_models(model, codes.astype(np.intp), sample_weight)
        given = {name: getattr(self, name) for name in SHARED}
        for k, (part, weight) in enumerate(pairs):
            binary = type(self)(FrozenEstimator(part), **given)
            target = (codes == k).astype(np.float64)
            state = binary._audit(part, features, target, weight, own=own)
            binary.estimator_, binary._steps_fitted = binary.estimator, False
            binary.classes_ = np.array([0, 1])
            binary.n_features_in_ = features.shape[1]
            for name, value in state.items():
                setattr(binary, name, value)
            parts.append(binary)
        return product_of(parts)

    @property
    def estimators_(self):
        """One binary audit per class of a one-vs-rest model, else None."""
        check_is_fitted(self)
        return self._parts

    def _many(self):
        """The ranges of three classes or more; None for two."""
        check_is_fitted(self)
        K = len(self.classes_)
        if K == 2:
            return None
        if self._parts is None:
            return MultinomialRanges(K, self._settings, self._set)
        sets = [part._set for part in self._parts]
        return OneVsRestRanges(K, self._settings, sets, self._probable)

    def _response(self, f):
        return expit(f) if self._probable else f

    def _flags(self, bounds):
        return {"conflict_ratio": self._on_both_sides(bounds, self.threshold)}

    def _report_columns(self, X, y, epsilons):
        many = self._many()
        if many is None:
            return super()._report_columns(X, y, epsilons)
        features = self._query_features(X)
        middle, _ = many.columns(features, ranges=False)
        loss = None
        if y is not None:
            codes = self._codes_of(y)
            p = many.probabilities(features)[np.arange(len(codes)), codes]
            loss = -np.log(np.maximum(p, 1e-300))
        found = []
        for epsilon in epsilons:
            other = many.at(epsilon)
            conflicts = {"conflict_ratio": other.conflicts(features)}
            found.append((other.columns(features)[1], conflicts))
        return middle, loss, found

    def _codes_of(self, y):
        y = column_or_1d(y)
        if unknown := set(np.unique(y).tolist()) - set(self.classes_.tolist()):
            raise ValueError(f"y has labels {sorted(unknown)} not seen in fit.")
        return np.searchsorted(self.classes_, y)

    def _row_loss_of(self, f, y):
        codes = self._codes_of(y).astype(np.float64)
        if self._set.goal.signs:
            codes = 2.0 * codes - 1.0
        return self._set.level_set.problem.loss.evaluate(f, codes)[0]

    def _cut(self, threshold=None):
        """Where the linear predictor changes the label."""
        threshold = self.threshold if threshold is None else threshold
        return logit(threshold) if self._probable else 0.0

    def _check_delta(self, delta):
        most = 1 if self._probable else np.inf
        if delta is not None and (not isinstance(delta, Real) or not 0 < delta <= most):
            raise ValueError(f"delta must be in (0, {most}], got {delta!r}.")
        return delta

    def _on_both_sides(self, bounds, threshold):
        cut = self._cut(threshold)  # predict returns classes_[1] strictly above it
        return (bounds[:, 0] <= cut) & (bounds[:, 1] > cut)

    def _prediction_and_range(self, X):
        V = self._query(X)
        bounds = self._range(V)
        return self._response(V @ self._set.baseline), self._response(bounds)

    def decision_function(self, X):
        """Return the linear predictor of the baseline, log odds if it is logistic.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of ``classes_[1]``, or of every class if there are more than two.
        """
        many = self._many()
        if many is not None:
            return many.scores(self._query_features(X))
        return self._query(X) @ self._set.baseline

    def decision_range(self, X):
        """Return the range of the linear predictor over all nearly optimal models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2) or (n_samples, n_classes, n_classes, 2)
            Smallest and largest value of the predictor of ``classes_[1]``; of three
            classes or more, ``bounds[:, k, j]`` is the range of the margin of class k
            over class j. Infinite where the data do not bound it.
        """
        many = self._many()
        if many is not None:
            return many.margins(self._query_features(X))
        return super().decision_range(X)

    def coef_range(self, *, as_frame=False):
        """Return the range of each coefficient, the intercept last.

        Parameters
        ----------
        as_frame : bool, default=False
            Return a DataFrame whose index holds the names of the features, and the
            classes where there are three or more.

        Returns
        -------
        bounds : ndarray of shape (n_features + 1, 2) or \
(n_classes, n_features + 1, 2), or pandas.DataFrame
            Smallest and largest value; without an intercept ``n_features`` rows. Those
            of a multinomial model are centred over the classes, which changes no
            prediction.
        """
        many = self._many()
        if many is None:
            return super().coef_range(as_frame=as_frame)
        bounds = many.coefficients()
        return named_bounds(self, bounds) if as_frame else bounds

    def functional_range(self, V):
        """Return the range of linear functionals of the coefficients.

        Parameters
        ----------
        V : array-like of shape (n_functionals, n_parameters)
            Weights of the coefficients as the linear model sees them, the intercept's
            last and zero if left out; of three classes or more one class after the
            other.

        Returns
        -------
        bounds : ndarray of shape (n_functionals, 2)
            Smallest and largest value.
        """
        many = self._many()
        if many is None:
            return super().functional_range(V)
        V = check_array(V, dtype=np.float64, input_name="V")
        K, d = self.coef_.shape
        if V.shape[1] not in (K * d, K * (d + 1)):
            raise ValueError(
                f"V has {V.shape[1]} features, but {K} classes have {K * d} "
                f"coefficients or, with intercepts, {K * (d + 1)}."
            )
        return many.functionals(V.reshape(len(V), K, -1))

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Return the probabilities of the baseline.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Columns follow ``classes_``.
        """
        many = self._many()
        if many is not None:
            return many.probabilities(self._query_features(X))
        f = self.decision_function(X)
        return np.column_stack([expit(-f), expit(f)])

    def predict(self, X, abstain=False, abstain_label=None):
        """Predict labels by the baseline, or only where all models agree.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        abstain : bool, default=False
            Whether to withhold the label of rows on which the set disagrees: those for
            which :meth:`conflicts` is true.
        abstain_label : object, default=None
            The value that stands for a withheld label, different from every label.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels; of dtype object with ``abstain=True``.
        """
        scores = self.decision_function(X)
        if scores.ndim == 2:
            labels = self.classes_[scores.argmax(axis=1)]
        else:
            labels = self.classes_[(scores > self._cut()).astype(int)]
        if not abstain:
            return labels
        labels = labels.astype(object)
        labels[self.conflicts(X)] = abstain_label
        return labels

    @available_if(_has_probabilities)
    def predict_proba_range(self, X, return_inner=False):
        """Return the range of the probability of ``classes_[1]``, or of every class.

        For two classes and for one-vs-rest models both bounds are exact. For a
        multinomial model the upper bound is exact, and the lower one a certified outer
        bound, because no convex program gives the smallest probability: every model of
        the set gives at least that much. Set ``return_inner`` to know how far the bound
        can be from the truth.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        return_inner : bool, default=False
            Whether to return probabilities that models of the set attain, too: the
            smallest that a local search finds. The true minimum lies between them and
            the lower bounds.

        Returns
        -------
        bounds : ndarray of shape (n_samples, 2) or (n_samples, n_classes, 2)
            Smallest and largest probability over the set.
        inner : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Attained small probabilities, with ``return_inner=True`` only.
        """
        many = self._many()
        if many is not None:
            features = self._query_features(X)
            if return_inner:
                return many.inner_probabilities(features)
            return many.probability_ranges(features)
        bounds = expit(self.decision_range(X))
        return (bounds, bounds[:, 0].copy()) if return_inner else bounds

    def conflicts(self, X, threshold=None):
        """Find rows for which both labels are predicted by some model of the set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        threshold : float, default=None
            Another threshold than the constructor's; of two classes only.

        Returns
        -------
        conflicts : ndarray of bool of shape (n_samples,)
            True where the label is arbitrary.
        """
        many = self._many()
        if many is not None:
            if threshold is not None:
                raise ValueError(
                    "threshold is for two classes; of more, the largest score wins."
                )
            return many.conflicts(self._query_features(X))
        if threshold is not None and not self._probable:
            raise ValueError(
                f"threshold={threshold!r} is a probability, and the model has none."
            )
        threshold = self.threshold if threshold is None else threshold
        if not isinstance(threshold, Real) or not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold!r}.")
        return self._on_both_sides(self.decision_range(X), threshold)

    def ambiguity(self, X, delta=None):
        """Return the proportion of rows on which the set disagrees.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        delta : float, default=None
            Count rows whose probability can move by at least this (of any class; for a
            multinomial model by the outer bounds, hence at most so many); rows whose
            label can change if None. For models without probabilities it is a change
            of the linear predictor.

        Returns
        -------
        proportion : float
            Between 0 and 1.
        """
        if delta is None:
            return float(self.conflicts(X).mean())
        self._check_delta(delta)
        many = self._many()
        if many is None:
            p, bounds = self._prediction_and_range(X)
        else:
            p, bounds = many.columns(self._query_features(X))
        reach = np.maximum(bounds[..., 1] - p, p - bounds[..., 0])
        return float((reach.reshape(len(p), -1).max(axis=1) >= delta).mean())

    def transform(self, X):
        """Return prediction, lower bound, upper bound and width as columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Query rows.

        Returns
        -------
        columns : ndarray of shape (n_samples, 4) or (n_samples, 4 * n_classes)
            Probabilities (linear predictors where the model has none) of
            ``classes_[1]``, or of one class after the other.
        """
        many = self._many()
        if many is None:
            return super().transform(X)
        middle, bounds = many.columns(self._query_features(X))
        width = bounds[..., 1:] - bounds[..., :1]
        return np.concatenate([middle[..., None], bounds, width], axis=2).reshape(
            len(middle), -1
        )

    @property
    def _n_features_out(self):
        return 4 if len(self.classes_) == 2 else 4 * len(self.classes_)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of :meth:`transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in ``fit``.

        Returns
        -------
        names : ndarray of str of shape (4,) or (4 * n_classes,)
            ``prediction``, ``low``, ``high``, ``width``; of three classes or more
            followed by the class.
        """
        names = super().get_feature_names_out(input_features)
        if len(self.classes_) == 2:
            return names
        many = [f"{name}_{label}" for label in self.classes_ for name in names]
        return np.array(many, dtype=object)
