"""What the installation page lists as free of torch and cvxpy is."""

import subprocess
import sys

from tests.test_pages import REPOSITORY

FITS = """
import sys
import warnings

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import scale

from skdiff import calibration, cluster, conformal, density, linear_model, metrics
from skdiff import model_selection, multiplicity, synthetic
from skdiff.neural_network import ActiveSubspaceTransformer, GBNNClassifier
from skdiff.neural_network import GRBFRegressor

warnings.simplefilter("ignore")
X, y = load_breast_cancer(return_X_y=True)
X, y = scale(X)[:120, :5], y[:120]
D, t = load_diabetes(return_X_y=True)
D, t = D[:120], t[:120]
p, half = np.full(60, 0.3), np.arange(60) % 2
alpha, C = {"alpha": loguniform(1e-3, 1e2)}, {"C": loguniform(1e-3, 1e2)}

multiplicity.RashomonClassifier().fit(X, y).predict_proba_range(X)
multiplicity.RashomonRegressor().fit(D, t).coef_range()
selector = conformal.ConformalSelector(Ridge(), threshold=100.0, fdr_level=0.3)
selector.fit(D, t).select(D)
model_selection.GradientSearchCV(Ridge(), alpha).fit(D, t)
model_selection.ConformalQuantileSearchCV(Ridge(), alpha, n_iter=11).fit(D, t)
model_selection.HyperbandSearchCV(
    LogisticRegression(), C, resource="n_samples", min_resource=40, cv=2
).fit(X, y)
linear_model.WeightedElasticNet().fit(D, t)
density.InteractionScreening().fit((X > 0).astype(int))
calibration.EmpiricalResidualCalibrator(Ridge()).fit(D, t)
calibration.OnlinePlattCalibrator().partial_fit(p, half)
metrics.ks_error(half, p)
cluster.TELLClustering(3).fit(X)
GBNNClassifier(5).fit(X, y)
ActiveSubspaceTransformer(GRBFRegressor(max_iter=5)).fit(D, t)
synthetic.PrivateGSDSynthesizer(rho=1.0, depth=2).fit(D)
print(sorted({"torch", "skorch", "cvxpy"} & set(sys.modules)))
"""


def test_most_of_the_package_needs_neither_torch_nor_cvxpy():
    run = subprocess.run(
        [sys.executable, "-c", FITS],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
