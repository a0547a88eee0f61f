"""
The main job in under a minute
==============================

Two tasks on the breast cancer table of scikit-learn. Which classifier reaches the best
F1 at a fixed threshold, one trained on F1 itself or logistic regression with a tuned
threshold? And how many patients change side among all models that fit the data
practically as well as the best one?
"""

import time
import warnings

import matplotlib

matplotlib.use("Agg")

from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import (
    GridSearchCV,
    TunedThresholdClassifierCV,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.multiplicity import RashomonClassifier, RashomonRangeDisplay
from skdiff.neural_network import AnyLossClassifier

FIGURE = "quickstart.png"


def step(text):
    """Say what is under way, with the time."""
    print(f"[{time.perf_counter() - START:5.1f} s] {text}", flush=True)


def load():
    """The table, with the rarer malignant tumours as the positive class."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    y = y.map({0: "malignant", 1: "benign"})
    return train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)


def compare(X_train, X_test, y_train, y_test):
    """F1 on the held-out rows of the two ways to a good cut."""
    step("search an F1-trained linear model in a pipeline (grid of 3, 5 folds)")
    scorer = "f1_macro"
    search = GridSearchCV(
        make_pipeline(StandardScaler(), AnyLossClassifier("f1", random_state=0)),
        {"anylossclassifier__alpha": [1e-4, 1e-3, 1e-2]},
        scoring=scorer,
        cv=5,
    ).fit(X_train, y_train)
    step("search logistic regression with a tuned threshold (grid of 3, 5 folds)")
    tuned = GridSearchCV(
        make_pipeline(
            StandardScaler(),
            TunedThresholdClassifierCV(LogisticRegression(), scoring=scorer),
        ),
        {"tunedthresholdclassifiercv__estimator__C": [0.1, 1.0, 10.0]},
        scoring=scorer,
        cv=5,
    ).fit(X_train, y_train)
    return {
        name: f1_score(y_test, model.predict(X_test), pos_label="malignant")
        for name, model in (("AnyLoss", search), ("tuned threshold", tuned))
    }


def audit(X_train, X_test, y_train):
    """Ranges of the held-out rows over all models within 1 % of the best loss."""
    step("audit all models within 1 % of the best logistic loss")
    model = RashomonClassifier(
        make_pipeline(StandardScaler(), LogisticRegression()), epsilon=0.01
    ).fit(X_train, y_train)
    display = RashomonRangeDisplay.from_estimator(model, X_test)
    display.plot().figure_.savefig(FIGURE, dpi=120)
    low, high = model.predict_proba_range(X_test).T
    return model.conflicts(X_test).sum(), (high - low).mean(), (high - low).max()


def main():
    """Run both parts and print what they found."""
    X_train, X_test, y_train, y_test = load()
    scores = compare(X_train, X_test, y_train, y_test)
    conflicts, mean, widest = audit(X_train, X_test, y_train)
    step("done")
    print(f"\nF1 of malignant on {len(X_test)} held-out patients")
    for name, score in scores.items():
        print(f"  {name:<16} {score:.3f}")
    print("\nAmong all logistic models within 1 % of the best loss")
    print(f"  {conflicts} of {len(X_test)} held-out patients change side")
    print(f"  probabilities move by {mean:.3f} on average, by up to {widest:.2f}")
    print(f"  figure saved to {FIGURE}")


if __name__ == "__main__":
    START = time.perf_counter()
    warnings.simplefilter("ignore", ConvergenceWarning)
    main()
