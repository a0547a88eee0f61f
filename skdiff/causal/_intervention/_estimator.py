"""Effects of interventions beyond those that were seen."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
    is_regressor,
)
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import is_frozen, seeded, whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.validation import check_X, check_X_y
from skdiff.causal._intervention._numbers import (
    Canonical,
    Line,
    canonical,
    choose_linear_encoder,
    fit_line,
    linearity_test,
    outside,
)
from skdiff.causal._intervention._splines import Additive, fit_additive
from skdiff.causal._keywords import beside

N_DRAWS, HIDDEN, BATCH = 299, (32, 32), 1000
TOLERATED = 0.05  # fraction of moved rows beyond the range of those seen
CHUNK = 200_000  # rows that the outcome model predicts at once


class InterventionExtrapolator(
    SaveMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Mean outcome under interventions, beyond the range of those that were seen.

    Use it when a dose or a treatment A moves features X linearly, up to noise, the
    outcome depends on X, and a larger dose than any tried is of interest: as the noise
    carries X further than the doses do, larger doses can be computed. Something hidden
    may influence both X and y. Do not use it where A acts on y past X, or where X
    moves with A in a curve; :attr:`linearity_test_` detects the latter.

    Parameters
    ----------
    n_latents : int or "auto", default="auto"
        Number of coordinates of the representation. ``"auto"`` is the number of columns
        of X for ``encoder="identity"``, otherwise the smaller of those of X and A.
    encoder : {"identity", "linear", "mlp"}, default="identity"
        Representation of X: X itself, a linear map, or a network.
    mmr_weight : float, default=1e3
        Largest weight of the moment restriction against the reconstruction of X, for
        encoders that are learned. It is divided by ten until the reconstruction loses
        no more than a hundredth of the variance of X, a thousandth with a network.
    outcome : regressor, default=None
        Model of y on the columns of the representation and, with
        ``control_function=True``, of the control residual. None is a sum of cubic
        splines, one of each column, as smooth as generalised cross-validation finds
        best and straight beyond the data.
    control_function : bool, default=True
        Whether the outcome model sees the residual of the representation given A, which
        holds what is hidden. False is the naive regression, for comparison.
    encoder_iter : int, default=400
        Number of steps of training of ``encoder="mlp"``, and of each weight after the
        first half.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    W_ : ndarray of shape (n_latents, n_interventions)
        How much each intervention moves each coordinate of the representation.
    alpha_ : ndarray of shape (n_latents,)
        Mean representation where all interventions are zero.
    outcome_ : estimator or None
        The fitted model of y; None for the default splines.
    linearity_test_ : float
        p-value of a linear move of the representation by A; small values speak against
        it. Where the encoder is learned it is too large, as the encoder seeks it.
    mmr_weight_ : float or None
        Weight of the moment restriction that was used; None for ``"identity"``.
    support_warning_ : bool
        Whether the last call of :meth:`predict_do` left the range of the training
        representations.
    n_latents_ : int
        Number of coordinates.
    n_features_in_ : int
        Number of columns seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X had names.

    See Also
    --------
    skdiff.causal.LinearGMMRegressor : Linear effects with instruments.

    Notes
    -----
    The default outcome model works in coordinates that any affine map of the
    representation leaves as they are, so that predictions do not depend on the
    coordinates in which X or the code of an encoder comes. An outcome model that is
    given sees the representation as it is.

    References
    ----------
    S. Saengkyongam, E. Rosenfeld, P. Ravikumar, N. Pfister and J. Peters, "Identifying
    Representations for Intervention Extrapolation", ICLR 2024, arXiv:2310.04295.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.causal import InterventionExtrapolator
    >>> rng = np.random.default_rng(0)
    >>> A, hidden = rng.uniform(-1, 1, size=(500, 1)), rng.normal(size=(500, 1))
    >>> X = 1.5 * A + hidden
    >>> y = X[:, 0] + 2 * hidden[:, 0]
    >>> model = InterventionExtrapolator().fit(X, y, A=A)
    >>> model.predict_do([[1.2]]).round(1)
    array([1.7])
    """

    _parameter_constraints: dict = {
        "n_latents": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "encoder": [StrOptions({"identity", "linear", "mlp"})],
        "mmr_weight": [Interval(Real, 0, None, closed="left")],
        "outcome": [HasMethods(["fit", "predict"]), None],
        "control_function": ["boolean"],
        "encoder_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_latents="auto",
        *,
        encoder="identity",
        mmr_weight=1e3,
        outcome=None,
        control_function=True,
        encoder_iter=400,
        random_state=None,
    ):
        self.n_latents = n_latents
        self.encoder = encoder
        self.mmr_weight = mmr_weight
        self.outcome = outcome
        self.control_function = control_function
        self.encoder_iter = encoder_iter
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @property
    def _n_features_out(self):
        return self.n_latents_

    # the outcome model may be any regressor, with validation of its own
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, A=None):
        """Fit the representation and the outcome model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features that the interventions move.
        y : array-like of shape (n_samples,)
            Outcomes.
        A : array-like of shape (n_samples, n_interventions) or (n_samples,)
            Interventions, doses for instance, set independently of what is hidden. They
            have to be given.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with whole_fit(self):
            X, y = check_X_y(
                self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2
            )
            A = self._interventions(A, X)
            if not np.any(A.std(axis=0) > 0):
                raise ValueError(
                    "A never varies: no column of the interventions has two values."
                )
            if self.outcome is not None and not is_regressor(self.outcome):
                raise ValueError(
                    f"outcome must be a regressor. Got {type(self.outcome).__name__}."
                )
            rng = check_random_state(self.random_state)
            self.n_latents_ = self._count(X, A)
            self._code = self._encoder(X, A, rng.randint(2**31 - 1))
            phi = self._encoded(X)
            line = fit_line(phi, A)
            residual = phi - line.at(A)
            self._residual = residual
            self.linearity_test_ = linearity_test(
                phi, A, N_DRAWS, rng.randint(2**31 - 1)
            )
            self.W_, self.alpha_ = line
            self._coordinates = None
            if self.outcome is None:
                self._coordinates = canonical(phi, residual, line, A)._asdict()
            self._range = np.stack([phi.min(axis=0), phi.max(axis=0)])
            self._fit_outcome(phi, residual, y, rng)
            away = y - self._outcomes(phi, residual)
            self._noise = float(np.mean(np.square(away)))
            self.support_warning_ = False
        return self

    def _interventions(self, A, X, method="fit"):
        """Interventions as a matrix with one row per row of X."""
        return beside(self, A, "A", X, ensure_2d=True, method=method)

    def _count(self, X, A):
        """Number of coordinates of the representation."""
        p = X.shape[1]
        if self.encoder == "identity":
            if self.n_latents not in ("auto", p):
                raise ValueError(
                    f"encoder='identity' keeps all {p} columns of X. Got n_latents="
                    f"{self.n_latents}; leave it 'auto', or learn an encoder."
                )
            return p
        if self.n_latents == "auto":
            return min(p, A.shape[1])
        if self.n_latents > p:
            raise ValueError(
                f"n_latents={self.n_latents} must not be larger than the number of "
                f"columns of X, {p}."
            )
        return int(self.n_latents)

    def _encoder(self, X, A, seed):
        """What maps X to the representation, as arrays."""
        if self.encoder == "identity":
            self.mmr_weight_ = None
            return {}
        centre, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        Z = (X - centre) / scale
        if self.encoder == "linear":
            some = np.random.default_rng(seed).permutation(len(Z))[:BATCH]
            B, found = choose_linear_encoder(
                Z[some], A[some], self.n_latents_, self.mmr_weight
            )
            if B.shape[1] < self.n_latents_:
                raise ValueError(
                    f"X has {B.shape[1]} independent columns, fewer than n_latents="
                    f"{self.n_latents_}."
                )
            layers = [B.T, 0.0]
        else:
            from skdiff._nn._modes import gradients
            from skdiff.causal._intervention._module import Task, train_encoder

            task = Task(
                Z, A, self.n_latents_, HIDDEN, self.mmr_weight, self.encoder_iter, BATCH
            )
            with gradients():
                layers, found = train_encoder(task, seed)
        self.mmr_weight_ = found
        return {"centre": centre, "scale": scale, "layers": layers}

    def _encoded(self, X):
        """The representation of rows that were checked."""
        if not self._code:
            return X
        h = (X - self._code["centre"]) / self._code["scale"]
        layers = self._code["layers"]
        for k in range(0, len(layers), 2):
            h = h @ layers[k].T + layers[k + 1]
            if k + 2 < len(layers):
                h = np.tanh(h)
        return h

    def _columns(self, phi, residual):
        """What the outcome model sees."""
        if self._coordinates is not None:
            change = Canonical(**self._coordinates)
            phi, residual = change(phi), change.direction(residual)
        return np.hstack([phi, residual]) if self.control_function else phi

    def _fit_outcome(self, phi, residual, y, rng):
        """Regress y on representation and residual."""
        columns = self._columns(phi, residual)
        self._splines = self.outcome_ = None
        if self.outcome is None:
            size = int(np.clip(len(y) // 15, 5, 12))
            k = columns.shape[1] // (2 if self.control_function else 1)
            groups = np.arange(columns.shape[1]) // k
            self._splines = fit_additive(columns, y, groups, size)._asdict()
        elif is_frozen(self.outcome):
            self.outcome_ = self.outcome
        else:
            self.outcome_ = clone(seeded(self.outcome, rng)).fit(columns, y)

    def _outcomes(self, phi, residual):
        """Predictions of the outcome model."""
        columns = self._columns(phi, residual)
        if self._splines is not None:
            return Additive(**self._splines).predict(columns)
        return np.asarray(self.outcome_.predict(columns), dtype=np.float64)

    def transform(self, X):
        """Return the representation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        representation : ndarray of shape (n_samples, n_latents)
            Coordinates that the interventions move linearly.
        """
        check_is_fitted(self)
        return self._encoded(check_X(self, X, reset=False, dtype=np.float64))

    def score(self, X, y, *, A=None, sample_weight=None):
        """Compute the coefficient of determination of the outcome model.

        It compares encoders and outcome models on rows with the interventions that were
        seen, by :class:`~sklearn.model_selection.GridSearchCV` for instance. It does
        not measure interventions beyond them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Their outcomes.
        A : array-like of shape (n_samples, n_interventions) or (n_samples,)
            Their interventions. They have to be given.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            The :math:`R^2` of y given the representation and, with
            ``control_function=True``, its residual.
        """
        check_is_fitted(self)
        X = check_X(self, X, reset=False, dtype=np.float64)
        A = self._interventions(A, X, "score")
        if A.shape[1] != self.W_.shape[1]:
            raise ValueError(
                f"A must have {self.W_.shape[1]} columns, as in fit. Got {A.shape[1]}."
            )
        phi = self._encoded(X)
        residual = phi - Line(self.W_, self.alpha_).at(A)
        found = self._outcomes(phi, residual)
        return float(r2_score(y, found, sample_weight=sample_weight))

    def predict_do(self, A_new, return_std=False):
        """Predict the mean outcome where the interventions are set to given values.

        Each training row is moved from its interventions to the new ones with its own
        residual, and the predictions of the outcome model are averaged. A warning is
        given where more than a twentieth of the moved rows leave the range of the
        representations seen in ``fit``.

        Parameters
        ----------
        A_new : array-like of shape (n_settings, n_interventions)
            Interventions.
        return_std : bool, default=False
            Whether to return how far outcomes spread under each intervention.

        Returns
        -------
        y_mean : ndarray of shape (n_settings,)
            Means of the outcome.
        y_std : ndarray of shape (n_settings,)
            Standard deviations of the outcome of one row, only with
            ``return_std=True``.
        """
        check_is_fitted(self)
        A_new = check_array(A_new, dtype=np.float64, input_name="A_new")
        if A_new.shape[1] != self.W_.shape[1]:
            raise ValueError(
                f"A_new must have {self.W_.shape[1]} columns, as A had in fit. Got "
                f"{A_new.shape[1]}."
            )
        V = self._residual
        centres = Line(self.W_, self.alpha_).at(A_new)
        far = [outside(centre + V, self._range) for centre in centres]
        self.support_warning_ = max(far) > TOLERATED
        if self.support_warning_:
            warnings.warn(
                f"Up to {max(far):.0%} of the rows, moved to A_new, leave the range of "
                "the representations seen in fit. There the outcome model extrapolates "
                "without support of the data.",
                stacklevel=2,
            )
        mean, std = self._moved(centres, V)
        return (mean, std) if return_std else mean

    def _moved(self, centres, V):
        """Mean and standard deviation of the outcome, some interventions at a time."""
        n, means, spreads = len(V), [], []
        step = max(1, CHUNK // n)
        for start in range(0, len(centres), step):
            part = centres[start : start + step]
            phi = (part[:, None] + V).reshape(-1, V.shape[1])
            found = self._outcomes(phi, np.tile(V, (len(part), 1)))
            found = found.reshape(len(part), n)
            means.append(found.mean(axis=1))
            spreads.append(np.sqrt(found.var(axis=1) + self._noise))
        return np.concatenate(means), np.concatenate(spreads)
