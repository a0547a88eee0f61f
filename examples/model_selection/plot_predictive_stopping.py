"""
Stop hopeless trainings early
=============================

After a few epochs most trainings can be judged. A network that has seen millions of
made learning curves continues real ones, with intervals, and a search uses that to stop
what will not become the best.
"""

# %%
# A forecast
# ----------
# Three networks on digits, eight epochs of forty. The bands hold 50 and 90 % of the
# forecast; red is what came.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from skdiff.model_selection import (
    CurveForecastDisplay,
    Incumbent,
    LearningCurvePFN,
    PredictiveStopping,
    PredictiveStoppingDisplay,
    PredictiveStoppingSearchCV,
)
from skdiff.neural_network import AnyLossClassifier

X, y = load_digits(return_X_y=True)
X_train, X_valid, y_train, y_valid = train_test_split(X / 16, y, random_state=0)


def curve(learning_rate, n_epochs=40):
    model = MLPClassifier((16,), learning_rate_init=learning_rate, random_state=0)
    scores = []
    for _ in range(n_epochs):
        model.partial_fit(X_train, y_train, classes=np.arange(10))
        scores.append(model.score(X_valid, y_valid))
    return scores


curves = np.array([curve(rate) for rate in (3e-4, 1e-3, 1e-2)])
model = LearningCurvePFN(horizon=40).fit(curves[:, :8])
_ = CurveForecastDisplay.from_estimator(model, curves[:, :8], truth=curves).plot()
for name, value in (
    ("after 8 epochs", curves[:, 7]),
    ("forecast", model.predict(curves[:, :8])),
    ("after 40 epochs", curves[:, -1]),
):
    print(f"{name:16} {np.round(value, 3)}")

# %%
# A search
# --------
# Twelve learning rates. The best candidates are trained first; a cross marks where a
# forecast has stopped one.
search = PredictiveStoppingSearchCV(
    MLPClassifier((16,), random_state=0),
    {"learning_rate_init": loguniform(1e-5, 1)},
    n_iter=12,
    max_resource=40,
    random_state=0,
).fit(X_train, y_train)
_ = PredictiveStoppingDisplay.from_estimator(search).plot()
print(f"{search.resource_used_} epochs instead of {12 * 40}")
print(f"best learning rate {search.best_params_['learning_rate_init']:.4f}")
print(f"accuracy on the validation rows {search.score(X_valid, y_valid):.3f}")

# %%
# A callback
# ----------
# Networks that are trained one after another share the score to beat.
warnings.simplefilter("ignore", ConvergenceWarning)  # thirty epochs are no convergence
best = Incumbent()
stop = PredictiveStopping(incumbent=best, X_val=X_valid, y_val=y_valid)
for rate in (1e-2, 1e-5):
    network = AnyLossClassifier(
        learning_rate_init=rate, max_iter=30, tol=0, random_state=0
    ).set_callbacks(stop)
    network.fit(X_train, y_train)
    print(f"learning rate {rate:g}: {network.n_iter_} epochs, best so far {best.score}")
plt.show()
