"""The objective of a linear model as data, and how it is scaled with the target."""

from typing import NamedTuple

from skdiff._convex import _losses
from skdiff._convex._losses import Loss

#: losses of a label's sign times the predictor
MARGIN_LOSSES = ("SquaredHinge", "ModifiedHuber", "Hinge")
PIECEWISE = tuple(kind.__name__ for kind in _losses.PIECEWISE_LINEAR)
#: power of the target's unit in each loss; the others have no unit
DEGREE = {
    "Squared": 2,
    "Huber": 2,
    "SquaredEpsilonInsensitive": 2,
    "Pinball": 1,
    "EpsilonInsensitive": 1,
}
#: losses that are minus a log likelihood, so that likelihood ratios are defined
LIKELIHOODS = {"Logistic", "Multinomial", "Squared", "Poisson", "Gamma"}
LOG_LINKS = {"Poisson", "Gamma", "Tweedie"}


class Objective(NamedTuple):
    """What a linear model minimises, per unit of weight."""

    loss: str  # name of a class of skdiff._convex._losses
    alpha: float  # factor of ||w||^2 / 2
    intercept_alpha: float  # the same for the intercept
    fit_intercept: bool
    lasso: float = 0.0  # factor of ||w||_1
    intercept_lasso: float = 0.0
    params: dict[str, float] = {}  # arguments of the loss, in units of the target
    signs: bool = False  # whether targets are labels, coded -1 and 1

    @property
    def degree(self) -> int:
        """Power of the target's unit in the objective."""
        return DEGREE.get(self.loss, 0)

    @property
    def penalised_intercept(self) -> bool:
        """Whether moving the origin of the features changes the model."""
        return bool(self.intercept_alpha or self.intercept_lasso)

    def loss_for(self, unit: float) -> Loss:
        """Return the loss of a target that was divided by ``unit``."""
        params = {k: v / unit if k == "delta" else v for k, v in self.params.items()}
        loss: Loss = getattr(_losses, self.loss)(**params)
        return loss
