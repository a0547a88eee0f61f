"""From mixtures and distances to scores: five forms, averaged, and two stages."""

from typing import NamedTuple

import numpy as np

from skdiff._base.typing import Array

FORMS = ("linear", "quadratic", "transport", "transport_linear", "pseudo_quadratic")
_RIDGE = 1e-3


def features(form: str, mixtures: Array, distance: Array) -> Array:
    """Return the columns of a form.

    All sources stand in it though the last follows from the others: under a ridge
    penalty the forecast then does not depend on their order.
    """
    p, o = mixtures, distance[:, None]
    columns = {
        "linear": [p],
        "quadratic": [p, p**2],
        "transport": [o],
        "transport_linear": [o, p],
        "pseudo_quadratic": [o, p, p**2, p * o, p**2 * o],
    }[form]
    return np.hstack(columns)


class Form(NamedTuple):
    """A ridge regression on standardised columns, and its leave-one-out error."""

    name: str
    mean: Array
    scale: Array
    coef: Array
    intercept: float
    error: float

    def predict(self, mixtures: Array, distance: Array) -> Array:
        """Values at mixtures."""
        Z = (features(self.name, mixtures, distance) - self.mean) / self.scale
        return np.asarray(Z @ self.coef + self.intercept)


def fit_form(name: str, mixtures: Array, distance: Array, values: Array) -> Form:
    """Fit a form; the leave-one-out error has a closed form."""
    Z = features(name, mixtures, distance)
    mean, scale = Z.mean(axis=0), Z.std(axis=0)
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-12), scale, 1.0)
    Z = (Z - mean) / scale
    n = len(Z)
    centre = float(values.mean())
    if Z.shape[1]:
        A = Z.T @ Z + _RIDGE * n * np.eye(Z.shape[1])
        inverse = np.linalg.solve(A, Z.T)
        coef = inverse @ (values - centre)
        leverage = np.sum(Z.T * inverse, axis=0) + 1.0 / n
    else:
        coef, leverage = np.zeros(0), np.full(n, 1.0 / n)
    left = (values - centre - Z @ coef) / np.maximum(1.0 - leverage, 1e-6)
    error = float(np.sqrt(np.mean(left**2)))
    return Form(name, mean, scale, coef, centre, error)


def form_weights(errors: Array) -> Array:
    """Return weights inverse to the squared leave-one-out mean squared error."""
    squares = np.maximum(errors**2, 1e-12 * max(float(errors.max()) ** 2, 1e-300))
    weights = (squares.min() / squares) ** 2
    return np.asarray(weights / weights.sum())


class Sizes(NamedTuple):
    """How scores grow with the size: basis one and ``growth(n)``, by least squares."""

    pilots: Array
    rate: float

    def growth(self, n: Array) -> Array:
        """``log n``, or minus a power of it."""
        relative = np.asarray(n, dtype=np.float64) / self.pilots[0]
        if self.rate == 0:
            return np.asarray(np.log(relative))
        return np.asarray(-(relative**-self.rate))

    def weights(self, n: float) -> Array:
        """Weights of the pilot sizes in the forecast at a size, of sum one."""
        if len(self.pilots) == 1:
            return np.ones(1)
        basis = np.c_[np.ones(len(self.pilots)), self.growth(self.pilots)]
        new = np.array([1.0, float(self.growth(np.array(n)))])
        return np.asarray(new @ np.linalg.pinv(basis))

    def amplification(self, n: float) -> float:
        """Standard deviation of a forecast in units of that of a pilot score."""
        return float(np.sqrt(np.sum(self.weights(n) ** 2)))


def shared_rate(pilots: Array, values: Array) -> float:
    """Return the rate of the power law that fits all mixtures best.

    Parameters
    ----------
    pilots : ndarray of shape (n_pilots,)
        At least three sizes.
    values : ndarray of shape (n_pilots, n_mixtures)
        Scores.
    """
    rates = np.geomspace(0.05, 2.5, 60)
    errors = []
    for rate in rates:
        sizes = Sizes(pilots, float(rate))
        basis = np.c_[np.ones(len(pilots)), sizes.growth(pilots)]
        fit = basis @ np.linalg.pinv(basis) @ values
        errors.append(np.sum((values - fit) ** 2))
    return float(rates[int(np.argmin(errors))])
