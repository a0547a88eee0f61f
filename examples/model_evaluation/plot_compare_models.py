"""
Four classifiers on one table, and on several
=============================================

One call scores several models on the same splits, tests every pair with a correction
for their number, and draws the differences with their intervals. Over several data sets
it compares ranks.
"""

# %%
import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skdiff.model_evaluation import (
    ModelComparison,
    ModelComparisonDisplay,
    PairwiseTests,
    adjust_pvalues,
    compare_models,
    friedman_test,
    nemenyi_test,
    pairwise_mcnemar,
    pairwise_wilcoxon,
    wilcoxon_test,
)

models = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier()),
    "naive Bayes": GaussianNB(),
    "stump": DecisionTreeClassifier(max_depth=1, random_state=0),
}
X, y = load_breast_cancer(return_X_y=True)
report: ModelComparison = compare_models(models, X, y, random_state=0)
print(report)

# %%
# Coloured pairs differ significantly after Holm's adjustment.
_ = ModelComparisonDisplay.from_report(report).plot()

# %%
_ = ModelComparisonDisplay.from_report(report).plot(kind="intervals")

# %%
# One test set: the models are fitted once, and rows are compared.
train, test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
predictions = {
    name: model.fit(train, y_train).predict(test) for name, model in models.items()
}
print(compare_models(predictions, y=y_test))
tests: PairwiseTests = pairwise_mcnemar(y_test, *predictions.values(), adjust=None)
print("largest change by Holm:", (adjust_pvalues(tests.pvalue) - tests.pvalue).max())

# %%
# Several data sets: the four bundled with scikit-learn and parts of their columns.
data = {}
for name, load in (
    ("breast cancer", load_breast_cancer),
    ("wine", load_wine),
    ("iris", load_iris),
    ("digits", load_digits),
):
    X, y = load(return_X_y=True)
    X, y = X[:400], y[:400]
    scaled = StandardScaler().fit_transform(X)
    data[name] = X, y
    data[f"{name}, 2 components"] = PCA(2).fit_transform(scaled), y
    data[f"{name}, half"] = X[:, : X.shape[1] // 2], y
over_data = compare_models(models, data, tests="nemenyi")
_ = ModelComparisonDisplay.from_report(over_data).plot()
print(over_data.summary_)

# %%
# The same from the scores: Friedman's test, then pairs.
scores = over_data.scores_.T
print("Friedman", tuple(friedman_test(scores)))
print("Nemenyi", nemenyi_test(scores).pvalue.round(3))
print("signed ranks, Holm", pairwise_wilcoxon(scores).pvalue.round(3))
print("two models", wilcoxon_test(scores[:, 0], scores[:, 1]).pvalue)
plt.show()
