"""Names where columns have names, and help where the wrong thing is given."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdiff.multiplicity import RashomonClassifier, RashomonRegressor


def test_ranges_of_coefficients_carry_the_names_of_the_columns():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = RashomonRegressor(make_pipeline(StandardScaler(), Ridge())).fit(X, y)
    table = model.coef_range(as_frame=True)
    assert [*table.index] == [*X.columns, "intercept"]
    assert [*table.columns] == ["low", "high"]
    np.testing.assert_array_equal(table, model.coef_range())


def test_ranges_of_several_classes_carry_the_classes_too():
    iris = load_iris(as_frame=True)
    y = iris.target_names[iris.target]
    model = RashomonClassifier(LogisticRegression(max_iter=1000)).fit(iris.data, y)
    table = model.coef_range(as_frame=True)
    assert [*table.index.names] == ["class", "feature"]
    virginica = table.loc["virginica"]
    np.testing.assert_array_equal(virginica, model.coef_range()[2])
    assert [*virginica.index] == [*iris.data.columns, "intercept"]


def test_a_search_is_answered_with_what_to_pass_instead():
    X, y = load_diabetes(return_X_y=True)
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]})
    with pytest.raises(ValueError, match=r"GridSearchCV\. Fit the search first"):
        RashomonRegressor(search).fit(X, y)
    found = search.fit(X, y).best_estimator_
    assert RashomonRegressor(found).fit(X, y).coef_.shape == (10,)
