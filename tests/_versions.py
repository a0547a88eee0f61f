"""One spelling for what scikit-learn's versions from our floor on spell differently."""

import inspect

from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import check_scoring


def logistic_regression(*, l1_ratio, **options):
    """A logistic regression with this share of L1 in its penalty."""
    if LogisticRegression().penalty == "deprecated":  # 1.8: the share says all
        return LogisticRegression(l1_ratio=l1_ratio, **options)
    if l1_ratio == 1:
        return LogisticRegression(penalty="l1", **options)
    return LogisticRegression(penalty="elasticnet", l1_ratio=l1_ratio, **options)


def logistic_regression_cv(**options):
    """A search over C alone, whose answers are numbers where the version can."""
    known = inspect.signature(LogisticRegressionCV).parameters
    if "use_legacy_attributes" in known:  # from 1.8 on
        options |= {"l1_ratios": (0.0,), "use_legacy_attributes": False}
    return LogisticRegressionCV(**options)


def own_weighted_scorer(estimator):
    """The ``scoring`` by which routed weights reach the estimator's own score."""
    scorer = check_scoring(estimator)
    if hasattr(scorer, "set_score_request"):  # before 1.8 the scorer is asked itself
        return scorer.set_score_request(sample_weight=True)
    return None
