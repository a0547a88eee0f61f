"""The estimators that have an inner problem; one line each."""

from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from skdiff._convex._inner._lasso import ElasticNetProblem
from skdiff._nn._base import BaseNeural
from skdiff.model_selection._gradient._inner._kernel_ridge import KernelRidgeProblem
from skdiff.model_selection._gradient._inner._lasso import LassoProblem
from skdiff.model_selection._gradient._inner._linear_svm import (
    LinearSVCProblem,
    LinearSVRProblem,
)
from skdiff.model_selection._gradient._inner._logistic import LogisticProblem
from skdiff.model_selection._gradient._inner._network import NetworkProblem
from skdiff.model_selection._gradient._inner._registry import inner_problem
from skdiff.model_selection._gradient._inner._ridge import (
    RidgeClassifierProblem,
    RidgeProblem,
)
from skdiff.model_selection._gradient._inner._svm import SVCProblem, SVRProblem

PROBLEMS = {
    BaseNeural: NetworkProblem,
    ElasticNet: ElasticNetProblem,
    KernelRidge: KernelRidgeProblem,
    Lasso: LassoProblem,
    LinearSVC: LinearSVCProblem,
    LinearSVR: LinearSVRProblem,
    LogisticRegression: LogisticProblem,
    Ridge: RidgeProblem,
    RidgeClassifier: RidgeClassifierProblem,
    SVC: SVCProblem,
    SVR: SVRProblem,
}
for _estimator, _problem in PROBLEMS.items():
    inner_problem.register(_estimator, _problem)  # type: ignore[attr-defined]
