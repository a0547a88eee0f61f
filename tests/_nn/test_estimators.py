import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests._nn._mlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.usefixtures("untouched")
CONFIGURATIONS = [
    MLPClassifier(),
    MLPRegressor(),
    MLPClassifier(early_stopping=True, max_iter=60),
    MLPRegressor(early_stopping=True),
]


@parametrize_with_checks(CONFIGURATIONS)
def test_scikit_learn_check(estimator, check):
    check(estimator)
