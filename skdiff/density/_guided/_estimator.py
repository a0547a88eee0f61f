"""Rows of a learned table, drawn towards a high reward."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skdiff._base.compat import HasMethods, Interval, StrOptions, fit_context
from skdiff._base.inner import whole_fit
from skdiff._base.persistence import SaveMixin
from skdiff._base.plotting import require_pandas
from skdiff.density._coding import MISSING
from skdiff.density._guided._regression import Effort, learn_values
from skdiff.density._guided._reward import as_rows, living, rewarding
from skdiff.density._guided._steps import Guide, best_of, fill
from skdiff.density._guided._values import (
    Counted,
    Mode,
    Regressed,
    Rollout,
)
from skdiff.density._guided._weights import effective_size, systematic
from skdiff.density._joint._chain import random_orders
from skdiff.density._table._base import check_count

PILOT_ROWS, PILOT_PART = 200, 0.1  # of a pilot that one resampling can rest on
LEAST_POPULATION = 50  # rows that are worth resampling among themselves
LEAST_PART = 0.1  # effective part of the rows below which they are left as they are


class GuidedSampler(SaveMixin, BaseEstimator):
    """Draw rows of a learned table that score high under any reward.

    The rows follow ``p(x) exp(reward(x) / temperature)``, with p the distribution of a
    fitted :class:`LatentClassModel`, :class:`MarginalizationModel` or
    :class:`InteractionScreening`. The reward is a black box: a classifier's
    probability, a regressor, a rule, a penalty. Nothing is trained anew and no gradient
    is needed. ``report_`` compares with the simple rivals at equal cost: on short
    tables and mild rewards resampling rows of the model is as good.

    Parameters
    ----------
    model : estimator object
        A density model, fitted; or unfitted if ``fit`` is given rows. Cloning keeps a
        fitted one only as a :class:`~sklearn.frozen.FrozenEstimator`; so with
        ``reward``.
    reward : callable or estimator object
        ``reward(X)`` returns one number per row of a table like the one the model was
        fitted on, with the medians of bins for binned numbers. Of a fitted classifier
        it is the probability of the class ``response``, of a regressor its prediction.
    temperature : float, default=1.0
        Reward that weighs as much as a factor e of probability. Small values follow
        the reward, large ones the model. At 0 the best of the candidates is taken.
    n_candidates : int, default=10
        Categories of a cell that are compared. A column of no more categories is
        compared as a whole, with more completions of each in turn; otherwise candidates
        are drawn from the model.
    n_completions : int, default=5
        Completions of a partial row whose rewards make its value.
    value : {"rollout", "regressor", "mode"}, default="rollout"
        Value of a partial row: the soft mean of the rewards of completions drawn from
        the model; the prediction of a regressor that ``fit`` has trained on such
        values, which takes no reward while sampling; or the reward of the likeliest
        completion.
    value_estimator : estimator object, default=None
        Regressor of ``value="regressor"``; None is
        :class:`~sklearn.ensemble.HistGradientBoostingRegressor`.
    n_value_rows : int, default=2000
        Partial rows on which it is trained, each with ``n_completions`` rewards: a
        fourth drawn from the model, the others in three rounds that it guides itself.
    order : {"random", "given"} or list of int or str, default="random"
        Order in which cells are filled: one per row, the columns as they stand, or
        this one.
    resampling : {"auto", "cell", "particles", "importance"}, default="auto"
        "cell" decides each cell of each row on its own; "particles" also resamples the
        rows on the way where their weights differ much; "importance" draws
        ``n_candidates * n_completions`` rows of the model per row and resamples them
        once. "auto" is "importance" where the effective size of a pilot of 200 rows is
        a tenth of them at least; elsewhere it is "particles", or "cell" for fewer than
        50 rows.
    correction : bool, default=True
        Whether finished rows are resampled by what is left of their weights. It acts
        only where their effective number is at least a tenth of the rows; otherwise
        few distinct rows would remain.
    response : int or str, default=None
        Class whose probability is the reward; None is the last.
    independent_reward : callable or estimator object, default=None
        A second judge, which guides nothing and is only reported.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of random numbers; an int makes results repeatable.

    Attributes
    ----------
    model_ : estimator object
        The fitted model.
    value_estimator_ : estimator object
        The regressor of values, when there is one.
    resampling_ : str
        What the last call of :meth:`sample` did.
    pilot_size_ : float
        Effective fraction of the pilot; NaN where there was none.
    corrected_ : bool
        Whether the final step took place in the last call of :meth:`sample`.
    report_ : DataFrame
        The rows of the last call of :meth:`sample` ("guided") beside rows of the
        model ("unguided"), the best of equal parts of a pool ("best_of_n") and a
        resampled pool ("importance"), the pool as large as the number of rewards that
        guiding took: ``mean_reward``, ``mean_log_prob`` under the model, the fraction
        of ``distinct`` rows, ``reward_calls`` and, with ``independent_reward``,
        ``mean_independent``. It is computed when it is first looked at.
    n_features_in_ : int
        Number of columns of the table.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, when all are strings.

    See Also
    --------
    MarginalizationModel : A model of tables with any-order conditionals.
    LatentClassModel : A mixture, faster and exact.

    Notes
    -----
    A cell is drawn in proportion to ``p(cell | row) exp(value / temperature)``. The
    authors' code takes the best candidate, which is ``temperature=0``. With exact
    values the rows are an exact sample; the error of estimated values is what the
    weights of finished rows correct. Values are soft means in double precision.

    References
    ----------
    X. Li, Y. Zhao, C. Wang, G. Scalia, G. Eraslan, S. Nair, T. Biancalani, A. Regev,
    S. Levine and M. Uehara, "Derivative-Free Guidance in Continuous and Discrete
    Diffusion Models with Soft Value-Based Decoding", 2024, arXiv 2408.08252.

    Examples
    --------
    >>> import numpy as np
    >>> from skdiff.density import GuidedSampler, LatentClassModel
    >>> X = np.random.default_rng(0).integers(0, 3, (500, 4))
    >>> model = LatentClassModel(2, random_state=0).fit(X)
    >>> sampler = GuidedSampler(model, lambda rows: rows.sum(axis=1), random_state=0)
    >>> rows = sampler.sample(200)
    >>> bool(rows.sum(axis=1).mean() > model.sample(200).sum(axis=1).mean() + 1)
    True
    """

    _parameter_constraints = {
        "model": [HasMethods(["fit"])],
        "reward": [callable, HasMethods(["predict"])],
        "temperature": [Interval(Real, 0, None, closed="left")],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_completions": [Interval(Integral, 1, None, closed="left")],
        "value": [StrOptions({"rollout", "regressor", "mode"})],
        "value_estimator": [HasMethods(["fit", "predict"]), None],
        "n_value_rows": [Interval(Integral, 2, None, closed="left")],
        "order": [StrOptions({"random", "given"}), "array-like"],
        "resampling": [StrOptions({"auto", "cell", "particles", "importance"})],
        "correction": ["boolean"],
        "response": "no_validation",
        "independent_reward": [callable, HasMethods(["predict"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model,
        reward,
        *,
        temperature=1.0,
        n_candidates=10,
        n_completions=5,
        value="rollout",
        value_estimator=None,
        n_value_rows=2000,
        order="random",
        resampling="auto",
        correction=True,
        response=None,
        independent_reward=None,
        random_state=None,
    ):
        self.model = model
        self.reward = reward
        self.temperature = temperature
        self.n_candidates = n_candidates
        self.n_completions = n_completions
        self.value = value
        self.value_estimator = value_estimator
        self.n_value_rows = n_value_rows
        self.order = order
        self.resampling = resampling
        self.correction = correction
        self.response = response
        self.independent_reward = independent_reward
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X=None, y=None):
        """Fit the model to rows if there are any, and the regressor of values.

        Needed only for that: with a fitted model and another ``value``,
        :meth:`sample` can be called at once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            Rows for a clone of ``model``; None takes ``model`` as it is.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        rng = check_random_state(self.random_state)
        with whole_fit(self):
            self._last, self._model_of_fit = None, True
            self._take_model(X, rng)
            if self.value == "regressor":
                self.value_estimator_ = self._learn_values(rng)
        return self

    def _learn_values(self, rng):
        """The regressor of values."""
        base = self.value_estimator
        regressor = clone(HistGradientBoostingRegressor() if base is None else base)
        if "random_state" in regressor.get_params():
            regressor.set_params(random_state=rng.randint(2**31 - 1))
        return learn_values(
            self.model_._joint(),
            self._counted(self.reward),
            regressor,
            Effort(
                self.temperature,
                self.n_candidates,
                self.n_completions,
                self.n_value_rows,
            ),
            rng,
        )

    def _take_model(self, X, rng):
        """The fitted model, and what is known of its columns."""
        model = self.model
        if X is not None:
            model = clone(model)
            if getattr(model, "random_state", 0) is None:
                model.set_params(random_state=rng.randint(2**31 - 1))
            model.fit(X)
        check_is_fitted(model)
        if not hasattr(model, "_joint"):
            raise TypeError(
                "model must be a density model of skdiff.density. Got "
                f"{type(model).__name__} instead."
            )
        self.model_ = model
        self.n_features_in_ = self.model_.n_features_in_
        if hasattr(self.model_, "feature_names_in_"):
            self.feature_names_in_ = self.model_.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _counted(self, reward, fixed=None):
        return Counted(rewarding(reward, self.model_, self.response, fixed or {}))

    def _value(self, joint, reward):
        if self.value == "regressor":
            return Regressed(self.value_estimator_, joint.sizes)
        if self.value == "mode":
            return Mode(joint, reward)
        return Rollout(joint, reward, self.temperature, self.n_completions)

    def sample(self, n_samples=1, *, given=None, random_state=None):
        """Draw rows towards the reward.

        Parameters
        ----------
        n_samples : int, default=1
            Rows to draw.
        given : dict, default=None
            Cells that all rows share: values by the number or name of their column.
        random_state : int, RandomState instance or None, default=None
            For the draws; None takes that of the estimator.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Rows in the form of the table of the model, with the medians of bins, for
            which the reward was computed, in binned columns that are not given.
        """
        self._validate_params()
        if self.value == "regressor" and not hasattr(self, "value_estimator_"):
            raise NotFittedError(
                "value='regressor' needs fit() before sample, which trains the "
                "regressor."
            )
        if not hasattr(self, "_model_of_fit"):
            self._take_model(None, None)
        check_count(n_samples, "n_samples")
        seed = self.random_state if random_state is None else random_state
        rng = check_random_state(seed)
        start = np.full((n_samples, self.n_features_in_), MISSING)
        known, values = self.model_._given(given)
        start[:, list(known)] = list(known.values())
        reward = self._counted(self.reward, values)
        resampling, pilot_size = self._decide(start, reward, rng)
        if resampling == "importance":
            codes, rewards = self._resample(start, reward, rng)
            corrected = False
        else:
            particles = resampling == "particles"
            codes, rewards, corrected = self._guide(start, reward, rng, particles)
        self._last = {
            "resampling": resampling,
            "pilot_size": pilot_size,
            "corrected": corrected,
            "start": start[:1],
            "fixed": values,
            "codes": codes,
            "rewards": rewards,
            "calls": reward.calls,
            "seed": int(rng.randint(2**31 - 1)),
        }
        self._report = None
        return as_rows(self.model_, codes, values)

    def _decide(self, start, reward, rng):
        """Whether a single resampling has enough rows to choose from."""
        if self.resampling != "auto":
            return self.resampling, np.nan
        guided = "particles" if len(start) >= LEAST_POPULATION else "cell"
        if not self.temperature:
            return "cell", np.nan
        many = np.repeat(start[:1], PILOT_ROWS, axis=0)
        rewards = reward(self.model_._joint().complete(many, rng))
        size = effective_size(rewards / self.temperature) / PILOT_ROWS
        return ("importance" if size >= PILOT_PART else guided), size

    def _resample(self, start, reward, rng):
        """A pool of rows of the model, resampled once."""
        n, each = len(start), self.n_candidates * self.n_completions
        pool = self.model_._joint().complete(np.repeat(start, each, axis=0), rng)
        rewards = reward(pool)
        if self.temperature:
            kept = systematic(rewards / self.temperature, n, rng)
        else:
            kept = best_of(rewards, n)
        kept = kept[living(rewards[kept], rng)]
        return pool[kept], rewards[kept]

    def _guide(self, start, reward, rng, particles):
        """Rows filled cell by cell towards high values."""
        joint, n = self.model_._joint(), len(start)
        guide = Guide(
            joint, self._value(joint, reward), self.temperature, self.n_candidates
        )
        if isinstance(self.order, str) and self.order == "random":
            orders = random_orders(*start.shape, rng)
        else:
            order = None if isinstance(self.order, str) else self.order
            orders = np.tile(self.model_._orders(order, 1), (n, 1))
        found = fill(guide, start, orders, rng, particles=particles)
        # a complete row's value is its reward, unless a regressor has guessed it
        exact = self.value != "regressor" and (start == MISSING).any()
        rewards = found.value if exact else reward(found.codes)
        kept, corrected = living(rewards, rng), False
        if self.correction and self.temperature:
            log = found.log_weight + rewards / self.temperature
            if effective_size(log) >= LEAST_PART * n:
                kept, corrected = systematic(log, n, rng), True
        return found.codes[kept], rewards[kept], corrected

    # --- what it was worth ----------------------------------------------------------

    def _of_last(self, name):
        if getattr(self, "_last", None) is None:
            raise NotFittedError(f"{name} belongs to rows: call sample before.")
        return self._last.get(name.rstrip("_"))

    @property
    def resampling_(self):
        """What the last call of sample did."""
        return self._of_last("resampling_")

    @property
    def pilot_size_(self):
        """Effective fraction of the pilot of the last call of sample."""
        return self._of_last("pilot_size_")

    @property
    def corrected_(self):
        """Whether the last call of sample ended in the importance step."""
        return self._of_last("corrected_")

    @property
    def report_(self):
        """Rewards of the last rows beside those of simple rivals at equal cost."""
        self._of_last("report_")
        pd = require_pandas("report_")
        if self._report is None:
            self._report = self._compare()
        return pd.DataFrame.from_dict(self._report, orient="index")

    def _compare(self):
        last, joint = self._last, self.model_._joint()
        n, calls = len(last["codes"]), max(last["calls"], len(last["codes"]))
        rng = check_random_state(last["seed"])
        pool = joint.complete(np.repeat(last["start"], calls, axis=0), rng)
        rewards = self._counted(self.reward, last["fixed"])(pool)
        best = best_of(rewards, n)
        again = best
        if self.temperature:
            again = systematic(rewards / self.temperature, n, rng)
        found = {
            "guided": self._describe(last["codes"], last["rewards"], last["calls"])
        }
        for name, kept in (
            ("unguided", slice(None)),
            ("best_of_n", best),
            ("importance", again),
        ):
            found[name] = self._describe(pool[kept], rewards[kept], calls)
        return found

    def _describe(self, codes, rewards, calls):
        """A row of the report."""
        row = {
            "mean_reward": float(rewards.mean()),
            "mean_log_prob": float(self.model_._joint().log_marginal(codes).mean()),
            "distinct": len(np.unique(codes, axis=0)) / len(codes),
            "reward_calls": int(calls),
        }
        if self.independent_reward is not None:
            fixed = self._last["fixed"]
            judge = rewarding(self.independent_reward, self.model_, None, fixed)
            row["mean_independent"] = float(judge(codes).mean())
        return row

    def score_samples(self, X):
        """Logarithm of the target density of rows, up to one constant.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Complete rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            Log-probability under the model plus the reward over the temperature.
        """
        check_is_fitted(self, "model_")
        if not self.temperature:
            raise ValueError("With temperature=0 the target has no density.")
        rows = self.model_._codes(X)
        if (rows == MISSING).any():
            raise ValueError("A reward needs complete rows: X has missing cells.")
        reward = self._counted(self.reward)(rows)
        return self.model_._joint().log_marginal(rows) + reward / self.temperature
